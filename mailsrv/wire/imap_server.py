"""The IMAP4 server engine (floor 1; RFC 3501): octets in, events of `imap_requests` out.

A command is collected with its literals under one budget, smaller before login.  Messages of APPEND stream and
are not collected.  The engine writes nothing: when the client waits to send a literal the event is `Continue`.
The session sets `state` and tells the engine what became of AUTHENTICATE, IDLE, STARTTLS and APPEND.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from ..limits import Limits
from .buffer import Buffer, LineTooLong
from .engine import NEED_DATA, PAUSED
from .imap_append import AppendReader
from .imap_collect import Collector, MessageComes
from .imap_commands import GREETING, LOGOUT, NOT_AUTHENTICATED, read
from .imap_framing import BadLine, Drop, Overrun
from .imap_lexer import MAX_63, PLAIN
from .imap_requests import AuthResponse, Done, Invalid

#: What may still arrive after the connection was told to stop reading: a few reads of the transport.
SLACK_OCTETS = 256 * 1024
#: What belongs to a refused command is dropped up to so many budgets (APPEND: so many `append_octets`).
DROPPED_BUDGETS = 4
_COMMAND, _DROP, _APPEND, _AUTH, _IDLE, _TLS, _CLOSED = range(7)
_THEN = {"auth": _AUTH, "tls": _TLS, "closed": _CLOSED}


class ImapServerEngine:
    """See the module's head.  `state` is one of the states of `imap_commands`; `form`: how mailboxes are written."""

    __slots__ = (
        "_append", "_buffer", "_collector", "_drop", "_eof", "_limits", "_mode", "_refusal", "_tag", "form",
        "state",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.state = NOT_AUTHENTICATED
        self.form = PLAIN
        self._limits = limits
        self._buffer = Buffer(limits.pending_octets + SLACK_OCTETS)
        self._collector = Collector(self._buffer, limits)
        self._eof = False
        self._mode = _COMMAND
        self._tag: bytes | None = None
        self._append: AppendReader | None = None
        self._drop: Drop | None = None
        self._refusal: Invalid | None = None

    # ------------------------------------------------------------ octets in, events out

    @property
    def buffered(self) -> int:
        """Octets waiting; the connection stops reading above `Limits.pending_octets` while it does not ask."""
        return len(self._buffer)

    def receive(self, octets: bytes) -> None:
        """Take what the transport read."""
        if self._mode != _CLOSED and not self._eof:
            self._buffer.feed(octets)

    def next_event(self) -> Any:
        """The next event, NEED_DATA or PAUSED."""
        if self.state == LOGOUT:
            self._close()
        try:
            event = _STEPS[self._mode](self)
        except BadLine as error:
            event = self._refused(error)
        except LineTooLong:
            return self._fatal("Line too long")
        except Overrun:
            return self._fatal("Literal too large")
        if event is NEED_DATA and self._buffer.overflowed:
            return self._fatal("Too much input")
        return event

    def eof(self) -> None:
        """The peer sent its last octet; what is incomplete never becomes an event."""
        self._eof = True

    def tls_started(self) -> None:
        """TLS is up after STARTTLS: every octet and all state from before is forgotten (RFC 3501 section 6.2.1)."""
        self._buffer.clear()
        self._tag = None
        self.state = NOT_AUTHENTICATED
        self._fresh()

    # ------------------------------------------------------------ what the session tells

    def tls_refused(self) -> None:
        """The session answered STARTTLS with NO or BAD: commands go on."""
        if self._mode == _TLS:
            self._mode = _COMMAND

    def auth_done(self) -> None:
        """AUTHENTICATE is over, well or not: commands go on."""
        if self._mode == _AUTH:
            self._mode = _COMMAND

    def idle(self) -> None:
        """The session took IDLE: the next line is DONE."""
        if self._mode == _COMMAND:
            self._mode = _IDLE

    def accept_literal(self) -> None:
        """The session takes the message announced; for a synchronising literal `Continue` is next."""
        if self._append is not None:
            self._append.accept()

    def refuse_append(self) -> None:
        """The session answers NO: the rest of the APPEND is not read, or dropped, and gives no event."""
        if self._append is None:
            return
        rest = self._append.rest()
        if rest is None:
            self._fresh()
        else:
            self._drop_from(rest, True)

    # ------------------------------------------------------------ one step of each mode

    def _command_step(self) -> Any:
        found = self._collector.step(self.state)
        if type(found) is bytes:
            literals = self._collector.literals
            if literals:
                self._collector.clear()
            event, then = read(found, self.state, literals, self._limits.imap_depth, self.form)
            self._tag = event.tag
            if then:
                self._mode = _THEN[then]
                if self._mode == _CLOSED:
                    self._buffer.clear()
            return event
        if isinstance(found, MessageComes):
            self._tag = found.tag
            limit = self._limits.imap_command_octets_before_login
            append = AppendReader(self._buffer, self._limits, found.tag, limit)
            self._append, self._mode = append, _APPEND
            found.lexer.form = self.form
            event = append.begin(found.lexer, found.row.name, found.literal)
            self._collector.clear()
            return event
        return found

    def _append_step(self) -> Any:
        append = self._append
        if append is None:
            return PAUSED
        event = append.step()
        if append.done:
            self._fresh()
        return event

    def _drop_step(self) -> Any:
        """Drop; at the end of the command the refusal, or the next command when it was given before."""
        if self._drop is not None and not self._drop.step():
            return NEED_DATA
        refusal = self._refusal
        self._fresh()
        return self._command_step() if refusal is None else refusal

    def _line_step(self) -> Any:
        """A response of AUTHENTICATE, or the line that ends IDLE."""
        line = self._buffer.line(self._limits.imap_command_octets_before_login)
        if line is None:
            return NEED_DATA
        if self._mode == _IDLE:
            self._mode = _COMMAND
            return Done(self._tag or b"", line.upper() == b"DONE")
        if line == b"*":
            return AuthResponse(None)
        try:
            return AuthResponse(a2b_base64(line, strict_mode=True))
        except Base64Error:
            return AuthResponse(None, False)

    # ------------------------------------------------------------ refusals and the end

    def _refused(self, error: BadLine) -> Any:
        """A command went wrong at a line that may announce a literal; what the client sends anyway is dropped."""
        refusal = Invalid(error.tag, error.text)
        literal, in_append = error.literal, self._append is not None
        if literal is None or literal.synchronising:
            self._fresh()
            return refusal
        self._drop_from(literal.size, in_append)
        self._refusal = refusal
        return self.next_event()

    def _drop_from(self, need: int, in_append: bool) -> None:
        limits = self._limits
        before = self.state == NOT_AUTHENTICATED or self.state == GREETING
        bound = limits.imap_command_octets_before_login if before else limits.imap_command_octets
        if in_append:
            bound = max(bound, MAX_63 if limits.append_octets is None else limits.append_octets)
        left = DROPPED_BUDGETS * bound
        self._fresh()
        self._drop = Drop(self._buffer, limits.imap_command_octets_before_login, need, left)
        self._mode = _DROP

    def _fresh(self) -> None:
        """Ready for the next command."""
        self._mode = _COMMAND
        self._append = self._drop = self._refusal = None
        self._collector.clear()

    def _fatal(self, text: str) -> Invalid:
        tag = self._collector.tag() if self._mode == _COMMAND else self._tag
        if self._mode == _DROP:
            tag = self._refusal.tag if self._refusal is not None else None
        self._close()
        return Invalid(tag, text, fatal=True)

    def _close(self) -> None:
        self._fresh()
        self._mode = _CLOSED
        self._buffer.clear()


def _paused_step(_: ImapServerEngine) -> Any:
    return PAUSED


_STEPS: tuple[Callable[[ImapServerEngine], Any], ...] = (
    ImapServerEngine._command_step, ImapServerEngine._drop_step, ImapServerEngine._append_step,
    ImapServerEngine._line_step, ImapServerEngine._line_step, _paused_step,
    _paused_step,
)  # fmt: skip
