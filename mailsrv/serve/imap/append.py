"""APPEND (floor 3): RFC 3501 section 6.3.11, RFC 3502 (MULTIAPPEND), RFC 4315 (APPENDUID).

Messages stream into spools; the commit is one call, so all of them are there or none.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ...errors import MailError, NoSuchMailbox, StoreUnavailable, TooBig
from ...interfaces import IContent, IMailbox
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
        mailbox = await session.account.open(request.mailbox, "i")
    except MailError as error:
        session.engine.refuse_append()
        raise of_target(error) if isinstance(error, NoSuchMailbox) else error from None
    intake = Intake(session, mailbox, await session.account.owner(request.mailbox))
    try:
        return await intake.run()
    finally:
        intake.close()


#: The largest piece `IContent.chunks` gives.
PIECE = 256 * 1024


class _Broken(Exception):
    """The command went wrong in its syntax."""


@implementer(IContent)
class Slice:
    """One of several messages that lie in one spool; `whole` is closed by whoever made the slices."""

    __slots__ = ("_start", "_whole", "size")

    def __init__(self, whole: IContent, start: int, size: int) -> None:
        self._whole, self._start, self.size = whole, start, size

    def chunks(self) -> Iterator[bytes]:
        """Pieces of at most 256 KiB, in order."""
        for at in range(0, self.size, PIECE):
            yield _at_once(self.read(at, PIECE))

    async def read(self, offset: int, length: int) -> bytes:
        """The octets [offset, offset + length), shorter at the end."""
        return await self._whole.read(self._start + offset, max(0, min(length, self.size - offset)))

    def close(self) -> None:
        """Nothing of its own to let go of."""


def _at_once(reading: Coroutine[Any, Any, bytes]) -> bytes:
    """The result of a read that does not wait: what was just spooled is in memory or in the page cache."""
    try:
        reading.send(None)
    except StopIteration as end:
        octets: bytes = end.value
        return octets
    raise StoreUnavailable()


class Intake:
    """The messages of one APPEND on their way in, all in one spool: however many, one file at most."""

    __slots__ = ("_announced", "_content", "_mailbox", "_owner", "_session", "_spool")

    def __init__(self, session: ImapSession, mailbox: IMailbox, owner: int) -> None:
        self._session, self._mailbox, self._owner = session, mailbox, owner
        self._announced: list[r.AppendMessage] = []
        self._spool = session.services.spool()
        self._content: IContent | None = None

    async def run(self) -> bytes:
        """To the end of the command; the words of its OK (b"": its end was said)."""
        try:
            while isinstance(event := await self._next(), r.AppendMessage):
                await self._message(event)
            return await self._commit()
        except _Broken:
            return b""
        except (MailError, No):
            self._session.engine.refuse_append()
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
        session, spool = self._session, self._spool
        limit = session.limits.append_octets
        if limit is not None and announced.size > limit:
            raise TooBig()
        if not announced.size:
            raise No("CANNOT", "A message cannot be empty")
        if session.services.allowances is not None:
            octets, messages = spool.size + announced.size, len(self._announced) + 1
            await session.services.allowances.keep(self._owner, octets, messages)
        session.engine.accept_literal()
        end = spool.size + announced.size
        while spool.size < end:
            event = await self._next()
            assert isinstance(event, r.AppendOctets)
            spool.write(event.octets)
            await session.connection.breathe()
        self._announced.append(announced)

    def _messages(self) -> list[NewMessage]:
        whole = self._content = self._spool.finish()
        services = self._session.services
        now, zone, start = int(services.now()), services.zone, 0
        messages = []
        for announced in self._announced:
            content = whole if len(self._announced) == 1 else Slice(whole, start, announced.size)
            start += announced.size
            date = (now, zone) if announced.internal_date is None else (announced.internal_date, announced.zone)
            messages.append(NewMessage(content, frozenset(announced.flags), *date))
        return messages

    async def _commit(self) -> bytes:
        try:
            appended = await self._mailbox.append(self._messages())
        except NoSuchMailbox as error:
            raise of_target(error) from error
        uids = UidSet.of(appended.uids).encode()
        return b"OK [APPENDUID %d %b] APPEND completed" % (appended.uidvalidity, uids)

    def close(self) -> None:
        """Let go of everything."""
        self._spool.discard()
        if self._content is not None:
            self._content.close()
        self._mailbox.release()
