"""The octets of a stored message: slices of a segment, read in the reactor thread when they are in memory.

`preadv` with RWF_NOWAIT never waits for the disk; what it does not give is read by a thread (decisions 26).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ...errors import StoreUnavailable
from ...interfaces import IContent
from .segments import SegmentFile

CHUNK = 256 * 2**10


class Readers:
    """A small pool of threads for what may wait for the disk."""

    def __init__(self, call_from_thread: Callable[..., Any], threads: int = 2) -> None:
        self._call_from_thread = call_from_thread
        self._pool = ThreadPool(0, threads, "store reader")
        self._pool.start()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Have `function` called in a thread; fires in the reactor thread with what it gives or raises."""
        deferred: Deferred[Any] = Deferred()

        def done(success: bool, result: Any) -> None:
            if success:
                self._call_from_thread(deferred.callback, result)
            else:
                failure: Failure = result
                self._call_from_thread(deferred.errback, failure)

        self._pool.callInThreadWithCallback(done, function, *arguments)
        return deferred

    def close(self) -> None:
        """Wait for what is being read."""
        self._pool.stop()


@implementer(IContent)
class StoredContent:
    """Octets [at, at + size) of a segment file, which stays open while this is held; None: it is missing."""

    __slots__ = ("_at", "_file", "_readers", "size")

    def __init__(self, file: SegmentFile | None, at: int, size: int, readers: Readers) -> None:
        self._file, self._at, self.size, self._readers = file, at, size, readers

    def chunks(self) -> Iterator[bytes]:
        """All octets in pieces of at most 256 KiB; may wait for the disk.  Raises StoreUnavailable."""
        file = self._held()
        for offset in range(0, self.size, CHUNK):
            yield _read(file, self._at + offset, min(CHUNK, self.size - offset))

    async def read(self, offset: int, length: int) -> bytes:
        """The octets [offset, offset + length), shorter at the end.  Raises StoreUnavailable."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        file, at = self._held(), self._at + offset
        found = _read_cached(file.fd, at, length)
        if len(found) == length:
            return found
        rest: bytes = await self._readers.run(_read, file, at + len(found), length - len(found))
        return found + rest if found else rest

    def close(self) -> None:
        """Let go of the segment; idempotent.  Nothing can be read afterwards."""
        self._file = None

    def _held(self) -> SegmentFile:
        if self._file is None:
            raise StoreUnavailable("The content of this message is missing")
        return self._file


def _read_cached(fd: int, at: int, length: int) -> bytes:
    """As much as can be had without waiting."""
    buffer = bytearray(length)
    try:
        count = os.preadv(fd, [buffer], at, os.RWF_NOWAIT)
    except BlockingIOError:
        return b""
    except OSError as cause:
        if cause.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise StoreUnavailable() from cause
        # A file system without RWF_NOWAIT.
        return b""
    return bytes(buffer) if count == length else bytes(buffer[:count])


def _read(file: SegmentFile, at: int, length: int) -> bytes:
    """Read all of it, waiting for the disk.  Raises StoreUnavailable, also when the file is too short."""
    parts = []
    try:
        while length:
            part = os.pread(file.fd, length, at)
            if not part:
                raise StoreUnavailable("The content of this message is missing")
            parts.append(part)
            at += len(part)
            length -= len(part)
    except OSError as cause:
        raise StoreUnavailable() from cause
    return parts[0] if len(parts) == 1 else b"".join(parts)
