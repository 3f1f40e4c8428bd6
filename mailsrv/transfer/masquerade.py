"""Domain names of outgoing mail (floor 4): masquerade, the records to publish, and whether a server's name is good.

S-083..S-085, S-086, S-089, S-170, S-171; RFC 6186 and RFC 8314 for SRV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address, ip_network

from attrs import frozen

from ..errors import TryLater
from ..interfaces import IResolver
from ..message.domains import a_labels
from ..values import Address

#: Addresses of one name that are looked at.
MAX_ADDRESSES = 16
#: Servers of a domain that are told.
MAX_HOSTS = 3
_INSIDE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
#: (protocol, port, TLS from the start) -> the service of RFC 6186 and RFC 8314.
_SERVICES = {
    ("smtp", 587, False): "_submission", ("smtp", 465, True): "_submissions", ("imap", 143, False): "_imap",
    ("imap", 993, True): "_imaps", ("pop3", 110, False): "_pop3", ("pop3", 995, True): "_pop3s",
}  # fmt: skip


def outgoing_path(
    reverse_path: Address | None, origin: str, masquerade: str, is_local: Callable[[str], bool], hops: int = 0
) -> Address | None:
    """The reverse path that other servers are told.

    A local domain in it becomes `masquerade` ("": nothing is changed) on the first hop only: mail that began here
    (`origin` local) and did not come by way of another server (`hops`: Received fields on arrival).  The null path and
    foreign domains stay, and the message is not touched (S-084).
    """
    if reverse_path is None or not masquerade or origin != "local" or hops:
        return reverse_path
    return Address(reverse_path.local, masquerade) if is_local(reverse_path.domain) else reverse_path


# ---------------------------------------------------------------- records to publish


@frozen
class Published:
    """One virtual server as the world sees it: `id` ("smtp/default"), FQDN, IP addresses, (port, TLS from the start) of
    its listeners; `preference` of its MX record, None for one that takes no mail of others."""

    id: str
    hostname: str
    addresses: tuple[str, ...] = ()
    ports: tuple[tuple[int, bool], ...] = ()
    preference: int | None = None


def domain_records(domains: Sequence[str], servers: Sequence[Published], ttl: int = 3600) -> list[str]:
    """The lines of zone files: MX of each domain for each SMTP server that takes mail (S-170), SRV for the clients'
    servers, and A or AAAA of every name; each line once."""
    lines: list[str] = []
    names = {server.hostname: _ascii(server.hostname) for server in servers}
    mail = [server for server in servers if server.preference is not None]
    for domain in map(_ascii, domains):
        for server in sorted(mail, key=lambda one: one.preference or 0):
            lines.append(f"{domain}. {ttl} IN MX {server.preference} {names[server.hostname]}.")
        for server in servers:
            for port, tls in server.ports:
                service = _SERVICES.get((server.id.partition("/")[0], port, tls))
                if service is not None:
                    # RFC 8314 section 5.1: TLS from the start is preferred.
                    lines.append(
                        f"{service}._tcp.{domain}. {ttl} IN SRV {0 if tls else 10} 1 {port} {names[server.hostname]}."
                    )
    for server in servers:
        for address in server.addresses:
            kind = "A" if ip_address(address).version == 4 else "AAAA"
            lines.append(f"{names[server.hostname]}. {ttl} IN {kind} {address}")
    return list(dict.fromkeys(lines))


# ---------------------------------------------------------------- is a name good?


@frozen
class Finding:
    """One thing found out; `level` is ok, warning or error."""

    level: str
    text: str


async def check_hostname(
    resolver: IResolver, hostname: str, addresses: Iterable[str] = (), domains: Iterable[str] = ()
) -> list[Finding]:
    """Whether a server's FQDN is as other servers want it (S-089).

    It has an address; those in `addresses` (of this machine, as the world sees it; () if nobody knows) are among them;
    each address has a name that leads back to it (RFC 1912 section 2.1); an MX of each of `domains` names it (S-086).
    Nothing is raised: what cannot be looked up is a warning.
    """
    if "." not in hostname:
        return [Finding("error", f"{hostname} has no domain: other servers want a full name such as mail.example.org")]
    found: list[Finding] = []
    known = await _look(resolver, hostname, "A", found) + await _look(resolver, hostname, "AAAA", found)
    if not known and not found:
        found.append(Finding("error", f"{hostname} has no A or AAAA record"))
    for address in known[:MAX_ADDRESSES]:
        if _inside(address):
            found.append(Finding("error", f"{hostname} has the address {address}, which the world cannot reach"))
            continue
        found.append(Finding("ok", f"{hostname} has the address {address}"))
        found.append(await _reverse(resolver, hostname, address))
    for address in addresses:
        if known and address not in known:
            found.append(Finding("warning", f"mail is sent from {address}, which {hostname} does not have"))
    for domain in domains:
        found.append(await _mx(resolver, hostname, domain))
    return found


async def _look(resolver: IResolver, name: str, kind: str, found: list[Finding]) -> list[str]:
    try:
        return list(await resolver.lookup(name, kind))
    except TryLater:
        found.append(Finding("warning", f"the name system does not tell the {kind} records of {name}"))
        return []


async def _reverse(resolver: IResolver, hostname: str, address: str) -> Finding:
    """Does the address lead back to a name that has it?"""
    failed: list[Finding] = []
    names = await _look(resolver, ip_address(address).reverse_pointer, "PTR", failed)
    if failed:
        return failed[0]
    if _ascii(hostname) in names:
        return Finding("ok", f"{address} has the name {hostname}")
    if not names:
        return Finding("error", f"{address} has no name (PTR): many servers take no mail from it")
    return Finding("warning", f"{address} has the name {names[0]} (PTR), not {hostname}")


async def _mx(resolver: IResolver, hostname: str, domain: str) -> Finding:
    """Does the domain's mail come here?"""
    failed: list[Finding] = []
    records: list[tuple[int, str]] = list(await _look(resolver, domain, "MX", failed))  # type: ignore[arg-type]
    if failed:
        return failed[0]
    for preference, host in records:
        if host == _ascii(hostname):
            return Finding("ok", f"{domain} has the MX {preference} {hostname}")
    if not records and domain == hostname:
        return Finding("ok", f"{domain} has no MX, so its mail comes to its address")
    if not records:
        return Finding("warning", f"{domain} has no MX: `mailsrv domain records {domain}` tells what to publish")
    hosts = [host for _, host in records if host]
    if not hosts:
        return Finding("warning", f"{domain} says that it takes no mail at all (null MX)")
    return Finding("warning", f"mail for {domain} goes to {', '.join(hosts[:MAX_HOSTS])} (MX), not to {hostname}")


def _inside(address: str) -> bool:
    """Whether it is an address of networks without a way from outside (RFC 1918, 4193, 6598)."""
    one = ip_address(address)
    return one.is_loopback or one.is_link_local or any(one in network for network in _INSIDE)


def _ascii(name: str) -> str:
    return a_labels(name.lower())
