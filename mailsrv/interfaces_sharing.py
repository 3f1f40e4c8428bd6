"""Contracts of what is kept about mailboxes besides their messages (floor 0): add-ons of a store.

`mailsrv.interfaces` has these names too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from zope.interface import Interface

from . import notices as n
from . import values as v


class IMetadata(Interface):
    """Add-on of a store that keeps annotations (RFC 5464): small values by entry name, which begins with "/shared/",
    or with "/private/" for what one account alone sees.  Mailbox 0 is the server.  They go with the mailbox."""

    async def annotations(mailbox_id: int, account_id: int) -> Mapping[str, bytes]:
        """Those of that mailbox which the account sees."""

    async def annotate(mailbox_id: int, account_id: int, changes: Mapping[str, bytes | None]) -> None:
        """Set, or with None remove, all or none; durable.  Raises NoSuchMailbox, Refused (the name), TooBig,
        LimitReached."""


class IGrants(Interface):
    """Add-on of a store that keeps what others may do with a mailbox (RFC 4314); identifiers as in `Shared`."""

    async def grants(mailbox_id: int) -> Mapping[str, str]:
        """Rights by identifier."""

    async def grant(mailbox_id: int, identifier: str, rights: str) -> None:
        """Replace the rights of one identifier, "": none are left; durable.  Calls the mailbox's watchers.  Raises
        NoSuchMailbox, Refused, LimitReached."""

    async def granted(identifiers: Collection[str], without: int = 0) -> Sequence[v.Shared]:
        """The mailboxes of all accounts but `without` that have a grant for one of these identifiers, by account and
        name."""


class INotices(Interface):
    """Add-on of a store that tells of changes in mailboxes that nobody has open (RFC 5465)."""

    def notices(watcher: Callable[[n.Notice], Any]) -> n.Watch:
        """Call `watcher(notice)` in the reactor thread after every commit that concerns it: all that changed names,
        rights or annotations, and what became of messages in the mailboxes that the watch names."""
