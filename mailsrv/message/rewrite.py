"""A message with header fields taken out or put above (floor 1): only the header is copied, never the body."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from zope.interface import implementer

from ..interfaces import IContent
from .content import MemoryContent, prefixed
from .header import MAX_OCTETS, header_end

#: One whole field: a name, a value perhaps folded, CRLF at the end (RFC 5322 section 2.2).
_FIELD = re.compile(rb"[!-9;-~]{1,200}:[^\r\n\0]*+(?:\r\n[ \t][^\r\n\0]*+)*+\r\n")
#: The first octets read to find a header's end; most headers are shorter.
_FIRST = 8192
#: Most messages have fewer octets, and are read at once.
_PIECE = 64 * 2**10
_RETURN_PATH = b"return-path:"


def is_field(octets: bytes) -> bool:
    """Whether these octets are one whole header field and nothing else."""
    return _FIELD.fullmatch(octets) is not None


async def read_head(content: IContent, most: int = MAX_OCTETS) -> bytes:
    """The header with its blank line, and perhaps what follows; cut at `most` octets."""
    head = await content.read(0, min(content.size, _FIRST, most))
    if header_end(head) >= len(head) and content.size > len(head) < most:
        head = await content.read(0, min(content.size, most))
    return head


def without(head: bytes, names: Collection[bytes]) -> bytes:
    """The fields of a header but those of these names (lower case), with the blank line if there is one.

    `head` ends where its header ends.
    """
    kept: list[bytes] = []
    keep = True
    lines = [line + b"\n" for line in head.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    for line in lines:
        if line[:1] not in (b" ", b"\t"):
            keep = line.partition(b":")[0].rstrip(b" \t\r\n").lower() not in names
        if keep:
            kept.append(line)
    return b"".join(kept)


async def rewritten(content: IContent, prefix: bytes, removed: Collection[bytes] = ()) -> IContent:
    """`content` without the fields named, and `prefix` above it; closing it closes `content`.

    Of a header larger than `MAX_OCTETS` only that much is looked at.
    """
    if removed:
        head = await read_head(content)
        end = header_end(head)
        kept = without(head[:end], removed)
        if len(kept) != end:
            return prefixed(prefix + kept, _Tail(content, end)) if prefix + kept else _Tail(content, end)
    return prefixed(prefix, content)


async def without_return_path(content: IContent) -> IContent:
    """`content` without the Return-Path that we put on top of it: that is not sent on (RFC 5321 section 4.4).

    One further down came with the message and is nothing to us.  A message that is not large is read once and for all.
    """
    first = await content.read(0, _PIECE)
    end = first.find(b"\r\n") + 2 if first[: len(_RETURN_PATH)].lower() == _RETURN_PATH else 0
    if end < 2:
        return content
    return MemoryContent(first[end:]) if len(first) == content.size else _Tail(content, end)


@implementer(IContent)
class _Tail:
    """Another content from an offset on."""

    __slots__ = ("_content", "_start", "size")

    def __init__(self, content: IContent, start: int) -> None:
        self._content = content
        self._start = start
        self.size: int = content.size - start

    def chunks(self) -> Iterator[bytes]:
        skip = self._start
        for chunk in self._content.chunks():
            if skip >= len(chunk):
                skip -= len(chunk)
            elif skip:
                yield chunk[skip:]
                skip = 0
            else:
                yield chunk

    async def read(self, offset: int, length: int) -> bytes:
        octets: bytes = await self._content.read(self._start + max(offset, 0), length)
        return octets

    def close(self) -> None:
        self._content.close()
