"""The message of one SMTP transaction (floor 3): from 354 or the first BDAT to the reply that means durable.

Whatever is wrong with a message of DATA, it is read to its end first and refused then: the octets of a message are
never taken for commands.  A BDAT counts its octets, so that it is refused as soon as it is known to be too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import MailError, StoreFull
from ..interfaces import IContent
from ..message.trace import count_received, header_end
from ..wire import smtp_server as wire
from ..wire.smtp_data import ChunkReader, TextRules
from . import smtp_replies as say
from .smtp_rules import refuse_size

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

    def _start(self) -> ChunkReader:
        if self._reader is None:
            normalise = self._session.smtp.bare_newlines == "normalise"
            self._reader = ChunkReader(self._session.limits.text_line_octets, normalise)
        reader: ChunkReader = self._reader
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
        return say.TOO_MANY_HOPS if lines > limits.hops and count_received(head) > limits.hops else None

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


async def judge_content(session: SmtpSession, content: IContent) -> bytes | None:
    """What the policies say of the whole message: a refusal, DISCARDED, or None.  Raises MailError."""
    if session.discarding or not session.owners:
        return say.DISCARDED
    verdict = await session.judge("on_content", session.transaction, content)
    if verdict.action == "accept":
        return None
    return say.DISCARDED if verdict.action == "discard" else say.of_verdict(verdict, 554)


async def hand_over(session: SmtpSession, content: IContent, owners: Any) -> bytes:
    """Through the durable door: the reply that means it is durable.  Raises MailError."""
    transaction = session.transaction
    assert transaction is not None
    delivery_id = await session.smtp.intake.accept(
        transaction,
        content,
        owners,
        hostname=session.services.hostname,
        tls=session.connection.tls_facts(),
        fields=session.fields,
    )
    session.services.count("messages")
    # Who sends mail that is wanted may go on, for all the dead addresses of a long list.
    session.bad_commands = 0
    return say.accepted(delivery_id)


async def deliver(session: SmtpSession, content: IContent, refusal: bytes | None) -> None:
    """One answer for all recipients.  `refusal`: what is wrong with the header."""
    if refusal is not None:
        session.complain(refusal)
        return
    try:
        said = await judge_content(session, content)
        if said is None:
            session.say(await hand_over(session, content, session.owners))
        elif said is say.DISCARDED:
            session.services.count("messages discarded")
            session.say(said)
        else:
            session.services.count("messages refused")
            session.complain(said)
    except MailError as error:
        session.services.count("messages refused")
        session.say(say.of_error(error, 554))
