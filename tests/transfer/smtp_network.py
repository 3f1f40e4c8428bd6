"""A network in memory: our client at one end, a whole server of a bed or a scripted one at the other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailsrv.auth.outbound import choose
from mailsrv.message.content import MemoryContent
from mailsrv.net.client import Connector
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.transfer.connections import Connections
from mailsrv.transfer.smtp_agent import SmtpAgent
from mailsrv.transfer.smtp_open import Opener
from mailsrv.values import Address, Hop, Outcome, Peer, Queued, Recipient
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.sasl import mechanisms

CONTENT = b"From: a@example.com\r\nSubject: hello\r\n\r\n.dot\r\ntext\r\n"
MX = Hop("mx.example.org", ("192.0.2.25",))


class Wire:
    """One connection; the client's transport.  `peer` takes octets and a way to answer: (octets) -> octets."""

    def __init__(self, network: Network, address: str) -> None:
        self.network, self.address = network, address
        self.protocol: Any = None
        self.said = b""
        self.outbox = b""
        self.inbox = b""
        self.closing = self.closed = self.tls = False
        self.producer: Any = None

    def write(self, octets: bytes) -> None:
        assert not self.closed
        self.said += octets
        self.outbox += octets

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def startTLS(self, context: Any) -> None:
        self.tls = True
        self.network.handshake(self)

    def getHandle(self) -> Any:
        raise AssertionError("no TLS in memory")

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.lose()

    def lose(self) -> None:
        """Both ends see the end."""
        if not self.closed:
            self.closed = True
            self.hang_up()
            self.protocol.connectionLost(Failure(ConnectionDone()))

    # ------------------------------------------------------------ the server

    def begin(self) -> None:
        """The connection is there: a greeting, perhaps."""

    def hear(self, octets: bytes) -> None:
        """The client said something."""

    def hang_up(self) -> None:
        """The connection is gone."""

    def turn(self) -> bool:
        """Carry what is on its way; whether there was anything."""
        if self.closed:
            return False
        moved = False
        if self.outbox:
            octets, self.outbox = self.outbox, b""
            self.hear(octets)
            moved = True
        if self.inbox and not self.closed:
            octets, self.inbox = self.inbox, b""
            self.protocol.dataReceived(octets)
            moved = True
        if self.closing and not self.outbox and not self.closed:
            self.lose()
            moved = True
        return moved


class BedWire(Wire):
    """To a session of a bed."""

    server: MemoryTransport

    def begin(self) -> None:
        self.server = self.network.bed.connect(self.network.protocol, host="192.0.2.1")

    def hear(self, octets: bytes) -> None:
        self.server.send(octets)

    def hang_up(self) -> None:
        self.server.drop()

    def turn(self) -> bool:
        moved = super().turn()
        if not self.closed:
            self.inbox += self.server.take()
            if self.server.closed and not self.inbox:
                self.lose()
        return moved or bool(self.inbox and not self.closed)


class ScriptWire(Wire):
    """To a server that answers each line by a function: line -> octets, None to drop the connection."""

    def begin(self) -> None:
        self.lines = b""
        self.data = False
        self.commands: list[bytes] = []
        self.network.wires.append(self)
        self.answer = self.network.scripts.get(self.address, self.network.script)
        self.say(b"")

    def say(self, line: bytes) -> None:
        out = self.answer(line)
        if out is None:
            self.lose()
        else:
            self.inbox += out
            self.data = line == b"DATA" and out.startswith(b"354")

    def hear(self, octets: bytes) -> None:
        self.lines += octets
        while not self.closed:
            end = b"\r\n.\r\n" if self.data else b"\r\n"
            line, found, rest = self.lines.partition(end)
            if self.data and self.lines.startswith(b".\r\n"):
                line, found, rest = b"", end, self.lines[3:]
            if not found:
                return
            self.lines = rest
            if self.data:
                self.data = False
                line = b"."
            self.commands.append(line)
            self.say(line)


