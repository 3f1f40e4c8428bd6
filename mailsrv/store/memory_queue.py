"""The queue of the memory store."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import evolve

from ..errors import Refused
from ..interfaces import IContent
from ..message.content import MemoryContent
from ..values import Due, NewDelivery, Queued, Recipient, Wanted
from . import queue_rules as rules
from .memory_data import Message, Room
from .queue_index import QueueIndex, later


class MemoryQueue:
    """IQueue; the base of `MemoryStore`."""

    room: Room

    def __init__(self) -> None:
        self._rows: dict[int, Queued] = {}
        self._messages: dict[int, Message] = {}
        self._index = QueueIndex(os.urandom(8).hex())
        self._last_row = 0
        self._now = 0.0
        self._watchers: dict[object, Callable[[], Any]] = {}

    async def due(self, now: float, most: int = 1000, skip: Collection[str] = ()) -> Sequence[Due]:
        """Destinations with rows that are due, without some; the longest due first."""
        self._now = now
        return self._index.due(now, most, skip)

    async def next_due(self) -> float | None:
        """When a row is due next, or a lease runs out."""
        return self._index.next_due()

    async def lease(self, destination: str, count: int, holder: str, now: float, seconds: float) -> Sequence[Queued]:
        """Take rows that are due."""
        self._now = now
        taken = self._index.lease(destination, count, holder[: rules.MAX_HOLDER], now, seconds)
        return [evolve(self._rows[row], token=token) for row, token in taken]

    async def settle(
        self, row: Queued, remaining: Sequence[Recipient], *, due: float, reply: str = "", noticed: bool = False
    ) -> bool:
        """An attempt is over.  Raises Refused for impossible recipients or instants."""
        self.room.claim(0)
        rules.check_recipients(remaining)
        rules.check_instant(due)
        slot = self._index.claim(row.id, row.token)
        if slot is None:
            return False
        if not remaining:
            self._end(row.id)
            return True
        kept = self._rows[row.id]
        attempts = kept.attempts + 1
        self._rows[row.id] = evolve(
            kept, recipients=tuple(remaining), due=due, attempts=attempts, reply=rules.tidy(reply),
            noticed=kept.noticed or noticed,
        )
        self._index.change(row.id, due=due, attempts=attempts)
        return True

    async def release(self, *rows: Queued) -> None:
        """Give leases back."""
        self._index.release(*[(row.id, row.token) for row in rows])

    async def postpone(
        self, destination: str, now: float, intervals: Sequence[float], reply: str, most: int | None = None
    ) -> int:
        """An attempt more for the rows of a destination that are due.  Raises Refused."""
        self.room.claim(0)
        rules.check_intervals(intervals)
        self._now = now
        slots = self._index.claim_due(destination, len(self._rows) if most is None else most, now)
        for slot in slots:
            due = now + intervals[min(slot.attempts, len(intervals) - 1)]
            attempts = slot.attempts + 1
            self._rows[slot.id] = evolve(self._rows[slot.id], due=due, attempts=attempts, reply=rules.tidy(reply))
            self._index.change(slot.id, due=due, attempts=attempts)
        return len(slots)

    async def recall(self, now: float, latest: float) -> int:
        """Rows that are due later than `latest` are due now.  Raises Refused."""
        return await self.alter(later(self._index, latest), "retry", due=now)

    async def queued(
        self, ids: Sequence[int] | None = None, *, destination: str = "", sender: str | None = None, after: int = 0,
        most: int = 1000, wanted: Wanted | None = None,
    ) -> Sequence[Queued]:
        """Rows in the order they were made."""
        named = None if ids is None else set(ids)
        key = None if sender is None else sender.lower()
        found: list[Queued] = []
        for number, row in self._rows.items():
            if len(found) >= most:
                break
            if number > after and (named is None or number in named) and destination in ("", row.destination) and (
                key is None or key == rules.sender_key(row.reverse_path)
            ):
                row = evolve(row, token=self._index.token(number))
                found += [row] if wanted is None or wanted.fits(row) else []
        return found

    async def alter(self, ids: Sequence[int], action: str, *, due: float = 0.0, destination: str = "") -> int:
        """hold, release, retry, reroute or delete.  Raises Refused."""
        self.room.claim(0)
        rules.check_action(action, due, destination)
        changes = rules.changes_of(action, due, destination)
        claimed = self._index.claim_idle(ids, self._now)
        for number in claimed:
            if action == "delete":
                self._end(number)
            else:
                self._rows[number] = evolve(self._rows[number], **changes)
                self._index.change(number, **changes)
        if claimed:
            self._notify()
        return len(claimed)

    async def queue_content(self, row: Queued) -> IContent:
        """The message.  Raises Refused when the row has ended."""
        message = self._messages.get(row.id)
        if message is None:
            raise Refused("There is no such row in the queue any more", "5.5.4")
        content: IContent = MemoryContent(message.octets)
        return content

    def watch_queue(self, watcher: Callable[[], Any]) -> Callable[[], None]:
        """Call `watcher()` when a row was made or altered."""
        token = object()
        self._watchers[token] = watcher
        return lambda: _nothing(self._watchers.pop(token, None))

    # For the store.

    def _enqueue(self, delivery: NewDelivery, message: Message) -> None:
        """The rows of a delivery; its caller notifies."""
        envelope = delivery.envelope
        for new in delivery.queued:
            self._last_row += 1
            self._rows[self._last_row] = Queued(
                self._last_row, delivery.id, new.destination, envelope.reverse_path, tuple(new.recipients),
                delivery.server, delivery.origin, dict(envelope.parameters), delivery.content.size,
                delivery.received_at, 0, delivery.received_at, new.held,
            )
            self._messages[self._last_row] = message
            self.room.used += len(message.octets)
            self._index.add(self._last_row, new.destination, delivery.received_at, new.held)

    def _notify(self) -> None:
        for token, watcher in list(self._watchers.items()):
            if token in self._watchers:
                watcher()

    def _end(self, number: int) -> None:
        del self._rows[number]
        self.room.used -= len(self._messages.pop(number).octets)
        self._index.remove(number)


def _nothing(_: object) -> None:
    """For what gives something that nobody wants."""
