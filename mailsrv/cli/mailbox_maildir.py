"""Maildir and Maildir++ as a source (floor 7)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from ..message.maildir import (
    UidLine,
    base_of,
    flags_of,
    read_keywords,
    read_subscriptions,
    read_uid_header,
    read_uid_line,
)
from ..serve.pop3_uidl import possible
from .mailbox_names import level_of, name_of
from .mailbox_sources import PIECE, Item, opened, taken

#: Octets of `subscriptions` and `dovecot-keywords`, and of a line of `dovecot-uidlist`.
MAX_FILE, MAX_LINE = 2**20, 64 * 2**10


class MaildirFolder:
    """One folder; INBOX's is the root."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self.name, self.key = path, name, path.name if name != "INBOX" else ""

    def files(self) -> list[tuple[str, str, int]]:
        """Base, path below the folder, and mtime; of a base that is there twice, the one in cur."""
        found = dict[str, tuple[str, str, int]]()
        for place in ("new", "cur"):
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path / place) as entries:
                for one in entries:
                    if not one.name.startswith(".") and one.is_file(follow_symlinks=False):
                        base = base_of(one.name)
                        found[base] = (base, f"{place}/{one.name}", int(one.stat(follow_symlinks=False).st_mtime))
        return list(found.values())

    def items(self, done: Collection[str], offset: int) -> Iterator[Item]:
        """By UID where there is a `dovecot-uidlist`, others behind by date; all but those done."""
        keywords = read_keywords(self._small("dovecot-keywords"))
        uids = self._uids()
        last = 2**32
        ordered = sorted(self.files(), key=lambda one: (uids[one[0]].uid if one[0] in uids else last, one[2], one[0]))
        for base, place, date in ordered:
            if base in done:
                continue
            flags = flags_of(place, keywords) if place.startswith("cur/") else frozenset[bytes]()
            unique_id = uids[base].unique_id if base in uids and self.name == "INBOX" else b""
            content, why = None, ""
            try:
                with opened(self._path / place) as file:
                    content, why = taken(iter(lambda: file.read(PIECE), b""))
            except OSError as error:
                why = error.strerror or str(error)
            if why:
                yield Item(f"{self._path}/{place}", 0, None, why=why)
            else:
                yield Item(base, 0, content, flags, max(date, 0), unique_id if possible(unique_id) else b"")

    def _uids(self) -> dict[str, UidLine]:
        """What `dovecot-uidlist` says, by base."""
        found = dict[str, UidLine]()
        with suppress(OSError), opened(self._path / "dovecot-uidlist") as file:
            validity = read_uid_header(file.readline(MAX_LINE))
            while validity is not None and (line := file.readline(MAX_LINE)):
                read = read_uid_line(line, validity)
                if read is not None:
                    found[read.base] = read
        return found

    def _small(self, name: str) -> bytes:
        """A file beside the messages; b"" when it is not there."""
        try:
            with opened(self._path / name) as file:
                return file.read(MAX_FILE)
        except OSError:
            return b""


class MaildirSource:
    """A Maildir with its Maildir++ folders."""

    form, unit = "maildir", "messages"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders = [MaildirFolder(path, "INBOX")]
        for one in sorted(path.iterdir()):
            name = name_of(os.fsencode(one.name)) if one.name.startswith(".") else ""
            if name and not one.is_symlink() and (one / "cur").is_dir():
                self._folders.append(MaildirFolder(one, name))
        self.total = sum(len(folder.files()) for folder in self._folders)

    def folders(self) -> Iterator[MaildirFolder]:
        """INBOX, then by name."""
        return iter(self._folders)

    def subscriptions(self) -> list[str]:
        """Of Dovecot's file, or Courier's with its INBOX in front."""
        names = list[str]()
        for file in ("subscriptions", "courierimapsubscribed"):
            for levels in read_subscriptions(self._folders[0]._small(file)):
                shown = [level_of(level) for level in levels]
                if file.startswith("courier") and len(shown) > 1 and shown[0] == "INBOX":
                    shown = shown[1:]
                if all(shown):
                    names.append("/".join(shown))
        return names
