"""Virtual servers: what they do, and their life (floor 4; S-017..S-022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.derive import limits_of
from ..life import server_of
from .table import of_server, operation

_LIMITS = (
    "connections", "connections_per_address", "idle_timeout", "login_timeout", "message_octets", "session_octets",
    "recipients", "hops", "append_octets",
)  # fmt: skip


def facts_of(site: Any, name: str) -> dict[str, Any]:
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


def _named(given: Mapping[str, Any]) -> str:
    """What it is done to."""
    return of_server(given, "name")


def _done(site: Any, name: str, warning: str) -> dict[str, Any]:
    """What came of an order."""
    return {**facts_of(site, name), "warning": warning}


@operation("server.list", running=True)
async def list_servers(site: Any) -> list[dict[str, Any]]:
    """All virtual servers: state, addresses, connections."""
    return [facts_of(site, name) for name in site.servers]


@operation("server.show", running=True, resource=_named)
async def show(site: Any, name: str) -> dict[str, Any]:
    """One virtual server with its limits, and what it has counted since the start of the process."""
    server = server_of(site, name)
    facts = facts_of(site, name)
    options = site.options.servers.get(name)
    if options is not None:
        limits = limits_of(options, site.options)
        facts["hostname"] = options.hostname
        facts["startup"] = options.startup
        facts["limits"] = {key: getattr(limits, key) for key in _LIMITS}
    facts["counters"] = dict(sorted(server.services.counters.items()))
    return facts


@operation("server.start", running=True, resource=_named)
async def start(site: Any, name: str) -> dict[str, Any]:
    """Let a server run; it stays stopped, with the reason, when a binding cannot be had (S-014)."""
    return _done(site, name, await site.life.start(name))


@operation("server.pause", running=True, resource=_named)
async def pause(site: Any, name: str) -> dict[str, Any]:
    """Let nobody connect any more; sessions go on, and so does the queue (S-019..S-022)."""
    return _done(site, name, await site.life.pause(name))


@operation("server.resume", running=True, resource=_named)
async def resume(site: Any, name: str) -> dict[str, Any]:
    """End a pause."""
    return _done(site, name, await site.life.resume(name))


@operation("server.stop", running=True, resource=_named)
async def stop(site: Any, name: str) -> dict[str, Any]:
    """Accept and send nothing (S-018); `connections` are told so and leave after the command under way."""
    return _done(site, name, await site.life.stop(name))


@operation("server.restart", running=True, resource=_named)
async def restart(site: Any, name: str) -> dict[str, Any]:
    """Stop, wait until the sessions are gone (seconds at most), a short pause, start (S-026)."""
    return _done(site, name, await site.life.restart(name))
