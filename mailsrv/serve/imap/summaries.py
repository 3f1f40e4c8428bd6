"""Summaries that the store does not have yet are made from the content, and kept (floor 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen

from ...errors import MailError
from ...interfaces import IContent, IMailbox
from ...message.content import read_all
from ...message.head import Head, extract
from ...message.header import header_end
from ...message.rewrite import read_head
from ...message.summary import Summary, summarise
from ...values import MessageFacts
from ..session import Services

#: What takes longer than a turn of the reactor: a message of more octets is worked on aside.
LARGE = 512 * 1024


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


async def read_header(content: IContent) -> bytes:
    """The header block, as much of it as is ever looked at."""
    block = await read_head(content)
    return block[: header_end(block)]


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
