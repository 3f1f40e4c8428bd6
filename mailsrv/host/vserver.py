"""One virtual server (floor 4): its bindings, its connections and its state (S-001, S-017, S-064)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import ILoggingContext
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ConfigError, LimitReached
from ..limits import Limits
from ..net.connection import Connection
from ..net.front import Front
from ..net.listen import listen, listen_unix
from ..net.roles import ConnectionSession
from ..serve.session import Services, SessionInfo
from ..values import Peer
from .arrivals import Arrivals, Ceiling
from .config.values import Binding

log = Logger()

#: Seconds between two looks at idle connections.
TICK = 1.0
#: Seconds a stopping server waits for a client to take its last words, and for commands under way.
FAREWELL, GRACE = 0.5, 5.0


@implementer(ILoggingContext)
class _Factory(ServerFactory):
    """Accepts for one binding."""

    noisy = False

    def __init__(self, server: VirtualServer, tls: bool) -> None:
        self._server, self._tls = server, tls

    def logPrefix(self) -> str:
        """Twisted: how its own lines about this port begin."""
        return self._server.name

    def buildProtocol(self, address: Any) -> Protocol | None:
        """Twisted: somebody connected."""
        return self._server.accept(Peer(getattr(address, "host", ""), getattr(address, "port", 0)), self._tls)


@define(eq=False)
class _Leaving:
    """The connections that one stop waits for; `gone` fires when there is none left."""

    connections: set[Connection | Front]
    gone: Deferred[None] = field(factory=Deferred)
    calls: list[Any] = field(factory=list)

    def cut_dismissed(self) -> None:
        """Whoever has been told so had time to read it."""
        for connection in list(self.connections):
            if connection.closing:
                connection.abort()

    def dismiss(self) -> None:
        """The command under way has taken too long."""
        for connection in list(self.connections):
            connection.dismiss("shutdown")

    def end(self) -> None:
        """Nobody is waited for any more."""
        for call in self.calls:
            if call.active():
                call.cancel()
        self.gone.callback(None)


SessionMaker = Callable[[Connection, Any, int], ConnectionSession]


class VirtualServer(Service):
    """A listener with sessions.  `numbers()` gives session ids that never repeat in the process.

    Ports are bound early (`bind`), while the process may still have the right to; nothing is accepted before the
    server is equipped with its services and started.
    """

    services: Services

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
    ) -> None:
        self.name = name
        self.setName(name)
        self.limits = limits
        self.bindings = tuple(bindings)
        self.automatic = automatic
        self.state = "stopped"
        self.reason = ""
        self.monotonic = monotonic
        self.pending_octets = limits.pending_octets
        self._make_session, self._reactor, self._numbers = make_session, reactor, numbers
        self._tls_context = tls_context
        self._ports: list[Any] = []
        self.arrivals = Arrivals(self, limits, ceiling or Ceiling(), proxies)
        self._tick: Any = None
        self._leaving: list[_Leaving] = []

    # ------------------------------------------------------------ life

    def equip(self, services: Services) -> None:
        """What its sessions work with; once, before the start."""
        self.services = self.arrivals.services = services

    def bind(self) -> None:
        """Take every binding but accept nothing yet; one that cannot be had leaves the server stopped, with the
        reason (S-014)."""
        try:
            if self._tls_context is not None:
                self._tls_context()
            for binding in self.bindings:
                factory = _Factory(self, binding.tls)
                if binding.path:
                    self._ports.append(listen_unix(self._reactor, binding.path, factory))
                else:
                    self._ports += listen(self._reactor, binding.host, binding.port, factory)
        except ConfigError as error:
            self.reason = f"{error.file}: {error.text}" if error.file else error.text
            log.error("{server} is stopped: {reason}", server=self.name, reason=self.reason)
            self._close_ports()
        for port in self._ports:
            port.stopReading()

    def startService(self) -> None:
        """Twisted: start with the site, unless this server is started by hand (S-013)."""
        super().startService()
        # A binding that could not be had a moment ago was told of already.
        if self.automatic and not self.reason:
            self.start()

    def start(self) -> None:
        """Accept on every binding; one that runs goes on."""
        if self.state == "running":
            return
        if not self._ports:
            self.bind()
        if self._ports or not self.bindings:
            self.state, self.reason = "running", ""
            for port in self._ports:
                port.startReading()
            self._tick = self._reactor.callLater(TICK, self._look)

    def stopService(self) -> Deferred[Any]:
        """Twisted: close the listeners, dismiss the sessions; fires when the last one is gone."""
        super().stopService()
        return self.stop()

    def stop(self) -> Deferred[Any]:
        """Accept nothing more and dismiss everybody after the command under way (S-018); fires when all are gone,
        after `GRACE` seconds at the latest."""
        closed = self._close_ports()
        self.state = "stopped"
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        leaving = _Leaving(set(self.arrivals.present))
        self._leaving.append(leaving)
        for connection in list(leaving.connections):
            connection.finish("shutdown")
        if leaving.connections:
            leaving.calls = [
                self._reactor.callLater(FAREWELL, leaving.cut_dismissed),
                self._reactor.callLater(GRACE / 2, leaving.dismiss),
                self._reactor.callLater(GRACE, self._give_up, leaving),
            ]
        else:
            self._left_all(leaving)
        return gatherResults([*closed, leaving.gone])

    def _give_up(self, leaving: _Leaving) -> None:
        """Whoever is still there is cut off; a command that never ends is waited for no longer."""
        for connection in list(leaving.connections):
            connection.abort()
        if leaving.connections:
            log.warn("{server} stops with {count} commands that do not end", server=self.name,
                     count=len(leaving.connections))  # fmt: skip
            self._left_all(leaving)

    def _left_all(self, leaving: _Leaving) -> None:
        if leaving in self._leaving:
            self._leaving.remove(leaving)
            leaving.end()

    def _close_ports(self) -> list[Any]:
        ports, self._ports = self._ports, []
        return [done for port in ports if (done := port.stopListening()) is not None]

    # ------------------------------------------------------------ connections

    def accept(self, peer: Peer, tls: bool) -> Protocol | None:
        """A protocol for somebody who connected; None: close."""
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
            leaving.connections.discard(connection)
            if not leaving.connections:
                self._left_all(leaving)

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
        return [one.session.info() for one in self.arrivals.present if isinstance(one, Connection)]  # type: ignore[attr-defined]

    def addresses(self) -> list[str]:
        """What it really listens on, as "host:port" with "/tls", or "unix:PATH"; empty when it does not run."""
        return [_where(port) for port in self._ports]


def _where(port: Any) -> str:
    """One of Twisted's ports."""
    at = port.getHost()
    if isinstance(at, UNIXAddress):
        return f"unix:{os.fsdecode(at.name or b'')}"
    return str(Binding(at.host, at.port, getattr(port.factory, "_tls", False)))
