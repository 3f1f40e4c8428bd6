"""One open mailbox of the memory store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from .. import values as v
from ..errors import NoSuchMailbox, Refused
from ..interfaces import IContent, IMailbox
from ..message.content import MemoryContent
from ..numbers import UidSet
from ..query import Query
from . import keywords as kw
from .columns_query import evaluate
from .memory_data import Entry, MailboxData, Row

if TYPE_CHECKING:
    from .memory import MemoryStore

GONE = "The message that is to be replaced is gone"


@implementer(IMailbox)
class MemoryMailbox:
    """A handle: the shared data, and the rows that were removed since it was opened."""

    __slots__ = ("_data", "_expunged", "_store", "_watching", "mailbox_id", "uidvalidity")

    def __init__(self, store: MemoryStore, data: MailboxData) -> None:
        self._store, self._data = store, data
        self.mailbox_id, self.uidvalidity = data.mailbox_id, data.uidvalidity
        self._expunged: dict[int, Row] = {}
        self._watching: set[object] = set()
        data.handles.add(self)

    def remember(self, rows: Mapping[int, Row]) -> None:
        """Rows that leave the mailbox: this handle can still read them."""
        self._expunged.update(rows)

    def columns(self) -> v.Columns:
        """The shared live columns."""
        return self._data.columns

    async def state(self) -> v.MailboxState:
        """Counters now."""
        return self._live().state()

    async def changes(self, since: int) -> v.Changes:
        """All that changed after the MODSEQ `since`."""
        return self._live().changes(since)

    async def claim_recent(self, claim: bool) -> int:
        """The lowest UID recent to the asker."""
        data = self._live()
        lowest = data.recent_from
        if claim:
            data.recent_from = data.uidnext
        return lowest

    async def append(self, messages: Sequence[v.NewMessage], instead: tuple[int, int] | None = None) -> v.Appended:
        """All or none.  Raises StoreFull, NoSuchMailbox, Refused for an impossible flag, or without `instead`."""
        data = self._live()
        other = None if instead is None else self._store.mailbox(instead[0])
        if instead is not None and (other is None or instead[1] not in other.rows):
            raise Refused(GONE)
        self._store.room.claim(sum(message.content.size for message in messages))
        entries = [
            Entry(
                self._store.take_in(message.content, message.international), tuple(message.flags),
                message.internal_date, message.zone, message.unique_id,
            )
            for message in messages
        ]
        uids = data.insert(entries, self._store.now(), lenient=False)
        if instead is not None and other is not None:
            other.remove([instead[1]])
            if other is not data:
                other.notify()
        data.notify()
        return v.Appended(data.uidvalidity, uids)

    async def update(self, uids: UidSet, change: v.FlagChange, unchanged_since: int | None = None) -> v.Updated:
        """Change flags where the row's MODSEQ is not above `unchanged_since`.  Raises Refused."""
        data = self._live()
        self._store.room.claim(0)
        columns = data.columns
        if change.action == "remove":
            mask = kw.known(change.flags, columns.keywords)
        else:
            mask, new = kw.assign(change.flags, columns.keywords)
            columns.keywords += new
        addressed = [place for run in uids.positions(columns.uids) for place in run]
        refused = {
            place for place in addressed if unchanged_since is not None and columns.modseqs[place] > unchanged_since
        }
        flags = columns.flags
        planned = [
            (place, after)
            for place in addressed
            if place not in refused and (after := kw.changed(change.action, flags[place], mask)) != flags[place]
        ]
        if planned:
            columns.modseq += 1
            for place, after in planned:
                data.reflag(place, after)
            data.notify()
        return v.Updated(
            columns.modseq,
            [columns.uids[place] for place in addressed],
            [flags[place] for place in addressed],
            UidSet.of(columns.uids[place] for place in refused),
        )

    async def expunge(self, uids: UidSet, whole: bool = False) -> UidSet:
        """Remove for good; gives what was there."""
        data = self._live()
        self._store.room.claim(0)
        gone = data.remove(uids.pick(data.columns.uids))
        if gone:
            data.notify()
        return gone

    async def copy(self, uids: UidSet, target_id: int, move: bool = False) -> v.Copied:
        """Into the mailbox `target_id`, of whatever account.  Raises NoSuchMailbox, StoreFull."""
        data = self._live()
        target = self._store.mailbox(target_id)
        if target is None:
            raise NoSuchMailbox()
        columns = data.columns
        found = [place for run in uids.positions(columns.uids) for place in run]
        sources = [columns.uids[place] for place in found]
        octets = sum(len(data.rows[uid].message.octets) for uid in sources)
        self._store.room.claim(0 if move else octets)
        entries = []
        for place, uid in zip(found, sources, strict=True):
            row = data.rows[uid]
            names = kw.names_of(columns.flags[place], columns.keywords)
            entries.append(Entry(row.message, names, row.internal_date, row.zone))
        made = target.insert(entries, self._store.now(), lenient=True)
        if move:
            data.remove(sources)
            data.notify()
        if made and not (move and target is data):
            target.notify()
        return v.Copied(target.uidvalidity, tuple(zip(sources, made, strict=True)))

    async def facts(self, uids: Sequence[int], wanted: frozenset[str]) -> Sequence[v.MessageFacts | None]:
        """In the order asked; None for one that was gone before this handle was opened."""
        return [None if row is None else _facts(uid, row, wanted) for uid, row in zip(uids, self._rows(uids))]

    async def sizes(self, uids: Sequence[int]) -> Sequence[int]:
        """In the order asked; -1 for one that was gone before this handle was opened."""
        return [-1 if row is None else len(row.message.octets) for row in self._rows(uids)]

    async def peculiar(self) -> v.Peculiar:
        """What POP3 must know."""
        rows = self._data.rows
        return v.Peculiar(
            {uid: row.unique_id for uid, row in rows.items() if row.unique_id},
            [uid for uid, row in rows.items() if row.message.international],
        )

    async def records(self, uids: Sequence[int], kind: str) -> Sequence[bytes | None]:
        """What was kept by `keep_summaries`, in the order asked."""
        return [None if row is None else row.message.records.get(kind) for row in self._rows(uids)]

    async def keep_summaries(self, summaries: Sequence[tuple[int, bytes]], kind: str = "summary") -> None:
        """Keep records made from the content, for all copies of a message."""
        for (_, summary), row in zip(summaries, self._rows([uid for uid, _ in summaries])):
            if row is not None:
                row.message.records[kind] = summary

    async def at_hand(self, uids: Sequence[int], names: Sequence[str]) -> Sequence[Sequence[Any]] | None:
        """See IMailbox."""
        rows = [row for row in self._rows(uids) if row is not None]
        columns = [[_column(row, name) for row in rows] for name in names]
        return None if len(rows) < len(uids) or any(None in column for column in columns) else columns

    async def contents(self, uids: Sequence[int]) -> Sequence[IContent | None]:
        """In the order asked; None for one that was gone before this handle was opened."""
        return [None if row is None else MemoryContent(row.message.octets) for row in self._rows(uids)]

    async def search(self, query: Query) -> UidSet | None:
        """What flags, UIDs and MODSEQ can tell; None for anything else."""
        return evaluate(query, self._live().columns)

    def watch(self, watcher: Callable[[], Any]) -> Callable[[], None]:
        """Call `watcher()` at the end of every change; it must not raise."""
        token = object()
        self._data.watchers[token] = watcher
        self._watching.add(token)

        def stop() -> None:
            self._data.watchers.pop(token, None)
            self._watching.discard(token)

        return stop

    def release(self) -> None:
        """This handle is done, and what only it could still read is forgotten."""
        for token in self._watching:
            self._data.watchers.pop(token, None)
        self._watching.clear()
        self._expunged.clear()
        self._data.handles.discard(self)

    def _live(self) -> MailboxData:
        """The data, for what makes no sense once the mailbox was deleted."""
        if self._data.gone:
            raise NoSuchMailbox()
        return self._data

    def _rows(self, uids: Sequence[int]) -> list[Row | None]:
        """Rows of the mailbox, or those removed while this handle was open."""
        rows, expunged = self._data.rows, self._expunged
        return [rows.get(uid) or expunged.get(uid) for uid in uids]


def _column(row: Row, name: str) -> int | bytes | None:
    """One fact of `at_hand`."""
    if name in ("summary", "head"):
        return row.message.records.get(name)
    if name == "size":
        return len(row.message.octets)
    return {"date": row.internal_date, "zone": row.zone, "saved": row.saved_at}[name]


def _facts(uid: int, row: Row, wanted: frozenset[str]) -> v.MessageFacts:
    """The facts asked for; the rest is left at its default."""
    facts = v.MessageFacts(uid)
    if "size" in wanted:
        facts.size = len(row.message.octets)
    if "dates" in wanted:
        facts.internal_date, facts.zone, facts.saved_at = row.internal_date, row.zone, row.saved_at
    if "ids" in wanted:
        facts.email_id = row.message.email_id
    if "summary" in wanted:
        facts.summary = row.message.records.get("summary")
    if "head" in wanted:
        facts.head = row.message.records.get("head")
    return facts
