"""XCLIENT (floor 1): a proxy or filter says whose connection it passes on (an extension of Postfix, XCLIENT_README).

    XCLIENT NAME=host.example ADDR=192.0.2.7 PORT=4000 PROTO=ESMTP HELO=host.example
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from attrs import define

from .smtp_events import wrong
from .smtp_parameters import read_xtext
from .smtp_syntax import MAX_DOMAIN, read_domain

#: What EHLO tells, in this order.  LOGIN is not among them: nobody is logged in by somebody else's word.
ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "DESTADDR", "DESTPORT")
#: The proxy does not know, or not now.
_NOTHING = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})


@define
class XClient:
    """What is said, by attribute: names and addresses in canonical form, ports as digits, "" for what the proxy does
    not know.  What is not said stays as it is."""

    said: dict[str, str]


def _name(text: str) -> str | None:
    name = read_domain(text)
    return None if name is None or name.startswith("[") else name


def _address(text: str) -> str | None:
    """IP text; IPv6 has a prefix, IPv4 inside IPv6 is IPv4."""
    bare = text[5:] if text[:5].upper() == "IPV6:" else text
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    if (address.version == 6) == (bare is text) or "%" in bare:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


def _port(text: str) -> str | None:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return str(number) if 0 < number < 65536 else None


def _protocol(text: str) -> str | None:
    return text.upper() if text.upper() in ("SMTP", "ESMTP") else None


def _helo(text: str) -> str | None:
    return text if text and len(text) <= MAX_DOMAIN and text.isprintable() else None


def _nobody(text: str) -> str | None:
    return None


_VALUES: Mapping[str, Callable[[str], str | None]] = {
    "NAME": _name, "ADDR": _address, "PORT": _port, "PROTO": _protocol, "HELO": _helo, "DESTADDR": _address,
    "DESTPORT": _port, "LOGIN": _nobody,
}  # fmt: skip


def read_xclient(verb: str, argument: str) -> Any:
    """An XClient, or Wrong.  A name or value that cannot be read is a mistake of the whole line."""
    said: dict[str, str] = {}
    for word in argument.split():
        key, _, coded = word.partition("=")
        key = key.upper()
        if key not in _VALUES or key in said:
            return wrong(501, "5.5.4", "Bad XCLIENT attribute")
        text = _decoded(coded)
        value = None if text is None else "" if text.upper() in _NOTHING else _VALUES[key](text)
        if value is None:
            return wrong(501, "5.5.4", f"Bad {key} of XCLIENT")
        said[key] = value
    return XClient(said) if said else wrong(501, "5.5.4", "Syntax: XCLIENT attribute=value ...")


def _decoded(coded: str) -> str | None:
    """What xtext of UTF-8 stands for."""
    octets = read_xtext(coded)
    try:
        return None if octets is None else octets.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
