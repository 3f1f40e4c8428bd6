"""Before the greeting (floor 2a): a client waits outside while a proxy's header is read, or somebody is asked about it.

A front is there only when there is something to wait for.  It ends in a `Connection`, which takes over the transport,
or in last words, after which it closes.  While it waits nothing is read (but for the header), so that what a denied
client sent is never a command.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..values import Peer
from ..wire.proxy import BadHeader, ProxyHeader, read_header
from .connection import CLOSING, Connection

log = Logger()

#: How the waiting ends: a connection, or last words (b"": close without a word).
Outcome = Connection | bytes


class Front(TwistedProtocol):
    """One client that waits.  `left(front)` is called once, when it is one no more.

    `words(incident)` gives the last words for a bug.
    """

    noisy = False

    def __init__(
        self, peer: Peer, monotonic: Callable[[], float], left: Callable[[Front], None], words: Callable[[str], bytes]
    ) -> None:
        self.peer = peer
        self._monotonic, self._left, self._words = monotonic, left, words
        self._coroutine: Coroutine[Any, Any, Outcome] | None = None
        self._header: Deferred[tuple[ProxyHeader, int]] | None = None
        self._read = b""
        self._paused = self._over = self._closing = False
        self._until, self._farewell = float("inf"), b""

    # ------------------------------------------------------------ for the virtual server

    def start(self, work: Coroutine[Any, Any, Outcome]) -> Outcome | None:
        """Work until it ends, which gives the outcome, or waits; before there is a transport."""
        self._coroutine = work
        return self._step()

    def wait(self, seconds: float, words: bytes) -> None:
        """Patience from now on, and what is said when it ends (or the server stops)."""
        self._until, self._farewell = self._monotonic() + seconds, words

    async def header(self) -> ProxyHeader:
        """What the proxy says.  Raises BadHeader."""
        self._header = Deferred()
        header, size = await self._header
        self._header = None
        self._read = self._read[size:]
        return header

    def check(self, now: float) -> None:
        """Called from the server's tick."""
        if self._closing:
            if now > self._until:
                self.abort()
        elif now >= self._until:
            self.dismiss("idle")

    def finish(self, why: str) -> None:
        """As `Connection.finish`."""
        self.dismiss(why)

    def dismiss(self, why: str) -> None:
        """Nothing is waited for any more."""
        if not self._over:
            self._drop_work()
            self._conclude(self._farewell)

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    @property
    def closing(self) -> bool:
        """Whether the last words were said."""
        return self._closing

    # ------------------------------------------------------------ for the transport

    def connectionMade(self) -> None:
        """Twisted: the transport is there."""
        if self._header is None:
            self._pause()

    def dataReceived(self, data: bytes) -> None:
        """Twisted: octets came; they are the header's, or nobody's."""
        header = self._header
        if header is None or header.called or self._over:
            return
        self._read += data
        try:
            found = read_header(self._read)
        except BadHeader:
            header.errback()
        else:
            if found is not None:
                header.callback(found)
        if header.called and not self._over:
            self._pause()

    def connectionLost(self, reason: Failure = Failure(ConnectionError("gone"))) -> None:
        """Twisted: the transport is gone."""
        self._over = True
        self._drop_work()
        self._left(self)

    # ------------------------------------------------------------ the work

    def _step(self, failure: Failure | None = None) -> Outcome | None:
        coroutine = self._coroutine
        if coroutine is None:
            return None
        try:
            waited = coroutine.send(None) if failure is None else failure.throwExceptionIntoGenerator(coroutine)
        except StopIteration as done:
            self._coroutine = None
            outcome: Outcome = done.value
            return outcome
        except Exception:
            self._coroutine = None
            incident = uuid4().hex[:12]
            log.failure("incident {incident} with {peer}", incident=incident, peer=self.peer.host)
            return self._words(incident)
        waited.addBoth(self._resume)
        return None

    def _resume(self, result: Any) -> Any:
        failed = isinstance(result, Failure)
        outcome = self._step(result if failed else None)
        if outcome is not None and not self._over:
            self._conclude(outcome)
        return None if failed else result

    def _conclude(self, outcome: Outcome) -> None:
        self._over = True
        if isinstance(outcome, bytes):
            self._closing = True
            self._until = self._monotonic() + CLOSING
            if outcome:
                self.transport.write(outcome)  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self._hand_over(outcome)

    def _hand_over(self, connection: Connection) -> None:
        """The transport is the connection's from now on, with what was read behind the header."""
        transport: Any = self.transport
        self.transport = None
        transport.protocol = connection
        self._left(self)
        connection.makeConnection(transport)
        if self._read:
            # Behind TLS that has just begun, it belongs to the handshake.
            transport.protocol.dataReceived(self._read)
            self._read = b""
        if self._paused:
            transport.resumeProducing()

    def _pause(self) -> None:
        self._paused = True
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def _drop_work(self) -> None:
        """What was asked is not wanted any more."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
