"""A maildrop (RFC 1939): one mailbox as a POP3 session sees it, frozen at login (floor 3).

Message numbers are places in the listing, from 1.  Nothing here writes to a connection; nothing is removed from the
store before `expunge`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from ..interfaces import IContent, IMailbox
from ..numbers import UidSet

#: Messages whose sizes are asked for at once; lines of a listing made at once.
SIZE_BLOCK, LINE_BLOCK = 1000, 2000
#: Messages opened at once for a client that retrieves one after the other.
LOOK_AHEAD = 50


class Maildrop:
    """The listing, what is marked as deleted, and the contents opened ahead.  `load` comes first."""

    __slots__ = ("_ahead", "_last", "_mailbox", "_prefix", "count", "deleted", "octets", "sizes", "uids")

    def __init__(self, mailbox: IMailbox) -> None:
        self._mailbox = mailbox
        self._prefix = b"%08x" % mailbox.uidvalidity
        self.uids: list[int] = []
        self.sizes: list[int] = []
        self.deleted: set[int] = set()
        #: Messages not marked as deleted, and their octets.
        self.count = self.octets = 0
        self._ahead: dict[int, IContent] = {}
        self._last = 0

    async def load(self, breathe: Callable[[], Awaitable[None]]) -> None:
        """Freeze the listing; `breathe` lets others go first between blocks."""
        uids = self._mailbox.columns().uids
        end = len(uids)
        for first in range(0, end, SIZE_BLOCK):
            block = uids[first : min(first + SIZE_BLOCK, end)]
            sizes = await self._mailbox.sizes(block)
            if -1 in sizes:
                block = [uid for uid, size in zip(block, sizes) if size >= 0]
                sizes = [size for size in sizes if size >= 0]
            self.uids += block
            self.sizes += sizes
            await breathe()
        self.reset()

    def has(self, number: int) -> bool:
        """Whether there is such a message, not marked as deleted."""
        return 0 < number <= len(self.uids) and number not in self.deleted

    def delete(self, number: int) -> None:
        """Mark the message `number`, which `has`."""
        self.deleted.add(number)
        self.count -= 1
        self.octets -= self.sizes[number - 1]

    def reset(self) -> None:
        """Unmark all."""
        self.deleted.clear()
        self.count, self.octets = len(self.uids), sum(self.sizes)

    def unique_id(self, number: int) -> bytes:
        """What UIDL shows: UIDVALIDITY and UID, the same in every session and after every restart."""
        return self._prefix + b"%08x" % self.uids[number - 1]

    def size_lines(self) -> Iterator[bytes]:
        """The lines of LIST, block by block."""
        return self._lines(b"%d %d\r\n", self.sizes)

    def id_lines(self) -> Iterator[bytes]:
        """The lines of UIDL, block by block."""
        return self._lines(b"%d " + self._prefix + b"%08x\r\n", self.uids)

    def _lines(self, line: bytes, column: list[int]) -> Iterator[bytes]:
        """`line` for each number and its value; one formatting of a block is twice as fast as one of each line."""
        for first in range(0, len(column), LINE_BLOCK):
            numbers = list(range(first + 1, min(first + LINE_BLOCK, len(column)) + 1))
            if self.deleted:
                numbers = [number for number in numbers if number not in self.deleted]
                values = [column[number - 1] for number in numbers]
            else:
                values = column[first : first + LINE_BLOCK]
            flat = [0] * (2 * len(numbers))
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
                end = min(number + LOOK_AHEAD, len(self.uids) + 1)
                numbers += [n for n in range(number + 1, end) if n not in self.deleted]
            contents = await self._mailbox.contents([self.uids[n - 1] for n in numbers])
            self._ahead.update((n, content) for n, content in zip(numbers, contents) if content is not None)
            found = self._ahead.pop(number, None)
        self._last = number
        return found

    async def expunge(self) -> None:
        """Remove what is marked, durably.  Raises what the store raises."""
        if self.deleted:
            await self._mailbox.expunge(UidSet.of(self.uids[number - 1] for number in self.deleted))

    def release(self) -> None:
        """Let go of the mailbox and of the contents; idempotent."""
        self._forget()
        self._mailbox.release()

    def _forget(self) -> None:
        for content in self._ahead.values():
            content.close()
        self._ahead.clear()
