"""POP3 server engine, without input or output (floor 1): RFC 1939, RFC 2449, RFC 2595, RFC 5034, RFC 6856.

Lines in, events out (`pop3_events`); the table `COMMANDS` says in which state a command is known and how its
arguments are read.  Lines end with CRLF and with nothing else: a bare CR, LF or NUL makes the whole line a mistake,
so no two readers can disagree about where a command begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from ..limits import Limits
from . import pop3_events as e
from .buffer import Buffer, LineTooLong
from .engine import NEED_DATA, PAUSED, Signal
from .sasl import decode

#: A command with CRLF (RFC 2449 section 4), an answer to a challenge with CRLF (RFC 5034 section 4).
COMMAND_OCTETS = 255
RESPONSE_OCTETS = 12 * 1024
#: A line that is too long is read past up to here, then the connection has to end.
SKIPPED_OCTETS = 64 * 1024
#: What a transport may hand over after it was told to stop reading.
SLACK_OCTETS = 256 * 1024

AUTHORIZATION, TRANSACTION, BOTH = 1, 2, 3

#: DELE again and again, as clients that clear a maildrop send it; so many make one event at most.
_DELES = re.compile(rb"(?:DELE [0-9]{1,10}\r\n){1,500}")
_DIGEST = re.compile(rb"[0-9a-f]{32}")
#: A language range (RFC 4647 section 2.1).
_RANGE = re.compile(rb"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}|\*")

Reader = Callable[[bytes], e.Event | None]


def _bare(event: e.Event) -> Reader:
    """A command without arguments: always the same event."""
    return lambda rest: None if rest.strip() else event


def _text(make: Callable[[str], e.Event]) -> Reader:
    """A command whose argument is the rest of the line, in UTF-8."""

    def read(rest: bytes) -> e.Event | None:
        try:
            return make(rest.decode("utf-8")) if rest else None
        except UnicodeDecodeError:
            return None

    return read


def _count(octets: bytes) -> int | None:
    """A number of at most ten digits."""
    return int(octets) if octets.isdigit() and len(octets) <= 10 else None


def _number(make: Callable[[int], e.Event]) -> Reader:
    """A command with a message number."""

    def read(rest: bytes) -> e.Event | None:
        number = _count(rest) if rest.isdigit() else _count(rest.strip())
        return None if number is None else make(number)

    return read


def _optional_number(make: Callable[[int | None], e.Event]) -> Reader:
    """A command with a message number or none."""

    def read(rest: bytes) -> e.Event | None:
        rest = rest.strip()
        if not rest:
            return make(None)
        number = _count(rest)
        return None if number is None else make(number)

    return read


def _dele(rest: bytes) -> e.Event | None:
    number = _count(rest.strip())
    return None if number is None else e.Dele((number,))


def _apop(rest: bytes) -> e.Event | None:
    # The name may have spaces, the digest has none.
    name, _, digest = rest.rpartition(b" ")
    if not name or not _DIGEST.fullmatch(digest):
        return None
    try:
        return e.Apop(name.decode("utf-8"), digest)
    except UnicodeDecodeError:
        return None


def _lang(rest: bytes) -> e.Event | None:
    rest = rest.strip()
    if not rest:
        return e.Lang(None)
    return e.Lang(rest.decode("ascii")) if _RANGE.fullmatch(rest) else None


def _top(rest: bytes) -> e.Event | None:
    words = rest.split()
    if len(words) != 2:
        return None
    number, lines = _count(words[0]), _count(words[1])
    return None if number is None or lines is None else e.Top(number, lines)


def _auth(rest: bytes) -> e.Event | None:
    words = rest.split()
    if not words:
        return e.Mechanisms()
    name = words[0]
    # RFC 4422 section 3.1: a mechanism's name has up to 20 of these characters.
    if len(words) > 2 or len(name) > 20 or not name.replace(b"-", b"").replace(b"_", b"").isalnum():
        return None
    mechanism = name.decode("ascii").upper()
    if len(words) == 1:
        return e.Auth(mechanism)
    initial = b"" if words[1] == b"=" else decode(words[1])
    return None if initial is None else e.Auth(mechanism, initial)


@frozen
class Rule:
    """One row of the command table: the states that know the command, and what reads its arguments."""

    states: int
    read: Reader


COMMANDS: dict[bytes, Rule] = {
    b"CAPA": Rule(BOTH, _bare(e.Capa())),
    b"STLS": Rule(AUTHORIZATION, _bare(e.Stls())),
    b"USER": Rule(AUTHORIZATION, _text(e.User)),
    b"PASS": Rule(AUTHORIZATION, _text(e.Pass)),
    b"APOP": Rule(AUTHORIZATION, _apop),
    b"AUTH": Rule(AUTHORIZATION, _auth),
    b"UTF8": Rule(AUTHORIZATION, _bare(e.Utf8())),
    b"LANG": Rule(BOTH, _lang),
    b"QUIT": Rule(BOTH, _bare(e.Quit())),
    b"STAT": Rule(TRANSACTION, _bare(e.Stat())),
    b"LIST": Rule(TRANSACTION, _optional_number(e.List)),
    b"UIDL": Rule(TRANSACTION, _optional_number(e.Uidl)),
    b"RETR": Rule(TRANSACTION, _number(e.Retr)),
    b"TOP": Rule(TRANSACTION, _top),
    b"DELE": Rule(TRANSACTION, _dele),
    b"NOOP": Rule(TRANSACTION, _bare(e.Noop())),
    b"RSET": Rule(TRANSACTION, _bare(e.Rset())),
}


class Pop3ServerEngine:
    """The server's side of one POP3 connection."""

    __slots__ = ("_buffer", "_ended", "_eof", "_paused", "_response", "_skipped", "_skipping", "state")

    def __init__(self, limits: Limits) -> None:
        self._buffer = Buffer(limits.pending_octets + SLACK_OCTETS)
        self._paused = self._ended = self._eof = False
        self._reset()

    def _reset(self) -> None:
        self.state = AUTHORIZATION
        self._response = self._skipping = False
        self._skipped = 0

    @property
    def buffered(self) -> int:
        """Octets received and not yet consumed."""
        return len(self._buffer)

    def receive(self, octets: bytes) -> None:
        """Take what the transport read."""
        if not self._ended and not self._eof:
            self._buffer.feed(octets)

    def eof(self) -> None:
        """The peer sent its last octet; an unfinished line never becomes an event."""
        self._eof = True

    def tls_started(self) -> None:
        """Forget every octet of the plaintext phase and all state (RFC 2595 section 4)."""
        self._buffer.clear()
        self._paused = False
        self._reset()

    def resume(self) -> None:
        """STLS was refused: go on in plaintext."""
        self._paused = False

    def logged_in(self) -> None:
        """Enter the TRANSACTION state."""
        self.state = TRANSACTION

    def expect_response(self) -> None:
        """The next line answers a challenge: it becomes Response, Abort or Mistake."""
        self._response = True

    def next_event(self) -> e.Event | Signal:
        """The next event; NEED_DATA; PAUSED after STLS and after the end."""
        if self._paused or self._ended:
            return PAUSED
        if self._skipping and not self._skip():
            return self._nothing()
        try:
            line = self._buffer.line(RESPONSE_OCTETS if self._response else COMMAND_OCTETS)
        except LineTooLong:
            line = None
            # RFC 5034 section 4 wants a long initial response to be sent apart; read it all the same.
            if self._response or self._buffer.peek(5).upper() != b"AUTH ":
                return self._too_long()
            try:
                line = self._buffer.line(RESPONSE_OCTETS)
            except LineTooLong:
                return self._too_long()
        if line is None:
            return self._nothing()
        if b"\n" in line or b"\r" in line or b"\0" in line:
            self._response = False
            return e.Mistake("Lines end with CRLF and hold no other CR, LF or NUL")
        return self._answer(line) if self._response else self._command(line)

    def _command(self, line: bytes) -> e.Event:
        verb, _, rest = line.partition(b" ")
        rule = COMMANDS.get(verb) or COMMANDS.get(verb.upper())
        if rule is None:
            return e.Mistake("Unknown command")
        if not rule.states & self.state:
            return e.Mistake("Not before login" if self.state == AUTHORIZATION else "Not after login")
        event = rule.read(rest)
        if event is None:
            return e.Mistake("Syntax error in arguments")
        if isinstance(event, e.Dele):
            more = self._buffer.run(_DELES)
            if more:
                event.numbers += tuple(map(int, more.split()[1::2]))
        elif isinstance(event, e.Stls):
            self._paused = True
        elif isinstance(event, e.Quit):
            self._end()
        return event

    def _answer(self, line: bytes) -> e.Event:
        self._response = False
        if line == b"*":
            return e.Abort()
        octets = decode(line)
        return e.Mistake("Malformed base64") if octets is None else e.Response(octets)

    def _too_long(self) -> e.Event:
        self._response = False
        self._skipping = True
        self._skipped = 0
        return e.Mistake("Line too long")

    def _skip(self) -> bool:
        """Read past the rest of a line that was too long; True when its end is reached."""
        before = len(self._buffer)
        done = self._buffer.skip_line()
        self._skipped += before - len(self._buffer)
        self._skipping = not done
        if self._skipped > SKIPPED_OCTETS:
            self._skipping = False
            self._buffer.clear()
            self._buffer.overflowed = True
            return False
        return done

    def _nothing(self) -> e.Event | Signal:
        if self._buffer.overflowed:
            self._end()
            return e.Overflow()
        return NEED_DATA

    def _end(self) -> None:
        self._buffer.clear()
        self._ended = True
