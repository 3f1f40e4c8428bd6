"""The client's side of SMTP and LMTP (floor 2): RFC 5321, 2033, 2920, 3207, 4954; the message is in `smtp_sending`.

A dialogue is a generator without input or output.  It yields wishes:

    Ask         send these octets (perhaps none) and resume with the next reply
    Handshake   begin TLS; resume with nothing when it is up
    Body        send the message; resume with nothing when its last octet is on its way

Whoever drives it throws a MailError into it where a wish cannot be met.  What a server says never makes a dialogue
raise anything but a MailError.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import frozen

from ..errors import AuthenticationFailed, TryLater
from ..values import ClientContext, Outcome, Reply
from .sasl.base import decode, encode
from .smtp_features import Features, read_features
from .smtp_replies_reader import MAX_AUTH_LINE, MAX_LINE, PeerLost, ReplyReader, garbled, status_of, words

#: Seconds to wait for replies (RFC 5321 section 4.5.3.2), and for room for a further block of a message.
GREETING, COMMAND, DATA, BLOCK, DOT = 300.0, 300.0, 120.0, 180.0, 600.0
#: What ends a connection; nobody waits for the answer, which tells nothing.
QUIT = b"QUIT\r\n"
#: RFC 4954 section 4: an AUTH command with its initial response is no longer than other commands.
MAX_AUTH = 512
#: Challenges of one login.
MAX_ROUNDS = 10


@frozen
class Ask:
    """Send `octets` and wait at most `seconds` for a reply; the driver may be less patient."""

    octets: bytes
    seconds: float = COMMAND


@frozen
class Handshake:
    """Begin TLS now."""


@frozen
class Body:
    """Send the message: with dots doubled and a dot at the end, or (`raw`) its octets as they are."""

    raw: bool = False


Wish = Ask | Handshake | Body
#: A dialogue that ends with nothing, and one that ends with outcomes.
Talk = Generator[Wish, Any, None]
Sending = Generator[Wish, Any, list[Outcome]]


class Unwilling(TryLater):
    """The server does not want to serve now; another one may."""

    status = "4.3.2"


class SmtpClient:
    """One connection to a server.

    `features` are those of the last EHLO; `secure`: TLS is up; `over`: the connection is good for nothing more;
    `dirty`: a transaction may be open; `doubt`: the message was sent and its fate is not known; `sent` counts messages.
    `excuse`: a 530 (RFC 3207, RFC 4954) is no refusal of the message but of how this connection was made.
    """

    def __init__(self, lmtp: bool = False, secure: bool = False) -> None:
        self.lmtp = lmtp
        self.secure = secure
        self.features = Features()
        self.reader = ReplyReader()
        self.over = self.dirty = self.doubt = False
        self.sent = 0
        self.excuse = ""

    # ------------------------------------------------------------ for dialogues

    def hear(
        self, octets: bytes, seconds: float = COMMAND, stage: str = "", command: bytes = b""
    ) -> Generator[Wish, Any, Reply]:
        """Ask.  A 421 may come at any time and ends the connection (RFC 5321 section 3.8): raises PeerLost.

        `stage` is for whoever reads that nothing came: "after RCPT"; where it is not given, the `command` that is
        answered, or what `octets` begin with.
        """
        if octets:
            self.quiet()
        try:
            # Replies to a group of commands come together, and then nobody has to be asked for them.
            reply = None if octets else self.reader.next()
            if reply is None:
                reply = yield Ask(octets, seconds)
        except PeerLost as error:
            self.over = True
            raise PeerLost(f"{error.text} {stage or after(command or octets)}", error.status) from error
        if reply.code == 421:
            self.over = True
            raise PeerLost(words(reply), status_of(reply))
        return reply

    def quiet(self) -> None:
        """Before something is said: nobody has answered it yet, else all further replies would be taken for others'.

        Raises PeerLost.
        """
        if self.reader.buffered:
            self.over = True
            reply = self.reader.next()
            if reply is not None and reply.code == 421:
                raise PeerLost(words(reply), status_of(reply))
            raise garbled("a reply to nothing" if reply is None else f"unexpected {words(reply)}")

    def wrong(self, reply: Reply) -> PeerLost:
        """A reply that makes no sense here: who says it and we do not mean the same."""
        self.over = True
        return garbled(f"unexpected {words(reply)}")

    # ------------------------------------------------------------ dialogues

    def greet(self, name: str) -> Talk:
        """Wait for the greeting, say who we are.  Raises Unwilling, PeerLost."""
        reply = yield from self.hear(b"", GREETING, "before its greeting")
        if reply.code != 220:
            if reply.code // 100 in (2, 3):
                raise self.wrong(reply)
            self.over = True
            raise Unwilling(words(reply), _later(reply))
        yield from self.hello(name)

    def hello(self, name: str) -> Talk:
        """EHLO, or HELO to a server that does not know it (RFC 5321 section 3.2); LHLO (RFC 2033 section 4.1)."""
        self.features = Features()
        spelt = name.encode("ascii", "replace")
        verb = b"LHLO" if self.lmtp else b"EHLO"
        reply = yield from self.hear(b"%b %b\r\n" % (verb, spelt))
        if reply.code == 250:
            self.features = read_features(reply)
            return
        if reply.code // 100 == 5 and not self.lmtp:
            reply = yield from self.hear(b"HELO %b\r\n" % spelt)
            if reply.code == 250:
                return
        if reply.code // 100 in (2, 3):
            raise self.wrong(reply)
        raise Unwilling(words(reply), _later(reply))

    def start_tls(self, name: str) -> Talk:
        """STARTTLS, and say who we are again (RFC 3207).  Raises Unwilling when the server will not, PeerLost.

        What was said before TLS is forgotten; what comes behind the 220 and before TLS is somebody else's.
        """
        reply = yield from self.hear(b"STARTTLS\r\n")
        if reply.code != 220:
            raise Unwilling(words(reply), "4.7.5")
        if self.reader.buffered:
            self.over = True
            raise PeerLost("Octets in the clear behind the answer to STARTTLS: somebody is tampering", "4.7.5")
        self.features = Features()
        try:
            yield Handshake()
        except TryLater:
            self.over = True
            raise
        self.secure = True
        yield from self.hello(name)

    def login(self, mechanism: Any, context: ClientContext) -> Talk:
        """AUTH by an `IClientMechanism` (RFC 4954).

        Raises AuthenticationFailed, TryLater (the server cannot check now), PeerLost.
        """
        self.reader.line_limit = MAX_AUTH_LINE
        try:
            yield from self._login(mechanism, context)
        finally:
            self.reader.line_limit = MAX_LINE

    def _login(self, mechanism: Any, context: ClientContext) -> Talk:
        talk = mechanism.respond(context)
        said = next(talk)
        line = b"AUTH " + mechanism.name.encode("ascii")
        waiting = said.octets
        if waiting is not None:
            full = b"%b %b" % (line, encode(waiting) or b"=")
            if len(full) + 2 <= MAX_AUTH:
                line, waiting = full, None
        for _ in range(MAX_ROUNDS):
            reply = yield from self.hear(line + b"\r\n", stage="after AUTH")
            if reply.code != 334:
                break
            challenge = decode(reply.lines[0].encode("ascii", "replace")) if len(reply.lines) == 1 else None
            try:
                if challenge is None:
                    raise AuthenticationFailed("The server's challenge makes no sense")
                if waiting is not None:
                    line, waiting = encode(waiting), None
                    continue
                said = talk.send(challenge)
            except StopIteration:
                yield from self._cancel()
                raise AuthenticationFailed("The server asks for more than the mechanism has") from None
            except AuthenticationFailed:
                yield from self._cancel()
                raise
            line = encode(said.octets or b"")
        self._judge(reply, said.final and waiting is None)

    def _cancel(self) -> Talk:
        """Give up an exchange."""
        yield from self.hear(b"*\r\n")

    def _judge(self, reply: Reply, final: bool) -> None:
        """The answer that ends a login."""
        kind = reply.code // 100
        if reply.code == 235:
            if not final:
                # Whoever says so does not know the password: an impostor, who would be given our mail.
                self.over = True
                raise AuthenticationFailed("The server did not prove itself")
        elif kind == 4:
            raise TryLater(words(reply), status_of(reply))
        elif kind == 5:
            raise AuthenticationFailed(words(reply), status_of(reply))
        else:
            raise self.wrong(reply)


def after(command: bytes) -> str:
    """When something happened: "after RCPT"."""
    return f"after {command[:10].split()[0].decode('ascii', 'replace')}" if command.strip() else "in a dialogue"


def _later(reply: Reply) -> str:
    """A temporary status: what one server refuses for good (RFC 7504) the next may take."""
    status = status_of(reply)
    return "4" + status[1:]
