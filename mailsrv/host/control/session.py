"""Sessions: who is connected (floor 4)."""

from __future__ import annotations

from typing import Any

from ...errors import Refused
from ...parts import did_you_mean
from .table import operation


@operation("session.list", running=True)
async def list_sessions(site: Any, server: str = "") -> list[dict[str, Any]]:
    """All sessions, or those of one virtual server."""
    if server and server not in site.servers:
        raise Refused(f"there is no server {server}{did_you_mean(server, site.servers)}")
    return [
        {
            "id": info.id,
            "server": name,
            "protocol": info.protocol,
            "peer": str(info.peer),
            "user": info.user or "",
            "since": info.since,
            "secure": info.secure,
        }
        for name, virtual in site.servers.items()
        if server in ("", name)
        for info in virtual.sessions()
    ]
