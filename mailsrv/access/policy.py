"""A message policy that takes everything (floor 4): a base for those with something to say at one or two moments."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from ..interfaces import IConnectionPolicy, IContent, IMessagePolicy
from ..values import ACCEPT, Address, Identity, Peer, Recipient, Transaction, Verdict


@implementer(IMessagePolicy, IConnectionPolicy)
class Policy:
    """Every moment of `IMessagePolicy` and `IConnectionPolicy`, accepted.

    `timeout` is seconds for one answer; `on_failure` what a late or failed answer means: "tempfail", or "open" (as if
    it had accepted).
    """

    timeout: float = 30.0
    on_failure: str = "tempfail"

    async def on_connect(self, peer: Peer, client_name: str) -> Verdict:
        """See IConnectionPolicy."""
        return ACCEPT

    async def on_helo(self, helo: str, peer: Peer, client_name: str) -> Verdict:
        """See IConnectionPolicy."""
        return ACCEPT

    async def on_authenticated(self, identity: Identity, peer: Peer) -> Verdict:
        """See IConnectionPolicy."""
        return ACCEPT

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """See IMessagePolicy."""
        return ACCEPT

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        """See IMessagePolicy."""
        return ACCEPT

    async def on_data(self, transaction: Transaction) -> Verdict:
        """See IConnectionPolicy."""
        return ACCEPT

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict | Mapping[Address, Verdict]:
        """See IMessagePolicy."""
        return ACCEPT

    async def on_abort(self, transaction: Transaction) -> None:
        """See IConnectionPolicy."""

    async def on_close(self) -> None:
        """See IConnectionPolicy."""
