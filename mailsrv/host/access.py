"""Access and relay lists of a site (floor 6), made from its configuration; the resolver, made when a list needs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from ..access.filter import AccessFilter
from ..access.lists import AccessList
from ..access.relay import RelayList
from ..access.reverse import ClientCheck, ReverseNames
from ..net.dns_exchange import NetworkExchange, SystemServers
from ..net.resolver import Resolver
from .config.options import ServerOptions, SmtpOptions


class Access:
    """One for a site.  Nothing is made before it is asked for: a site without lists knows of no name system."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._lists: dict[str, AccessList] = {}

    @cached_property
    def resolver(self) -> Any:
        """The site's IResolver: the servers of the system."""
        servers = SystemServers(self._site.monotonic)
        return Resolver(NetworkExchange(self._site.reactor), servers, self._site.reactor, self._site.monotonic)

    @cached_property
    def names(self) -> ReverseNames:
        """Host names of clients."""
        return ReverseNames(self.resolver)

    def list_of(self, name: str) -> AccessList:
        """The list [access.NAME], built once."""
        if name not in self._lists:
            table = self._site.options.access[name]
            self._lists[name] = AccessList(name, table.mode, table.entries, str(self._site.options.file or ""))
        return self._lists[name]

    def filter_of(self, server: ServerOptions, count: Callable[[str], None]) -> AccessFilter | None:
        """Who may connect to that server; None: everybody (S-034)."""
        return AccessFilter(server.id, self.list_of(server.access), self.names, count) if server.access else None

    def check_of(self, server: SmtpOptions) -> Callable[[], ClientCheck] | None:
        """What looks up the client of a connection to that server; None: nobody does (S-090)."""
        return partial(ClientCheck, self.names, self._site.reactor) if server.reverse_lookup else None

    @cached_property
    def relay_lists(self) -> dict[str, RelayList]:
        """Server -> who may relay there without a login, for those that have such a list."""
        return {
            server.id: RelayList(self.list_of(server.relay), self.names, self._site.reactor)
            for server in self._site.options.servers.values()
            if isinstance(server, SmtpOptions) and server.relay
        }
