"""BINARY (floor 3; RFC 3516, RFC 9051 section 6.4.5): parts without their transfer encoding.

A literal tells its size first, so a part is decoded twice: once to count, once to send.  What is short is kept from
the first time.  Both read the same pieces, so that even broken text comes to the same size.  Clients get a large part
range by range; so that not each range decodes all before it, the selection knows where the last one ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING

from attrs import define
from twisted.logger import Logger

from ...errors import MailError, StoreUnavailable
from ...interfaces import IContent
from ...message.decoding import IDENTITY, Decoder, decoder, encoding_of
from ...message.header import MAX_OCTETS
from ...message.summary import Summary
from ...wire import imap_print as p
from ...wire.imap_requests import FetchItem
from ...wire.smtp_binary import BinaryReader
from .answer import No

if TYPE_CHECKING:
    from .selected import Selection
    from .session import ImapSession

log = Logger()

#: Encoded octets decoded at a time; decoded octets of one message that are kept from the counting.
PIECE, KEPT = 32 * 1024, 256 * 1024


class UnknownEncoding(Exception):
    """A part has a transfer encoding that cannot be undone (UNKNOWN-CTE)."""


@define
class Mark:
    """A place between two pieces of a part: of which message and part, the encoded octet, how many decoded ones are
    before it, and what the decoder is then."""

    uid: int
    part: tuple[int, ...]
    at: int
    total: int
    decoder: Decoder


@define
class Decoded:
    """One item as it will be sent: `size` octets from the decoded octet `skip` on; `octets` are they, if kept.
    `place` (offset, length) is where the encoded part lies, None: there is no such part.  `begin`: where decoding
    begins, None: at the beginning."""

    item: FetchItem
    encoding: bytes = b""
    place: tuple[int, int] | None = None
    skip: int = 0
    size: int = 0
    octets: bytes | None = None
    begin: Mark | None = None


class _Reader:
    """The decoded octets of a part, piece by piece."""

    __slots__ = ("_at", "_content", "_decoder", "_end")

    def __init__(
        self, content: IContent, place: tuple[int, int], encoding: bytes, begin: Mark | None = None
    ) -> None:
        self._content = content
        self._at, self._end = place[0], place[0] + place[1]
        self._decoder: Decoder | None = None if encoding in IDENTITY else decoder(encoding)
        if begin is not None:
            self._at, self._decoder = begin.at, copy(begin.decoder)

    def mark(self, uid: int, part: tuple[int, ...], total: int) -> Mark | None:
        """Where it is now, behind so many decoded octets; None at the end."""
        return None if self._decoder is None else Mark(uid, part, self._at, total, copy(self._decoder))

    async def piece(self) -> bytes | None:
        """The next octets, perhaps none; None at the end.  Raises StoreUnavailable."""
        if self._at >= self._end:
            rest, self._decoder = self._decoder.finish() if self._decoder is not None else b"", None
            return rest or None
        octets = await self._content.read(self._at, min(PIECE, self._end - self._at))
        if not octets:
            raise StoreUnavailable()
        self._at += len(octets)
        return octets if self._decoder is None else self._decoder.take(octets)


async def look(
    selection: Selection | None, uid: int, items: Sequence[FetchItem], summary: Summary | None, content: IContent,
    breathe: Callable[[], Awaitable[None]],
) -> dict[bytes, Decoded]:
    """Label -> what will be sent for each of the BINARY items of a message, of that UID in the selection.

    Raises UnknownEncoding before anything is said of the message, StoreUnavailable.
    """
    found: dict[bytes, Decoded] = {}
    kept = KEPT
    for item in items:
        one = found[item.label] = await _located(item, summary, content)
        if one.place is None:
            continue
        start, count = item.partial or (0, None)
        if one.encoding in IDENTITY:
            one.skip = min(start, one.place[1])
            one.size = one.place[1] - one.skip if count is None else min(count, one.place[1] - one.skip)
            continue
        if selection is not None and item.partial is not None:
            assert item.section is not None
            mark, part = selection.mark, item.section.part
            if mark is not None and (mark.uid, mark.part) == (uid, part) and mark.total <= start:
                one.begin = mark
            selection.mark = await _count(one, content, start, count, kept, breathe, (uid, part))
        else:
            await _count(one, content, start, count, kept if item.name == "BINARY" else 0, breathe)
        kept -= len(one.octets or b"")
    return found


async def _located(item: FetchItem, summary: Summary | None, content: IContent) -> Decoded:
    """Where the part lies, and its encoding.  Raises UnknownEncoding."""
    section = item.section
    assert section is not None
    if not section.part:
        return Decoded(item, place=(0, content.size))
    assert summary is not None
    place, mime = summary.find(section.part), summary.find(section.part, "MIME")
    if place is None or mime is None:
        return Decoded(item)
    encoding = encoding_of(await content.read(mime[0], min(mime[1], MAX_OCTETS)))
    if encoding not in IDENTITY and decoder(encoding) is None:
        raise UnknownEncoding
    return Decoded(item, encoding, place)


async def _count(
    one: Decoded, content: IContent, start: int, count: int | None, keep: int, breathe: Callable[[], Awaitable[None]],
    key: tuple[int, tuple[int, ...]] = (0, ()),
) -> Mark | None:
    """How many octets there are of what the client asked for; kept where they are few.  Gives the last place between
    pieces that is not behind their end."""
    assert one.place is not None
    reader, before = _Reader(content, one.place, one.encoding, one.begin), one.begin.total if one.begin else 0
    total, mark = before, one.begin
    end = None if count is None else start + count
    kept: list[bytes] | None = [] if keep else None
    held = 0
    while end is None or total < end:
        mark = reader.mark(*key, total) if end is not None else None
        piece = await reader.piece()
        if piece is None:
            break
        if kept is not None and total + len(piece) > start:
            kept.append(piece[max(start - total, 0) :])
            held += len(kept[-1])
            if held > keep:
                kept = None
        total += len(piece)
        await breathe()
    first = min(start, total)
    one.skip = first - before
    one.size = (total if end is None else min(total, end)) - first
    if kept is not None:
        one.octets = b"".join(kept)[: one.size]
    return mark


async def send(session: ImapSession, head: bytes, one: Decoded, content: IContent) -> bytes:
    """Write `head` and the item; gives what is still to be written with what follows it.

    Raises ConnectionResetError when a literal that has begun cannot be ended.
    """
    item = one.item
    if item.name == "BINARY.SIZE":
        return head + b"%b %d" % (item.label, one.size)
    if one.place is None:
        return head + p.section(item.label, None)
    head += p.literal8_head(item.label, one.size)
    if one.octets is not None:
        return head + one.octets
    place, skip = one.place, one.skip
    if one.encoding in IDENTITY:
        place, skip = (place[0] + skip, one.size), 0
    session.put(head)
    session.streaming = True
    try:
        await _pour(session, _Reader(content, place, one.encoding, one.begin), skip, one.size)
    except MailError as error:
        log.warn("a message could not be read to its end: {error}", error=error.text)
        raise ConnectionResetError("cut off inside a literal") from error
    session.streaming = False
    return b""


async def _pour(session: ImapSession, reader: _Reader, skip: int, left: int) -> None:
    """Exactly `left` octets behind the first `skip`.  Raises StoreUnavailable."""
    while left:
        piece = await reader.piece()
        if piece is None:
            raise StoreUnavailable()
        chosen = piece[skip : skip + left]
        skip -= min(skip, len(piece))
        left -= len(chosen)
        session.put(chosen)
        await session.pace()
        await session.connection.breathe()


async def as_text(session: ImapSession, content: IContent) -> IContent:
    """A message with NULs as it can be kept: its binary parts as base64 (docs/decisions/0013).

    The caller closes what is given; `content` stays its own.  Raises No when it cannot be done (RFC 3516 section 4.4),
    StoreFull.
    """
    reader, spool = BinaryReader(session.limits.text_line_octets), session.services.spool()
    try:
        for at in range(0, content.size, PIECE):
            spool.write(reader.take(await content.read(at, PIECE)))
            await session.connection.breathe()
        spool.write(reader.finish())
        if reader.malformed or reader.nul:
            raise No("UNKNOWN-CTE", "Binary octets where the message does not say that they are binary")
        return spool.finish()
    finally:
        spool.discard()
