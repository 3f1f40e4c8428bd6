"""Which row of a queue is next: rows in memory by destination and due instant, and their leases (pure).

Rows that may be taken are in sorted lists, one for each destination, and the destinations in another one by the
instant of their first row: every question is answered by bisection.  (Taking an entry out of a sorted list moves
those behind it: 30 us for 100,000 rows of one destination.)

A row is free, held, leased, or claimed: a change of it is on its way to the disk, and until that is settled nobody
else can have it.  Leases are in memory alone, as one process owns a store: when it dies, all of them are void.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any

from attrs import define

from ..values import Due

#: From so many rows of one destination on a list is made anew instead of changed row by row.
_MANY = 20


@define(eq=False)
class Slot:
    """One row.  `until` is 0 when it is not leased; `token` outlives a lease that ran out, until somebody else
    takes or changes the row, so that a late `settle` is not lost."""

    id: int
    destination: str
    due: float
    attempts: int = 0
    held: bool = False
    claimed: bool = False
    until: float = 0.0
    token: str = ""


class _Lanes:
    """The rows that are free: one sorted list of (due, id) for each destination, and one of (due of the first row,
    destination)."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[tuple[float, int]]] = {}
        self.heads: list[tuple[float, str]] = []

    def due(self, now: float, most: int, skip: Collection[str] = ()) -> list[Due]:
        """As IQueue.due."""
        found = []
        for oldest, destination in islice((head for head in self.heads if head[1] not in skip), max(most, 0)):
            if oldest > now:
                break
            found.append(Due(destination, self.count(destination, now), oldest))
        return found

    def count(self, destination: str, now: float) -> int:
        """How many rows of a destination are due."""
        lane = self._lanes.get(destination)
        return 0 if lane is None else bisect_right(lane, (now, inf))

    def take(self, destination: str, count: int, now: float) -> list[int]:
        """Take so many rows that are due out."""
        lane = self._lanes.get(destination)
        if lane is None or count <= 0:
            return []
        count = min(count, bisect_right(lane, (now, inf)))
        taken = [row for _, row in lane[:count]]
        if taken:
            self._drop_head(lane[0][0], destination)
            del lane[:count]
            self._new_head(lane, destination)
        return taken

    def later(self, latest: float) -> list[int]:
        """Rows that are due later than that."""
        found = []
        for lane in self._lanes.values():
            if lane[-1][0] > latest:
                found += [row for _, row in lane[bisect_right(lane, (latest, inf)) :]]
        return found

    def put(self, slot: Slot) -> None:
        """A row is free."""
        entry, destination = (slot.due, slot.id), slot.destination
        lane = self._lanes.get(destination)
        if lane is None:
            self._lanes[destination] = [entry]
            insort(self.heads, (slot.due, destination))
            return
        first = lane[0][0]
        insort(lane, entry)
        if slot.due < first:
            self._drop_head(first, destination)
            insort(self.heads, (slot.due, destination))

    def put_many(self, slots: Iterable[Slot]) -> None:
        """Rows are free: for many of one destination sorting once is less work."""
        for some in _by_destination(slots):
            destination, lane = some[0].destination, self._lanes.get(some[0].destination)
            if lane is None or len(some) < _MANY:
                for slot in some:
                    self.put(slot)
                continue
            self._drop_head(lane[0][0], destination)
            entries = sorted((slot.due, slot.id) for slot in some)
            # Only what lies between the first and the last of them is looked at: a lane may be very long.
            first, last = bisect_left(lane, entries[0]), bisect_right(lane, entries[-1])
            lane[first:last] = sorted(lane[first:last] + entries)
            self._new_head(lane, destination)

    def drop_many(self, slots: Iterable[Slot]) -> None:
        """They are not any more."""
        for some in _by_destination(slots):
            destination = some[0].destination
            if len(some) < _MANY:
                for slot in some:
                    self.drop(slot)
                continue
            lane, gone = self._lanes[destination], {slot.id for slot in some}
            self._drop_head(lane[0][0], destination)
            entries = [(slot.due, slot.id) for slot in some]
            first, last = bisect_left(lane, min(entries)), bisect_right(lane, max(entries))
            lane[first:last] = [entry for entry in lane[first:last] if entry[1] not in gone]
            self._new_head(lane, destination)

    def drop(self, slot: Slot) -> None:
        """It is not any more."""
        lane = self._lanes[slot.destination]
        at = bisect_left(lane, (slot.due, slot.id))
        del lane[at]
        if at == 0:
            self._drop_head(slot.due, slot.destination)
            self._new_head(lane, slot.destination)

    def _drop_head(self, due: float, destination: str) -> None:
        del self.heads[bisect_left(self.heads, (due, destination))]

    def _new_head(self, lane: list[tuple[float, int]], destination: str) -> None:
        if lane:
            insort(self.heads, (lane[0][0], destination))
        else:
            del self._lanes[destination]


def _by_destination(slots: Iterable[Slot]) -> Iterable[list[Slot]]:
    found: dict[str, list[Slot]] = {}
    for slot in slots:
        found.setdefault(slot.destination, []).append(slot)
    return found.values()


