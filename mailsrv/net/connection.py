"""The one protocol class (floor 2a): engine, session, timers, TLS and backpressure, for every server.

`pump.py` does the work; here is what the transport, the session and the virtual server ask of a connection.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ..values import Peer, TlsFacts
from .pump import Pump
from .roles import Host
from .send import unsent, without_delay

#: A connection that was closed in order is cut off when its peer takes nothing for this many seconds.
CLOSING = 30.0
#: The deflater of a connection that has had no command for so many seconds is forgotten.
RESTING = 5.0
#: Seconds for a TLS handshake.
HANDSHAKE = 60.0
#: Octets in the middle of a command (SASL, APPEND, DATA) that count as activity; fewer are a trickle.
WORTH_NOTING = 1024


@implementer(IPushProducer, IHalfCloseableProtocol, IHandshakeListener)
class Connection(Pump):
    """One accepted connection.

    Sessions use write, flush, drain, breathe, next_event, start_tls, close, peer, secure.
    """

    def __init__(self, host: Host, peer: Peer, implicit_tls: bool = False) -> None:
        super().__init__(host, peer)
        self.secure = implicit_tls
        self._implicit_tls = implicit_tls
        self._shaken = False
        self._certificate: bytes | None = None
        self.session = host.session(self)
        self.engine = self.session.engine

    # ------------------------------------------------------------ for the transport

    def connectionMade(self) -> None:
        """Twisted: the transport is there."""
        self.transport.registerProducer(self, True)
        without_delay(self.transport)
        if self._implicit_tls:
            # The greeting may say what is offered, and that depends on the client's certificate.
            self.transport.startTLS(self.host.tls_context())
        else:
            self._greet()

    def _greet(self) -> None:
        if not self._closing:
            self.session.greet()
            self.flush()

    def handshakeCompleted(self) -> None:
        """Twisted: TLS is up; no facts of it may be believed before."""
        self._certificate = self.transport.getHandle().client_certificate()
        self._shaken = True
        if self._implicit_tls:
            self._greet()

    def dataReceived(self, data: bytes) -> None:
        """Twisted: octets came."""
        if self._closing:
            return
        self.octets_in += len(data)
        if self.layer is not None:
            self.layer.feed(data)
        else:
            self.engine.receive(data)
        if self._coroutine is None:
            self._start()
        elif self._more is not None:
            self._turn_began = self.host.monotonic()
            self._pieces += len(data)
            if self._pieces >= WORTH_NOTING:
                self._pieces = 0
                self.active_at = self._turn_began
            self._wake()
        elif not self._reading_paused:
            waiting = self.engine.buffered + (0 if self.layer is None else self.layer.held)
            if waiting > self.host.pending_octets:
                self._reading_paused = True
                self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = Failure(ConnectionError("gone"))) -> None:
        """Twisted: the transport is gone; a handler that waits for the peer is woken, others finish."""
        self._lost = self._closing = True
        self.engine.eof()
        idle = self._coroutine is None
        self._wake()
        if idle:
            self._gone()

    def readConnectionLost(self) -> None:
        """Twisted: the peer sent its last octet but may still read: answer what is complete, then close."""
        self._eof = True
        while self.engine.buffered <= self.host.pending_octets and self._pull():
            pass
        self.engine.eof()
        if self._more is not None:
            self._wake()
        elif self._coroutine is None:
            self.close()

    def writeConnectionLost(self) -> None:
        """Twisted: the peer reads no more."""
        self.abort()

    def pauseProducing(self) -> None:
        """Twisted: the peer reads too slowly, its output is full."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """Twisted: there is room again."""
        self._blocked = False
        self._unsent = 0
        self.active_at = self.host.monotonic()
        self._wake()

    def stopProducing(self) -> None:
        """Twisted: nothing more can be written."""
        self._blocked = False
        self._wake()

    # ------------------------------------------------------------ for the session

    def start_tls(self) -> None:
        """Begin TLS on a plaintext connection: what was said leaves first, what was read before is dropped."""
        self.flush()
        self.secure = True
        self.transport.startTLS(self.host.tls_context())
        self.engine.tls_started()

    def client_certificate(self) -> bool:
        """Whether the client showed a certificate that verified; costs nothing."""
        return self._certificate is not None

    def tls_facts(self) -> TlsFacts | None:
        """What was negotiated, once the handshake is over; without bindings."""
        if not self._shaken or self._lost:
            return None
        handle = self.transport.getHandle()
        name = handle.get_servername()
        return TlsFacts(
            version=handle.get_protocol_version_name(),
            cipher=handle.get_cipher_name() or "",
            server_name=name.decode("ascii", "ignore") if name else None,
            peer_certificate=self._certificate,
        )

    def channel_facts(self) -> TlsFacts | None:
        """The same with channel bindings, for a login that needs them."""
        facts = self.tls_facts()
        return None if facts is None else evolve(facts, bindings=self.transport.getHandle().bindings())

    async def replace_peer(self, peer: Peer) -> None:
        """Another client is at the far end from now on (XCLIENT): it is counted, admitted and greeted like one that
        connects, or refused and the connection closed.  The session has forgotten the last one; a certificate was the
        proxy's, and logs nobody else in."""
        self._certificate = None
        words = await self.host.replace(self, peer)
        if words:
            self.write(words)
            self.close()
        else:
            self.connected_at = self.host.monotonic()
            self.session.greet()

    def abort(self) -> None:
        """Close at once, whatever is in flight."""
        self._closing = True
        if not self._lost:
            self.transport.abortConnection()

    # ------------------------------------------------------------ for the virtual server

    def check(self, now: float) -> None:
        """Close the connection if it is idle for too long; called from the server's tick.

        Who takes octets is not idle, however slowly (S-061).
        """
        if self._lost:
            return
        if self._closing:
            # The peer does not take our last words or never ends its half of TLS.
            if not self._taking(now) and now > self.active_at + CLOSING:
                self.transport.abortConnection()
            return
        if self._blocked:
            self._taking(now)
        if self.layer is not None and now > self.active_at + RESTING:
            self.layer.rest()
        limit = self._limit()
        if limit is not None and now >= limit and not self._blocked and self._taking(now, True):
            limit = self._limit()
        if limit is None or now < limit:
            return
        if self.secure and not self._shaken:
            self.abort()
        elif self._coroutine is None or self._more is not None:
            self.dismiss("idle")
        elif self._blocked:
            # The peer takes nothing of a pending answer: nothing polite can reach it either.
            self.abort()

    def _limit(self) -> float | None:
        """The monotonic instant at which patience ends."""
        if self.secure and not self._shaken:
            return self.active_at + HANDSHAKE
        try:
            return self.session.limit(self.connected_at, self.active_at)
        except Exception:
            # One broken session must not keep the others from being looked at.
            self._broken(Failure())
            return None

    def _taking(self, now: float, first: bool = False) -> bool:
        """Whether the peer has taken output since the last look; `first`: or there is some that was not looked at.

        What grows between two looks is ours, and tells nothing of the peer.
        """
        left, self._unsent = self._unsent, unsent(self.transport)
        if self._unsent < left or (first and self._unsent and not left):
            self.active_at = now
            return True
        return False
