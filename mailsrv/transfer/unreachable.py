"""What waits for a destination that cannot be reached (floor 4): its attempt counts for all of it (decisions 34)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from ..errors import MailError
from ..values import Queued
from .attempts import NEAR, Attempts, Down

log = Logger()

#: Rows that are leased at once, and in hand at once.
LOT, HELD = 200, 1000


class Turns:
    """Has those who `await turn()` go on one by one, each in a turn of the reactor of its own: when the network is gone
    hundreds of destinations are put off at once, and nobody else must wait for that.

    One at a time is `alone()`, with a lot of rows in hand: those of all at once are so many objects that the garbage
    collector stops the process for a tenth of a second, again and again.
    """

    def __init__(self, call_later: Callable[..., Any]) -> None:
        self._lock = DeferredLock()
        self._call_later = call_later
        self._waiting: deque[Deferred[None]] = deque()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Among those who ask for it."""
        await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    async def turn(self) -> None:
        """Wait for it."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            self._call_later(0, self._next)
        await waiting

    def _next(self) -> None:
        waiting = self._waiting.popleft()
        if self._waiting:
            self._call_later(0, self._next)
        # Who was cancelled meanwhile has been told.
        if not waiting.called:
            waiting.callback(None)


#: Leases so many rows of a destination that are due at an instant.
Lease = Callable[[str, int, float], Awaitable[Sequence[Queued]]]


async def put_off(
    queue: Any, attempts: Attempts, lease: Lease, turns: Turns, row: Queued, rows: Sequence[Queued]
) -> None:
    """Put off every row that waits for the destination of `row` by the same way.  `rows` are leased already.

    Raises StoreFull, StoreUnavailable; whatever happens, no lease is left.
    """
    down, server, held = attempts.down(row), attempts.lane(row).server, list(rows)
    others: list[Queued] = []
    try:
        full = down is not None
        while full and down is not None:
            async with turns.alone():
                full = await _fetch(lease, turns, row.destination, held, down)
                await turns.turn()
                together = await _sort_out(queue, attempts, turns, server, held, others, down)
            while held:
                await attempts.late(held[-1], down)
                held.pop()
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


async def _fetch(lease: Lease, turns: Turns, destination: str, held: list[Queued], down: Down) -> bool:
    """Take what is due; whether there may be more of it."""
    while len(held) < HELD:
        await turns.turn()
        lot = await lease(destination, LOT, down.at + NEAR)
        held += lot
        if len(lot) < LOT:
            return False
    return True


async def _sort_out(
    queue: Any, attempts: Attempts, turns: Turns, server: str, held: list[Queued], others: list[Queued], down: Down
) -> int:
    """Give back the rows that can be put off together; how many.  A notice or an end has its minute, so these stay in
    `held` and are settled one by one.  What goes another way joins `others`: it stays leased meanwhile, and so is not
    put off."""
    pressing, together = list[Queued](), list[Queued]()
    for at in range(0, len(held), LOT):
        if at:
            await turns.turn()
        for other in held[at : at + LOT]:
            elsewhere = attempts.lane(other).server != server
            (others if elsewhere else pressing if attempts.pressing(other, down) else together).append(other)
    held[:] = pressing
    await queue.release(*together)
    return len(together)
