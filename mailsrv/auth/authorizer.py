"""The authorizer of a site without permissions of its own: whoever logged in may use every server (floor 2b)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from zope.interface import implementer

from ..interfaces import IAuthorizer
from ..values import ACCEPT, Identity, Verdict

#: What an account may do anywhere; everything else is refused.
ALLOWED = frozenset({"server.use", "server.relay"})
DENIED = Verdict("reject", "Access denied", "5.7.1", part="accounts")


@frozen
class Options:
    """The authorizer `accounts` has no options."""


@implementer(IAuthorizer)
class AllowAccounts:
    """Every account may use every server (S-104) and relay (S-137); nobody without an account may do anything."""

    async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        """See IAuthorizer."""
        return ACCEPT if identity is not None and action in ALLOWED else DENIED


def build(options: Any, site: Any) -> AllowAccounts:
    """The part."""
    return AllowAccounts()
