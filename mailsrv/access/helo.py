"""What a client says its name is (floor 4): mail from outside is refused where HELO cannot be true.

Nothing is refused before MAIL, for who logs in may say what it likes: mail programs know no name of their machine.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from attrs import frozen

from ..message.domains import a_labels
from ..parts import FLAG, choice, option
from ..values import ACCEPT, Transaction, Verdict
from ..wire.smtp_syntax import read_domain
from .networks import number_of
from .policy import Policy

_LABEL = re.compile(r"[\w](?:[\w-]{0,61}[\w])?")

#: `await known(name)`: whether the name system knows the name.  Raises TryLater.
Known = Callable[[str], Awaitable[bool]]


@frozen
class Options:
    """Options of the part `helo`."""

    fqdn: bool = option(FLAG, True, "HELO must be a host name with a dot, or the client's address in brackets")
    own_names: bool = option(FLAG, True, "refuse who says that it is one of this site's own names")
    resolvable: bool = option(FLAG, False, "HELO must be known to the name system")
    action: str = option(choice("reject", "tempfail"), "reject", "refuse for good, or for now")


class HeloCheck(Policy):
    """Judges the name at MAIL.  `ours` are names in canonical form."""

    def __init__(self, options: Options, ours: Collection[str], known: Known | None = None) -> None:
        self._options = options
        self._ours = frozenset(ours)
        self._known = known

    def for_connection(self) -> HeloCheck:
        """Nothing is remembered of a connection."""
        return self

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """Who has logged in, is at this machine or at a UNIX socket is not asked."""
        host, peer = transaction.peer.host, transaction.peer
        if transaction.origin == "local" or not host or (host == peer.local_host and not peer.unknown):
            return ACCEPT
        said = transaction.helo
        if said.startswith("["):
            told = number_of(said[1:-1].lower().removeprefix("ipv6:"))
            if not self._options.fqdn or (told is not None and told == number_of(host)):
                return ACCEPT
            return self._refuse("HELO is not the address you come from", "address literal")
        name = read_domain(said)
        if self._options.fqdn and (name is None or not _fqdn(name)):
            return self._refuse("HELO is no full host name", "fqdn")
        if self._options.own_names and name in self._ours:
            return self._refuse("HELO is a name of this server, not yours", "own_names")
        if self._options.resolvable and self._known is not None and not await self._known(name or ""):
            return self._refuse("HELO is not known to the name system", "resolvable")
        return ACCEPT

    def _refuse(self, text: str, rule: str) -> Verdict:
        return Verdict(self._options.action, text, "5.7.1" if self._options.action == "reject" else "4.7.1", rule=rule)


def _fqdn(name: str) -> bool:
    """At least two labels, the last of them no number (RFC 3696 section 2)."""
    labels = name.split(".")
    return len(labels) > 1 and not labels[-1].isdigit() and all(_LABEL.fullmatch(label) for label in labels)


def build(options: Options, site: Any) -> HeloCheck:
    """The part; `site` has `options`, and `access.resolver` for `resolvable`."""
    names = {site.options.site.hostname, *site.options.domains, *(s.hostname for s in site.options.servers.values())}

    async def known(name: str) -> bool:
        if not name:
            return False
        name = a_labels(name)
        for kind in ("A", "AAAA", "MX"):
            if await site.access.resolver.lookup(name, kind):
                return True
        return False

    return HeloCheck(options, {read_domain(name) or name for name in names}, known if options.resolvable else None)
