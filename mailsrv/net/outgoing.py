"""One connection to another server (floor 3): drives the dialogues of `wire/smtp_client.py`, with patience.

Nothing waits for ever: each reply has its instant (monotonic; the connector's tick looks at it), and a message as a
whole has one too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import MailError, TryLater
from ..interfaces import IContent
from ..values import Reply
from ..wire.smtp_client import BLOCK, QUIT, Ask, Body, Handshake, SmtpClient
from ..wire.smtp_dots import DotStuffer
from ..wire.smtp_replies_reader import PeerLost, garbled
from .bindings import bindings_of, server_end_point
from .send import send, unsent, without_delay

if TYPE_CHECKING:
    from .client import Connector

#: Seconds for a TLS handshake.
HANDSHAKE = 60.0
#: A message must be gone within so many seconds, or at so many octets a second on the whole.
MESSAGE, RATE = 3600.0, 1024
#: Octets of a message that are read and handed to the transport at once.
PIECE = 64 * 2**10
#: A connection that was closed in order is cut off after so many seconds.
CLOSING = 10.0


class TlsFailed(TryLater):
    """No TLS with that server: no handshake, or a certificate that is not believed."""

    status = "4.7.5"


@implementer(IPushProducer, IHandshakeListener)
class Patient(TwistedProtocol):
    """The waiting half of a connection: what the transport says, and whose patience ends when.

    `lost`: the connection is gone, or being closed.
    """

    def __init__(self, home: Connector, client: SmtpClient, implicit: Any = None) -> None:
        self.home = home
        self.client = client
        self.lost = False
        #: Called once when the connection is gone.
        self.on_lost: Callable[[], Any] | None = None
        self._implicit = implicit
        self._up: Deferred[None] = Deferred()
        self._waiting: Deferred[None] | None = None
        self._why: MailError | None = None
        self._blocked = self._handshaking = self._closing = False
        self._deadline = self._latest = float("inf")
        self._unsent = 0

    # ------------------------------------------------------------ for the transport

    def connectionMade(self) -> None:
        """Twisted: connected."""
        without_delay(self.transport)
        self.transport.registerProducer(self, True)
        self.home.joined(self)
        self._up.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: the server said something."""
        self.client.reader.receive(data)
        if self.client.reader.flooded:
            self.abort(garbled("more than was asked for"))
        self._wake()

    def handshakeCompleted(self) -> None:
        """Twisted: TLS is up."""
        self._handshaking = False
        self._wake()

    def connectionLost(self, reason: Failure = Failure(ConnectionError("gone"))) -> None:
        """Twisted: the transport is gone."""
        if self._handshaking and self._why is None:
            self._why = TlsFailed(f"TLS failed: {_tls_reason(reason, self._implicit)}")
        self.lost = True
        self.home.left(self)
        self._wake()
        if self.on_lost is not None:
            self.on_lost()

    def pauseProducing(self) -> None:
        """Twisted: the server reads too slowly."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """Twisted: there is room again."""
        self._blocked = False
        self._wake()

    def stopProducing(self) -> None:
        """Twisted: nothing more can be written."""
        self._blocked = False
        self._wake()

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Close in order: what was said still leaves."""
        if not self.lost and not self._closing:
            self._closing = self.lost = True
            self._deadline = self.home.monotonic() + CLOSING
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self, why: MailError | None = None) -> None:
        """Cut the connection off; whoever waits for it is told `why`."""
        if self._why is None:
            self._why = why
        self.lost = True
        if self.transport is not None:
            self.transport.abortConnection()

    def check(self, now: float) -> None:
        """The tick: end what has taken too long."""
        if now < self._deadline and now < self._latest:
            return
        left, self._unsent = self._unsent, unsent(self.transport)
        if now < self._latest and self._unsent and (not left or self._unsent < left):
            # It still takes octets, if slowly; or there are some, and nobody has looked before.
            self._deadline = now + min(BLOCK, self.home.idle)
            return
        late = "The server did not answer in time"
        self.abort(TlsFailed(late) if self._handshaking else PeerLost(late))

    # ------------------------------------------------------------ waiting

    def _say(self, octets: bytes) -> None:
        if self.lost:
            raise self._gone()
        send(self.transport, octets)

    def _hurry(self, seconds: float) -> None:
        self._deadline = self.home.monotonic() + min(seconds, self.home.idle)
        self._unsent = 0

    async def _wait(self) -> None:
        """Until something happens.  Raises PeerLost, TlsFailed when the connection is gone."""
        if self.lost:
            raise self._gone()
        self._waiting = Deferred()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _gone(self) -> MailError:
        return self._why or PeerLost("The server closed the connection")


