"""The stores that the configuration can name (floor 2b)."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ..parts import DURATION, option


@frozen
class SqliteOptions:
    """[store] with use = "sqlite"."""

    purge_after: float = option(DURATION, 7 * 86400.0, "expunged content is gone from the disk by then")


def build_memory(options: Any, site: Any) -> Any:
    """Everything in this process; what it held is gone with it."""
    from .memory import MemoryStore

    return MemoryStore(site.clock)
