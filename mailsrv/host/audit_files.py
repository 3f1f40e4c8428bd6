"""The files of the audit log (floor 4): appended to, changed for new ones, read backwards.  All of it blocks.

``audit.log`` is written; when it is full it becomes ``audit.log.000001`` and so on, and the oldest goes when there are
too many.  A line is one record.  What a crash has torn is no line, and left out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

NAME = "audit.log"
_OLD = re.compile(re.escape(NAME) + r"\.(\d{6,12})")
#: Files that are kept, with the one that is written.
KEPT = 10
#: How a record begins that tells what came of another.
END = b'{"end":"'

Record = dict[str, Any]
#: Number of a file, offset in it.
Place = tuple[int, int]


class AuditFiles:
    """The files in one folder, of `size` octets each; used by one thread at a time."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._path = folder, folder / NAME
        self._size = size
        self._descriptor = -1
        self._length = 0
        self._torn = False

    def append(self, octets: bytes) -> None:
        """Write whole lines; they are on the disk when this returns.  Raises OSError: then perhaps some are."""
        try:
            if self._descriptor < 0:
                self._open()
            if self._length and self._length + len(octets) > self._size:
                self._change()
            self._write(b"\n" + octets if self._torn else octets)
            self._torn = False
            os.fsync(self._descriptor)
        except OSError:
            # What a failed sync has left nobody knows: nothing is tried again on that descriptor.
            self.close()
            raise

    def _write(self, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            self._torn = True
            written = os.write(self._descriptor, view)
            self._length += written
            view = view[written:]

    def _open(self) -> None:
        made = not self._path.exists()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._length = os.fstat(self._descriptor).st_size
        self._torn = self._length > 0 and os.pread(self._descriptor, 1, self._length - 1) != b"\n"
        if made:
            self._sync_folder()

    def _change(self) -> None:
        """Begin a new file."""
        self.close()
        old = self._old()
        number = max(old, default=0) + 1
        os.rename(self._path, self._folder / f"{NAME}.{number:06}")
        for gone in sorted(old)[: max(len(old) + 2 - KEPT, 0)]:
            self._named(gone).unlink(missing_ok=True)
        self._open()

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Idempotent; the next record opens the file again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def _old(self) -> list[int]:
        """The numbers of the full files."""
        return [int(found[1]) for name in os.listdir(self._folder) if (found := _OLD.fullmatch(name))]

    def _named(self, number: int) -> Path:
        return self._folder / f"{NAME}.{number:06}"

    # ------------------------------------------------------------ reading

    def page(
        self, wanted: Callable[[Record], bool], since: str, limit: int, after: str = ""
    ) -> tuple[list[Record], str]:
        """Records that are wanted, the newest first, none before `since`; what came of each is in it.

        Gives also what to say as `after` for the next page, "" when there is none.  Raises OSError, ValueError for an
        `after` that no page gave.
        """
        before, start = _positions(after)
        #: What came of records that are yet to come, with its place.
        ends: dict[str, tuple[Place, bytes]] = {}
        rows: list[Record] = []
        last: Place = (0, 0)
        for place, line in self._backwards(start):
            if line.startswith(END):
                ends[line[len(END) :].split(b'"', 1)[0].decode("ascii", "replace")] = place, line
                continue
            record = _read(line) if before is None or place < before else None
            if record is None:
                continue
            if record["at"] < since:
                break
            if not wanted(record):
                ends.pop(record["id"], None)
            elif len(rows) == limit:
                # The next page begins where the end of the first of its records may stand.
                return rows, _text(last, max([place, *(where for where, _ in ends.values())]))
            else:
                rows.append(_whole(record, ends.pop(record["id"], (place, b""))[1]))
                last = place
        return rows, ""

    def _backwards(self, start: Place | None) -> Iterator[tuple[Place, bytes]]:
        """Lines with their places (file, offset), from the newest; or from the one at `start`."""
        old = sorted(self._old(), reverse=True)
        numbers = [(max(old, default=0) + 1, self._path), *((number, self._named(number)) for number in old)]
        for number, path in numbers:
            if start is not None and number > start[0]:
                continue
            try:
                octets = path.read_bytes()
            except FileNotFoundError:
                continue
            end = octets.rfind(b"\n") + 1
            if start is not None and number == start[0]:
                end = octets.find(b"\n", start[1]) + 1
            while end:
                begin = octets.rfind(b"\n", 0, end - 1) + 1
                yield (number, begin), octets[begin : end - 1]
                end = begin


def _read(line: bytes) -> Record | None:
    """A record; None for what is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    fits = isinstance(record, dict) and isinstance(record.get("id"), str) and isinstance(record.get("at"), str)
    return record if fits else None


def _whole(record: Record, end: bytes) -> Record:
    """With what came of it: "unknown" when that was never written."""
    ended = _read_end(end)
    return {"outcome": "unknown", **record, **ended}


def _read_end(line: bytes) -> Record:
    try:
        record = json.loads(line) if line else {}
    except ValueError:
        return {}
    if not isinstance(record, dict):
        return {}
    return {{"at": "ended"}.get(key, key): value for key, value in record.items() if key != "end"}


def _text(before: Place, start: Place) -> str:
    return f"{before[0]}.{before[1]}-{start[0]}.{start[1]}"


def _positions(after: str) -> tuple[Place | None, Place | None]:
    """Raises ValueError."""
    if not after:
        return None, None
    found = re.fullmatch(r"(\d{1,12})\.(\d{1,12})-(\d{1,12})\.(\d{1,12})", after)
    if found is None:
        raise ValueError("it is not what a page gave")
    one, two, three, four = map(int, found.groups())
    return (one, two), (three, four)
