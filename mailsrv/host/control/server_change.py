"""Making and removing virtual servers (floor 6; S-012..S-014, S-149, S-153)."""

from __future__ import annotations

from typing import Any

from ...errors import Refused
from ...parts import did_you_mean
from ..changes import Asked
from ..config.load import load
from ..config.options import SERVER_TABLES, SmtpOptions
from ..config.servers import PORTS, adding, removing, split_name, with_port
from .config import change
from .queue_rows import Wanted, scan
from .server import facts_of
from .table import Asker, of_server, operation

#: Rows of the queue that are counted.
MAX_COUNTED = 1000

_NONE: list[str] = []


async def _servers(site: Any) -> list[str]:
    """The names that the file has now.  Raises Refused, ConfigError."""
    if site.config_path is None:
        raise Refused("this site has no configuration file; its options are its program's")
    return list((await site.aside(load, site.config_path)).servers)


@operation("server.create", resource=lambda given: of_server(given, "name"))
async def create(
    site: Any, name: str, asker: Asker, title: str = "", listen: list[str] = _NONE, role: str = ""
) -> dict[str, Any]:
    """Make a virtual server: it starts at once if servers of its protocol do (S-013).

    `listen`: as in the file; an address alone gets the usual port, and none at all all addresses (S-012).  A port that
    another process has leaves it stopped, with the reason (S-014).
    """
    protocol, short = split_name(name)
    present = await _servers(site)
    if name in present:
        raise Refused(f"there is a server {name} already")
    if role and (protocol != "smtp" or role not in PORTS or role in SERVER_TABLES):
        raise Refused(f'"{role[:100]}" is no role: SMTP servers have relay, submission and lmtp, others have none')
    settings: dict[str, Any] = {}
    if title:
        settings["title"] = title
    if role:
        settings["role"] = role
    if listen:
        settings["listen"] = [with_port(one, protocol, role) for one in listen]
    await change(site, adding(protocol, short, settings, present), Asked(asker.who, f"create the server {name}"))
    return await _facts(site, name)


async def _facts(site: Any, name: str) -> dict[str, Any]:
    """What it does now; without a running site it waits for one."""
    if name in site.servers:
        return {**facts_of(site, name), "warning": ""}
    options = (await site.aside(load, site.config_path)).servers[name]
    return {
        "name": name, "title": options.title, "state": "stopped", "reason": "the site does not run",
        "bindings": [str(one) for one in options.listen], "addresses": [], "connections": 0, "warning": "",  # type: ignore[attr-defined]
    }  # fmt: skip


@operation("server.delete", resource=lambda given: of_server(given, "name"))
async def delete(site: Any, name: str, asker: Asker, force: bool = False) -> dict[str, Any]:
    """Remove a virtual server with its settings; its sessions end, mailboxes are nothing to it.

    While mail that it has accepted waits in the queue this is refused; with `force` that mail goes on by the rules of
    the first SMTP server.
    """
    protocol, short = split_name(name)
    present = await _servers(site)
    if name not in present:
        raise Refused(f"there is no server {name}{did_you_mean(name, present)}")
    if len(present) == 1:
        raise Refused("the last server stays, since a file that names none has three; `mailsrv server stop` stops it")
    waiting = await _waiting(site, name)
    if waiting and not force:
        raise Refused(_refusal(site, name, waiting))
    await change(site, removing(protocol, short, present), Asked(asker.who, f"delete the server {name}"))
    return {"name": name, "waiting": waiting}


async def _waiting(site: Any, name: str) -> int:
    """How many rows of the queue it has accepted, as far as they are counted."""
    if site.delivery is None:
        return 0
    count = 0
    async for _ in scan(site.delivery.queue, Wanted(server=name)):
        count += 1
        if count == MAX_COUNTED:
            break
    return count


def _refusal(site: Any, name: str, waiting: int) -> str:
    """What holds it, and what can be done."""
    many = f"{MAX_COUNTED} or more" if waiting == MAX_COUNTED else str(waiting)
    others = [one.id for one in site.options.servers.values() if isinstance(one, SmtpOptions) and one.id != name]
    way = f"goes on by the rules of {others[0]}" if others else "waits until there is an SMTP server"
    return (
        f"{many} rows of the queue are mail that {name} has accepted (`mailsrv queue list --server {name}`): "
        f"wait until they are gone, or force it, and that mail {way}"
    )
