"""What happens in the site, as it happens (floor 4)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ...errors import Refused
from ...happenings import KINDS
from ...parts import did_you_mean
from .table import operation

_NONE: list[str] = []


@operation("event.list")
async def list_kinds(site: Any) -> list[dict[str, str]]:
    """The kinds of events."""
    return [{"kind": kind, "text": text} for kind, text in KINDS.items()]


@operation("event.follow", running=True, stream=True)
async def follow(site: Any, kinds: list[str] = _NONE, server: str = "") -> AsyncGenerator[dict[str, Any], None]:
    """Events from now on: of these kinds ("delivery", "session.ended"), of this server; all of them without."""
    if server and server not in site.servers:
        raise Refused(f"there is no server {server}{did_you_mean(server, site.servers)}")
    followed = site.events.follow(kinds, server)
    try:
        async for event in followed:
            yield event
    finally:
        followed.close()
