"""Mailbox names, for every store: what a name may be, and what renaming means (RFC 9051 section 5.1, pure).

A name is NFC text with "/" between its levels.  INBOX is compared without case as a whole first level, and
everything else exactly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from ..errors import BadMailboxName, MailboxExists, NoSuchMailbox

SEPARATOR = "/"
INBOX = "INBOX"
MAX_NAME_OCTETS = 1000
MAX_LEVELS = 32

#: What a new account has, with RFC 6154 attributes; all are subscribed.
DEFAULT_MAILBOXES: tuple[tuple[str, bytes | None], ...] = (
    (INBOX, None),
    ("Drafts", b"\\Drafts"),
    ("Sent", b"\\Sent"),
    ("Junk", b"\\Junk"),
    ("Trash", b"\\Trash"),
    ("Archive", b"\\Archive"),
)

#: Cc are the control characters, Cs lone surrogates, Zl and Zp U+2028 and U+2029 (RFC 9051 section 5.1).
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def normalise(name: str) -> str:
    """The one spelling of a mailbox name.  Raises BadMailboxName."""
    if name == INBOX:
        return name
    if len(name) > MAX_NAME_OCTETS:
        raise BadMailboxName("Mailbox name is too long")
    if not name.isprintable() and any(unicodedata.category(char) in _FORBIDDEN for char in name):
        raise BadMailboxName("Mailbox name holds a control character")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
        if len(name.encode("utf-8")) > MAX_NAME_OCTETS:
            raise BadMailboxName("Mailbox name is too long")
    levels = name.split(SEPARATOR)
    if len(levels) > MAX_LEVELS:
        raise BadMailboxName("Mailbox name has too many levels")
    if "" in levels:
        raise BadMailboxName("Mailbox name has an empty level")
    # isascii: the upper case of the dotless i is I as well.
    if levels[0].isascii() and levels[0].upper() == INBOX:
        levels[0] = INBOX
        return SEPARATOR.join(levels)
    return name


def existing(name: str) -> str:
    """`normalise` for a name that must be there already: what cannot be a name raises NoSuchMailbox."""
    try:
        return normalise(name)
    except BadMailboxName as cause:
        raise NoSuchMailbox() from cause


def parents(name: str) -> list[str]:
    """The names above `name`, the highest first; INBOX/x has INBOX above it."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:count]) for count in range(1, len(levels))]


def rename_plan(names: Collection[str], old: str, new: str) -> list[tuple[str, str]]:
    """What RENAME does to the existing `names`: (old name, new name) with all children, the mailbox first.

    `old` and `new` are normalised.  INBOX is renamed alone (its messages move, RFC 9051 section 6.3.6), so its
    plan is itself only.  Raises NoSuchMailbox, MailboxExists, BadMailboxName.
    """
    if old not in names:
        raise NoSuchMailbox()
    if new in names:
        raise MailboxExists()
    if old == INBOX:
        return [(old, new)]
    below = old + SEPARATOR
    if new.startswith(below):
        raise BadMailboxName("A mailbox cannot be renamed to a name below itself")
    plan = [(old, new)]
    for name in sorted(names):
        if name.startswith(below):
            target = normalise(new + name[len(old) :])
            if target in names:
                raise MailboxExists()
            plan.append((name, target))
    return plan


def missing_parents(names: Collection[str], name: str) -> list[str]:
    """The parents of `name` that are not among the existing `names`, the highest first."""
    return [parent for parent in parents(name) if parent not in names]
