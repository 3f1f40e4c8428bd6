"""The authenticator `directory`: accounts that are kept in the store (floor 2b)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from zope.interface import implementer

from ..errors import AuthenticationFailed
from ..interfaces import IAuthenticator, IDirectory
from ..values import AuthContext, Credentials, Identity
from .hashing import PasswordHasher
from .names import login_address, may_act_as


@frozen
class Options:
    """[auth.directory] has no options."""


@implementer(IAuthenticator)
class DirectoryAuthenticator:
    """Checks a password against the directory's hash.

    A name that nobody has costs one hash too, before None is answered: time must not tell who has an account.
    """

    schemes = frozenset({"password"})

    def __init__(self, directory: IDirectory, hasher: PasswordHasher) -> None:
        self._directory = directory
        self._hasher = hasher

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator.  A disabled account and a foreign authzid look like a wrong password."""
        login = str(login_address(credentials.username, context.login_domain))
        stored = await self._directory.credentials(login)
        if stored is None:
            await self._hasher.decoy(credentials.password, login)
            return None
        right = await self._hasher.verify(stored.password_hash, credentials.password, stored.login)
        allowed = may_act_as(credentials.authzid, context.login_domain, login, stored.login)
        if not (right and stored.enabled and allowed):
            raise AuthenticationFailed()
        return Identity(
            account_id=stored.account_id,
            authcid=stored.login,
            authzid=credentials.authzid,
            tenant_id=stored.tenant_id,
        )


def build(options: Any, site: Any) -> DirectoryAuthenticator:
    """The part; `site` has `directory` and `hasher`."""
    return DirectoryAuthenticator(site.directory, site.hasher)
