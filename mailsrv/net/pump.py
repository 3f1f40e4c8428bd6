"""The working half of a connection (floor 2a): one coroutine that takes events and lets the session answer.

One coroutine at a time works for a connection: *take an event, await the session, write what it said*.  It ends
when the engine has no event, so an idle connection holds no coroutine.  All that was said in answer to one read
leaves in one write.  While an answer is awaited further input stays in the engine; above the limit the peer is
made to wait (TCP back-pressure); output waits likewise for a slow peer.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..values import Peer
from ..wire.engine import NEED_DATA, PAUSED, Engine
from .deflate import Corrupt, Deflate
from .roles import ConnectionSession, Host
from .send import send

log = Logger()

#: A handler that worked longer than this in one turn lets the others go first (seconds; `breathe`).  The reactor may
#: give a connection two turns before it looks at the others (output and a timer), and the last block comes on top.
SLICE = 0.004
#: Events of one read between two looks at the clock.
TURNS = 32
#: Octets of output that `drain` does not keep for the end of the turn.
WORTH_SENDING = 16 * 1024


class Pump(TwistedProtocol):
    """The working half of a connection: one coroutine that takes events and lets the session answer."""

    noisy = False
    session: ConnectionSession
    engine: Engine
    # What few connections have is theirs alone: Python keeps the attributes of objects of one class packed, about 28.
    #: Between the transport and all else here; the session puts it there, after `flush`.
    layer: Deflate | None = None
    _farewell = ""

    def __init__(self, host: Host, peer: Peer) -> None:
        self.host = host
        self.peer = peer
        self._out: list[bytes] = []
        self._held = 0
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._blocked = self._reading_paused = self._closing = self._lost = self._eof = self._ended = False
        self._drained: Deferred[None] | None = None
        self._more: Deferred[None] | None = None
        self._turn_began = 0.0
        # Octets in the middle of a command, and of output that the peer had not taken when that was last looked at.
        self._pieces = self._unsent = 0
        #: Of all that was read and said, as it is on the wire but for TLS.
        self.octets_in = self.octets_out = 0
        self.connected_at = self.active_at = host.monotonic()

    def close(self) -> None:
        """Flush and close in order; nothing more is read, and nothing more can be said."""
        if not self._closing:
            self.flush()
            self._closing = True
            self.active_at = self.host.monotonic()
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # ------------------------------------------------------------ the end

    def finish(self, why: str) -> None:
        """Dismiss after the command under way, and the message that comes in; at once when there is none."""
        if self.busy or self.session.midway:
            self._farewell = why
        else:
            self.dismiss(why)

    def dismiss(self, why: str) -> None:
        """Say the protocol's last words and close (shutdown, termination, idle)."""
        if self._closing:
            return
        self.session.dismiss(why)
        self.close()

    # ------------------------------------------------------------ for the session

    def write(self, octets: bytes) -> None:
        """Say something; it leaves with the rest of this turn's answers.  After the last words it is dropped."""
        if not self._closing:
            self._out.append(octets)
            self._held += len(octets)

    def flush(self) -> None:
        """Hand what was said to the transport in one write."""
        out = self._out
        if out:
            if not self._lost:
                octets = b"".join(out)
                if self.layer is not None:
                    octets = self.layer.deflate(octets)
                self.octets_out += len(octets)
                send(self.transport, octets)
            out.clear()
            self._held = 0

    async def drain(self) -> None:
        """Wait until a slow peer has made room for what was said so far, if that is worth sending by itself.

        Little stays for the end of the turn: it then leaves in one piece with what follows.  Raises
        ConnectionResetError when the peer is gone.
        """
        if self._held >= WORTH_SENDING:
            self.flush()
        while self._blocked and not self._lost:
            if self._drained is None:
                # Two may wait: what is pushed, and the command that comes meanwhile.
                self._drained = Deferred()
            await self._drained
        if self._lost:
            raise ConnectionResetError("the peer is gone")

    async def breathe(self) -> None:
        """Let other connections have their turn if this one has had its share."""
        if self.host.monotonic() - self._turn_began > SLICE:
            turn: Deferred[None] = Deferred()
            self.host.call_soon(turn.callback, None)
            await turn
            if self._lost:
                raise ConnectionResetError("the peer is gone")

    async def next_event(self) -> Any:
        """The next event of the engine, waited for in the middle of a command (SASL, APPEND, DATA).

        Raises ConnectionResetError when the peer is gone or was dismissed meanwhile.
        """
        while True:
            event = self.engine.next_event()
            if event is not NEED_DATA and event is not PAUSED:
                return event
            if event is NEED_DATA and self._pull():
                continue
            if self._farewell and not self.session.midway:
                self.dismiss(self._farewell)
            if self._eof or self._closing:
                raise ConnectionResetError("the peer is gone")
            self.flush()
            self._read_on()
            self._more = Deferred()
            await self._more

    @property
    def busy(self) -> bool:
        """Whether a command is being worked on."""
        return self._coroutine is not None and self._more is None

    @property
    def closing(self) -> bool:
        """Whether the last words were said."""
        return self._closing

    # ------------------------------------------------------------ the work

    def _start(self) -> None:
        self._turn_began = self.host.monotonic()
        self._coroutine = self._pump()
        self._step()

    async def _pump(self) -> None:
        session, handled = self.session, 0
        while not self._closing:
            if self._farewell and not session.midway:
                self.dismiss(self._farewell)
                return
            if self._blocked:
                # Who takes no answers gets no more of them.
                await self.drain()
            event = self.engine.next_event()
            if event is NEED_DATA or event is PAUSED:
                if event is PAUSED or self.layer is None or not self._pull():
                    return
                await self.breathe()
                continue
            work = session.handle(event)
            if work is not None:
                await work
            # Complete commands are activity, octets of one that may never be complete are not (S-060); and who waited
            # for an answer was not idle.
            self.active_at = self._turn_began
            handled += 1
            if handled % TURNS == 0:
                # Thousands of small commands fit into one read: their answers must be taken, others have their turn.
                self.flush()
                await self.breathe()

    def _step(self, failure: Failure | None = None) -> None:
        """Work until the coroutine ends or waits; what was said so far leaves before a wait."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        try:
            waited = coroutine.send(None) if failure is None else failure.throwExceptionIntoGenerator(coroutine)
        except StopIteration:
            self._coroutine = None
        except ConnectionResetError:
            self._coroutine = None
            self.close()
        except Exception:
            self._coroutine = None
            self._broken(Failure())
        else:
            self.flush()
            waited.addBoth(self._resume)
            return
        if self._lost:
            self._gone()
        elif self._eof:
            self.close()
        elif not self._closing:
            if self._out:
                self.flush()
            if self._reading_paused:
                self._read_on()

    def _resume(self, result: Any) -> Any:
        """A wait is over.  The coroutine reads a result from the Deferred itself; a failure is raised in it, and
        nobody else has to hear of that."""
        self._turn_began = self.host.monotonic()
        if isinstance(result, Failure):
            self._step(result)
            return None
        self._step()
        return result

    def _pull(self) -> bool:
        """Give the engine more of what came deflated; whether there was more."""
        layer = self.layer
        if layer is None or self._closing or not layer.pending:
            return False
        try:
            self.engine.receive(layer.inflate())
        except Corrupt:
            self.dismiss("input")
        return True

    def _read_on(self) -> None:
        """The engine has used up its input: what waits in the kernel may come."""
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resumeProducing()

    def _wake(self) -> None:
        drained, self._drained = self._drained, None
        more, self._more = self._more, None
        for waiting in (drained, more):
            if waiting is not None:
                waiting.callback(None)

    def _broken(self, failure: Failure) -> None:
        incident = uuid4().hex[:12]
        log.failure("incident {incident} with {peer}", failure=failure, incident=incident, peer=self.peer.host)
        if not self._closing:
            self.session.fail(incident)
            self.close()

    def _gone(self) -> None:
        if not self._ended:
            self._ended = True
            self.session.closed()
            self.host.left(self)
