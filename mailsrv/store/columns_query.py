"""The part of a search that the columns answer alone: flags, UIDs and MODSEQ, for every store (pure)."""

from __future__ import annotations

from ..numbers import UidSet
from ..query import All, And, ChangedSince, HasFlag, Not, Or, Query, Uids
from ..values import Columns
from . import keywords as kw


def evaluate(query: Query, columns: Columns) -> UidSet | None:
    """The UIDs that match; None when the query asks for more than the columns hold."""
    found = _places(query, columns) if _told(query) else None
    return None if found is None else UidSet.of(columns.uids[place] for place in found)


def _told(query: Query) -> bool:
    """Whether all of it is about columns; then nothing is looked for in vain."""
    if isinstance(query, And):
        return all(map(_told, query.children))
    if isinstance(query, Or):
        return _told(query.left) and _told(query.right)
    if isinstance(query, Not):
        return _told(query.child)
    return isinstance(query, (All, HasFlag, ChangedSince, Uids))


def _places(query: Query, columns: Columns) -> set[int] | None:
    """The matching indexes.  The depth of a query is bounded where it is read."""
    everything = range(len(columns.uids))
    if isinstance(query, All):
        return set(everything)
    if isinstance(query, HasFlag):
        mask = kw.known((query.flag,), columns.keywords)
        return {place for place in everything if columns.flags[place] & mask}
    if isinstance(query, ChangedSince):
        return {place for place in everything if columns.modseqs[place] >= query.modseq}
    if isinstance(query, Uids):
        return {place for run in query.uids.positions(columns.uids) for place in run}
    if isinstance(query, Not):
        inner = _places(query.child, columns)
        return None if inner is None else set(everything) - inner
    if isinstance(query, Or):
        left = _places(query.left, columns)
        right = None if left is None else _places(query.right, columns)
        return None if left is None or right is None else left | right
    if isinstance(query, And):
        result = set(everything)
        for child in query.children:
            part = _places(child, columns)
            if part is None:
                return None
            result &= part
        return result
    return None
