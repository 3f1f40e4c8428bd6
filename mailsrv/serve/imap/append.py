"""APPEND (floor 3): RFC 3501 section 6.3.11, RFC 3502 (MULTIAPPEND), RFC 4315 (APPENDUID), RFC 3516, RFC 6855.

Messages stream into spools; the commit is one call, so all of them are there or none.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ...errors import MailError, NoSuchMailbox, StoreUnavailable, TooBig
from ...interfaces import IContent, IMailbox
from ...numbers import UidSet
from ...values import Appended, NewMessage
from ...wire import imap_requests as r
from . import utf8
from .answer import No, of_target
from .binary import as_text

if TYPE_CHECKING:
    from .session import ImapSession


async def append(session: ImapSession, request: r.Append) -> bytes:
    """APPEND.  What can be refused before the messages come is refused before, so that they need not be sent."""
    intake = await open_intake(session, request, Intake)
    try:
        appended = await intake.run()
    finally:
        intake.close()
    return b"" if appended is None else b"OK [%b] APPEND completed" % code(appended)


async def open_intake(session: ImapSession, request: r.Append, kind: type[Intake]) -> Intake:
    """An intake for the mailbox of the request.  Raises No, MailError; the engine knows of it then."""
    assert session.account is not None
    try:
        mailbox = await session.account.open(request.mailbox, "i")
    except MailError as error:
        session.engine.refuse_append()
        raise of_target(error) if isinstance(error, NoSuchMailbox) else error from None
    return kind(session, mailbox, await session.account.owner(request.mailbox))


def code(appended: Appended) -> bytes:
    """APPENDUID (RFC 4315 section 3)."""
    return b"APPENDUID %d %b" % (appended.uidvalidity, UidSet.of(appended.uids).encode())


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
    """The messages of one APPEND on their way in, all in one spool: however many, one file at most.

    `nuls`: the places of those that hold a NUL and were sent so that they may.
    """

    __slots__ = ("_announced", "_contents", "_owner", "_spool", "mailbox", "nuls", "session")

    def __init__(self, session: ImapSession, mailbox: IMailbox, owner: int) -> None:
        self.session, self.mailbox, self._owner = session, mailbox, owner
        self._announced: list[r.AppendMessage] = []
        self._spool = session.services.spool()
        self._contents: list[IContent] = []
        self.nuls: set[int] = set()

    async def run(self) -> Appended | None:
        """To the end of the command; None: it went wrong, and that was said.  Raises MailError, No."""
        try:
            while isinstance(event := await self._next(), r.AppendMessage):
                await self._message(event)
            return await self.store(await self._messages())
        except _Broken:
            return None
        except (MailError, No):
            self.session.engine.refuse_append()
            raise

    async def _next(self) -> object:
        """The next event of this APPEND.  Raises _Broken when its syntax is wrong; that has been answered."""
        while True:
            self.session.midway = True
            try:
                event = await self.session.connection.next_event()
            finally:
                self.session.midway = False
            if not isinstance(event, r.Continue | r.Invalid):
                return event
            self.session.reply(event)
            if isinstance(event, r.Invalid):
                raise _Broken

    async def _message(self, announced: r.AppendMessage) -> None:
        """Take one message.  Raises TooBig, StoreFull, No."""
        session, spool = self.session, self._spool
        limit = session.limits.append_octets
        if limit is not None and announced.size > limit:
            raise TooBig()
        if not announced.size:
            raise No("CANNOT", "A message cannot be empty")
        if announced.utf8:
            utf8.needed(session)
        await self._room(spool.size + announced.size, len(self._announced) + 1)
        session.engine.accept_literal()
        end = spool.size + announced.size
        while spool.size < end:
            event = await self._next()
            assert isinstance(event, r.AppendOctets)
            spool.write(event.octets)
            if announced.binary and b"\0" in event.octets:
                self.nuls.add(len(self._announced))
            await session.connection.breathe()
        self._announced.append(announced)

    async def _room(self, octets: int, messages: int) -> None:
        """Raises QuotaExceeded."""
        if self.session.services.allowances is not None:
            await self.session.services.allowances.keep(self._owner, octets, messages)

    async def _messages(self) -> list[NewMessage]:
        """What is to be kept.  Raises No, MailError."""
        whole = self._spool.finish()
        self._contents.append(whole)
        services, total = self.session.services, self._spool.size
        now, zone, start = int(services.now()), services.zone, 0
        messages = []
        for number, announced in enumerate(self._announced):
            content = whole if len(self._announced) == 1 else Slice(whole, start, announced.size)
            start += announced.size
            if number in self.nuls:
                content = await as_text(self.session, content)
                self._contents.append(content)
                total += content.size - announced.size
            date = (now, zone) if announced.internal_date is None else (announced.internal_date, announced.zone)
            known = await utf8.international(self.session, announced, content)
            messages.append(NewMessage(content, frozenset(announced.flags), *date, international=known))
        if self.nuls:
            await self._room(total, len(messages))
        return messages

    async def store(self, messages: Sequence[NewMessage]) -> Appended:
        """The commit.  Raises No, MailError."""
        try:
            appended = await self.mailbox.append(messages)
        except NoSuchMailbox as error:
            raise of_target(error) from error
        self.session.services.count("messages appended", len(messages))
        return appended

    def close(self) -> None:
        """Let go of everything."""
        self._spool.discard()
        for content in self._contents:
            content.close()
        self.mailbox.release()
