"""The site as a whole (floor 4)."""

from __future__ import annotations

import os
from typing import Any

from ... import __version__
from .table import operation


@operation("site.status", running=True)
async def status(site: Any) -> dict[str, Any]:
    """Version, process, files, servers, sessions."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "hostname": site.options.site.hostname,
        "config": str(site.config_path or ""),
        "data": str(site.options.data),
        "servers": {name: str(server.state) for name, server in site.servers.items()},
        "reasons": {name: server.reason for name, server in site.servers.items() if server.reason},
        "sessions": sum(len(server.arrivals.present) for server in site.servers.values()),
    }
