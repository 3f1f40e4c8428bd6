"""The message of one SMTP transaction (floor 3): from 354 or the first BDAT to the reply that means durable.

Whatever is wrong with a message of DATA, it is read to its end first and refused then: the octets of a message are
never taken for commands.  A BDAT counts its octets, so that it is refused as soon as it is known to be too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import MailError, StoreFull
from ..interfaces import IContent
from ..message.trace import count_received, header_end
from ..transfer.loops import comes_back
from ..values import ACCEPT, Verdict
from ..wire import smtp_server as wire
from ..wire.smtp_binary import BinaryReader
from ..wire.smtp_data import ChunkReader, TextRules
from . import smtp_replies as say
from .smtp_room import check_whole
from .smtp_rules import is_binary, refuse_size
from .smtp_verdicts import Answers, make_mailboxes, moved_field, placed

if TYPE_CHECKING:
    from .smtp import SmtpSession

#: The header of most messages fits into this.
_HEAD = 8192
#: Messages with a lone CR or LF that one connection may try (decisions 38).
_BARE_MESSAGES = 3


class MessageInput:
    """Takes one message on behalf of a session whose transaction is complete."""

    __slots__ = ("_began", "_full", "_reader", "_session", "_spool", "_too_big")

    def __init__(self, session: SmtpSession) -> None:
        self._session = session
        self._spool = session.services.spool()
        self._began = session.connection.host.monotonic()
        self._reader: Any = None
        self._too_big = False
        self._full: StoreFull | None = None

    def deadline(self, timeout: float | None, rate: int) -> float | None:
        """The monotonic instant by which more of it must be here: so much time, or more for who keeps to `rate`."""
        return None if timeout is None else self._began + max(timeout, self._spool.size / rate)

    def discard(self) -> None:
        """Forget what came in so far."""
        self._spool.discard()

    async def data(self) -> None:
        """Answer 354, read the message, answer it, and end the transaction."""
        session = self._session
        session.say(say.START_INPUT)
        session.engine.start_body(session.smtp.bare_newlines == "normalise")
        try:
            await self._read()
            await self._finish()
        finally:
            session.reset()
        self._close_if_over()

    async def chunk(self, event: wire.Chunk) -> None:
        """Read one BDAT and answer it; the last ends the transaction, as does one that is refused."""
        session, going_on = self._session, False
        try:
            refusal = self._foresee(event)
            if refusal is None:
                session.engine.take_chunk(self._start())
                await self._read()
                if event.last:
                    self._keep(self._reader.finish())
                    await self._finish()
                else:
                    refusal = self._refuse(self._reader)
                    going_on = refusal is None
                    if not going_on:
                        session.octets_taken += self._reader.size
        finally:
            if not going_on:
                count = session.taken
                session.reset()
        if going_on:
            session.say(say.chunk_taken(event.size))
            return
        if refusal is not None:
            session.services.count("messages refused")
            session.refuse_chunks(refusal, event.last, count)
        self._close_if_over()

    def _foresee(self, event: wire.Chunk) -> bytes | None:
        """What is known to be wrong before a chunk is read."""
        size, limit = self._spool.size + event.size, self._session.limits.message_octets
        if limit is not None and event.size > 2 * limit + _HEAD:
            # Nobody waits for the end of that.
            self._session.say(say.TOO_BIG_TO_SKIP)
            self._session.connection.close()
        return refuse_size(self._session, size)

    def _start(self) -> ChunkReader | BinaryReader:
        if self._reader is None:
            make = BinaryReader if is_binary(self._session.transaction) else ChunkReader
            normalise = self._session.smtp.bare_newlines == "normalise"
            self._reader = make(self._session.limits.text_line_octets, normalise)
        reader: ChunkReader | BinaryReader = self._reader
        return reader

    async def _read(self) -> None:
        """All octets of a DATA or a chunk.  Raises ConnectionResetError when the client is gone."""
        next_event = self._session.connection.next_event
        while True:
            body = await next_event()
            if body.octets:
                self._keep(body.octets)
            if body.last:
                self._reader = body.reader
                return

    def _keep(self, octets: bytes) -> None:
        limit = self._session.limits.message_octets
        if self._too_big or self._full is not None:
            return
        if limit is not None and self._spool.size + len(octets) > limit:
            self._too_big = True
            self._spool.discard()
            return
        try:
            self._spool.write(octets)
        except StoreFull as error:
            self._full = error

    async def _finish(self) -> None:
        """Answer the whole message."""
        session, reader = self._session, self._reader
        session.octets_taken += reader.size
        refusal = self._refuse(reader)
        if refusal is not None:
            session.services.count("messages refused")
            session.answer_message(refusal)
            return
        if is_binary(session.transaction):
            # From here on it is text, and nobody who sends it on has to convert it again (docs/decisions/0013).
            session.transaction.parameters["BODY"] = "8BITMIME"
        content = self._spool.finish()
        try:
            await session.deliver(content, await self._refuse_head(content))
        finally:
            content.close()

    def _refuse(self, reader: TextRules) -> bytes | None:
        """What is wrong with the message as a whole, or with what came so far."""
        if self._too_big:
            return say.TOO_BIG
        if self._full is not None:
            return say.of_error(self._full)
        if reader.malformed:
            return say.BINARY_REFUSED
        if reader.nul:
            return say.NUL_REFUSED
        if reader.bare:
            self._session.bare_messages += 1
            return say.BARE_REFUSED
        return say.LINE_TOO_LONG if reader.long_line else None

    async def _refuse_head(self, content: IContent) -> bytes | None:
        """A header without measure (CVE-2020-12100 and its kind), or a message that goes in circles (S-080)."""
        limits = self._session.limits
        head = await content.read(0, min(content.size, _HEAD))
        end = header_end(head)
        if end >= len(head) and content.size > len(head):
            head = await content.read(0, min(content.size, limits.header_octets + 1))
            end = header_end(head)
            if end > limits.header_octets:
                return say.HEADER_TOO_BIG
        lines = head.count(b"\n", 0, end)
        if lines > limits.header_fields:
            lines -= head.count(b"\n ", 0, end) + head.count(b"\n\t", 0, end)
            if lines > limits.header_fields:
                return say.TOO_MANY_FIELDS
        # There are never more hops than lines.
        if lines > limits.hops and count_received(head) > limits.hops:
            return say.TOO_MANY_HOPS
        transaction = self._session.transaction
        assert transaction is not None
        return say.MAIL_LOOP if comes_back(head[:end], transaction.recipients) is not None else None

    def _close_if_over(self) -> None:
        """S-121 with X-13: the session's size limit closes after the reply; so do repeated bare newlines."""
        session, limit = self._session, self._session.limits.session_octets
        if self._reader is not None and self._reader.bare and session.bare_messages >= _BARE_MESSAGES:
            session.say(say.BARE_AGAIN)
            session.connection.close()
        elif limit is not None and session.octets_taken >= limit:
            session.services.count("closed for session size")
            session.say(say.SESSION_OVER)
            session.connection.close()


