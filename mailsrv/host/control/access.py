"""Access and relay lists (floor 6): what they hold, and what they say of a client."""

from __future__ import annotations

from typing import Any

from ...access.lists import AccessList, Decision
from ...access.networks import canonical
from ...errors import Refused
from ...parts import did_you_mean
from ..config.options import ServerOptions, SmtpOptions
from ..config.values import HOSTNAME
from .table import operation


def _users(site: Any, name: str) -> list[str]:
    """Which servers name that list, and as what."""
    return [
        f"{key} of {server.id}"
        for server in site.options.servers.values()
        for key in ("access", "relay")
        if getattr(server, key, "") == name
    ]


@operation("access.list")
async def list_lists(site: Any) -> list[dict[str, Any]]:
    """All lists with their entries as they are understood, and the servers that name them."""
    return [
        {
            "name": name,
            "mode": table.mode,
            "used": _users(site, name),
            "entries": [
                {"text": entry.text, "kind": entry.kind, "means": entry.normal, "line": entry.line}
                for entry in table.entries
            ],
        }
        for name, table in site.options.access.items()
    ]


def _servers(site: Any, name: str, kinds: tuple[type, ...]) -> list[Any]:
    """The server of that name, or all of these kinds.  Raises Refused."""
    servers = {server.id: server for server in site.options.servers.values() if isinstance(server, kinds)}
    if name and name not in servers:
        what = "no SMTP server" if name in site.options.servers else "no virtual server"
        raise Refused(f'{what} "{name}"{did_you_mean(name, servers)}')
    return [servers[name]] if name else list(servers.values())


async def _judge(site: Any, listed: AccessList, address: str, host: str) -> Decision:
    """What the list says; `host` instead of a look-up."""
    decision = listed.by_address(address)
    if decision is None:
        decision = listed.by_name(host) if host else await listed.decide(address, site.access.names)
    return decision


def _arguments(address: str, host: str) -> tuple[str, str]:
    """Both in their canonical form.  Raises Refused."""
    try:
        name = str(HOSTNAME.read(host)).encode("idna").decode("ascii") if host else ""
    except ValueError as error:
        raise Refused(str(error)) from None
    return canonical(address.strip()), name


def _told(server: ServerOptions, decision: Decision) -> dict[str, Any]:
    return {
        "server": server.id, "allowed": decision.allowed, "rule": decision.rule, "failed": decision.failed,
        "line": decision.entry.line if decision.entry else 0,
    }  # fmt: skip


@operation("access.test")
async def test_access(site: Any, address: str, server: str = "", host: str = "") -> list[dict[str, Any]]:
    """May a client of that address connect?  For one server, or for each; `host` is taken for its name."""
    client, name = _arguments(address, host)
    told = []
    for one in _servers(site, server, (ServerOptions,)):
        decision = Decision(True, "no access list: everybody may connect")
        if one.access:
            decision = await _judge(site, site.access.list_of(one.access), client, name)
        told.append(_told(one, decision))
    return told


@operation("relay.test")
async def test_relay(site: Any, address: str, server: str = "", host: str = "") -> list[dict[str, Any]]:
    """May a client of that address send to other domains without a login?  For one SMTP server, or for each."""
    client, name = _arguments(address, host)
    told = []
    for one in _servers(site, server, (SmtpOptions,)):
        decision = Decision(False, "no relay list: only who logs in may relay")
        if one.relay:
            decision = await _judge(site, site.access.list_of(one.relay), client, name)
        told.append(_told(one, decision))
    return told
