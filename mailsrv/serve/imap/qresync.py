"""QRESYNC (floor 3; RFC 7162 section 3.2): what a client that comes back has missed.

The view is as it is when the client is answered; what the store says is as new or newer.  So of what vanished only
that is told as EARLIER which the view does not have either: the rest is news, and follows as such.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...numbers import NumSet, Range, UidSet
from ...values import Changes
from ...wire import imap_print as p
from ...wire.imap_lexer import MAX_32
from ...wire.imap_requests import Qresync
from . import tell
from .view import Changed, View

if TYPE_CHECKING:
    from .selected import Selection
    from .session import ImapSession


async def resynchronise(session: ImapSession, selection: Selection, asked: Qresync, uidnext: int) -> None:
    """VANISHED (EARLIER) and FETCH of SELECT with QRESYNC; nothing when the client's copy is of another mailbox that
    had the name (section 3.2.5).  `uidnext`: the client can know UIDs below it."""
    view = selection.view
    if asked.uidvalidity != selection.mailbox.uidvalidity:
        return
    changes = await selection.mailbox.changes(asked.modseq)
    known = between(same_up_to(view, asked) + 1, uidnext - 1)
    await _vanished(session, view, changes, known if asked.known is None else known & asked.known)
    await tell.tell_flags(session, selection, _rows(view, changes, asked.known))


async def vanished(session: ImapSession, view: View, modseq: int, numbers: NumSet) -> None:
    """VANISHED (EARLIER) of UID FETCH with CHANGEDSINCE and VANISHED (section 3.2.6).

    The last message that the client knows may be gone, so ``*`` is here all that can have been.
    """
    uidnext = (await view.mailbox.state()).uidnext
    known = numbers.resolve(MAX_32) & between(1, uidnext - 1)
    await _vanished(session, view, await view.mailbox.changes(modseq), known)


def between(low: int, high: int) -> UidSet:
    """The UIDs from `low` to `high`, none when there are none."""
    return UidSet([(low, high)]) if low <= high else UidSet()


async def _vanished(session: ImapSession, view: View, changes: Changes, known: UidSet) -> None:
    """Say which of the UIDs `known` are gone.

    What vanished so long ago that the store has forgotten it is told as if it had vanished now: all of `known` that
    is not there (section 3.2.5.1).
    """
    gone = changes.vanished & known
    if changes.floor:
        new = changes.uids[bisect_right(changes.uids, view.last_uid()) :]
        # What came after the view was made is not in it, but no less there.
        gone = known & between(1, new[0] - 1) if new else known
    session.put(p.vanished(absent(view, gone), earlier=True))
    await session.pace()


def absent(view: View, uids: UidSet) -> UidSet:
    """Those of the `uids` that the view does not have."""
    gaps: list[Range] = []
    for low, high in uids.ranges:
        for part in view.ranges(UidSet(((low, high),))):
            for uid in view.uids(part):
                if uid > low:
                    gaps.append((low, uid - 1))
                low = uid + 1
        if low <= high:
            gaps.append((low, high))
    return UidSet(gaps)


def _rows(view: View, changes: Changes, known: UidSet | None) -> Iterator[Changed]:
    """The rows that changed, as the view numbers them."""
    for uid, mask, modseq in zip(changes.uids, changes.flags, changes.modseqs):
        if known is None or uid in known:
            at = view.index(uid)
            if at is not None:
                yield at + 1, uid, mask, modseq


def same_up_to(view: View, asked: Qresync) -> int:
    """The highest UID that has the number which the client knows it by: up to there nothing vanished (section
    3.2.5.2).  0: there is none, or the client told none."""
    if asked.matches is None:
        return 0
    numbers, uids = map(_Nth, asked.matches)

    def differs(index: int) -> bool:
        number = numbers.get(index)
        return number > view.length or view.uids(range(number - 1, number)) != [uids.get(index)]

    # What is the same at one place is the same at all places before: UIDs never come in between.
    first = bisect_left(range(len(asked.matches[0])), True, key=differs)
    return uids.get(first - 1) if first else 0


class _Nth:
    """The numbers of a set by their place."""

    def __init__(self, uids: UidSet) -> None:
        self._ranges, self._before = uids.ranges, [0]
        for low, high in uids.ranges:
            self._before.append(self._before[-1] + high - low + 1)

    def get(self, index: int) -> int:
        """The number at `index`, from 0."""
        at = bisect_left(self._before, index + 1) - 1
        return self._ranges[at][0] + index - self._before[at]
