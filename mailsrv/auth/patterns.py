"""Lists of patterns that say whom something is for (floor 2b): compiled once, asked in constant time."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import AuthenticationFailed
from ..wire.sasl.names import fold as fold
from .names import login_address

#: Patterns of one list, and characters of one pattern (`names.LOGIN_OCTETS` of a login hold besides).
MAX_PATTERNS = 1_000_000
MAX_LENGTH = 400


def read_pattern(text: str) -> tuple[str, bool]:
    """(folded "*", "@example.org" or "bob@example.org", whether it adds) of one pattern.

    A leading "!" takes away.  Raises ValueError with a text that completes "KEY: ...".
    """
    adds, name = not text.startswith("!"), text.removeprefix("!")
    if name == "*":
        return name, adds
    prefix = "x" if name.startswith("@") else ""
    try:
        address = login_address(prefix + name) if len(name) <= MAX_LENGTH else None
    except AuthenticationFailed:
        address = None
    _, at, domain = name.rpartition("@")
    if address is None or not at or not domain or name.startswith("!") or any(c == "*" or c.isspace() for c in name):
        raise ValueError(f'"{text[:MAX_LENGTH]}" must be NAME@DOMAIN, @DOMAIN or *, perhaps with "!" before it')
    return fold(str(address).removeprefix(prefix)), adds


class Patterns:
    """Patterns in order; the last one that matches decides, and where none does the answer is no.

    `everybody` is True when the answer is yes for every login.  Raises ValueError for what is no pattern.
    """

    __slots__ = ("_domains", "_names", "_rest", "everybody")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        # The place in the list, counted from 1: positive adds, negative takes away.
        self._names: dict[str, int] = {}
        self._domains: dict[str, int] = {}
        self._rest = 0
        for place, text in enumerate(texts, 1):
            if place > MAX_PATTERNS:
                raise ValueError(f"more than {MAX_PATTERNS} patterns")
            key, adds = read_pattern(text)
            sign = place if adds else -place
            if key == "*":
                # Whatever stands before it says nothing any more.
                self._names.clear()
                self._domains.clear()
                self._rest = sign
            elif key.startswith("@"):
                self._domains[key[1:]] = sign
            else:
                self._names[key] = sign
        self.everybody = self._rest > 0 and min((*self._names.values(), *self._domains.values()), default=1) > 0

    def match(self, login: str) -> bool:
        """Whether a canonical login ("bob@example.org") is meant."""
        if self.everybody:
            return True
        folded, place = fold(login), self._rest
        _, at, name = folded.rpartition("@")
        domain = self._domains.get(name, 0) if at else 0
        if abs(domain) > abs(place):
            place = domain
        exact = self._names.get(folded, 0)
        return (exact if abs(exact) > abs(place) else place) > 0


EVERYBODY = Patterns(("*",))
NOBODY = Patterns()
