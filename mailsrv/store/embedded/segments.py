"""Segment files: DATA/segments/NNNNNNNN.gG, append-only, the record of all content (decisions 2 and 3).

A reference is (segment, ordinal).  A sealed segment ends in a footer with the places of its records; the active
one keeps them in memory.  Compaction writes the same number with the next generation; ordinals stay.

    footer   4s "MSFT", I count, then count ordinals, starts and body starts (I each), I CRC-32
    end      Q where the footer begins, 8s "MSEGEND" 0x01
"""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from ...errors import StoreUnavailable
from . import records
from .records import FILE_HEADER, FileHeader, Found, Scan

_FOOTER = struct.Struct("<4sI")
_END = struct.Struct("<Q8s")
_FOOTER_MAGIC, _END_MAGIC = b"MSFT", b"MSEGEND\x01"
_NAME = re.compile(r"(\d{8})\.g(\d+)\Z")
#: Segments kept open for reading, beside those that a content in use holds.
MAX_OPEN = 128


def segment_path(folder: Path, number: int, generation: int) -> Path:
    """The file of one generation of a segment."""
    return folder / f"{number:08d}.g{generation}"


def sync_folder(folder: Path) -> None:
    """Make names created in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Places:
    """Where the records of a segment are: parallel arrays, ordinals ascending (with holes after compaction)."""

    __slots__ = ("bodies", "ordinals", "starts")

    def __init__(self) -> None:
        self.ordinals, self.starts, self.bodies = array("I"), array("I"), array("I")

    def __len__(self) -> int:
        return len(self.ordinals)

    def add(self, ordinal: int, start: int, body: int) -> None:
        """Note one more record; the ordinal last, so that a reader in another thread never finds half."""
        self.starts.append(start)
        self.bodies.append(body)
        self.ordinals.append(ordinal)

    def cut(self, count: int) -> None:
        """Forget all but the first `count` records."""
        del self.ordinals[count:], self.starts[count:], self.bodies[count:]

    def index(self, ordinal: int) -> int:
        """The position of a record; -1 when it is not there."""
        ordinals = self.ordinals
        if ordinal < len(ordinals) and ordinals[ordinal] == ordinal:
            return ordinal
        at = bisect_left(ordinals, ordinal)
        return at if at < len(ordinals) and ordinals[at] == ordinal else -1

    def encode(self, at: int) -> bytes:
        """The footer of a segment whose records end at `at`."""
        columns = map(_little, (self.ordinals, self.starts, self.bodies))
        data = _FOOTER.pack(_FOOTER_MAGIC, len(self)) + b"".join(columns)
        return data + records.TRAILER.pack(crc32(data)) + _END.pack(at, _END_MAGIC)

    @classmethod
    def decode(cls, data: bytes) -> Places | None:
        """Read a footer (without the end mark); None when it is not whole."""
        if len(data) < _FOOTER.size + 4 or crc32(data[:-4]) != records.TRAILER.unpack(data[-4:])[0]:
            return None
        magic, count = _FOOTER.unpack_from(data)
        if magic != _FOOTER_MAGIC or len(data) != _FOOTER.size + 12 * count + 4:
            return None
        places = cls()
        for number, column in enumerate((places.ordinals, places.starts, places.bodies)):
            column.frombytes(data[_FOOTER.size + 4 * count * number : _FOOTER.size + 4 * count * (number + 1)])
            if sys.byteorder == "big":
                column.byteswap()
        return places


def _little(column: array[int]) -> bytes:
    """The octets of a column in the order of the format, whatever the machine's."""
    if sys.byteorder == "big":
        column = array("I", column)
        column.byteswap()
    return column.tobytes()


