"""Annotations of mailboxes and rights on them, for every store: what can be kept (RFC 5464, RFC 4314; pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import LimitReached, Refused, TooBig

#: Entries with a value, of one mailbox and one account (or shared), and octets of a name and of a value.
MAX_ENTRIES, MAX_NAME_OCTETS, MAX_VALUE_OCTETS = 64, 200, 8192
#: Grants of one mailbox, and characters of an identifier.
MAX_GRANTS, MAX_IDENTIFIER = 500, 300
RIGHTS = "lrswipkxtea"
SHARED = "/shared/"
#: The id that stands for the server itself.
SERVER = 0


def owner_of(entry: str, account_id: int) -> int:
    """Whose entry it is: 0 for everybody's.  Raises Refused for what is none."""
    if len(entry) > MAX_NAME_OCTETS or not entry.isascii():
        raise Refused("Name of an annotation is too long")
    if entry.startswith(SHARED):
        return 0
    if entry.startswith("/private/") and account_id > 0:
        return account_id
    raise Refused("Names of annotations begin with /private/ or /shared/")


def check_values(changes: Mapping[str, bytes | None]) -> None:
    """Raises TooBig."""
    if any(value is not None and len(value) > MAX_VALUE_OCTETS for value in changes.values()):
        raise TooBig("Value of an annotation is too long")


def check_count(known: Collection[str], changes: Mapping[str, bytes | None], account_id: int) -> None:
    """Whether the entries `known` can be amended by that.  Raises LimitReached."""
    after = set(known) - {entry for entry, value in changes.items() if value is None}
    after |= {entry for entry, value in changes.items() if value is not None}
    if len(after) <= len(known):
        return
    for owner in (0, account_id):
        if sum(owner_of(entry, account_id) == owner for entry in after) > MAX_ENTRIES:
            raise LimitReached("There are too many annotations")


def check_grant(known: Collection[str], identifier: str, rights: str) -> str:
    """The rights in their usual order.  Raises Refused, LimitReached."""
    if not 0 < len(identifier) <= MAX_IDENTIFIER or not identifier.isprintable():
        raise Refused("Not an identifier")
    if not set(rights) <= set(RIGHTS):
        raise Refused("Not a right")
    if rights and identifier not in known and len(known) >= MAX_GRANTS:
        raise LimitReached("There are too many entries in the access control list")
    return "".join(right for right in RIGHTS if right in rights)
