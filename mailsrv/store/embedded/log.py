"""The active segment: the writer thread appends records, then makes a whole batch durable with one sync.

After a failed write or sync nothing is tried again on that descriptor (decisions 4): the file is cut back to
what was durable and closed, and the next batch opens a segment with the next number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from zlib import crc32

from attrs import frozen

from ...errors import StoreUnavailable
from ...interfaces import IContent
from . import records
from .records import FILE_HEADER, FileHeader
from .segments import Places, SegmentFile, SegmentSet, segment_path, sync_folder

#: A content up to this size waits in memory for the batch's one write; a larger one is streamed at once.
MEMORY_OCTETS = 2**20
#: The most buffers of one pwritev (IOV_MAX is 1024 on Linux).
_VECTORS = 1000

Reference = tuple[int, int]


@frozen
class Mark:
    """A place in the log to go back to when one operation of a batch fails."""

    number: int
    count: int
    buffers: int
    written: int
    position: int


class SegmentLog:
    """What the writer thread alone may touch.  `sync` is `os.fdatasync`, replaceable to prove failures."""

    def __init__(self, segments: SegmentSet, segment_octets: int, sync: Callable[[int], None] = os.fdatasync) -> None:
        self._segments = segments
        self._limit = min(segment_octets, 2**30)
        self._sync = sync
        self._fd = -1
        self._file: SegmentFile | None = None
        self._number = 0
        self._ordinal = 0
        #: `_position` is where the next record goes, `_written` how far the file has been written, `_durable`
        #: how far it was synced.
        self._position = self._written = self._durable = 0
        self._buffers: list[bytes] = []
        self.sealed: Callable[[int], None] = lambda number: None

    @property
    def active(self) -> int:
        """The number of the segment that is written to; 0 before the first."""
        return self._number if self._file is not None else 0

    @property
    def following(self) -> Reference:
        """What the next record will be called (unless it rolls over)."""
        return self._number, self._ordinal

    def start_after(self, number: int) -> None:
        """The next segment gets a number above this one."""
        self._number = number

    def resume(self, file: SegmentFile, next_ordinal: int) -> None:
        """Go on with the unsealed last segment, whose torn tail is cut off already."""
        self._fd = os.open(file.path, os.O_WRONLY | os.O_CLOEXEC)
        self._file, self._number = file, file.head.number
        self._position = self._written = self._durable = file.end
        self._ordinal = next_ordinal
        self._segments.publish(file, active=True)

    def mark(self) -> Mark:
        """Where the log is now."""
        count = 0 if self._file is None else len(self._file.places)
        return Mark(self._number, count, len(self._buffers), self._written, self._position)

    def back(self, mark: Mark) -> None:
        """Forget the records added since the mark (those that already rolled over stay, unreferred)."""
        if self._file is None or mark.number != self._number:
            return
        places = self._file.places
        self._ordinal -= len(places) - mark.count
        places.cut(mark.count)
        self._position = mark.position
        if self._written == mark.written:
            del self._buffers[mark.buffers :]
        else:
            # A large content was streamed since; what it left in the file is written over or cut off.
            self._buffers.clear()
            self._written = mark.position

    def abandon(self, start: Mark) -> None:
        """A batch that began at `start` was refused although the segment works.  What was written already stays
        as records that nothing refers to: the index may turn out to know them after a crash."""
        if start.number == self._number and start.written == self._written:
            self.back(start)

    def add(self, kind: int, header: bytes, content: IContent | None = None) -> Reference:
        """Append one record; durable after `commit`.  Raises OSError of the segment or of the content's file,
        StoreUnavailable when the content does not have its size."""
        size = 0 if content is None else content.size
        if self._file is None or (self._position >= self._limit and self._ordinal):
            self._roll()
        assert self._file is not None
        ordinal, start = self._ordinal, self._position
        first = records.prefix(kind, self._number, ordinal, len(header), size) + header
        crc = crc32(first, self._file.head.seed)
        if content is None:
            self._buffers += (first, records.TRAILER.pack(crc))
        elif size <= MEMORY_OCTETS:
            body = list(_chunks(content))
            octets = 0
            for chunk in body:
                crc = crc32(chunk, crc)
                octets += len(chunk)
            if octets != size:
                raise StoreUnavailable("The content does not have the size it claims")
            self._buffers += (first, *body, records.TRAILER.pack(crc))
        else:
            self._stream(first, content, crc)
        self._position = start + len(first) + size + records.TRAILER.size
        self._ordinal = ordinal + 1
        self._file.places.add(ordinal, start, start + len(first))
        return self._number, ordinal

    def _stream(self, first: bytes, content: IContent, crc: int) -> None:
        """Write a large content chunk by chunk, in constant memory."""
        self._write()
        start = self._written
        try:
            at = write_all(self._fd, [first], start)
            for chunk in _chunks(content):
                crc = crc32(chunk, crc)
                at = write_all(self._fd, [chunk], at)
                if at - start - len(first) > content.size:
                    break
            if at - start - len(first) != content.size:
                raise StoreUnavailable("The content does not have the size it claims")
            self._written = write_all(self._fd, [records.TRAILER.pack(crc)], at)
        except (OSError, StoreUnavailable):
            self._written = start
            raise

    def _write(self) -> None:
        """Hand all waiting buffers to the file."""
        if self._buffers:
            buffers, self._buffers = self._buffers, []
            self._written = write_all(self._fd, buffers, self._written)

    def commit(self) -> None:
        """Make all records durable.  Raises OSError; then `fail` must follow."""
        self._write()
        if self._durable != self._written:
            self._sync(self._fd)
            self._durable = self._written

    def fail(self) -> None:
        """Give up the active segment after a failed write or sync; what was durable stays readable."""
        self._buffers.clear()
        if self._file is None:
            return
        places, durable = self._file.places, self._durable
        count = len(places)
        while count and places.starts[count - 1] >= durable:
            count -= 1
        places.cut(count)
        self._file.end = durable
        fd, self._fd = self._fd, -1
        path, number, self._file = self._file.path, self._number, None
        self.sealed(number)
        for action in (lambda: os.close(fd), lambda: os.truncate(path, durable)):
            try:
                action()
            except OSError:
                # The tail stays; the next start finds that no whole record is in it, or that nothing refers to it.
                continue
        if not count:
            self._segments.forget(number)
            path.unlink(missing_ok=True)

    def _roll(self) -> None:
        """Seal the active segment and open the next."""
        if self._file is not None:
            self.seal()
        number = self._number + 1
        folder = self._segments.folder
        path = segment_path(folder, number, 0)
        head = FileHeader(number, 0, os.urandom(16))
        # A file of this number can only be the rest of a failed try.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            end = write_all(fd, [head.encode()], 0)
            os.fsync(fd)
            sync_folder(folder)
            reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._number, self._ordinal = fd, number, 0
        self._file = SegmentFile(path, head, reader, Places(), False, end)
        self._position = self._written = self._durable = end
        self._segments.publish(self._file, active=True)

    def seal(self) -> None:
        """Write the footer of the active segment and make it durable.  Raises OSError; then `fail` must follow."""
        if self._file is None:
            return
        self.commit()
        file = self._file
        seal_file(self._fd, file)
        os.close(self._fd)
        self._fd, self._file = -1, None
        self.sealed(file.head.number)

    def close(self) -> None:
        """Let go of the descriptor; what was committed is durable already."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file = -1, None


