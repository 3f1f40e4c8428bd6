"""Rows that were expunged while somebody had the mailbox open: they stay readable to older handles.

The writer thread adds them before its commit, the reactor thread forgets them; compaction asks for what they refer
to.  So there is no moment in which a message is neither in the index nor here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import itemgetter

#: uid, segment, ordinal, size, date, zone, saved
Stored = tuple[int, int, int, int, int, int, int]
COLUMNS = 7


class Ghosts:
    """mailbox id -> UID -> (MODSEQ of the expunge, row)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[int, dict[int, tuple[int, Stored]]] = {}

    def add(self, mailbox: int, modseq: int, rows: Sequence[Stored]) -> None:
        """Rows that an expunge with this MODSEQ takes away; they may have more behind."""
        with self._lock:
            self._rows.setdefault(mailbox, {}).update(zip(map(itemgetter(0), rows), zip(repeat(modseq), rows)))

    def discard(self, mailbox: int, uids: Iterable[int]) -> None:
        """The expunge did not happen."""
        with self._lock:
            known = self._rows.get(mailbox, {})
            for uid in uids:
                known.pop(uid, None)

    def get(self, mailbox: int, uid: int, since: int) -> Stored | None:
        """The row, when it was expunged after `since`."""
        found = self._rows.get(mailbox, {}).get(uid)
        return found[1][:COLUMNS] if found is not None and found[0] > since else None

    def forget(self, mailbox: int, until: int) -> None:
        """Nobody is left who saw what was expunged up to the MODSEQ `until`."""
        with self._lock:
            known = self._rows.get(mailbox)
            if known is None:
                return
            kept = {uid: found for uid, found in known.items() if found[0] > until}
            if kept:
                self._rows[mailbox] = kept
            else:
                del self._rows[mailbox]

    def pinned(self, segment: int) -> set[int]:
        """The ordinals of a segment that must stay."""
        with self._lock:
            return {row[2] for known in self._rows.values() for _, row in known.values() if row[1] == segment}

    def octets(self, segment: int) -> int:
        """How much of a segment only older handles can still see."""
        with self._lock:
            return sum(row[3] for known in self._rows.values() for _, row in known.values() if row[1] == segment)
