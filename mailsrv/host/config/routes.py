"""[routes.NAME]: where mail for a domain goes, and how this site logs in there (floor 6; S-108..S-112)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from ...auth.outbound import OutboundLogin
from ...parts import FLAG, TEXT, TEXTS, Kind, choice, option, whole
from ...transfer.routes import MAX_HOSTS, SMART_HOST, RouteRule
from .values import HOSTNAME, PATH, or_empty

TLS = choice("off", "opportunistic", "require", "verify")
_TLS_TEXT = "opportunistic: if the other server can; require: no mail without; verify: nor without a good certificate"


def _read_host(value: Any) -> str:
    """A host name, or an IP address with or without brackets."""
    text: str = TEXT.read(value)
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        name: str = HOSTNAME.read(text)
    if name.rpartition(".")[2].isdigit():
        raise ValueError(f"{value!r} is neither a host name nor an IP address")
    return name


HOST = Kind("host name or address", _read_host)


def _read_hosts(value: Any) -> tuple[str, ...]:
    """A list of hosts, none twice."""
    found = tuple(_read_host(text) for text in TEXTS.read(value))
    if len(set(found)) < len(found):
        raise ValueError("a host is listed twice")
    if len(found) > MAX_HOSTS:
        raise ValueError(f"at most {MAX_HOSTS} hosts are tried")
    return found


HOSTS = Kind("list of hosts", _read_hosts)


@frozen(kw_only=True)
class LoginTable:
    """Keys that say how to log in at another server; in [routes.NAME] and [smtp.NAME.delivery]."""

    auth: str = option(
        or_empty(choice("anonymous", "basic", "ntlm", "sasl")), "",
        "how to log in there: anonymous: not at all; basic: user name and password; ntlm: integrated Windows "
        "authentication; sasl: the strongest that both know (S-108..S-110)",
    )
    username: str = option(TEXT, "", 'with which name; for ntlm it may be "DOMAIN\\user"')
    password_file: str = option(or_empty(PATH), "", "file whose first line is the password")
    password_env: str = option(TEXT, "", "environment variable with the password")
    login_without_tls: bool = option(FLAG, False, "show the password to a server that has no TLS")


@frozen(kw_only=True)
class RouteTable(LoginTable):
    """[routes."partner.example"]: a connector; ".example.com": domains below it; "*": the smart host for all others."""

    host: tuple[str, ...] = option(
        HOSTS, (), "servers to which the mail goes, in order; default: those that the name system tells (MX)"
    )
    port: int | str = option(or_empty(whole(1, 65535)), "", "their port; default: that of the sending server (S-116)")
    tls: str = option(or_empty(TLS), "", f"{_TLS_TEXT}; default: what the sending server says")
    protocol: str = option(choice("smtp", "lmtp"), "smtp", "lmtp: the servers have the mailboxes themselves")


def route_name(name: str) -> str:
    """The NAME of a [routes.NAME] in canonical form: "*", a domain, ".domain", or an address in brackets.

    Raises ValueError.
    """
    if name == SMART_HOST:
        return name
    if name.startswith("[") and name.endswith("]"):
        address = ipaddress.ip_address(name[1:-1].lower().removeprefix("ipv6:"))
        return f"[ipv6:{address}]" if address.version == 6 else f"[{address}]"
    dot = "." if name.startswith(".") else ""
    return dot + str(HOSTNAME.read(name.removeprefix(".")))


def login_mistakes(table: LoginTable) -> Iterator[tuple[str, str]]:
    """(key, text) for what contradicts itself in a login."""
    if table.auth in ("", "anonymous"):
        if table.username or table.password_file or table.password_env:
            yield "auth", 'nobody logs in with this name: set auth to "basic", "ntlm" or "sasl"'
        return
    if not table.username:
        yield "username", f'auth = "{table.auth}" needs a username'
    if not (table.password_file or table.password_env):
        yield "password_file", f'auth = "{table.auth}" needs a password_file or a password_env'
    elif table.password_file and table.password_env:
        yield "password_env", "the password is in a file or in the environment, not in both"


def route_mistakes(table: RouteTable) -> Iterator[tuple[str, str]]:
    """(key, text) for what contradicts itself in a route."""
    yield from login_mistakes(table)
    if table.auth not in ("", "anonymous") and not table.host:
        yield "auth", "a login needs host: a password is not shown to whatever server the name system tells of"
    if table.protocol == "lmtp" and not table.host:
        yield "protocol", "lmtp needs host: an MX speaks SMTP"


def login_of(table: LoginTable, password: str) -> OutboundLogin | None:
    """The login of a table with its password, which somebody has read; None: the table says nothing of it."""
    if not table.auth:
        return None
    if table.auth == "anonymous":
        return OutboundLogin()
    domain, backslash, user = table.username.partition("\\")
    if table.auth != "ntlm" or not backslash:
        domain, user = "", table.username
    return OutboundLogin(table.auth, user, password, domain=domain, plain=table.login_without_tls)


def rule_of(name: str, table: RouteTable, login: OutboundLogin | None) -> RouteRule:
    """The rule of a checked table; `name` as `route_name` gives it."""
    port = table.port if isinstance(table.port, int) else None
    return RouteRule(name, table.host, port, table.tls, table.protocol, login if table.host else None)
