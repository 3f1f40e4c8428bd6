"""Accounts of users who are known elsewhere: in a file, a database, to another program (floor 2b).

Whoever says who somebody is, mail is kept in an account of the directory, by the login's address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger

from ..errors import AuthenticationFailed, ConfigError, Refused, TryLater
from ..interfaces import IAccountAdmin
from ..values import Address, Credentials, DomainFacts, Identity, StoredCredentials
from .names import login_address
from .patterns import fold

log = Logger()

#: Octets of a local part (RFC 5321 section 4.5.3.1.1).
LOCAL_OCTETS = 64


class Accounts:
    """Finds the account of an address, and makes it at first sight with `create` (then `directory` is also an
    IAccountAdmin, else ConfigError)."""

    def __init__(self, directory: Any, create: bool = False) -> None:
        if create and not IAccountAdmin.providedBy(directory):
            raise ConfigError("needs a store whose accounts can be made here", key="create")
        self._directory, self._create = directory, create

    async def local(self, address: Address) -> DomainFacts | None:
        """The facts of the address's domain if its mailboxes are here."""
        facts: DomainFacts | None = await self._directory.domain(address.domain) if address.domain else None
        return facts if facts is not None and facts.kind == "local" else None

    async def of(self, address: Address) -> StoredCredentials:
        """The account of that name.  Raises AuthenticationFailed when there is none, or when it is disabled."""
        stored: StoredCredentials | None = await self._directory.credentials(str(address))
        if stored is None and self._create and await self._make(address):
            stored = await self._directory.credentials(str(address))
        if stored is None:
            log.warn("{login} is known but has no account here", login=str(address))
        elif another(address, stored.login):
            log.warn("{login} is known elsewhere, but here the account of {other} looks like it",
                     login=str(address), other=stored.login)  # fmt: skip
            raise AuthenticationFailed()
        if stored is None or not stored.enabled:
            raise AuthenticationFailed()
        return stored

    async def identity(self, address: Address, credentials: Credentials) -> Identity:
        """Who has shown to be `address`.  Raises AuthenticationFailed as `of` does."""
        return identity_of(await self.of(address), credentials)

    async def seen(self, address: Address, known: Callable[[Address], Awaitable[bool]]) -> bool:
        """Whether mail for an address without an owner is taken, for the router's question at RCPT.

        `known(address)` says whether somebody has that name, in lower case, without subaddress; whoever it is gets
        the account now.  False without `create`: then who has an account is for the directory alone to say.
        Raises TryLater.
        """
        facts = await self.local(address) if self._create else None
        if facts is None:
            return False
        local = address.local.lower()
        for name in dict.fromkeys((local, local.partition(facts.subaddress)[0] if facts.subaddress else local)):
            named = Address(name, facts.name)
            if name and await self._asked(known, named):
                return await self._make(named)
        return False

    async def _asked(self, known: Callable[[Address], Awaitable[bool]], address: Address) -> bool:
        """What `known` says.  What makes no sense where it looks is no fault of who sends mail, so it may come again:
        TryLater instead of AuthenticationFailed."""
        try:
            return await known(address)
        except AuthenticationFailed as error:
            raise TryLater() from error

    async def _make(self, address: Address) -> bool:
        """Make the account.  False when the name cannot be an account's."""
        if len(address.local.encode("utf-8")) > LOCAL_OCTETS or await self.local(address) is None:
            return False
        try:
            await self._directory.add_account(address, "")
        except Refused:
            # Somebody else has just made it: the directory lets one of two win.  If not, it is an alias.
            return await self._directory.credentials(str(address)) is not None
        return True


def another(address: Address, login: str) -> bool:
    """Whether an address leads to an account only because a directory compares names without case, by which signs are
    alike that those who know the user tell apart: "ſam", who may have chosen that name, is not "sam"."""
    owner = login_address(login)
    if address.domain == owner.domain and fold(address.local) == fold(owner.local):
        return address != owner
    # By an alias.
    return fold(address.local) != address.local


def identity_of(stored: StoredCredentials, credentials: Credentials, scopes: frozenset[str] = frozenset()) -> Identity:
    """The identity of an account for whose user the credentials were right; `authzid` is for the caller to judge."""
    return Identity(
        stored.account_id,
        stored.login,
        credentials.authzid,
        scopes=scopes,
        tenant_id=stored.tenant_id,
        denied=stored.denied,
    )
