"""Domains, accounts and aliases of the embedded store: point reads with a small cache, writes by the writer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from ...errors import NoSuchRecipient, Refused
from ...interfaces import IAccountAdmin, IAppPasswords, IDirectory
from ...values import (
    AccountFacts,
    Address,
    AppPassword,
    DomainFacts,
    Forward,
    Owner,
    StoredCredentials,
    Unknown,
)
from .. import directory_rules as rules
from .. import login_rules
from .accounts import AddAccount, RemoveAccount, SetAlias, SetDomains, SetEnabled
from .index import Index
from .logins import (
    APP_PASSWORD,
    AddAppPassword,
    ChangeSettings,
    RemoveAppPassword,
    SetPassword,
    app_password,
    limits_of,
    secrets_of,
    settings_of,
)
from .operations import Operation

#: Answers kept until the next change of the directory.
CACHE_ENTRIES = 10_000
_FACTS = "SELECT id, local, domain, tenant, enabled, created, settings FROM account"
#: Whether there are app passwords is nearly free to ask here; to read none costs as much as all the rest.
_CREDENTIALS = """SELECT id, tenant, enabled, local, domain, password, secrets, settings,
    EXISTS (SELECT 1 FROM app_password WHERE account=account.id) FROM account WHERE id=?"""
_APP_PASSWORDS = f"SELECT {APP_PASSWORD} FROM app_password WHERE account=?"


class _Lookups:
    """What is asked, answered from the index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._cache: dict[Hashable, Any] = {}
        self._nobody: set[str] = set()

    def changed(self) -> None:
        """A change of the directory was committed."""
        self._cache.clear()
        self._nobody.clear()

    def _cached(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """What is known, or read now and kept."""
        try:
            return self._cache[key]
        except KeyError:
            found = read()
            self._keep(key, found)
            return found

    def _keep(self, key: Hashable, found: Any) -> None:
        if len(self._cache) >= CACHE_ENTRIES:
            self._cache.clear()
        self._cache[key] = found

    # The look-ups of `directory_rules.Lookup`.

    def find_domain(self, name: str) -> DomainFacts | None:
        """The facts of a domain that is ours."""

        def read() -> DomainFacts | None:
            rows = self._index.rows("SELECT name, kind, subaddress, catch_all FROM domain WHERE name=?", (name,))
            return DomainFacts(*rows[0]) if rows else None

        found: DomainFacts | None = self._cached(("domain", name), read)
        return found

    def find_account(self, local: str, domain: str) -> Owner | None:
        """The account with exactly this address."""
        rows = self._index.rows("SELECT id, tenant FROM account WHERE domain=? AND folded=?", (domain, local))
        return Owner(*rows[0]) if rows else None

    def find_alias(self, local: str, domain: str) -> tuple[Address, ...] | None:
        """The targets of the alias with exactly this address."""
        rows = self._index.rows("SELECT targets FROM alias WHERE domain=? AND folded=?", (domain, local))
        return _addresses(rows[0][0]) if rows else None

    def first_account(self, domain: str) -> Owner | None:
        """The account of the domain ("": of any) that was created first."""
        if domain:
            rows = self._index.rows("SELECT id, tenant FROM account WHERE domain=? ORDER BY id LIMIT 1", (domain,))
        else:
            rows = self._index.rows("SELECT id, tenant FROM account ORDER BY id LIMIT 1")
        return Owner(*rows[0]) if rows else None

    # IDirectory

    async def resolve(self, address: Address) -> Owner | Forward | Unknown:
        """Who owns an address of a domain that is ours."""
        found: Owner | Forward | Unknown = self._cached(
            ("resolve", address), lambda: rules.resolve(self, address)
        )
        return found

    async def domain(self, name: str) -> DomainFacts | None:
        """Facts of a domain that is ours."""
        return self.find_domain(name.lower())

    async def account(self, account_id: int) -> AccountFacts | None:
        """Facts of an account."""

        def read() -> AccountFacts | None:
            rows = self._index.rows(f"{_FACTS} WHERE id=?", (account_id,))
            return _facts(rows[0]) if rows else None

        found: AccountFacts | None = self._cached(("account", account_id), read)
        return found

    async def credentials(self, login: str) -> StoredCredentials | None:
        """What a login by a full address is checked against.

        The cache is emptied before a change is answered, so what was replaced is never given after that.  Logins
        that there are not have a table of their own, as guessing must not push out those that there are; known they
        must be too, else who asks for one twice could tell by the time that nobody has it."""
        if login in self._nobody:
            return None
        key = ("credentials", login)
        found: StoredCredentials | None = self._cache.get(key)
        if found is None:
            found = self._credentials(login)
            if found is not None:
                self._keep(key, found)
            else:
                if len(self._nobody) >= CACHE_ENTRIES:
                    self._nobody.clear()
                self._nobody.add(login)
        return found

    def _credentials(self, login: str) -> StoredCredentials | None:
        account_id = rules.login_account(self, login)
        rows = self._index.rows(_CREDENTIALS, (account_id,)) if account_id is not None else ()
        if not rows:
            return None
        account, tenant, enabled, local, domain, password, secrets, settings, some = rows[0]
        passwords = self._app_passwords(account) if some else ()
        return StoredCredentials(
            account, tenant, bool(enabled), f"{local}@{domain}", password, secrets_of(secrets), passwords,
            *settings_of(settings),
        )

    def _app_passwords(self, account_id: int) -> tuple[AppPassword, ...]:
        # By id; for so few rows SQLite's own sorting takes longer than the read.
        return tuple(map(app_password, sorted(self._index.rows(_APP_PASSWORDS, (account_id,)))))


@implementer(IDirectory, IAccountAdmin, IAppPasswords)
class EmbeddedDirectory(_Lookups):
    """`submit(operation)` hands an operation to the writer."""

    def __init__(
        self, index: Index, submit: Callable[[Operation], Awaitable[Any]], clock: Callable[[], float]
    ) -> None:
        super().__init__(index)
        self._submit, self._clock = submit, clock

    # IAccountAdmin

    async def set_domains(self, domains: Sequence[DomainFacts]) -> None:
        """The domains of the configuration."""
        await self._submit(SetDomains(domains))

    async def add_account(
        self, address: Address, password_hash: str, secrets: Mapping[str, str] | None = None
    ) -> AccountFacts:
        """A new account with its mailboxes.  Raises Refused when the address is taken."""
        facts: AccountFacts = await self._submit(AddAccount(address, password_hash, secrets, self._clock()))
        return facts

    async def remove_account(self, account_id: int) -> None:
        """The account and all its mail.  Raises NoSuchRecipient."""
        await self._submit(RemoveAccount(account_id))

    async def set_password(
        self, account_id: int, password_hash: str, secrets: Mapping[str, str] | None = None
    ) -> None:
        """Replace the stored hash and all secrets.  Raises NoSuchRecipient, Refused."""
        await self._submit(SetPassword(account_id, password_hash, secrets))

    async def refresh(self, account_id: int, was: str, password_hash: str, secrets: Mapping[str, str]) -> bool:
        """`set_password` if the stored hash is still `was`; False otherwise, also when the account is gone."""
        done: bool = await self._submit(SetPassword(account_id, password_hash, secrets, was))
        return done

    async def set_keep(self, account_id: int, keep: frozenset[str] | None) -> None:
        """The kinds of secrets that are wanted; others are forgotten.  Raises NoSuchRecipient, Refused."""
        kinds = None if keep is None else login_rules.checked_kinds(keep)
        await self._submit(ChangeSettings(account_id, {"keep": kinds}))

    async def set_limits(
        self, account_id: int, *, quota: int | None = None, max_in: int | None = None, max_out: int | None = None
    ) -> None:
        """All three limits of the account.  Raises NoSuchRecipient, Refused."""
        check = login_rules.checked_limit
        changes = {"quota": check(quota), "max_in": check(max_in), "max_out": check(max_out)}
        await self._submit(ChangeSettings(account_id, changes))

    async def set_denied(self, account_id: int, denied: frozenset[str]) -> None:
        """What the account may not use.  Raises NoSuchRecipient, Refused."""
        await self._submit(ChangeSettings(account_id, {"denied": login_rules.checked_places(denied) or None}))

    async def set_enabled(self, account_id: int, enabled: bool) -> None:
        """Allow or forbid to log in.  Raises NoSuchRecipient."""
        await self._submit(SetEnabled(account_id, enabled))

    async def accounts(self) -> list[AccountFacts]:
        """All accounts, ordered by domain and local part."""
        return [_facts(row) for row in self._index.rows(f"{_FACTS} ORDER BY domain, folded")]

    async def add_alias(self, address: Address, targets: Sequence[Address]) -> None:
        """Set an alias.  Raises Refused for an account's address, or without targets."""
        if not targets:
            raise Refused("An alias needs a target", "5.5.4")
        await self._submit(SetAlias(address, tuple(targets)))

    async def remove_alias(self, address: Address) -> None:
        """Raises NoSuchRecipient."""
        await self._submit(SetAlias(address, ()))

    async def aliases(self) -> list[tuple[Address, tuple[Address, ...]]]:
        """All aliases, ordered by domain and local part."""
        rows = self._index.rows("SELECT local, domain, targets FROM alias ORDER BY domain, folded")
        return [(Address(local, domain), _addresses(targets)) for local, domain, targets in rows]

    # IAppPasswords

    async def app_passwords(self, account_id: int) -> tuple[AppPassword, ...]:
        """In the order they were made.  Raises NoSuchRecipient."""
        if await self.account(account_id) is None:
            raise NoSuchRecipient()
        return self._app_passwords(account_id)

    async def add_app_password(self, account_id: int, name: str, digest: str, scopes: frozenset[str]) -> AppPassword:
        """Raises NoSuchRecipient, Refused."""
        made: AppPassword = await self._submit(AddAppPassword(account_id, name, digest, scopes, self._clock()))
        return made

    async def remove_app_password(self, account_id: int, name: str) -> None:
        """Raises NoSuchRecipient; Refused when there is none of that name."""
        await self._submit(RemoveAppPassword(account_id, name))


def _facts(row: tuple[Any, ...]) -> AccountFacts:
    account, local, domain, tenant, enabled, created, settings = row
    return AccountFacts(
        account, Address(local, domain), tenant, bool(enabled), created, *settings_of(settings), *limits_of(settings)
    )


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(Address(local, domain) for local, domain in json.loads(text))
