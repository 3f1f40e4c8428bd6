"""The SMTP session (floor 3): RFC 5321 with PIPELINING, SIZE, 8BITMIME, ENHANCEDSTATUSCODES, STARTTLS, AUTH.

The engine below gives one event at a time; the transaction is kept here.  A recipient is answered when the
directory and the policies have answered; the message only when it is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from ..errors import MailError, TryLater, Unroutable
from ..interfaces import IMessagePolicy
from ..net.connection import Connection
from ..values import ACCEPT, Owner, Recipient, Transaction, Verdict
from ..wire import smtp_server as wire
from ..wire.smtp_syntax import print_reply
from . import smtp_replies as say
from .session import Session, SmtpServices
from .smtp_login import authenticate
from .smtp_message import MessageInput

log = Logger()

#: MAIL parameters that are understood, and RCPT has none yet.
_MAIL_PARAMETERS = {"SIZE", "BODY", "AUTH"}


class SmtpSession(Session):
    """One client of an SMTP virtual server."""

    def __init__(self, connection: Connection, services: SmtpServices, number: int) -> None:
        super().__init__(connection, services, number)
        self.smtp = services
        self.engine = wire.SmtpServerEngine(services.limits)
        self.helo = ""
        self.extended = False
        self.transaction: Transaction | None = None
        #: Who gets the message, each once; header fields that policies put above it; recipients that a policy
        #: accepts and drops, and whether one does so with the whole message.
        self.owners: dict[Owner, None] = {}
        self.fields: list[bytes] = []
        self.dropped = 0
        self.discarding = False
        self.octets_taken = 0
        self.bare_messages = 0
        self.policies: list[IMessagePolicy] | None = None

    # ------------------------------------------------------------ for the connection

    def greet(self) -> None:
        """220 with the server's FQDN (S-086)."""
        self.say(say.reply(220, "", f"{self.services.hostname} ESMTP mailsrv"))

    async def handle(self, event: Any) -> None:
        """One event of the engine."""
        await _HANDLERS[type(event)](self, event)

    def must_log_in(self) -> bool:
        """Only where mail is not taken without a login."""
        return not self.smtp.anonymous

    def dismiss(self, why: str) -> None:
        """421 with the reason (RFC 5321 section 3.8)."""
        text = {"idle": "Idle for too long", "shutdown": "Service is stopping"}.get(why, "Closing connection")
        self.say(say.reply(421, "4.4.2" if why == "idle" else "4.3.2", text))

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

    # ------------------------------------------------------------ commands

    async def on_wrong(self, event: wire.Wrong) -> None:
        """What is no command."""
        self.complain(print_reply(event.reply))

    async def on_hello(self, event: wire.Hello) -> None:
        """EHLO and HELO reset the transaction (RFC 5321 section 4.1.4)."""
        self.reset()
        self.helo, self.extended = event.name, event.extended
        if not event.extended:
            self.say(say.reply(250, "", self.services.hostname))
            return
        limit = self.limits.message_octets
        lines = [
            self.services.hostname,
            "PIPELINING",
            f"SIZE {limit}" if limit is not None else "SIZE",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
        ]
        if self.services.tls_available and not self.connection.secure:
            lines.append("STARTTLS")
        mechanisms = [] if self.identity else self.offered_mechanisms()
        if mechanisms and not (self.services.require_tls and not self.connection.secure):
            lines.append("AUTH " + " ".join(mechanisms))
        self.say(say.reply(250, "", *lines))

    async def on_plain(self, event: wire.Plain) -> None:
        """Commands without syntax of their own."""
        await _PLAIN[event.verb](self, event)

    async def on_mail(self, event: wire.Mail) -> None:
        """MAIL FROM."""
        refusal = self.refuse_mail(event)
        if refusal is not None:
            self.complain(refusal)
            return
        path = event.path
        if path is not None and not path.domain:
            path = type(path)(path.local, self.smtp.default_domain)
        transaction = Transaction(
            server=self.services.name,
            peer=self.connection.peer,
            helo=self.helo,
            protocol=self.protocol(),
            identity=self.identity,
            reverse_path=path,
            parameters=event.parameters,
            origin="local" if self.identity is not None and not self.identity.anonymous else "outside",
        )
        try:
            verdict = await self.judge("on_sender", transaction)
        except MailError as error:
            verdict, refusal = ACCEPT, say.of_error(error)
        if verdict.action in ("reject", "tempfail"):
            refusal = say.of_verdict(verdict)
        if refusal is not None:
            self.reset()
            self.complain(refusal)
            return
        self.discarding = verdict.action == "discard"
        self.transaction = transaction
        self.say(say.SENDER_OK)

    async def on_rcpt(self, event: wire.Rcpt) -> None:
        """RCPT TO: policies, then the router, which knows whether anybody has this address."""
        transaction = self.transaction
        if transaction is None:
            self.complain(say.MAIL_FIRST)
            return
        if event.parameters:
            self.complain(say.BAD_PARAMETER)
            return
        limit = self.limits.recipients
        if limit is not None and len(transaction.recipients) + self.dropped >= limit:
            self.say(say.TOO_MANY_RECIPIENTS)
            return
        address = event.path
        if not address.domain and address.local.lower() != "postmaster":
            address = type(address)(address.local, self.smtp.default_domain)
        try:
            refusal = await self.take_recipient(transaction, Recipient(address))
        except MailError as error:
            refusal = say.of_error(error)
        if refusal is not None:
            self.services.count("recipients refused")
            self.complain(refusal)
            return
        self.say(say.RECIPIENT_OK)

    async def take_recipient(self, transaction: Transaction, recipient: Recipient) -> bytes | None:
        """Find the owners; the refusal, or None.  Raises MailError."""
        verdict = await self.judge("on_recipient", transaction, recipient)
        if verdict.action == "discard":
            self.dropped += 1
            return None
        if verdict.action != "accept":
            return say.of_verdict(verdict)
        route = await self.smtp.router.route(recipient.address, transaction)
        if not route.placements:
            # Whoever has a router of its own: what nobody gets is never accepted.
            raise Unroutable()
        transaction.recipients.append(recipient)
        for owner in route.placements:
            self.owners[owner] = None
        return None

    # ------------------------------------------------------------ rules

    def protocol(self) -> str:
        """The word for Received; the trace adds S and A (RFC 3848)."""
        return "ESMTP" if self.extended else "SMTP"

    def refuse_mail(self, event: wire.Mail) -> bytes | None:
        """Why this MAIL cannot be, or None."""
        if not self.helo:
            return say.HELLO_FIRST
        if self.services.require_tls and not self.connection.secure:
            return say.TLS_FIRST
        if self.identity is None and not self.smtp.anonymous:
            return say.LOGIN_FIRST
        if self.transaction is not None:
            return say.NESTED_MAIL
        parameters = event.parameters
        if not parameters:
            return None
        if not parameters.keys() <= _MAIL_PARAMETERS:
            return say.BAD_PARAMETER
        if parameters.get("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME"):
            return say.BAD_VALUE
        return self.refuse_size(parameters["SIZE"]) if "SIZE" in parameters else None

    def refuse_size(self, text: str) -> bytes | None:
        """RFC 1870 section 6.1: the announced size against the limits (S-117, S-121)."""
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            return say.BAD_VALUE
        size, limits = int(text), self.limits
        if limits.message_octets is not None and size > limits.message_octets:
            return say.TOO_BIG
        if limits.session_octets is not None and size > limits.session_octets - self.octets_taken:
            return say.SESSION_FULL
        return None

    def rules(self) -> list[IMessagePolicy]:
        """The policies of this connection, made when first needed."""
        if self.policies is None:
            self.policies = [make() for make in self.smtp.policies]
        return self.policies

    async def judge(self, question: str, *about: Any) -> Verdict:
        """Ask the policies in order: the first verdict that is not accept, or ACCEPT.

        Header fields they give are kept for the message.  Raises MailError.
        """
        try:
            for policy in self.rules():
                verdict: Verdict = await getattr(policy, question)(*about)
                if verdict.action != "accept":
                    return verdict
                if verdict.fields:
                    self.fields.extend(verdict.fields)
        except ConnectionError as error:
            # It is a policy's own connection that broke; the pump would take it for the client's.
            log.failure("a policy of {server} failed", server=self.services.name)
            raise TryLater() from error
        return ACCEPT

    def reset(self) -> None:
        """No transaction is under way."""
        self.transaction = None
        self.owners = {}
        self.fields = []
        self.dropped = 0
        self.discarding = False


