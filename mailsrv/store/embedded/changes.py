"""Operations on messages that are there: flags, expunge, copy, move, and the claim of \\Recent.

All of them are sliced: a slice works on a bounded number of rows, then others have their turn (decisions 5).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import MailError, NoSuchMailbox
from ...numbers import UidSet
from ...values import Copied, FlagChange, Updated
from .. import keywords as kw
from .boxes import Box
from .operations import SLICE, Operation
from .transaction import Rule, Transaction

#: Rows that are changed, and that are expunged, in one slice.
CHANGED, EXPUNGED = 5000, 2000


class Sliced(Operation):
    """Base: goes through those UIDs of one mailbox that were given out when it began, in ascending order."""

    __slots__ = ("last", "mailbox", "most", "todo")
    rows = SLICE

    def __init__(self, mailbox: int, uids: UidSet) -> None:
        super().__init__()
        self.mailbox, self.todo = mailbox, uids
        self.last: int | None = None
        #: Rows, and ranges of UIDs, of one slice.
        self.most = SLICE

    def box(self, transaction: Transaction, mailbox: int | None = None) -> Box:
        """The row.  Raises NoSuchMailbox."""
        box = transaction.boxes.get(self.mailbox if mailbox is None else mailbox)
        if box is None:
            raise NoSuchMailbox()
        return box

    def slice(self, box: Box) -> UidSet:
        """What is to be looked at now: at most `most` ranges."""
        if self.last is None:
            # What comes while this goes on was not meant, least of all a copy into the same mailbox.
            self.last = box.uidnext - 1
            self.todo = UidSet([(low, min(high, self.last)) for low, high in self.todo.ranges if low <= self.last])
        return UidSet(self.todo.ranges[: self.most])

    def went(self, uids: Sequence[int]) -> bool:
        """`uids` were worked off, fewer than `most` when all of the slice was; True: nothing is left."""
        if len(uids) < self.most:
            self.todo = UidSet(self.todo.ranges[self.most :])
        else:
            last = uids[-1]
            self.todo = UidSet([(max(low, last + 1), high) for low, high in self.todo.ranges if high > last])
        return not self.todo


class Update(Sliced):
    """IMailbox.update."""

    __slots__ = ("_before", "_change", "_conflicts", "_flags", "_since", "_uids")

    def __init__(self, mailbox: int, uids: UidSet, change: FlagChange, since: int | None) -> None:
        super().__init__(mailbox, uids)
        self._change, self._since = change, since
        # About 1 us a row.
        self.most = CHANGED
        self._uids: list[int] = []
        self._flags: list[int] = []
        self._conflicts: list[int] = []
        self._before: int | None = None

    def run(self, transaction: Transaction) -> bool:
        """One slice: all of its rows that change take one MODSEQ."""
        box, change = self.box(transaction), self._change
        keywords = transaction.boxes.keywords(box)
        new: tuple[bytes, ...] = ()
        if change.action == "remove":
            mask = kw.known(change.flags, keywords)
        else:
            mask, new = kw.assign(change.flags, keywords)
        if self._before is None:
            self._before = box.modseq
        looked = self.slice(box)
        rows = transaction.flags(box, looked, self.most)
        planned = self._plan(rows, mask)
        found = [row[0] for row in rows]
        self._uids += found
        if planned:
            if new:
                transaction.boxes.add_keywords(box, new)
            ranges = [(low, min(high, found[-1])) for low, high in looked.ranges if low <= found[-1]]
            transaction.reflag(box, planned, bool(new), Rule(change.action, mask, self._since, ranges))
        if not self.went(found):
            return False
        self.result = Updated(box.modseq, self._uids, self._flags, UidSet.of(self._conflicts), self._before)
        return True

    def _plan(self, rows: Sequence[tuple[int, int, int]], mask: int) -> list[tuple[int, int, int]]:
        """(UID, mask before, mask after) of what changes; there are few different masks."""
        after = {old: kw.changed(self._change.action, old, mask) for old in {row[2] for row in rows}}
        if self._since is not None:
            late = {uid for uid, modseq, _ in rows if modseq > self._since}
            if late:
                self._conflicts += late
                self._flags += [old if uid in late else after[old] for uid, _, old in rows]
                return [(uid, old, after[old]) for uid, _, old in rows if uid not in late and after[old] != old]
        self._flags += [after[old] for _, _, old in rows]
        return [(uid, old, after[old]) for uid, _, old in rows if after[old] != old]


class Expunge(Sliced):
    """IMailbox.expunge; with `whole` in one slice, whose commit is all or nothing."""

    __slots__ = ("_gone",)

    def __init__(self, mailbox: int, uids: UidSet, whole: bool = False) -> None:
        super().__init__(mailbox, uids)
        self._gone: list[int] = []
        # Removing is quick: about 3 us a row.
        self.most = 2**62 if whole else EXPUNGED

    def run(self, transaction: Transaction) -> bool:
        """One slice."""
        box = self.box(transaction)
        looked = self.slice(box)
        found = transaction.expunge(box, looked, self.most)
        self._gone += found
        if not self.went(found):
            return False
        self.result = UidSet.of(self._gone)
        return True


class Copy(Sliced):
    """IMailbox.copy; with `move` each slice is expunged here in the same commit.

    A copy that fails half way is taken back (RFC 9051 section 6.4.7), a move keeps what has moved.
    """

    __slots__ = ("_failure", "_masks", "_move", "_pairs", "_target")

    def __init__(self, mailbox: int, uids: UidSet, target: int, move: bool) -> None:
        super().__init__(mailbox, uids)
        self._target, self._move = target, move
        self._pairs: list[tuple[int, int]] = []
        self._masks: dict[int, int] = {}
        self._failure: MailError | None = None

    def run(self, transaction: Transaction) -> bool:
        """One slice."""
        if self._failure is not None:
            return self._take_back(transaction)
        try:
            return self.copy_slice(transaction)
        except MailError as failure:
            if self._move or not self._pairs:
                raise
            self._failure = failure
            self.mailbox, self.todo, self.last = self._target, UidSet.of(new for _, new in self._pairs), None
            return False

    def copy_slice(self, transaction: Transaction) -> bool:
        """Insert there, remove here."""
        box, target = self.box(transaction), self.box(transaction, self._target)
        looked = self.slice(box)
        rows = transaction.stored(box, looked, self.most)
        masks = [mask for _, _, mask in transaction.flags(box, looked, self.most)]
        if rows:
            before = len(transaction.boxes.keywords(target))
            made = [
                (self._mask(transaction, box, target, mask), (row[1], row[2]), row[3], row[4], row[5])
                for row, mask in zip(rows, masks, strict=True)
            ]
            first = transaction.insert(target, made, len(transaction.boxes.keywords(target)) > before)
            # The log has no record of the new rows.
            target.unsaved = 1
            self._pairs += ((row[0], first + number) for number, row in enumerate(rows))
            if self._move:
                transaction.flush()
                transaction.remove(box, rows, masks, shared=True)
        if not self.went([row[0] for row in rows]):
            return False
        self.result = Copied(target.uidvalidity, tuple(self._pairs))
        return True

    def _mask(self, transaction: Transaction, box: Box, target: Box, mask: int) -> int:
        """The same flags in the target's bits; its keyword table grows when it must."""
        if mask < 32 or box is target:
            return mask
        found = self._masks.get(mask)
        if found is None:
            boxes = transaction.boxes
            names = kw.names_of(mask, boxes.keywords(box))
            found, new = kw.assign(names, boxes.keywords(target), lenient=True)
            if new:
                boxes.add_keywords(target, new)
            self._masks[mask] = found
        return found

    def _take_back(self, transaction: Transaction) -> bool:
        """Remove what was copied before the failure."""
        box = transaction.boxes.get(self._target)
        if box is not None:
            looked = self.slice(box)
            if not self.went(transaction.expunge(box, looked, self.most)):
                return False
        self.error = self._failure
        return True


class ClaimRecent(Operation):
    """Nobody else is told that messages below `recent_from` are recent."""

    __slots__ = ("mailbox", "recent_from")

    def __init__(self, mailbox: int, recent_from: int) -> None:
        super().__init__()
        self.mailbox, self.recent_from = mailbox, recent_from

    def run(self, transaction: Transaction) -> bool:
        """Change the row only: no MODSEQ is taken, no view is told."""
        box = transaction.boxes.get(self.mailbox)
        if box is not None and box.recent_from < self.recent_from:
            box.recent_from = self.recent_from
            transaction.flush()
            box.recent = transaction.connection.execute(
                "SELECT count(*) FROM message WHERE mailbox=? AND uid>=?", (box.id, self.recent_from)
            ).get
            transaction.boxes.dirty[box.id] = box
        return True
