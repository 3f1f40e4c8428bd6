"""The composition root (floor 4): a MultiService of virtual servers, and all the wiring in `_wire`.

Two sites in one process share nothing.  The order of life: ports are bound (perhaps with privileges that are given
up then), the store is opened, servers are equipped and start to accept; at the end the servers stop first, then
the store is flushed, and the control socket closes last (decisions 25).
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from ..auth.hashing import PasswordHasher
from ..errors import ConfigError, MailError, Refused
from ..interfaces import IAuthenticator, IMessagePolicy, IMessageStore, IQueue
from ..parts import find
from ..serve.allowances import Allowances
from ..serve.measuring import Measuring
from ..serve.public_folders import PublicFolders
from ..serve.session import Services
from ..transfer.ids import IdMaker
from ..transfer.intake import Intake
from ..transfer.router import LocalRouter
from ..values import DomainFacts
from .access import Access
from .arrivals import Ceiling
from .audit import Audit
from .certificate_watch import CertificateWatch
from .certificates import Certificates, certificates_of
from .changes import Changes
from .config.derive import (
    domain_facts,
    limits_of,
    public_accounts,
    site_limits,
)
from .config.options import ServerOptions, SiteOptions
from .control.remote import RemoteControl
from .control.roles import built_in_roles
from .control.wire import ControlFactory
from .control.wire import listen as listen_control
from .delivery import Delivery
from .events import Events
from .formats import Formats
from .leaving import drain
from .life import Life
from .live import Live
from .logins import Logins
from .metrics.service import MetricsService
from .places import Ground
from .ready import Ready
from .recipients import Recipients
from .tokens import Tokens
from .trace import TraceLog, begin_trace
from .vserver import VirtualServer
from .wiring import Wiring, settings_of

log = Logger()


class Site(MultiService):
    """One mail site.  `options` is the checked configuration; `reactor`, `clock` and `monotonic` are given.

    `started` fires with the site when every automatic server accepts, or fails with the reason.

    A program that embeds a site may give things of its own: a `store` instead of the configured one, functions of
    the site that make `authenticators` (asked before the configured ones), and such that make `policies` (an object
    for each connection, asked last on every SMTP server).  `router` and `intake` are there once it has started.
    """

    #: There once the store is open.
    logins: Any = None
    authorizer: Any = None
    guard: Any = None
    allowances: Any = None
    delivery: Any = None
    ids: Any = None
    audit: Any = None
    tokens: Any = None
    router: Any = None
    intake: Any = None
    measuring: Any = None
    directory: Any = None
    hasher: Any = None
    #: There once it was wired.
    recipients: Any = None
    #: There once it was opened.
    trace: TraceLog | None = None
    _control: Any = None
    #: Those of the options in effect, once ports were taken; and what looks after them.
    certificates: Certificates | None = None
    _watch: CertificateWatch | None = None

    def __init__(
        self,
        options: SiteOptions,
        reactor: Any,
        base: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        store: Any = None,
        authenticators: Sequence[Callable[[Any], IAuthenticator]] = (),
        policies: Sequence[Callable[[Any], IMessagePolicy]] = (),
    ) -> None:
        super().__init__()
        self.options = options
        self.reactor = reactor
        self.base = base or options.base
        self.config_path = options.file
        self.clock, self.monotonic = clock, monotonic
        self.events = Events(clock)
        self.servers: dict[str, VirtualServer] = {}
        self.ceiling, self.ready = Ceiling.of_process(), Ready(self)
        self.ground, self.life = Ground(reactor), Life(self)
        self.maildrops: set[int] = set()
        self.access = Access(self)
        self.wiring = Wiring(self)
        self.live = Live(self)
        self.metrics = MetricsService(self)
        self.remote = RemoteControl(self)
        self.live.also += [self.metrics.changed, self.remote.changed]
        self.roles = built_in_roles()
        self.changes = Changes(self, lambda: self._serving)
        self._serving = False
        self._removed: set[Deferred[None]] = set()
        self.started: Deferred[Site] = Deferred()
        self.store: Any = store
        self.given_authenticators, self.given_policies = tuple(authenticators), tuple(policies)
        self._numbers = itertools.count(1)
        # A message of many megabytes is examined in one of two threads and keeps nobody else waiting.
        self._aside_pool = ThreadPool(0, 2, "mailsrv-aside")
        self.aside = partial(deferToThreadPool, reactor, self._aside_pool)
        self._control_factory: ControlFactory | None = None
        self._opening: Deferred[None] | None = None

    # ------------------------------------------------------------ the store alone, for commands without a server

    async def open(self) -> None:
        """Open the store and what looks at it.  Raises InUse, ConfigError, StoreUnavailable."""
        try:
            self.options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            text = f"the data folder {self.options.data} cannot be made: {error.strerror}"
            raise ConfigError(text, file=str(self.options.file or ""), key="site.data") from error
        self.hasher = PasswordHasher(self.call_from_thread, clock=self.monotonic)
        if self.store is None:
            choice = self.options.store
            self.store = find(IMessageStore, choice.use).build(choice.options, self)
        self.directory = self.store.directory
        self.tokens = Tokens(self.options.data / "tokens.json", self.clock)
        self._aside_pool.start()
        await self.apply_domains(domain_facts(self.options))
        self.allowances = Allowances(self.directory, self.store, site_limits(self.options))
        self.logins = Logins(self)
        self.authorizer, self.guard = self.logins.authorizer, self.logins.guard
        self.ids = IdMaker(self.clock, os.urandom)
        self.audit = Audit(self.options.data, self.options.site.audit_size, self.clock, self.aside, self.ids.next)
        self.intake = Intake(self.store, self.ids, self.clock, publish=self.events.publish)
        self.measuring = Measuring(self.intake, self.sleep, self.monotonic)
        self.delivery = Delivery(self) if IQueue.providedBy(self.store) else None
        self.trace = begin_trace(self)
        self.router = LocalRouter(
            self.directory,
            self.first_domain,
            self.logins.learners,
            onward=self.delivery is not None,
            unresolved=self.delivery.unresolved if self.delivery is not None else lambda server: "",
            folders=PublicFolders(self.store, lambda: public_accounts(self.options)).find,
        )

    async def close(self) -> None:
        """Flush and let go."""
        if self.logins is not None:
            await self.logins.close()
        if self.measuring is not None:
            await self.measuring.close()
        if self.store is not None:
            await self.store.close()
        if self.trace is not None:
            self.trace.close()
        if self.hasher is not None:
            self.hasher.close()
        if self.audit is not None:
            await self.audit.close()
        if self._aside_pool.started:
            self._aside_pool.stop()

    async def apply_domains(self, domains: Sequence[DomainFacts]) -> None:
        """The local domains are these from now on."""
        await self.directory.set_domains(domains)

    def call_from_thread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """The one way into the site from another thread."""
        self.reactor.callFromThread(function, *arguments)

    # ------------------------------------------------------------ life

    def privilegedStartService(self) -> None:
        """Twisted: take the ports while the process may; a second call does nothing."""
        if not self.servers:
            self.certificates = certificates_of(self)
            for name, server in self.options.servers.items():
                self.servers[name] = self._server(server)
            self.life.prepare()
            for made in self.servers.values():
                # One that waits to be started by hand takes its port then: clients would wait there for ever.
                if made.wanted[0] != "stopped":
                    made.bind()
            self.remote.take()

    def startService(self) -> None:
        """Twisted: open, then accept."""
        Service.startService(self)
        self.privilegedStartService()
        self._opening = Deferred()
        Deferred.fromCoroutine(self._start()).addBoth(self._report)

    async def _start(self) -> None:
        await self.open()
        if not self.running:
            raise Refused("the site was stopped before it had started")
        await self._wire()
        for server in self.servers.values():
            server.setServiceParent(self)
        if self.delivery is not None:
            await self.delivery.start()
        self._serving = True
        await self.changes.begin()
        self._watch = CertificateWatch(self).start()
        await self.metrics.apply()
        await self.remote.apply()
        self._listen_control()
        await self.ready.begin()

    def _report(self, result: Any) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.callback(None)
        if result is None:
            self.started.callback(self)
            return
        if result.check(MailError):
            log.error("the site cannot start: {reason}", reason=str(result.value))
        else:
            log.failure("the site cannot start", failure=result)
        self.started.errback(result)

    async def _stop(self) -> None:
        if self._opening is not None:
            # What is half open cannot be closed: the start sees that it is not wanted any more.
            await self._opening
        self._serving = False
        await self.changes.end()
        self.live.end()
        await self.ready.end()
        await self.metrics.stop()
        if self._watch is not None:
            self._watch.stop()
        await drain(self)
        await gatherResults(list(self._removed))
        if self.recipients is not None:
            self.recipients.stop()
        if self.delivery is not None:
            await self.delivery.stop()
        await self.close()
        if self._control is not None:
            if self._control_factory is not None:
                self._control_factory.close()
            control, self._control = self._control, None
            await control.stopListening()
        await self.remote.stop()

    def stopService(self) -> Deferred[Any]:
        """Twisted: servers, store, control, in this order."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    # ------------------------------------------------------------ wiring

    def _server(self, server: ServerOptions) -> VirtualServer:
        return VirtualServer(
            server.id,
            limits_of(server, self.options),
            reactor=self.reactor,
            monotonic=self.monotonic,
            numbers=lambda: next(self._numbers),
            bindings=[binding.below(self.base) for binding in server.listen],  # type: ignore[attr-defined]
            ceiling=self.ceiling,
            ground=self.ground,
            changed=self.ready.tell,
            **settings_of(self, server),
        )

    def add_server(self, options: ServerOptions, services: Services) -> None:
        """A further virtual server; it starts at once if it is to (S-013)."""
        made = self.servers[options.id] = self._server(options)
        made.equip(services)
        self.life.join(made)
        made.setServiceParent(self)

    def remove_server(self, name: str) -> None:
        """Stop a virtual server and forget it."""
        self.life.forget(name)
        gone = Deferred.fromCoroutine(self._gone(self.servers.pop(name)))
        self._removed.add(gone)
        gone.addBoth(lambda _: self._removed.discard(gone))

    async def _gone(self, server: VirtualServer) -> None:
        stopped = server.disownServiceParent()
        if stopped is not None:
            await stopped

    async def _wire(self) -> None:
        """All parts of the site, made and given to the servers."""
        self.recipients = Recipients(self, self.delivery.lanes if self.delivery is not None else {})
        formats = Formats(self.options, self.aside, self.clock)
        formats.keep()
        made = await self.wiring.services(formats, self.recipients)
        for name, services in made.items():
            self.servers[name].equip(services)
        self.measuring.adopt(made.values())

    def first_domain(self) -> str:
        """Completes names where nothing else is said."""
        return next(iter(self.options.domains), "localhost")

    async def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        slept: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.reactor.callLater(seconds, slept.callback, None)
        await slept

    def _listen_control(self) -> None:
        self._control_factory = ControlFactory(self, self.reactor)
        try:
            group = self.options.site.control_group
            self._control = listen_control(self.reactor, self.options.control, self._control_factory, group)
        except OSError as error:
            raise ConfigError(f"cannot listen on {self.options.control}: {error}", key="site.control") from error
