"""All mailboxes that a session can name (floor 3): its own, those that other users share, and public folders
(S-142, S-146; RFC 2342, RFC 4314).

Names of others' mailboxes begin with `OTHERS` and the owner's address, those of public folders with `PUBLIC`.
Public folders are the mailboxes of an account that the configuration names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from zope.interface import implementer

from ...errors import AccessDenied, BadMailboxName, MailError, NoSuchMailbox
from ...interfaces import IAccount, IGrants, IMailbox, IMessageStore
from ...numbers import UidSet
from ...store.names import SEPARATOR, existing, normalise, parents
from ...values import Copied, FlagChange, MailboxInfo, MailboxState
from . import rights
from .restricted import Restricted

OTHERS, PUBLIC = "Other Users", "Public Folders"
#: Mailboxes looked at between two looks at the clock.
MANY = 500


async def _go_on() -> None:
    """There is nobody else."""


async def _rights_now(grants: IGrants, mailbox_id: int, account_id: int) -> str:
    return rights.effective(await grants.grants(mailbox_id), account_id)


async def _account(store: IMessageStore, owner: int) -> IAccount:
    try:
        return await store.account(owner)
    except AccessDenied as cause:
        raise NoSuchMailbox() from cause


@frozen
class Place:
    """Where a name leads: the owner's mailboxes, the name there, and what the session may do."""

    account: IAccount
    name: str
    rights: str
    own: bool = True

    def need(self, needed: str) -> None:
        """Raises AccessDenied; NoSuchMailbox when not even its being there may be known (RFC 4314 section 6)."""
        if not set(needed) <= set(self.rights):
            raise AccessDenied() if "l" in self.rights else NoSuchMailbox()


