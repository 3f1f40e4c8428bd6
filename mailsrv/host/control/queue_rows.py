"""Rows of the queue: which of them an administrator means, and what is told of each (floor 6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from ...errors import Refused
from ...message.header import header_end
from ...message.report_text import harmless
from ...parts import DURATION, did_you_mean
from ...values import Queued, Wanted, state_of
from ..config.values import HOSTNAME
from .common import MAX_ADDRESS, address_of, shown

STATES = ("waiting", "held", "trying")
#: Rows that are read at a time: few at first, as the first ones are often enough.
FIRST_PAGE, PAGE = 100, 1000
#: Ids that are named at once, digits of a row's, and characters of a message's that are told.
MAX_IDS, MAX_DIGITS, MAX_DELIVERY = 10_000, 12, 64
#: Characters of a filter, and of a header that is shown; addresses shown of a row in a list, and of one alone.
MAX_TEXT, MAX_HEADER = 500, 64 * 2**10
MAX_LISTED, MAX_SHOWN = 5, 1000


def wanted_of(
    now: float, server: str, sender: str, recipient: str, domain: str, older: str, state: str, reply: str
) -> Wanted:
    """From the arguments of an operation, of which "" says nothing.  Raises Refused."""
    for name, text in (("server", server), ("reply", reply), ("older", older), ("state", state)):
        if len(text) > MAX_TEXT:
            raise Refused(f"{name}: at most {MAX_TEXT} characters")
    if state and state not in STATES:
        raise Refused(f'no state "{state}"{did_you_mean(state, STATES)}; states are {", ".join(STATES)}')
    try:
        before = now - DURATION.read(older) if older else None
    except ValueError as error:
        raise Refused(f"older: {error}") from None
    sender = sender.strip()
    return Wanted(
        server,
        sender if sender == "<>" else _address(sender),
        _address(recipient.strip()),
        destination_of(domain) if domain else "",
        before,
        state,
        reply.lower(),
    )


def _address(text: str) -> str:
    """An address or @domain, as `Wanted` has it.  Raises Refused."""
    if text.startswith("@") and len(text) <= MAX_ADDRESS:
        return f"@{address_of('x' + text).domain}"
    return str(address_of(text)).lower() if text else ""


def destination_of(text: str) -> str:
    """A domain, a host, an address in brackets, or another name that a row can have.  Raises Refused."""
    name = text.strip().lower()
    if not 0 < len(name) <= MAX_TEXT or not name.isprintable():
        raise Refused("a destination is a domain, a host name, or an address in brackets such as [192.0.2.1]")
    try:
        return str(HOSTNAME.read(name))
    except ValueError:
        return name


# ---------------------------------------------------------------- finding them


async def scan(queue: Any, wanted: Wanted, after: int = 0) -> AsyncIterator[Queued]:
    """All of them, in the order they were made.  Raises StoreUnavailable."""
    page = FIRST_PAGE
    while True:
        rows: Sequence[Queued] = await queue.queued(after=after, most=page, wanted=wanted)
        for row in rows:
            if wanted.fits(row):
                yield row
        if len(rows) < page:
            return
        after, page = rows[-1].id, PAGE


async def named(queue: Any, ids: Sequence[str], wanted: Wanted) -> list[Queued]:
    """Those with these ids: of rows ("17"), or of messages ("0b6yk3m2x7q4r"), which may have several rows.

    Raises Refused for the first that is not there, or does not fit; StoreUnavailable.
    """
    if len(ids) > MAX_IDS:
        raise Refused(f"at most {MAX_IDS} ids at once")
    asked = [_id(text) for text in ids]
    numbers = sorted({one for one in asked if isinstance(one, int)})
    deliveries = {one for one in asked if isinstance(one, str)}
    rows: dict[int, Queued] = {}
    if numbers:
        rows = {row.id: row for row in await queue.queued(numbers, most=len(numbers)) if wanted.fits(row)}
    if deliveries:
        async for row in scan(queue, wanted):
            if row.delivery in deliveries:
                rows[row.id] = row
    known = {*rows, *(row.delivery for row in rows.values())}
    for one, text in zip(asked, ids):
        if one not in known:
            where = f" of {wanted.server}" if wanted.server else ""
            raise Refused(
                f'nothing in the queue{where} has the id "{text[:MAX_DELIVERY]}": it has been delivered, has ended, or '
                f"was never there; `mailsrv queue list` tells what waits"
            )
    return [rows[number] for number in sorted(rows)]


def _id(text: str) -> int | str:
    """The number of a row, or the id of a message, which is longer (decisions 31)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else text.lower()


# ---------------------------------------------------------------- telling of them


def facts_of(row: Queued, most: int = MAX_LISTED) -> dict[str, Any]:
    """A row for JSON, with so many of its recipients."""
    return {
        "id": row.id,
        "message": row.delivery,
        "destination": row.destination,
        "sender": "<>" if row.reverse_path is None else shown(row.reverse_path),
        "recipients": [shown(one.address) for one in row.recipients[:most]],
        "recipient_count": len(row.recipients),
        "server": row.server,
        "origin": row.origin,
        "size": row.size,
        "received_at": row.received_at,
        "attempts": row.attempts,
        "due": row.due,
        "state": state_of(row),
        "noticed": row.noticed,
        "reply": harmless(row.reply, 2000),
    }


async def header_text(content: Any) -> str:
    """The header of a message as text, at most `MAX_HEADER` octets of it."""
    octets = await content.read(0, MAX_HEADER)
    block = octets[: header_end(octets)]
    text = block.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text).rstrip("\n")
