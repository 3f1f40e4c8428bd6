"""What several nouns need (floor 4)."""

from __future__ import annotations

import os
from typing import Any

from ...auth.schemes import checkable
from ...auth.secrets import make_secrets
from ...errors import NoSuchRecipient, Refused
from ...interfaces import IAccountAdmin
from ...values import AccountFacts, Address, Owner
from ...wire.smtp_syntax import print_address, read_path

#: Longest password in octets: more is no password, and hashing is not free.
MAX_PASSWORD = 1024
#: Longest address in characters that is looked at.
MAX_ADDRESS = 400


def admin_of(site: Any) -> Any:
    """The site's IAccountAdmin.  Raises Refused."""
    if not IAccountAdmin.providedBy(site.directory):
        raise Refused("the accounts of this site are administered elsewhere")
    return site.directory


def address_of(text: str) -> Address:
    """A full address.  Raises Refused."""
    read = read_path(f"<{text.strip()}>") if len(text) <= MAX_ADDRESS else None
    if read is None or read[0] is None or read[1] or not read[0].domain:
        raise Refused(f"{text[:MAX_ADDRESS]!r} is no address; write NAME@DOMAIN")
    return read[0]


async def local_address(site: Any, text: str) -> Address:
    """A full address of a local domain.  Raises Refused."""
    address = address_of(text)
    if await site.directory.domain(address.domain) is None:
        raise Refused(
            f"{address.domain} is no local domain; `mailsrv domain add {address.domain}` makes it one", "5.1.2"
        )
    return address


async def account_of(site: Any, text: str) -> AccountFacts:
    """The account with this very address, also one whose domain is no longer local.  Raises NoSuchRecipient."""
    address = address_of(text)
    found = await site.directory.resolve(address)
    if isinstance(found, Owner):
        facts: AccountFacts | None = await site.directory.account(found.account_id)
        if facts is not None and _same(facts.address, address):
            return facts
    for facts in await admin_of(site).accounts():
        if _same(facts.address, address):
            return facts
    raise NoSuchRecipient(f"there is no account {print_address(address)}")


def _same(one: Address, other: Address) -> bool:
    """Compared as local domains do: without case (decisions 33)."""
    return one.domain == other.domain and one.local.casefold() == other.local.casefold()


def checked_password(password: str) -> str:
    """A password that can be hashed and typed.  Raises Refused."""
    if not password:
        raise Refused("the password is empty")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
        raise Refused(f"the password is longer than {MAX_PASSWORD} octets")
    if any(c in password for c in "\0\r\n"):
        raise Refused("the password holds NUL or a line end, which no client can send")
    return password


def shown(address: Address) -> str:
    """The address as people and JSON see it."""
    return print_address(address)


async def hashed(site: Any, password: str, keep: frozenset[str] | None = None) -> tuple[str, dict[str, str]]:
    """The encoded hash of a new password, and the secrets of the kinds that are kept for such an account.

    Raises Refused, TryLater.
    """
    secret = checked_password(password)
    kinds = site.logins.kept if keep is None else keep & site.logins.kept
    return await site.hasher.hash(secret), await make_secrets(site.hasher, kinds, secret, os.urandom)


def checked_hash(encoded: str) -> str:
    """A password hash of a scheme that can be checked.  Raises Refused."""
    if not encoded.startswith(("$", "{")) or not checkable(encoded):
        raise Refused("the password_hash is neither argon2 nor one of the schemes that docs/authentication.md lists")
    return encoded
