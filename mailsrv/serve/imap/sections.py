"""BODY[...] and its kin (floor 3; RFC 3501 section 6.4.5): slices of a message's octets as literals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.logger import Logger

from ...errors import MailError, StoreUnavailable
from ...interfaces import IContent
from ...message.head import Head, numbers_of
from ...message.header import select_fields
from ...message.summary import Summary
from ...wire import imap_print as p
from ...wire.imap_requests import FetchItem
from . import binary
from .summaries import read_header

if TYPE_CHECKING:
    from .session import ImapSession

log = Logger()

#: A longer section is read and sent in pieces of so many octets.
PIECE = 64 * 1024


async def _read(content: IContent, offset: int, length: int) -> bytes:
    """Exactly these octets.  Raises StoreUnavailable."""
    octets = await content.read(offset, length)
    if len(octets) != length:
        raise StoreUnavailable()
    return octets


def _cut(item: FetchItem, offset: int, length: int) -> tuple[int, int]:
    """What the item's partial range leaves of a section."""
    if item.partial is None:
        return offset, length
    start, count = item.partial
    start = min(start, length)
    return offset + start, min(count, length - start)


def _in_head(item: FetchItem) -> frozenset[int]:
    """The numbers of the fields that an item asks for; none when it asks for more than the usual ones."""
    section = item.section
    if section is None or section.part or section.text != "HEADER.FIELDS":
        return frozenset()
    return numbers_of(section.fields) or frozenset()


def _is_whole(item: FetchItem) -> bool:
    """Whether an item asks for the whole message."""
    section = item.section
    return (
        item.name == "SECTION" and section is not None and item.partial is None
        and not (section.part or section.text or section.fields)
    )  # fmt: skip


async def send_whole(session: ImapSession, head: bytes, label: bytes, content: IContent) -> None:
    """One response with the message as it is."""
    size = content.size
    if size <= PIECE:
        session.put(b"%b%b {%d}\r\n%b)\r\n" % (head, label, size, await _read(content, 0, size)))
    else:
        await _stream(session, head + p.section_head(label, size), content, 0, size)
        session.put(b")\r\n")
    await session.pace()


class Sections:
    """The sections of one FETCH.  `marks`: \\Seen is set on the way; `wanted` of the store: "summary" for the offsets
    of parts, or "head" alone, which has all that is asked for.  `heads`: (label, numbers of fields) of all, when they
    are nothing but whole choices of the usual fields and mark nothing.  `whole`: the label, when it is the message as
    it is and nothing else."""

    __slots__ = ("_binary", "_items", "_numbers", "heads", "marks", "wanted", "whole")

    def __init__(self, items: Sequence[FetchItem]) -> None:
        self._items = items
        self._binary = [item for item in items if item.name != "SECTION"]
        self.marks = any(not item.peek for item in items)
        self._numbers = [_in_head(item) for item in items]
        structured = any(item.section is not None and (item.section.part or item.section.text) for item in items)
        self.wanted = frozenset({"summary"} if structured else ())
        if all(self._numbers):
            self.wanted = frozenset({"head"})
        self.heads: list[tuple[bytes, frozenset[int]]] = []
        if all(self._numbers) and not self.marks and all(item.partial is None for item in items):
            self.heads = [(item.label, numbers) for item, numbers in zip(items, self._numbers)]
        self.whole = items[0].label if len(items) == 1 and _is_whole(items[0]) else None

    def send_heads(self, session: ImapSession, head: bytes, fields: Head) -> None:
        """The same, of nothing but the record of the usual fields."""
        space = b"" if head.endswith(b"(") else b" "
        for item, numbers in zip(self._items, self._numbers):
            chosen = fields.select(numbers)
            start, count = _cut(item, 0, len(chosen))
            head += space + p.section(item.label, chosen[start : start + count])
            space = b" "
        session.put(head + b")\r\n")

    async def send(
        self, session: ImapSession, head: bytes, summary: Summary | None, content: IContent, uid: int = 0
    ) -> None:
        """Write `head`, the sections and the end of the response.  Raises binary.UnknownEncoding before the first."""
        decoded = {}
        if self._binary:
            selection, breathe = session.selection, session.connection.breathe
            decoded = await binary.look(selection, uid, self._binary, summary, content, breathe)
        parts = [head]
        space = b"" if head.endswith(b"(") else b" "
        for item in self._items:
            parts.append(space)
            space = b" "
            if item.label in decoded:
                parts = [await binary.send(session, b"".join(parts), decoded[item.label], content)]
                continue
            if summary is None and item.section is not None and item.section.fields:
                # A header too large for a record of its fields.
                chosen = select_fields(await read_header(content), item.section.fields, False)
                start, count = _cut(item, 0, len(chosen))
                parts.append(p.section(item.label, chosen[start : start + count]))
                continue
            found = self._find(item, summary, content)
            if found is None:
                parts.append(p.section(item.label, None))
                continue
            offset, length = found
            assert item.section is not None
            if item.section.fields:
                block = await _read(content, offset, length)
                chosen = select_fields(block, item.section.fields, item.section.text.endswith("NOT"))
                start, count = _cut(item, 0, len(chosen))
                parts.append(p.section(item.label, chosen[start : start + count]))
                continue
            offset, length = _cut(item, offset, length)
            if length <= PIECE:
                parts.append(p.section(item.label, await _read(content, offset, length)))
            else:
                parts.append(p.section_head(item.label, length))
                await _stream(session, b"".join(parts), content, offset, length)
                parts.clear()
        parts.append(b")\r\n")
        session.put(b"".join(parts))

    @staticmethod
    def _find(item: FetchItem, summary: Summary | None, content: IContent) -> tuple[int, int] | None:
        """Where the section is, before its partial range; None: there is no such section."""
        section = item.section
        assert section is not None
        if not section.part and not section.text:
            return 0, content.size
        assert summary is not None
        return summary.find(section.part, "HEADER" if section.fields else section.text)


async def _stream(session: ImapSession, head: bytes, content: IContent, offset: int, length: int) -> None:
    """A long section, at the pace of the client.

    Once the literal has begun nothing else can be said.  Raises ConnectionResetError when it cannot be ended.
    """
    end = offset + length
    piece = await _read(content, offset, PIECE)
    session.put(head)
    session.streaming = True
    try:
        while True:
            session.put(piece)
            offset += len(piece)
            await session.pace()
            if offset >= end:
                break
            await session.connection.breathe()
            piece = await _read(content, offset, min(PIECE, end - offset))
    except MailError as error:
        log.warn("a message could not be read to its end: {error}", error=error.text)
        raise ConnectionResetError("cut off inside a literal") from error
    session.streaming = False
