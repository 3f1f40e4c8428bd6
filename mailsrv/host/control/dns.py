"""The name system: the records a site needs, and whether they are there (floor 6; S-086, S-089, S-170)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from ...errors import Refused, TryLater
from ...message.domains import a_labels
from ...parts import did_you_mean
from ...transfer.masquerade import Published, check_hostname, domain_records
from ..config.load import load
from ..config.options import ServerOptions, SiteOptions, SmtpOptions
from ..config.values import HOSTNAME
from .table import operation

#: The MX preference of the first SMTP server, and the step to each further one.
STEP = 10
#: Where other servers bring mail, whatever the configuration says (RFC 5321 section 4.5.4.2).
SMTP_PORT = 25
MAX_ADDRESSES = 16
_NONE: list[str] = []


def _options(site: Any) -> SiteOptions:
    """As the file has it now: domains may have been added since the start.  Raises ConfigError."""
    return load(site.config_path) if site.config_path is not None else site.options


def _addresses(texts: Sequence[str]) -> tuple[str, ...]:
    """Raises Refused."""
    if len(texts) > MAX_ADDRESSES:
        raise Refused(f"at most {MAX_ADDRESSES} addresses")
    try:
        return tuple(str(ip_address(text.strip())) for text in texts)
    except ValueError as error:
        raise Refused(str(error)) from None


def _reachable(server: ServerOptions) -> list[Any]:
    """Its listeners that others can come to: not UNIX sockets, not this machine's own address."""
    return [
        one for one in getattr(server, "listen", ())
        if one.port and (one.host == "*" or not ip_address(one.host).is_loopback)
    ]  # fmt: skip


def _takes_mail(server: ServerOptions) -> bool:
    """Does it take mail from other servers, who do not log in?"""
    return isinstance(server, SmtpOptions) and server.role == "relay" and "anonymous" in server.authentication


def _public(server: ServerOptions) -> tuple[str, ...]:
    """Addresses that it listens on by name, and that the world can reach."""
    found = (one.host for one in _reachable(server) if one.host != "*")
    return tuple(dict.fromkeys(host for host in found if ip_address(host).is_global))


# ---------------------------------------------------------------- records to publish


@operation("domain.records")
async def records(site: Any, domain: str = "", addresses: list[str] = _NONE) -> dict[str, Any]:
    """The records to publish for a local domain, or for all: MX, SRV, and A or AAAA of the servers.

    `addresses` are those of this machine as the world sees it; default: those that servers listen on by name, else
    what the name system tells of the servers' names now.
    """
    options = _options(site)
    domains = list(options.domains)
    if domain:
        name = _domain(domain)
        if name not in domains:
            known = did_you_mean(name, domains)
            raise Refused(f"{name} is no local domain{known}; `mailsrv domain add {name}` makes it one", "5.1.2")
        domains = [name]
    given, notes, published = _addresses(addresses), list[str](), list[Published]()
    preference = STEP
    for server in options.servers.values():
        listening = _reachable(server)
        if not listening or getattr(server, "role", "") == "lmtp":
            continue
        takes = _takes_mail(server)
        where = given or _public(server) or await _known(site, server.hostname)
        ports = tuple((one.port, one.tls) for one in listening)
        published.append(Published(server.id, server.hostname, where, ports, preference if takes else None))
        preference += STEP * takes
        notes += _notes(server, ports, where, takes)
    if not any(one.preference is not None for one in published):
        notes.append("no SMTP server takes mail from other servers here, so there is no MX record")
    return {"records": domain_records(domains, published), "notes": list(dict.fromkeys(notes))}


def _domain(text: str) -> str:
    """Canonical.  Raises Refused."""
    try:
        return str(HOSTNAME.read(text))
    except ValueError as error:
        raise Refused(str(error)) from None


async def _known(site: Any, hostname: str) -> tuple[str, ...]:
    """What the name system tells of a host now; () when it does not."""
    found: list[str] = []
    for kind in ("A", "AAAA"):
        try:
            found += await site.access.resolver.lookup(hostname, kind)
        except TryLater:
            continue
    return tuple(found[:MAX_ADDRESSES])


def _notes(server: ServerOptions, ports: Sequence[tuple[int, bool]], where: Sequence[str], takes: bool) -> list[str]:
    """What records alone do not say."""
    notes = []
    if not where:
        notes.append(
            f"{server.hostname} needs an A or AAAA record too: say --address with what the world sees of this machine"
        )
    if takes and (SMTP_PORT, False) not in ports:
        notes.append(
            f"{server.id} does not listen on port {SMTP_PORT}, and other servers come to no other: have the firewall "
            f"send it to port {ports[0][0]}"
        )
    if "." not in server.hostname:
        notes.append(f"{server.hostname} is no full name: set site.hostname, or hostname of {server.id}")
    return notes


# ---------------------------------------------------------------- are they there?


@operation("dns.check")
async def check(site: Any, server: str = "", addresses: list[str] = _NONE) -> list[dict[str, Any]]:
    """Does the name of an SMTP server, or of each, resolve as other servers want it: A, AAAA, PTR, MX (S-089)?

    `addresses` are those that mail is sent from, as the world sees them.
    """
    options, given = _options(site), _addresses(addresses)
    servers = {one.id: one for one in options.servers.values() if isinstance(one, SmtpOptions) and one.role != "lmtp"}
    if server and server not in servers:
        what = "no SMTP server of the network" if server in options.servers else "no virtual server"
        raise Refused(f'{what} "{server[:100]}"{did_you_mean(server, servers)}')
    told = []
    by_name: dict[str, list[SmtpOptions]] = {}
    for one in [servers[server]] if server else servers.values():
        by_name.setdefault(one.hostname, []).append(one)
    for hostname, some in by_name.items():
        domains = list(options.domains) if any(_takes_mail(one) for one in some) else []
        findings = await check_hostname(site.access.resolver, hostname, given, domains)
        levels = {finding.level for finding in findings}
        told.append({
            "hostname": hostname,
            "servers": [one.id for one in some],
            "level": next((level for level in ("error", "warning") if level in levels), "ok"),
            "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
        })  # fmt: skip
    return told


#: What is asked of a host or a domain; of an address its name alone.
KINDS = ("MX", "A", "AAAA", "TXT")


@operation("dns.lookup")
async def lookup(site: Any, name: str, server: str = "") -> list[dict[str, str]]:
    """What the name system says of a name or an address, asked as mail of an SMTP server asks (S-094), or as the system
    does.  `kind`, `value`, and `error` where there is no answer."""
    try:
        asked, kinds = ip_address(name.strip("[]")).reverse_pointer, ("PTR",)
    except ValueError:
        asked, kinds = a_labels(_domain(name)), KINDS
    resolver = site.access.resolver
    if server:
        lanes = site.delivery.lanes if site.delivery is not None else {}
        if server not in lanes:
            raise Refused(f'no SMTP server "{server[:100]}" that sends mail{did_you_mean(server, lanes)}')
        resolver = lanes[server].routes.resolver
    found: list[dict[str, str]] = []
    for kind in kinds:
        try:
            values = await resolver.lookup(asked, kind)
        except TryLater as error:
            found.append({"kind": kind, "value": "", "error": error.text})
        else:
            found += [{"kind": kind, "value": _shown(one), "error": ""} for one in values]
    return found


def _shown(value: Any) -> str:
    """One record's data."""
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
