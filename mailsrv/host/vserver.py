"""One virtual server (floor 4): its bindings, its connections and its state (S-001, S-017, S-064)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import ILoggingContext
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ConfigError, LimitReached
from ..limits import Limits
from ..net.connection import Connection, ConnectionSession
from ..net.listen import listen
from ..serve.session import Services, SessionInfo
from ..values import Peer
from .config.values import Binding

log = Logger()

#: Seconds between two looks at idle connections.
TICK = 1.0
#: Seconds a stopping server waits for a client to take its last words, and for commands under way.
FAREWELL, GRACE = 0.5, 5.0

#: Words for a client that is turned away at the connection limit (X-10).
_FULL = {
    "smtp": b"421 4.3.2 Too many connections, try again later\r\n",
    "imap": b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
    "pop3": b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
}


class TurnedAway(Protocol):
    """Says why and closes; reads nothing."""

    def __init__(self, words: bytes) -> None:
        self._words = words

    def connectionMade(self) -> None:
        """Twisted: the transport is there."""
        self.transport.write(self._words)
        self.transport.loseConnection()


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
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._tick: Any = None
        self._emptied: Deferred[None] | None = None

    # ------------------------------------------------------------ life

    def equip(self, services: Services) -> None:
        """What its sessions work with; once, before the start."""
        self.services = services

    def bind(self) -> None:
        """Take every binding but accept nothing yet; one that cannot be had leaves the server stopped, with the
        reason (S-014)."""
        try:
            if self._tls_context is not None:
                self._tls_context()
            for binding in self.bindings:
                self._ports += listen(self._reactor, binding.host, binding.port, _Factory(self, binding.tls))
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
        """Accept on every binding."""
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
        """Accept nothing more and dismiss everybody after the command under way (S-018)."""
        closed = self._close_ports()
        self.state = "stopped"
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for connection in list(self._connections):
            if not connection.busy:
                connection.dismiss("shutdown")
        return gatherResults([*closed, self._empty()])

    def _empty(self) -> Deferred[None]:
        emptied: Deferred[None] = Deferred()
        if not self._connections:
            emptied.callback(None)
            return emptied
        self._emptied = emptied
        calls = [
            self._reactor.callLater(FAREWELL, self._cut_dismissed),
            self._reactor.callLater(GRACE / 2, self._dismiss_rest),
            self._reactor.callLater(GRACE, self._cut_rest),
        ]

        def cancel(result: Any) -> Any:
            for call in calls:
                if call.active():
                    call.cancel()
            return result

        return emptied.addBoth(cancel)

    def _cut_dismissed(self) -> None:
        for connection in list(self._connections):
            if connection.closing:
                connection.abort()

    def _dismiss_rest(self) -> None:
        for connection in list(self._connections):
            connection.dismiss("shutdown")

    def _cut_rest(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    def _close_ports(self) -> list[Any]:
        ports, self._ports = self._ports, []
        return [done for port in ports if (done := port.stopListening()) is not None]

    # ------------------------------------------------------------ connections

    def accept(self, peer: Peer, tls: bool) -> Protocol | None:
        """A protocol for somebody who connected; within the limits (S-058, S-059)."""
        limits, services = self.limits, self.services
        services.count("connections")
        full = limits.connections is not None and len(self._connections) >= limits.connections
        crowded = (
            limits.connections_per_address is not None and self._addresses[peer.host] >= limits.connections_per_address
        )
        if full or crowded:
            services.count("turned away")
            return None if tls else TurnedAway(_FULL[services.protocol])
        connection = Connection(self, peer, tls)
        self._connections.add(connection)
        self._addresses[peer.host] += 1
        return connection

    def session(self, connection: Connection) -> ConnectionSession:
        """A session for a new connection."""
        return self._make_session(connection, self.services, self._numbers())

    def tls_context(self) -> Any:
        """The certificate's context."""
        if self._tls_context is None:
            raise LimitReached("no certificate")
        return self._tls_context()

    def left(self, connection: Connection) -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        host = connection.peer.host
        self._addresses[host] -= 1
        if not self._addresses[host]:
            del self._addresses[host]
        if not self._connections and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def call_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """After the reactor has looked at the others."""
        self._reactor.callLater(0, function, *arguments)

    def _look(self) -> None:
        now = self.monotonic()
        for connection in list(self._connections):
            connection.check(now)
        self._tick = self._reactor.callLater(TICK, self._look)

    # ------------------------------------------------------------ for administration

    def sessions(self) -> list[SessionInfo]:
        """Who is connected (S-065)."""
        return [connection.session.info() for connection in self._connections]  # type: ignore[attr-defined]

    def addresses(self) -> list[str]:
        """What it really listens on, as "host:port" with "/tls"; empty when it does not run."""
        out = []
        for port in self._ports:
            host = port.getHost()
            tls = "/tls" if getattr(port.factory, "_tls", False) else ""
            out.append(f"[{host.host}]:{host.port}{tls}" if ":" in host.host else f"{host.host}:{host.port}{tls}")
        return out
