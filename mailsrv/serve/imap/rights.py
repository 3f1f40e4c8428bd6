"""Rights on mailboxes (floor 3; RFC 4314), pure: what somebody may do by the grants of a mailbox.

Identifiers are "anyone", "#17" for the account of that id, and either behind "-" for rights that are taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...store import sharing_rules
from ...values import SYSTEM_FLAGS

ALL = sharing_rules.RIGHTS
ANYONE = "anyone"
#: Section 2.1.1: obsolete rights, and what they mean.
VIRTUAL = {"c": "kx", "d": "te"}
#: Flags with a right of their own; all others have "w".
_FLAG_RIGHTS = {b"\\seen": "s", b"\\deleted": "t"}
#: Rights without which nothing can be changed in a selected mailbox (section 5.2).
WRITING = frozenset("swte")


def identifiers(account_id: int) -> tuple[str, ...]:
    """Those that mean the account, without the ones that take away."""
    return ANYONE, f"#{account_id}"


def effective(grants: Mapping[str, str], account_id: int) -> str:
    """What the account may do, in the usual order (section 2: negative rights win)."""
    who = identifiers(account_id)
    given = {right for one in who for right in grants.get(one, "")}
    taken = {right for one in who for right in grants.get("-" + one, "")}
    return ordered(given - taken)


def ordered(rights: Iterable[str]) -> str:
    """In the usual order."""
    known = set(rights)
    return "".join(right for right in ALL if right in known)


def shown(rights: str) -> str:
    """As a client is told: with the obsolete ones where any right of theirs is there."""
    return rights + "".join(old for old, parts in VIRTUAL.items() if set(parts) & set(rights))


def asked(text: str) -> set[str] | None:
    """What a client's letters mean; None when one of them means nothing."""
    out: set[str] = set()
    for letter in text:
        out |= set(VIRTUAL.get(letter, letter))
    return out if out <= set(ALL) else None


def may_set(flag: bytes, rights: str) -> bool:
    """Whether a flag or keyword may be changed."""
    return _FLAG_RIGHTS.get(flag.lower(), "w") in rights


def permitted(flags: Iterable[bytes], rights: str) -> frozenset[bytes]:
    """Those of the flags that may be changed."""
    return frozenset(flag for flag in flags if may_set(flag, rights))


def system_flags(rights: str) -> list[bytes]:
    """The system flags that may be changed."""
    return [flag for flag in SYSTEM_FLAGS if may_set(flag, rights)]
