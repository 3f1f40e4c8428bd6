"""The authenticator `passwd`: users of a htpasswd file or a passwd-file of Dovecot (floor 2b)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from attrs import NOTHING, frozen
from zope.interface import implementer

from ..errors import AuthenticationFailed, ConfigError
from ..interfaces import IAuthenticator, ISecrets
from ..parts import FLAG, TEXT, Kind, option
from ..values import Address, AuthContext, Credentials, Identity, Secrets
from . import schemes
from .accounts import Accounts
from .hashing import PasswordHasher
from .names import login_address
from .passwd_file import User, UserFile, user_of
from .secrets import FOUND_LIST, same_secrets

#: So many users tell what most hashes of a file are like.
SAMPLE = 200


def _read_scheme(value: Any) -> str:
    """The name of a scheme, in upper case."""
    name = str(TEXT.read(value)).upper().strip("{}")
    if not schemes.known(name):
        raise ValueError(f"must be a scheme such as CRYPT, SSHA or PLAIN, not {value!r}")
    return name


SCHEME = Kind("scheme", _read_scheme)


@frozen
class Options:
    """[auth.passwd]"""

    file: str = option(TEXT, NOTHING, "the file, beside the configuration")
    domain: str = option(TEXT, "", "domain of names without one; default: the first domain of the site")
    scheme: str = option(SCHEME, "CRYPT", "scheme of passwords that name none")
    create: bool = option(FLAG, True, "users of the file get an account when they log in or get mail")
    keep: tuple[str, ...] = option(
        FOUND_LIST, (), "kinds of secrets in the file that logins may use; plain: passwords themselves, for APOP"
    )


@implementer(IAuthenticator, ISecrets)
class PasswdAuthenticator:
    """Checks users of a `UserFile`; who they are in the store is for `accounts` to say."""

    def __init__(
        self, users: UserFile, accounts: Accounts, hasher: PasswordHasher, options: Options
    ) -> None:
        self.kinds = frozenset(options.keep)
        self.schemes = frozenset({"password", "secret"} if self.kinds else {"password"})
        self._users, self._accounts, self._hasher = users, accounts, hasher
        self._scheme = options.scheme

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator; None for a name that is not in the file."""
        address = login_address(credentials.username, context.login_domain, context.domains)
        user = await self._users.find(address)
        if credentials.scheme == "secret":
            if user is None or not self._same(user, address, credentials.secrets):
                raise AuthenticationFailed()
        elif user is None:
            return None
        elif not await self._hasher.verify(self._encoded(user), credentials.password, str(address), context.peer.host):
            raise AuthenticationFailed()
        if not user.admits(context.peer.host):
            raise AuthenticationFailed()
        name = login_address(user.account, address.domain) if user.account else address
        return await self._accounts.identity(name, credentials)

    async def secrets(self, kind: str, username: str, context: AuthContext) -> Secrets | None:
        """See ISecrets."""
        address = login_address(username, context.login_domain, context.domains)
        user = await self._users.find(address)
        keys = schemes.keys_of(self._encoded(user), kind) if user is not None and kind in self.kinds else ""
        return Secrets(kind, str(address), keys) if keys else None

    async def seen(self, address: Address) -> bool:
        """Whether mail for an address without an owner is taken (`Accounts.seen`)."""
        return await self._accounts.seen(address, self._known)

    async def _known(self, address: Address) -> bool:
        user = await self._users.find(address)
        # The mail of one who has another's account goes to aliases of the directory, or nowhere.
        return user is not None and not user.account

    def _encoded(self, user: User) -> str:
        return schemes.with_scheme(user.encoded, self._scheme)

    def _same(self, user: User, address: Address, shown: Secrets | None) -> bool:
        """Whether these secrets are still in the file."""
        if shown is None or shown.kind not in self.kinds or shown.login != str(address):
            return False
        return same_secrets(schemes.keys_of(self._encoded(user), shown.kind), shown.keys)


def usual(users: dict[str, str], scheme: str) -> str:
    """An encoded password like most of the first users have, if it is a slow one, else ""."""
    sample = [schemes.with_scheme(user_of(text).encoded, scheme) for text, _ in zip(users.values(), range(SAMPLE))]
    kinds = Counter(schemes.cost_of(encoded) for encoded in sample)
    most = kinds.most_common(1)[0][0] if kinds else ""
    return next((encoded for encoded in sample if most and schemes.cost_of(encoded) == most), "")


def build(options: Options, site: Any) -> PasswdAuthenticator:
    """The part; `site` has `directory`, `hasher`, `base`, `monotonic`, `aside` and `first_domain`.

    Raises ConfigError.
    """

    def changed(users: dict[str, str]) -> None:
        """Who is not in the file takes as long as most who are."""
        if example := usual(users, options.scheme):
            site.hasher.imitate(example)

    try:
        accounts = Accounts(site.directory, options.create)
        domain = options.domain or site.first_domain()
        users = UserFile(Path(site.base) / options.file, domain, site.monotonic, site.aside, changed)
    except ConfigError as error:
        key = f"auth.passwd.{error.key or 'file'}"
        raise ConfigError(error.text, file=error.file, line=error.line, key=key) from error
    return PasswdAuthenticator(users, accounts, site.hasher, options)