class SegmentFile:
    """One generation of a segment, open for reading; closed when the last holder lets go of it."""

    __slots__ = ("__weakref__", "end", "fd", "head", "path", "places", "sealed")

    def __init__(self, path: Path, head: FileHeader, fd: int, places: Places, sealed: bool, end: int) -> None:
        self.path, self.head, self.fd = path, head, fd
        self.places, self.sealed, self.end = places, sealed, end

    def __del__(self) -> None:
        os.close(self.fd)

    @classmethod
    def open(cls, path: Path) -> SegmentFile:
        """Open a file and read its header and footer; without a footer `places` is empty and `sealed` False.

        Raises OSError, StoreUnavailable for a file that is no segment."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = FileHeader.decode(os.pread(fd, FILE_HEADER.size, 0))
            if head is None:
                raise StoreUnavailable(f"{path} is not a segment of this store")
            size = os.fstat(fd).st_size
            places, end = _read_footer(fd, size)
        except (OSError, StoreUnavailable):
            os.close(fd)
            raise
        return cls(path, head, fd, places or Places(), places is not None, end)

    def scan(self, progress: Scan) -> Iterator[Found]:
        """All whole records (see `records.scan`), footer left out."""
        return records.scan(self.fd, self.head, self.end, progress)

    def body_place(self, ordinal: int) -> int:
        """Where the body of a record starts; -1 when it is not there."""
        at = self.places.index(ordinal)
        return -1 if at < 0 else self.places.bodies[at]

    def record(self, ordinal: int) -> Found | None:
        """One record, checked; None when it is not there or not whole."""
        at = self.places.index(ordinal)
        if at < 0:
            return None
        return records.read_record(self.fd, self.head, self.places.starts[at], os.fstat(self.fd).st_size, -1)


def _read_footer(fd: int, size: int) -> tuple[Places | None, int]:
    """(the places, where the records end); (None, the file's size) without a whole footer."""
    if size < FILE_HEADER.size + _END.size:
        return None, size
    at, magic = _END.unpack(os.pread(fd, _END.size, size - _END.size))
    if magic != _END_MAGIC or not FILE_HEADER.size <= at <= size - _END.size:
        return None, size
    places = Places.decode(os.pread(fd, size - _END.size - at, at))
    return (places, at) if places is not None else (None, size)


class SegmentSet:
    """All segments of a store, for every thread: number -> newest generation; a bounded number stay open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._generations: dict[int, int] = {}
        self._open: OrderedDict[int, SegmentFile] = OrderedDict()
        self._active: SegmentFile | None = None

    def load(self) -> list[Path]:
        """Read the folder; gives the files that a newer generation or a crash left behind."""
        stale = []
        for path in sorted(self.folder.iterdir()):
            match = _NAME.match(path.name)
            if match is None:
                if path.name.endswith(".tmp"):
                    stale.append(path)
                continue
            number, generation = int(match[1]), int(match[2])
            known = self._generations.get(number)
            if known is not None:
                stale.append(segment_path(self.folder, number, min(known, generation)))
            self._generations[number] = generation if known is None else max(known, generation)
        return stale

    def numbers(self) -> list[int]:
        """The numbers of all segments, ascending."""
        with self._lock:
            return sorted(self._generations)

    def path(self, number: int) -> Path:
        """The newest file of a segment."""
        return segment_path(self.folder, number, self._generations[number])

    def get(self, number: int) -> SegmentFile:
        """The segment, open.  Raises StoreUnavailable when it is not there or cannot be opened."""
        with self._lock:
            active = self._active
            if active is not None and active.head.number == number:
                return active
            found = self._open.get(number)
            if found is not None:
                self._open.move_to_end(number)
                return found
            if number not in self._generations:
                raise StoreUnavailable("The content of this message is missing")
            try:
                found = SegmentFile.open(self.path(number))
                if not found.sealed:
                    # Given up after a failed write: it has no footer before the next start.
                    for record in found.scan(Scan()):
                        found.places.add(record.ordinal, record.start, record.body)
                self._open[number] = found
            except OSError as cause:
                raise StoreUnavailable() from cause
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
            return found

    def publish(self, file: SegmentFile, *, active: bool = False) -> None:
        """Make a new segment, or the next generation of one, the one to be read."""
        number = file.head.number
        with self._lock:
            self._generations[number] = file.head.generation
            self._open.pop(number, None)
            if active:
                if self._active is not None:
                    self._open[self._active.head.number] = self._active
                self._active = file
            else:
                self._drop_active(number)
                self._open[number] = file

    def _drop_active(self, number: int) -> None:
        """The active segment was sealed, and another file has taken its place."""
        if self._active is not None and self._active.head.number == number:
            self._active = None

    def forget(self, number: int) -> None:
        """A segment in which nothing was live is gone."""
        with self._lock:
            self._generations.pop(number, None)
            self._open.pop(number, None)
            self._drop_active(number)

    def close(self) -> None:
        """Let go of all files that nobody else holds."""
        with self._lock:
            self._open.clear()
            self._active = None
