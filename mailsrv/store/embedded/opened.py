"""Open mailboxes: one shared set of columns for each mailbox and process, fed with the deltas of every commit.

All of it runs in the reactor thread.  A mailbox that nobody has open costs nothing here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from ...errors import MailError, NoSuchMailbox, StoreUnavailable
from ...numbers import UidSet
from ...values import Changes, Columns, MailboxState, Peculiar
from .derived import Derived
from .ghosts import Ghosts
from .index import Index, Loaded, Snapshot
from .transaction import Delta

#: Changes remembered in memory, and UIDs in them; what is older is looked up.
LOG_ENTRIES, LOG_UIDS = 1000, 20_000
#: More expunged rows than this are filtered out in one pass instead of cut out one by one, more changed ones in a row
#: replaced at once.
_CUT = 20
#: More rows than this are not read from the index in the reactor thread.
_SYNCHRONOUS = 5000
#: A mailbox with more rows is not even read from its snapshot there.
_LARGE = 100_000
#: A mailbox with fewer rows is not worth a snapshot; nor is one that was read with fewer rows beyond its snapshot.
_SNAPSHOT_ROWS = 500
#: Mailboxes that nobody has open any more but that stay loaded for the next who comes, and rows of them in all.
#: Mail programs, POP3 clients and web mail come back to the same few mailboxes again and again.
WARM_MAILBOXES, WARM_ROWS = 1000, 50_000


class Opened:
    """One open mailbox: columns, counters, log of changes, handles and watchers."""

    __slots__ = (
        "columns", "counters", "deleted", "handles", "history", "loading", "log", "log_floor", "logged", "mailbox",
        "peculiar", "pending", "recent_from", "sized", "sizes", "stale", "uidvalidity", "waiting", "warm_rows",
        "watchers",
    )

    def __init__(self, mailbox: int, history: int) -> None:
        self.mailbox, self.history = mailbox, min(history, LOG_ENTRIES)
        self.columns = Columns()
        self.uidvalidity = self.recent_from = self.warm_rows = 0
        self.counters = (1, 0, 0, 0)
        self.deleted = False
        self.loading = True
        self.pending: list[Delta] = []
        self.waiting: list[Deferred[None]] = []
        #: (MODSEQ, changed UIDs, expunged UIDs), newest last; complete for what is above `log_floor`.
        self.log: list[tuple[int, Sequence[int], Sequence[int]]] = []
        self.log_floor = self.logged = 0
        #: A new snapshot would save the next one who opens the mailbox something.
        self.stale = False
        #: Octets of the first messages of the list of UIDs `sized`, once somebody asked for them.
        self.sized: list[int] | None = None
        self.sizes: list[int] = []
        #: Once somebody asked, until messages come or go.
        self.peculiar: Peculiar | None = None
        #: handle -> MODSEQ when it was opened.
        self.handles: dict[object, int] = {}
        self.watchers: dict[object, Callable[[], Any]] = {}

    def fill(self, loaded: Loaded, recent_from: int, stale: bool) -> None:
        """Take what was read, then the changes that were committed meanwhile."""
        row, columns = loaded.row, self.columns
        columns.uids, columns.flags, columns.modseqs = loaded.uids, loaded.flags, loaded.modseqs
        columns.keywords, columns.modseq = loaded.keywords, row.modseq
        self.uidvalidity = row.uidvalidity
        self.recent_from = max(recent_from, row.recent_from)
        self.counters = (row.uidnext, row.unseen, row.deleted, row.octets)
        self.log_floor = row.modseq
        self.stale = stale
        self.loading = False
        pending, self.pending = self.pending, []
        self.apply(pending)

    def state(self) -> MailboxState:
        """Counters, in step with the columns."""
        columns = self.columns
        uidnext, unseen, deleted, octets = self.counters
        recent = len(columns.uids) - bisect_left(columns.uids, self.recent_from)
        return MailboxState(self.mailbox, self.uidvalidity, uidnext, columns.modseq, len(columns.uids), unseen,
                            deleted, octets, recent)

    def apply(self, deltas: Iterable[Delta]) -> None:
        """Bring committed changes into the columns."""
        if self.loading:
            self.pending += deltas
            return
        columns = self.columns
        for delta in deltas:
            if delta.modseq <= columns.modseq:
                continue
            columns.modseq = delta.modseq
            if delta.keywords is not None:
                columns.keywords += delta.keywords[len(columns.keywords) :]
            if delta.kind == "rows":
                self.peculiar = None
                for uid, mask in delta.rows:
                    columns.uids.append(uid)
                    columns.flags.append(mask)
                    columns.modseqs.append(delta.modseq)
            elif delta.kind == "flags":
                self._reflag(delta)
                self.stale = True
            else:
                self._cut(delta.gone)
                self.peculiar = None
                self.stale = True
            self.counters = delta.counters
            self._remember(delta)

    def _reflag(self, delta: Delta) -> None:
        columns, at = self.columns, 0
        uids, flags, modseqs = columns.uids, columns.flags, columns.modseqs
        count = len(delta.rows)
        if count > _CUT:
            at = bisect_left(uids, delta.rows[0][0])
            if uids[at : at + count] == [uid for uid, _ in delta.rows]:
                flags[at : at + count] = [mask for _, mask in delta.rows]
                modseqs[at : at + count] = [delta.modseq] * count
                return
        for uid, mask in delta.rows:
            at = bisect_left(uids, uid, at)
            flags[at] = mask
            modseqs[at] = delta.modseq

    def _cut(self, gone: Sequence[int]) -> None:
        """Take rows out; all three lists are new ones afterwards (see `Columns`)."""
        columns = self.columns
        uids, count = columns.uids, len(gone)
        at = bisect_left(uids, gone[0])
        if uids[at : at + count] == gone:
            columns.uids, columns.flags, columns.modseqs = (
                column[:at] + column[at + count :] for column in (uids, columns.flags, columns.modseqs)
            )
            return
        if count <= _CUT:
            places = [bisect_left(uids, uid) for uid in reversed(gone)]
            new = [list(uids), list(columns.flags), list(columns.modseqs)]
            for column in new:
                for at in places:
                    del column[at]
            columns.uids, columns.flags, columns.modseqs = new
            return
        removed = set(gone)
        kept = [at for at, uid in enumerate(uids) if uid not in removed]
        columns.uids, columns.flags, columns.modseqs = (
            [column[at] for at in kept] for column in (uids, columns.flags, columns.modseqs)
        )

    def _remember(self, delta: Delta) -> None:
        changed = [uid for uid, _ in delta.rows]
        self.log.append((delta.modseq, changed, delta.gone))
        self.logged += len(changed) + len(delta.gone)
        while len(self.log) > self.history or self.logged > LOG_UIDS:
            modseq, changed, gone = self.log.pop(0)
            self.logged -= len(changed) + len(gone)
            self.log_floor = modseq

    def sizes_of(self, uids: Sequence[int], index: Index) -> Sequence[int] | None:
        """RFC822.SIZE of a stretch of the UIDs that exist now, read from the index once; None when it is none."""
        known = self.columns.uids
        first = bisect_left(known, uids[0])
        if known[first : first + len(uids)] != uids:
            return None
        if self.sized is not known:
            self.sized, self.sizes = known, []
        missing = known[len(self.sizes) : first + len(uids)]
        if missing:
            read = index.sizes(self.mailbox, missing)
            self.sizes += [read.get(uid, -1) for uid in missing]
        return self.sizes[first : first + len(uids)]

    def changes(self, since: int, index: Index) -> Changes:
        """All that changed after the MODSEQ `since`."""
        columns = self.columns
        if since >= columns.modseq:
            return Changes(columns.modseq, [], [], [], UidSet())
        floor = False
        if since >= self.log_floor:
            places, vanished = self._logged(since)
        else:
            oldest, ranges = index.tombstones(self.mailbox, since, columns.modseq)
            if since < oldest:
                since, ranges, floor = 0, [], True
            places = [at for at, modseq in enumerate(columns.modseqs) if modseq > since]
            vanished = UidSet(ranges)
        return Changes(
            columns.modseq,
            [columns.uids[at] for at in places],
            [columns.flags[at] for at in places],
            [columns.modseqs[at] for at in places],
            vanished,
            floor,
        )

    def _logged(self, since: int) -> tuple[list[int], UidSet]:
        """(places of the rows that changed after `since`, what vanished), from the log."""
        changed: set[int] = set()
        gone: list[int] = []
        for modseq, uids, expunged in reversed(self.log):
            if modseq <= since:
                break
            changed.update(uids)
            gone += expunged
        changed.difference_update(gone)
        uids, at, places = self.columns.uids, 0, []
        for uid in sorted(changed):
            at = bisect_left(uids, uid, at)
            places.append(at)
        return places, UidSet.of(gone)

    def notify(self) -> None:
        """Call the watchers; one that is stopped by another before its turn is not called any more."""
        for token, watcher in list(self.watchers.items()):
            if token in self.watchers:
                watcher()


class Openings:
    """All open mailboxes of a store, by id."""

    def __init__(
        self, index: Index, derived: Derived, ghosts: Ghosts, load: Callable[..., Deferred[Loaded | None]],
        history: int,
    ) -> None:
        self._index, self._derived, self._ghosts = index, derived, ghosts
        self._load, self._history = load, history
        self._open: dict[int, Opened] = {}
        #: Those of them that have no handle, the one left longest ago first.
        self._warm: dict[int, Opened] = {}
        self._warm_rows = 0
        #: Claims of \\Recent that are not in the index yet.
        self.claims: dict[int, int] = {}
        #: Called with the id of a deleted mailbox that the last handle released.
        self.abandoned: Callable[[int], None] = lambda mailbox: None

    def get(self, mailbox: int) -> Opened | None:
        """The mailbox, when it is open and loaded."""
        opened = self._open.get(mailbox)
        return None if opened is None or opened.loading else opened

    async def open(self, mailbox: int, exist: int, handle: object) -> Opened:
        """Share the mailbox with this handle.  Raises NoSuchMailbox, StoreUnavailable."""
        opened = self._open.get(mailbox)
        self._cool(mailbox)
        if opened is None:
            opened = self._open[mailbox] = Opened(mailbox, self._history)
            await self._fill(opened, exist)
        elif opened.loading:
            waiting: Deferred[None] = Deferred()
            opened.waiting.append(waiting)
            await waiting
        if opened.deleted:
            if not opened.handles and self._open.pop(mailbox, None) is not None:
                self.abandoned(mailbox)
            raise NoSuchMailbox()
        if self._open.get(mailbox) is not opened:
            raise StoreUnavailable()
        opened.handles[handle] = opened.columns.modseq
        return opened

    async def _fill(self, opened: Opened, exist: int) -> None:
        """Load the columns, in a thread when there are many."""
        error: MailError | None = None
        large = exist > _LARGE
        snapshot = self._derived.snapshot(opened.mailbox) if _SNAPSHOT_ROWS <= exist and not large else None
        beyond = exist if snapshot is None else exist - len(snapshot.uids)
        try:
            if beyond <= _SYNCHRONOUS:
                loaded = self._index.load(opened.mailbox, snapshot)
            else:
                loaded = await self._load(opened.mailbox, snapshot, large)
            if loaded is None:
                raise NoSuchMailbox()
            opened.fill(loaded, self.claims.get(opened.mailbox, 0), loaded.fresh >= _SNAPSHOT_ROWS)
        except MailError as failure:
            error = failure
        waiting, opened.waiting = opened.waiting, []
        if error is not None:
            self._open.pop(opened.mailbox, None)
        for deferred in waiting:
            deferred.callback(None)
        if error is not None:
            raise error

    def release(self, opened: Opened, handle: object) -> None:
        """The handle is done; with the last one the mailbox is closed."""
        if opened.handles.pop(handle, None) is None:
            return
        if opened.handles:
            self._ghosts.forget(opened.mailbox, min(opened.handles.values()))
            return
        self._ghosts.forget(opened.mailbox, opened.columns.modseq)
        if opened.deleted or self._open.get(opened.mailbox) is not opened:
            if self._open.get(opened.mailbox) is opened:
                del self._open[opened.mailbox]
            if opened.deleted:
                self.abandoned(opened.mailbox)
            return
        opened.warm_rows = 0
        self._warm[opened.mailbox] = opened
        self._weigh(opened)

    def _weigh(self, opened: Opened) -> None:
        """Count the rows of a mailbox without handles, and keep all of those within their bounds."""
        rows = len(opened.columns.uids)
        self._warm_rows += rows - opened.warm_rows
        opened.warm_rows = rows
        while self._warm_rows > WARM_ROWS or len(self._warm) > WARM_MAILBOXES:
            self._shut(next(iter(self._warm)))

    def _cool(self, mailbox: int) -> Opened | None:
        """The mailbox is not kept for its own sake any more."""
        opened = self._warm.pop(mailbox, None)
        if opened is not None:
            self._warm_rows -= opened.warm_rows
        return opened

    def _shut(self, mailbox: int) -> None:
        """Close a mailbox that nobody has open."""
        opened = self._cool(mailbox)
        if opened is not None:
            del self._open[mailbox]
            if len(opened.columns.uids) >= _SNAPSHOT_ROWS and opened.stale:
                self._derived.keep_snapshot(mailbox, _pack(opened))

    def committed(self, deltas: dict[int, list[Delta]], gone: Iterable[int]) -> list[Opened]:
        """Bring a batch into the open mailboxes; gives those whose watchers must be called."""
        changed = []
        for mailbox, found in deltas.items():
            opened = self._open.get(mailbox)
            if opened is not None:
                opened.apply(found)
                changed.append(opened)
                if mailbox in self._warm:
                    self._ghosts.forget(mailbox, found[-1].modseq)
                    self._weigh(opened)
            elif any(delta.kind == "gone" for delta in found):
                self._ghosts.forget(mailbox, found[-1].modseq)
        for mailbox in gone:
            opened = self._open.get(mailbox)
            if self._cool(mailbox) is not None:
                del self._open[mailbox]
                opened = None
            if opened is None:
                self.abandoned(mailbox)
            else:
                opened.deleted = True
                changed.append(opened)
        return changed

    def close(self) -> None:
        """Keep what would have to be read again."""
        for opened in self._open.values():
            if len(opened.columns.uids) >= _SNAPSHOT_ROWS and opened.stale and not opened.deleted:
                self._derived.keep_snapshot(opened.mailbox, _pack(opened))


def _pack(opened: Opened) -> Snapshot:
    """The columns of a mailbox that is closed: its lists are not changed any more."""
    columns = opened.columns
    return Snapshot(columns.modseq, opened.counters[0], columns.uids, columns.flags, columns.modseqs)
