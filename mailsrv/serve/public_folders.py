"""Addresses of public folders (floor 5; S-142): mail to a subaddress of their account is put into the folder of that
name, from those who may post there (the right "p", RFC 4314 section 4).

`public+Sales/News@example.org`, and for a name that no address holds `public+#m17@example.org`: its MAILBOXID.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..errors import NoSuchMailbox, Refused
from ..interfaces import IGrants, IMessageStore, INotices
from ..notices import Notice
from ..store.directory_rules import address_key, fold_local
from ..store.names import existing
from ..values import Address, Identity, MailboxInfo, Owner, Transaction
from .imap.rights import effective

#: The form of an address by the folder's id (RFC 8474).
_BY_ID = re.compile(r"#[mM][0-9]{1,18}", re.ASCII)
#: Accounts whose names are kept: more than one only where several IMAP4 servers differ.
MAX_ACCOUNTS = 10

#: One text for a folder that is not there and one whose being there may not be known (RFC 4314 section 6).
HIDDEN = "There is no such public folder, or it takes no mail from you"
DENIED = "This public folder takes no mail from you"


class PublicFolders:
    """`addresses` gives those of the accounts whose mailboxes are public folders, as they are configured now."""

    def __init__(self, store: IMessageStore, addresses: Callable[[], Collection[str]]) -> None:
        self._store, self._addresses = store, addresses
        self._grants: Any = store if IGrants.providedBy(store) else None
        #: Account -> what is typed -> names there, until one changes.
        self._names: dict[int, dict[str, list[str]]] = {}
        self._watched = self._grants is not None and INotices.providedBy(store)
        if self._watched:
            store.notices(self._changed)  # type: ignore[attr-defined]

    async def find(self, owner: Owner, address: Address, separator: str, about: Transaction) -> Owner:
        """Where in the account of `owner` mail for this subaddress goes: as it was for all but public folders.

        Raises Refused (5.7.1) for a folder that is not there, or takes nothing from this sender.
        """
        base, _, name = address.local.partition(separator)
        if not name or self._grants is None or not await self._is_public(owner.account_id):
            return owner
        facts = await self._store.directory.account(owner.account_id)
        if facts is None or address_key(facts.address) != address_key(Address(base, address.domain)):
            # A catch-all, or an address that only looks like one.
            return owner
        account = await self._store.account(owner.account_id)
        found = await self._folder(account, name)
        poster = _account_of(about.identity)
        if poster != owner.account_id:
            state = await self._state(account, found)
            allowed = effective(await self._grants.grants(state.mailbox_id), poster)
            if "p" not in allowed:
                raise Refused(DENIED if "l" in allowed else HIDDEN, "5.7.1")
        return Owner(owner.account_id, owner.tenant_id, found)

    async def _is_public(self, account_id: int) -> bool:
        for address in self._addresses():
            stored = await self._store.directory.credentials(address)
            if stored is not None and stored.account_id == account_id:
                return True
        return False

    async def _state(self, account: Any, name: str) -> Any:
        try:
            return await account.status(name)
        except NoSuchMailbox as cause:
            raise Refused(HIDDEN, "5.7.1") from cause

    async def _folder(self, account: Any, name: str) -> str:
        """The name of the folder that an address means: by its id, letter by letter, or as people and programs change
        it on the way, if that is the only one.  Raises Refused."""
        if not _BY_ID.fullmatch(name):
            try:
                exact = existing(name)
                await account.status(exact)
                return exact
            except NoSuchMailbox:
                pass
        names = await self._spelled(account)
        found = names.get(_loose(name), ())
        if len(found) != 1:
            raise Refused(HIDDEN, "5.7.1")
        return found[0]

    async def _spelled(self, account: Any) -> dict[str, list[str]]:
        known = self._names.get(account.account_id)
        if known is not None:
            return known
        if len(self._names) >= MAX_ACCOUNTS:
            self._names.clear()
        # A change that comes while the store is asked finds this one and takes it away.
        made = self._names[account.account_id] = {}
        spelled = _spellings(await account.mailboxes())
        if self._watched and self._names.get(account.account_id) is made:
            self._names[account.account_id] = spelled
        else:
            self._names.pop(account.account_id, None)
        return spelled

    def _changed(self, notice: Notice) -> None:
        if notice.names:
            self._names.clear()


def _account_of(identity: Identity | None) -> int:
    """Whose rights count: 0 is nobody in particular, who has those of "anyone"."""
    return 0 if identity is None or identity.anonymous else identity.account_id or 0


def _loose(name: str) -> str:
    """Letters without case, as in other local parts; "_" stands for a space."""
    return fold_local(name).replace(" ", "_")


def _spellings(infos: Sequence[MailboxInfo]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for info in infos:
        if info.exists:
            if not _BY_ID.fullmatch(info.name):
                names.setdefault(_loose(info.name), []).append(info.name)
            names[f"#m{info.mailbox_id}"] = [info.name]
    return names
