"""Aliases and lists (floor 4)."""

from __future__ import annotations

from typing import Any

from ...errors import Refused
from .common import address_of, admin_of, local_address, shown
from .table import operation

#: Targets of one alias.
MAX_TARGETS = 10_000


@operation("alias.add")
async def add(site: Any, address: str, targets: list[str]) -> dict[str, Any]:
    """Send mail for an address to others; replaces an alias of that name."""
    where = await local_address(site, address)
    if not 1 <= len(targets) <= MAX_TARGETS:
        raise Refused(f"an alias has 1 to {MAX_TARGETS} targets")
    goals = [address_of(target) for target in targets]
    await admin_of(site).add_alias(where, goals)
    return {"address": shown(where), "targets": [shown(goal) for goal in goals]}


@operation("alias.list")
async def list_aliases(site: Any) -> list[dict[str, Any]]:
    """All aliases."""
    return [
        {"address": shown(address), "targets": [shown(target) for target in targets]}
        for address, targets in await admin_of(site).aliases()
    ]


@operation("alias.remove")
async def remove(site: Any, address: str) -> dict[str, Any]:
    """Remove an alias."""
    where = address_of(address)
    await admin_of(site).remove_alias(where)
    return {"address": shown(where)}
