"""What the memory store keeps: messages, the rows of one mailbox, and the one way in which each of them changes."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen

from ..errors import MailError, StoreFull
from ..notices import FLAGS, GONE, NEW, Notice
from ..numbers import UidSet
from ..values import DELETED, SEEN, Changes, Columns, MailboxState
from . import keywords as kw


@define(eq=False)
class Message:
    """One message, shared by all its copies; so EMAILID stays with COPY and MOVE (RFC 8474 section 5.1)."""

    octets: bytes
    email_id: str
    #: By kind: see IMailbox.keep_summaries.
    records: dict[str, bytes] = field(factory=dict)
    #: It came with SMTPUTF8.
    international: bool = False


@frozen
class Row:
    """One message in one mailbox, without what changes."""

    message: Message
    internal_date: int
    zone: int
    saved_at: int
    unique_id: bytes = b""


@frozen
class Entry:
    """A row that is to be inserted, with its flags as names."""

    message: Message
    flags: Sequence[bytes]
    internal_date: int
    zone: int
    unique_id: bytes = b""


@define(eq=False)
class Room:
    """How many octets the store may hold and holds, and what its writing operations fail with (for tests)."""

    capacity: int | None = None
    used: int = 0
    failure: MailError | None = None

    def claim(self, octets: int) -> None:
        """Raises StoreFull when so many more do not fit, or the failure that was set."""
        if self.failure is not None:
            raise self.failure
        if self.capacity is not None and self.used + octets > self.capacity:
            raise StoreFull()


class MailboxData:
    """One mailbox: its rows, columns, counters and the history of what vanished.

    `history` is how many removals are remembered; `floor` is the MODSEQ of the last one forgotten, so what
    vanished is known for every moment from there on.
    """

    __slots__ = (
        "account_id", "columns", "deleted", "floor", "gone", "handles", "history", "mailbox_id", "name", "news",
        "octets", "recent_from", "room", "rows", "special_use", "told", "tombstones", "uidnext", "uidvalidity",
        "unseen", "watchers",
    )

    def __init__(self, mailbox_id: int, account_id: int, uidvalidity: int, room: Room, history: int) -> None:
        self.mailbox_id, self.account_id, self.uidvalidity = mailbox_id, account_id, uidvalidity
        self.room, self.history = room, history
        self.name = ""
        self.special_use: bytes | None = None
        self.columns = Columns()
        # RFC 7162 section 7: a mod-sequence is positive, also that of an empty mailbox.
        self.columns.modseq = 1
        self.rows: dict[int, Row] = {}
        self.uidnext = self.recent_from = 1
        self.unseen = self.deleted = self.octets = 0
        self.tombstones: deque[tuple[int, UidSet]] = deque()
        self.floor = 0
        self.gone = False
        self.handles: set[Any] = set()
        self.watchers: dict[object, Callable[[], Any]] = {}
        #: What became of messages since `notify` was called, and who is told of it besides the watchers.
        self.news: set[str] = set()
        self.told: Callable[[Notice], Any] = lambda notice: None

    def state(self) -> MailboxState:
        """Counters now."""
        recent = len(self.columns.uids) - bisect_right(self.columns.uids, self.recent_from - 1)
        return MailboxState(
            self.mailbox_id, self.uidvalidity, self.uidnext, self.columns.modseq,
            len(self.rows), self.unseen, self.deleted, self.octets, recent,
        )

    def insert(self, entries: Sequence[Entry], now: int, lenient: bool) -> tuple[int, ...]:
        """Append rows in one change; their UIDs.  Raises Refused, with nothing done, for impossible flags."""
        columns = self.columns
        keywords, masks = list(columns.keywords), []
        for entry in entries:
            mask, new = kw.assign(entry.flags, keywords, lenient)
            keywords += new
            masks.append(mask)
        if not entries:
            return ()
        columns.keywords += keywords[len(columns.keywords) :]
        columns.modseq += 1
        first = self.uidnext
        for uid, (entry, mask) in enumerate(zip(entries, masks, strict=True), first):
            self.rows[uid] = Row(entry.message, entry.internal_date, entry.zone, now, entry.unique_id)
            columns.uids.append(uid)
            columns.flags.append(mask)
            columns.modseqs.append(columns.modseq)
            self._count(mask, len(entry.message.octets), 1)
        self.uidnext = first + len(entries)
        self.news.add(NEW)
        return tuple(range(first, self.uidnext))

    def reflag(self, at: int, mask: int) -> None:
        """Give the row at index `at` other flags, under the present MODSEQ."""
        columns = self.columns
        self._count(columns.flags[at], 0, -1)
        self._count(mask, 0, 1)
        columns.flags[at] = mask
        columns.modseqs[at] = columns.modseq
        self.news.add(FLAGS)

    def remove(self, uids: Sequence[int]) -> UidSet:
        """Take the ascending existing `uids` out in one change; open handles keep them readable."""
        if not uids:
            return UidSet()
        columns = self.columns
        removed = set(uids)
        kept = []
        for at, uid in enumerate(columns.uids):
            if uid in removed:
                self._count(columns.flags[at], len(self.rows[uid].message.octets), -1)
            else:
                kept.append(at)
        rows = {uid: self.rows.pop(uid) for uid in uids}
        columns.uids, columns.flags, columns.modseqs = (
            [column[at] for at in kept] for column in (columns.uids, columns.flags, columns.modseqs)
        )
        columns.modseq += 1
        self.news.add(GONE)
        gone = UidSet.of(uids)
        self.tombstones.append((columns.modseq, gone))
        while len(self.tombstones) > self.history:
            self.floor = self.tombstones.popleft()[0]
        for handle in self.handles:
            handle.remember(rows)
        return gone

    def changes(self, since: int) -> Changes:
        """All that changed after the MODSEQ `since`."""
        columns = self.columns
        floor = since < self.floor
        if floor:
            since = 0
        at = [place for place, modseq in enumerate(columns.modseqs) if modseq > since]
        ranges = [] if floor else [pair for modseq, gone in self.tombstones if modseq > since for pair in gone.ranges]
        return Changes(
            columns.modseq,
            [columns.uids[place] for place in at],
            [columns.flags[place] for place in at],
            [columns.modseqs[place] for place in at],
            UidSet(ranges),
            floor,
        )

    def forget(self) -> None:
        """The mailbox is deleted: who has it open can still read its messages, everything else is refused."""
        self.gone = True
        self.room.used -= self.octets

    def notify(self) -> None:
        """Call the watchers; one that is stopped by another before its turn is not called any more."""
        for token, watcher in list(self.watchers.items()):
            if token in self.watchers:
                watcher()
        if self.news:
            news, self.news = self.news, set()
            self.told(Notice({self.mailbox_id: news}))

    def _count(self, mask: int, octets: int, sign: int) -> None:
        """Add (1) or take (-1) a row's share of the counters."""
        if not mask & SEEN:
            self.unseen += sign
        if mask & DELETED:
            self.deleted += sign
        self.octets += sign * octets
        self.room.used += sign * octets
