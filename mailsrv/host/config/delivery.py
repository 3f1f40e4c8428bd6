"""[smtp.NAME.delivery]: the outbound half of an SMTP server (floor 6; S-069..S-097, S-108..S-134)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ...auth.outbound import OutboundLogin
from ...parts import DURATION, SIZE, TEXT, TEXTS, Kind, choice, option, or_off, whole
from ...transfer.routes import FAMILIES, Defaults, RouteRule, unresolved
from ...transfer.schedule import Ages, Policy
from ...values import Address
from ...wire.smtp_syntax import read_path
from .routes import _TLS_TEXT, HOST, TLS, LoginTable, login_mistakes
from .values import HOSTNAME, PATH, or_empty

#: S-113, S-114.
_MOST = 1_999_999_999
MAX_RETRY, MAX_DNS_SERVERS = 20, 10


def _read_retry(value: Any) -> tuple[float, ...]:
    """Durations, the last of which goes on."""
    found = tuple(DURATION.read(text) for text in TEXTS.read(value))
    if not 0 < len(found) <= MAX_RETRY:
        raise ValueError(f"must be 1 to {MAX_RETRY} durations: after the first attempt, the second ..., all others")
    return found


def _ages(kind: Kind) -> Kind:
    """Both of the times that exist twice, from one value for both or { local = ..., outbound = ... } (S-076)."""

    def read(value: Any) -> Ages:
        """The pair."""
        if not isinstance(value, Mapping):
            both = kind.read(value)
            return Ages(both, both)
        if set(value) != {"local", "outbound"}:
            raise ValueError('must be one duration, or { local = "12h", outbound = "12h" }')
        return Ages(kind.read(value["local"]), kind.read(value["outbound"]))

    return Kind(f"{kind.name}, or {{ local, outbound }}", read)


def _read_dns_servers(value: Any) -> tuple[str, ...]:
    """IP addresses in order, none twice."""
    found: list[str] = []
    for text in TEXTS.read(value):
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            raise ValueError(f"{text!r} is no IP address") from None
        if address in found:
            raise ValueError(f'"{address}" is listed twice')
        found.append(address)
    if len(found) > MAX_DNS_SERVERS:
        raise ValueError(f"at most {MAX_DNS_SERVERS} servers")
    return tuple(found)


def _read_address(value: Any) -> Address:
    """A full mail address."""
    path = read_path(f"<{TEXT.read(value)}>")
    if path is None or path[0] is None or path[1] or not path[0].domain:
        raise ValueError(f'must be a mail address such as "postmaster@example.org", not {value!r}')
    return path[0]


@frozen(kw_only=True)
class DeliveryTable(LoginTable):
    """[smtp.NAME.delivery].  The login is for the smart host (S-111), where [routes."*"] has none of its own."""

    retry: tuple[float, ...] = option(
        Kind("list of durations", _read_retry), (300.0, 900.0, 1800.0, 3600.0),
        "wait after the first attempt, the second, the third, all others (S-070..S-073)",
    )
    delay_notification: Ages = option(
        _ages(or_off(DURATION)), Ages(4 * 3600.0, 4 * 3600.0),
        "after this the sender is told, once, that a message still waits: for mail that began here (local), and for "
        "other mail (S-075..S-077)",
    )
    expiration: Ages = option(
        _ages(DURATION), Ages(5 * 86400.0, 5 * 86400.0), "after this a message goes back to its sender (S-074)"
    )
    masquerade_domain: str = option(
        or_empty(HOSTNAME), "", "replaces local domains in the reverse path of mail that begins here (S-083)"
    )
    dns_servers: tuple[str, ...] = option(
        Kind("list of addresses", _read_dns_servers), (),
        "servers of names for outside, in order (S-094); default: those of the machine",
    )
    addresses: str = option(choice(*FAMILIES), "ipv6", "which addresses of a server are tried first, or alone")
    port: int = option(whole(1, 65535), 25, "port of other servers (S-116)")
    tls: str = option(TLS, "opportunistic", f"{_TLS_TEXT}; routes may say otherwise")
    max_connections: int | None = option(or_off(whole(1, _MOST)), None, "outbound connections at a time (S-113)")
    max_connections_per_domain: int | None = option(or_off(whole(1, _MOST)), None, "to one destination (S-114)")
    timeout: float = option(
        DURATION, 600.0, "a server that says nothing for so long is given up (S-115; values under 30m are taken: X-1)"
    )
    messages_per_connection: int | None = option(
        or_off(whole(1, _MOST)), 20, "then a new connection is opened (S-122)"
    )
    recipients_per_message: int | None = option(
        or_off(whole(1, _MOST)), 1000, "the others get the message in another connection (S-123)"
    )
    ndr_copy: Address | str = option(
        or_empty(Kind("mail address", _read_address)), "",
        "gets a copy of every report of a failure, and is its Reply-To (S-126, S-127)",
    )
    report_size: int = option(SIZE, 2**20, "of a larger message a report returns the header alone")
    badmail: str = option(or_empty(PATH), "", "folder of bad mail (S-131); default: badmail/NAME in data")
    badmail_size: int = option(SIZE, 2**30, "octets of bad mail; the oldest makes room")
    forward_unresolved: str = option(
        or_empty(HOST), "", "mail for unknown recipients of shared domains goes to this host (S-133)"
    )


#: What profiles write into the file, as TOML has it (decisions 29).
DEFAULT: Mapping[str, Any] = {
    "retry": ["5m", "15m", "30m", "1h"], "delay_notification": "4h", "expiration": "5d", "timeout": "10m",
    "messages_per_connection": 20, "recipients_per_message": 1000,
}  # fmt: skip
EXCHANGE_2003: Mapping[str, Any] = {
    **DEFAULT, "retry": ["10m", "10m", "10m", "15m"], "delay_notification": "12h", "expiration": "2d",
    "recipients_per_message": 64000,
}  # fmt: skip


def delivery_mistakes(table: DeliveryTable, smart_host: bool) -> Iterator[tuple[str, str]]:
    """(key, text) for what contradicts itself; `smart_host`: [routes."*"] has hosts."""
    yield from login_mistakes(table)
    if table.auth not in ("", "anonymous") and not smart_host:
        yield "auth", 'this login is for the smart host: set host in [routes."*"], or the login in a route (S-111)'
    for which in ("local", "outbound"):
        notice, end = getattr(table.delay_notification, which), getattr(table.expiration, which)
        if notice is not None and notice >= end:
            yield "delay_notification", f"{which} mail has gone back by then: it must be less than expiration, or off"


def policy_of(table: DeliveryTable) -> Policy:
    """The schedule."""
    return Policy(table.retry, table.delay_notification, table.expiration)


def defaults_of(table: DeliveryTable, login: OutboundLogin | None) -> Defaults:
    """What holds where a route says nothing."""
    return Defaults(table.port, table.tls, table.addresses, login)


def unresolved_rule(server: str, table: DeliveryTable) -> RouteRule | None:
    """The route of recipients nobody knows (S-133), to be put in the table of routes under its name."""
    return RouteRule(unresolved(server), (table.forward_unresolved,)) if table.forward_unresolved else None


def badmail_folder(name: str, table: DeliveryTable, base: Path, data: Path) -> Path:
    """The folder of a server's bad mail (S-131): `name` of the server, `base` of the configuration file, `data`."""
    return base / table.badmail if table.badmail else data / "badmail" / name
