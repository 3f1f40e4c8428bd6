"""Bad mail (floor 4): messages that can be neither delivered nor returned, kept for whoever looks after abuse.

One folder for each SMTP server (S-131); in it KEY.eml, the message, and KEY.json, its envelope and why it is there
(S-129).  Nothing here is ever tried again by itself (S-130, decisions 38).  All of it blocks on files: for a thread.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ..errors import NoSuchMailbox, Refused, StoreFull, StoreUnavailable
from ..interfaces import IContent
from ..net.spool import FileContent
from ..values import Address, Envelope, Outcome, Queued, Recipient

#: What a folder holds at most; the oldest makes room.
MAX_MESSAGES, MAX_OCTETS = 10_000, 2**30
#: The largest KEY.json that is read: 64,000 recipients with long addresses.
MAX_JSON = 64 * 2**20
VERSION = 1
_KEY = re.compile(r"[A-Za-z0-9]{1,64}-[0-9]{1,20}")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@frozen
class BadEntry:
    """One message of bad mail.  `delivery` is its id, `row` that of the queue, `when` it came here, `received_at` when
    it was accepted (UTC epoch seconds); `outcomes` tell for each recipient what was said.  `size` counts octets."""

    delivery: str
    row: int
    when: float
    server: str = ""
    origin: str = "outside"
    received_at: float = 0.0
    reverse_path: Address | None = None
    parameters: Mapping[str, str] = field(factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    size: int = 0

    @property
    def key(self) -> str:
        """Its name here; the same for the same row, so that a message moved here twice is here once."""
        return f"{self.delivery}-{self.row}"

    @property
    def envelope(self) -> Envelope:
        """With which it can be sent again."""
        return Envelope(self.reverse_path, tuple(one.recipient for one in self.outcomes), dict(self.parameters))


def entry_of(row: Queued, outcomes: Sequence[Outcome], when: float) -> BadEntry:
    """The entry for those recipients of a row that have failed."""
    return BadEntry(
        row.delivery, row.id, when, row.server, row.origin, row.received_at, row.reverse_path, row.parameters,
        tuple(outcomes),
    )  # fmt: skip


class BadMail:
    """The bad mail of one server.  `folder()` is asked every time, so it may change at any moment (S-132); what lies in
    the old one stays there."""

    def __init__(
        self, folder: Callable[[], Path], *, most: int = MAX_MESSAGES, octets: int = MAX_OCTETS
    ) -> None:
        self._folder, self._most, self._octets = folder, most, octets

    def keep(self, content: IContent, entry: BadEntry) -> str:
        """Keep a message, durably; gives its key.  Raises StoreFull, StoreUnavailable; then it is not here."""
        folder, key = self._folder(), _checked(entry.key)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(folder, content.size)
            _write(folder, f"{key}.eml", content.chunks())
            _write(folder, f"{key}.json", [_packed(entry)])
            _sync(folder)
        except OSError as error:
            with suppress(OSError):
                self._remove(folder, key)
            kind = StoreFull if error.errno in _FULL else StoreUnavailable
            raise kind("The folder of bad mail cannot be written") from error
        return key

    def entries(self, after: str = "", most: int = 1000) -> list[BadEntry]:
        """In the order of their keys, the oldest messages first; `after` is the last key seen.

        What lies there and makes no sense is left out.
        """
        folder, found = self._folder(), list[BadEntry]()
        for key in sorted(key for key in self._keys(folder) if key > after):
            if len(found) >= most:
                break
            with suppress(Refused, StoreUnavailable):
                found.append(self._read(folder, key))
        return found

    def show(self, key: str) -> BadEntry:
        """One entry.  Raises NoSuchMailbox where there is none, Refused where it cannot be read."""
        return self._read(self._folder(), _checked(key))

    def content(self, key: str) -> IContent:
        """The message; the caller closes it.  Raises NoSuchMailbox, StoreUnavailable."""
        path = self._folder() / f"{_checked(key)}.eml"
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise NoSuchMailbox(f"There is no bad mail {key}") from error
        except OSError as error:
            raise StoreUnavailable("The folder of bad mail cannot be read") from error
        return FileContent(file, os.fstat(file.fileno()).st_size)

    def resubmit(self, key: str) -> tuple[BadEntry, IContent]:
        """What is needed to send it again as a new message; it stays here until `delete`.  Raises as `content`."""
        entry = self.show(key)
        return entry, self.content(key)

    def delete(self, key: str) -> bool:
        """Forget it for good; whether it was there.  Raises StoreUnavailable."""
        folder = self._folder()
        try:
            removed = self._remove(folder, _checked(key))
            if removed:
                _sync(folder)
        except OSError as error:
            raise StoreUnavailable("The folder of bad mail cannot be written") from error
        return removed

    # ------------------------------------------------------------ files

    def _keys(self, folder: Path) -> list[str]:
        """Of entries that are complete: the json is written last."""
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailable("The folder of bad mail cannot be read") from error
        keys = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return [key for key in keys if _KEY.fullmatch(key)]

    def _read(self, folder: Path, key: str) -> BadEntry:
        try:
            with (folder / f"{key}.json").open("rb") as file:
                octets = file.read(MAX_JSON + 1)
            size = (folder / f"{key}.eml").stat().st_size
        except FileNotFoundError as error:
            raise NoSuchMailbox(f"There is no bad mail {key}") from error
        except OSError as error:
            raise StoreUnavailable("The folder of bad mail cannot be read") from error
        return _unpacked(key, octets, size)

    def _remove(self, folder: Path, key: str) -> bool:
        """The json first: without it there is no entry."""
        found = False
        for suffix in (".json", ".eml"):
            try:
                (folder / f"{key}{suffix}").unlink()
                found = True
            except FileNotFoundError:
                continue
        return found

    def _make_room(self, folder: Path, size: int) -> None:
        """The oldest messages go until one of that size fits, and with them what a crash left."""
        sizes: dict[str, list[float]] = {}
        with os.scandir(folder) as scanned:
            for item in scanned:
                name = item.name.removeprefix(".").partition(".")[0]
                if not _KEY.fullmatch(name):
                    continue
                with suppress(FileNotFoundError):
                    facts = item.stat(follow_symlinks=False)
                    sizes.setdefault(name, [facts.st_mtime, 0])[1] += facts.st_size
        total = sum(octets for _, octets in sizes.values()) + size
        for name in sorted(sizes, key=lambda one: sizes[one][0]):
            if total <= self._octets and len(sizes) < self._most:
                return
            self._remove(folder, name)
            for suffix in (".json", ".eml"):
                (folder / f".{name}{suffix}").unlink(missing_ok=True)
            total -= sizes.pop(name)[1]


def _checked(key: str) -> str:
    """A key, which names a file.  Raises NoSuchMailbox."""
    if not _KEY.fullmatch(key):
        raise NoSuchMailbox("That is no key of bad mail")
    return key


def _write(folder: Path, name: str, chunks: Iterable[bytes]) -> None:
    """All or nothing: under another name first."""
    hidden = folder / f".{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(hidden, flags, 0o600), "wb", buffering=0) as file:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        hidden.replace(folder / name)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- json


def _packed(entry: BadEntry) -> bytes:
    """Readable by people too: one recipient a line."""
    path = entry.reverse_path
    head = {
        "version": VERSION, "message": entry.delivery, "row": entry.row, "when": entry.when, "server": entry.server,
        "origin": entry.origin, "received_at": entry.received_at,
        "reverse_path": None if path is None else [path.local, path.domain], "parameters": dict(entry.parameters),
    }  # fmt: skip
    recipients = [
        {
            "recipient": [one.recipient.address.local, one.recipient.address.domain],
            "parameters": one.recipient.parameters, "status": one.status, "reply": one.reply, "host": one.host,
        }
        for one in entry.outcomes
    ]  # fmt: skip
    lines = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    shown = ",\n  ".join(json.dumps(one) for one in recipients)
    return ("{\n" + ",\n".join(lines) + ',\n"recipients": [\n  ' + shown + "\n]}\n").encode("ascii")


def _unpacked(key: str, octets: bytes, size: int) -> BadEntry:
    """Raises Refused for what nobody here has written."""
    try:
        read = json.loads(octets) if len(octets) <= MAX_JSON else None
        if not isinstance(read, dict) or read["version"] != VERSION:
            raise ValueError("another version")
        path = read["reverse_path"]
        entry = BadEntry(
            str(read["message"]), int(read["row"]), float(read["when"]), str(read["server"]), str(read["origin"]),
            float(read["received_at"]), None if path is None else _address(path), _texts(read["parameters"]),
            tuple(_outcome(one) for one in read["recipients"]), size,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Refused(f"{key}.json cannot be read", "5.3.0") from error
    if entry.key != key:
        raise Refused(f"{key}.json belongs to another message", "5.3.0")
    return entry


def _outcome(read: Any) -> Outcome:
    recipient = Recipient(_address(read["recipient"]), _texts(read["parameters"]))
    return Outcome(recipient, "failed", str(read["status"]), str(read["reply"]), str(read["host"]))


def _address(read: Any) -> Address:
    local, domain = read
    return Address(str(local), str(domain))


def _texts(read: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in read.items()}
