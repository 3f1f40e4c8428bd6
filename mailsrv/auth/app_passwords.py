"""App passwords: made here, for one program, good for some protocols (floor 2b).

They are random, so nothing slow is needed to keep them: nobody guesses 140 bits from a digest.  A login with one
costs microseconds, however many an account has.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from ..values import AppPassword

#: 32 signs that nobody takes for each other (those of Crockford's base32); what they are taken for is understood.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
SIGNS, GROUP = 28, 4
#: Longer texts are not even looked at: signs, and whatever somebody puts between them.
MAX_TYPED = 100

_TYPED = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None, "\u2011": None, "\u00a0": None})
_SIGNS = frozenset(ALPHABET)


def new_app_password(random: Callable[[int], bytes]) -> tuple[str, str]:
    """(what is shown once, like "k3fz-9vqm-...", what is kept); `random(n)` gives n octets."""
    signs = "".join(ALPHABET[octet & 31] for octet in random(SIGNS))
    shown = "-".join(signs[start : start + GROUP] for start in range(0, SIGNS, GROUP))
    return shown, _digest(signs)


def matching(kept: Sequence[AppPassword], password: str) -> AppPassword | None:
    """The one that this is, or None.  Case, dashes and spaces do not matter, and every one is compared."""
    signs = _signs(password) if kept else ""
    if not signs:
        return None
    digest, found = _digest(signs).encode("ascii"), None
    for entry in kept:
        if hmac.compare_digest(entry.digest.encode("utf-8"), digest):
            found = entry
    return found


def _signs(password: str) -> str:
    """The signs of a text that can be an app password, else ""."""
    if not SIGNS <= len(password) <= MAX_TYPED:
        return ""
    signs = password.lower().translate(_TYPED)
    return signs if len(signs) == SIGNS and _SIGNS.issuperset(signs) else ""


def _digest(signs: str) -> str:
    return hashlib.sha256(signs.encode("ascii")).hexdigest()
