"""The mailboxes of one account in the memory store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from .. import values as v
from ..errors import BadMailboxName, MailboxExists, NoSuchMailbox
from ..interfaces import IAccount
from ..notices import Notice
from . import keywords as kw
from .memory_data import Entry, MailboxData
from .memory_mailbox import MemoryMailbox
from .names import DEFAULT_MAILBOXES, INBOX, existing, missing_parents, normalise, rename_plan

if TYPE_CHECKING:
    from .memory import MemoryStore


@implementer(IAccount)
class MemoryAccount:
    """One account; the same object for everybody who asks."""

    def __init__(self, store: MemoryStore, account_id: int) -> None:
        self.account_id = account_id
        self._store = store
        self._boxes: dict[str, MailboxData] = {}
        self._subscribed: set[str] = set()
        self._uidvalidity = 0
        for name, special_use in DEFAULT_MAILBOXES:
            self._add(name, special_use)
            self._subscribed.add(name)

    def find(self, name: str) -> MailboxData | None:
        """The mailbox of a normalised name."""
        return self._boxes.get(name)

    def clear(self) -> None:
        """The account is removed: every mailbox is deleted, INBOX too."""
        boxes = list(self._boxes.values())
        self._boxes.clear()
        self._subscribed.clear()
        for box in boxes:
            self._forget(box)

    async def mailboxes(self) -> list[v.MailboxInfo]:
        """All that exist and all subscribed names, ordered by name."""
        return [self._info(name) for name in sorted(self._boxes.keys() | self._subscribed)]

    async def about(self, name: str) -> tuple[v.MailboxInfo | None, bool]:
        """One of them, and whether mailboxes are below it."""
        below = any(other.startswith(f"{name}/") for other in self._boxes)
        return self._info(name) if name in self._boxes or name in self._subscribed else None, below

    async def status(self, name: str) -> v.MailboxState:
        """Counters without opening.  Raises NoSuchMailbox."""
        return self._existing(name).state()

    async def open(self, name: str) -> MemoryMailbox:
        """A handle.  Raises NoSuchMailbox."""
        return MemoryMailbox(self._store, self._existing(name))

    async def create(self, name: str, special_use: bytes | None = None) -> v.MailboxInfo:
        """With missing parents.  Raises MailboxExists, BadMailboxName."""
        name = normalise(name)
        if name in self._boxes:
            raise MailboxExists()
        self._store.room.claim(0)
        for parent in missing_parents(self._boxes, name):
            self._add(parent, None)
        self._add(name, special_use)
        self._renamed()
        return self._info(name)

    async def delete(self, name: str) -> None:
        """With its messages; children stay.  Raises NoSuchMailbox, BadMailboxName for INBOX."""
        box = self._existing(name)
        if box.name == INBOX:
            raise BadMailboxName("INBOX cannot be deleted")
        self._store.room.claim(0)
        del self._boxes[box.name]
        self._forget(box)
        self._renamed()

    async def rename(self, old: str, new: str) -> None:
        """With children.  Raises NoSuchMailbox, MailboxExists, BadMailboxName."""
        old, new = existing(old), normalise(new)
        plan = rename_plan(self._boxes.keys(), old, new)
        self._store.room.claim(0)
        for parent in missing_parents(self._boxes, new):
            self._add(parent, None)
        if old == INBOX:
            self._add(new, None)
            self._empty_into(self._boxes[INBOX], self._boxes[new])
            self._renamed()
            return
        moved = [(target, self._boxes.pop(name)) for name, target in plan]
        for target, box in moved:
            box.name = target
            self._boxes[target] = box
        self._renamed()

    async def subscribe(self, name: str, on: bool) -> None:
        """Any possible name; RFC 9051 section 6.3.7.  Raises BadMailboxName."""
        name = normalise(name)
        if on:
            self._subscribed.add(name)
        else:
            self._subscribed.discard(name)
        self._renamed()

    def _renamed(self) -> None:
        self._store.noticed.tell(Notice({}, names=True))

    def _add(self, name: str, special_use: bytes | None) -> None:
        # Starting at the time keeps an account that was made anew from repeating what clients have cached.
        self._uidvalidity = max(self._uidvalidity + 1, self._store.now())
        box = self._store.new_mailbox(self.account_id, self._uidvalidity)
        box.name, box.special_use = name, special_use
        self._boxes[name] = box

    def _forget(self, box: MailboxData) -> None:
        self._store.drop_mailbox(box.mailbox_id)
        box.forget()
        box.notify()

    def _empty_into(self, source: MailboxData, target: MailboxData) -> None:
        columns = source.columns
        uids = list(columns.uids)
        entries = []
        for uid, mask in zip(uids, columns.flags, strict=True):
            row = source.rows[uid]
            names = kw.names_of(mask, columns.keywords)
            entries.append(Entry(row.message, names, row.internal_date, row.zone))
        target.insert(entries, self._store.now(), lenient=True)
        source.remove(uids)
        source.notify()

    def _existing(self, name: str) -> MailboxData:
        box = self._boxes.get(existing(name))
        if box is None:
            raise NoSuchMailbox()
        return box

    def _info(self, name: str) -> v.MailboxInfo:
        subscribed = name in self._subscribed
        box = self._boxes.get(name)
        if box is None:
            return v.MailboxInfo(name, subscribed=subscribed, exists=False)
        return v.MailboxInfo(name, box.mailbox_id, box.uidvalidity, box.special_use, subscribed)