class Network(Clock):
    """A reactor with these servers; `settle` until nothing moves."""

    def __init__(self, kind: type[Wire] = ScriptWire, **settings: Any) -> None:
        super().__init__()
        self.kind = kind
        self.protocol = "smtp"
        self.settings = settings
        self.made: list[Wire] = []
        #: Those that are not closed yet.
        self.live: list[Any] = []
        self.wires: list[Any] = []
        self.peak = 0
        self.refuse: set[str] = set()
        self.script: Callable[[bytes], bytes | None] = server()
        self.scripts: dict[str, Callable[[bytes], bytes | None]] = {}
        self._bed: Bed | None = None

    @property
    def bed(self) -> Bed:
        if self._bed is None:
            self._bed = Bed(**self.settings)
        return self._bed

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        connector = type("C", (), {"state": "disconnected", "disconnect": lambda self: None})()
        if host in self.refuse:
            self.callLater(0, factory.clientConnectionFailed, connector, Failure(ConnectionRefusedError()))
            return connector
        wire = self.kind(self, host)
        self.made.append(wire)
        self.live.append(wire)
        self.peak = max(self.peak, sum(not one.closed for one in self.live))
        wire.protocol = factory.buildProtocol(None)
        self.callLater(0, self._connected, wire)
        return connector

    def _connected(self, wire: Wire) -> None:
        wire.begin()
        wire.protocol.makeConnection(wire)

    def handshake(self, wire: Wire) -> None:
        self.callLater(0, wire.protocol.handshakeCompleted)

    def settle(self, seconds: float = 0.0) -> None:
        self.advance(seconds)
        for _ in range(100_000):
            self.live = [wire for wire in self.live if not wire.closed]
            moved = any([wire.turn() for wire in list(self.live)])
            if self._bed is not None:
                self._bed.settle()
                moved = moved or any(wire.server.output for wire in self.live if not wire.closed)
            due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
            if due:
                self.advance(0)
            if not moved and not due:
                return
        raise AssertionError("the network does not come to rest")

    def run(self, coroutine: Coroutine[Any, Any, Any], seconds: float = 0.0) -> Any:
        """Its result, with the clock going on by at most so many seconds, one at a time."""
        done = self.start(coroutine)
        self.settle()
        while not done and seconds > 0:
            self.settle(1.0)
            seconds -= 1.0
        assert done, "it still waits"
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> list[Any]:
        """Begin; what it comes to will be in the list."""
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        return done


def server(**answers: bytes | None) -> Callable[[bytes], bytes | None]:
    """A script: the answer by verb in lower case; `greeting`, `dot`, `ehlo`.  What is not said is a good server's."""
    usual: dict[str, bytes | None] = {
        "greeting": b"220 mx.example.org\r\n",
        "ehlo": b"250-mx.example.org\r\n250 8BITMIME\r\n",
        "data": b"354 go\r\n",
        "quit": b"221 bye\r\n",
    }
    usual.update(answers)

    def answer(line: bytes) -> bytes | None:
        words = line.decode("latin-1").split(" ")
        verb = {"": "greeting", ".": "dot"}.get(words[0], words[0].lower())
        return usual.get(verb, b"250 ok\r\n")

    return answer


class Post:
    """An agent on a network.  `send(...)` gives the outcomes."""

    def __init__(self, network: Network, recipients: int | None = None, **limits: Any) -> None:
        self.network = network
        self.connector = Connector(network, network.seconds)
        self.connections = Connections(self.connector, **limits)
        wanted = [*mechanisms().values(), Ntlm(v1=False)]
        self.agent = SmtpAgent(
            Opener(
                self.connector, lambda: "client.example.com", partial(choose, wanted), lambda n: b"\x05" * n,
                network.seconds,
            ),
            self.connections,
            recipients=recipients,
        )  # fmt: skip

    def sending(
        self, to: list[str] | None = None, content: bytes = CONTENT, hops: tuple[Hop, ...] = (MX,), login: Any = None,
        destination: str = "example.org", parameters: dict[str, str] | None = None, **recipient: str,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        recipients = tuple(Recipient(address(one), dict(recipient)) for one in to or ["me@example.org"])
        row = Queued(
            1, "id", destination, address("a@example.com"), recipients, parameters=parameters or {}, size=len(content)
        )
        return self.agent.deliver(row, MemoryContent(content), hops, login)

    def send(self, *arguments: Any, seconds: float = 0.0, **more: Any) -> list[Outcome]:
        outcomes: list[Outcome] = self.network.run(self.sending(*arguments, **more), seconds)
        return outcomes


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def peer() -> Peer:
    return Peer("192.0.2.1", 40000)