@implementer(IAccount)
class Mailboxes:
    """An account as its user sees it: an IAccount whose names reach further, with rights enforced.

    `public`: the address of the account whose mailboxes are the public folders, "" for none; `breathe` lets others have
    their turn where there are thousands of mailboxes.
    """

    def __init__(
        self, own: IAccount, store: IMessageStore, public: str = "", breathe: Callable[[], Awaitable[None]] = _go_on
    ) -> None:
        self.account_id: int = own.account_id
        self._own, self._store, self._public, self._breathe = own, store, public, breathe
        #: Who keeps rights; None: nothing is shared here.
        self.grants: Any = store if IGrants.providedBy(store) else None
        self._public_id: int | None = None

    # ------------------------------------------------------------ where a name leads

    async def public_id(self) -> int:
        """The account of the public folders, 0 when there is none, or it is this one."""
        if self._public_id is None and self._public and self.grants is not None:
            stored = await self._store.directory.credentials(self._public)
            if stored is not None:
                self._public_id = 0 if stored.account_id == self.account_id else stored.account_id
        return self._public_id or 0

    def foreign(self, name: str) -> bool:
        """Whether a name is in one of the other namespaces."""
        if self.grants is None or not name.startswith((OTHERS, PUBLIC)):
            return False
        return name.partition(SEPARATOR)[0] in ((OTHERS, PUBLIC) if self._public else (OTHERS,))

    async def _owner(self, name: str) -> tuple[int, str]:
        """(account, name there) of a name in another namespace.  Raises NoSuchMailbox."""
        space, _, rest = existing(name).partition(SEPARATOR)
        if space == PUBLIC:
            owner = await self.public_id()
        else:
            # A domain holds no separator, the local part may.
            end = rest.find(SEPARATOR, rest.find("@") + 1)
            address, rest = (rest[:end], rest[end + 1 :]) if end > 0 else ("", "")
            stored = await self._store.directory.credentials(address) if address else None
            owner = stored.account_id if stored is not None else 0
            facts = await self._store.directory.account(owner) if owner else None
            if facts is None or str(facts.address) != address:
                raise NoSuchMailbox()
        if not owner or owner == self.account_id or not rest:
            raise NoSuchMailbox()
        return owner, rest

    async def place(self, name: str, needed: str = "") -> Place:
        """Where an existing name leads.  Raises NoSuchMailbox, AccessDenied without the rights `needed`."""
        if not self.foreign(name):
            return Place(self._own, name, rights.ALL)
        owner, rest = await self._owner(name)
        account = await _account(self._store, owner)
        mailbox = (await account.status(rest)).mailbox_id
        place = Place(account, rest, rights.effective(await self.grants.grants(mailbox), self.account_id), own=False)
        if not place.rights:
            raise NoSuchMailbox()
        place.need(needed)
        return place

    async def _parent(self, name: str) -> Place:
        """Where a new mailbox is to be made: the place of its name, which takes the right "k" on the nearest level
        above that is there.  Raises AccessDenied, BadMailboxName."""
        name = normalise(name)
        if not self.foreign(name):
            return Place(self._own, name, rights.ALL)
        try:
            owner, rest = await self._owner(name)
            account = await _account(self._store, owner)
        except NoSuchMailbox as cause:
            raise AccessDenied() from cause
        prefix = name[: len(name) - len(rest)]
        for level in reversed(parents(rest)):
            try:
                above = await self.place(prefix + level)
            except NoSuchMailbox:
                continue
            above.need("k")
            return Place(account, rest, above.rights, own=False)
        raise AccessDenied()

    # ------------------------------------------------------------ IAccount

    async def mailboxes(self, public: bool = True) -> Sequence[MailboxInfo]:
        """All that the user may see and all subscribed names, ordered by name; without `public`, of the public folders
        only what is subscribed (S-146)."""
        infos = await self._own.mailboxes()
        if self.grants is None:
            return infos
        public_id = await self.public_id()
        shared = await self.grants.granted(rights.identifiers(self.account_id), without=0 if public else public_id)
        more = await self._shared(shared, public_id)
        if not public:
            more += await self._subscribed(infos)
        if not more:
            return infos
        found = {info.name: info for info in infos}
        for number, info in enumerate(more, 1):
            found[info.name] = evolve(info, subscribed=True) if info.name in found else info
            if not number % MANY:
                await self._breathe()
        return [found[name] for name in sorted(found)]

    async def about(self, name: str) -> tuple[MailboxInfo | None, bool]:
        """One of those without the public folders that are not subscribed, and whether such are below it."""
        if not self.foreign(name):
            return await self._own.about(name)
        infos = await self.mailboxes(False)
        known = {info.name: info for info in infos}
        return known.get(name), any(info.exists and info.name.startswith(name + SEPARATOR) for info in infos)

    async def _shared(self, shared: Sequence[Any], public_id: int) -> list[MailboxInfo]:
        prefixes: dict[int, str] = {self.account_id: "", public_id: PUBLIC + SEPARATOR}
        # Thousands of public folders have the same few grants.
        listed: dict[tuple[tuple[str, str], ...], bool] = {}
        out = []
        for number, one in enumerate(shared, 1):
            if not number % MANY:
                await self._breathe()
            prefix = prefixes.get(one.account_id)
            if prefix is None:
                facts = await self._store.directory.account(one.account_id)
                prefix = prefixes[one.account_id] = f"{OTHERS}/{facts.address}/" if facts is not None else ""
            key = tuple(one.grants.items())
            seen = listed.get(key)
            if seen is None:
                seen = listed[key] = "l" in rights.effective(one.grants, self.account_id)
            if prefix and seen:
                out.append(MailboxInfo(prefix + one.name, one.mailbox_id))
        return out

    async def _subscribed(self, infos: Sequence[MailboxInfo]) -> list[MailboxInfo]:
        """The public folders among the subscribed names."""
        out = []
        for info in infos:
            if not info.exists and info.name.startswith(PUBLIC + SEPARATOR):
                try:
                    state = await self.status(info.name)
                except MailError:
                    continue
                out.append(MailboxInfo(info.name, state.mailbox_id, state.uidvalidity))
        return out

    async def status(self, name: str) -> MailboxState:
        """With the right "r".  Raises NoSuchMailbox, AccessDenied."""
        place = await self.place(name, "r")
        return await place.account.status(place.name)

    async def open(self, name: str, needed: str = "r") -> IMailbox:
        """A handle that allows what the rights allow.  Raises NoSuchMailbox, AccessDenied."""
        if not self.foreign(name):
            return await self._own.open(name)
        place = await self.place(name, needed)
        mailbox = await place.account.open(place.name)
        return Restricted(mailbox, place.rights, partial(_rights_now, self.grants, mailbox.mailbox_id, self.account_id))

    async def names_beside(self, name: str = "") -> tuple[str, set[str]]:
        """A name as its owner has it, and the names of all mailboxes of that owner.  Raises NoSuchMailbox."""
        account = self._own
        if self.foreign(name):
            owner, name = await self._owner(name)
            account = await _account(self._store, owner)
        return name, {info.name for info in await account.mailboxes() if info.exists}

    async def owner(self, name: str) -> int:
        """The account whose mailbox it is.  Raises NoSuchMailbox."""
        return (await self._owner(name))[0] if self.foreign(name) else self.account_id

    async def identify(self, name: str, needed: str) -> int:
        """The id of a mailbox, with these rights.  Raises NoSuchMailbox, AccessDenied."""
        place = await self.place(name, needed)
        return (await place.account.status(place.name)).mailbox_id

    async def create(self, name: str, special_use: bytes | None = None) -> MailboxInfo:
        """A new mailbox has the rights of the level above it (RFC 4314 section 4)."""
        place = await self._parent(name)
        if special_use is not None and not place.own:
            raise AccessDenied()
        made: list[str] = [place.name]
        inherited: dict[str, str] = {}
        if self.grants is not None:
            for level in reversed(parents(place.name)):
                try:
                    above = await place.account.status(level)
                except NoSuchMailbox:
                    made.append(level)
                    continue
                inherited = dict(await self.grants.grants(above.mailbox_id))
                break
        info = await place.account.create(place.name, special_use)
        if inherited:
            for level in made:
                mailbox = (await place.account.status(level)).mailbox_id
                for who, given in inherited.items():
                    await self.grants.grant(mailbox, who, given)
        return info

    async def delete(self, name: str) -> None:
        """With the right "x"."""
        place = await self.place(name, "x")
        await place.account.delete(place.name)

    async def rename(self, old: str, new: str) -> None:
        """With "x" on the mailbox and "k" where it goes; a mailbox stays with its owner."""
        if not self.foreign(old) and not self.foreign(normalise(new)):
            await self._own.rename(old, new)
            return
        source = await self.place(old, "x")
        target = await self._parent(new)
        if source.account.account_id != target.account.account_id:
            raise BadMailboxName("A mailbox cannot be renamed into another namespace")
        await source.account.rename(source.name, target.name)

    async def subscribe(self, name: str, on: bool) -> None:
        """Any name: subscriptions are the user's own."""
        await self._own.subscribe(name, on)

    async def settle_copy(self, name: str, copied: Copied) -> None:
        """Take those flags off the new messages in `name` that the user may not set there (RFC 4314 section 4)."""
        if not self.foreign(name) or not copied.pairs:
            return
        place = await self.place(name, "i")
        mailbox = await place.account.open(place.name)
        try:
            new = [uid for _, uid in copied.pairs]
            columns = mailbox.columns()
            flags = [flag for flag in (b"\\Seen", b"\\Deleted") if not rights.may_set(flag, place.rights)]
            if "w" not in place.rights:
                flags += [b"\\Answered", b"\\Flagged", b"\\Draft", *columns.keywords]
            if flags:
                await mailbox.update(UidSet.of(new), FlagChange("remove", frozenset(flags)))
        finally:
            mailbox.release()
