"""Sorting and freeing very many things in steps (floor 1): one call of `sorted` holds the interpreter to its end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")

#: What is sorted in one step: some milliseconds.
STEP = 4096
#: Keys looked at for each step to find out where to divide.
_SAMPLES = 8


def sorted_in_steps(items: Sequence[T], key: Callable[[T], Any], reverse: bool = False) -> list[T]:
    """As `sorted`, stable too.  Other threads have their turn in between."""
    if len(items) <= STEP:
        return sorted(items, key=key, reverse=reverse)
    keys = [key(item) for item in items]
    count = len(items) * 2 // STEP
    samples = sorted(keys[:: max(len(keys) // (count * _SAMPLES), 1)])
    pivots = samples[_SAMPLES::_SAMPLES]
    buckets: list[list[tuple[Any, T]]] = [[] for _ in range(len(pivots) + 1)]
    for value, item in zip(keys, items):
        buckets[bisect_right(pivots, value)].append((value, item))
    return list(chain.from_iterable(_in_order(buckets[::-1] if reverse else buckets, reverse)))


def _in_order(buckets: Iterable[list[tuple[Any, T]]], reverse: bool) -> Iterable[list[T]]:
    for bucket in buckets:
        bucket.sort(key=_first, reverse=reverse)
        found = [item for _, item in bucket]
        bucket.clear()
        yield found


def let_go(items: list[Any]) -> None:
    """Empty a list of very many things in steps: to free them all at once takes as long as many turns of others."""
    while items:
        del items[-STEP:]


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]
