"""What waits for a destination that cannot be reached (floor 4): its attempt counts for all of it (decisions 34)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.logger import Logger

from ..errors import MailError
from ..values import Queued
from .attempts import NEAR, Attempts, Down

log = Logger()

#: Rows that are leased at once, and in hand at once.
LOT, HELD = 200, 1000

#: Leases so many rows of a destination that are due at an instant.
Lease = Callable[[str, int, float], Awaitable[Sequence[Queued]]]


async def put_off(queue: Any, attempts: Attempts, lease: Lease, row: Queued, rows: Sequence[Queued]) -> None:
    """Put off every row that waits for the destination of `row` by the same way.  `rows` are leased already.

    Raises StoreFull, StoreUnavailable; whatever happens, no lease is left.
    """
    down, server, held = attempts.down(row), attempts.lane(row).server, list(rows)
    others: list[Queued] = []
    try:
        full = down is not None
        while full and down is not None:
            full = await _fetch(lease, row.destination, held, down)
            together = await _sort_out(queue, attempts, server, held, others, down)
            # Of a full lot just the rows that were looked at: they are the longest due.
            await queue.postpone(
                row.destination, down.at + NEAR, (down.wait - NEAR,), down.reply, together if full else None
            )
    finally:
        await give_back(queue, [*held, *others])


async def give_back(queue: Any, rows: Sequence[Queued]) -> None:
    """As if they had not been taken; those that cannot be given back are due when their lease runs out."""
    try:
        await queue.release(*rows)
    except MailError as error:
        log.warn("rows cannot be given back: {reason}", reason=error.text)


async def _fetch(lease: Lease, destination: str, held: list[Queued], down: Down) -> bool:
    """Take what is due; whether there may be more of it."""
    while len(held) < HELD:
        lot = await lease(destination, LOT, down.at + NEAR)
        held += lot
        if len(lot) < LOT:
            return False
    return True


async def _sort_out(
    queue: Any, attempts: Attempts, server: str, held: list[Queued], others: list[Queued], down: Down
) -> int:
    """Give back the rows that can be put off together; how many.  A notice or an end has its minute, so these are
    settled one by one.  What goes another way joins `others`: it stays leased meanwhile, and so is not put off."""
    pressing, together = list[Queued](), list[Queued]()
    for other in held:
        elsewhere = attempts.lane(other).server != server
        (others if elsewhere else pressing if attempts.pressing(other, down) else together).append(other)
    held[:] = pressing
    await queue.release(*together)
    while held:
        await attempts.late(held[-1], down)
        held.pop()
    return len(together)
