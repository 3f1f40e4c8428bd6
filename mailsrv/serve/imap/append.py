"""APPEND (floor 3): RFC 3501 section 6.3.11, RFC 3502 (MULTIAPPEND), RFC 4315 (APPENDUID).

Messages stream into spools; the commit is one call, so all of them are there or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import MailError, NoSuchMailbox, TooBig
from ...interfaces import IContent, IMailbox
from ...net.spool import Spool
from ...numbers import UidSet
from ...values import NewMessage
from ...wire import imap_requests as r
from .answer import No, of_target

if TYPE_CHECKING:
    from .session import ImapSession


async def append(session: ImapSession, request: r.Append) -> bytes:
    """APPEND.  What can be refused before the messages come is refused before, so that they need not be sent."""
    assert session.account is not None
    try:
        mailbox = await session.account.open(request.mailbox)
    except MailError as error:
        session.engine.refuse_append()
        raise of_target(error) if isinstance(error, NoSuchMailbox) else error from None
    intake = Intake(session, mailbox)
    try:
        return await intake.run()
    finally:
        intake.close()


class _Broken(Exception):
    """The command went wrong in its syntax."""


class Intake:
    """The messages of one APPEND on their way in."""

    __slots__ = ("_contents", "_mailbox", "_messages", "_session", "_spool")

    def __init__(self, session: ImapSession, mailbox: IMailbox) -> None:
        self._session, self._mailbox = session, mailbox
        self._messages: list[NewMessage] = []
        self._contents: list[IContent] = []
        self._spool: Spool | None = None

    async def run(self) -> bytes:
        """To the end of the command; the words of its OK (b"": its end was said)."""
        session = self._session
        try:
            while isinstance(event := await self._next(), r.AppendMessage):
                await self._message(event)
            return await self._commit()
        except _Broken:
            return b""
        except (MailError, No):
            session.engine.refuse_append()
            raise

    async def _next(self) -> object:
        """The next event of this APPEND.  Raises _Broken when its syntax is wrong; that has been answered."""
        while True:
            event = await self._session.connection.next_event()
            if not isinstance(event, r.Continue | r.Invalid):
                return event
            self._session.reply(event)
            if isinstance(event, r.Invalid):
                raise _Broken

    async def _message(self, announced: r.AppendMessage) -> None:
        """Take one message.  Raises TooBig, StoreFull, No."""
        session = self._session
        limit = session.limits.append_octets
        if limit is not None and announced.size > limit:
            raise TooBig()
        if not announced.size:
            raise No("CANNOT", "A message cannot be empty")
        session.engine.accept_literal()
        spool = self._spool = session.services.spool()
        while spool.size < announced.size:
            event = await self._next()
            assert isinstance(event, r.AppendOctets)
            spool.write(event.octets)
        content, self._spool = spool.finish(), None
        self._contents.append(content)
        date, zone = announced.internal_date, announced.zone
        if date is None:
            date, zone = int(session.services.now()), session.services.zone
        self._messages.append(NewMessage(content, frozenset(announced.flags), date, zone))

    async def _commit(self) -> bytes:
        try:
            appended = await self._mailbox.append(self._messages)
        except NoSuchMailbox as error:
            raise of_target(error) from error
        uids = UidSet.of(appended.uids).encode()
        return b"OK [APPENDUID %d %b] APPEND completed" % (appended.uidvalidity, uids)

    def close(self) -> None:
        """Let go of everything."""
        if self._spool is not None:
            self._spool.discard()
        for content in self._contents:
            content.close()
        self._mailbox.release()
