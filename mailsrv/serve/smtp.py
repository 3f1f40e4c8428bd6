"""The SMTP session (floor 3): RFC 5321 and its extensions (`smtp_verbs.extensions`).

The engine below gives one event at a time; the transaction is kept here.  A recipient is answered when the
directory and the policies have answered; the message only when it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import MailError
from ..interfaces import IContent
from ..values import ACCEPT, Recipient, Transaction
from ..wire import smtp_server as wire
from ..wire.smtp_syntax import print_reply
from ..wire.smtp_xclient import XClient
from . import smtp_replies as say
from .smtp_base import SmtpBase
from .smtp_entitled import entitled
from .smtp_login import authenticate
from .smtp_message import MessageInput, deliver
from .smtp_room import announced, check_sender, check_share
from .smtp_rules import refuse_chunk, refuse_mail, refuse_rcpt
from .smtp_verbs import PLAIN, extensions
from .smtp_verdicts import REFUSES, Share, admit, share_of
from .smtp_xclient import xclient


class SmtpSession(SmtpBase):
    """One client of an SMTP virtual server."""

    def handle(self, event: Any) -> Coroutine[Any, Any, None] | None:
        """One event of the engine; what can be answered at once is answered, the rest is left to be awaited."""
        kind = type(event)
        if kind is not wire.Plain:
            self.verb = kind
            return _HANDLERS[kind](self, event)
        self.verb = verb = event.verb
        if verb != "DATA" and verb != "QUIT" and self.idles():
            return None
        return PLAIN[verb](self, event)

    # ------------------------------------------------------------ commands

    def on_wrong(self, event: wire.Wrong) -> None:
        """What is no command."""
        if not event.fatal:
            self.complain(print_reply(event.reply))
            return
        self.services.count("foreign protocols" if event.foreign else "closed for errors")
        self.say(print_reply(event.reply))
        self.connection.close()

    async def on_hello(self, event: wire.Hello) -> None:
        """EHLO, HELO and LHLO reset the transaction (RFC 5321 section 4.1.4)."""
        if self.idles():
            return
        self.reset()
        self.helo = ""
        refusal = await self.judge.refusal("on_helo", event.name, self.connection.peer, self.client_name)
        if refusal is not None:
            self.complain(refusal)
            return
        self.helo, self.extended = event.name, event.extended
        self.look_up()
        lines = await extensions(self) if event.extended else ()
        self.say(say.reply(250, "", self.services.hostname, *lines))

    def on_mail(self, event: wire.Mail) -> Coroutine[Any, Any, None] | None:
        """MAIL FROM."""
        refusal = refuse_mail(self, event)
        if refusal is not None:
            self.complain(refusal)
            return None
        self.recall()
        path = event.path
        if path is not None and not path.domain:
            path = type(path)(path.local, self.smtp.default_domain)
        transaction = Transaction(
            server=self.services.name,
            peer=self.connection.peer,
            helo=self.helo,
            protocol=self.protocol(event),
            identity=self.identity,
            reverse_path=path,
            parameters=event.parameters,
            origin="local" if self.identity is not None and not self.identity.anonymous else "outside",
            client_name=self.client_name,
            verified=self.verified,
        )
        if self.identity is None and not self.judge.waits("on_sender"):
            self.judge.begin(transaction)
            self.begin_transaction(transaction)
            return None
        return self.admit_sender(transaction)

    async def admit_sender(self, transaction: Transaction) -> None:
        """Whether policies let the sender in, and limits who has logged in."""
        refusal = None
        try:
            if transaction.identity is not None:
                transaction.identity = await entitled(self, transaction.identity)
                await check_sender(self, transaction, announced(transaction))
            self.judge.begin(transaction)
            verdict = await self.judge.ask("on_sender", transaction)
            if verdict.action in REFUSES:
                refusal = say.of_verdict(verdict)
            elif verdict is not ACCEPT:
                self.judge.hold(verdict)
        except MailError as error:
            refusal = say.of_error(error)
        if refusal is None:
            self.begin_transaction(transaction)
        else:
            self.reset()
            self.complain(refusal)

    def begin_transaction(self, transaction: Transaction) -> None:
        """MAIL is accepted."""
        self.chunks_failed = 0
        self.transaction = transaction
        self.say(say.SENDER_OK)

    def on_rcpt(self, event: wire.Rcpt) -> Coroutine[Any, Any, None] | None:
        """RCPT TO: policies, then the router, which knows whether anybody has this address."""
        transaction, refusal = self.transaction, refuse_rcpt(self, event)
        if refusal is not None or transaction is None:
            self.complain(refusal or say.MAIL_FIRST)
            return None
        limit = self.limits.recipients
        if limit is not None and self.taken >= limit:
            self.say(say.TOO_MANY_RECIPIENTS)
            return None
        address = event.path
        if not address.domain and address.local.lower() != "postmaster":
            address = type(address)(address.local, self.smtp.default_domain)
        return self.take_recipient(transaction, Recipient(address, event.parameters))

    async def take_recipient(self, transaction: Transaction, recipient: Recipient) -> None:
        """Find the owners, and answer."""
        try:
            refusal = await self.refuse_recipient(transaction, recipient)
        except MailError as error:
            refusal = say.of_error(error)
        if refusal is None:
            self.taken += 1
            self.say(say.RECIPIENT_OK)
        else:
            self.services.count("recipients refused")
            self.complain(refusal)

    async def refuse_recipient(self, transaction: Transaction, recipient: Recipient) -> bytes | None:
        """Find the owners; the refusal, or None.  Raises MailError."""
        verdict = await self.judge.ask("on_recipient", transaction, recipient)
        if verdict.action == "discard":
            self.shares.append(Share(recipient, ()))
            return None
        if verdict.action in REFUSES:
            return say.of_verdict(verdict)
        if verdict is ACCEPT:
            # As `admit` has it.
            route = await self.smtp.router.route(recipient.address, transaction)
            share = share_of(recipient, route)
        else:
            share = await admit(self.smtp.router, transaction, recipient, verdict)
        if self.smtp.allowances is not None:
            await check_share(self, share, announced(transaction))
        self.shares.append(share)
        transaction.recipients.append(recipient)
        return None

    # ------------------------------------------------------------ the message

    def on_chunk(self, event: wire.Chunk) -> Coroutine[Any, Any, None] | None:
        """BDAT (RFC 3030): the octets of a chunk that is refused are dropped by the engine."""
        refusal = refuse_chunk(self)
        if refusal is None and self.message is None and self.judge.asked("on_data"):
            return self.admit_chunk(event)
        if refusal is None:
            (self.message or self.begin_message()).chunk(event)
        elif self.chunks_failed:
            # Those that were sent along with one that failed are no further mistakes.
            self.refuse_chunks(refusal, event.last, self.chunks_failed)
        else:
            self.complain(refusal)
        return None

    async def admit_chunk(self, event: wire.Chunk) -> None:
        """Whether policies let the first BDAT in."""
        refusal = await self.judge.refusal("on_data", self.transaction)
        if refusal is None:
            self.begin_message().chunk(event)
        else:
            taken = self.taken
            self.reset()
            self.refuse_chunks(refusal, event.last, taken)

    def on_body(self, event: wire.Body) -> Coroutine[Any, Any, None] | None:
        """Octets of a message."""
        assert self.message is not None
        return self.message.body(event)

    def begin_message(self) -> MessageInput:
        """A message comes in now."""
        self.message, self.midway = MessageInput(self), True
        return self.message

    def refuse_chunks(self, refusal: bytes, last: bool, recipients: int) -> None:
        """A BDAT failed in a transaction of so many recipients: the next ones do until RSET or MAIL."""
        self.chunks_failed = recipients
        self.say(refusal)

    def answer_message(self, refusal: bytes) -> None:
        """The whole message is refused."""
        self.complain(refusal)

    def deliver(self, content: IContent, refusal: bytes | None) -> Coroutine[Any, Any, None]:
        """Deliver a whole message and answer it; `refusal` tells what is wrong with its header."""
        return deliver(self, content, refusal)

    # ------------------------------------------------------------ rules

    def protocol(self, event: wire.Mail) -> str:
        """The word for Received; the trace adds S and A (RFC 3848, RFC 6531 section 4.3)."""
        if "SMTPUTF8" in event.parameters:
            return f"UTF8{self.word}"
        return f"E{self.word}" if self.extended and self.word == "SMTP" else self.word


_HANDLERS: dict[type, Callable[[SmtpSession, Any], Coroutine[Any, Any, None] | None]] = {
    wire.Wrong: SmtpSession.on_wrong,
    wire.Hello: SmtpSession.on_hello,
    wire.Mail: SmtpSession.on_mail,
    wire.Rcpt: SmtpSession.on_rcpt,
    wire.Chunk: SmtpSession.on_chunk,
    wire.Body: SmtpSession.on_body,
    wire.Auth: authenticate,
    XClient: xclient,
}
