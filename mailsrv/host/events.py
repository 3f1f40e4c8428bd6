"""Items on their way to whoever follows them (floor 4)."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

#: Items that wait for one reader; of what comes beyond only the number is kept.
MAX_WAITING = 1000


class Feed:
    """Items for one reader, who iterates over it (`async for`).

    `push` never waits: what comes while `limit` items are waiting is left out, and in its place the reader gets
    ``{"lost": how many}``.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._items: deque[Any] = deque()
        self._limit = limit
        self._lost = 0
        self._closed = False
        self._reader: Deferred[None] | None = None

    def push(self, item: Any) -> None:
        """One more item; after the end nothing happens."""
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self._lost += 1
            return
        if self._lost:
            self._items.append(self._gap())
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """The end: the reader gets what waits, and no more."""
        self._closed = True
        self._wake()

    def _gap(self) -> dict[str, int]:
        """What stands for items that were left out."""
        lost, self._lost = self._lost, 0
        return {"lost": lost}

    def _wake(self) -> None:
        """Let the reader look again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Any:
        """The next item, as soon as there is one; one reader at a time."""
        while not self._items:
            if self._lost:
                return self._gap()
            if self._closed:
                raise StopAsyncIteration
            self._reader = Deferred()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._items.popleft()
