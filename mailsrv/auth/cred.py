"""The authenticator `cred`: any checker of twisted.cred that takes a name and a password (floor 2b).

A checker cannot say that a name is not its own: an unknown name and a wrong password are the same to it.  So every
name of its domain ends here: put this authenticator last, or give it a domain of its own.
"""

from __future__ import annotations

from typing import Any

from attrs import NOTHING, frozen
from twisted.cred import strcred
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferTimeoutError
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import AuthenticationFailed, ConfigError, TryLater
from ..interfaces import IAuthenticator
from ..parts import DURATION, FLAG, TEXT, option
from ..values import AuthContext, Credentials, Identity
from .accounts import Accounts
from .hashing import normal
from .names import login_address

log = Logger()


@frozen
class Options:
    """[auth.cred]"""

    checker: str = option(TEXT, NOTHING, 'as `twistd --auth` takes it, for example "file:/etc/users"')
    domain: str = option(
        TEXT, "", "only names of this domain are asked for, without it; default: whole addresses of all local domains"
    )
    create: bool = option(FLAG, True, "whoever is known gets an account at the first login")
    timeout: float = option(DURATION, 30.0, "an answer that takes longer is a temporary failure")


@implementer(IAuthenticator)
class CredAuthenticator:
    """Asks a twisted.cred `checker` (ICredentialsChecker for IUsernamePassword).

    It is given octets of UTF-8: with a `domain` the local part of its names, else whole addresses.  The avatar id that
    it answers is the login.  Raises ConfigError for a checker of other credentials.
    """

    schemes = frozenset({"password"})

    def __init__(
        self, checker: Any, accounts: Accounts, *, domain: str = "", timeout: float = 30.0, reactor: Any = None
    ) -> None:
        kinds = list(getattr(checker, "credentialInterfaces", ()))
        if IUsernamePassword not in kinds:
            raise ConfigError("the checker takes no user name with a password")
        self._checker, self._accounts = checker, accounts
        self._domain, self._timeout, self._reactor = domain.lower(), timeout, reactor

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator; None for a name of another domain."""
        address = login_address(credentials.username, context.login_domain, context.domains)
        if await self._accounts.local(address) is None or (self._domain and address.domain != self._domain):
            return None
        name = address.local if self._domain else str(address)
        avatar = await self._ask(name, normal(credentials.password))
        return await self._accounts.identity(login_address(avatar, address.domain), credentials)

    async def _ask(self, name: str, password: bytes) -> str:
        """The avatar id as text.  Raises AuthenticationFailed, TryLater."""
        asked = maybeDeferred(self._checker.requestAvatarId, UsernamePassword(name.encode("utf-8"), password))
        if self._reactor is not None:
            asked.addTimeout(self._timeout, self._reactor)
        try:
            avatar = await asked
        except LoginFailed:
            raise AuthenticationFailed() from None
        except (OSError, DeferTimeoutError, CancelledError) as error:
            log.error("the checker of names and passwords failed: {reason}", reason=type(error).__name__)
            raise TryLater() from None
        if isinstance(avatar, bytes):
            avatar = avatar.decode("utf-8", "replace")
        if not isinstance(avatar, str) or not avatar:
            # twisted.cred's ANONYMOUS is an empty tuple: nobody, and nobody owns no mailboxes.
            raise AuthenticationFailed()
        return avatar


def _octets(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


def build(options: Options, site: Any) -> CredAuthenticator:
    """The part; `site` has `directory` and `reactor`.  Raises ConfigError."""
    try:
        checker = strcred.makeChecker(options.checker)
    except (strcred.InvalidAuthType, strcred.InvalidAuthArgumentString, OSError) as error:
        # Its arguments may hold passwords ("memory:NAME:PASSWORD").
        kind = options.checker.partition(":")[0]
        raise ConfigError(f'no checker "{kind}" can be made: {type(error).__name__}', key="auth.cred.checker") from None
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # QUIRK: Twisted's "memory:" keeps text, and is asked with octets.
        checker.users = {_octets(name): _octets(password) for name, password in checker.users.items()}
    try:
        accounts = Accounts(site.directory, options.create)
        return CredAuthenticator(
            checker, accounts, domain=options.domain, timeout=options.timeout, reactor=site.reactor
        )
    except ConfigError as error:
        raise ConfigError(error.text, key=f"auth.cred.{error.key or 'checker'}") from error
