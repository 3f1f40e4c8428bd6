"""Sorting in steps gives what `sorted` gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message import sorting
from mailsrv.message.sorting import sorted_in_steps


@given(st.lists(st.integers(0, 40), max_size=200), st.booleans())
def test_the_same_order_and_stable(keys: list[int], reverse: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "STEP", 8)
        places = range(len(keys))
        assert sorted_in_steps(places, keys.__getitem__, reverse) == sorted(
            places, key=keys.__getitem__, reverse=reverse
        )


@pytest.mark.parametrize("keys", [["same"] * 20_000, [str(number % 7) for number in range(20_000)]])
def test_equal_keys_in_great_number(keys: list[str]) -> None:
    assert sorted_in_steps(range(20_000), keys.__getitem__) == sorted(range(20_000), key=keys.__getitem__)


def test_no_step_sorts_much_more_than_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = random.Random(5).sample(range(10**9), 100_000)
    sizes = []

    def steps(buckets: list[list[object]], reverse: bool) -> list[list[object]]:
        sizes.extend(map(len, buckets))
        return [[item for _, item in sorted(bucket)] for bucket in buckets]

    monkeypatch.setattr(sorting, "_in_order", steps)
    assert sorted_in_steps(keys, lambda key: key) == sorted(keys)
    assert max(sizes) <= 2 * sorting.STEP
