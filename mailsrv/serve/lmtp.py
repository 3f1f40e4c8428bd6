"""The LMTP session (floor 5; RFC 2033): SMTP's, but each recipient is answered for itself after the message.

One commit serves all recipients that are not refused.  LMTP is the last step of a delivery: addresses of domains whose
mailboxes are elsewhere are refused (RFC 2033 section 5).  What an alias of a domain of ours leads to is sent on, and so
is mail for unknown recipients of shared domains, where the server forwards them.
"""

from __future__ import annotations

from ..errors import MailError, RelayDenied
from ..interfaces import IContent
from ..values import Recipient, Transaction
from ..wire import smtp_commands
from . import smtp_replies as say
from .smtp import SmtpSession
from .smtp_message import hand_over, judge_content
from .smtp_room import check_sender, check_share
from .smtp_verdicts import REFUSES, Answers, Share


class LmtpSession(SmtpSession):
    """One client of a server of role lmtp."""

    commands = smtp_commands.LMTP
    word = greeting = "LMTP"

    async def refuse_recipient(self, transaction: Transaction, recipient: Recipient) -> bytes | None:
        """See SmtpSession; whatever the lists say, nobody sends mail on by way of LMTP.  Raises MailError."""
        domain = recipient.address.domain
        facts = await self.smtp.store.directory.domain(domain) if domain else None
        if domain and (facts is None or facts.kind == "relay"):
            raise RelayDenied(f"Mail for {domain} is not sent on from here")
        return await super().refuse_recipient(transaction, recipient)

    def answer_message(self, refusal: bytes) -> None:
        """The whole message is refused, once for each recipient that was accepted (RFC 2033 section 4.2)."""
        self.say(refusal * (self.taken - 1))
        self.complain(refusal)

    def refuse_chunks(self, refusal: bytes, last: bool, recipients: int) -> None:
        """Only the last BDAT is answered for each recipient (RFC 2033 section 4.3)."""
        super().refuse_chunks(refusal * recipients if last else refusal, last, recipients)

    async def deliver(self, content: IContent, refusal: bytes | None) -> None:
        """See SmtpSession; one answer for each recipient, in the order of RCPT."""
        if refusal is not None:
            self.answer_message(refusal)
            return
        transaction, shares = self.transaction, self.shares
        assert transaction is not None
        try:
            await check_sender(self, transaction, content.size)
            answers = await judge_content(self, content)
        except MailError as error:
            self.services.count("messages refused")
            self.answer_message(say.of_error(error, 554))
            return
        size = content.size if answers.content is None else answers.content.size
        refused = [await self.refusal_of(share, answers, size) for share in shares]
        self.shares = [share for share, no in zip(shares, refused, strict=True) if no is None]
        kept = {id(share.recipient) for share in self.shares}
        transaction.recipients = [one for one in transaction.recipients if id(one) in kept]
        said = await self._hand_over(content, answers)
        self.say(b"".join(no or said for no in refused))

    async def refusal_of(self, share: Share, answers: Answers, size: int) -> bytes | None:
        """Why one recipient does not get this message, or None."""
        verdict = answers.of(share.recipient.address)
        if verdict.action in REFUSES:
            self.services.count("messages refused")
            return say.of_verdict(verdict, 554)
        try:
            await check_share(self, share, size)
        except MailError as error:
            self.services.count("messages refused")
            return say.of_error(error, 554)
        return None

    async def _hand_over(self, content: IContent, answers: Answers) -> bytes:
        """Deliver to those that are left: their answer."""
        if not self.shares:
            return b""
        try:
            return await hand_over(self, content, answers)
        except MailError as error:
            self.services.count("messages refused")
            return say.of_error(error, 554)
