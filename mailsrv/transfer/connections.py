"""Connections to other servers, kept and counted (floor 4): S-113, S-114, S-122 and decisions 34.

A *place* is the right to have one connection.  Who cannot have one waits, first come first served; a destination at its
own limit holds up nobody else.  A connection that is kept for the next message has its place too, and gives it up when
somebody else waits for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from ..net.client import Connector
    from ..net.outgoing import Outgoing

#: Messages over one connection (S-122).
MESSAGES = 20
#: Seconds that a connection without work is kept.
KEEP = 5.0


@define(eq=False)
class Place:
    """The right to have a connection to a `domain`: empty, or filled with one.

    `key` says to whom and as whom; `used` counts transactions; `since` when it was last given back.
    """

    domain: str
    key: Hashable = None
    outgoing: Outgoing | None = None
    used: int = 0
    since: float = 0.0
    free: bool = False
    #: Whatever its user wants to remember: the hop.
    note: Any = None


@define(eq=False)
class _Waiter:
    """Somebody who waits for a place."""

    domain: str
    keys: Sequence[Hashable]
    granted: Deferred[Place] = field(factory=Deferred)


class Connections:
    """The places of one SMTP virtual server.

    `total` and `per_domain` limit connections (None: no limit), `messages` what one carries, `keep` the seconds that
    one without work is kept.
    """

    def __init__(
        self, connector: Connector, *, total: int | None = None, per_domain: int | None = None,
        messages: int | None = MESSAGES, keep: float = KEEP,
    ) -> None:  # fmt: skip
        self._connector = connector
        self._total, self._per_domain, self._messages, self._keep = total, per_domain, messages, keep
        self._count = 0
        self._domains: Counter[str] = Counter()
        self._idle: dict[Hashable, list[Place]] = {}
        self._waiting: list[_Waiter] = []
        #: Places whose connection is on its way out because somebody else needs the room.
        self._leaving: set[Place] = set()
        self._serving = self._again = False
        connector.on_tick.append(self._tick)

    def __len__(self) -> int:
        return self._count

    def counts(self) -> dict[str, int]:
        """Connections by domain, those that are kept included."""
        return dict(self._domains)

    # ------------------------------------------------------------ for the agent

    async def take(self, domain: str, keys: Sequence[Hashable] = ()) -> Place:
        """A place with a connection of one of these keys that was kept, or else an empty one, waited for."""
        waiter = _Waiter(domain, keys)
        place = None if self._waiting else self._grant(waiter)
        if place is not None:
            return place
        self._waiting.append(waiter)
        self._serve()
        try:
            return await waiter.granted
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def fill(self, place: Place, key: Hashable, outgoing: Outgoing) -> None:
        """There is a connection in the place now; the place is free when that is gone."""
        place.key, place.outgoing = key, outgoing
        outgoing.on_lost = lambda: self._freed(place)

    def give_back(self, place: Place) -> None:
        """No more work for now: the connection is kept if it is good for more, else closed."""
        made = place.outgoing
        if made is None:
            self._freed(place)
        elif made.lost or made.client.over or made.client.reader.buffered or self._worn(place) or self._keep < 0:
            self._close(place)
        else:
            place.since = self._connector.monotonic()
            self._idle.setdefault(place.key, []).append(place)
        if self._waiting:
            self._serve()

    def drop(self, place: Place) -> None:
        """The connection may be in the middle of anything: cut it off."""
        made = place.outgoing
        if made is None:
            self._freed(place)
        elif not made.lost:
            made.abort()

    def close(self) -> None:
        """Keep no connection any more: take leave of all servers that nothing is being sent to."""
        self._keep = -1.0
        if self._tick in self._connector.on_tick:
            self._connector.on_tick.remove(self._tick)
        for kept in list(self._idle.values()):
            for place in list(kept):
                self._close(place)

    # ------------------------------------------------------------ places

    def _worn(self, place: Place) -> bool:
        return self._messages is not None and place.used >= self._messages

    def _grant(self, waiter: _Waiter) -> Place | None:
        """What can be given to somebody now; connections without work may have to go before that."""
        for key in waiter.keys:
            kept = self._idle.get(key)
            while kept:
                place = kept.pop()
                if not kept:
                    del self._idle[key]
                made = place.outgoing
                if made is not None and not made.lost and not made.client.reader.buffered:
                    return place
                self._close(place)
        domain = waiter.domain
        if self._per_domain is not None and self._domains[domain] >= self._per_domain:
            self._make_room(domain)
            return None
        if self._total is not None and self._count >= self._total:
            self._make_room(None)
            return None
        self._count += 1
        self._domains[domain] += 1
        return Place(domain)

    def _make_room(self, domain: str | None) -> None:
        """Close the connection that has been without work for longest, of a domain or at all; one at a time."""
        if any(domain in (None, place.domain) for place in self._leaving):
            return
        oldest = None
        for kept in self._idle.values():
            for place in kept:
                if domain in (None, place.domain) and (oldest is None or place.since < oldest.since):
                    oldest = place
        if oldest is not None:
            self._leaving.add(oldest)
            self._close(oldest)

    def _close(self, place: Place) -> None:
        kept = self._idle.get(place.key, [])
        if place in kept:
            kept.remove(place)
            if not kept:
                del self._idle[place.key]
        if place.outgoing is not None:
            place.outgoing.quit()

    def _freed(self, place: Place) -> None:
        """Its connection is gone, or there will be none."""
        if place.free:
            return
        place.free = True
        self._leaving.discard(place)
        self._close(place)
        self._count -= 1
        self._domains[place.domain] -= 1
        if not self._domains[place.domain]:
            del self._domains[place.domain]
        self._serve()

    def _serve(self) -> None:
        """Give what there is to those who wait, in their order."""
        self._again = True
        if self._serving:
            return
        self._serving = True
        try:
            while self._again:
                self._again = False
                for waiter in list(self._waiting):
                    place = self._grant(waiter)
                    if place is not None:
                        self._waiting.remove(waiter)
                        waiter.granted.callback(place)
                        self._again = True
                        break
        finally:
            self._serving = False

    def _tick(self, now: float) -> None:
        for kept in list(self._idle.values()):
            for place in list(kept):
                if now - place.since >= self._keep:
                    self._close(place)