class Outgoing(Patient):
    """One connection to a server.  `client` is its engine."""

    # ------------------------------------------------------------ for the agent

    async def run(self, talk: Generator[Any, Any, Any], content: IContent | None = None, first: bytes = b"") -> Any:
        """Drive a dialogue to its end: what it returns, or the MailError that it raises.

        `content` is the message it sends; `first` its first octets, if they were read already.
        """
        step, argument = talk.send, None
        while True:
            try:
                wish = step(argument)
            except StopIteration as done:
                return done.value
            step = talk.send
            try:
                if type(wish) is Ask:
                    argument = await self._ask(wish)
                elif type(wish) is Body:
                    argument = await self._body(wish, content, first)
                else:
                    argument = await self._handshake(wish)
            except MailError as error:
                step, argument = talk.throw, error

    async def shake(self) -> None:
        """TLS from the start.  Raises TlsFailed, PeerLost."""
        await self._handshake(Handshake())
        self.client.secure = True

    def bindings(self) -> dict[str, bytes]:
        """Channel bindings, as in TlsFacts; {} without TLS."""
        if not self.client.secure or self.lost:
            return {}
        handle = self.transport.getHandle()
        certificate = handle.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return {}
        return bindings_of(handle, server_end_point(certificate.public_bytes(Encoding.DER)))

    def quit(self) -> None:
        """Take leave, if the server still listens, and close."""
        if not self.lost and not self.client.over:
            send(self.transport, QUIT)
        self.client.over = True
        self.close()

    def patience(self, size: int) -> None:
        """A message of so many octets begins; or (-1) it is over."""
        self._latest = float("inf") if size < 0 else self.home.monotonic() + max(MESSAGE, size / RATE)

    # ------------------------------------------------------------ wishes

    async def _ask(self, wish: Ask) -> Reply:
        if wish.octets:
            self._say(wish.octets)
        reader = self.client.reader
        reply = reader.next()
        if reply is None:
            self._hurry(wish.seconds)
            while reply is None:
                await self._wait()
                reply = reader.next()
            self._deadline = float("inf")
        return reply

    async def _body(self, wish: Body, content: IContent | None, piece: bytes) -> None:
        assert content is not None, "a message is sent"
        size, at = content.size, 0
        dots = None if wish.raw else DotStuffer()
        lead = b"BDAT %d LAST\r\n" % size if dots is None else b""
        while True:
            if not piece and at < size:
                piece = await content.read(at, PIECE)
                if not piece:
                    # Half a message with an end would be a whole one to the server.
                    raise TryLater("The message cannot be read to its end")
            at += len(piece)
            out = lead + piece if dots is None else dots.take(piece)
            if at >= size:
                # The last words that may still be held back.
                self.client.quiet()
                self._say(out if dots is None else out + dots.finish())
                return
            lead = piece = b""
            self.client.quiet()
            self._say(out)
            await self._room()

    async def _room(self) -> None:
        """Wait until a slow server has taken what was sent."""
        if self._blocked:
            self._hurry(BLOCK)
            while self._blocked:
                await self._wait()
                self.client.quiet()
            self._deadline = float("inf")
        if self.lost:
            raise self._gone()

    async def _handshake(self, wish: Handshake) -> None:
        self._handshaking = True
        self.transport.startTLS(self._implicit)
        self._hurry(HANDSHAKE)
        while self._handshaking:
            await self._wait()
        self._deadline = float("inf")

    def use_tls(self, creator: Any) -> None:
        """What a Handshake will use."""
        self._implicit = creator


def _tls_reason(reason: Failure, creator: Any) -> str:
    """OpenSSL's words, or those of the judgement of a certificate; nothing that a peer may choose but that."""
    value = reason.value
    found = value.args[0] if value is not None and value.args else ""
    if isinstance(value, VerificationError):
        return "the certificate is for another name"
    if isinstance(value, SSL.Error) and isinstance(found, list) and found:
        # Tuples of library, function, reason.
        return getattr(creator, "reason", "") or str(found[-1][-1])
    name = type(value).__name__
    return {"ConnectionDone": "the server closed the connection", "ConnectionLost": "the connection was cut"}.get(
        name, name
    )
