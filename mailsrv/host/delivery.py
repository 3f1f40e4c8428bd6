"""Sending mail on (floor 6): runner, lanes, reports and bad mail of a site, put together from its configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred

from ..auth.any import read_password
from ..auth.outbound import choose
from ..errors import ConfigError, NoSuchRecipient, Refused
from ..interfaces import IContent, IQueue
from ..message.report_text import TOO_MANY_HOPS
from ..message.rewrite import without_return_path
from ..message.trace import count_received
from ..net.client import Connector
from ..transfer.attempts import Lane
from ..transfer.badmail import BadMail
from ..transfer.connections import Connections
from ..transfer.masquerade import outgoing_path
from ..transfer.routes import SMART_HOST, Own, RouteRule, Routes, unresolved
from ..transfer.runner import Runner
from ..transfer.smtp_agent import SmtpAgent
from ..transfer.smtp_open import Opener
from ..transfer.success import arrival, passed_on, told_here
from ..values import Address, Envelope, Owner, Peer, Queued, Recipient, Transaction
from ..wire.ntlm import Ntlm
from ..wire.sasl import mechanisms
from .config.delivery import DeliveryTable, defaults_of, policy_of, unresolved_rule
from .config.derive import limits_of
from .config.options import SiteOptions, SmtpOptions
from .config.routes import LoginTable, RouteTable, login_of, rule_of
from .reports import Reporter
from .slices import Slices

#: Octets of a message in which its hops are counted, to know whether this is the first (S-085).
HEAD = 64 * 1024
DNS_PORT = 53
#: Of a server that is gone.
MAX_HOPS = 30


@define(eq=False)
class Half:
    """One server's half.  `key` is all that it was made of."""

    key: Any
    lane: Lane
    reporter: Reporter
    connector: Connector
    connections: Connections

    def stop(self) -> None:
        """Cut off what is open."""
        self.connections.close()
        self.connector.stop()


@frozen
class Prepared:
    """What other options ask for."""

    options: SiteOptions
    routes: dict[str, RouteRule]
    halves: dict[str, Half]

    @property
    def lanes(self) -> dict[str, Lane]:
        """By server."""
        return {name: half.lane for name, half in self.halves.items()}


