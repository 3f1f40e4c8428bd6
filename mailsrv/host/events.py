"""What happens in a site, and items on their way to whoever follows them (floor 4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from ..errors import Refused
from ..happenings import KINDS
from ..parts import did_you_mean

#: Items that wait for one reader; of what comes beyond only the number is kept.
MAX_WAITING = 1000
#: Readers of the events of a site at a time.
MAX_FOLLOWERS = 32
#: The first words of kinds.
GROUPS = tuple(dict.fromkeys(kind.partition(".")[0] for kind in KINDS))


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


class Events:
    """What happens in one site, for those who follow it.  `clock` gives UTC epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._followers: list[Follower] = []

    def publish(self, kind: str, **facts: Any) -> None:
        """Tell all who follow this kind; see `Publish`."""
        if self._followers:
            event = {"at": round(self._clock(), 3), "kind": kind, **facts}
            for follower in self._followers:
                follower.tell(event)

    def follow(self, kinds: Iterable[str] = (), server: str = "", limit: int = MAX_WAITING) -> Follower:
        """The events from now on: of these kinds ("delivery", "delivery.failed"; none: all), of this server ("": all).

        Iterate over it, and close it at the end.  Raises Refused for a kind that there is not, or too many followers.
        """
        wanted = frozenset(kinds)
        for kind in wanted:
            if kind not in KINDS and kind not in GROUPS:
                raise Refused(f'there is no kind of event "{kind[:100]}"{did_you_mean(kind, [*GROUPS, *KINDS])}')
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Refused(f"{MAX_FOLLOWERS} follow the events already", "4.3.2")
        follower = Follower(self._followers, wanted, server, limit)
        self._followers.append(follower)
        return follower


class Follower(Feed):
    """The events that one reader wants; made by `Events.follow`."""

    def __init__(self, others: list[Follower], kinds: frozenset[str], server: str, limit: int) -> None:
        super().__init__(limit)
        self._others, self._kinds, self._server = others, kinds, server

    def tell(self, event: Mapping[str, Any]) -> None:
        """One event, if it is wanted."""
        kind = event["kind"]
        if self._kinds and kind not in self._kinds and kind.partition(".")[0] not in self._kinds:
            return
        if self._server and event.get("server") != self._server:
            return
        self.push(event)

    def close(self) -> None:
        """Nothing more comes."""
        if self in self._others:
            self._others.remove(self)
        super().close()
