"""A maildrop (RFC 1939): one mailbox as a POP3 session sees it, frozen at login (floor 3).

Message numbers are places in the listing, from 1.  Nothing here writes to a connection; nothing is removed from the
store before `expunge`.  Of ten thousand messages a session holds 40 KB of sizes, and 10 KB once one is deleted: the
UIDs are the list that all who have the mailbox open share.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import compress

from ..interfaces import IContent, IMailbox
from ..message.header import header_end
from ..message.surrogate import surrogate
from ..numbers import UidSet
from .pop3_uidl import DEFAULT, UidlFormat, unique_ids

#: Messages whose sizes are asked for at once; lines of a listing made at once.
SIZE_BLOCK, LINE_BLOCK = 1000, 2000
#: Messages opened at once for a client that retrieves one after the other.
LOOK_AHEAD = 50
#: Octets of a message read and sent at a time.
SLICE = 64 * 1024
#: What is kept of an international message: by how many octets its first slice grows, in decimal.  The number rises
#: with every change that gives other headers.
_GROWTH = "ascii.1"
_FORMAT = UidlFormat(DEFAULT)


def in_ascii(octets: bytes) -> bytes:
    """The first slice of a message with its header in ASCII (RFC 6858)."""
    end = header_end(octets)
    return octets if octets.isascii() else surrogate(octets[:end]) + octets[end:]


class Maildrop:
    """The listing, what is marked as deleted, and the contents opened ahead.  `load` comes first."""

    __slots__ = ("_ahead", "_foreign", "_kept", "_last", "_mailbox", "_marks", "_uidl", "count", "octets", "sizes",
                 "total", "uids")  # fmt: skip

    def __init__(self, mailbox: IMailbox, uidl: UidlFormat = _FORMAT) -> None:
        self._mailbox = mailbox
        self._uidl = uidl
        #: The first `total` are the listing; more may follow, which came later.
        self.uids: list[int] = []
        self.total = 0
        self.sizes: array[int] = array("I")
        #: One octet for each message, 1 for those to be deleted; None as long as there is none.
        self._marks: bytearray | None = None
        self._kept: Mapping[int, bytes] = {}
        #: Messages not marked as deleted, and their octets.
        self.count = self.octets = 0
        self._ahead: dict[int, IContent] = {}
        self._last = 0
        #: International messages whose headers have to be shown in ASCII.
        self._foreign: set[int] = set()

    async def load(self, breathe: Callable[[], Awaitable[None]], utf8: bool = False) -> None:
        """Freeze the listing; `breathe` lets others go first between blocks.

        Without `utf8` the headers of international messages are to be shown in ASCII, and their sizes are those.
        """
        uids = self._mailbox.columns().uids
        end = len(uids)
        whole = True
        for first in range(0, end, SIZE_BLOCK):
            sizes = await self._mailbox.sizes(uids[first : min(first + SIZE_BLOCK, end)])
            if -1 in sizes or not whole:
                if whole:
                    whole, self.uids = False, uids[:first]
                self.uids += [uid for uid, size in zip(uids[first:end], sizes) if size >= 0]
                sizes = [size for size in sizes if size >= 0]
            self._measured(sizes)
            await breathe()
        if whole:
            self.uids = uids
        self.total = len(self.sizes)
        if self.total:
            peculiar = await self._mailbox.peculiar()
            self._kept = peculiar.unique_ids
            if peculiar.international and not utf8:
                await self._translate(peculiar.international, breathe)
        self.reset()

    async def _translate(self, international: Sequence[int], breathe: Callable[[], Awaitable[None]]) -> None:
        """Count international messages as they will be shown; how much each grows is kept with its content."""
        places = [(uid, at) for uid in international if (at := self._place(uid)) is not None]
        kept = await self._mailbox.records([uid for uid, _ in places], _GROWTH)
        for (uid, at), record in zip(places, kept):
            growth = await self._growth(uid) if record is None else int(record)
            if growth is not None:
                self._foreign.add(at + 1)
                self.sizes[at] += growth
            await breathe()

    async def _growth(self, uid: int) -> int | None:
        """By how many octets a message grows; None: it is gone."""
        (content,) = await self._mailbox.contents((uid,))
        if content is None:
            return None
        octets = await content.read(0, SLICE)
        content.close()
        growth = len(in_ascii(octets)) - len(octets)
        await self._mailbox.keep_summaries([(uid, b"%d" % growth)], _GROWTH)
        return growth

    def _place(self, uid: int) -> int | None:
        """Where the message is in the listing, from 0; None: nowhere."""
        at = bisect_left(self.uids, uid, 0, self.total)
        return at if at < self.total and self.uids[at] == uid else None

    def _measured(self, sizes: Sequence[int]) -> None:
        before = len(self.sizes)
        try:
            self.sizes.extend(sizes)
        except OverflowError:
            # Somebody has a message of more than four gigabytes.
            self.sizes = array("Q", [*self.sizes[:before], *sizes])

    def has(self, number: int) -> bool:
        """Whether there is such a message, not marked as deleted."""
        return 0 < number <= self.total and not (self._marks is not None and self._marks[number - 1])

    def delete(self, number: int) -> bool:
        """Mark the message `number` as deleted; False when there is none."""
        if not 0 < number <= self.total:
            return False
        marks = self._marks
        if marks is None:
            marks = self._marks = bytearray(self.total)
        if marks[number - 1]:
            return False
        marks[number - 1] = 1
        self.count -= 1
        self.octets -= self.sizes[number - 1]
        return True

    def reset(self) -> None:
        """Unmark all."""
        self._marks = None
        self.count, self.octets = self.total, sum(self.sizes)

    def unique_id(self, number: int) -> bytes:
        """What UIDL shows: the same in every session and after every restart."""
        return unique_ids(self._template, (self.uids[number - 1],), self._kept)[0]

    @property
    def _template(self) -> bytes:
        return self._uidl.template(self._mailbox.uidvalidity)

    def size_lines(self) -> Iterator[bytes]:
        """The lines of LIST, block by block."""
        return self._lines(b"%d %d\r\n", self.sizes)

    def id_lines(self) -> Iterator[bytes]:
        """The lines of UIDL, block by block."""
        if not self._kept:
            return self._lines(b"%d " + self._template + b"\r\n", self.uids)
        return self._lines(b"%d %b\r\n", unique_ids(self._template, self.uids[: self.total], self._kept))

    def _lines(self, line: bytes, column: Sequence[int] | Sequence[bytes]) -> Iterator[bytes]:
        """`line` for each number and its value; one formatting of a block is twice as fast as one of each line."""
        marks = self._marks
        for first in range(0, self.total, LINE_BLOCK):
            end = min(first + LINE_BLOCK, self.total)
            numbers: Sequence[int] = range(first + 1, end + 1)
            values: Sequence[object] = column[first:end]
            if marks is not None:
                numbers = [number for number in numbers if not marks[number - 1]]
                values = [column[number - 1] for number in numbers]
            flat: list[object] = [0] * (2 * len(numbers))
            flat[::2], flat[1::2] = numbers, values
            yield (line * len(numbers)) % tuple(flat)

    async def content(self, number: int) -> IContent | None:
        """The octets of the message `number`, which `has`; the caller closes it.  None: it is gone.

        Who asks for one after the other has the next ones opened in the same call to the store.
        """
        found = self._ahead.pop(number, None)
        if found is None:
            numbers = [number]
            if number == self._last + 1:
                self._forget()
                numbers += [n for n in range(number + 1, min(number + LOOK_AHEAD, self.total + 1)) if self.has(n)]
            contents = await self._mailbox.contents([self.uids[n - 1] for n in numbers])
            self._ahead.update((n, content) for n, content in zip(numbers, contents) if content is not None)
            found = self._ahead.pop(number, None)
        self._last = number
        return found

    def shown(self, number: int, octets: bytes) -> bytes:
        """The first slice of a message as this client is to see it (RFC 6856 section 2.1)."""
        return in_ascii(octets) if number in self._foreign else octets

    async def expunge(self) -> None:
        """Remove what is marked, durably, all or nothing.  Raises what the store raises."""
        if self._marks is not None:
            await self._mailbox.expunge(UidSet.of(compress(self.uids, self._marks)), whole=True)

    def release(self) -> None:
        """Let go of the mailbox and of the contents; idempotent."""
        self._forget()
        self._mailbox.release()

    def _forget(self) -> None:
        for content in self._ahead.values():
            content.close()
        self._ahead.clear()
