"""The POP3 session (floor 3): RFC 1939 TRANSACTION and UPDATE states.

A session holds its maildrop alone, if that is wanted.  What is deleted goes in one durable commit at QUIT, and without
QUIT nothing goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.logger import Logger

from ..errors import MailError
from ..interfaces import IContent
from ..wire import pop3_events as e
from ..wire.pop3_text import Cutter, Stuffer, whole
from .maildrop import SLICE, Maildrop
from .pop3_login import HANDLERS, Pop3Login

log = Logger()

_NO_SUCH, _MARKED = b"-ERR No such message\r\n", b"+OK Marked\r\n"


class Pop3Session(Pop3Login):
    """One POP3 connection."""

    async def handle(self, event: Any) -> None:
        """Work on one event of the engine."""
        kind = self.verb = type(event)
        try:
            await _HANDLERS[kind](self, event)
        except MailError as error:
            if self.streaming:
                # The peer waits for the rest of a message: only the end of the connection tells it the truth.
                log.warn("a message could not be read to its end: {error}", error=error.text)
                raise ConnectionResetError("cut off inside a message") from error
            self.refuse(error)
        await self.pace()

    async def quit(self, event: e.Quit) -> None:
        """UPDATE (RFC 1939 section 6): the answer tells whether the deletions are on the disk."""
        answer = b"+OK Goodbye\r\n"
        if self.drop is not None:
            try:
                await self.drop.expunge()
            except MailError as error:
                log.warn("deletions at QUIT failed: {error}", error=error.text)
                answer = b"-ERR [SYS/TEMP] Some deleted messages were not removed\r\n"
        # Before the answer: who logs in again at once must not find the maildrop in use.
        self.let_go()
        self.say(answer)
        self.connection.close()

    async def stat(self, event: e.Stat) -> None:
        """STAT."""
        drop = self._maildrop()
        self.say(b"+OK %d %d\r\n" % (drop.count, drop.octets))

    async def noop(self, event: e.Noop) -> None:
        """NOOP."""
        self.say(b"+OK\r\n")

    async def reset(self, event: e.Rset) -> None:
        """RSET."""
        drop = self._maildrop()
        drop.reset()
        self.say(b"+OK %d messages (%d octets)\r\n" % (drop.count, drop.octets))

    async def delete(self, event: e.Dele) -> None:
        """DELE, perhaps many: an answer to each."""
        delete = self._maildrop().delete
        self.say(b"".join([_MARKED if delete(number) else _NO_SUCH for number in event.numbers]))

    async def list(self, event: e.List) -> None:
        """LIST of one or of all."""
        drop = self._maildrop()
        if event.number is None:
            await self._listing(b"+OK %d messages (%d octets)\r\n" % (drop.count, drop.octets), drop.size_lines())
        elif drop.has(event.number):
            self.say(b"+OK %d %d\r\n" % (event.number, drop.sizes[event.number - 1]))
        else:
            self.say(_NO_SUCH)

    async def uidl(self, event: e.Uidl) -> None:
        """UIDL of one or of all."""
        drop = self._maildrop()
        if event.number is None:
            await self._listing(b"+OK Unique ids follow\r\n", drop.id_lines())
        elif drop.has(event.number):
            self.say(b"+OK %d %b\r\n" % (event.number, drop.unique_id(event.number)))
        else:
            self.say(_NO_SUCH)

    async def _listing(self, first: bytes, blocks: Iterator[bytes]) -> None:
        self.streaming = True
        self.say(first)
        for block in blocks:
            self.say(block)
            await self.pace()
        self.say(b".\r\n")
        self.streaming = False

    async def retrieve(self, event: e.Retr) -> None:
        """RETR: a message of one slice is read, and known to be readable, before anything is said."""
        number = event.number
        drop = self._maildrop()
        content = await drop.content(number) if drop.has(number) else None
        if content is None:
            self.say(_NO_SUCH)
            return
        self.services.count("messages retrieved")
        try:
            octets = await content.read(0, SLICE)
            small, first = content.size <= SLICE, drop.shown(number, octets)
            answer = b"+OK %d octets\r\n" % (content.size - len(octets) + len(first))
            if small:
                self.say(whole(answer, first))
                return
            octets, stuffer = first, Stuffer()
            self.say(answer)
            self.say(stuffer.stuff(octets))
            await self._rest(content, stuffer, None)
            self.say(stuffer.end())
        finally:
            content.close()

    async def top(self, event: e.Top) -> None:
        """TOP: likewise."""
        drop = self._maildrop()
        content = await drop.content(event.number) if drop.has(event.number) else None
        if content is None:
            self.say(_NO_SUCH)
            return
        try:
            octets = drop.shown(event.number, await content.read(0, SLICE))
            cutter, stuffer = Cutter(event.lines), Stuffer()
            self.say(b"+OK Top of message follows\r\n")
            self.say(stuffer.stuff(cutter.cut(octets)))
            if content.size > SLICE:
                await self._rest(content, stuffer, cutter)
            self.say(stuffer.end())
        finally:
            content.close()

    async def _rest(self, content: IContent, stuffer: Stuffer, cutter: Cutter | None) -> None:
        """What follows the first slice.  Raises ConnectionResetError, StoreUnavailable."""
        self.streaming = True
        for offset in range(SLICE, content.size, SLICE):
            if cutter is not None and cutter.done:
                break
            await self.pace()
            octets = await content.read(offset, SLICE)
            self.say(stuffer.stuff(octets if cutter is None else cutter.cut(octets)))
        self.streaming = False

    def _maildrop(self) -> Maildrop:
        """The maildrop: the engine lets these commands through after login only."""
        assert self.drop is not None
        return self.drop


_HANDLERS = {
    **HANDLERS,
    e.Quit: Pop3Session.quit,
    e.Stat: Pop3Session.stat,
    e.Noop: Pop3Session.noop,
    e.Rset: Pop3Session.reset,
    e.Dele: Pop3Session.delete,
    e.List: Pop3Session.list,
    e.Uidl: Pop3Session.uidl,
    e.Retr: Pop3Session.retrieve,
    e.Top: Pop3Session.top,
}
