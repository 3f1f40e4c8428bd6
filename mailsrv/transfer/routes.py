"""Where mail goes next (floor 4): routes of the configuration, the smart host, else the name system.

RFC 5321 section 5.1 (MX, implicit MX, equal preferences, loops), RFC 7505 (null MX); S-111, S-112, S-116, S-133..S-135,
S-169.  A route is asked for at each attempt and never kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults

from ..errors import Refused, TryLater, Unroutable
from ..interfaces import IResolver
from ..message.domains import a_labels
from ..values import Hop

#: Servers of one destination, addresses of one of them, and of all together, that are tried.
MAX_HOSTS, MAX_ADDRESSES, MAX_ALL = 10, 8, 30
SMART_HOST = "*"
#: `Defaults.addresses` -> the record types, in the order in which they are tried.
FAMILIES = {"ipv6": ("AAAA", "A"), "ipv4": ("A", "AAAA"), "only-ipv6": ("AAAA",), "only-ipv4": ("A",)}


def _has_hosts(rule: RouteRule, attribute: object, login: Any) -> None:
    if login is not None and not rule.hosts:
        raise ValueError("a login needs hosts: a password is not shown to whatever server the name system tells of")


@frozen
class RouteRule:
    """One route.  `name` is a domain, ".example.com" (all domains below it), "*" (all others: the smart host), or
    `unresolved(...)`.

    `hosts` are names or addresses, tried in order; none: the MX of the domain.  `port`, `tls` and `protocol` as in Hop,
    None and "" are those of the server; `login` an OutboundLogin or None.
    """

    name: str
    hosts: tuple[str, ...] = ()
    port: int | None = None
    tls: str = ""
    protocol: str = "smtp"
    login: Any = field(default=None, repr=False, validator=_has_hosts)


@frozen
class Defaults:
    """What a server says where a route says nothing.  `port` is 25 or what it is mapped to (S-116); `addresses` one of
    FAMILIES; `login` (S-109, S-110) is used at the smart host alone (S-111)."""

    port: int = 25
    tls: str = "opportunistic"
    addresses: str = "ipv6"
    login: Any = field(default=None, repr=False)


@frozen
class Own:
    """How this site is known: host names, and IP addresses where its mail servers can be reached.  `loopback`: so is
    127.0.0.1, whoever names it."""

    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    loopback: bool = True


@frozen
class Plan:
    """Where to go: `hops` in order, how to log in there (OutboundLogin or None), and the route's name, "" for the name
    system."""

    hops: tuple[Hop, ...]
    login: Any = field(default=None, repr=False)
    route: str = ""


def unresolved(server: str) -> str:
    """The destination of mail for recipients that a server ("smtp/default") cannot resolve (S-133); it is no domain."""
    return f"unresolved:{server}"


class Routes:
    """Plans for destinations: domains, names of routes, address literals.

    `resolver` asks the servers that are meant for outside (S-094); `own()` tells how the site is known now; `shuffle`
    mixes a list in place.
    """

    def __init__(
        self,
        resolver: IResolver,
        table: Mapping[str, RouteRule],
        own: Callable[[], Own],
        defaults: Defaults = Defaults(),
        shuffle: Callable[[list[Any]], Any] = random.shuffle,
    ) -> None:
        self.resolver, self._table, self._own = resolver, table, own
        self._defaults, self._shuffle = defaults, shuffle
        #: Hops of routes whose hosts are addresses, which nobody has to be asked for.
        self._fixed: dict[str, tuple[Hop, ...]] = {}

    def rule(self, destination: str) -> RouteRule | None:
        """The route of a destination: its own, that of the nearest domain above it, the smart host."""
        found = self._table.get(destination)
        rest = destination
        while found is None and "." in rest and not destination.startswith("["):
            rest = rest.partition(".")[2]
            found = self._table.get("." + rest)
        return found or self._table.get(SMART_HOST)

    async def hops(self, destination: str) -> Plan:
        """Where mail for it goes now.

        Raises Unroutable (5.1.2: no such domain, or an address without brackets; 5.4.4: no server of it has an address;
        5.4.6: it leads back here), Refused (5.1.10: the domain takes no mail), TryLater (4.4.3: the name system does
        not tell; 4.3.5: a route names hosts that are unknown, which is nobody's fault but ours, so the mail waits).
        """
        rule = self.rule(destination)
        if rule is not None and rule.hosts:
            login = rule.login
            if login is None and rule.name == SMART_HOST:
                login = self._defaults.login
            return Plan(await self._of_hosts(rule), login, rule.name)
        hops = self._literal(destination, rule) if destination.startswith("[") else await self._by_mx(destination, rule)
        return Plan(hops, None, "" if rule is None else rule.name)

    # ------------------------------------------------------------ hosts of a route

    async def _of_hosts(self, rule: RouteRule) -> tuple[Hop, ...]:
        known = self._fixed.get(rule.name)
        if known is not None:
            return known
        hosts = [name.strip("[]") for name in rule.hosts[:MAX_HOSTS]]
        found = await self._addresses(hosts)
        hops = self._made(zip(hosts, found, strict=True), rule)
        if not hops:
            _look_failed(found)
            raise TryLater(f"No host of the route {rule.name} is known", "4.3.5")
        if all(_place(host) is not None for host in hosts):
            self._fixed[rule.name] = hops
        return hops

    def _literal(self, destination: str, rule: RouteRule | None) -> tuple[Hop, ...]:
        """[192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321 section 4.1.3)."""
        place = _place(destination[1:].removesuffix("]").lower().removeprefix("ipv6:"))
        if place is None or not place.reachable:
            raise Unroutable(f"{destination} is no address of a mail server", "5.1.2")
        if _is_ours(place, self._own()):
            raise Unroutable(f"Mail for {destination} leads back to this server", "5.4.6")
        return self._made([(place.text, [place])], rule)

    # ------------------------------------------------------------ the name system

    async def _by_mx(self, domain: str, rule: RouteRule | None) -> tuple[Hop, ...]:
        if _is_number(domain) and (rule is None or rule.name != domain):
            # Whoever writes an address means [192.0.2.1] (RFC 5321 section 4.1.3); no top level domain is a number.
            raise Unroutable(f"There is no mail domain {domain}: an address is written as [{domain}]", "5.1.2")
        own = self._own()
        servers = await self._servers(domain)
        names = {_ascii(name) for name in own.names}
        kept = _before(servers, lambda index: servers[index][1] in names)
        hosts = [host for _, host in kept[:MAX_HOSTS]]
        found = await self._addresses(hosts)
        ahead = _before(kept, lambda index: index < len(found) and any(_is_ours(one, own) for one in found[index]))
        hops = self._made(zip(hosts, found[: len(ahead)], strict=False), rule)
        if hops:
            return hops
        if not ahead:
            raise Unroutable(f"Mail for {domain} leads back to this server", "5.4.6")
        _look_failed(found[: len(ahead)])
        if servers == [(0, _ascii(domain))]:
            raise Unroutable(f"There is no mail domain {domain}: it has neither mail server nor address", "5.1.2")
        raise Unroutable(f"No mail server of {domain} has an address", "5.4.4")

    async def _servers(self, domain: str) -> list[tuple[int, str]]:
        """(preference, name) in the order they are tried; without MX the domain itself."""
        try:
            records: Sequence[tuple[int, str]] = await self.resolver.lookup(domain, "MX")
        except TryLater as error:
            raise TryLater(f"The mail servers of {domain} cannot be looked up now", "4.4.3") from error
        if not records:
            return [(0, _ascii(domain))]
        # QUIRK: zones of hand-made tools with a null MX beside others, or with an address where a name must be.
        named = [(preference, host) for preference, host in records if host and _place(host) is None]
        if not named:
            if all(not host for _, host in records):
                raise Refused(f"The domain {domain} takes no mail", "5.1.10")
            raise Unroutable(f"The mail servers of {domain} have no names", "5.4.4")
        self._shuffle(named)
        return sorted(named, key=lambda pair: pair[0])

    async def _addresses(self, hosts: Sequence[str]) -> list[_Found]:
        """Of each host, side by side."""
        if len(hosts) == 1:
            return [await self._of_host(hosts[0])]
        return list(await gatherResults([Deferred.fromCoroutine(self._of_host(host)) for host in hosts]))

    async def _of_host(self, host: str) -> _Found:
        literal = _place(host)
        if literal is not None:
            return _Found([literal])
        found = _Found()
        for kind in FAMILIES[self._defaults.addresses]:
            try:
                records = list(await self.resolver.lookup(host, kind))
            except TryLater as error:
                found.failure = error
                continue
            if len(records) > 1:
                self._shuffle(records)
            found += [place for text in records if (place := _place(text)) is not None]
        return found

    def _made(self, hosts: Iterable[tuple[str, Iterable[_Place]]], rule: RouteRule | None) -> tuple[Hop, ...]:
        """Hops with addresses, each address once, within the limits."""
        port = self._defaults.port if rule is None or rule.port is None else rule.port
        tls, protocol = (rule.tls, rule.protocol) if rule is not None else ("", "smtp")
        hops, seen = [], set[str]()
        for host, places in hosts:
            fresh = dict.fromkeys(one.text for one in places if one.reachable and one.text not in seen)
            addresses = tuple(fresh)[: min(MAX_ADDRESSES, MAX_ALL - len(seen))]
            seen.update(addresses)
            if addresses:
                named = rule is not None and bool(rule.hosts)
                hops.append(Hop(_ascii(host), addresses, port, tls or self._defaults.tls, protocol, named))
        return tuple(hops)


def _before(servers: Sequence[tuple[int, str]], ours: Callable[[int], bool]) -> list[tuple[int, str]]:
    """Those preferred to ourselves (RFC 5321 section 5.1): mail goes up to the better servers, never round."""
    limit = min((servers[index][0] for index in range(len(servers)) if ours(index)), default=None)
    return [pair for pair in servers if limit is None or pair[0] < limit]


def _look_failed(found: Iterable[_Found]) -> None:
    """Raises TryLater when an address is only not known yet."""
    for one in found:
        if one.failure is not None:
            raise TryLater("The addresses of the mail servers cannot be looked up now", "4.4.3") from one.failure


@frozen
class _Place:
    """What an IP address says by itself.  `here`: this machine; `reachable`: a server may answer there."""

    text: str
    here: bool
    reachable: bool


class _Found(list[_Place]):
    """Addresses of a host; `failure`: some could not be looked up."""

    failure: TryLater | None = None


@lru_cache(maxsize=4096)
def _place(text: str) -> _Place | None:
    """None for what is no address; IPv4 mapped into IPv6 is IPv4."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    # Without a zone nobody knows which link is meant.
    nowhere = parsed.is_multicast or parsed.is_unspecified or parsed.is_link_local
    nowhere = nowhere or (parsed.version == 4 and parsed.is_reserved)
    return _Place(str(parsed), parsed.is_loopback or parsed.is_unspecified, not nowhere)


def _is_number(domain: str) -> bool:
    """Whether it is an address where a domain must be, in any notation: 192.0.2.1, 192.0.2, 3221225985, 2001:db8::1."""
    return domain.rpartition(".")[2].isdigit() or _place(domain) is not None


def _is_ours(place: _Place, own: Own) -> bool:
    return place.text in own.addresses or (own.loopback and place.here)


def _ascii(name: str) -> str:
    """A name in A-labels, as the name system and certificates have it."""
    return a_labels(name.lower())
