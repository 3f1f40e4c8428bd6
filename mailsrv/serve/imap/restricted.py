"""A mailbox of somebody else (floor 3): the store's mailbox as far as rights go (RFC 4314 section 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import evolve
from zope.interface import implementer

from ...errors import AccessDenied, NoSuchMailbox
from ...interfaces import IMailbox
from ...numbers import UidSet
from ...values import SYSTEM_FLAGS, Appended, Changes, FlagChange, NewMessage, Updated
from . import rights


def rights_on(mailbox: IMailbox) -> str:
    """What the session may do with a mailbox it has opened: all with one of its own."""
    return mailbox.rights if isinstance(mailbox, Restricted) else rights.ALL


@implementer(IMailbox)
class Restricted:
    """Reads go to the mailbox as they are, changes as far as `rights`; what they do not allow raises AccessDenied.

    `ask` gives the rights of now, which may be others than when the mailbox was opened.
    """

    __slots__ = ("_ask", "_mailbox", "rights")

    def __init__(self, mailbox: IMailbox, rights: str, ask: Callable[[], Awaitable[str]] | None = None) -> None:
        self._mailbox, self.rights, self._ask = mailbox, rights, ask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mailbox, name)

    def _need(self, right: str) -> None:
        if right not in self.rights:
            raise AccessDenied()

    async def renew(self) -> None:
        """Ask for the rights of now.  Raises NoSuchMailbox when the mailbox cannot be read any more."""
        if self._ask is not None:
            self.rights = await self._ask()
            if "r" not in self.rights:
                raise NoSuchMailbox()

    async def changes(self, since: int) -> Changes:
        """To those who may read it still.  Raises NoSuchMailbox."""
        await self.renew()
        return await self._mailbox.changes(since)

    async def append(self, messages: Sequence[NewMessage], instead: tuple[int, int] | None = None) -> Appended:
        """With those flags that may be set."""
        self._need("i")
        kept = [evolve(message, flags=rights.permitted(message.flags, self.rights)) for message in messages]
        return await self._mailbox.append(kept, instead)

    async def update(self, uids: UidSet, change: FlagChange, unchanged_since: int | None = None) -> Updated:
        """Change those flags that may be changed; refused when that is none of them."""
        flags = rights.permitted(change.flags, self.rights)
        if not flags and (change.flags or not rights.WRITING & set(self.rights) - {"e"}):
            raise AccessDenied()
        if change.action != "replace":
            return await self._mailbox.update(uids, evolve(change, flags=flags), unchanged_since)
        if all(rights.may_set(flag, self.rights) for flag in (*SYSTEM_FLAGS, b"$")):
            return await self._mailbox.update(uids, change, unchanged_since)
        return await self._replace(uids, flags, unchanged_since)

    async def _replace(self, uids: UidSet, flags: frozenset[bytes], since: int | None) -> Updated:
        """Take away what may be taken away, then set the rest: flags without a right stay as they are."""
        lower = {flag.lower() for flag in flags}
        known = rights.permitted([*SYSTEM_FLAGS, *self._mailbox.columns().keywords], self.rights)
        others = frozenset(flag for flag in known if flag.lower() not in lower)
        first = await self._mailbox.update(uids, FlagChange("remove", others), since)
        refused = set(first.conflicts)
        left = UidSet.of(uid for uid in first.uids if uid not in refused)
        second = await self._mailbox.update(left, FlagChange("add", flags))
        now = dict(zip(first.uids, first.flags)) | dict(zip(second.uids, second.flags))
        return evolve(first, modseq=second.modseq, flags=[now[uid] for uid in first.uids])

    async def expunge(self, uids: UidSet, whole: bool = False) -> UidSet:
        """With the right "e"."""
        self._need("e")
        return await self._mailbox.expunge(uids, whole)

    async def copy(self, uids: UidSet, target_id: int, move: bool = False) -> Any:
        """To move takes "t" and "e" here (RFC 6851 section 4.4)."""
        if move:
            self._need("t")
            self._need("e")
        return await self._mailbox.copy(uids, target_id, move)
