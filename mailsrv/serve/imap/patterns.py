"""LIST patterns (floor 3; RFC 3501 section 6.3.8): ``*`` matches anything, ``%`` anything within one level.

A pattern is matched against all names at once in time proportional to the name: the set of positions in the
pattern is one integer, so no pattern can make it slow.
"""

from __future__ import annotations

import re

SEPARATOR = "/"
_WILDCARDS = re.compile(r"[*%]{2,}")


class Pattern:
    """One pattern, the reference already in front of it."""

    __slots__ = ("_end", "_level", "_literals", "_text", "_upper", "_wild", "wildcard_end")

    def __init__(self, text: str) -> None:
        # Neighbouring wildcards are as good as the stronger of them.
        text = _WILDCARDS.sub(lambda run: "*" if "*" in run[0] else "%", text)
        self._text = text
        #: Whether it ends with "%": then names above a match are of interest too (LSUB).
        self.wildcard_end = text.endswith("%")
        self._literals: dict[str, int] = {}
        self._wild = self._level = 0
        for at, char in enumerate(text):
            if char == "*":
                self._wild |= 1 << at
            elif char == "%":
                self._level |= 1 << at
            else:
                self._literals[char] = self._literals.get(char, 0) | 1 << at
        self._end = 1 << len(text)
        self._upper = Pattern(text.upper()) if text != text.upper() and text.upper()[:1] in "I*%" else None

    def begins(self, name: str) -> bool:
        """Whether what it matches begins with that name, by its letters and not by a wildcard."""
        return self._text.startswith(name)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches.  INBOX is compared without case."""
        if self._text == "*":
            return True
        if not self._wild and not self._level:
            found = self._text == name
        else:
            found = self._run(name)
        return found or (name == "INBOX" and self._upper is not None and self._upper.matches(name))

    def _run(self, name: str) -> bool:
        both = self._wild | self._level
        here = 1 | (1 & both) << 1
        for char in name:
            kept = self._wild if char == SEPARATOR else both
            here = (here & self._literals.get(char, 0)) << 1 | here & kept
            if not here:
                return False
            here |= (here & both) << 1
        return bool(here & self._end)
