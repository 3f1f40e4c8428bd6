"""The queue as one runner sees it (floor 4): a row it has in hand is not taken up a second time.

A lease that runs out makes its row due again.  That is meant for who is gone; but a clock that is set forward ends the
leases of all attempts under way too, and another worker would send those messages a second time.  Then the attempt
goes on, with the new lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from ..interfaces import IQueue
from ..values import Queued, Recipient


class Leases:
    """Wraps an IQueue: `lease`, `settle` and `release` are its own, all else is the queue's."""

    def __init__(self, queue: IQueue) -> None:
        self._queue = queue
        #: The newest token of each row in hand.
        self._tokens: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def __len__(self) -> int:
        """Rows in hand."""
        return len(self._tokens)

    async def lease(self, destination: str, count: int, holder: str, now: float, seconds: float) -> Sequence[Queued]:
        """As IQueue.lease, without rows that are in hand."""
        rows = await self._queue.lease(destination, count, holder, now, seconds)
        fresh = [row for row in rows if row.id not in self._tokens]
        for row in rows:
            self._tokens[row.id] = row.token
        return fresh

    async def settle(self, row: Queued, remaining: Sequence[Recipient], **more: Any) -> bool:
        """As IQueue.settle.  When it raises, the row is still in hand."""
        settled = await self._queue.settle(self._current(row), remaining, **more)
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
