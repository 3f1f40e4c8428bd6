"""Summaries that the store does not have yet are made from the content, and kept (floor 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ...errors import MailError, StoreUnavailable
from ...interfaces import IContent, IMailbox
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


async def complete(
    mailbox: IMailbox, facts: Sequence[MessageFacts | None], services: Services, breathe: Callable[[], Awaitable[None]]
) -> None:
    """Fill in the summaries that are missing or of another version; a message that is gone is left without."""
    missing = [known for known in facts if known is not None and not Summary.current(known.summary)]
    if not missing:
        return
    contents = await mailbox.contents([known.uid for known in missing])
    made = []
    try:
        for known, content in zip(missing, contents):
            known.summary = None
            if content is not None:
                record: bytes = await examine(services, summarise, await read_all(content), content.size)
                known.summary = record
                made.append((known.uid, record))
                await breathe()
    finally:
        for content in contents:
            if content is not None:
                content.close()
    try:
        await mailbox.keep_summaries(made)
    except MailError:
        # They can be made again; the answer does not depend on it.
        return