async def _data(session: SmtpSession, event: wire.Plain) -> None:
    if session.transaction is None:
        refusal = say.MAIL_FIRST
    elif not session.transaction.recipients and not session.dropped:
        refusal = say.NO_RECIPIENTS
    else:
        await MessageInput(session).run()
        return
    session.complain(refusal)
    if session.engine.pipelined:
        # The client did not wait for 354: what follows is a message, and must not be read as commands.
        session.connection.close()


async def _rset(session: SmtpSession, event: wire.Plain) -> None:
    session.reset()
    session.say(say.RESET_OK)


async def _noop(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.RESET_OK)


async def _quit(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.GOODBYE)
    session.connection.close()


async def _vrfy(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.CANNOT_VERIFY)


async def _expn(session: SmtpSession, event: wire.Plain) -> None:
    session.complain(say.NO_EXPN)


async def _help(session: SmtpSession, event: wire.Plain) -> None:
    session.say(say.HELP)


async def _starttls(session: SmtpSession, event: wire.Plain) -> None:
    if session.connection.secure or not session.services.tls_available:
        session.engine.resume()
        session.complain(say.TLS_ALREADY if session.connection.secure else say.NO_TLS)
        return
    session.say(say.START_TLS)
    # RFC 3207 section 4.2: everything learnt in clear is forgotten, a login too.
    session.reset()
    session.helo, session.extended, session.identity = "", False, None
    session.connection.start_tls()


_PLAIN: dict[str, Callable[[SmtpSession, wire.Plain], Any]] = {
    "DATA": _data,
    "RSET": _rset,
    "NOOP": _noop,
    "QUIT": _quit,
    "VRFY": _vrfy,
    "EXPN": _expn,
    "HELP": _help,
    "STARTTLS": _starttls,
}

_HANDLERS: dict[type, Callable[[SmtpSession, Any], Any]] = {
    wire.Wrong: SmtpSession.on_wrong,
    wire.Hello: SmtpSession.on_hello,
    wire.Plain: SmtpSession.on_plain,
    wire.Mail: SmtpSession.on_mail,
    wire.Rcpt: SmtpSession.on_rcpt,
    wire.Auth: authenticate,
}
