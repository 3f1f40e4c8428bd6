"""The queue of the embedded store: which row is next is known in memory, everything else is in the index.

A lease is in memory alone and costs no commit: the data folder is locked by one process, so a lease that nobody
remembers is void.  A change claims its rows in memory, has the writer commit it, and changes them in memory when that
is done; so no row is ever given out while it is being changed, and a failure leaves it as it was.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
from attrs import evolve
from twisted.internet.defer import Deferred

from ...errors import MailError, Refused, StoreUnavailable
from ...interfaces import IContent
from ...values import Due, Queued, Recipient, Wanted
from .. import queue_rules as rules
from ..queue_index import QueueIndex, Slot, later
from .content import Readers, StoredContent
from .index import Index
from .operations import Operation
from .queue_filter import conditions
from .queue_operations import Alter, Done, Postpone, Settle
from .segments import SegmentSet
from .transaction import Transaction
from .writer import Writer

#: Rows of one change, which is a turn of the reactor and a transaction of the writer (decisions 5); and of one lease.
SLICE_ROWS, LEASE_ROWS = 1000, 2000
#: Places of contents that are kept.
_MAX_PLACES = 5000
#: So many rows are looked up in the reactor thread; more are read in a thread.
_FEW = 100
_COLUMNS = ("id, delivery, destination, path, recipients, server, origin, parameters, size, received, attempts, due,"
            " held, noticed, reply, segment, ordinal")
#: A third of the time of json.loads: for listing very many rows.
_DECODE = json.JSONDecoder().raw_decode


class EmbeddedQueue:
    """IQueue and IFigures; the base of `EmbeddedStore`.  All in the reactor thread."""

    path: Path
    index: Index
    segments: SegmentSet
    readers: Readers
    submit: Callable[[Operation], Deferred[Any]]
    writer: Writer
    _index_path: Path

    def _open_queue(self, connection: apsw.Connection) -> None:
        """Read what waits, at the start."""
        self._rows = QueueIndex(os.urandom(8).hex())
        self._now = 0.0
        #: Where the contents of leased rows are, until they are read.
        self._places: dict[int, tuple[int, int]] = {}
        self._queue_watchers: dict[object, Callable[[], Any]] = {}
        names: dict[str, str] = {}
        for row, name, due, held, attempts in connection.execute(
            "SELECT id, destination, due, held, attempts FROM queue ORDER BY due"
        ):
            self._rows.add(row, names.setdefault(name, name), due, bool(held), attempts)

    def figures(self) -> Mapping[str, float]:
        """See IFigures."""
        writer = self.writer
        return {
            "commits": writer.commits, "operations": writer.operations, "refused": writer.refused,
            "queue": len(self._rows),
        }  # fmt: skip

    async def due(self, now: float, most: int = 1000, skip: Collection[str] = ()) -> Sequence[Due]:
        """Destinations with rows that are due, without some; the longest due first."""
        self._now = now
        return self._rows.due(now, most, skip)

    async def next_due(self) -> float | None:
        """When a row is due next, or a lease runs out."""
        return self._rows.next_due()

    async def lease(self, destination: str, count: int, holder: str, now: float, seconds: float) -> Sequence[Queued]:
        """Take rows that are due, at most 2,000.  Raises StoreUnavailable."""
        self._now = now
        taken = self._rows.lease(destination, min(count, LEASE_ROWS), holder[: rules.MAX_HOLDER], now, seconds)
        if not taken:
            return ()
        tokens, where = dict(taken), _by_ids([row for row, _ in taken])
        try:
            found = self.index.rows(f"SELECT {_COLUMNS} FROM queue {where[0]}", where[1])
        except StoreUnavailable:
            self._rows.release(*taken)
            raise
        if len(self._places) > _MAX_PLACES:
            self._places.clear()
        self._places |= {row[0]: row[-2:] for row in found}
        kept = {row[0]: _queued(row, tokens) for row in found}
        return [kept[number] for number, _ in taken if number in kept]

    async def settle(
        self, row: Queued, remaining: Sequence[Recipient], *, due: float, reply: str = "", noticed: bool = False
    ) -> bool:
        """An attempt is over.  Raises Refused for impossible recipients or instants, StoreFull, StoreUnavailable."""
        rules.check_recipients(remaining)
        rules.check_instant(due)
        slot = self._rows.claim(row.id, row.token)
        if slot is None:
            return False
        attempts = slot.attempts + 1

        def done() -> None:
            if remaining:
                self._rows.change(row.id, due=due, attempts=attempts)
            else:
                self._rows.remove(row.id)

        await self._change(
            (row.id,), lambda both: Settle(both, row.id, remaining, due, rules.tidy(reply), noticed), done
        )
        return True

    async def release(self, *rows: Queued) -> None:
        """Give leases back."""
        self._rows.release(*[(row.id, row.token) for row in rows])

    async def postpone(
        self, destination: str, now: float, intervals: Sequence[float], reply: str, most: int | None = None
    ) -> int:
        """An attempt more for the rows of a destination that are due.  Raises Refused, StoreFull, StoreUnavailable;
        then some may be postponed."""
        rules.check_intervals(intervals)
        self._now = now
        reply, left, postponed = rules.tidy(reply), self._rows.count_due(destination, now), 0
        left = left if most is None else min(left, most)
        while left > 0:
            slots = self._rows.claim_due(destination, min(left, SLICE_ROWS), now)
            if not slots:
                break
            await self._postpone(slots, now, intervals, reply)
            postponed += len(slots)
            left -= len(slots)
        return postponed

    async def _postpone(self, slots: Sequence[Slot], now: float, intervals: Sequence[float], reply: str) -> None:
        """One slice."""
        last = len(intervals) - 1
        some = [(slot.attempts + 1, now + intervals[min(slot.attempts, last)], slot.id) for slot in slots]

        def done() -> None:
            self._rows.change_all((row, {"due": due, "attempts": attempts}) for attempts, due, row in some)

        await self._change([slot.id for slot in slots], lambda both: Postpone(both, some, reply), done)

    async def recall(self, now: float, latest: float) -> int:
        """Rows that are due later than `latest` are due now.  Raises as `alter`."""
        return await self.alter(later(self._rows, latest), "retry", due=now)

    async def queued(
        self, ids: Sequence[int] | None = None, *, destination: str = "", sender: str | None = None, after: int = 0,
        most: int = 1000, wanted: Wanted | None = None,
    ) -> Sequence[Queued]:
        """Rows in the order they were made.  Raises StoreUnavailable."""
        where, values = ["id>?"], list[Any]([after])
        for condition, value in (
            ("destination=?", destination or None), ("sender=?", None if sender is None else sender.lower()),
            ("id IN (SELECT value FROM carray(?))", None if ids is None else apsw.carray(array("q", ids or (0,)))),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        for condition, value in conditions(wanted, self._rows) if wanted is not None else ():
            where.append(condition)
            values.append(value)
        sql = f"WHERE {' AND '.join(where)} ORDER BY id LIMIT ?"
        values.append(max(most, 0))
        if ids is not None and len(ids) <= _FEW:
            found = _read(self.index, sql, values, {})
        else:
            found = await self.readers.run(_read_apart, self._index_path, sql, values)
        return [evolve(row, token=token) if (token := self._rows.token(row.id)) else row for row in found]

    async def alter(self, ids: Sequence[int], action: str, *, due: float = 0.0, destination: str = "") -> int:
        """hold, release, retry, reroute or delete.  Raises Refused, StoreFull, StoreUnavailable; then some may be
        altered."""
        rules.check_action(action, due, destination)
        value: float | str = due if action == "retry" else destination
        changes = rules.changes_of(action, due, destination)
        wanted, altered = sorted(set(ids)), 0
        for at in range(0, len(wanted), SLICE_ROWS):
            some = self._rows.claim_idle(wanted[at : at + SLICE_ROWS], self._now)
            if some:
                await self._alter(some, action, value, changes)
                altered += len(some)
        return altered

    async def _alter(self, some: Sequence[int], action: str, value: float | str, changes: dict[str, Any]) -> None:
        """One slice."""

        def done() -> None:
            if action == "delete":
                for row in some:
                    self._rows.remove(row)
            else:
                self._rows.change_all((row, changes) for row in some)
            self._queue_changed()

        await self._change(some, lambda both: Alter(both, some, action, value), done)

    async def queue_content(self, row: Queued) -> IContent:
        """The message; its file stays until it is closed.  Raises StoreUnavailable, Refused when the row has ended."""
        place = self._places.pop(row.id, None)
        if place is None or not row.token or self._rows.token(row.id) != row.token:
            found = self.index.rows("SELECT segment, ordinal FROM queue WHERE id=?", (row.id,))
            if not found:
                raise Refused("There is no such row in the queue any more", "5.5.4")
            place = found[0]
        segment, ordinal = place
        file = self.segments.get(segment)
        at = file.body_place(ordinal)
        if at < 0:
            raise StoreUnavailable("The content of this message is missing")
        return StoredContent(file, at, row.size, self.readers)

    def watch_queue(self, watcher: Callable[[], Any]) -> Callable[[], None]:
        """Call `watcher()` after a commit with rows made or altered; it must not raise."""
        token = object()
        self._queue_watchers[token] = watcher

        def stop() -> None:
            self._queue_watchers.pop(token, None)

        return stop

    # Changes

    async def _change(
        self, rows: Sequence[int], make: Callable[[Done], Operation], done: Callable[[], None]
    ) -> None:
        """Have claimed rows changed; `done` when it is durable.  Otherwise they are as they were."""

        def both(error: MailError | None) -> None:
            if error is None:
                done()
            else:
                self._rows.unclaim(rows)

        try:
            deferred = self.submit(make(both))
        except MailError:
            self._rows.unclaim(rows)
            raise
        await deferred

    def _queue_committed(self, transaction: Transaction) -> bool:
        """Rows of a batch are durable; whether there were any."""
        for row, destination, due, held in transaction.queue.made:
            self._rows.add(row, destination, due, held)
        return bool(transaction.queue.made)

    def _queue_changed(self) -> None:
        """Call the watchers; one that is stopped by another before its turn is not called any more."""
        for token, watcher in list(self._queue_watchers.items()):
            if token in self._queue_watchers:
                watcher()


def _by_ids(ids: Sequence[int]) -> tuple[str, list[Any]]:
    """Where of the rows with these ids."""
    if len(ids) == 1:
        return "WHERE id=?", [ids[0]]
    return "WHERE id IN (SELECT value FROM carray(?))", [apsw.carray(array("q", ids or (0,)))]


def _read(index: Index, where: str, values: Sequence[Any], tokens: dict[int, str]) -> list[Queued]:
    """Rows of the queue.  Raises StoreUnavailable."""
    return [_queued(row, tokens) for row in index.rows(f"SELECT {_COLUMNS} FROM queue {where}", values)]


def _read_apart(path: Path, where: str, values: Sequence[Any]) -> list[Queued]:
    """The same in a thread, with a connection of its own."""
    index = Index(path)
    try:
        return _read(index, where, values, {})
    finally:
        index.close()


def _queued(row: tuple[Any, ...], tokens: dict[int, str]) -> Queued:
    (number, delivery, destination, path, recipients, server, origin, parameters, size, received, attempts, due,
     held, noticed, reply, *_) = row
    return Queued(
        number, delivery, destination, rules.unpack_path(path), rules.unpack_recipients(_DECODE(recipients)[0]),
        server, origin, json.loads(parameters) if parameters else {}, size, received, attempts, due,
        bool(held), bool(noticed), reply, tokens.get(number, ""),
    )
