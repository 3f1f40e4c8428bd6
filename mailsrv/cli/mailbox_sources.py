"""Where imports read: mbox files and Maildirs, a message at a time (floor 7).

Nothing is followed that is a symbolic link: a user's Maildir read by root must not bring the files of others.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol

from attrs import frozen

from ..errors import Refused
from ..host.control.mailbox import MAX_MESSAGE, MAX_OCTETS
from ..interfaces import IContent
from ..message.header import MAX_OCTETS as MAX_HEAD
from ..message.line_ends import crlf
from ..message.mbox import read_from, take_flags, unquote
from ..net.spool import Spool

#: Octets read at once.
PIECE = 64 * 2**10


@frozen
class Skipped:
    """What could not be had, and why."""

    what: str
    why: str


@frozen
class Item:
    """A message; `key` is its name in its folder, `reached` how far the source is with it: mbox, the offset behind it.
    Without `content` it cannot be had: `why`."""

    key: str
    reached: int
    content: IContent | None
    flags: frozenset[bytes] = frozenset()
    date: int = 0
    unique_id: bytes = b""
    zone: int = 0
    why: str = ""


class Folder(Protocol):
    """One folder of a source: `name` of the mailbox; `key` in the journal."""

    name: str
    key: str

    def items(self, done: Collection[str], offset: int) -> Iterator[Item]:
        """All messages but those done: by keys, or up to an offset."""


class Source(Protocol):
    """`form` is mbox or maildir; `total` in `unit`."""

    form: str
    total: int
    unit: str

    def folders(self) -> Iterator[Folder]:
        """In a fixed order."""

    def subscriptions(self) -> list[str]:
        """Names as in the source."""


def opened(path: Path) -> BinaryIO:
    """A regular file, no link.  Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path} is no file")
    return os.fdopen(file, "rb")


def taken(pieces: Iterator[bytes], room: Spool | None = None) -> tuple[IContent | None, str]:
    """The content with CRLF, and why there is none."""
    spool = room or Spool(tempfile.gettempdir(), MAX_OCTETS)
    for piece in crlf(pieces):
        why = "it holds NUL" if b"\0" in piece else "it is too large" if spool.size + len(piece) > MAX_MESSAGE else ""
        if why:
            spool.discard()
            return None, why
        spool.write(piece)
    if not spool.size:
        return None, "it is empty"
    return spool.finish(), ""


# ---------------------------------------------------------------- mbox


class _Lines:
    """The lines of a file, long ones in pieces; `at` is the offset of the next."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file, self.at = file, offset
        file.seek(offset)
        self._whole = True
        self._ahead: tuple[bytes, bool] | None = None

    def next(self) -> tuple[bytes, bool]:
        """A line or piece, and whether a line begins with it; b"" at the end."""
        if self._ahead is not None:
            found, self._ahead = self._ahead, None
        else:
            line = self._file.readline(PIECE)
            found, self._whole = (line, self._whole), line.endswith(b"\n")
        self.at += len(found[0])
        return found

    def back(self, line: bytes, begins: bool) -> None:
        """Give one back."""
        self._ahead = (line, begins)
        self.at -= len(line)


class MboxFolder:
    """One mbox file."""

    def __init__(self, path: Path, name: str, key: str, quoting: str) -> None:
        self._path, self.name, self.key, self._quoting = path, name, key, quoting

    def items(self, done: Collection[str], offset: int) -> Iterator[Item]:
        """The messages from an offset on, which is where a From_ line begins.  Raises Refused, OSError."""
        with opened(self._path) as file:
            if offset > os.fstat(file.fileno()).st_size:
                raise Refused(f"{self._path} is shorter than it was when its import began")
            lines = _Lines(file, offset)
            while True:
                start = lines.at
                line, _ = lines.next()
                if not line:
                    return
                if not line.startswith(b"From "):
                    if not line.strip(b"\r\n"):
                        continue
                    raise Refused(f"{self._path} is no mbox: no From line at offset {start}")
                _, date, zone = read_from(line.rstrip(b"\r\n")) or (b"", 0, 0)
                yield self._item(lines, start, date, zone)

    def _item(self, lines: _Lines, start: int, date: int, zone: int) -> Item:
        """The message whose From_ line was read."""
        body = self._body(lines)
        head = bytearray()
        for piece in body:
            head += piece
            if len(head) > MAX_HEAD or piece in (b"\n", b"\r\n"):
                break
        first, flags = take_flags(bytes(head))
        content, why = taken(chain((first,), body))
        for _ in body if why else ():
            pass
        return Item(str(start), lines.at, content, flags, date, b"", zone, why)

    def _body(self, lines: _Lines) -> Iterator[bytes]:
        """Up to the next From_ line, which stays, without the empty line in front of it."""
        held = b""
        while True:
            line, begins = lines.next()
            if not line:
                return
            if held and begins and read_from(line.rstrip(b"\r\n")) is not None:
                lines.back(line, begins)
                return
            if held:
                yield held
                held = b""
            if begins and line in (b"\n", b"\r\n"):
                held = line
            else:
                yield unquote(line, self._quoting) if begins else line


class MboxSource:
    """A file, or a folder of files *.mbox."""

    form, unit = "mbox", "octets"

    def __init__(self, path: Path, quoting: str) -> None:
        from .mailbox_names import name_of_file

        files = sorted(path.rglob("*.mbox")) if path.is_dir() else [path]
        # INBOX first: with --into it is the level above the others.
        files.sort(key=lambda one: one != path / "INBOX.mbox")
        self._folders = [
            MboxFolder(one, name_of_file(str(one.relative_to(path))), str(one.relative_to(path)), quoting)
            if path.is_dir()
            else MboxFolder(one, "INBOX", "", quoting)
            for one in files
            if not one.is_symlink()
        ]
        self.total = sum(one.stat().st_size for one in files)

    def folders(self) -> Iterator[MboxFolder]:
        """By name."""
        return iter(self._folders)

    def subscriptions(self) -> list[str]:
        """None are kept."""
        return []


def open_source(path: Path, form: str, quoting: str) -> Source:
    """Raises Refused for what is neither."""
    from .mailbox_maildir import MaildirSource

    if not path.exists():
        raise Refused(f"there is no {path}")
    is_maildir = (path / "cur").is_dir() or (path / "new").is_dir()
    if form == "maildir" or (form == "auto" and is_maildir):
        if not is_maildir:
            raise Refused(f"{path} is no Maildir: it has neither cur nor new")
        return MaildirSource(path)
    if path.is_dir() and next(path.rglob("*.mbox"), None) is None:
        raise Refused(f"{path} is no Maildir and holds no files *.mbox")
    return MboxSource(path, quoting)
