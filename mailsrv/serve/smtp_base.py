"""What an SMTP session knows, says and counts (floor 3), whatever the commands mean."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from ..access.reverse import ClientCheck
from ..net.connection import Connection
from ..values import Transaction, Verdict
from ..wire import smtp_commands
from ..wire.smtp_server import SmtpServerEngine
from . import smtp_replies as say
from .session import Session, SmtpServices
from .session_info import SessionInfo
from .smtp_message import MessageInput
from .smtp_policies import Judge
from .smtp_verdicts import Share
from .smtp_xclient import may_speak

_DISMISSED = {
    "idle": "Idle for too long",
    "shutdown": "Service is stopping",
    "terminated": "Session terminated by an administrator",
}


class SmtpBase(Session):
    """State, limits and last words of one SMTP connection.  `commands` is the engine's table, `word` the protocol's
    name in greeting and trace."""

    commands: Mapping[str, Any] = smtp_commands.SMTP
    word = "SMTP"
    greeting = "ESMTP"
    #: The name that the client gave by XCLIENT, where one did; few have it of their own (see `Pump`).
    said_name = ""

    def __init__(self, connection: Connection, services: SmtpServices, number: int) -> None:
        super().__init__(connection, services, number)
        self.smtp = services
        #: Writes a reply.
        self.say = connection.write
        self.engine = SmtpServerEngine(services.limits, self.commands)
        self.helo = ""
        self.extended = False
        self.transaction: Transaction | None = None
        #: The message that is coming in; how many recipients were accepted; and for how many a BDAT was refused, so
        #: that further ones are refused until RSET.
        self.message: MessageInput | None = None
        self.taken = 0
        self.chunks_failed = 0
        #: The recipients that were accepted, with those whose mailboxes get the message.
        self.shares: list[Share] = []
        self.octets_taken = 0
        self.bare_messages = 0
        #: Commands since a message was taken, of those that bring none.
        self.idle_commands = 0
        #: Whether the client may say whose connection it is (XCLIENT), and from where it connected.
        self.speaks_for_others = may_speak(services.xclient, connection.peer)
        self.connected_from = connection.peer.host
        self.judge = Judge(services.policies, services.sleep, services.name, connection)
        #: The peer's name by reverse DNS, and whether it is that of HELO, as in Transaction.
        self.client_name = ""
        self.verified: bool | None = None
        self.client: ClientCheck | None = None

    def arriving(self) -> Coroutine[Any, Any, Verdict] | None:
        """See Session: policies that look at connections."""
        if not self.judge.asked("on_connect"):
            return None
        return self.judge.ask("on_connect", self.connection.peer, self.client_name)

    def greet(self) -> None:
        """220 with the server's FQDN (S-086)."""
        self.say(say.reply(220, "", f"{self.services.hostname} {self.greeting} mailsrv"))

    def info(self) -> SessionInfo:
        """See Session."""
        self.recall()
        return super().info()

    def state(self) -> str:
        """See Session: connected, ready (after EHLO), transaction, message."""
        if self.message is not None:
            return "message"
        return "transaction" if self.transaction is not None else "ready" if self.helo else "connected"

    def must_log_in(self) -> bool:
        """Only where mail is not taken without a login."""
        return not self.smtp.anonymous

    def dismiss(self, why: str) -> None:
        """421 with the reason (RFC 5321 section 3.8)."""
        text = _DISMISSED.get(why, "Closing connection")
        if why == "idle" and self.message is not None and self._late():
            text = "The message comes in too slowly"
        self.say(say.reply(421, "4.4.2" if why == "idle" else "4.3.2", text))

    def limit(self, connected: float, active: float) -> float | None:
        """See Session; a message that trickles in has to be there in time, too."""
        if self.message is not None:
            active = self.message.active(active)
        instant, deadline = super().limit(connected, active), self._deadline()
        if instant is None or deadline is None:
            return deadline if instant is None else instant
        return min(instant, deadline)

    def _deadline(self) -> float | None:
        limits, message = self.limits, self.message
        return None if message is None else message.deadline(limits.data_timeout, limits.data_rate)

    def _late(self) -> bool:
        """Whether the message is the reason, not that nothing came at all."""
        deadline, idle, now = self._deadline(), self.limits.idle_timeout, self.connection.host.monotonic()
        active = self.connection.active_at if self.message is None else self.message.active(self.connection.active_at)
        return (idle is None or now < active + idle) and deadline is not None and now >= deadline

    def closed(self) -> None:
        """Let go of a message that was coming in."""
        self.reset()
        self.judge.close()
        if self.client is not None:
            self.client.close()

    def begin_anew(self, name: str) -> None:
        """Another client is there, whose host has that name by the word of a proxy, "" for none: as if nothing had
        been said."""
        self.reset()
        self.judge.close()
        self.judge = Judge(self.smtp.policies, self.smtp.sleep, self.smtp.name, self.connection)
        if self.client is not None:
            self.client.close()
        self.helo, self.extended, self.identity = "", False, None
        self.client, self.client_name, self.said_name, self.verified = None, name, name, None
        self.octets_taken = self.bare_messages = self.bad_commands = self.failed_logins = 0

    def look_up(self) -> None:
        """Begin to ask who the client is, if that is wanted here (S-090)."""
        if self.smtp.reverse is None:
            return
        peer = self.connection.peer
        if peer.unknown:
            # The proxy's name would vouch for nobody.
            self.verified = False
            return
        if self.client is None:
            self.client = self.smtp.reverse()
        self.client_name, self.verified = "", None
        self.client.begin(peer.host, self.helo)

    def recall(self) -> None:
        """What is known of the client by now."""
        if self.client is not None and self.client.known is not None:
            self.client_name, self.verified = self.client.known.name, self.client.known.verified

    def fail(self, incident: str) -> None:
        """An internal error, temporary for the client."""
        self.say(say.reply(451, "4.3.0", f"Internal error, incident {incident}"))

    def complain(self, octets: bytes) -> None:
        """Write a refusal and count it."""
        self.say(octets)
        self.mistake(octets)

    def mistake(self, octets: bytes) -> None:
        """Count a refusal that was written; after too many the connection is closed.

        A temporary refusal is no mistake of the client's: it shall come again.
        """
        if octets.startswith(b"4"):
            return
        self.bad_commands += 1
        self.services.count("commands refused")
        if self.bad_commands >= self.limits.bad_commands:
            self.services.count("closed for errors")
            self.say(say.TOO_MANY_ERRORS)
            self.connection.close()

    def idles(self) -> bool:
        """Count a command that brings no message; whether there were too many, and the connection is closed."""
        self.idle_commands += 1
        if self.idle_commands <= self.limits.idle_commands:
            return False
        self.services.count("closed for errors")
        self.say(say.TOO_MANY_IDLE)
        self.connection.close()
        return True

    def reset(self) -> None:
        """No transaction is under way."""
        if self.transaction is None and not self.chunks_failed and self.judge.open is None:
            return
        self.transaction = None
        self.shares = []
        self.judge.clear()
        self.taken = self.chunks_failed = 0
        if self.message is not None:
            self.message.discard()
            self.message, self.midway = None, False
