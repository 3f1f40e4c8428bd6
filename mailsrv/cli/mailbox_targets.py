"""Where exports write: a Maildir++ as Dovecot keeps it, or mbox files (floor 7)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..interfaces import IContent
from ..message.header import MAX_OCTETS as MAX_HEAD
from ..message.line_ends import bare, lf
from ..message.maildir import (
    UidLine,
    letters_of,
    read_keywords,
    write_keywords,
    write_subscriptions,
    write_uid_header,
    write_uid_line,
)
from ..message.mbox import put_flags, quote, usable, write_from
from ..store.names import INBOX, SEPARATOR
from .mailbox_names import file_of, folder_of, level_on_disk


def _pieces(content: IContent) -> Iterator[bytes]:
    """The octets with LF, as files on Unix have them, or as they are where LF would lose something."""
    return content.chunks() if bare(content.chunks()) else lf(content.chunks())


def _replace(path: Path, octets: bytes) -> None:
    """Write a small file whole, or not at all."""
    beside = path.with_name(path.name + ".mailsrv-new")
    with beside.open("wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def _sync(folder: Path) -> None:
    """The names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class MaildirTarget:
    """Files named after UIDVALIDITY and UID, with Dovecot's files beside: UIDs, unique ids, keywords, subscriptions.

    With `alone` the one mailbox is the root.
    """

    def __init__(self, root: Path, alone: bool) -> None:
        self._root, self._alone = root, alone
        self._folder = root
        self._keywords = dict[bytes, int]()
        self._words = list[bytes]()
        self._validity = 0
        self._inbox = False
        self._lines = list[bytes]()
        self._size = 0

    def begin(self, mailbox: dict[str, Any], before: dict[str, Any] | None) -> None:
        """Make the folder, or find it."""
        name = INBOX if self._alone else mailbox["name"]
        self._folder = self._root / os.fsdecode(folder_of(name))
        for part in ("", "cur", "new", "tmp"):
            (self._folder / part).mkdir(mode=0o700, exist_ok=True)
        if name != INBOX:
            (self._folder / "maildirfolder").touch(mode=0o600)
        self._inbox, self._validity = mailbox["name"] == INBOX, mailbox["uidvalidity"]
        known = b""
        with suppress(FileNotFoundError):
            known = (self._folder / "dovecot-keywords").read_bytes()
        self._words = [word for _, word in sorted(read_keywords(known).items())]
        self._keywords = {word.lower(): number for number, word in enumerate(self._words)}
        self._start_uids(mailbox["uidnext"], before)

    def _start_uids(self, following: int, before: dict[str, Any] | None) -> None:
        """`dovecot-uidlist` with the lines that the journal knows, and UIDNEXT as it is now."""
        path = self._folder / "dovecot-uidlist"
        head, kept = write_uid_header(self._validity, following), b""
        if before is not None:
            kept = path.read_bytes()[: before["uidlist"]].partition(b"\n")[2]
        _replace(path, head + kept)
        self._lines, self._size = [], len(head) + len(kept)

    def put(self, row: dict[str, Any], content: IContent) -> list[str]:
        """One message: into tmp, then into cur."""
        flags = [flag.encode("utf-8", "replace") for flag in row["flags"]]
        letters, left = letters_of(flags, self._keywords)
        for flag in sorted(flags):
            if self._keywords.get(flag.lower()) == len(self._words):
                self._words.append(flag)
        base = f"{row['date']}.V{self._validity}U{row['uid']}.mailsrv"
        temporary, final = self._folder / "tmp" / base, self._folder / "cur" / f"{base}:2,{letters}"
        # Left by a run that was killed.
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for piece in _pieces(content):
                file.write(piece)
            file.flush()
            os.utime(file.fileno(), (row["date"], row["date"]))
            os.fsync(file.fileno())
        temporary.rename(final)
        self._lines.append(write_uid_line(UidLine(row["uid"], base, self._unique_id(row))))
        return [f"no letter is left for {flag.decode('utf-8', 'replace')}" for flag in left]

    def _unique_id(self, row: dict[str, Any]) -> bytes:
        """What POP3 showed, of INBOX alone: it has no other."""
        return row["unique_id"].encode("latin-1") if self._inbox else b""

    def commit(self) -> dict[str, Any]:
        """Keywords and UIDs follow the files."""
        if self._words:
            _replace(self._folder / "dovecot-keywords", write_keywords(self._words))
        with (self._folder / "dovecot-uidlist").open("r+b") as file:
            file.truncate(self._size)
            file.seek(self._size)
            self._size += file.write(b"".join(self._lines))
            file.flush()
            os.fsync(file.fileno())
        self._lines.clear()
        _sync(self._folder / "cur")
        return {"uidlist": self._size}

    def finish(self, subscribed: list[str]) -> None:
        """The subscriptions."""
        if not self._alone:
            names = [[level_on_disk(level) for level in name.split(SEPARATOR)] for name in subscribed]
            _replace(self._root / "subscriptions", write_subscriptions(names))


class MboxTarget:
    """A file for each mailbox, mboxrd, with LF line ends and flags in Status, X-Status and X-Keywords."""

    def __init__(self, path: Path, single: bool) -> None:
        self._path, self._single = path, single
        self._file = path
        self._size = 0

    def begin(self, mailbox: dict[str, Any], before: dict[str, Any] | None) -> None:
        """A new file, or the known part of it.  Raises Refused."""
        self._file = self._path if self._single else self._path / file_of(mailbox["name"])
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._size = before["octets"] if before is not None else 0
        if not self._file.exists():
            os.close(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        elif self._file.stat().st_size < self._size:
            raise Refused(f"{self._file} is shorter than it was: export to a new place")
        with self._file.open("r+b") as file:
            file.truncate(self._size)

    def put(self, row: dict[str, Any], content: IContent) -> list[str]:
        """One message."""
        flags = [flag.encode("utf-8", "replace") for flag in row["flags"]]
        with self._file.open("ab") as file:
            file.write(write_from(b"", row["date"]))
            last = b""
            for line in _quoted(_headed(_pieces(content), flags)):
                file.write(line)
                last = line or last
            file.write(b"\n" if last.endswith(b"\n") else b"\n\n")
        left = [flag for flag in flags if not flag.startswith(b"\\") and (not usable(flag) or b"," in flag)]
        return [f"mbox cannot say {flag.decode('utf-8', 'replace')}" for flag in left]

    def commit(self) -> dict[str, Any]:
        """All of the file."""
        with self._file.open("ab") as file:
            os.fsync(file.fileno())
            self._size = file.tell()
        return {"octets": self._size}

    def finish(self, subscribed: list[str]) -> None:
        """mbox has no place for subscriptions."""


def _headed(pieces: Iterator[bytes], flags: list[bytes]) -> Iterator[bytes]:
    """With the fields of flags in the header."""
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) > MAX_HEAD + 2 or b"\n\n" in piece or b"\n\r\n" in piece:
            break
    yield put_flags(bytes(head), flags)
    yield from pieces


def _quoted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """As mboxrd; the last piece may be no whole line."""
    held, inside = b"", False
    for piece in pieces:
        whole, end, held = (held + piece).rpartition(b"\n")
        if end:
            first, *others = whole.split(b"\n")
            yield b"\n".join([first if inside else quote(first), *map(quote, others)]) + b"\n"
            inside = False
        elif len(held) > MAX_HEAD:
            # A line of many megabytes is not kept in memory.
            yield held if inside else quote(held)
            held, inside = b"", True
    if held:
        yield held if inside else quote(held)
