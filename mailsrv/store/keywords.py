"""Flags as bit masks, for every store: bits 0-4 are the system flags, then a mailbox's keywords in order (pure).

Keywords are compared without case and shown in the spelling that was seen first (RFC 9051 section 2.3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import Refused
from ..values import FIRST_KEYWORD_BIT, SYSTEM_FLAGS

MAX_KEYWORDS = 500
MAX_KEYWORD_OCTETS = 255

_SYSTEM = {flag.lower(): 1 << bit for bit, flag in enumerate(SYSTEM_FLAGS)}
_SYSTEM_MASK = (1 << FIRST_KEYWORD_BIT) - 1


def assign(flags: Iterable[bytes], keywords: Sequence[bytes], lenient: bool = False) -> tuple[int, tuple[bytes, ...]]:
    """The mask of `flags`, and the keywords that must be put behind `keywords` for it to hold.

    \\Recent is left out, nobody can set it.  Raises Refused for another unknown system flag, an overlong keyword
    or one too many; `lenient` leaves such a flag out instead (deliveries and copies must not fail for one).
    """
    mask = 0
    others = []
    for flag in flags:
        bit = _SYSTEM.get(flag.lower())
        if bit is None:
            others.append(flag)
        else:
            mask |= bit
    if not others:
        return mask, ()
    index = {keyword.lower(): place for place, keyword in enumerate(keywords)}
    new: list[bytes] = []
    for flag in sorted(others):
        folded = flag.lower()
        place = index.get(folded)
        if place is None:
            reason = _objection(folded, len(index))
            if reason is not None:
                if reason and not lenient:
                    raise Refused(reason, "5.5.4")
                continue
            place = index[folded] = len(index)
            new.append(flag)
        mask |= 1 << (FIRST_KEYWORD_BIT + place)
    return mask, tuple(new)


def _objection(folded: bytes, count: int) -> str | None:
    """Why a new keyword cannot be had: "" for one that is left out silently, None when it can."""
    if folded == b"\\recent":
        return ""
    if folded.startswith(b"\\"):
        return "No such system flag"
    if not 0 < len(folded) <= MAX_KEYWORD_OCTETS:
        return "Keyword is too long"
    return "Too many keywords in this mailbox" if count >= MAX_KEYWORDS else None


def known(flags: Iterable[bytes], keywords: Sequence[bytes]) -> int:
    """The mask of those `flags` that the mailbox knows already; others are left out."""
    mask, new = assign(flags, keywords, lenient=True)
    # New keywords were given the bits behind the known ones.
    return mask & ((1 << (FIRST_KEYWORD_BIT + len(keywords))) - 1) if new else mask


def changed(action: str, old: int, mask: int) -> int:
    """`old` after a `FlagChange` whose flags are `mask`; `action` is add, remove or replace."""
    if action == "add":
        return old | mask
    if action == "remove":
        return old & ~mask
    return mask


def names_of(mask: int, keywords: Sequence[bytes]) -> list[bytes]:
    """The flags of a mask, system flags first."""
    names = [flag for bit, flag in enumerate(SYSTEM_FLAGS) if mask >> bit & 1]
    if mask > _SYSTEM_MASK:
        rest = mask >> FIRST_KEYWORD_BIT
        names += [keyword for place, keyword in enumerate(keywords) if rest >> place & 1]
    return names