def seal_file(fd: int, file: SegmentFile) -> None:
    """Put the footer behind the records of `file` (through `fd`) and sync it."""
    file.end = max(end_of(file), FILE_HEADER.size)
    end = write_all(fd, [file.places.encode(file.end)], file.end)
    os.ftruncate(fd, end)
    os.fdatasync(fd)
    file.sealed = True


def end_of(file: SegmentFile, count: int | None = None) -> int:
    """Where the last record of a segment ends, or the first `count` of them, from its own prefix."""
    last = (len(file.places) if count is None else count) - 1
    if last < 0:
        return file.end if count is None else FILE_HEADER.size
    found = records.PREFIX.unpack(os.pread(file.fd, records.PREFIX.size, file.places.starts[last]))
    return file.places.bodies[last] + found[7] + records.TRAILER.size


def write_all(fd: int, buffers: list[bytes], at: int) -> int:
    """Write all buffers at an offset; gives the offset behind them.  Raises OSError."""
    for first in range(0, len(buffers), _VECTORS):
        part: list[bytes | memoryview] = list(buffers[first : first + _VECTORS])
        wanted = sum(map(len, part))
        while True:
            done = os.pwritev(fd, part, at)
            at += done
            wanted -= done
            if not wanted:
                break
            while done >= len(part[0]):
                done -= len(part.pop(0))
            part[0] = memoryview(part[0])[done:]
    return at


def _chunks(content: IContent) -> Iterator[bytes]:
    """The content's octets; a failure of its own file is its own, not the segment's."""
    try:
        yield from content.chunks()
    except OSError as cause:
        raise StoreUnavailable() from cause
