"""The mailboxes of one account in the embedded store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from ...errors import NoSuchMailbox
from ...interfaces import IAccount
from ...values import MailboxInfo, MailboxState
from ..names import INBOX, existing
from .index import MailboxRow
from .mailbox import EmbeddedMailbox
from .naming import Create, Delete, Rename, Subscribe
from .sharing import TURN

#: Accounts whose INBOX is remembered.
INBOXES = 10_000

if TYPE_CHECKING:
    from .store import EmbeddedStore


@implementer(IAccount)
class EmbeddedAccount:
    """A light object: it holds no state but the id."""

    __slots__ = ("_store", "account_id")

    def __init__(self, store: EmbeddedStore, account_id: int) -> None:
        self._store, self.account_id = store, account_id

    async def mailboxes(self) -> list[MailboxInfo]:
        """All that exist and all subscribed names, ordered by name."""
        index, key = self._store.index, (self.account_id,)
        subscribed = {name for (name,) in index.rows("SELECT name FROM subscription WHERE account=?", key)}
        infos: dict[str, MailboxInfo] = {}
        rows = index.rows("SELECT id, name, uidvalidity, special_use FROM mailbox WHERE account=?", key)
        for number, (mailbox, name, uidvalidity, use) in enumerate(rows, 1):
            special_use = None if use is None else use.encode("latin-1")
            infos[name] = MailboxInfo(name, mailbox, uidvalidity, special_use, name in subscribed)
            if not number % TURN:
                await self._store.turn()
        for name in subscribed.difference(infos):
            infos[name] = MailboxInfo(name, subscribed=True, exists=False)
        return [infos[name] for name in sorted(infos)]

    async def about(self, name: str) -> tuple[MailboxInfo | None, bool]:
        """One of them, and whether mailboxes are below it."""
        rows, key = self._store.index.rows, (self.account_id, name)
        subscribed = bool(rows("SELECT 1 FROM subscription WHERE account=? AND name=?", key))
        # Whatever is below begins with the name and the separator; "0" follows that one.
        below = rows("SELECT 1 FROM mailbox WHERE account=? AND name>? AND name<? LIMIT 1",
                     (self.account_id, f"{name}/", f"{name}0"))
        info = MailboxInfo(name, subscribed=True, exists=False) if subscribed else None
        for mailbox, uidvalidity, use in rows(
            "SELECT id, uidvalidity, special_use FROM mailbox WHERE account=? AND name=?", key
        ):
            info = MailboxInfo(name, mailbox, uidvalidity, None if use is None else use.encode("latin-1"), subscribed)
        return info, bool(below)

    async def status(self, name: str) -> MailboxState:
        """Counters without opening.  Raises NoSuchMailbox."""
        row = self._row(name)
        opened = self._store.openings.get(row.id)
        if opened is not None:
            return opened.state()
        recent = 0 if row.id in self._store.openings.claims else row.recent
        return MailboxState(row.id, row.uidvalidity, row.uidnext, row.modseq, row.exist, row.unseen, row.deleted,
                            row.octets, recent)

    async def open(self, name: str) -> EmbeddedMailbox:
        """A handle.  Raises NoSuchMailbox."""
        inboxes = self._store.inboxes
        known = inboxes.get(self.account_id) if name == INBOX else None
        if known is not None and self._store.openings.get(known) is not None:
            return await EmbeddedMailbox.open(self._store, known, 0)
        row = self._row(name)
        if name == INBOX and len(inboxes) < INBOXES:
            inboxes[self.account_id] = row.id
        return await EmbeddedMailbox.open(self._store, row.id, row.exist)

    async def create(self, name: str, special_use: bytes | None = None) -> MailboxInfo:
        """With missing parents.  Raises MailboxExists, BadMailboxName."""
        info: MailboxInfo = await self._store.submit(Create(self.account_id, name, special_use))
        return info

    async def delete(self, name: str) -> None:
        """With its messages; children stay.  Raises NoSuchMailbox, BadMailboxName for INBOX."""
        await self._store.submit(Delete(self.account_id, name))

    async def rename(self, old: str, new: str) -> None:
        """With children.  Raises NoSuchMailbox, MailboxExists, BadMailboxName."""
        await self._store.submit(Rename(self.account_id, old, new))

    async def subscribe(self, name: str, on: bool) -> None:
        """Any possible name.  Raises BadMailboxName."""
        await self._store.submit(Subscribe(self.account_id, name, on))

    def _row(self, name: str) -> MailboxRow:
        row = self._store.index.mailbox(self.account_id, existing(name))
        if row is None:
            raise NoSuchMailbox()
        return row
