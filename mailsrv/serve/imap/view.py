"""What one session knows of its selected mailbox (floor 3): message sequence numbers live here and nowhere else.

A view in step with the mailbox is a reference to the shared list of UIDs and a length.  Only while it holds back
expunges (RFC 3501 section 7.4.1: a command that speaks of sequence numbers must not see them change) does it
keep the list from before; a list of its own it needs only when new messages come meanwhile, or when the mailbox
moves on between the store's answer and its reading here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from attrs import define, field

from ...interfaces import IMailbox
from ...numbers import NumSet, UidSet
from ...values import Changes, Updated
from ...wire.imap_print import FlagLists
from .answer import Bad

#: (sequence number, UID, flag mask, MODSEQ).
Changed = tuple[int, int, int, int]


@define
class News:
    """What a sync has to tell, in the order in which it must be told.

    `expunged` are sequence numbers in descending order, so each is right when it is told; `exists`
    is None when there is no new message; `changed` rows are (sequence number, UID, flag mask, MODSEQ), numbers as
    they are after the expunges.  `vanished` are the UIDs of `expunged`, ascending.
    """

    expunged: list[int] = field(factory=list)
    vanished: list[int] = field(factory=list)
    exists: int | None = None
    changed: list[Changed] = field(factory=list)


class View:
    """The messages a session sees, in its order.  Indexes count from 0: sequence number - 1.

    `modseq` is the moment up to which the mailbox's changes are known; `highest_modseq` the one to report
    (RFC 7162): while expunges are held back it stays at the moment before them, so that a client that comes
    back with it learns of them.
    """

    __slots__ = (
        "_columns", "_flags", "_held", "_modseqs", "_told", "_uids", "highest_modseq", "length", "lists",
        "mailbox", "modseq", "recent", "saved", "uid_only",
    )

    def __init__(self, mailbox: IMailbox) -> None:
        self.mailbox = mailbox
        columns = self._columns = mailbox.columns()
        self._uids: list[int] = columns.uids
        self._flags: list[int] = columns.flags
        #: Prints masks of this mailbox, and keeps those it has printed.
        self.lists = FlagLists(columns.keywords)
        self._modseqs: list[int] = columns.modseqs
        self.length = len(columns.uids)
        self.modseq = self.highest_modseq = columns.modseq
        self._held: UidSet | None = None
        #: The UIDs that are recent to this session; None for none.
        self.recent: UidSet | None = None
        #: UID -> (flag mask, MODSEQ or 0) that the client heard of by a command's own answers.
        self._told: dict[int, tuple[int, int]] | None = None
        #: Sequence numbers are not to be used (RFC 9586).
        self.uid_only = False
        #: The result of the last search with SAVE (RFC 5182).
        self.saved = UidSet()

    # ------------------------------------------------------------ numbers

    def uids(self, part: range) -> list[int]:
        """The UIDs at these indexes."""
        return self._uids[part.start : part.stop]

    def last_uid(self) -> int:
        """The highest UID seen, 0 in an empty mailbox."""
        return self._uids[self.length - 1] if self.length else 0

    def index(self, uid: int) -> int | None:
        """Where the UID is, or None."""
        at = bisect_left(self._uids, uid, 0, self.length)
        return at if at < self.length and self._uids[at] == uid else None

    def positions(self, numbers: NumSet, by_uid: bool, strict: bool = True) -> list[range]:
        """The indexes that a client's set names: ascending, disjoint, never empty ranges.

        UIDs that do not exist are left out (RFC 3501 section 6.4.8).  A sequence number that is not there raises
        Bad (section 9, seq-number), unless not `strict`: then it is left out too.  ``*`` names the last message,
        or nothing in an empty mailbox.
        """
        if numbers.saved:
            return self.ranges(self.saved)
        if by_uid:
            return self.ranges(numbers.resolve(self.last_uid()))
        if self.uid_only:
            raise Bad("Only UIDs can be used now", "UIDREQUIRED")
        length = self.length
        found = []
        for low, high in numbers.ranges:
            star = not low or not high
            first, last = sorted((low or length, high or length))
            if last > length:
                if star:
                    # QUIRK: clients ask for "n+1:*" to see whether something came; it names the last message.
                    first = min(first, length)
                elif strict:
                    raise Bad("No message has that number")
                last = length
            if first <= last and last:
                found.append((max(first, 1), last))
        return [range(low - 1, high) for low, high in (UidSet(found).ranges if len(found) > 1 else found)]

    def ranges(self, uids: UidSet) -> list[range]:
        """The indexes of those `uids` that are seen, in ascending ranges."""
        known, length = self._uids, self.length
        out = []
        for low, high in uids.ranges:
            start = bisect_left(known, low, 0, length)
            stop = bisect_right(known, high, start, length)
            if start < stop:
                out.append(range(start, stop))
        return out

    def uid_set(self, ranges: Sequence[range]) -> UidSet:
        """The UIDs at these indexes as a set, in as few intervals as the indexes have.

        An interval may cover UIDs that were expunged long ago: no store has them, and none is ever used again.
        """
        return UidSet((self._uids[part.start], self._uids[part.stop - 1]) for part in ranges)

    # ------------------------------------------------------------ flags

    def flags(self, part: range) -> list[int]:
        """The flag masks now at these indexes; of an expunged message the last ones known."""
        columns = self._columns
        if self._uids is columns.uids:
            return columns.flags[part.start : part.stop]
        return _looked_up(self._uids, self._flags, part, columns.uids, columns.flags)

    def modseqs(self, part: range) -> list[int]:
        """The MODSEQ now at these indexes, those of the `flags` got in the same turn."""
        columns = self._columns
        if self._uids is columns.uids:
            return columns.modseqs[part.start : part.stop]
        return _looked_up(self._uids, self._modseqs, part, columns.uids, columns.modseqs)

    def keywords(self) -> list[bytes]:
        """The mailbox's keywords in the order of their bits (from bit 5); it only ever grows."""
        return self._columns.keywords

    # ------------------------------------------------------------ \Recent

    def claimed(self, lowest: int) -> None:
        """The store says that the UIDs from `lowest` on are recent to this session (`claim_recent`)."""
        uids = self._columns.uids
        if uids and lowest <= uids[-1]:
            fresh = UidSet([(lowest, uids[-1])])
            self.recent = fresh if self.recent is None else self.recent | fresh

    def split(self, part: range) -> Iterator[tuple[range, bool]]:
        """The indexes in runs of messages that are all recent or all not; with whether they are."""
        at = part.start
        for fresh in self.ranges(self.recent) if self.recent is not None else ():
            start, stop = max(fresh.start, at), min(fresh.stop, part.stop)
            if start < stop:
                if at < start:
                    yield range(at, start), False
                yield range(start, stop), True
                at = stop
        if at < part.stop:
            yield range(at, part.stop), False

    # ------------------------------------------------------------ in step with the mailbox

    def told(
        self, updated: Updated, uids: Sequence[int], masks: Sequence[int], modseqs: Iterable[int] = repeat(0)
    ) -> None:
        """A change of flags by this session: the client knows that these `uids` have these flags now, and these
        MODSEQs, unless they are 0.

        They are not told again by the next sync, unless they changed once more.
        """
        if updated.modseq == self.modseq or (updated.before == self.modseq == updated.modseq - 1):
            # Nothing else happened since: there is nothing to look for.
            self.modseq = updated.modseq
            if self._held is None:
                self.highest_modseq = updated.modseq
            return
        if self._told is None:
            self._told = {}
        self._told.update(zip(uids, zip(masks, modseqs)))

    @property
    def holding(self) -> bool:
        """Whether there are expunges that the client was not told of because it may not be told now."""
        return self._held is not None

    def behind(self, expunge: bool) -> bool:
        """Whether a sync would find something, as far as this process knows."""
        return self._columns.modseq != self.modseq or (expunge and self._held is not None)

    async def sync(self, expunge: bool) -> News:
        """Ask the store what changed; with `expunge` the client may be told of messages that vanished.

        Raises NoSuchMailbox when the mailbox was deleted, StoreUnavailable.
        """
        return self.apply(await self.mailbox.changes(self.modseq), expunge)

    def apply(self, changes: Changes, expunge: bool) -> News:
        """Take in `changes` after `modseq`; what is to be told."""
        news = News()
        last = self.last_uid()
        uids = changes.uids
        split = bisect_right(uids, last)
        gone = self._gone(changes)
        self._held = None
        if gone and not expunge:
            self._held = self.uid_set(gone)
            gone = []
        if gone:
            news.expunged = [at + 1 for part in reversed(gone) for at in reversed(part)]
            news.vanished = [uid for part in gone for uid in self.uids(part)]
        if gone or split < len(uids) or self._uids is not self._columns.uids:
            self._replace(changes, gone, split)
        if split < len(uids):
            news.exists = self.length
        news.changed = list(self._changed(uids[:split], changes))
        self._told = None
        self.modseq = changes.modseq
        if self._held is None:
            self.highest_modseq = changes.modseq
        return news

    def _gone(self, changes: Changes) -> list[range]:
        """The indexes of all that vanished and is still seen."""
        if changes.floor:
            there = set(changes.uids)
            return self.ranges(UidSet.of(uid for uid in self._uids[: self.length] if uid not in there))
        if self._held is None:
            return self.ranges(changes.vanished) if changes.vanished else []
        return self.ranges(self._held | changes.vanished)

    def _replace(self, changes: Changes, gone: Sequence[range], split: int) -> None:
        """Take the list without `gone` and with the new rows: the shared one where it is the same."""
        columns = self._columns
        added = changes.uids[split:]
        length = self.length - sum(map(len, gone)) + len(added)
        if self._held is None and columns.modseq == changes.modseq and len(columns.uids) == length:
            self._uids, self._flags, self._modseqs = columns.uids, columns.flags, columns.modseqs
        elif gone or (added and self._uids is not columns.uids):
            kept = [column[: self.length] for column in (self._uids, self._flags, self._modseqs)]
            for column in kept:
                for part in reversed(gone):
                    del column[part.start : part.stop]
            self._uids, self._flags, self._modseqs = (
                [*column, *new[split:]] for column, new in zip(kept, (changes.uids, changes.flags, changes.modseqs))
            )
        self.length = length

    def _changed(self, uids: Sequence[int], changes: Changes) -> Iterator[Changed]:
        """Rows known before whose flags the client does not know yet."""
        known, length, told = self._uids, self.length, self._told
        at = -1
        for uid, mask, modseq in zip(uids, changes.flags, changes.modseqs):
            if told is not None and told.get(uid) in ((mask, 0), (mask, modseq)):
                continue
            at += 1
            if at >= length or known[at] != uid:
                at = bisect_left(known, uid, 0, length)
                if at >= length or known[at] != uid:
                    at -= 1
                    continue
            yield at + 1, uid, mask, modseq


def _looked_up(
    uids: Sequence[int], kept: Sequence[int], part: range, live: Sequence[int], values: Sequence[int]
) -> list[int]:
    """The live `values` of the UIDs at these indexes; of one that is gone what was `kept`."""
    out = []
    for at in part:
        uid = uids[at]
        now = bisect_left(live, uid)
        out.append(values[now] if now < len(live) and live[now] == uid else kept[at])
    return out


def count_recent(view: View) -> int:
    """How many of the messages seen are recent."""
    return sum(map(len, view.ranges(view.recent))) if view.recent is not None else 0


def lost(view: View, ranges: Sequence[range]) -> bool:
    """Whether some of these messages are expunged, as far as this process knows, and only still seen here."""
    live = view.mailbox.columns().uids
    return sum(map(len, view.uid_set(ranges).positions(live))) < sum(map(len, ranges))


def gathered(ranges: Iterable[range], size: int) -> Iterator[list[range]]:
    """Ranges in groups of at most `size` messages, so that a set of single numbers makes few blocks."""
    group: list[range] = []
    room = size
    for part in ranges:
        while part:
            taken, part = part[:room], part[room:]
            group.append(taken)
            room -= len(taken)
            if not room:
                yield group
                group, room = [], size
    if group:
        yield group
