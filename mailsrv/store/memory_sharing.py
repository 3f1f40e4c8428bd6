"""Annotations and grants in the memory store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import NoSuchMailbox
from ..notices import Entries, Notice, Notices
from ..values import Shared
from . import sharing_rules as rules
from .memory_data import Room

if TYPE_CHECKING:
    from .memory_data import MailboxData


class MemorySharing:
    """The part of a store that is IMetadata and IGrants."""

    room: Room
    noticed: Notices
    _mailboxes: dict[int, MailboxData]

    def __init__(self) -> None:
        #: (mailbox, account or 0, entry) -> value; (identifier, mailbox) -> rights.
        self._annotations: dict[tuple[int, int, str], bytes] = {}
        self._grants: dict[tuple[str, int], str] = {}

    async def annotations(self, mailbox_id: int, account_id: int) -> Mapping[str, bytes]:
        """The shared ones, and those of the account."""
        return {
            entry: value
            for (mailbox, owner, entry), value in sorted(self._annotations.items())
            if mailbox == mailbox_id and owner in (0, account_id)
        }

    async def annotate(self, mailbox_id: int, account_id: int, changes: Mapping[str, bytes | None]) -> None:
        """Set or (None) remove.  Raises NoSuchMailbox, Refused, TooBig, LimitReached."""
        rules.check_values(changes)
        owners = {entry: rules.owner_of(entry, account_id) for entry in changes}
        if mailbox_id != rules.SERVER:
            self._there(mailbox_id)
        rules.check_count((await self.annotations(mailbox_id, account_id)).keys(), changes, account_id)
        self.room.claim(0)
        for entry, value in changes.items():
            if value is None:
                self._annotations.pop((mailbox_id, owners[entry], entry), None)
            else:
                self._annotations[mailbox_id, owners[entry], entry] = bytes(value)
        self.noticed.tell(Notice({}, entries=tuple(Entries(mailbox_id, owners[entry], (entry,)) for entry in changes)))

    async def grants(self, mailbox_id: int) -> Mapping[str, str]:
        """Identifier -> rights."""
        return {who: rights for (who, mailbox), rights in sorted(self._grants.items()) if mailbox == mailbox_id}

    async def grant(self, mailbox_id: int, identifier: str, rights: str) -> None:
        """Replace what an identifier may do.  Raises NoSuchMailbox, Refused, LimitReached."""
        self._there(mailbox_id)
        rights = rules.check_grant((await self.grants(mailbox_id)).keys(), identifier, rights)
        self.room.claim(0)
        if rights:
            self._grants[identifier, mailbox_id] = rights
        else:
            self._grants.pop((identifier, mailbox_id), None)
        self.noticed.tell(Notice({}, names=True))
        # Who may not see it any more shall hear of that.
        self._mailboxes[mailbox_id].notify()

    async def granted(self, identifiers: Collection[str], without: int = 0) -> Sequence[Shared]:
        """The mailboxes with a grant for one of these."""
        found = {mailbox for who, mailbox in self._grants if who in identifiers}
        boxes = [box for mailbox in found if (box := self._mailboxes[mailbox]).account_id != without]
        grants: dict[int, dict[str, str]] = {}
        for (who, mailbox), rights in sorted(self._grants.items()):
            grants.setdefault(mailbox, {})[who] = rights
        return [
            Shared(box.account_id, box.name, box.mailbox_id, grants[box.mailbox_id])
            for box in sorted(boxes, key=lambda box: (box.account_id, box.name))
        ]

    def _there(self, mailbox_id: int) -> None:
        if mailbox_id not in self._mailboxes:
            raise NoSuchMailbox()

    def _unshare(self, mailbox_id: int) -> None:
        """The mailbox is gone."""
        self._annotations = {key: value for key, value in self._annotations.items() if key[0] != mailbox_id}
        self._grants = {key: value for key, value in self._grants.items() if key[1] != mailbox_id}

    def _forget_account(self, account_id: int) -> None:
        """The account is gone: what it kept, and what it was granted."""
        names = (f"#{account_id}", f"-#{account_id}")
        self._annotations = {key: value for key, value in self._annotations.items() if key[1] != account_id}
        self._grants = {key: value for key, value in self._grants.items() if key[0] not in names}
