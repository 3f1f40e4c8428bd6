"""The memory store against the contract suite."""

from __future__ import annotations

from pathlib import Path

from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.testing.store_suite import StoreContract


class TestMemoryStore(StoreContract):
    """The whole suite."""

    def make(self, tmp_path: Path) -> tuple[MemoryStore, Loop]:
        return MemoryStore(clock=lambda: 1_800_000_000.5), Loop()
