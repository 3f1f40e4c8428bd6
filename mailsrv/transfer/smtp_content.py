"""A message as one server can take it (floor 4): RFC 6152, 6531, 3030."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from ..errors import Refused
from ..interfaces import IContent
from ..message import downgrade
from ..message.content import MemoryContent
from ..message.header import header_end
from ..values import Queued
from ..wire.smtp_features import Features

#: Octets read at once; most messages are smaller.
PIECE = 64 * 2**10

#: `await aside(function, *arguments)` works out something long in a thread.
Aside = Callable[..., Awaitable[Any]]


async def here(function: Callable[..., Any], *arguments: Any) -> Any:
    """Without one."""
    return function(*arguments)


@frozen
class Prepared:
    """What is sent: `content`, its `first` octets, what it is (`body`, as of MAIL), and whether its header is
    internationalised."""

    content: IContent
    first: bytes
    body: str
    utf8: bool


async def prepare(content: IContent, row: Queued, features: Features, aside: Aside = here) -> Prepared:
    """The message for a server with these features.  Of what is more than a piece nothing is converted in the reactor's
    thread: 8 MiB take half a second.

    Raises Refused (5.6.3) when it would have to be converted and cannot be, TryLater when it cannot be read.
    """
    declared = row.parameters.get("BODY", "7BIT").upper()
    first = await content.read(0, PIECE)
    if declared == "BINARYMIME" and "BINARYMIME" in features and "CHUNKING" in features:
        return Prepared(content, first, declared, await _utf8(content, first, row, features, aside))
    if "8BITMIME" in features and declared != "BINARYMIME":
        # QUIRK: senders that have eight bits and do not say so; the server may as well know.
        body = "7BIT" if declared == "7BIT" and first.isascii() else "8BITMIME"
        return Prepared(content, first, body, await _utf8(content, first, row, features, aside))
    if declared != "BINARYMIME" and await _ascii(content, first):
        return Prepared(content, first, "7BIT", False)
    utf8 = await _utf8(content, first, row, features, aside)
    octets = await (aside if content.size > PIECE else here)(downgrade.downgrade, await _whole(content))
    return Prepared(MemoryContent(octets), octets[:PIECE], "7BIT", utf8)


async def _utf8(content: IContent, first: bytes, row: Queued, features: Features, aside: Aside) -> bool:
    """Whether it needs SMTPUTF8: it came with that, and a header makes use of it.

    Eight bits in the header of a message that came without are junk that its sender has no right to.
    """
    if "SMTPUTF8" not in row.parameters or (len(first) == content.size and first.isascii()):
        return False
    if "SMTPUTF8" in features:
        return True
    if not first[: header_end(first)].isascii():
        return True
    octets = await _whole(content)
    found: bool = await (aside if len(octets) > PIECE else here)(downgrade.header_beyond_ascii, octets)
    return found


async def _ascii(content: IContent, first: bytes) -> bool:
    at, piece = 0, first
    while piece:
        if not piece.isascii():
            return False
        at += len(piece)
        piece = await content.read(at, PIECE) if at < content.size else b""
    return True


async def _whole(content: IContent) -> bytes:
    if content.size > downgrade.MAX_OCTETS:
        raise Refused("The message is too big to be converted for this server", "5.6.3")
    octets: bytes = await content.read(0, content.size)
    return octets
