"""One virtual server (floor 4): its bindings, its connections and its state (S-001, S-017, S-064)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from ..errors import ConfigError, LimitReached
from ..limits import Limits
from ..net.connection import Connection
from ..net.front import Front
from ..net.roles import ConnectionSession
from ..serve.session import Services, SessionInfo
from ..values import Peer
from .arrivals import Arrivals, Ceiling
from .config.values import Binding
from .leaving import Leaving
from .places import OPEN, SHUT, Ground
from .ports import Ports

log = Logger()

#: Seconds between two looks at idle connections.
TICK = 1.0
SessionMaker = Callable[[Connection, Any, int], ConnectionSession]


class VirtualServer(Service):
    """A listener with sessions.  `numbers()` gives session ids that never repeat in the process.

    Ports are bound early (`bind`), while the process may still have the right to; nothing is accepted before the
    server is equipped with its services and started.
    """

    services: Services
    #: Seconds that a stop waits for commands under way; None: as usual.
    grace: float | None = None

    def __init__(
        self,
        name: str,
        limits: Limits,
        make_session: SessionMaker,
        reactor: Any,
        *,
        monotonic: Callable[[], float],
        numbers: Callable[[], int],
        bindings: Sequence[Binding] = (),
        tls_context: Callable[[], Any] | None = None,
        automatic: bool = True,
        proxies: Iterable[str] = (),
        ceiling: Ceiling | None = None,
        ground: Ground | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.setName(name)
        self.limits = limits
        self.state = "stopped"
        self.reason = ""
        self.automatic = automatic
        #: The state it is to have when the site starts, and why.
        self.wanted = ("running" if automatic else "stopped"), ""
        self.monotonic = monotonic
        self.pending_octets = limits.pending_octets
        self._make_session, self._reactor, self._numbers = make_session, reactor, numbers
        self._tls_context = tls_context
        #: Called when its state or its addresses have changed.
        self._changed = changed
        self.bindings = tuple(bindings)
        self._ports = Ports(
            ground or Ground(reactor), name, bindings, self.accept, lambda error: self.stop(_told(name, error))
        )
        self._bound = False
        self.arrivals = Arrivals(self, limits, ceiling or Ceiling(), proxies)
        self._tick: Any = None
        self._leaving: list[Leaving] = []

    # ------------------------------------------------------------ life

    def equip(self, services: Services) -> None:
        """What its sessions work with; once, before the start."""
        self.services = self.arrivals.services = services

    def adopt(
        self, limits: Limits, make_session: SessionMaker, *, tls_context: Callable[[], Any] | None, automatic: bool,
        proxies: Iterable[str],
    ) -> None:  # fmt: skip
        """Other settings from now on; connections that are open keep their sessions and what these work with."""
        self.limits, self.pending_octets = limits, limits.pending_octets
        self._make_session, self._tls_context, self.automatic = make_session, tls_context, automatic
        self.arrivals.adopt(limits, proxies)

    def bind(self) -> None:
        """Take every binding but accept nothing yet; one that cannot be had leaves the server stopped, with the
        reason (S-014)."""
        self._bound = False
        try:
            if self._tls_context is not None:
                self._tls_context()
            self._ports.rebind(self.bindings)
            self._ports.take()
            self._bound = True
        except ConfigError as error:
            self.reason = _told(self.name, error)

    def startService(self) -> None:
        """Twisted: start with the site, unless this server is stopped or started by hand (S-013)."""
        super().startService()
        wanted, why = self.wanted
        if wanted != "running":
            log.warn("{server} is {state}: {reason}", server=self.name, state=wanted, reason=why)
        if wanted == "stopped":
            self.reason = why
        # A binding that could not be had a moment ago was told of already.
        elif self._bound or not self.reason:
            self.start(wanted, why)

    def start(self, state: str = "running", reason: str = "") -> None:
        """Accept on every binding, or refuse when the state is to be "paused"; one that does so already goes on.

        What cannot be had leaves it stopped, with the reason (S-014)."""
        if self.state == state:
            self.reason = reason
            return
        if not self._bound:
            self.bind()
        if self._bound:
            try:
                self._ports.turn(SHUT if state == "paused" else OPEN)
            except ConfigError as error:
                self.stop(_told(self.name, error))
                return
            self.state, self.reason = state, reason
            self._changed()
            if self._tick is None:
                self._tick = self._reactor.callLater(TICK, self._look)

    def stopService(self) -> Deferred[Any]:
        """Twisted: close the listeners, dismiss the sessions; fires when the last one is gone."""
        super().stopService()
        stopped = self.stop()
        return gatherResults([stopped, *self._ports.give_up()])

    def stop(self, reason: str = "") -> Deferred[Any]:
        """Accept nothing more and dismiss everybody after the command under way (S-018); fires when all are gone,
        seconds later at the latest (`leaving.py`), and every port is free."""
        closed = self._ports.close()
        self._bound = False
        self.state, self.reason = "stopped", reason
        self._changed()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        leaving = Leaving(
            self.name, self.arrivals.present, self._reactor.callLater, self.monotonic, self._leaving.remove,
            self.grace,
        )
        self._leaving.append(leaving)
        leaving.begin()
        return gatherResults([*closed, leaving.gone])

    def stopped(self) -> Deferred[Any]:
        """Fires when those are gone whom a stop has dismissed."""
        return gatherResults([leaving.gone for leaving in self._leaving])

    async def rebind(self, bindings: Sequence[Binding]) -> None:
        """Listen there from now on: what is gone is closed, what stays is left alone, sessions go on (S-016, S-031).

        Raises ConfigError when a binding cannot be had, or belongs to another server; then all is as it was.
        """
        closed = self._ports.rebind(bindings)
        self.bindings = tuple(bindings)
        self._changed()
        await gatherResults(closed)

    # ------------------------------------------------------------ connections

    def accept(self, peer: Peer, tls: bool) -> Protocol | None:
        """A protocol for somebody who connected; None: close."""
        if self.state != "running":
            return None
        return self.arrivals.accept(peer, tls)

    def session(self, connection: Connection) -> ConnectionSession:
        """A session for a new connection."""
        return self._make_session(connection, self.services, self._numbers())

    def tls_context(self) -> Any:
        """The certificate's context."""
        if self._tls_context is None:
            raise LimitReached("no certificate")
        return self._tls_context()

    def left(self, connection: Connection | Front) -> None:
        """The connection is gone."""
        self.arrivals.left(connection)
        for leaving in list(self._leaving):
            leaving.left(connection)

    async def replace(self, connection: Connection, peer: Peer) -> bytes:
        """See Host."""
        return await self.arrivals.replace(connection, peer)

    def call_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """After the reactor has looked at the others."""
        self._reactor.callLater(0, function, *arguments)

    def _look(self) -> None:
        # First, so that one broken session does not end the looking at all others.
        self._tick = self._reactor.callLater(TICK, self._look)
        self.arrivals.look()

    # ------------------------------------------------------------ for administration

    def sessions(self) -> list[SessionInfo]:
        """Who is connected (S-065)."""
        return [one.session.info() for one in self.arrivals.connections()]  # type: ignore[attr-defined]

    def addresses(self) -> list[str]:
        """What it really listens on, as "host:port" with "/tls", "unix:PATH" or an endpoint; empty when stopped."""
        return self._ports.addresses()


def _told(server: str, error: ConfigError) -> str:
    """Why a server cannot run, told the log too."""
    reason = f"{error.file}: {error.text}" if error.file else error.text
    log.error("{server} is stopped: {reason}", server=server, reason=reason)
    return reason
