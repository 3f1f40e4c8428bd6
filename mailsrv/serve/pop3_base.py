"""What every part of a POP3 session shares (floor 3): output, refusals, and what it holds."""

from __future__ import annotations

from ..errors import AuthenticationFailed, InUse, MailError, Refused, TryLater
from ..net.connection import Connection
from ..wire import pop3_events as e
from ..wire.pop3 import Pop3ServerEngine
from .maildrop import Maildrop
from .session import Services, Session

#: RFC 2449 section 4: a response has up to 512 octets with its CRLF.
RESPONSE_OCTETS = 510
#: After so many commands in one turn others may go first.
TURNS = 64

_DISMISSED = {
    "idle": b"-ERR Idle for too long, nothing was deleted\r\n",
    "shutdown": b"-ERR [SYS/TEMP] The server is going down, nothing was deleted\r\n",
    "input": b"-ERR Too much input\r\n",
}
_TERMINATED = b"-ERR [SYS/TEMP] The session was terminated, nothing was deleted\r\n"


def code_of(error: MailError) -> str:
    """The response code with a blank (RFC 2449 section 8.1.1, RFC 3206 section 4)."""
    if isinstance(error, AuthenticationFailed):
        return "[AUTH] "
    if isinstance(error, InUse):
        return "[IN-USE] "
    if error.status.startswith("5.5"):
        # The client's own mistake: no code says so.
        return ""
    return "[SYS/TEMP] " if isinstance(error, TryLater) or not error.permanent else "[SYS/PERM] "


def line(text: str) -> bytes:
    """One response line with CRLF: ASCII, no control character, never too long."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean.encode("ascii", "backslashreplace")[:RESPONSE_OCTETS] + b"\r\n"


class Pop3Base(Session):
    """A POP3 session without commands."""

    def __init__(self, connection: Connection, services: Services, number: int) -> None:
        super().__init__(connection, services, number)
        self.engine = Pop3ServerEngine(services.limits)
        self.drop: Maildrop | None = None
        #: A multi-line response is half written: no other line may get into it.
        self.streaming = False
        self.user_name = ""
        self._says_ok = False
        self.held: int | None = None
        #: Octets said since the last drain, commands since the last breath.
        self._said = self._turn = 0

    # ------------------------------------------------------------ for the connection

    def greet(self) -> None:
        """The greeting; without a timestamp, so that nobody takes APOP for offered."""
        self.say(line(f"+OK {self.services.hostname} POP3 server ready"))

    def dismiss(self, why: str) -> None:
        """Last words, unless they would end up inside an answer."""
        if not self.streaming:
            self.say(_DISMISSED.get(why, _TERMINATED))

    def fail(self, incident: str) -> None:
        """An internal error; the maildrop stays as it was."""
        if not self.streaming:
            self.say(line(f"-ERR [SYS/TEMP] Internal error, incident {incident}"))

    def closed(self) -> None:
        """RFC 1939 section 6: without QUIT nothing is deleted."""
        self.let_go()

    # ------------------------------------------------------------ output

    def say(self, octets: bytes) -> None:
        """Write; who is slow to take it is waited for before the next command."""
        self._said += len(octets)
        self.connection.write(octets)

    async def pace(self) -> None:
        """Wait for a slow peer when enough was said, and let others go first now and then."""
        if self._said > self.limits.output_octets:
            self._said = 0
            await self.connection.drain()
        self._turn += 1
        if self._turn >= TURNS:
            self._turn = 0
            await self.connection.breathe()

    def refuse(self, error: MailError) -> None:
        """-ERR with the code that the error has; too many mistakes or failed logins end the connection."""
        self.say(line(f"-ERR {code_of(error)}{error.text}"))
        limits = self.limits
        if self.bad_commands >= limits.bad_commands or (
            self.identity is None and self.failed_logins >= limits.failed_logins
        ):
            self.connection.close()

    async def mistake(self, event: e.Mistake) -> None:
        """A line that is no command."""
        self.bad_commands += 1
        self.refuse(Refused(event.text, "5.5.2"))

    async def overflow(self, event: e.Overflow) -> None:
        """More input than there may be."""
        self.dismiss("input")
        self.connection.close()

    def let_go(self) -> None:
        """Release the mailbox and the maildrop's lock; idempotent."""
        drop, self.drop = self.drop, None
        if drop is not None:
            drop.release()
        if self.held is not None:
            self.services.maildrops.discard(self.held)
            self.held = None
