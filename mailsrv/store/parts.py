"""The stores that the configuration can name (floor 2b)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.logger import Logger

from ..parts import DURATION, option

log = Logger()


@frozen
class SqliteOptions:
    """[store] with use = "sqlite"."""

    purge_after: float = option(DURATION, 7 * 86400.0, "expunged content is gone from the disk by then")


def build_memory(options: Any, site: Any) -> Any:
    """Everything in this process; what it held is gone with it."""
    from .memory import MemoryStore

    return MemoryStore(site.clock)


def build_sqlite(options: SqliteOptions, site: Any) -> Any:
    """The store of the site's data folder; what its start found is logged.  Raises InUse, StoreUnavailable."""
    from .embedded.store import EmbeddedStore

    store = EmbeddedStore.open(site.options.data, site.call_from_thread, site.clock, purge_after=options.purge_after)
    for line in store.report:
        log.warn("{data}: {line}", data=str(site.options.data), line=line)
    return store
