"""Octets of one message as an IContent (floor 1): in memory, or trace fields on top of some other content."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from zope.interface import implementer

from ..errors import StoreUnavailable
from ..interfaces import IContent

#: The largest piece `chunks()` gives (IContent).
CHUNK = 256 * 2**10


@implementer(IContent)
class MemoryContent:
    """Octets held in memory, kept in the pieces they came in."""

    __slots__ = ("_pieces", "_starts", "size")

    def __init__(self, chunks: Sequence[bytes] | bytes) -> None:
        self._pieces: list[bytes] = [chunks] if isinstance(chunks, bytes) else [piece for piece in chunks if piece]
        #: Where the pieces begin, once somebody reads across them.
        self._starts: list[int] = []
        self.size = sum(map(len, self._pieces))

    @classmethod
    def of(cls, pieces: list[bytes], size: int) -> MemoryContent:
        """Of pieces none of which is empty, and which have so many octets in all."""
        made = cls(b"")
        made._pieces, made.size = pieces, size
        return made

    def behind(self, prefix: bytes) -> MemoryContent:
        """`prefix`, which is not empty, then the same octets."""
        return MemoryContent.of([prefix, *self._pieces], len(prefix) + self.size)

    def chunks(self) -> Iterator[bytes]:
        """All octets in pieces of at most 256 KiB; a piece that is small enough is given as it is."""
        for piece in self._pieces:
            if len(piece) <= CHUNK:
                yield piece
            else:
                for at in range(0, len(piece), CHUNK):
                    yield piece[at : at + CHUNK]

    async def read(self, offset: int, length: int) -> bytes:
        """The octets [offset, offset + length), shorter at the end; copies those octets at most."""
        return self.cut(offset, length)

    def cut(self, offset: int, length: int) -> bytes:
        """As `read`, for callers that cannot await."""
        offset = max(offset, 0)
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        if len(self._pieces) == 1:
            return self._pieces[0][offset:end]
        if not self._starts:
            self._starts = [0, *accumulate(map(len, self._pieces[:-1]))]
        first = bisect_right(self._starts, offset) - 1
        skip = offset - self._starts[first]
        if self._starts[first] + len(self._pieces[first]) >= end:
            return self._pieces[first][skip : end - self._starts[first]]
        parts: list[bytes | memoryview] = [memoryview(self._pieces[first])[skip:]]
        for number in range(first + 1, len(self._pieces)):
            start = self._starts[number]
            if start >= end:
                break
            parts.append(memoryview(self._pieces[number])[: end - start])
        return b"".join(parts)

    def close(self) -> None:
        """Nothing to let go of."""


@implementer(IContent)
class _Prefixed:
    """A prefix in memory, then another content."""

    __slots__ = ("_prefix", "_rest", "size")

    def __init__(self, prefix: bytes, rest: IContent) -> None:
        self._prefix = MemoryContent(prefix)
        self._rest = rest
        self.size: int = len(prefix) + rest.size

    def chunks(self) -> Iterator[bytes]:
        yield from self._prefix.chunks()
        yield from self._rest.chunks()

    async def read(self, offset: int, length: int) -> bytes:
        offset = max(offset, 0)
        split = self._prefix.size
        if offset >= split:
            return await self._rest.read(offset - split, length)
        head = self._prefix.cut(offset, length)
        missing = length - len(head)
        if missing <= 0:
            return head
        tail = await self._rest.read(0, missing)
        return head + tail if tail else head

    def close(self) -> None:
        self._rest.close()


def prefixed(prefix: bytes, content: IContent) -> IContent:
    """A content that is `prefix`, then `content`; closing it closes `content`."""
    if type(content) is MemoryContent:
        return content.behind(prefix) if prefix else content
    return _Prefixed(prefix, content) if prefix else content


async def read_all(content: IContent) -> bytes:
    """The whole message.  Raises StoreUnavailable, also when the octets are not all there."""
    size = content.size
    if size <= CHUNK:
        octets: bytes = await content.read(0, size)
    else:
        octets = b"".join([await content.read(at, CHUNK) for at in range(0, size, CHUNK)])
    if len(octets) != size:
        raise StoreUnavailable()
    return octets
