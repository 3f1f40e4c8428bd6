"""The SMTP server engine (floor 1): commands and bodies from octets (RFC 5321, RFC 2920, RFC 3207, RFC 4954).

The session says what a command means; the engine knows what it is.  After the session accepted DATA it calls
`start_body()`; after STARTTLS the engine is PAUSED until `tls_started()`; during AUTH each line is a response
until `auth_done()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from ..limits import Limits
from ..values import Address, Reply
from .buffer import Buffer, LineTooLong
from .engine import NEED_DATA, PAUSED
from .sasl import decode as read_base64
from .smtp_data import BodyReader
from .smtp_syntax import read_parameters, read_path

#: A base64 line of an AUTH exchange (RFC 4954 section 4: 12288 octets).
AUTH_LINE = 12 * 1024


@define
class Hello:
    """EHLO (`extended`) or HELO; `name` as the client gave it."""

    extended: bool
    name: str


@define
class Mail:
    """MAIL FROM; `path` None is ``<>``."""

    path: Address | None
    parameters: dict[str, str]


@define
class Rcpt:
    """RCPT TO."""

    path: Address
    parameters: dict[str, str]


@define
class Plain:
    """A command with nothing to read: DATA RSET NOOP QUIT STARTTLS HELP VRFY."""

    verb: str
    argument: str = ""


@define
class Auth:
    """AUTH; `initial` None without one, b"" for "="; `valid` False: it is not base64."""

    mechanism: str
    initial: bytes | None = field(repr=False)
    valid: bool = True


@define
class AuthResponse:
    """A response in an AUTH exchange; None: the client sent ``*``; `valid` False: it is not base64."""

    octets: bytes | None = field(repr=False)
    valid: bool = True


@define
class Body:
    """Octets of the message; with `last` the end was reached and `reader` tells what is wrong with them."""

    octets: bytes
    last: bool
    reader: BodyReader


@define
class Wrong:
    """What the client sent is no command: the reply to give."""

    reply: Reply


def _wrong(code: int, status: str, text: str) -> Wrong:
    return Wrong(Reply(code, status, (text,)))


class SmtpServerEngine:
    """See the module's head.  `buffered` counts octets received and not yet consumed."""

    __slots__ = ("_auth", "_body", "_buffer", "_limits", "_paused", "_skipping", "pipelined")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = Buffer()
        self._body: BodyReader | None = None
        self._auth = self._paused = self._skipping = False
        #: Whether octets were waiting behind the command given last.
        self.pipelined = False

    @property
    def buffered(self) -> int:
        """Octets waiting; the connection stops reading above `Limits.pending_octets`."""
        return len(self._buffer)

    def receive(self, octets: bytes) -> None:
        """Take what the transport read."""
        self._buffer.feed(octets)

    def eof(self) -> None:
        """Nothing more will come: an incomplete command or message never becomes an event."""

    def tls_started(self) -> None:
        """Forget every octet that came in clear (RFC 3207 section 4.2)."""
        self._buffer.clear()
        self._auth = self._paused = self._skipping = False
        self._body = None

    def start_body(self) -> None:
        """DATA was accepted: what follows is a message."""
        self._body = BodyReader(self._limits.text_line_octets)

    def start_auth(self) -> None:
        """The next lines are responses of a SASL exchange."""
        self._auth = True

    def auth_done(self) -> None:
        """The exchange is over, commands follow."""
        self._auth = False

    def next_event(self) -> Any:
        """The next event, NEED_DATA or PAUSED."""
        if self._paused:
            return PAUSED
        if self._body is not None:
            return self._next_body(self._body)
        if self._skipping:
            if not self._buffer.skip_line():
                return NEED_DATA
            self._skipping = False
            return _wrong(500, "5.5.2", "Line too long")
        try:
            line = self._buffer.line(AUTH_LINE if self._auth else self._limits.command_octets)
        except LineTooLong:
            self._skipping = True
            return self.next_event()
        if line is None:
            return NEED_DATA
        return self._response(line) if self._auth else self._command(line)

    def _next_body(self, body: BodyReader) -> Any:
        buffer = self._buffer
        octets = buffer.take_up_to(len(buffer))
        if not octets:
            return NEED_DATA
        piece = body.take(octets)
        if body.ended:
            self._body = None
            buffer.feed(body.rest)
            body.rest = b""
        elif not piece:
            return NEED_DATA
        return Body(piece, body.ended, body)

    def _response(self, line: bytes) -> AuthResponse:
        if line == b"*":
            return AuthResponse(None)
        octets = read_base64(line)
        return AuthResponse(b"", valid=False) if octets is None else AuthResponse(octets)

    def _command(self, line: bytes) -> Any:
        self.pipelined = len(self._buffer) > 0
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return _wrong(500, "5.5.2", "Commands are ASCII or UTF-8")
        if "\n" in text or "\r" in text or "\0" in text:
            return _wrong(500, "5.5.2", "A command ends with CRLF and holds no CR, LF or NUL")
        verb, _, argument = text.partition(" ")
        reader = _COMMANDS.get(verb.upper())
        if reader is None:
            return _wrong(500, "5.5.1", "Command not recognized")
        event = reader(verb.upper(), argument)
        if isinstance(event, Plain) and event.verb == "STARTTLS":
            self._paused = True
        return event

    def resume(self) -> None:
        """STARTTLS was refused: go on in clear."""
        self._paused = False


