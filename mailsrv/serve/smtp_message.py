"""The message of one SMTP transaction (floor 3): from 354 to the reply that means durable.

Whatever is wrong with a message, it is read to its end first and refused then: the octets of a message are never
taken for commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MailError, StoreFull
from ..interfaces import IContent
from ..message.trace import count_received, header_end
from ..wire.smtp_data import BodyReader
from . import smtp_replies as say

if TYPE_CHECKING:
    from .smtp import SmtpSession

#: Hops are counted in at most this much of a message's head.
_HEAD = 256 * 1024
#: Messages with a lone CR or LF that one connection may try (decisions 38).
_BARE_MESSAGES = 3


class MessageInput:
    """Takes one message on behalf of a session whose transaction is complete."""

    __slots__ = ("_full", "_session", "_spool", "_too_big")

    def __init__(self, session: SmtpSession) -> None:
        self._session = session
        self._spool = session.services.spool()
        self._too_big = False
        self._full: StoreFull | None = None

    async def run(self) -> None:
        """Answer 354, read the message, answer it, and end the transaction."""
        session = self._session
        session.say(say.START_INPUT)
        session.engine.start_body()
        try:
            while True:
                body = await session.connection.next_event()
                self._keep(body.octets)
                if body.last:
                    break
            session.octets_taken += body.reader.size
            refusal = self._refuse(body.reader)
            if refusal is not None:
                session.services.count("messages refused")
                session.complain(refusal)
            else:
                await self._deliver()
        finally:
            self._spool.discard()
            session.reset()
        self._close_if_over(body.reader)

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

    def _refuse(self, reader: BodyReader) -> bytes | None:
        """What is wrong with the message as a whole."""
        if self._too_big:
            return say.TOO_BIG
        if self._full is not None:
            return say.of_error(self._full)
        if reader.nul:
            return say.NUL_REFUSED
        if reader.bare:
            self._session.bare_messages += 1
            return say.BARE_REFUSED
        if reader.long_line:
            return say.LINE_TOO_LONG
        return None

    async def _deliver(self) -> None:
        session, content = self._session, self._spool.finish()
        transaction = session.transaction
        assert transaction is not None
        try:
            if await self._hops(content) > session.limits.hops:
                session.complain(say.TOO_MANY_HOPS)
                return
            if session.discarding or not session.owners:
                self._discard()
                return
            verdict = await session.judge("on_content", transaction, content)
            if verdict.action == "discard":
                self._discard()
                return
            if verdict.action != "accept":
                session.services.count("messages refused")
                session.complain(say.of_verdict(verdict, 554))
                return
            delivery_id = await session.smtp.intake.accept(
                transaction,
                content,
                session.owners,
                hostname=session.services.hostname,
                tls=session.connection.tls_facts(),
                fields=session.fields,
            )
        except MailError as error:
            session.services.count("messages refused")
            session.say(say.of_error(error, 554))
        else:
            session.services.count("messages")
            # Who sends mail that is wanted may go on, for all the dead addresses of a long list.
            session.bad_commands = 0
            session.say(say.accepted(delivery_id))
        finally:
            content.close()

    def _discard(self) -> None:
        """A policy wants the message accepted and gone."""
        self._session.services.count("messages discarded")
        self._session.say(say.DISCARDED)

    async def _hops(self, content: IContent) -> int:
        """Received fields on arrival (S-080)."""
        head = await content.read(0, min(content.size, 8192))
        if header_end(head) >= len(head) and content.size > len(head):
            head = await content.read(0, min(content.size, _HEAD))
        return count_received(head)

    def _close_if_over(self, reader: BodyReader) -> None:
        """S-121 with X-13: the session's size limit closes after the reply; so do repeated bare newlines."""
        session = self._session
        limit = session.limits.session_octets
        if reader.bare and session.bare_messages >= _BARE_MESSAGES:
            session.say(say.BARE_AGAIN)
            session.connection.close()
        elif limit is not None and session.octets_taken >= limit:
            session.services.count("closed for session size")
            session.say(say.SESSION_OVER)
            session.connection.close()
