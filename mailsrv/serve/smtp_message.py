"""The message of one SMTP transaction (floor 3): from 354 or the first BDAT to the reply that means durable.

Whatever is wrong with a message of DATA, it is read to its end first and refused then: the octets of a message are
never taken for commands.  A BDAT counts its octets, so that it is refused as soon as it is known to be too much.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MailError, StoreFull
from ..interfaces import IContent
from ..message.content import MemoryContent
from ..message.trace import count_received, header_end
from ..net.connection import WORTH_NOTING
from ..transfer.loops import comes_back
from ..values import ACCEPT, Transaction, Verdict
from ..wire import smtp_server as wire
from ..wire.smtp_binary import BinaryReader
from ..wire.smtp_data import ChunkReader, TextRules
from . import smtp_replies as say
from .smtp_dsn import promised
from .smtp_room import check_sender, check_whole, refuse_full
from .smtp_rules import is_binary, refuse_size
from .smtp_verdicts import Answers, Share, left_out, make_mailboxes, moved_field, placed

if TYPE_CHECKING:
    from .smtp import SmtpSession

#: The header of most messages fits into this.
_HEAD = 8192
#: How messages that policies moved are counted.
_MOVED = {"quarantine": "messages quarantined", "redirect": "messages redirected"}
#: Messages with a lone CR or LF that one connection may try (decisions 38).
_BARE_MESSAGES = 3


class MessageInput:
    """Takes one message on behalf of a session whose transaction is complete."""

    #: Octets since `_noted`, None when none are awaited.
    _coming: int | None = None
    #: The BDAT whose octets come; who examines them.
    _chunk: wire.Chunk | None = None
    _reader: Any = None
    _too_big = False
    _full: StoreFull | None = None

    def __init__(self, session: SmtpSession) -> None:
        self._session = session
        self._spool = session.services.spool()
        self._began = self._noted = session.connection.host.monotonic()

    def deadline(self, timeout: float | None, rate: int) -> float | None:
        """The monotonic instant by which more of it must be here: so much time, or more for who keeps to `rate`."""
        return None if timeout is None else self._began + max(timeout, self._spool.size / rate)

    def active(self, active: float) -> float:
        """When the client did something last: octets that trickle in are no activity, only whole KiB (S-060)."""
        return active if self._coming is None else self._noted

    def discard(self) -> None:
        """Forget what came in so far, but for its size, which counts for the connection (S-121)."""
        if self._reader is not None:
            self._session.octets_taken += self._reader.size
        self._spool.discard()

    def data(self) -> None:
        """Answer 354: what comes next is the message."""
        self._coming = 0
        self._session.say(say.START_INPUT)
        self._session.engine.start_body(self._session.smtp.bare_newlines == "normalise")

    def chunk(self, event: wire.Chunk) -> None:
        """Take the octets of one BDAT, or refuse it; then the transaction is over."""
        session = self._session
        refusal = self._foresee(event)
        if refusal is None:
            self._await()
            self._chunk = event
            session.engine.take_chunk(self._start())
        else:
            # The octets come all the same, and are dropped.
            session.octets_taken += event.size
            self._fail(refusal, event)

    def body(self, event: wire.Body) -> Coroutine[Any, Any, None] | None:
        """Octets of the message; with the last of a DATA or BDAT the answer."""
        if event.octets:
            self._keep(event.octets)
        if not event.last:
            self._note(len(event.octets))
            return None
        self._coming = None
        self._reader, chunk = event.reader, self._chunk
        if chunk is None:
            return self._end()
        if chunk.last:
            self._keep(self._reader.finish())
            return self._end()
        self._go_on(chunk)
        return None

    def _await(self) -> None:
        self._coming, self._noted = 0, self._session.connection.host.monotonic()

    def _note(self, octets: int) -> None:
        self._coming = (self._coming or 0) + octets
        if self._coming >= WORTH_NOTING:
            self._await()

    def _go_on(self, chunk: wire.Chunk) -> None:
        """Answer a chunk that is not the last."""
        refusal = self._refuse(self._reader)
        if refusal is None:
            self._session.say(say.chunk_taken(chunk.size))
        else:
            self._fail(refusal, chunk)

    def _fail(self, refusal: bytes, chunk: wire.Chunk) -> None:
        """A chunk that is refused ends the transaction."""
        session, recipients = self._session, self._session.taken
        session.reset()
        session.services.count("messages refused")
        session.refuse_chunks(refusal, chunk.last, recipients)
        session.mistake(refusal)
        self._close_if_over()

    async def _end(self) -> None:
        """Answer the whole message, and end the transaction."""
        session = self._session
        refusal = self._refuse(self._reader)
        try:
            if refusal is None:
                await self._deliver()
            else:
                session.services.count("messages refused")
                session.answer_message(refusal)
        finally:
            session.reset()
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

    async def _deliver(self) -> None:
        """Look at the header, and have the session deliver and answer the message."""
        session = self._session
        if self._chunk is not None and is_binary(session.transaction):
            # From here on it is text, and nobody who sends it on has to convert it again (docs/decisions/0013).
            session.transaction.parameters["BODY"] = "8BITMIME"
        content = self._spool.finish()
        try:
            # What is in memory is read without a coroutine.
            cut = content.cut if isinstance(content, MemoryContent) else None
            head = cut(0, _HEAD) if cut else await content.read(0, _HEAD)
            end = header_end(head)
            if end >= len(head) and content.size > len(head):
                head = await content.read(0, session.limits.header_octets + 1)
                end = header_end(head)
            refusal = self._refuse_head(head, end)
            if refusal is not None:
                session.services.count("messages refused")
            await session.deliver(content, refusal)
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

    def _refuse_head(self, head: bytes, end: int) -> bytes | None:
        """A header without measure (CVE-2020-12100 and its kind), or a message that goes in circles (S-080)."""
        limits = self._session.limits
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
    for share in session.shares:
        if share.taken:
            return await judge.content(transaction, content) if judge.asked("on_content") else Answers()
    return Answers(Verdict("discard"))


async def hand_over(session: SmtpSession, content: IContent, answers: Answers) -> bytes:
    """Through the durable door, for all recipients that are not refused or dropped: the reply that means it is
    durable, or DISCARDED when nobody is left.  Raises MailError."""
    transaction, judge, smtp = session.transaction, session.judge, session.smtp
    assert transaction is not None
    content = content if answers.content is None else answers.content
    shares, moved = session.shares, b""
    session.idle_commands = 0
    if answers.each or answers.whole is not ACCEPT or judge.notes:
        shares = await placed(smtp.router, transaction, shares, judge.whole, answers)
        await make_mailboxes(smtp.store, shares)
        moved = moved_field(shares)
        for action in {share.verdict.action for share in shares} & _MOVED.keys():
            smtp.count(_MOVED[action])
    owners, special = [], False
    for share in shares:
        owners += share.owners
        special = special or share.special
    if not owners and not any(share.onward for share in shares):
        refuse_full(shares)
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
        submission=smtp.submission,
        **(_special(session, transaction, shares, moved) if special or judge.notes else {}),
    )
    judge.done()
    smtp.took(content.size)
    # Who sends mail that is wanted may go on, for all the dead addresses of a long list.
    session.bad_commands = 0
    return say.accepted(delivery_id)


def _special(
    session: SmtpSession, transaction: Transaction, shares: Sequence[Share], moved: bytes
) -> dict[str, Any]:
    """What `Intake.accept` is told of few messages.  Raises TryLater."""
    judge = session.judge
    return {
        "fields": [*judge.fields, moved] if moved else judge.fields,
        "removed": {*judge.removed, b"x-mailsrv-verdict"} if moved else judge.removed,
        "note": judge.note() + left_out(shares),
        **promised(session.smtp, transaction, shares),
    }


async def deliver(session: SmtpSession, content: IContent, refusal: bytes | None) -> None:
    """One answer for all recipients.  `refusal`: what is wrong with the header."""
    if refusal is not None:
        session.complain(refusal)
        return
    try:
        assert session.transaction is not None
        if session.transaction.identity is not None:
            await check_sender(session, session.transaction, content.size)
        answers = await judge_content(session, content)
        refused = answers.refusal()
        if refused is None:
            if session.smtp.allowances is not None:
                await check_whole(session, (content if answers.content is None else answers.content).size)
            session.say(await hand_over(session, content, answers))
        else:
            session.services.count("messages refused")
            session.complain(say.of_verdict(refused, 554))
    except MailError as error:
        session.services.count("messages refused")
        session.say(say.of_error(error, 554))
