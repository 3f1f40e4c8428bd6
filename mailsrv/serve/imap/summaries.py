"""Summaries that the store does not have yet are made from the content, and kept (floor 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen

from ...errors import MailError, StoreUnavailable
from ...interfaces import IContent, IMailbox
from ...message.head import Head, extract
from ...message.header import MAX_OCTETS, header_end
from ...message.summary import Summary, summarise
from ...values import MessageFacts
from ..session import Services

#: Octets read at a time.
PIECE = 256 * 1024
#: What takes longer than a turn of the reactor: a message of more octets is worked on aside.
LARGE = 512 * 1024


async def read_all(content: IContent) -> bytes:
    """The whole message.  Raises StoreUnavailable, also when the octets are not all there."""
    size = content.size
    if size <= PIECE:
        octets = await content.read(0, size)
    else:
        octets = b"".join([await content.read(at, PIECE) for at in range(0, size, PIECE)])
    if len(octets) != size:
        raise StoreUnavailable()
    return octets


async def examine(services: Services, function: Callable[[Any], Any], what: Any, octets: int) -> Any:
    """`function(what)`, aside when so many octets are to be read through."""
    return function(what) if octets <= LARGE else await services.aside(function, what)


@frozen
class Kind:
    """One sort of record: how it is known to be of this version, what makes it, of the whole message or its header."""

    name: str
    current: Callable[[bytes | None], bool]
    make: Callable[[bytes], bytes]
    whole: bool


SUMMARY = Kind("summary", Summary.current, summarise, True)
HEAD = Kind("head", Head.current, extract, False)
KINDS = (SUMMARY, HEAD)
#: What is read of a message first when only its header is asked for.
_HEADER_OCTETS = 16 * 1024


async def read_header(content: IContent) -> bytes:
    """The header block, as much of it as is ever looked at."""
    block = await content.read(0, _HEADER_OCTETS)
    end = header_end(block)
    if end == len(block) and content.size > len(block):
        block = await content.read(0, MAX_OCTETS)
        end = header_end(block)
    return block[:end]


async def complete(
    mailbox: IMailbox, facts: Sequence[MessageFacts | None], services: Services, breathe: Callable[[], Awaitable[None]],
    kind: Kind = SUMMARY,
) -> None:  # fmt: skip
    """Fill in the records that are missing or of another version; a message that is gone is left without."""
    name, current = kind.name, kind.current
    missing = [known for known in facts if known is not None and not current(getattr(known, name))]
    if not missing:
        return
    contents = await mailbox.contents([known.uid for known in missing])
    made = []
    try:
        for known, content in zip(missing, contents):
            setattr(known, name, None)
            if content is not None:
                octets = await (read_all(content) if kind.whole else read_header(content))
                record: bytes = await examine(services, kind.make, octets, len(octets))
                setattr(known, name, record)
                made.append((known.uid, record))
                await breathe()
    finally:
        for content in contents:
            if content is not None:
                content.close()
    try:
        await mailbox.keep_summaries(made, name)
    except MailError:
        # They can be made again; the answer does not depend on it.
        return
