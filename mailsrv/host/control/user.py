"""Accounts (floor 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from ...auth.secrets import KINDS
from ...errors import MailError, Refused
from ...interfaces import IQuota
from ...parts import SIZE, did_you_mean, quoted
from ...values import AccountFacts
from ..config.options import SERVER_TABLES
from ..sessions import end_user
from .common import account_of, address_of, admin_of, checked_hash, hashed, local_address, shown
from .table import operation

#: More than any disk has: an account without a limit although the site has one.
UNLIMITED = 2**62 - 1
#: Accounts of one `user.import`; the command sends more in several.
MAX_IMPORT = 500
#: How many of them are worked on at a time (the hasher's threads are few).
AT_A_TIME = 8


def _facts(facts: AccountFacts) -> dict[str, Any]:
    """An account for JSON."""
    return {
        "address": shown(facts.address),
        "id": facts.account_id,
        "enabled": facts.enabled,
        "created_at": facts.created_at,
        "keep": None if facts.keep is None else sorted(facts.keep),
        "denied": sorted(facts.denied),
    }


@operation("user.add", secret=("password",))
async def add(site: Any, address: str, password: str) -> dict[str, Any]:
    """Add an account with INBOX and the special-use mailboxes."""
    where = await local_address(site, address)
    encoded, secrets = await hashed(site, password)
    return _facts(await admin_of(site).add_account(where, encoded, secrets))


def _imported(arguments: Mapping[str, Any]) -> str:
    """The resource of an import: the one domain of all accounts, or the site.  Raises Refused."""
    domains = {address_of(one.get("address", "")).domain for one in arguments["accounts"][:MAX_IMPORT]}
    return f"domain/{domains.pop()}" if len(domains) == 1 else ""


@operation("user.import", secret=("accounts",), resource=_imported)
async def import_many(site: Any, accounts: list[dict[str, str]]) -> dict[str, Any]:
    """Add many accounts: objects with "address" and "password", or "password_hash": an encoded argon2 hash, or one
    of another server with its scheme, as {SSHA256}... (it becomes argon2 at the first login).

    Those that cannot be added are told in "failed", the others stand.
    """
    if len(accounts) > MAX_IMPORT:
        raise Refused(f"at most {MAX_IMPORT} accounts at once")
    failed: list[dict[str, str]] = []
    for start in range(0, len(accounts), AT_A_TIME):
        group = accounts[start : start + AT_A_TIME]
        texts = await gatherResults([Deferred.fromCoroutine(_import_one(site, one)) for one in group])
        failed += [{"address": one.get("address", ""), "error": text} for one, text in zip(group, texts) if text]
    return {"added": len(accounts) - len(failed), "failed": failed}


async def _import_one(site: Any, account: dict[str, str]) -> str:
    """Why it could not be added, or ""."""
    try:
        unknown = set(account) - {"address", "password", "password_hash"}
        if unknown or "address" not in account or ("password" in account) == ("password_hash" in account):
            raise Refused('an account has "address" and either "password" or "password_hash"')
        where = await local_address(site, account["address"])
        if "password" in account:
            encoded, secrets = await hashed(site, account["password"])
        else:
            encoded, secrets = checked_hash(account["password_hash"]), {}
        await admin_of(site).add_account(where, encoded, secrets)
    except MailError as error:
        return error.text
    return ""


@operation("user.list")
async def list_users(site: Any, domain: str = "") -> list[dict[str, Any]]:
    """All accounts, or those of one domain."""
    wanted = address_of(f"x@{domain}").domain if domain else ""
    return [_facts(facts) for facts in await admin_of(site).accounts() if wanted in ("", facts.address.domain)]


@operation("user.password", secret=("password",))
async def password(site: Any, address: str, password: str) -> dict[str, Any]:
    """Set an account's password; its sessions are ended, for who is there knew the old one."""
    facts = await account_of(site, address)
    encoded, secrets = await hashed(site, password, facts.keep)
    await admin_of(site).set_password(facts.account_id, encoded, secrets)
    await _log_out(site, facts)
    return _facts(facts)


async def _log_out(site: Any, facts: AccountFacts, servers: Callable[[Any], bool] = lambda server: True) -> None:
    """End the account's sessions on those servers."""
    await end_user(site, facts.account_id, shown(facts.address), servers)


@operation("user.keep")
async def keep(site: Any, address: str, kinds: list[str], default: bool = False) -> dict[str, Any]:
    """Keep these secrets for the account, or those of the site; others are forgotten, missing ones are made when
    the password is next set or used with PLAIN."""
    facts = await account_of(site, address)
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise Refused(f"{quoted(sorted(unknown))}: the kinds of secrets are {quoted(KINDS)}")
    wanted = None if default else frozenset(kinds)
    await admin_of(site).set_keep(facts.account_id, wanted)
    return _facts(evolve(facts, keep=wanted))


