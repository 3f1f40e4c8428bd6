"""Access and relay lists of a site (floor 6), made from its configuration; the resolver, made when a list needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ..access.filter import AccessFilter
from ..access.lists import AccessList
from ..access.networks import Matcher, parse_network
from ..access.rates import Bucket
from ..access.relay import RelayList, RelayRight
from ..access.reverse import ClientCheck, ReverseNames
from ..serve.smtp_dsn import Dsn, budget
from ..serve.smtp_etrn import Etrn, QueueStarts
from .config.options import AccessTable, ServerOptions, SiteOptions, SmtpOptions

if TYPE_CHECKING:
    from .changes import Asked


def speakers_of(server: SmtpOptions) -> Matcher | None:
    """Who may say on that server whose connection it is (XCLIENT); None: nobody."""
    networks = [(parse_network(text)[0], 0) for text in server.xclient_from]
    return Matcher(networks) if networks else None


class Access:
    """One for a site.  Nothing is made before it is asked for: a site without lists knows of no name system."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._lists: dict[str, AccessList] = {}
        self._built: dict[str, AccessTable] = {}

    @property
    def tables(self) -> Mapping[str, AccessTable]:
        """The tables [access.NAME] as they are in effect."""
        tables: Mapping[str, AccessTable] = self._site.options.access
        return tables

    @cached_property
    def resolver(self) -> Any:
        """The site's IResolver: the servers of the system."""
        # twisted.names is a hundredth of a second and a megabyte that most sites need not spend.
        from ..net.dns_exchange import NetworkExchange, SystemServers
        from ..net.resolver import Resolver

        servers = SystemServers(self._site.monotonic)
        return Resolver(NetworkExchange(self._site.reactor), servers, self._site.reactor, self._site.monotonic)

    @cached_property
    def names(self) -> ReverseNames:
        """Host names of clients."""
        return ReverseNames(self.resolver)

    def list_of(self, name: str) -> AccessList:
        """The list [access.NAME], built once."""
        if name not in self._lists:
            self._built[name] = self.tables[name]
            self._lists[name] = self._made(name, self._built[name])
        return self._lists[name]

    async def prepare(self, options: SiteOptions) -> Callable[[], Callable[[], None]]:
        """Build the lists that are other ones in these options, away from the reactor; the result puts them in the
        place of what there is, for open connections too, and gives the way back."""
        made = {
            name: (table, await self._site.aside(self._made, name, table))
            for name, table in options.access.items()
            if name in self._lists and table != self._built[name]
        }
        return partial(self._adopt, made, options)

    def _adopt(self, made: Mapping[str, tuple[AccessTable, AccessList]], options: SiteOptions) -> Callable[[], None]:
        """The site has these options already."""
        kept = {name: copy(found) for name, found in self._lists.items()}
        back = partial(self._put_back, kept, dict(self._lists), dict(self._built), dict(self.relay_lists))
        for name, (table, found) in made.items():
            self._lists[name].adopt(found)
            self._built[name] = table
        for name in [name for name in self._lists if name not in options.access]:
            del self._lists[name], self._built[name]
        lists = self._relay_lists(options)
        # Policies hold this very mapping.
        self.relay_lists.clear()
        self.relay_lists.update(lists)
        return back

    def _put_back(
        self, kept: Mapping[str, AccessList], lists: dict[str, AccessList], built: dict[str, AccessTable],
        relay: Mapping[str, RelayList],
    ) -> None:  # fmt: skip
        for name, found in lists.items():
            found.adopt(kept[name])
        self._lists, self._built = lists, built
        self.relay_lists.clear()
        self.relay_lists.update(relay)

    def _made(self, name: str, table: AccessTable) -> AccessList:
        return AccessList(name, table.mode, table.entries, str(self._site.options.file or ""))

    async def change(self, name: str, change: Callable[[], SiteOptions], asked: Asked) -> AccessTable:
        """Let `change` edit the file, away from the reactor, and take up that list as it stands there then: it holds
        for clients that come from now on.  Nothing else changes the file meanwhile.  Raises MailError."""
        async with self._site.changes.beside(asked):
            options = await self._site.aside(change)
            table: AccessTable = options.access[name]
            now = self._site.options
            self._site.options = evolve(now, access={**now.access, name: table})
            if name in self._lists:
                self._built[name] = table
                self._lists[name].adopt(await self._site.aside(self._made, name, table))
            return table

    def filter_of(self, server: ServerOptions, count: Callable[[str], None]) -> AccessFilter | None:
        """Who may connect to that server; None: everybody (S-034)."""
        return AccessFilter(self.list_of(server.access), self.names, count) if server.access else None

    def check_of(self, server: SmtpOptions) -> Callable[[], ClientCheck] | None:
        """What looks up the client of a connection to that server; None: nobody does (S-090)."""
        return partial(ClientCheck, self.names, self._site.reactor) if server.reverse_lookup else None

    @cached_property
    def _starts(self) -> QueueStarts:
        """One for all servers: a node has one pause."""
        return QueueStarts(self._site.delivery.queue, self._site.directory, self._site.clock)

    def etrn_of(self, server: SmtpOptions) -> Etrn | None:
        """Who may start the queue of a domain there; None: nobody, or nothing is sent on."""
        if self._site.delivery is None or server.etrn == "off" or server.role == "lmtp":
            return None
        right = RelayRight(self._site.authorizer, server.id, self.relay_lists.get(server.id))
        return Etrn(self._starts, right, server.etrn == "on")

    @cached_property
    def _successes(self) -> Bucket:
        """One for all servers."""
        return budget()

    def dsn_of(self, server: SmtpOptions) -> Dsn | None:
        """To whom DSN is offered there.  Who hands over by LMTP reports for itself: it has the answer for each
        recipient; so it is offered none, and what it says is kept."""
        if self._site.delivery is None or (server.role == "lmtp" and server.dsn != "off"):
            return None
        right = RelayRight(self._site.authorizer, server.id, self.relay_lists.get(server.id))
        return Dsn(server.dsn, right, self._successes)

    @cached_property
    def relay_lists(self) -> dict[str, RelayList]:
        """Server -> who may relay there without a login, for those that have such a list."""
        return self._relay_lists(self._site.options)

    def _relay_lists(self, options: SiteOptions) -> dict[str, RelayList]:
        return {
            server.id: RelayList(self.list_of(server.relay), self.names, self._site.reactor)
            for server in options.servers.values()
            if isinstance(server, SmtpOptions) and server.relay
        }
