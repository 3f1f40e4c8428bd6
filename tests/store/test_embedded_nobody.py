"""Logins that nobody has cost no more time than those of accounts, and are never nobody's for too long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_tools import Bed

from mailsrv.store.embedded import directory
from mailsrv.values import Address


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", purge_after=None)
    yield made
    made.close()


def reads(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions to the index from now on."""
    asked: list[str] = []
    index = bed.store.directory._index
    real = type(index).rows

    def rows(self: Any, sql: str, *more: Any) -> Any:
        asked.append(sql)
        return real(self, sql, *more)

    monkeypatch.setattr(type(index), "rows", rows)
    return asked


def login(bed: Bed, name: str) -> Any:
    """What is kept for it."""
    return bed.run(bed.store.directory.credentials(name))


def test_asked_for_again_neither_is_looked_up(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """SCRAM shows how long it takes, as often as somebody likes."""
    asked = reads(bed, monkeypatch)
    assert login(bed, "a@example.org") is not None and login(bed, "nobody@example.org") is None and asked
    asked.clear()
    assert login(bed, "a@example.org") is not None and login(bed, "nobody@example.org") is None and asked == []


def test_a_new_account_or_alias_is_somebodys_at_once(bed: Bed) -> None:
    assert login(bed, "new@example.org") is login(bed, "other@example.org") is None
    bed.add_account("new")
    assert login(bed, "new@example.org").login == "new@example.org"
    bed.run(bed.store.directory.add_alias(Address("other", "example.org"), [Address("a", "example.org")]))
    assert login(bed, "other@example.org").login == "a@example.org"


def test_guesses_take_a_bounded_room_and_push_out_nobody(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "CACHE_ENTRIES", 10)
    login(bed, "a@example.org")
    asked = reads(bed, monkeypatch)
    for number in range(100):
        login(bed, f"guess{number}@example.org")
        assert len(bed.store.directory._nobody) <= 10
    asked.clear()
    assert login(bed, "a@example.org") is not None and asked == []
