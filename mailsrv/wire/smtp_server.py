"""The SMTP server engine (floor 1): commands and bodies from octets (RFC 5321, RFC 2920, RFC 3030, RFC 3207, RFC 4954).

The session says what a command means; the engine knows what it is.  After the session accepted DATA it calls
`start_body()`; after BDAT `take_chunk()`, or else the octets of the chunk are dropped; after STARTTLS the engine is
PAUSED until `tls_started()`; during AUTH each line is a response until `auth_done()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..limits import Limits
from .buffer import Buffer, LineTooLong
from .engine import NEED_DATA, PAUSED
from .sasl import decode as read_base64
from .smtp_binary import BinaryReader
from .smtp_commands import SMTP, foreign, read_command, read_usual
from .smtp_data import BodyReader, ChunkReader
from .smtp_events import Auth as Auth
from .smtp_events import AuthResponse as AuthResponse
from .smtp_events import Body as Body
from .smtp_events import Chunk as Chunk
from .smtp_events import Hello as Hello
from .smtp_events import Mail as Mail
from .smtp_events import Plain as Plain
from .smtp_events import Rcpt as Rcpt
from .smtp_events import Wrong as Wrong
from .smtp_events import wrong as _wrong

#: A base64 line of an AUTH exchange (RFC 4954 section 4: 12288 octets).
AUTH_LINE = 12 * 1024


class SmtpServerEngine:
    """See the module's head.  `buffered` counts octets received and not yet consumed."""

    __slots__ = (
        "_auth", "_body", "_buffer", "_chunk", "_commands", "_left", "_limits", "_most", "_paused", "_skipping",
        "_spoken",
    )  # fmt: skip

    def __init__(self, limits: Limits, commands: Mapping[str, Callable[[str, str], Any]] = SMTP) -> None:
        self._limits = limits
        self._commands = commands
        self._buffer = Buffer()
        self._body: BodyReader | None = None
        #: Who takes the chunk that is coming in, and how many octets of it are still to come.
        self._chunk: ChunkReader | BinaryReader | None = None
        self._left = 0
        self._spoken = False
        self._auth = self._paused = self._skipping = False
        self._most = limits.command_octets

    @property
    def pipelined(self) -> bool:
        """Whether octets wait behind the command given last."""
        return len(self._buffer) > 0

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
        self._body = self._chunk = None
        self._left = 0

    def start_body(self, normalise: bool = False) -> None:
        """DATA was accepted: what follows is a message; `normalise`: a lone CR or LF in it becomes CRLF."""
        self._body = BodyReader(self._limits.text_line_octets, normalise)

    def take_chunk(self, reader: ChunkReader | BinaryReader) -> None:
        """The BDAT given last was accepted: its octets become Body events, of which the last has `last`."""
        self._chunk = reader

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
        if self._chunk is not None:
            return self._next_piece(self._chunk)
        if self._left and not self._drop_chunk():
            return NEED_DATA
        if self._skipping:
            if not self._buffer.skip_line():
                return NEED_DATA
            self._skipping = False
            return _wrong(500, "5.5.2", "Line too long")
        try:
            line = self._buffer.line(AUTH_LINE if self._auth else self._most)
        except LineTooLong:
            self._skipping = True
            return self.next_event()
        if line is None:
            if not self._spoken and self._buffer.peek(1) == b"\x16":
                # TLS without STARTTLS: its octets may hold no line for ever.
                self._buffer.clear()
                return foreign()
            return NEED_DATA
        if self._auth:
            return self._response(line)
        self._spoken = True
        return read_usual(line) or self._command(line)

    def _next_body(self, body: BodyReader) -> Any:
        octets = self._buffer.take_all()
        if not octets:
            return NEED_DATA
        piece = body.take(octets)
        if body.ended:
            self._body = None
            if body.rest:
                self._buffer.feed(body.rest)
                body.rest = b""
        elif not piece:
            return NEED_DATA
        return Body(piece, body.ended, body)

    def _response(self, line: bytes) -> AuthResponse:
        if line == b"*":
            return AuthResponse(None)
        octets = read_base64(line)
        return AuthResponse(b"", valid=False) if octets is None else AuthResponse(octets)

    def _next_piece(self, reader: ChunkReader | BinaryReader) -> Any:
        octets = self._buffer.take_up_to(self._left)
        self._left -= len(octets)
        if self._left and not octets:
            return NEED_DATA
        piece = reader.take(octets)
        if not self._left:
            self._chunk = None
        elif not piece:
            return NEED_DATA
        return Body(piece, not self._left, reader)

    def _drop_chunk(self) -> bool:
        """Nobody wants the chunk: whether all of it is gone."""
        self._left -= len(self._buffer.take_up_to(self._left))
        return not self._left

    def _command(self, line: bytes) -> Any:
        event = read_command(line, self._commands)
        kind = type(event)
        if kind is Chunk:
            self._left = event.size
        elif kind is Plain and event.verb == "STARTTLS":
            self._paused = True
        return event

    def resume(self) -> None:
        """STARTTLS was refused: go on in clear."""
        self._paused = False
