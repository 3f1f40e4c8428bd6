"""Reaching other servers (floor 3): the one place where connections are made, and looked after."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.error import TimeoutError
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from ..errors import TryLater
from ..wire.smtp_client import SmtpClient
from ..wire.smtp_replies_reader import PeerLost
from .client_tls import ClientTls
from .outgoing import Outgoing, Patient

#: Seconds to reach one address.
CONNECT = 30.0
#: Seconds without a sign of the peer (S-115).
IDLE = 600.0
#: Seconds between two looks at the connections.
TICK = 1.0


class Unreachable(TryLater):
    """Nobody answers at an address."""

    status = "4.4.1"


class _Factory(ClientFactory):
    """Twisted's view of one attempt to connect."""

    noisy = False

    def __init__(self, made: Outgoing) -> None:
        self._made = made

    def buildProtocol(self, addr: Any) -> Outgoing:
        """Twisted: connected."""
        return self._made

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Twisted: not to be reached."""
        if not self._made._up.called:
            self._made._up.errback(Unreachable(f"Cannot connect: {_why(reason.value)}"))


def _why(error: Any) -> str:
    """Why there is no connection, in few words."""
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT:.0f} seconds"
    number = getattr(error, "osError", None)
    return os.strerror(number).lower() if isinstance(number, int) else "refused by the network"


class Connector:
    """Connects to other servers, and looks after all connections that there are.

    `idle` are the seconds of S-115, `source` the local address to connect from ("": any), `tls` makes contexts.
    """

    def __init__(
        self, reactor: Any, monotonic: Callable[[], float], tls: ClientTls | None = None, *, idle: float = IDLE,
        source: str = "",
    ) -> None:  # fmt: skip
        self.monotonic = monotonic
        self.idle = idle
        self.tls = tls or ClientTls()
        #: Called at every tick with the monotonic instant.
        self.on_tick: list[Callable[[float], Any]] = []
        self._reactor, self._source = reactor, source
        self._live: set[Patient] = set()
        self._ticking: Any = None

    def __len__(self) -> int:
        return len(self._live)

    async def connect(self, address: str, port: int, lmtp: bool = False) -> Outgoing:
        """A connection to an IP address (or a UNIX socket: a path), nothing said yet.  Raises Unreachable."""
        made = Outgoing(self, SmtpClient(lmtp))
        factory = _Factory(made)
        if address.startswith("/"):
            attempt = self._reactor.connectUNIX(address, factory, timeout=CONNECT)
        else:
            source = (self._source, 0) if self._source else None
            attempt = self._reactor.connectTCP(address, port, factory, timeout=CONNECT, bindAddress=source)
        reached = False
        try:
            await made._up
            reached = True
        finally:
            if not reached and attempt.state != "disconnected":
                attempt.disconnect()
        return made

    def joined(self, made: Patient) -> None:
        """A connection is there."""
        self._live.add(made)
        if self._ticking is None:
            self._ticking = self._reactor.callLater(TICK, self._tick)

    def left(self, made: Patient) -> None:
        """A connection is gone."""
        self._live.discard(made)

    def _tick(self) -> None:
        self._ticking = None
        now = self.monotonic()
        for one in list(self._live):
            one.check(now)
        for watcher in self.on_tick:
            watcher(now)
        if self._live:
            self._ticking = self._reactor.callLater(TICK, self._tick)

    def stop(self) -> None:
        """Cut off all connections."""
        for one in list(self._live):
            one.abort(PeerLost("This server is stopping", "4.3.2"))
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
