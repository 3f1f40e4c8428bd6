"""A handle on one open mailbox of the embedded store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ... import values as v
from ...errors import NoSuchMailbox, StoreUnavailable
from ...interfaces import IContent, IMailbox
from ...numbers import UidSet
from ...query import Query
from ..columns_query import evaluate
from .changes import ClaimRecent, Copy, Expunge, Update
from .content import StoredContent
from .derived import KINDS, content_key
from .ghosts import Stored
from .opened import Opened
from .operations import Append

if TYPE_CHECKING:
    from .store import EmbeddedStore



@implementer(IMailbox)
class EmbeddedMailbox:
    """What the session of one client holds; all handles share the `Opened`."""

    __slots__ = ("_opened", "_since", "_store", "_watching", "mailbox_id", "uidvalidity")

    _opened: Opened

    def __init__(self, store: EmbeddedStore, mailbox_id: int) -> None:
        self._store, self.mailbox_id = store, mailbox_id
        self.uidvalidity = self._since = 0
        self._watching: set[object] = set()

    @classmethod
    async def open(cls, store: EmbeddedStore, mailbox_id: int, exist: int) -> EmbeddedMailbox:
        """A handle; `exist` is about how many rows there are.  Raises NoSuchMailbox, StoreUnavailable."""
        handle = cls(store, mailbox_id)
        handle._opened = await store.openings.open(mailbox_id, exist, handle)
        handle.uidvalidity, handle._since = handle._opened.uidvalidity, handle._opened.columns.modseq
        return handle

    def columns(self) -> v.Columns:
        """The shared live columns."""
        return self._opened.columns

    async def state(self) -> v.MailboxState:
        """Counters now."""
        return self._live().state()

    async def changes(self, since: int) -> v.Changes:
        """All that changed after the MODSEQ `since`."""
        return self._live().changes(since, self._store.index)

    async def claim_recent(self, claim: bool) -> int:
        """The lowest UID recent to the asker; a claim reaches the disk with the next commit."""
        opened = self._live()
        lowest, uidnext = opened.recent_from, opened.counters[0]
        if claim and lowest < uidnext:
            opened.recent_from = self._store.openings.claims[self.mailbox_id] = uidnext
            self._store.put(ClaimRecent(self.mailbox_id, uidnext))
        return lowest

    async def append(self, messages: Sequence[v.NewMessage], instead: tuple[int, int] | None = None) -> v.Appended:
        """All or none, durable.  Raises StoreFull, StoreUnavailable, NoSuchMailbox, Refused."""
        self._live()
        appended: v.Appended = await self._store.submit(Append(self.mailbox_id, messages, instead))
        return appended

    async def update(self, uids: UidSet, change: v.FlagChange, unchanged_since: int | None = None) -> v.Updated:
        """Change flags, durable.  Raises Refused for an impossible flag."""
        self._live()
        updated: v.Updated = await self._store.submit(Update(self.mailbox_id, uids, change, unchanged_since))
        return updated

    async def expunge(self, uids: UidSet, whole: bool = False) -> UidSet:
        """Remove for good, durable; gives what was there."""
        self._live()
        gone: UidSet = await self._store.submit(Expunge(self.mailbox_id, uids, whole))
        return gone

    async def copy(self, uids: UidSet, target_id: int, move: bool = False) -> v.Copied:
        """Into the mailbox `target_id`, of whatever account.  Raises NoSuchMailbox, StoreFull."""
        self._live()
        copied: v.Copied = await self._store.submit(Copy(self.mailbox_id, uids, target_id, move))
        return copied

    async def facts(self, uids: Sequence[int], wanted: frozenset[str]) -> Sequence[v.MessageFacts | None]:
        """In the order asked; None for one that was gone before this handle was opened."""
        rows = self._rows(uids)
        summaries: dict[int, bytes] = {}
        heads: dict[int, bytes] = {}
        if not wanted.isdisjoint(KINDS):
            keys = tuple({content_key(row[1], row[2]) for row in rows if row is not None})
            summaries = self._store.derived.records("summary", keys) if "summary" in wanted else summaries
            heads = self._store.derived.records("head", keys) if "head" in wanted else heads
        size, dates, ids = "size" in wanted, "dates" in wanted, "ids" in wanted
        found: list[v.MessageFacts | None] = []
        for row in rows:
            if row is None:
                found.append(None)
                continue
            uid, segment, ordinal, octets, date, zone, saved = row
            facts = v.MessageFacts(uid)
            if size:
                facts.size = octets
            if dates:
                facts.internal_date, facts.zone, facts.saved_at = date, zone, saved
            if ids:
                facts.email_id = f"e{segment}-{ordinal}"
            if summaries:
                facts.summary = summaries.get(content_key(segment, ordinal))
            if heads:
                facts.head = heads.get(content_key(segment, ordinal))
            found.append(facts)
        return found

    async def sizes(self, uids: Sequence[int]) -> Sequence[int]:
        """In the order asked; -1 for one that was gone before this handle was opened."""
        if not uids:
            return []
        stretch = self._opened.sizes_of(uids, self._store.index)
        if stretch is not None:
            return stretch
        known, ghosts = self._store.index.sizes(self.mailbox_id, uids), self._store.ghosts
        found = []
        for uid in uids:
            size = known.get(uid, -1)
            if size < 0 and (ghost := ghosts.get(self.mailbox_id, uid, self._since)) is not None:
                size = ghost[3]
            found.append(size)
        return found

    async def peculiar(self) -> v.Peculiar:
        """What POP3 must know."""
        opened, index = self._opened, self._store.index
        if opened.peculiar is None:
            opened.peculiar = v.Peculiar(index.unique_ids(self.mailbox_id), index.international(self.mailbox_id))
        return opened.peculiar

    async def records(self, uids: Sequence[int], kind: str) -> Sequence[bytes | None]:
        """What was kept by `keep_summaries`, in the order asked."""
        keys = [None if row is None else content_key(row[1], row[2]) for row in self._rows(uids)]
        found = self._store.derived.records(kind, [key for key in keys if key is not None])
        return [None if key is None else found.get(key) for key in keys]

    async def at_hand(self, uids: Sequence[int], names: Sequence[str]) -> Sequence[Sequence[Any]] | None:
        """See IMailbox: what rows of the index and the two tables of records tell in a statement each."""
        if not uids:
            return [() for _ in names]
        known = self._store.index.columns(self.mailbox_id, uids, [name for name in names if name not in KINDS])
        if known is None:
            return None
        keys, plain = known[0], iter(known[1:])
        found = []
        for name in names:
            column = self._store.derived.column(name, keys) if name in KINDS else next(plain)
            if column is None:
                return None
            found.append(column)
        return found

    async def keep_summaries(self, summaries: Sequence[tuple[int, bytes]], kind: str = "summary") -> None:
        """Keep records made from the content, for all copies of it."""
        rows = self._rows([uid for uid, _ in summaries])
        known = ((content_key(row[1], row[2]), record) for row, (_, record) in zip(rows, summaries) if row is not None)
        self._store.derived.keep(kind, known)
        self._store.wake()

    async def contents(self, uids: Sequence[int]) -> Sequence[IContent | None]:
        """In the order asked; None for one that was gone before this handle was opened.  A content whose segment
        is missing raises StoreUnavailable when it is read."""
        readers, segments = self._store.readers, self._store.segments
        found: list[IContent | None] = []
        number, file = 0, None
        for row in self._rows(uids):
            if row is None:
                found.append(None)
                continue
            if row[1] != number or file is None:
                number = row[1]
                try:
                    file = segments.get(number)
                except StoreUnavailable:
                    file = None
            at = -1 if file is None else file.body_place(row[2])
            found.append(StoredContent(None if at < 0 else file, at, row[3], readers))
        return found

    async def search(self, query: Query) -> UidSet | None:
        """What flags, UIDs and MODSEQ can tell; None for anything else."""
        return evaluate(query, self._live().columns)

    def watch(self, watcher: Callable[[], Any]) -> Callable[[], None]:
        """Call `watcher()` after every batch with a change; it must not raise."""
        token = object()
        watchers = self._opened.watchers
        watchers[token] = watcher
        self._watching.add(token)

        def stop() -> None:
            watchers.pop(token, None)
            self._watching.discard(token)

        return stop

    def release(self) -> None:
        """This handle is done; what only it could still read may go."""
        for token in self._watching:
            self._opened.watchers.pop(token, None)
        self._watching.clear()
        self._store.let_go(self._opened, self)

    def _live(self) -> Opened:
        """The shared state, for what makes no sense once the mailbox was deleted."""
        if self._opened.deleted:
            raise NoSuchMailbox()
        return self._opened

    def _rows(self, uids: Sequence[int]) -> list[Stored | None]:
        """Rows of the index, or those expunged since this handle was opened."""
        if not uids:
            return []
        rows, ghosts = self._store.index.stored(self.mailbox_id, uids), self._store.ghosts
        return [rows.get(uid) or ghosts.get(self.mailbox_id, uid, self._since) for uid in uids]
