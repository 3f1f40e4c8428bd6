"""The embedded store against the contract suite of all stores."""

from __future__ import annotations

import itertools
from pathlib import Path

from mailsrv.store.embedded.store import EmbeddedStore
from mailsrv.testing.loop import Loop
from mailsrv.testing.store_suite import PersistentStoreContract, ShortHistoryContract, StoreContract


def open_store(path: Path, **options: int) -> tuple[EmbeddedStore, Loop]:
    loop, seconds = Loop(), itertools.count(1_800_000_000)
    return EmbeddedStore.open(path, loop.call_from_thread, lambda: next(seconds) + 0.5, **options), loop


class TestEmbeddedStore(StoreContract):
    """The whole suite."""

    random_steps = 40

    def make(self, tmp_path: Path) -> tuple[EmbeddedStore, Loop]:
        return open_store(tmp_path / "data")


class TestShortHistory(ShortHistoryContract):
    """With a history so short that `floor` happens all the time."""

    history = 2

    def make(self, tmp_path: Path) -> tuple[EmbeddedStore, Loop]:
        return open_store(tmp_path / "data", history=self.history)


class TestPersistence(PersistentStoreContract):
    """Everything survives a restart; small segments, so that several are sealed."""

    def make(self, tmp_path: Path) -> tuple[EmbeddedStore, Loop]:
        return open_store(tmp_path / "data", segment_octets=4000)

    def reopen(self, store: EmbeddedStore) -> tuple[EmbeddedStore, Loop]:
        again = open_store(store.path, segment_octets=4000)
        assert again[0].report == []
        return again