class QueueIndex:
    """All rows of a queue.  `nonce` is unlike that of any other process, so that tokens never repeat."""

    def __init__(self, nonce: str) -> None:
        self._nonce, self._leased = nonce, 0
        self._slots: dict[int, Slot] = {}
        self._lanes = _Lanes()
        #: (until, id) of those leased rows that are not claimed, sorted; nothing else, or what has ended piles up.
        self._leases: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._slots)

    # Rows

    def add(self, row: int, destination: str, due: float, held: bool, attempts: int = 0) -> None:
        """A row was made."""
        slot = self._slots[row] = Slot(row, destination, due, attempts, held)
        if not held:
            self._lanes.put(slot)

    def remove(self, row: int) -> None:
        """A claimed row ended."""
        del self._slots[row]

    def change(
        self, row: int, *, destination: str | None = None, due: float | None = None, held: bool | None = None,
        attempts: int | None = None,
    ) -> None:
        """A claimed row was changed; its lease, if any, has ended, and so has the claim."""
        self.change_all([(row, {"destination": destination, "due": due, "held": held, "attempts": attempts})])

    def change_all(self, changes: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Claimed rows were changed, each as in `change`; None: as it was."""
        free = []
        for row, fields in changes:
            slot = self._slots[row]
            for name, value in fields.items():
                if value is not None:
                    setattr(slot, name, value)
            slot.until, slot.token, slot.claimed = 0.0, "", False
            if not slot.held:
                free.append(slot)
        self._lanes.put_many(free)

    # Questions

    def due(self, now: float, most: int, skip: Collection[str] = ()) -> list[Due]:
        """As IQueue.due."""
        self._lapse(now)
        return self._lanes.due(now, most, skip)

    def next_due(self) -> float | None:
        """As IQueue.next_due."""
        instants = [first[0][0] for first in (self._lanes.heads, self._leases) if first]
        return min(instants, default=None)

    def token(self, row: int) -> str:
        """The token of the lease that holds the row, "" for none."""
        slot = self._slots.get(row)
        return slot.token if slot is not None and slot.until else ""

    # Leases

    def lease(self, destination: str, count: int, holder: str, now: float, seconds: float) -> list[tuple[int, str]]:
        """Take rows: their ids and tokens, the longest due first."""
        until, taken = now + seconds, []
        for slot in self._take(destination, count, now):
            self._leased += 1
            slot.until, slot.token = until, f"{holder}/{self._nonce}/{self._leased}"
            insort(self._leases, (until, slot.id))
            taken.append((slot.id, slot.token))
        return taken

    def release(self, *leases: tuple[int, str]) -> None:
        """Give leases (row, token) back, those that still are some."""
        ended = []
        for row, token in leases:
            slot = self._slots.get(row)
            if slot is not None and token and slot.token == token and not slot.claimed:
                slot.token = ""
                if slot.until:
                    ended.append(slot)
        self._drop_leases(ended)
        for slot in ended:
            slot.until = 0.0
        self._lanes.put_many([slot for slot in ended if not slot.held])

    # Claims

    def claim(self, row: int, token: str) -> Slot | None:
        """For who holds the lease `token`; None when it has passed to somebody else or ended."""
        slot = self._slots.get(row)
        if slot is None or slot.claimed or not token or slot.token != token:
            return None
        self._claim(slot)
        return slot

    def claim_idle(self, rows: Iterable[int], now: float) -> list[int]:
        """Those of the rows that no attempt is under way for, in the order of their ids."""
        self._lapse(now)
        claimed = []
        for row in sorted(set(rows)):
            slot = self._slots.get(row)
            if slot is not None and not slot.claimed and not slot.until:
                claimed.append(slot)
        self._lanes.drop_many([slot for slot in claimed if not slot.held])
        for slot in claimed:
            slot.claimed = True
        return [slot.id for slot in claimed]

    def claim_due(self, destination: str, most: int, now: float) -> list[Slot]:
        """So many rows of a destination that are due, the longest due first."""
        slots = self._take(destination, most, now)
        for slot in slots:
            slot.claimed = True
        return slots

    def unclaim(self, rows: Iterable[int]) -> None:
        """Nothing happened to them; a lease goes on."""
        free = []
        for row in rows:
            slot = self._slots.get(row)
            if slot is not None and slot.claimed:
                slot.claimed = False
                if slot.until:
                    insort(self._leases, (slot.until, slot.id))
                elif not slot.held:
                    free.append(slot)
        self._lanes.put_many(free)

    def count_due(self, destination: str, now: float) -> int:
        """How many rows of a destination are due."""
        self._lapse(now)
        return self._lanes.count(destination, now)

    def _claim(self, slot: Slot) -> None:
        if slot.until:
            self._drop_leases((slot,))
        elif not slot.held:
            self._lanes.drop(slot)
        slot.claimed = True

    def _take(self, destination: str, count: int, now: float) -> list[Slot]:
        """Rows that are due, out of the lists."""
        self._lapse(now)
        return [self._slots[row] for row in self._lanes.take(destination, count, now)]

    def _lapse(self, now: float) -> None:
        """Leases that ran out: the rows are free."""
        if self._leases and self._leases[0][0] <= now:
            over = bisect_right(self._leases, (now, inf))
            slots = [self._slots[row] for _, row in self._leases[:over]]
            del self._leases[:over]
            for slot in slots:
                slot.until = 0.0
            self._lanes.put_many(slots)

    def _drop_leases(self, slots: Sequence[Slot]) -> None:
        """They do not run any more, or not now."""
        if len(slots) < _MANY:
            for slot in slots:
                del self._leases[bisect_left(self._leases, (slot.until, slot.id))]
        else:
            gone = {slot.id for slot in slots}
            self._leases = [entry for entry in self._leases if entry[1] not in gone]


def later(index: QueueIndex, latest: float) -> list[int]:
    """Rows, neither held nor leased, that are due later than that.  One look for each destination."""
    return index._lanes.later(latest)


def leased(index: QueueIndex) -> list[int]:
    """Rows that an attempt is under way for."""
    return [row for row, slot in index._slots.items() if slot.until]
