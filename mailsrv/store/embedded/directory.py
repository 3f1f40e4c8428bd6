"""Domains, accounts and aliases of the embedded store: point reads with a small cache, writes by the writer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

from zope.interface import implementer

from ...errors import Refused
from ...interfaces import IAccountAdmin, IDirectory
from ...values import AccountFacts, Address, DomainFacts, Forward, Owner, StoredCredentials, Unknown
from .. import directory_rules as rules
from .accounts import AddAccount, ChangeAccount, RemoveAccount, SetAlias, SetDomains
from .index import Index
from .operations import Operation

#: Answers kept until the next change of the directory.
CACHE_ENTRIES = 10_000
_FACTS = "SELECT id, local, domain, tenant, enabled, created FROM account"


@implementer(IDirectory, IAccountAdmin)
class EmbeddedDirectory:
    """`submit(operation)` hands an operation to the writer."""

    def __init__(
        self, index: Index, submit: Callable[[Operation], Awaitable[Any]], clock: Callable[[], float]
    ) -> None:
        self._index, self._submit, self._clock = index, submit, clock
        self._cache: dict[Hashable, Any] = {}

    def changed(self) -> None:
        """A change of the directory was committed."""
        self._cache.clear()

    def _cached(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """What is known, or read now and kept."""
        try:
            return self._cache[key]
        except KeyError:
            if len(self._cache) >= CACHE_ENTRIES:
                self._cache.clear()
            found = self._cache[key] = read()
            return found

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
        """What a login by a full address is checked against; never cached."""
        account_id = rules.login_account(self, login)
        if account_id is None:
            return None
        rows = self._index.rows(
            "SELECT id, tenant, enabled, local, domain, password FROM account WHERE id=?", (account_id,)
        )
        if not rows:
            return None
        account, tenant, enabled, local, domain, password = rows[0]
        return StoredCredentials(account, tenant, bool(enabled), f"{local}@{domain}", password)

    # IAccountAdmin

    async def set_domains(self, domains: Sequence[DomainFacts]) -> None:
        """The domains of the configuration."""
        await self._submit(SetDomains(domains))

    async def add_account(self, address: Address, password_hash: str) -> AccountFacts:
        """A new account with its mailboxes.  Raises Refused when the address is taken."""
        facts: AccountFacts = await self._submit(AddAccount(address, password_hash, self._clock()))
        return facts

    async def remove_account(self, account_id: int) -> None:
        """The account and all its mail.  Raises NoSuchRecipient."""
        await self._submit(RemoveAccount(account_id))

    async def set_password(self, account_id: int, password_hash: str) -> None:
        """Replace the stored hash.  Raises NoSuchRecipient."""
        await self._submit(ChangeAccount(account_id, "password", password_hash))

    async def set_enabled(self, account_id: int, enabled: bool) -> None:
        """Allow or forbid to log in.  Raises NoSuchRecipient."""
        await self._submit(ChangeAccount(account_id, "enabled", int(enabled)))

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


def _facts(row: tuple[Any, ...]) -> AccountFacts:
    account, local, domain, tenant, enabled, created = row
    return AccountFacts(account, Address(local, domain), tenant, bool(enabled), created)


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(Address(local, domain) for local, domain in json.loads(text))
