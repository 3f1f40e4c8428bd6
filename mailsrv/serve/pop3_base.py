"""What every part of a POP3 session shares (floor 3): output, refusals, and what it holds."""

from __future__ import annotations

from attrs import define, field

from ..errors import AuthenticationFailed, InUse, MailError, Refused, TryLater
from ..interfaces import ISecrets
from ..net.connection import Connection
from ..wire import pop3_apop
from ..wire import pop3_events as e
from ..wire.pop3 import Pop3ServerEngine
from .maildrop import Maildrop
from .pop3_uidl import DEFAULT, UidlFormat
from .session import Services, Session

#: RFC 2449 section 4: a response has up to 512 octets with its CRLF.
RESPONSE_OCTETS = 510
#: After so many commands in one turn others may go first.
TURNS = 64

_DISMISSED = {
    # RFC 1939 section 3: an answer that nobody asked for would be taken for that to the next command.
    "idle": b"",
    "shutdown": b"-ERR [SYS/TEMP] The server is going down, nothing was deleted\r\n",
    "input": b"-ERR Too much input\r\n",
}
_TERMINATED = b"-ERR [SYS/TEMP] The session was terminated, nothing was deleted\r\n"


#: Accounts whose last login is remembered for LOGIN-DELAY; then those that matter no more are forgotten.
LAST_LOGINS = 10_000


class TooSoon(TryLater):
    """The last login is less than LOGIN-DELAY ago (RFC 2449 section 6.5)."""

    status = "4.3.2"
    text = "Wait before the next login"


@define(eq=False, kw_only=True)
class Pop3Services(Services):
    """What a POP3 virtual server gives besides.  `exclusive`: one session at a time has a maildrop; `login_delay` are
    seconds between two logins of an account, 0 for none."""

    apop: bool = False
    exclusive: bool = True
    login_delay: int = 0
    uidl: UidlFormat = field(factory=lambda: UidlFormat(DEFAULT))
    #: Account -> when it logged in last, on the clock of its connections.
    last_logins: dict[int, float] = field(factory=dict)

    @property
    def offers_apop(self) -> bool:
        """Whether it is wanted, and somebody keeps passwords that it can be checked with."""
        return self.apop and any(
            ISecrets.providedBy(one) and pop3_apop.PLAIN in one.kinds for one in self.door.authenticators
        )

    def may_log_in(self, account: int, now: float) -> bool:
        """Whether the last login is long enough ago."""
        last = self.last_logins.get(account)
        return last is None or now >= last + self.login_delay

    def logged_in(self, account: int, now: float) -> None:
        """Remember a login."""
        if not self.login_delay:
            return
        if len(self.last_logins) >= LAST_LOGINS:
            self.last_logins = {a: at for a, at in self.last_logins.items() if now < at + self.login_delay}
        self.last_logins[account] = now


def code_of(error: MailError) -> str:
    """The response code with a blank (RFC 2449 section 8.1.1, RFC 3206 section 4)."""
    if isinstance(error, AuthenticationFailed):
        return "[AUTH] "
    if isinstance(error, InUse):
        return "[IN-USE] "
    if isinstance(error, TooSoon):
        return "[LOGIN-DELAY] "
    if error.status.startswith("5.5"):
        # The client's own mistake: no code says so.
        return ""
    return "[SYS/TEMP] " if isinstance(error, TryLater) or not error.permanent else "[SYS/PERM] "


def line(text: str) -> bytes:
    """One response line with CRLF: ASCII, no control character, never too long."""
    clean = text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    return clean.encode("ascii", "backslashreplace")[:RESPONSE_OCTETS] + b"\r\n"


class Pop3Base(Session):
    """A POP3 session without commands."""

    services: Pop3Services

    def __init__(self, connection: Connection, services: Pop3Services, number: int) -> None:
        super().__init__(connection, services, number)
        self.engine = Pop3ServerEngine(services.limits)
        self.drop: Maildrop | None = None
        #: A multi-line response is half written: no other line may get into it.
        self.streaming = False
        self.user_name = ""
        #: The timestamp of the greeting (RFC 1939 section 7), b"" when APOP is not offered.
        self.stamp = b""
        #: The client wants UTF-8 (RFC 6856).
        self.utf8 = False
        self._says_ok = False
        self.held: int | None = None
        #: Octets said since the last drain, commands since the last breath.
        self._said = self._turn = 0

    # ------------------------------------------------------------ for the connection

    def greet(self) -> None:
        """The greeting; a timestamp in it offers APOP, so there is none where that cannot be used."""
        services = self.services
        text = f"+OK {services.hostname} POP3 server ready"
        if services.apop and services.offers_apop and (self.connection.secure or not services.require_tls):
            self.stamp = pop3_apop.timestamp(self.context())
            text = f"{text} {self.stamp.decode('ascii')}"
        self.say(line(text))

    def state(self) -> str:
        """See Session (RFC 1939 section 3)."""
        return "transaction" if self.drop is not None else "authorization"

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
        self.services.count("commands refused")
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
