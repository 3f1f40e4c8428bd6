"""Store suite: a store may leave a search to others, but what it answers must be right (RFC 9051 section 6.4.4)."""

from __future__ import annotations

import datetime

import pytest

from ..numbers import UidSet
from ..query import (
    All,
    And,
    BodyContains,
    ChangedSince,
    HasFlag,
    HeaderContains,
    Internal,
    Larger,
    Not,
    Or,
    Query,
    Sent,
    Smaller,
    TextContains,
    Uids,
)
from .store_suite_base import StoreCase, add, message

_DAY = datetime.date(2026, 1, 2).toordinal()
_SEEN, _WORK = HasFlag(b"\\SEEN"), HasFlag(b"work")

#: A query, and the indexes of those of the five messages that match.
QUERIES: list[tuple[Query, list[int]]] = [
    (All(), [0, 1, 2, 3, 4]),
    (And(()), [0, 1, 2, 3, 4]),
    (Not(All()), []),
    (_SEEN, [1, 3]),
    (_WORK, [2, 3]),
    (HasFlag(b"nobody's"), []),
    (And((_SEEN, _WORK)), [3]),
    (Or(_SEEN, _WORK), [1, 2, 3]),
    (Not(Or(_SEEN, _WORK)), [0, 4]),
    (And((Not(_SEEN), Not(_WORK), Smaller(50_000))), [0]),
    (Larger(50_000), [4]),
    (Not(Larger(50_000)), [0, 1, 2, 3]),
    (Internal("=", _DAY), [0, 1, 2, 3, 4]),
    (Internal("<", _DAY), []),
    (Internal(">=", _DAY + 1), []),
    (Or(Sent("<", _DAY), All()), [0, 1, 2, 3, 4]),
    (HeaderContains("subject", "MESSAGE 3"), [3]),
    (And((BodyContains("of message"), _SEEN)), [1, 3]),
    (Not(TextContains("message 1")), [0, 2, 3, 4]),
]


class SearchContract(StoreCase):
    """IMailbox.search."""

    @pytest.mark.parametrize(("query", "places"), QUERIES)
    def test_search_is_right_or_left_to_others(self, query: Query, places: list[int]) -> None:
        """None: evaluate it yourself; otherwise exactly what matches."""
        box = self.mailbox()
        uids = self.run(
            box.append(
                [
                    message(0),
                    message(1, b"\\Seen"),
                    message(2, b"Work"),
                    message(3, b"\\Seen", b"WORK"),
                    message(4, size=60_000),
                ]
            )
        ).uids
        found = self.run(box.search(query))
        assert found is None or found == UidSet.of(uids[place] for place in places)

    def test_search_by_uid_and_modseq(self) -> None:
        """UIDs that are gone or never were do not match; RFC 7162 section 3.1.5: MODSEQ at least that."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3)
        self.run(box.update(UidSet.of([b]), add(b"\\Seen")))
        self.run(box.expunge(UidSet.of([a])))
        modseq = dict(zip(box.columns().uids, box.columns().modseqs, strict=True))[b]
        for query, want in (
            (Uids(UidSet([(a, 10**9)])), [b, c]),
            (Uids(UidSet.of([a])), []),
            (ChangedSince(modseq), [b]),
            (ChangedSince(1), [b, c]),
            (ChangedSince(modseq + 10), []),
            (Not(Uids(UidSet.of([c]))), [b]),
        ):
            found = self.run(box.search(query))
            assert found is None or found == UidSet.of(want)
