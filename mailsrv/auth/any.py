"""The authenticator `any` of test beds: one password opens every name of the local domains (floor 2b).

An account is made at first sight.  Never for a server that others can reach: whoever knows the one password is
everybody.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Any

from attrs import NOTHING, frozen
from zope.interface import implementer

from ..errors import AuthenticationFailed, ConfigError, Refused
from ..interfaces import IAccountAdmin, IAuthenticator, ISecrets
from ..parts import TEXT, option
from ..values import Address, AuthContext, Credentials, DomainFacts, Identity, Secrets, StoredCredentials
from .accounts import LOCAL_OCTETS, identity_of
from .hashing import normal
from .names import login_address
from .secrets import KINDS, PLAIN, make_secrets, same_secrets

#: Addresses that are somebody's before anybody logged in.
NUMBERED = re.compile(r"u[0-9]{1,9}", re.ASCII)
MAX_FILE = 4096

Make = Callable[[Iterable[str], str], Awaitable[Mapping[str, str]]]


@frozen
class Options:
    """[auth.any]."""

    password_file: str = option(TEXT, NOTHING, "file whose first line is the one password")


@implementer(IAuthenticator, ISecrets)
class AnyAuthenticator:
    """Lets every name in with `password`, by any mechanism that a password will do for, or as a bearer token.

    `directory` provides IDirectory and IAccountAdmin; `make(kinds, password)` makes secrets, as `make_secrets` does.
    """

    schemes = frozenset({"password", "secret", "token"})
    kinds = frozenset({*KINDS, PLAIN})

    def __init__(self, directory: Any, password: str, make: Make | None = None) -> None:
        self._directory = directory
        self._text, self._password = password, normal(password)
        self._make = make
        self._keys: dict[str, str] = {PLAIN: unicodedata.normalize("NFC", password)}

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator; None for a name outside the local domains."""
        address = login_address(credentials.username, context.login_domain, context.domains)
        if await self._local(address) is None:
            return None
        if not self._right(credentials, address) or len(address.local.encode("utf-8")) > LOCAL_OCTETS:
            raise AuthenticationFailed()
        stored = await self._account(address)
        if not stored.enabled:
            raise AuthenticationFailed()
        return identity_of(stored, credentials)

    async def secrets(self, kind: str, username: str, context: AuthContext) -> Secrets | None:
        """See ISecrets: the one password's, whoever asks."""
        address = login_address(username, context.login_domain, context.domains)
        if self._make is None or await self._local(address) is None:
            return None
        if kind not in self._keys:
            self._keys.update(await self._make((kind,), self._text))
        return Secrets(kind, str(address), self._keys[kind]) if kind in self._keys else None

    def _right(self, credentials: Credentials, address: Address) -> bool:
        if credentials.scheme == "secret":
            given = credentials.secrets
            return given is not None and given.login == str(address) and same_secrets(
                self._keys.get(given.kind, ""), given.keys
            )
        shown = credentials.token if credentials.scheme == "token" else credentials.password
        return compare_digest(normal(shown), self._password)

    async def seen(self, address: Address) -> bool:
        """Whether mail for an address without an owner is taken, for the router's question at RCPT.

        True for the name of an account, and for ``u`` + digits (with or without a subaddress) of a local domain,
        whose account is made now.
        """
        domain = await self._local(address)
        if domain is None:
            return False
        local = address.local.lower()
        if domain.subaddress:
            local = local.partition(domain.subaddress)[0]
        named = Address(local, domain.name)
        if NUMBERED.fullmatch(local):
            await self._account(named)
            return True
        return await self._directory.credentials(str(named)) is not None

    async def _local(self, address: Address) -> DomainFacts | None:
        """The facts of the address's domain if its mailboxes are here."""
        domain: DomainFacts | None = await self._directory.domain(address.domain) if address.domain else None
        return domain if domain is not None and domain.kind == "local" else None

    async def _account(self, address: Address) -> StoredCredentials:
        """The account of that name, made when there is none.  Raises AuthenticationFailed."""
        stored: StoredCredentials | None = await self._directory.credentials(str(address))
        if stored is None:
            try:
                await self._directory.add_account(address, "")
            except Refused:
                # Somebody else has just made it: the directory lets one of two win.  If not, it is an alias.
                pass
            stored = await self._directory.credentials(str(address))
        if stored is None:
            raise AuthenticationFailed()
        return stored


def build(options: Options, site: Any) -> AnyAuthenticator:
    """The part; `site` has `directory` and `base`, the folder of the configuration file.  Raises ConfigError."""
    if not IAccountAdmin.providedBy(site.directory):
        raise ConfigError("needs a store whose accounts can be made here", key="auth.any")
    return AnyAuthenticator(
        site.directory,
        read_password(Path(site.base) / options.password_file),
        lambda kinds, password: make_secrets(site.hasher, kinds, password, os.urandom),
    )


def read_password(path: Path, key: str = "auth.any.password_file") -> str:
    """The first line of a file of at most 4 KiB, UTF-8.  Raises ConfigError about that key."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE + 1)
        lines = octets.decode("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", key=key) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", key=key) from error
    if len(octets) > MAX_FILE or not lines or not lines[0]:
        raise ConfigError(f"{path} must hold a password in its first line", key=key)
    return lines[0]
