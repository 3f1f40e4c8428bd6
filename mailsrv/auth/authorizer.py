"""The authorizer `accounts` (floor 2b): permissions of accounts on virtual servers, and roles (decisions 15).

What is not allowed here is denied.  An action costs look-ups in sets; the directory is asked only where an address,
an alias or whether an account is disabled matters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from attrs import evolve, frozen
from zope.interface import implementer

from ..errors import ConfigError
from ..interfaces import IAuthorizer, IDirectory
from ..values import ACCEPT, Address, Forward, Identity, Owner, Verdict
from .patterns import EVERYBODY, NOBODY, Patterns, fold
from .roles import TOKEN, UNIX, Role, owners

DENIED = Verdict("reject", "Access denied", "5.7.1", part="accounts")
#: Why, for log and trace; the client hears the same words.
ANONYMOUS = evolve(DENIED, rule="anonymous")
UNKNOWN = evolve(DENIED, rule="no such server")
SCOPES = evolve(DENIED, rule="scopes of the credentials")
TAKEN = evolve(DENIED, rule="denied to the account")
USERS = evolve(DENIED, rule="users")
RELAY = evolve(DENIED, text="Relay access denied", rule="relay_users")
NO_ROLE = evolve(DENIED, rule="no role grants it")
DISABLED = evolve(DENIED, rule="the account is disabled")

#: Rights on a mailbox (RFC 4314 section 2.1, and the two obsolete ones).
RIGHTS = frozenset("lrswipkxteacd")
#: Targets of an alias that are resolved to see whether one is the asker.
MAX_TARGETS = 100

#: `await shared(identity, right, resource)`: whether the mailbox of somebody else is open to that identity.
Shared = Callable[[Identity, str, str], Awaitable[bool]]


@frozen
class ServerRules:
    """Who may use one virtual server (S-104), and on SMTP who may relay through it (S-137)."""

    protocol: str
    users: Patterns = EVERYBODY
    relay_users: Patterns = NOBODY


async def _own_only(identity: Identity, right: str, resource: str) -> bool:
    """No mailbox is shared."""
    return False


@implementer(IAuthorizer)
class AccountsAuthorizer:
    """Verdicts from the configuration and the directory.

    `servers` maps "smtp/default" to its rules, `roles` are asked in order; `shared` is asked about mailboxes of others.
    """

    def __init__(
        self,
        directory: IDirectory,
        servers: Mapping[str, ServerRules],
        roles: Iterable[Role] = (),
        shared: Shared = _own_only,
    ) -> None:
        self._directory = directory
        self._servers = dict(servers)
        self._roles = tuple(roles)
        self._shared = shared

    async def permits(self, identity: Identity | None, action: str, resource: str) -> Verdict:
        """See IAuthorizer.  `resource` by action: a server's id, an address, "ACCOUNT_ID/MAILBOX", or of
        admin.NOUN.VERB what it is done to: "" (the site), "domain/NAME", "server/ID", "user/ADDRESS"."""
        if identity is None:
            return ANONYMOUS
        if action == "server.use":
            return await self._use(identity, resource)
        if action == "server.relay":
            return await self._relay(identity, resource)
        if identity.anonymous or not identity.authcid:
            return ANONYMOUS
        kind, _, what = action.partition(".")
        if kind == "mailbox":
            return await self._mailbox(identity, what, resource)
        if kind == "admin" and "." in what:
            return await self._role(identity, what, resource)
        if action == "login.as":
            return await self._role(identity, action, f"user/{resource}")
        return await self._send(identity, resource) if action == "send.as" else DENIED

    # ------------------------------------------------------------ virtual servers

    async def _use(self, identity: Identity, server: str) -> Verdict:
        """Whether that login may use a server (S-104)."""
        rules = self._servers.get(server)
        if rules is None:
            return UNKNOWN
        if identity.denied and (rules.protocol in identity.denied or server in identity.denied):
            return TAKEN
        if identity.scopes and rules.protocol not in identity.scopes:
            return SCOPES
        if identity.anonymous:
            return ACCEPT if rules.protocol == "smtp" else ANONYMOUS
        return ACCEPT if await self._listed(rules.users, identity) else USERS

    async def _relay(self, identity: Identity, server: str) -> Verdict:
        """Whether that login may relay through a server (S-137)."""
        rules = self._servers.get(server)
        if rules is None or identity.anonymous or not await self._listed(rules.relay_users, identity):
            return RELAY
        return await self._use(identity, server)

    async def _listed(self, patterns: Patterns, identity: Identity) -> bool:
        """Whether the patterns mean that login, and the account that it acts as."""
        if identity.mechanism in (UNIX, TOKEN) or not identity.authcid:
            return False
        if patterns.everybody:
            return True
        if not patterns.match(identity.authcid):
            return False
        return not identity.authzid or patterns.match(await self._primary(identity) or identity.authzid)

    # ------------------------------------------------------------ roles

    async def _role(self, identity: Identity, action: str, resource: str) -> Verdict:
        """Whether a role grants it."""
        for role in self._roles:
            if role.allows(action) and role.has(identity) and role.covers(resource):
                return ACCEPT if await self._active(identity) else DISABLED
        return NO_ROLE

    async def _active(self, identity: Identity) -> bool:
        """Neither who asks nor the account it acts as is disabled or gone."""
        if identity.account_id:
            facts = await self._directory.account(identity.account_id)
            if facts is None or not facts.enabled:
                return False
        if identity.authzid:
            stored = await self._directory.credentials(identity.authcid)
            return stored is None or stored.enabled
        return True

    # ------------------------------------------------------------ addresses and mailboxes

    async def _send(self, identity: Identity, resource: str) -> Verdict:
        """Whether mail may be sent in the name of an address: the own ones, and those of a role."""
        if identity.mechanism != UNIX:
            wanted, primary = fold(resource), fold(await self._primary(identity))
            if wanted and wanted in (fold(identity.authcid), primary):
                return ACCEPT
            if await self._owns(identity.account_id, primary, resource):
                return ACCEPT
        return await self._role(identity, "send.as", f"user/{resource}")

    async def _owns(self, account_id: int, primary: str, resource: str) -> bool:
        """Whether mail for that address comes to the account, perhaps among others."""
        local, _, domain = resource.rpartition("@")
        if not account_id or not local:
            return False
        found = await self._directory.resolve(Address(local, domain.lower()))
        if isinstance(found, Forward):
            if any(fold(str(target)) == primary for target in found.targets):
                return True
            for target in found.targets[:MAX_TARGETS]:
                owner = await self._directory.resolve(target)
                if isinstance(owner, Owner) and owner.account_id == account_id:
                    return True
            return False
        return isinstance(found, Owner) and found.account_id == account_id

    async def _primary(self, identity: Identity) -> str:
        """The address of the account that is acted as; "" when the directory has none."""
        facts = await self._directory.account(identity.account_id) if identity.account_id else None
        return "" if facts is None else str(facts.address)

    async def _mailbox(self, identity: Identity, right: str, resource: str) -> Verdict:
        """Whether a right on a mailbox is there (RFC 4314): all on the own ones."""
        if right not in RIGHTS:
            return DENIED
        owner = resource.partition("/")[0]
        if identity.account_id and owner == str(identity.account_id):
            return ACCEPT
        return ACCEPT if await self._shared(identity, right, resource) else DENIED


def build(options: Any, site: Any) -> AccountsAuthorizer:
    """The part; `site` has `options` (servers, roles), `directory` and `roles`, built in where none of the options has
    that name.  Raises ConfigError."""
    try:
        servers = {
            name: ServerRules(server.protocol, Patterns(server.users), Patterns(getattr(server, "relay_users", ())))
            for name, server in site.options.servers.items()
        }
        roles = [Role(name, role.members, role.actions, role.scope) for name, role in site.options.roles.items()]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    built_in = [role for role in getattr(site, "roles", ()) if role.name not in site.options.roles]
    return AccountsAuthorizer(site.directory, servers, [owners(), *roles, *built_in])


@frozen
class Options:
    """The authorizer `accounts` has no options of its own: `users` of the servers and [role.NAME] are its rules."""
