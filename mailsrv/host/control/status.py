"""The site as a whole (floor 4)."""

from __future__ import annotations

import os
from typing import Any

from ... import __version__
from .table import operation


@operation("site.status", running=True)
async def status(site: Any) -> dict[str, Any]:
    """Version, process, files, servers, sessions, and listeners that are no servers."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "hostname": site.options.site.hostname,
        "config": str(site.config_path or ""),
        "data": str(site.options.data),
        "servers": {name: str(server.state) for name, server in site.servers.items()},
        "reasons": {name: server.reason for name, server in site.servers.items() if server.reason},
        "listeners": listeners_of(site),
        "sessions": sum(len(server.arrivals.present) for server in site.servers.values()),
    }


def listeners_of(site: Any) -> dict[str, Any]:
    """Where the page of counters and the listener for administration from elsewhere are, and what is in their way."""
    others = (("metrics", site.options.metrics, site.metrics), ("control", site.options.remote, site.remote))
    return {
        name: {"bindings": list(map(str, table.listen)), "addresses": one.addresses(), "trouble": one.trouble}
        for name, table, one in others if table.listen
    }  # fmt: skip
