"""The queue as one runner sees it (floor 4): what an attempt has brought is not forgotten, and made once.

A lease that runs out makes its row due again.  That is meant for who is gone; but a clock that is set forward ends the
leases of all attempts under way too, and another worker would send those messages a second time.  Then the attempt
goes on, with the new lease.

What cannot be written down now (a full disk) is *owed*: it is written down before its row is tried again, else whoever
has the message would get it every half minute until there is room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from ..errors import TryLater
from ..interfaces import IQueue
from ..values import Queued, Recipient

#: Settlements that are owed, at most; the oldest are forgotten, and those attempts made again.
MEMORY = 100_000


class Leases:
    """Wraps an IQueue: `lease`, `settle` and `release` are its own, all else is the queue's."""

    def __init__(self, queue: IQueue) -> None:
        self._queue = queue
        #: The newest token of each row in hand.
        self._tokens: dict[int, str] = {}
        self._owed: OrderedDict[int, tuple[Sequence[Recipient], dict[str, Any]]] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def __len__(self) -> int:
        """Rows in hand."""
        return len(self._tokens)

    async def lease(self, destination: str, count: int, holder: str, now: float, seconds: float) -> Sequence[Queued]:
        """As IQueue.lease, without rows that are in hand, or whose attempt has been made.

        Raises StoreFull, StoreUnavailable while what was made cannot be written down; then no row is taken.
        """
        rows = await self._queue.lease(destination, count, holder, now, seconds)
        fresh = [row for row in rows if row.id not in self._tokens]
        for row in rows:
            self._tokens[row.id] = row.token
        if self._owed:
            fresh = await self._written(fresh)
        return fresh

    async def _written(self, rows: list[Queued]) -> list[Queued]:
        """Those of the rows that nothing is owed of; what is, is written down."""
        owed, left = [row for row in rows if row.id in self._owed], list(rows)
        try:
            while owed:
                remaining, more = self._owed[owed[0].id]
                await self.settle(owed[0], remaining, **more)
                left.remove(owed.pop(0))
        finally:
            if owed:
                await self.release(*left)
        return left

    async def settle(self, row: Queued, remaining: Sequence[Recipient], **more: Any) -> bool:
        """As IQueue.settle.  When it raises, the row is still in hand, and the settlement owed."""
        try:
            settled = await self._queue.settle(self._current(row), remaining, **more)
        except TryLater:
            self._owed[row.id] = (remaining, more)
            if len(self._owed) > MEMORY:
                self._owed.popitem(last=False)
            raise
        self._owed.pop(row.id, None)
        self._tokens.pop(row.id, None)
        return settled

    async def release(self, *rows: Queued) -> None:
        """As IQueue.release."""
        current = [self._current(row) for row in rows]
        for row in rows:
            self._tokens.pop(row.id, None)
        await self._queue.release(*current)

    def _current(self, row: Queued) -> Queued:
        token = self._tokens.get(row.id, row.token)
        return row if token == row.token else evolve(row, token=token)
