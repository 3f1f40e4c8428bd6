"""Local domains: the file is changed, then the running site (floor 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import Refused
from ...interfaces import IAccountAdmin
from ..changes import Asked
from ..config.derive import domain_facts
from ..config.edit import domains_setting
from ..config.load import load
from ..config.options import SiteOptions
from ..config.values import HOSTNAME
from .config import change
from .table import Asker, operation


def _file(site: Any) -> Path:
    """The configuration file.  Raises Refused for a site without one."""
    if site.config_path is None:
        raise Refused("this site has no configuration file; its domains are its program's")
    return Path(site.config_path)


def _name(text: str) -> str:
    """A domain in canonical form.  Raises Refused."""
    try:
        return str(HOSTNAME.read(text))
    except ValueError as error:
        raise Refused(str(error)) from None


async def _accounts(site: Any) -> dict[str, int]:
    """Domain -> number of accounts."""
    counts: dict[str, int] = {}
    if IAccountAdmin.providedBy(site.directory):
        for facts in await site.directory.accounts():
            counts[facts.address.domain] = counts.get(facts.address.domain, 0) + 1
    return counts


@operation("domain.list")
async def list_domains(site: Any) -> list[dict[str, Any]]:
    """The local domains with the number of accounts."""
    options: SiteOptions = await site.aside(load, _file(site)) if site.config_path is not None else site.options
    counts = await _accounts(site)
    return [
        {"domain": facts.name, "kind": facts.kind, "accounts": counts.get(facts.name, 0)}
        for facts in domain_facts(options)
    ]


@operation("domain.add")
async def add(site: Any, domain: str, asker: Asker) -> dict[str, Any]:
    """Make a domain local: mail for it is taken and kept here."""
    name = _name(domain)
    path = _file(site)
    present = list((await site.aside(load, path)).site.domains)
    if name in present:
        raise Refused(f"{name} is a local domain already")
    await change(site, domains_setting([*present, name]), Asked(asker.who, f"add the domain {name}"))
    return {"domain": name, "domains": [*present, name]}


@operation("domain.remove")
async def remove(site: Any, domain: str, asker: Asker) -> dict[str, Any]:
    """Give a domain up; its accounts stay, but nothing reaches them until it is added again."""
    name = _name(domain)
    path = _file(site)
    present = list((await site.aside(load, path)).site.domains)
    if name not in present:
        raise Refused(f"{name} is no local domain")
    if present == [name]:
        raise Refused("the last domain cannot be removed")
    left = [other for other in present if other != name]
    await change(site, domains_setting(left), Asked(asker.who, f"remove the domain {name}"))
    return {"domain": name, "domains": left, "unreachable_accounts": (await _accounts(site)).get(name, 0)}
