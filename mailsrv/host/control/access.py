"""Access and relay lists (floor 6): what they hold, and what they say of a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...access.entries import Entry, parse_entry
from ...access.lists import AccessList, Decision
from ...access.networks import canonical
from ...errors import Refused
from ...message.domains import a_labels
from ...parts import did_you_mean, quoted
from ..changes import Asked
from ..config.edit import edit, set_value
from ..config.load import load
from ..config.options import ServerOptions, SiteOptions, SmtpOptions
from ..config.values import HOSTNAME
from .table import Asker, operation


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
        for name, table in site.access.tables.items()
    ]


def _file(site: Any, name: str) -> Path:
    """The configuration file, which has that list.  Raises Refused."""
    if site.config_path is None:
        raise Refused("this site has no configuration file; its lists are its program's")
    if name not in site.access.tables:
        known = did_you_mean(name, site.access.tables) or f"; known: {quoted(site.access.tables) or 'none'}"
        new = f"; for a new one: mailsrv config set access.{name}.mode only (or except)"
        raise Refused(f"there is no table [access.{name}]{known}{new}")
    return Path(site.config_path)


def _entry(text: str) -> Entry:
    """Raises Refused."""
    try:
        return parse_entry(text)
    except ValueError as error:
        raise Refused(str(error)) from None


def _add(path: Path, name: str, entry: Entry) -> SiteOptions:
    """Write it at the end of the list.  Raises Refused, ConfigError."""
    for other in load(path).access[name].entries:
        if other.normal == entry.normal:
            raise Refused(f'"{other.text}" in line {other.line} is that entry already')

    def change(document: Any) -> None:
        """In place, so that comments inside the list stay."""
        table = document["access"][name]
        if "list" in table:
            table["list"].append(entry.text)
        else:
            table["list"] = [entry.text]

    return edit(path, change)


def _remove(path: Path, name: str, entry: Entry) -> SiteOptions:
    """Take it out of the list, however it is written there.  Raises Refused, ConfigError."""
    entries = load(path).access[name].entries
    found = [at for at, other in enumerate(entries) if other.normal == entry.normal]
    if not found:
        raise Refused(f'[access.{name}] has no entry {entry.normal}')

    def change(document: Any) -> None:
        """In place, from the end."""
        for at in reversed(found):
            del document["access"][name]["list"][at]

    return edit(path, change)


@operation("access.add")
async def add(site: Any, name: str, entry: str, asker: Asker) -> dict[str, Any]:
    """Add an entry to a list, in the file and in effect; for clients that come from now on."""
    path, wanted = _file(site, name), _entry(entry)
    asked = Asked(asker.who, f"add {wanted.normal} to access.{name}")
    table = await site.access.change(name, lambda: _add(path, name, wanted), asked)
    return {"name": name, "mode": table.mode, "entry": wanted.normal, "warning": wanted.warning}


@operation("access.remove")
async def remove(site: Any, name: str, entry: str, asker: Asker) -> dict[str, Any]:
    """Take an entry out of a list, in the file and in effect; for clients that come from now on."""
    path, wanted = _file(site, name), _entry(entry)
    asked = Asked(asker.who, f"remove {wanted.normal} from access.{name}")
    table = await site.access.change(name, lambda: _remove(path, name, wanted), asked)
    return {"name": name, "mode": table.mode, "entry": wanted.normal}


@operation("access.mode")
async def set_mode(site: Any, name: str, mode: str, asker: Asker) -> dict[str, Any]:
    """What a list says: only (its entries are granted) or except (its entries are denied)."""
    path = _file(site, name)
    asked = Asked(asker.who, f"set access.{name}.mode")
    await site.access.change(name, lambda: set_value(path, ("access", name, "mode"), mode), asked)
    used = _users(site, name)
    relays = mode == "except" and any(one.startswith("relay ") for one in used)
    warning = "everybody whom it does not name may relay: an OPEN RELAY" if relays else ""
    return {"name": name, "mode": mode, "used": used, "warning": warning}


def _servers(site: Any, name: str, kinds: tuple[type[ServerOptions], ...]) -> list[Any]:
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
        name = a_labels(str(HOSTNAME.read(host))) if host else ""
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
