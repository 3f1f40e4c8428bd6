"""Who may send mail on to other domains (floor 2b): denied unless logged in with the right (S-136, S-137)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from zope.interface import implementer

from ..interfaces import IAuthorizer, IContent, IDirectory, IMessagePolicy
from ..values import ACCEPT, Recipient, Transaction, Verdict

DENIED = Verdict("reject", "Relay access denied", "5.7.1", part="relay", rule="not authenticated")


@frozen
class Options:
    """The relay rule has no options yet; relay lists (S-138, S-139) will be here."""


@implementer(IMessagePolicy)
class RelayPolicy:
    """Refuses recipients of other domains from whoever has no right to relay."""

    __slots__ = ("_authorizer", "_directory")

    def __init__(self, directory: IDirectory, authorizer: IAuthorizer) -> None:
        self._directory = directory
        self._authorizer = authorizer

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """Every sender may try."""
        return ACCEPT

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        """Ours, or from somebody who may relay."""
        if not recipient.address.domain or await self._directory.domain(recipient.address.domain) is not None:
            return ACCEPT
        if transaction.identity is None:
            return DENIED
        return await self._authorizer.permits(transaction.identity, "server.relay", transaction.server)

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict:
        """Content does not matter here."""
        return ACCEPT


def build(options: Options, site: Any) -> RelayPolicy:
    """The part's factory; `site` has `directory` and `authorizer`."""
    return RelayPolicy(site.directory, site.authorizer)