def _hello(verb: str, argument: str) -> Any:
    name = argument.strip()
    if not name:
        return _wrong(501, "5.5.4", f"{verb} needs a domain or address literal")
    return Hello(verb == "EHLO", name[:255])


def _path(argument: str, word: str) -> tuple[Address | None, dict[str, str]] | Wrong:
    """FROM:<path> or TO:<path> with parameters."""
    if argument[: len(word)].upper() != word:
        return _wrong(501, "5.5.4", f"Syntax: {word}<address>")
    # QUIRK: a space after the colon (RFC 5321 section 4.1.1.2 forbids it), sent by old scripts and devices.
    rest = argument[len(word) :].lstrip(" ")
    if rest[:1] not in ("<", ""):
        # QUIRK: a path without angle brackets, sent by people at a terminal and by old devices.
        bare, gap, tail = rest.partition(" ")
        rest = f"<{bare}>{gap}{tail}"
    read = read_path(rest)
    status = "5.1.7" if word == "FROM:" else "5.1.3"
    if read is None:
        return _wrong(501 if not rest.startswith("<@") else 553, status, "Bad address syntax")
    address, tail = read
    if address is not None and not (address.local.isascii() and _ascii_domain(rest)):
        return _wrong(553, "5.6.7", "Addresses with non-ASCII characters need SMTPUTF8, which is not offered")
    parameters = read_parameters(tail.rstrip(" "))
    if parameters is None:
        return _wrong(501, "5.5.4", "Bad parameters")
    return address, parameters


def _ascii_domain(text: str) -> bool:
    return text.partition(">")[0].isascii()


def _mail(verb: str, argument: str) -> Any:
    read = _path(argument, "FROM:")
    return read if isinstance(read, Wrong) else Mail(*read)


def _rcpt(verb: str, argument: str) -> Any:
    read = _path(argument, "TO:")
    if isinstance(read, Wrong):
        return read
    address, parameters = read
    if address is None:
        return _wrong(501, "5.1.3", "A recipient is needed")
    return Rcpt(address, parameters)


def _auth(verb: str, argument: str) -> Any:
    mechanism, _, initial = argument.strip().partition(" ")
    if not mechanism:
        return _wrong(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    if not initial:
        return Auth(mechanism.upper(), None)
    octets = b"" if initial == "=" else read_base64(initial.encode("utf-8"))
    return Auth(mechanism.upper(), octets, valid=octets is not None)


def _bare(verb: str, argument: str) -> Any:
    # QUIRK: trailing spaces, sent by several embedded devices.
    if argument.strip():
        return _wrong(501, "5.5.4", f"{verb} takes no argument")
    return Plain(verb)


def _with_text(verb: str, argument: str) -> Any:
    return Plain(verb, argument.strip())


_Reader = Callable[[str, str], Any]
#: The one table of commands.
_COMMANDS: dict[str, _Reader] = {
    "EHLO": _hello,
    "HELO": _hello,
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _bare,
    "RSET": _bare,
    "QUIT": _bare,
    "STARTTLS": _bare,
    "AUTH": _auth,
    "NOOP": _with_text,
    "HELP": _with_text,
    "VRFY": _with_text,
    "EXPN": _with_text,
}
