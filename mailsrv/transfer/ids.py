"""The one id of an accepted message (decisions 31): 13 base32 characters that sort by time."""

from __future__ import annotations

from collections.abc import Callable

#: Crockford's alphabet in lower case: no letter that is read as a digit.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_577_836_800.0  # 2020-01-01, UTC
_LOW_BITS = 24
#: Two characters at a time: ten bits each, five in front.
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_SHIFTS = (50, 40, 30, 20, 10, 0)


class IdMaker:
    """Makes ids that never repeat in a process and rise with time: 41 bits of milliseconds, 24 of a counter."""

    def __init__(self, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self._now = now
        self._random = random
        self._last = 0

    def next(self) -> str:
        """A new id."""
        moment = int((self._now() - _EPOCH) * 1000) << _LOW_BITS
        # Within a millisecond (or after the clock was set back) the counter goes on from the last id.
        fresh = moment | int.from_bytes(self._random(3), "big") >> 1
        number = self._last = max(fresh, self._last + 1)
        out = [_PAIRS[number >> shift & 1023] for shift in _SHIFTS]
        return ALPHABET[number >> 60 & 31] + "".join(out)
