"""What an SMTP session knows, says and counts (floor 3), whatever the commands mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..interfaces import IMessagePolicy
from ..net.connection import Connection
from ..values import Owner, Transaction
from ..wire import smtp_commands
from ..wire.smtp_server import SmtpServerEngine
from . import smtp_replies as say
from .session import Session, SmtpServices
from .smtp_message import MessageInput


class SmtpBase(Session):
    """State, limits and last words of one SMTP connection.  `commands` is the engine's table, `word` the protocol's
    name in greeting and trace."""

    commands: Mapping[str, Any] = smtp_commands.SMTP
    word = "SMTP"

    def __init__(self, connection: Connection, services: SmtpServices, number: int) -> None:
        super().__init__(connection, services, number)
        self.smtp = services
        self.engine = SmtpServerEngine(services.limits, self.commands)
        self.helo = ""
        self.extended = False
        self.transaction: Transaction | None = None
        #: The message that is coming in; how many recipients were accepted; and for how many a BDAT was refused, so
        #: that further ones are refused until RSET.
        self.message: MessageInput | None = None
        self.taken = 0
        self.chunks_failed = 0
        #: Who gets the message, each once; header fields that policies put above it; whether a policy
        #: accepts and drops the whole message.
        self.owners: dict[Owner, None] = {}
        self.fields: list[bytes] = []
        self.discarding = False
        self.octets_taken = 0
        self.bare_messages = 0
        self.policies: list[IMessagePolicy] | None = None

    def greet(self) -> None:
        """220 with the server's FQDN (S-086)."""
        self.say(say.reply(220, "", f"{self.services.hostname} ESMTP mailsrv"))

    def must_log_in(self) -> bool:
        """Only where mail is not taken without a login."""
        return not self.smtp.anonymous

    def dismiss(self, why: str) -> None:
        """421 with the reason (RFC 5321 section 3.8)."""
        text = {"idle": "Idle for too long", "shutdown": "Service is stopping"}.get(why, "Closing connection")
        if why == "idle" and self.message is not None and self._late():
            text = "The message comes in too slowly"
        self.say(say.reply(421, "4.4.2" if why == "idle" else "4.3.2", text))

    def limit(self, connected: float, active: float) -> float | None:
        """See Session; a message that trickles in has to be there in time, too."""
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
        talks = idle is None or now < self.connection.active_at + idle
        return talks and deadline is not None and now >= deadline

    def closed(self) -> None:
        """Let go of a message that was coming in."""
        self.reset()

    def fail(self, incident: str) -> None:
        """An internal error, temporary for the client."""
        self.say(say.reply(451, "4.3.0", f"Internal error, incident {incident}"))

    def say(self, octets: bytes) -> None:
        """Write a reply."""
        self.connection.write(octets)

    def complain(self, octets: bytes) -> None:
        """Write a refusal and count it; after too many the connection is closed.

        A temporary refusal is no mistake of the client's: it shall come again.
        """
        self.say(octets)
        if octets.startswith(b"4"):
            return
        self.bad_commands += 1
        if self.bad_commands >= self.limits.bad_commands:
            self.services.count("closed for errors")
            self.say(say.TOO_MANY_ERRORS)
            self.connection.close()

    def reset(self) -> None:
        """No transaction is under way."""
        self.transaction = None
        self.owners = {}
        self.fields = []
        self.taken = self.chunks_failed = 0
        self.discarding = False
        if self.message is not None:
            self.message.discard()
            self.message = None
