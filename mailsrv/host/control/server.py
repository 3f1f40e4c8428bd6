"""Virtual servers (floor 4)."""

from __future__ import annotations

from typing import Any

from ...errors import Refused
from ...parts import did_you_mean
from ..config.derive import limits_of
from .table import of_server, operation


def _facts(site: Any, name: str) -> dict[str, Any]:
    """One server for JSON."""
    server = site.servers[name]
    options = site.options.servers.get(name)
    return {
        "name": name,
        "title": options.title if options else "",
        "state": str(server.state),
        "reason": server.reason,
        "bindings": [str(binding) for binding in server.bindings],
        "addresses": list(server.addresses()),
        "connections": len(server.arrivals.present),
    }


@operation("server.list", running=True)
async def list_servers(site: Any) -> list[dict[str, Any]]:
    """All virtual servers: state, addresses, connections."""
    return [_facts(site, name) for name in site.servers]


@operation("server.show", running=True, resource=lambda given: of_server(given, "name"))
async def show(site: Any, name: str) -> dict[str, Any]:
    """One virtual server with its limits."""
    if name not in site.servers:
        raise Refused(f"there is no server {name}{did_you_mean(name, site.servers)}")
    facts = _facts(site, name)
    options = site.options.servers.get(name)
    if options is not None:
        limits = limits_of(options, site.options)
        facts["hostname"] = options.hostname
        facts["limits"] = {
            key: getattr(limits, key)
            for key in (
                "connections", "connections_per_address", "idle_timeout", "login_timeout",
                "message_octets", "session_octets", "recipients", "hops", "append_octets",
            )
        }
    return facts
