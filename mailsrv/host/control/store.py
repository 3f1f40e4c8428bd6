"""The message store's files (floor 4)."""

from __future__ import annotations

from typing import Any

from ...errors import Refused
from ...interfaces import IStoreMaintenance
from .table import operation


def _maintenance(site: Any) -> Any:
    """The store's IStoreMaintenance.  Raises Refused."""
    if not IStoreMaintenance.providedBy(site.store):
        raise Refused(f"the store {site.options.store.use!r} has no files to look after")
    return site.store


@operation("store.check")
async def check(site: Any) -> dict[str, Any]:
    """Read the whole store and tell what does not fit together; changes nothing."""
    problems = list(await _maintenance(site).check())
    return {"ok": not problems, "problems": problems}


@operation("store.compact")
async def compact(site: Any) -> dict[str, Any]:
    """Give back the disk room of expunged messages now."""
    return {"octets_freed": int(await _maintenance(site).compact())}
