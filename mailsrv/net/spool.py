"""Content on its way in (floor 2a): in memory up to a bound, then in an unnamed temporary file.

The file has no name from the moment it exists, so a crash leaves nothing behind; it is never synced, because
the store copies it into its own durable form before anything is acknowledged.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from zope.interface import implementer

from ..errors import StoreFull
from ..interfaces import IContent
from ..message.content import MemoryContent

_PIECE = 256 * 1024


@implementer(IContent)
class FileContent:
    """Content in an open file, which is closed with it."""

    __slots__ = ("_file", "size")

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        """Pieces of at most 256 KiB, in order."""
        at = 0
        while at < self.size:
            piece = os.pread(self._file.fileno(), _PIECE, at)
            if not piece:
                return
            at += len(piece)
            yield piece

    async def read(self, offset: int, length: int) -> bytes:
        """A slice; the octets were just written, so they come from memory."""
        return os.pread(self._file.fileno(), max(0, min(length, self.size - offset)), offset)

    def close(self) -> None:
        """Close the file, which has no name and is gone then."""
        self._file.close()


class Spool:
    """Collects the octets of one message.  `size` counts them."""

    __slots__ = ("_bound", "_file", "_folder", "_pieces", "size")

    def __init__(self, folder: str, memory_octets: int) -> None:
        self._folder = folder
        self._bound = memory_octets
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None
        self.size = 0

    def write(self, octets: bytes) -> None:
        """Append.  Raises StoreFull when the disk is full."""
        self.size += len(octets)
        if self._file is None:
            if octets:
                self._pieces.append(octets)
            if self.size <= self._bound:
                return
            octets = b"".join(self._pieces)
            self._pieces.clear()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)
            view = memoryview(octets)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.discard()
            raise StoreFull() from error

    def finish(self) -> IContent:
        """What was written, as content."""
        if self._file is None:
            pieces, self._pieces = self._pieces, []
            return MemoryContent.of(pieces, self.size)
        file, self._file = self._file, None
        return FileContent(file, self.size)

    def discard(self) -> None:
        """Forget it all."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