class Delivery:
    """What a site needs to send mail on.  Made when its store has a queue; `runner` runs between start and stop.

    `lanes`, `badmail` and `reporters` are keyed by SMTP server ("smtp/default").
    """

    def __init__(self, site: Any) -> None:
        self._site = site
        self.queue: IQueue = site.store
        self.servers: dict[str, SmtpOptions] = {}
        self.lanes: dict[str, Lane] = {}
        self.badmail: dict[str, BadMail] = {}
        self.reporters: dict[str, Reporter] = {}
        self._routes: dict[str, RouteRule] = {}
        self._halves: dict[str, Half] = {}
        self._old: list[Half] = []
        self._started = False
        routes = {name: self._rule(name, table) for name, table in site.options.routes.items()}
        halves = {name: self._fitting(name, server, routes) for name, server in _senders(site.options)}
        self._take(Prepared(site.options, routes, halves))
        self.runner = Runner(self.queue, self.lanes, site.clock, site.reactor.callLater)
        self.runner.attempts.publish = site.events.publish

    async def start(self) -> None:
        """Begin to send."""
        self._started = True
        if self.lanes:
            self.runner.start()

    async def stop(self) -> None:
        """Let attempts under way end, then close what is open."""
        self._started = False
        await self.runner.stop()
        for half in (*self._halves.values(), *self._old):
            half.stop()

    async def prepare(self, options: SiteOptions) -> Prepared:
        """Make all that other options ask for, in slices; what would be the same is kept.  Raises ConfigError."""
        slices, routes, halves = Slices(self._site), dict[str, RouteRule](), dict[str, Half]()
        for name, table in options.routes.items():
            routes[name] = self._rule(name, table)
            await slices.breathe()
        for name, server in _senders(options):
            halves[name] = self._fitting(name, server, routes)
            await slices.breathe()
        return Prepared(options, routes, halves)

    def adopt(self, prepared: Prepared) -> None:
        """Go by them from now on.  Attempts under way end as they began; what is the same keeps its connections."""
        had = bool(self.lanes)
        self._take(prepared)
        if self.lanes:
            self.runner.adopt(self.lanes)
            if self._started and not had:
                self.runner.start()
        elif had:
            Deferred.fromCoroutine(self.runner.stop())

    def _rule(self, name: str, table: RouteTable) -> RouteRule:
        """The very one that there is, if it would be the same: then it is quickly compared.  Raises ConfigError."""
        made = rule_of(name, table, login_of(table, self._secret(table, f"routes.{name}")))
        known = self._routes.get(name)
        return known if known == made else made

    def _fitting(self, name: str, server: SmtpOptions, routes: Mapping[str, RouteRule]) -> Half:
        """The half of a server, the one that there is if it would be the same.  Raises ConfigError."""
        half, rules = self._halves.get(name), self._rules(name, server, routes)
        return half if half is not None and half.key == (server, *rules) else self._half(name, server, *rules)

    def _take(self, prepared: Prepared) -> None:
        halves, options, self._routes = prepared.halves, prepared.options, prepared.routes
        kept = set(halves.values())
        self._old = [half for half in self._old if len(half.connector)]
        for half in self._halves.values():
            if half not in kept:
                half.connections.close()
                self._old.append(half)
        self._halves = halves
        self.servers = dict(_senders(options))
        self._hops = {name: limits_of(server, options).hops for name, server in self.servers.items()}
        # The runner holds this very mapping.
        self.lanes.clear()
        self.lanes.update({name: half.lane for name, half in halves.items()})
        self.reporters = {name: half.reporter for name, half in halves.items()}
        self.badmail = {name: half.reporter.badmail for name, half in halves.items()}

    def unresolved(self, server: str) -> str:
        """The destination of mail for unknown recipients of shared domains (S-133); "" for none."""
        found = self.servers.get(server)
        return unresolved(server) if found is not None and found.delivery.forward_unresolved else ""

    # ------------------------------------------------------------ one server's half

    def _half(self, name: str, server: SmtpOptions, rules: dict[str, RouteRule], login: Any) -> Half:
        site, table = self._site, server.delivery
        connector = Connector(site.reactor, site.monotonic, idle=table.timeout)
        connections = Connections(
            connector, total=table.max_connections, per_domain=table.max_connections_per_domain,
            messages=table.messages_per_connection,
        )  # fmt: skip
        reporter = Reporter(site, name, server)
        wanted = [*mechanisms().values(), Ntlm()]
        opener = Opener(connector, lambda: server.hostname, partial(choose, wanted), os.urandom, site.clock)
        lane = Lane(
            server=name,
            policy=policy_of(table),
            routes=Routes(self._resolver(table), rules, self._own, defaults_of(table, login)),
            agent=SmtpAgent(opener, connections, recipients=table.recipients_per_message, aside=site.aside),
            reporter=reporter,
            messages=table.messages_per_connection or 1000,
            per_domain=table.max_connections_per_domain,
            copy_to=reporter.copy_to,
            active=lambda: name not in site.servers or site.servers[name].state != "stopped",
            outgoing=partial(self._outgoing, table.masquerade_domain),
        )
        return Half((server, rules, login), lane, reporter, connector, connections)

    def _rules(self, name: str, server: SmtpOptions, routes: Mapping[str, RouteRule]) -> tuple[Any, Any]:
        """The routes of its mail, and the login at its smart host.  Raises ConfigError."""
        table = server.delivery
        rules = dict(routes)
        rule = unresolved_rule(name, table)
        if rule is not None:
            rules[rule.name] = rule
        login = login_of(table, self._secret(table, f"smtp.{name}.delivery")) if SMART_HOST in rules else None
        return rules, login

    def _resolver(self, table: DeliveryTable) -> Any:
        """The servers of names for outside (S-094, S-095), or the system's."""
        if not table.dns_servers:
            return self._site.access.resolver
        from ..net.dns_exchange import NetworkExchange
        from ..net.resolver import Resolver

        site, servers = self._site, tuple((address, DNS_PORT) for address in table.dns_servers)
        return Resolver(NetworkExchange(site.reactor), lambda: servers, site.reactor, site.monotonic)

    def _own(self) -> Own:
        """How this site is known: its host names, and the addresses its servers listen on."""
        names = {server.hostname for server in self._site.options.servers.values()}
        addresses = set[str]()
        for name in self.servers:
            running = self._site.servers.get(name)
            for text in running.addresses() if running is not None else ():
                host = text.removesuffix("/tls").rpartition(":")[0].strip("[]")
                if host and host not in ("0.0.0.0", "::"):
                    addresses.add(host)
        # A test bed sends to other servers of its own loopback interface.
        loopback = not _all_loopback(self._site)
        return Own(frozenset(names), frozenset(addresses - {"127.0.0.1", "::1"}), loopback)

    def _secret(self, table: LoginTable, key: str) -> str:
        """The password of a login.  Raises ConfigError."""
        if table.password_file:
            return read_password(self._site.base / table.password_file, f"{key}.password_file")
        if table.password_env:
            found = os.environ.get(table.password_env, "")
            if not found:
                raise ConfigError(f"the environment has no {table.password_env}", key=f"{key}.password_env")
            return found
        return ""

    async def _outgoing(self, masquerade: str, row: Queued, content: IContent) -> Queued:
        """The row as other servers are told of it (S-083): on its first hop, before others had it (S-085)."""
        if not masquerade:
            return row
        # The topmost Received is ours.
        hops = count_received(await content.read(0, HEAD)) - 1
        domains = self._site.options.domains
        path = outgoing_path(row.reverse_path, row.origin, masquerade, lambda domain: domain in domains, hops)
        return evolve(row, reverse_path=path)

    # ------------------------------------------------------------ mail of our own

    async def submit(self, envelope: Envelope, content: IContent, server: str, origin: str = "local") -> str:
        """Accept a message of our own (a report, something sent again): into mailboxes and the queue, in one commit.

        Gives its id; one that has gone round in circles goes back to its sender instead (S-081), and it is the id of
        the report.  Raises Refused when a recipient has no way, or there is no sender; StoreFull, StoreUnavailable.
        """
        site = self._site
        content = await without_return_path(content)
        if count_received(await content.read(0, HEAD)) > self._hops.get(server, MAX_HOPS):
            # Those of a server that is gone are made by the first one, as with its mail.
            reporter = self.reporters.get(server) or next(iter(self.reporters.values()), None)
            if reporter is None:
                raise Refused(TOO_MANY_HOPS[1], TOO_MANY_HOPS[0])
            envelope, content = await reporter.circling(envelope, content)
        transaction = Transaction(
            server=server, peer=Peer(""), helo="localhost", protocol="LOCAL", reverse_path=envelope.reverse_path,
            recipients=list(envelope.recipients), parameters=dict(envelope.parameters), origin=origin,
        )  # fmt: skip
        owners: dict[Owner, None] = {}
        onward: list[tuple[str, Address, Recipient]] = []
        arrivals: list[tuple[str, Recipient]] = []
        for recipient in envelope.recipients:
            route = await site.router.route(recipient.address, transaction)
            owners.update(dict.fromkeys(route.placements))
            asked = passed_on(recipient, route.placements, route.onward)
            onward += [(destination, address, asked) for destination, address in route.onward]
            where = arrival(recipient, route.placements, route.onward)
            arrivals += [(where, recipient)] if where else []
        if not owners and not onward:
            raise NoSuchRecipient()
        hostname = self.servers[server].hostname if server in self.servers else site.options.site.hostname
        made: str = await site.intake.accept(
            transaction, content, owners, hostname=hostname, onward=onward, arrivals=arrivals
        )
        return made

    async def fail(self, row: Queued, reply: str) -> None:
        """End a row with a report to its sender.  Raises Refused when an attempt is under way, or there is nothing that
        could fail: it is here, and its sender is to hear of that."""
        if told_here(row):
            raise Refused("This mail has been delivered, or had no room: only the report waits; delete it", "5.5.1")
        await self.runner.attempts.fail(row, reply)


def _senders(options: SiteOptions) -> list[tuple[str, SmtpOptions]]:
    """The servers that send mail on."""
    return [(name, one) for name, one in options.servers.items() if isinstance(one, SmtpOptions)]


def _all_loopback(site: Any) -> bool:
    """Whether every server listens on the loopback interface alone."""
    return all(one.loopback for server in site.options.servers.values() for one in server.listen)