async def judge_content(session: SmtpSession, content: IContent) -> Answers:
    """What the policies say of the whole message, recipient by recipient.  Raises MailError."""
    judge, transaction = session.judge, session.transaction
    assert transaction is not None
    if judge.whole.action == "discard":
        return Answers(judge.whole)
    if not any(share.owners for share in session.shares):
        return Answers(Verdict("discard"))
    return await judge.content(transaction, content)


async def hand_over(session: SmtpSession, content: IContent, answers: Answers) -> bytes:
    """Through the durable door, for all recipients that are not refused or dropped: the reply that means it is
    durable, or DISCARDED when nobody is left.  Raises MailError."""
    transaction, judge, smtp = session.transaction, session.judge, session.smtp
    assert transaction is not None
    shares, moved = session.shares, b""
    if answers.each or answers.whole is not ACCEPT or judge.notes:
        shares = await placed(smtp.router, transaction, shares, judge.whole, answers)
        await make_mailboxes(smtp.store, shares)
        moved = moved_field(shares)
    owners = [owner for share in shares for owner in share.owners]
    if not owners:
        smtp.count("messages discarded")
        judge.done()
        return say.DISCARDED
    if session.client is not None:
        # Whoever it is, the message is taken (S-093).
        client = await session.client.result()
        if client is not None:
            transaction.client_name, transaction.verified = client.name, client.verified
    delivery_id = await smtp.intake.accept(
        transaction,
        content,
        owners,
        hostname=smtp.hostname,
        tls=session.connection.tls_facts(),
        fields=[*judge.fields, moved] if moved else judge.fields,
        removed={*judge.removed, b"x-mailsrv-verdict"} if moved else judge.removed,
        submission=smtp.submission,
        moved=any(share.verdict.action == "redirect" for share in shares),
        note=judge.note(),
    )
    judge.done()
    smtp.count("messages")
    # Who sends mail that is wanted may go on, for all the dead addresses of a long list.
    session.bad_commands = 0
    return say.accepted(delivery_id)


async def deliver(session: SmtpSession, content: IContent, refusal: bytes | None) -> None:
    """One answer for all recipients.  `refusal`: what is wrong with the header."""
    if refusal is not None:
        session.complain(refusal)
        return
    try:
        await check_whole(session, content.size)
        answers = await judge_content(session, content)
        refused = answers.refusal()
        if refused is None:
            session.say(await hand_over(session, content, answers))
        else:
            session.services.count("messages refused")
            session.complain(say.of_verdict(refused, 554))
    except MailError as error:
        session.services.count("messages refused")
        session.say(say.of_error(error, 554))
