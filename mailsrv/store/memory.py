"""The message store in memory: the reference of what the contracts mean, and a double for tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from ..errors import AccessDenied, BadMailboxName, StoreUnavailable
from ..interfaces import IContent, IGrants, IMessageStore, IMetadata, INotices, IQueue, IQuota
from ..notices import Notice, Notices, Watch
from ..values import DomainFacts, NewDelivery, Placement
from .memory_account import MemoryAccount
from .memory_data import Entry, MailboxData, Message, Room
from .memory_directory import MemoryDirectory
from .memory_queue import MemoryQueue
from .memory_sharing import MemorySharing
from .names import INBOX, normalise
from .queue_rules import check_delivery


@implementer(IMessageStore, IQuota, IQueue, IMetadata, IGrants, INotices)
class MemoryStore(MemoryQueue, MemorySharing):
    """Everything in this process, gone with it.  Its coroutines never wait.

    `clock` gives UTC epoch seconds; `history` is how many removals a mailbox remembers before `Changes.floor`;
    `capacity` octets of content, then StoreFull.  `fail_with(error)` makes writing operations raise.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        domains: Sequence[DomainFacts] = (),
        *,
        history: int = 1000,
        capacity: int | None = None,
    ) -> None:
        super().__init__()
        MemorySharing.__init__(self)
        self.noticed = Notices()
        self._clock, self._history = clock, history
        self.room = Room(capacity)
        self._accounts: dict[int, MemoryAccount] = {}
        self._mailboxes: dict[int, MailboxData] = {}
        self._mailbox_ids = itertools.count(1)
        self._email_ids = itertools.count(1)
        self.directory = MemoryDirectory(clock, self._account_added, self._account_removed, domains)

    async def account(self, account_id: int) -> MemoryAccount:
        """The mailboxes of one account.  Raises AccessDenied when there is none."""
        account = self._accounts.get(account_id)
        if account is None:
            raise AccessDenied()
        return account

    async def deliver(self, delivery: NewDelivery) -> None:
        """Content once, a row for each placement and each destination.  Raises StoreFull, StoreUnavailable; Refused
        for impossible rows of the queue."""
        if delivery.queued:
            check_delivery(delivery)
        self.room.claim(delivery.content.size * (len(delivery.placements) + len(delivery.queued)))
        message = self.take_in(delivery.content)
        message.international = "SMTPUTF8" in delivery.envelope.parameters
        date, now = int(delivery.received_at), self.now()
        changed: dict[int, MailboxData] = {}
        for placement in delivery.placements:
            box = self._place(placement)
            if box is not None:
                box.insert([Entry(message, tuple(placement.flags), date, delivery.zone)], now, lenient=True)
                changed[box.mailbox_id] = box
        self._enqueue(delivery, message)
        for box in changed.values():
            box.notify()
        if delivery.queued:
            self._notify()

    async def usage(self, account_id: int) -> tuple[int, int]:
        """Octets and messages of an account.  Raises AccessDenied when there is none."""
        if account_id not in self._accounts:
            raise AccessDenied()
        boxes = [box for box in self._mailboxes.values() if box.account_id == account_id]
        return sum(box.octets for box in boxes), sum(len(box.rows) for box in boxes)

    async def close(self) -> None:
        """Nothing is queued; from now on nothing is kept either."""
        self.room.failure = StoreUnavailable()

    # For tests of what depends on a store.

    def fail_with(self, error: StoreUnavailable | None) -> None:
        """Let every writing operation raise `error`; None: work again."""
        self.room.failure = error

    # For the other modules of this store.

    def now(self) -> int:
        """UTC epoch seconds."""
        return int(self._clock())

    def notices(self, watcher: Callable[[Notice], Any]) -> Watch:
        """See INotices."""
        return self.noticed.watch(watcher)

    def take_in(self, content: IContent, international: bool = False) -> Message:
        """Keep the octets of `content`, whose owner may close it afterwards."""
        return Message(b"".join(content.chunks()), f"M{next(self._email_ids)}", international=international)

    def mailbox(self, mailbox_id: int) -> MailboxData | None:
        """The mailbox of this id, of whatever account."""
        return self._mailboxes.get(mailbox_id)

    def new_mailbox(self, account_id: int, uidvalidity: int) -> MailboxData:
        """An empty mailbox, not yet named."""
        box = MailboxData(next(self._mailbox_ids), account_id, uidvalidity, self.room, self._history)
        self._mailboxes[box.mailbox_id] = box
        box.told = self.noticed.tell
        return box

    def drop_mailbox(self, mailbox_id: int) -> None:
        """The mailbox is deleted; its id is never used again."""
        del self._mailboxes[mailbox_id]
        self._unshare(mailbox_id)

    def _place(self, placement: Placement) -> MailboxData | None:
        account = self._accounts.get(placement.account_id)
        if account is None:
            return None
        try:
            box = account.find(normalise(placement.mailbox))
        except BadMailboxName:
            box = None
        return box or account.find(INBOX)

    def _account_added(self, account_id: int) -> None:
        self._accounts[account_id] = MemoryAccount(self, account_id)

    def _account_removed(self, account_id: int) -> None:
        self._accounts.pop(account_id).clear()
        self._forget_account(account_id)
