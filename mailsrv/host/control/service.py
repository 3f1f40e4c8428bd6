"""Services: all servers of one protocol together (floor 4; S-023..S-027)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .table import operation, whole_site


def _status(site: Any, protocol: str) -> dict[str, Any]:
    """One service and its servers."""
    return {
        "service": protocol,
        "state": site.life.services[protocol].state,
        "servers": [
            {"name": name, "state": str(server.state), "reason": server.reason}
            for name, server in site.servers.items()
            if name.partition("/")[0] == protocol
        ],
    }


async def _each(site: Any, service: str, change: Callable[[str], Awaitable[str]]) -> list[dict[str, Any]]:
    """Change one service or all of them."""
    protocols = site.life.protocols(service)
    warnings = [await change(protocol) for protocol in protocols]
    return [{**_status(site, name), "warning": text} for name, text in zip(protocols, warnings, strict=True)]


@operation("service.status", running=True)
async def status(site: Any, service: str = "all") -> list[dict[str, Any]]:
    """State of a service (smtp, imap, pop3), or of all, with their servers."""
    return [_status(site, protocol) for protocol in site.life.protocols(service)]


@operation("service.start", running=True, resource=whole_site)
async def start(site: Any, service: str) -> list[dict[str, Any]]:
    """Start just those servers that ran when the service was stopped (S-025)."""
    return await _each(site, service, site.life.start_service)


@operation("service.stop", running=True, resource=whole_site)
async def stop(site: Any, service: str) -> list[dict[str, Any]]:
    """Stop all servers of a service, and all delivery of theirs (S-024)."""
    return await _each(site, service, site.life.stop_service)


@operation("service.pause", running=True, resource=whole_site)
async def pause(site: Any, service: str) -> list[dict[str, Any]]:
    """Pause those servers of a service that run."""
    return await _each(site, service, site.life.pause_service)


@operation("service.resume", running=True, resource=whole_site)
async def resume(site: Any, service: str) -> list[dict[str, Any]]:
    """Let those go on that the service has paused (S-027)."""
    return await _each(site, service, site.life.resume_service)


@operation("service.restart", running=True, resource=whole_site)
async def restart(site: Any, service: str) -> list[dict[str, Any]]:
    """Stop, wait until the sessions are gone (seconds at most), a short pause, start (S-026)."""
    return await _each(site, service, site.life.restart_service)
