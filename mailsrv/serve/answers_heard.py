"""What a server said, for `transcript` (floor 5): lines, without challenges and octets of messages."""

from __future__ import annotations

from typing import Any

from ..wire import imap_requests as imap
from ..wire import pop3_events as pop3
from ..wire import smtp_events as smtp
from ..wire.imap_framing import literal_at_end
from .transcript_lines import BLANK, LINE, Tell, clean, counted

_CHALLENGED = (
    smtp.Auth, smtp.AuthResponse, pop3.Auth, pop3.Apop, pop3.Response, pop3.Abort, imap.Authenticate, imap.AuthResponse,
)  # fmt: skip
#: Octets from the end of a line that are kept: a literal's mark is there.
_END = 64
_CRLF = b"\r\n"


class Answers:
    """One server's side.  `busy`: until the next command it cannot be known in the middle of what one begins."""

    def __init__(self, protocol: str, tell: Tell, content: bool, busy: bool) -> None:
        self._protocol, self._tell, self._content, self._lost = protocol, tell, content, busy
        self._login = False
        #: IMAP4: a tag that is not to be shown.
        self.hidden: bytes | None = None
        #: POP3: a message is asked for: its answer begins with a line, what follows is the message.
        self._message = self._answered = False
        self._line, self._left_out = bytearray(), 0
        #: IMAP4: octets of a literal that are still to be said; octets of a message that were not told yet.
        self._literal = self._octets = 0

    def turn(self, event: Any) -> None:
        """What is said from now on answers that, or nothing."""
        self.flush()
        self._lost, self.hidden = False, None
        self._login = isinstance(event, _CHALLENGED)
        self._message, self._answered = isinstance(event, pop3.Retr | pop3.Top), False

    def said(self, octets: bytes) -> None:
        """More of it."""
        if self._lost:
            return
        if self._answered:
            self._body(octets)
            if octets.endswith(b"\r\n.\r\n"):
                self.flush()
                self._answered = False
            return
        at = 0
        while at < len(octets):
            if self._literal:
                piece = octets[at : at + self._literal]
                self._literal -= len(piece)
                self._body(piece)
                at += len(piece)
                continue
            end = octets.find(_CRLF, at)
            if end < 0:
                self._keep(octets[at:])
                return
            self._keep(octets[at:end])
            at = end + 2
            if self._end() and at < len(octets):
                self.said(octets[at:])
                return

    def flush(self) -> None:
        """Tell what was only counted, and a line without an end."""
        octets, self._octets = self._octets, 0
        if octets:
            self._tell("server", counted(octets))
        if self._line and not self._literal:
            self._end()

    def _keep(self, octets: bytes) -> None:
        """A piece of a line; of a long one the middle is left out."""
        line = self._line
        line += octets
        if len(line) > LINE + 2 * _END:
            over = len(line) - LINE - _END
            del line[LINE : LINE + over]
            self._left_out += over

    def _end(self) -> bool:
        """The line is whole; whether a message follows."""
        line, left_out = bytes(self._line), self._left_out
        self._line.clear()
        self._left_out = 0
        if self._octets:
            octets, self._octets = self._octets, 0
            self._tell("server", counted(octets))
        self._answered, self._message = self._message and line.startswith(b"+OK"), False
        if self._protocol == "imap":
            literal = literal_at_end(line[-_END:])
            self._literal = 0 if literal is None else literal.size
        if self.hidden is not None and line.startswith(self.hidden + b" "):
            line = BLANK.encode("ascii") + line[len(self.hidden) :]
        if self._login and line.startswith((b"334 ", b"+ ")):
            self._tell("server", f"{line.partition(b' ')[0].decode('ascii')} {BLANK}")
        else:
            self._tell("server", clean(line, left_out) if left_out == 0 else clean(line[:LINE], left_out + _END))
        return self._answered

    def _body(self, octets: bytes) -> None:
        """Octets of a message."""
        if not self._content:
            self._octets += len(octets)
            return
        for line in octets.removesuffix(_CRLF).split(_CRLF):
            self._tell("server", clean(line))