@operation("user.show")
async def show(site: Any, address: str) -> dict[str, Any]:
    """An account with its limits, and what it holds where the store counts."""
    facts = await account_of(site, address)
    octets, messages = await site.store.usage(facts.account_id) if IQuota.providedBy(site.store) else (None, None)
    return {**_facts(facts), **_limits(facts), "octets": octets, "messages": messages}


def _limits(facts: AccountFacts) -> dict[str, Any]:
    """Limits for JSON: octets, "unlimited", or None for what the site says."""
    named = {"quota": facts.quota, "max_in": facts.max_in, "max_out": facts.max_out}
    return {name: "unlimited" if value == UNLIMITED else value for name, value in named.items()}


def _octets(text: str, before: int | None) -> int | None:
    """What a limit becomes: "" as it was, "default" what the site says, "unlimited", or a size.  Raises Refused."""
    if text in ("", "default", "unlimited"):
        return {"": before, "default": None, "unlimited": UNLIMITED}[text]
    try:
        octets: int = SIZE.read(text)
    except ValueError as error:
        raise Refused(f'{error}; or "default", or "unlimited"') from None
    return octets


@operation("user.limits")
async def limits(site: Any, address: str, quota: str = "", max_in: str = "", max_out: str = "") -> dict[str, Any]:
    """Set limits of an account (S-120): a size such as "500M", "unlimited", or "default" for what the site says."""
    facts = await account_of(site, address)
    changed = evolve(
        facts,
        quota=_octets(quota, facts.quota),
        max_in=_octets(max_in, facts.max_in),
        max_out=_octets(max_out, facts.max_out),
    )
    await admin_of(site).set_limits(
        facts.account_id, quota=changed.quota, max_in=changed.max_in, max_out=changed.max_out
    )
    return {**_facts(changed), **_limits(changed)}


@operation("user.deny")
async def deny(site: Any, address: str, what: list[str]) -> dict[str, Any]:
    """Take protocols ("pop3") or virtual servers ("smtp/submission") away from an account (S-104), which is logged out
    there."""
    done = await _permit(site, address, lambda denied: denied | _servers(site, what))
    facts = await account_of(site, address)
    await _log_out(site, facts, lambda server: {server.name, server.name.partition("/")[0]} & facts.denied)
    return done


@operation("user.allow")
async def allow(site: Any, address: str, what: list[str]) -> dict[str, Any]:
    """Undo `user.deny`."""
    return await _permit(site, address, lambda denied: denied - set(what))


def _servers(site: Any, what: list[str]) -> set[str]:
    """Protocols and servers that there are.  Raises Refused."""
    known = {*SERVER_TABLES, *site.options.servers}
    for name in what:
        if name not in known:
            raise Refused(f'no protocol or virtual server "{name}"{did_you_mean(name, known)}')
    return set(what)


async def _permit(
    site: Any, address: str, change: Callable[[frozenset[str]], AbstractSet[str]]
) -> dict[str, Any]:
    """Change what is denied, one after the other: a `user.deny` must not undo another that is under way."""
    await site.logins.changing.acquire()
    try:
        facts = await account_of(site, address)
        denied = frozenset(change(facts.denied))
        await admin_of(site).set_denied(facts.account_id, denied)
    finally:
        site.logins.changing.release()
    return _facts(evolve(facts, denied=denied))


@operation("user.remove")
async def remove(site: Any, address: str) -> dict[str, Any]:
    """Remove an account and all its mail, for good; its sessions are ended."""
    facts = await account_of(site, address)
    await admin_of(site).remove_account(facts.account_id)
    await _log_out(site, facts)
    return _facts(facts)


@operation("user.disable")
async def disable(site: Any, address: str) -> dict[str, Any]:
    """An account gets mail but nobody can log in; who is there is logged out."""
    return await _switch(site, address, False)


@operation("user.enable")
async def enable(site: Any, address: str) -> dict[str, Any]:
    """Undo `user.disable`."""
    return await _switch(site, address, True)


async def _switch(site: Any, address: str, enabled: bool) -> dict[str, Any]:
    """Set it, and tell what is there now."""
    facts = await account_of(site, address)
    await admin_of(site).set_enabled(facts.account_id, enabled)
    if not enabled:
        await _log_out(site, facts)
    return {**_facts(facts), "enabled": enabled}
