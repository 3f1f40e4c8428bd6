"""Virtual servers put into the file, or taken out of it (floor 4; S-012)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from ...errors import Refused
from .edit import Change
from .options import SERVER_TABLES
from .values import server_name

#: The port of a new server, by protocol or, for SMTP, by role (S-007, S-012, S-149, S-153).
PORTS = {"smtp": 25, "relay": 25, "submission": 587, "lmtp": 24, "imap": 143, "pop3": 110}


def split_name(text: str) -> tuple[str, str]:
    """PROTOCOL and NAME.  Raises Refused."""
    protocol, _, name = text.partition("/")
    if protocol not in SERVER_TABLES or not server_name(name):
        raise Refused(
            f'"{text[:100]}" is no name of a server: write smtp/NAME, imap/NAME or pop3/NAME; '
            'a NAME is letters, digits, "-" and "_", at most 64'
        )
    return protocol, name


def with_port(text: str, protocol: str, role: str = "") -> str:
    """A binding; an address alone, or "*", gets the usual port (S-012)."""
    if text == "*":
        host = text
    else:
        try:
            address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
        except ValueError:
            return text
        host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{PORTS[role or protocol]}"


def adding(protocol: str, name: str, settings: Mapping[str, Any], present: Sequence[str]) -> Change:
    """A further server.  `present` are the names of those there are: a file that names none has three, and has to name
    them now."""

    def change(document: Any) -> None:
        """At the end of its protocol's tables."""
        _name_all(document, present)
        table = tomlkit.table()
        for key, value in settings.items():
            table[key] = value
        _tables(document, protocol)[name] = table

    return change


def removing(protocol: str, name: str, present: Sequence[str]) -> Change:
    """Without a server, and what was in its table.  `present` as above."""

    def change(document: Any) -> None:
        """The last of its protocol takes the empty table with it."""
        _name_all(document, present)
        del document[protocol][name]
        if not document[protocol]:
            del document[protocol]

    return change


def _name_all(document: Any, present: Sequence[str]) -> None:
    if not any(document.get(protocol) for protocol in SERVER_TABLES):
        for one in present:
            protocol, name = split_name(one)
            _tables(document, protocol)[name] = tomlkit.table()


def _tables(document: Any, protocol: str) -> Any:
    if protocol not in document:
        document[protocol] = tomlkit.table(is_super_table=True)
    return document[protocol]
