"""Confirmed reverse DNS as a policy (floor 4): the client's address has a name, and the name has the address.

The check is `iprev` of RFC 8601 section 2.7.3 (RFC 1912 section 2.1 asks for it).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from ..errors import TryLater
from ..parts import choice, option
from ..values import ACCEPT, Transaction, Verdict
from .policy import Policy

#: `await name(host)`: the confirmed name of an address, "" for none.  Raises TryLater.
Name = Callable[[str], Awaitable[str]]


@frozen
class Options:
    """Options of the part `fcrdns`."""

    action: str = option(
        choice("reject", "tempfail", "field"), "reject",
        "for a client without a confirmed name; field: Authentication-Results tells of it, in place of all that came",
    )


class ReverseCheck(Policy):
    """Looks a client up once for each connection.  `hostnames` maps a server to its FQDN."""

    def __init__(self, action: str, name: Name, hostnames: Mapping[str, str]) -> None:
        self._action = action
        self._name = name
        self._hostnames = hostnames
        self._found: str | None = None

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """Mail from outside over a network is judged.  Raises TryLater, unless it only writes a field."""
        host = transaction.peer.host
        if transaction.origin == "local" or not host:
            return ACCEPT
        if transaction.peer.unknown:
            # The address is the proxy's, whose name says nothing of the client.
            return self._field(transaction, "permerror") if self._action == "field" else ACCEPT
        if self._found is None and transaction.client_name:
            self._found = transaction.client_name
        result = ""
        if self._found is None:
            try:
                self._found = await self._name(host)
            except TryLater:
                if self._action != "field":
                    raise TryLater("Your host name cannot be looked up now", "4.7.25") from None
                result = "temperror"
        if self._action == "field":
            return self._field(transaction, result or ("pass" if self._found else "fail"))
        if self._found:
            return ACCEPT
        # RFC 7372 section 3.3: no confirmed reverse DNS.
        status = "5.7.25" if self._action == "reject" else "4.7.25"
        return Verdict(self._action, "Your address has no host name that leads back to it", status, rule=host)

    def _field(self, transaction: Transaction, result: str) -> Verdict:
        server = self._hostnames.get(transaction.server, "localhost")
        name = f" ({self._found})" if self._found else ""
        host = transaction.peer.host
        written = f'"{host}"' if ":" in host else host
        about = "" if transaction.peer.unknown else f"{name} policy.iprev={written}"
        text = f"Authentication-Results: {server};\r\n\tiprev={result}{about}\r\n"
        # RFC 8601 section 5: what others have written in our name must not be believed.
        return Verdict(rule=f"iprev={result}", fields=(text.encode("ascii", "replace"),),
                       removed=(b"authentication-results",))  # fmt: skip


def build(options: Options, site: Any) -> ReverseCheck:
    """The part; `site` has `access.names` and `options`."""
    hostnames = {name: server.hostname for name, server in site.options.servers.items()}
    return ReverseCheck(options.action, lambda host: site.access.names.name(host), hostnames)
