"""Domains, accounts and aliases of the memory store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, evolve, field
from zope.interface import implementer

from ..errors import NoSuchRecipient, Refused
from ..interfaces import IAccountAdmin, IAppPasswords, IDirectory
from ..values import (
    AccountFacts,
    Address,
    AppPassword,
    DomainFacts,
    Forward,
    Owner,
    StoredCredentials,
    Unknown,
)
from . import directory_rules as rules
from . import login_rules


@define(eq=False)
class _Account:
    """One account as it is kept."""

    facts: AccountFacts
    password_hash: str = field(repr=False)
    secrets: dict[str, str] = field(factory=dict, repr=False)
    #: By name, in the order they were made.
    app_passwords: dict[str, AppPassword] = field(factory=dict)


class _Lookups:
    """What is kept, and how it is asked for."""

    def __init__(self, domains: Sequence[DomainFacts]) -> None:
        self._domains = {domain.name: domain for domain in domains}
        self._accounts: dict[int, _Account] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._aliases: dict[tuple[str, str], tuple[Address, tuple[Address, ...]]] = {}

    # The look-ups of `directory_rules.Lookup`.

    def find_domain(self, name: str) -> DomainFacts | None:
        """The facts of a domain that is ours."""
        return self._domains.get(name)

    def find_account(self, local: str, domain: str) -> Owner | None:
        """The account with exactly this address."""
        account_id = self._ids.get((domain, local))
        return None if account_id is None else self._owner(account_id)

    def find_alias(self, local: str, domain: str) -> tuple[Address, ...] | None:
        """The targets of the alias with exactly this address."""
        alias = self._aliases.get((domain, local))
        return None if alias is None else alias[1]

    def first_account(self, domain: str) -> Owner | None:
        """The account of the domain ("": of any) that was created first."""
        # Ids only grow and dicts keep their order, so the first one found is the oldest.
        for account_id, account in self._accounts.items():
            if not domain or account.facts.address.domain == domain:
                return self._owner(account_id)
        return None

    # IDirectory

    async def resolve(self, address: Address) -> Owner | Forward | Unknown:
        """Who owns an address of a domain that is ours."""
        return rules.resolve(self, address)

    async def domain(self, name: str) -> DomainFacts | None:
        """Facts of a domain that is ours."""
        return self._domains.get(name.lower())

    async def account(self, account_id: int) -> AccountFacts | None:
        """Facts of an account."""
        account = self._accounts.get(account_id)
        return None if account is None else account.facts

    async def credentials(self, login: str) -> StoredCredentials | None:
        """What a login by a full address is checked against."""
        account_id = rules.login_account(self, login)
        if account_id is None:
            return None
        account = self._accounts[account_id]
        facts = account.facts
        return StoredCredentials(
            account_id,
            facts.tenant_id,
            facts.enabled,
            str(facts.address),
            account.password_hash,
            dict(account.secrets),
            tuple(account.app_passwords.values()),
            facts.keep,
            facts.denied,
        )

    def _owner(self, account_id: int) -> Owner:
        return Owner(account_id, self._accounts[account_id].facts.tenant_id)

    def _account(self, account_id: int) -> _Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise NoSuchRecipient()
        return account


@implementer(IDirectory, IAccountAdmin, IAppPasswords)
class MemoryDirectory(_Lookups):
    """A directory in memory.  `added(id)` and `removed(id)` tell the store of accounts that come and go."""

    def __init__(
        self,
        clock: Callable[[], float],
        added: Callable[[int], None],
        removed: Callable[[int], None],
        domains: Sequence[DomainFacts] = (),
    ) -> None:
        super().__init__(domains)
        self._clock, self._added, self._removed = clock, added, removed
        self._last_id = self._last_app_password = 0

    # IAccountAdmin

    async def set_domains(self, domains: Sequence[DomainFacts]) -> None:
        """The domains of the configuration."""
        self._domains = {domain.name: domain for domain in domains}

    async def add_account(
        self, address: Address, password_hash: str, secrets: Mapping[str, str] | None = None
    ) -> AccountFacts:
        """A new account with its mailboxes.  Raises Refused when the address is taken."""
        key = rules.address_key(address)
        login_rules.checked_keys(password_hash)
        checked = login_rules.checked_secrets(secrets)
        if key in self._ids or key in self._aliases:
            raise Refused("The address is taken", "5.3.5")
        self._last_id += 1
        facts = AccountFacts(self._last_id, address, created_at=self._clock())
        self._accounts[self._last_id] = _Account(facts, password_hash, checked)
        self._ids[key] = self._last_id
        self._added(self._last_id)
        return facts

    async def remove_account(self, account_id: int) -> None:
        """The account and all its mail.  Raises NoSuchRecipient."""
        facts = self._account(account_id).facts
        del self._accounts[account_id]
        del self._ids[rules.address_key(facts.address)]
        self._removed(account_id)

    async def set_password(
        self, account_id: int, password_hash: str, secrets: Mapping[str, str] | None = None
    ) -> None:
        """Replace the stored hash and all secrets.  Raises NoSuchRecipient, Refused."""
        account = self._account(account_id)
        checked = login_rules.checked_secrets(secrets, account.facts.keep)
        account.password_hash, account.secrets = login_rules.checked_keys(password_hash), checked

    async def refresh(self, account_id: int, was: str, password_hash: str, secrets: Mapping[str, str]) -> bool:
        """`set_password` if the stored hash is still `was`; False otherwise, also when the account is gone."""
        account = self._accounts.get(account_id)
        if account is None or account.password_hash != was:
            return False
        await self.set_password(account_id, password_hash, secrets)
        return True

    async def set_keep(self, account_id: int, keep: frozenset[str] | None) -> None:
        """The kinds of secrets that are wanted; others are forgotten.  Raises NoSuchRecipient, Refused."""
        account = self._account(account_id)
        account.facts = evolve(account.facts, keep=None if keep is None else login_rules.checked_kinds(keep))
        account.secrets = login_rules.kept(account.secrets, keep)

    async def set_limits(
        self, account_id: int, *, quota: int | None = None, max_in: int | None = None, max_out: int | None = None
    ) -> None:
        """All three limits of the account.  Raises NoSuchRecipient, Refused."""
        account = self._account(account_id)
        check = login_rules.checked_limit
        account.facts = evolve(account.facts, quota=check(quota), max_in=check(max_in), max_out=check(max_out))

    async def set_denied(self, account_id: int, denied: frozenset[str]) -> None:
        """What the account may not use.  Raises NoSuchRecipient, Refused."""
        account = self._account(account_id)
        account.facts = evolve(account.facts, denied=login_rules.checked_places(denied))

    async def set_enabled(self, account_id: int, enabled: bool) -> None:
        """Allow or forbid to log in.  Raises NoSuchRecipient."""
        account = self._account(account_id)
        account.facts = evolve(account.facts, enabled=enabled)

    async def accounts(self) -> list[AccountFacts]:
        """All accounts, ordered by domain and local part."""
        return [self._accounts[account_id].facts for _, account_id in sorted(self._ids.items())]

    async def add_alias(self, address: Address, targets: Sequence[Address]) -> None:
        """Set an alias.  Raises Refused for an account's address, or without targets."""
        key = rules.address_key(address)
        if key in self._ids:
            raise Refused("The address is an account's", "5.3.5")
        if not targets:
            raise Refused("An alias needs a target", "5.5.4")
        self._aliases[key] = (address, tuple(targets))

    async def remove_alias(self, address: Address) -> None:
        """Raises NoSuchRecipient."""
        if self._aliases.pop(rules.address_key(address), None) is None:
            raise NoSuchRecipient()

    async def aliases(self) -> list[tuple[Address, tuple[Address, ...]]]:
        """All aliases, ordered by domain and local part."""
        return [alias for _, alias in sorted(self._aliases.items(), key=lambda item: item[0])]

    # IAppPasswords

    async def app_passwords(self, account_id: int) -> tuple[AppPassword, ...]:
        """In the order they were made.  Raises NoSuchRecipient."""
        return tuple(self._account(account_id).app_passwords.values())

    async def add_app_password(self, account_id: int, name: str, digest: str, scopes: frozenset[str]) -> AppPassword:
        """Raises NoSuchRecipient, Refused."""
        kept = self._account(account_id).app_passwords
        checked = login_rules.checked_app_password(name, digest, scopes)
        login_rules.check_new_name(name, kept)
        self._last_app_password += 1
        made = kept[name] = AppPassword(self._last_app_password, name, digest, checked, self._clock())
        return made

    async def remove_app_password(self, account_id: int, name: str) -> None:
        """Raises NoSuchRecipient; Refused when there is none of that name."""
        if self._account(account_id).app_passwords.pop(name, None) is None:
            raise login_rules.no_such_app_password()
