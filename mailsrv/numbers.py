"""Sets of UIDs and of message numbers (floor 0): intervals, never lists, so that `1:4294967295` costs nothing.

RFC 9051 section 9 (sequence-set), RFC 4315 (uid-set).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

Range = tuple[int, int]


def _normalised(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Sorted, disjoint, non-adjacent closed intervals."""
    out: list[Range] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            if high > out[-1][1]:
                out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return tuple(out)


class UidSet:
    """An immutable set of positive integers kept as sorted, disjoint, closed intervals."""

    __slots__ = ("_lows", "ranges")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self.ranges = _normalised(ranges)
        self._lows = [low for low, _ in self.ranges]

    @classmethod
    def of(cls, uids: Iterable[int]) -> UidSet:
        """The set of these numbers, in any order."""
        numbers = sorted(set(uids))
        if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:
            return cls(((numbers[0], numbers[-1]),))
        return cls([(uid, uid) for uid in numbers])

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self._lows, uid) - 1
        return at >= 0 and uid <= self.ranges[at][1]

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UidSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"UidSet({self})"

    def __str__(self) -> str:
        return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in self.ranges)

    def __or__(self, other: UidSet) -> UidSet:
        return UidSet(self.ranges + other.ranges)

    def __and__(self, other: UidSet) -> UidSet:
        out: list[Range] = []
        left, right = iter(self.ranges), iter(other.ranges)
        mine, theirs = next(left, None), next(right, None)
        while mine is not None and theirs is not None:
            low, high = max(mine[0], theirs[0]), min(mine[1], theirs[1])
            if low <= high:
                out.append((low, high))
            if mine[1] < theirs[1]:
                mine = next(left, None)
            else:
                theirs = next(right, None)
        return UidSet(out)

    def encode(self) -> bytes:
        """The uid-set as IMAP writes it, for example ``b"1:3,7"``."""
        return str(self).encode("ascii")

    def pick(self, uids: Sequence[int]) -> list[int]:
        """Those of the ascending `uids` that are in the set; O(ranges * log n + found)."""
        out: list[int] = []
        for low, high in self.ranges:
            out.extend(uids[bisect_left(uids, low) : bisect_right(uids, high)])
        return out

    def positions(self, uids: Sequence[int]) -> Iterator[range]:
        """For each interval, the index range it covers in the ascending `uids`."""
        for low, high in self.ranges:
            found = range(bisect_left(uids, low), bisect_right(uids, high))
            if found:
                yield found


class NumSet:
    """A sequence-set as a client wrote it: closed intervals in which 0 stands for ``*``.

    `saved` is True for ``$`` (RFC 5182), which refers to the last search result.
    """

    __slots__ = ("ranges", "saved")

    def __init__(self, ranges: Iterable[Range] = (), *, saved: bool = False) -> None:
        self.ranges: tuple[Range, ...] = tuple(ranges)
        self.saved = saved

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumSet) and (self.ranges, self.saved) == (other.ranges, other.saved)

    def __hash__(self) -> int:
        return hash((self.ranges, self.saved))

    def __repr__(self) -> str:
        return f"NumSet({list(self.ranges)}{', saved=True' if self.saved else ''})"

    def resolve(self, largest: int) -> UidSet:
        """The intervals with ``*`` taken as `largest` (0: an empty mailbox, where ``*`` names nothing)."""
        out: list[Range] = []
        for low, high in self.ranges:
            low, high = low or largest, high or largest
            if low and high:
                out.append((min(low, high), max(low, high)))
        return UidSet(out)
