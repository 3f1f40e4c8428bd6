"""The one id of an accepted message (decisions 31): 13 base32 characters that sort by time."""

from __future__ import annotations

from collections.abc import Callable

#: Crockford's alphabet in lower case: no letter that is read as a digit.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_577_836_800.0  # 2020-01-01, UTC
_LOW_BITS = 24
#: Two characters at a time: ten bits each, five in front.
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
#: Ids that random numbers are drawn for at once, of 32 bits each.
_AT_ONCE = 64


class IdMaker:
    """Makes ids that never repeat in a process and rise with time: 41 bits of milliseconds, 24 of a counter."""

    def __init__(self, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self._now = now
        self._random = random
        self._last = 0
        #: Random numbers that are not used yet: asking the system costs more than all the rest.
        self._drawn: list[int] = []
        #: The first seven characters, which are the same for 64 milliseconds, and what they stand for.
        self._head, self._high = "", -1

    def next(self) -> str:
        """A new id."""
        moment = int((self._now() - _EPOCH) * 1000) << _LOW_BITS
        # Within a millisecond (or after the clock was set back) the counter goes on from the last id.
        if not self._drawn:
            self._drawn = memoryview(self._random(_AT_ONCE * 4)).cast("I").tolist()
        number = self._last = max(moment | self._drawn.pop() >> 9, self._last + 1)
        high, pair = number >> 30, _PAIRS
        if high != self._high:
            self._high = high
            begin = ALPHABET[high >> 30 & 31] + pair[high >> 20 & 1023]
            self._head = begin + pair[high >> 10 & 1023] + pair[high & 1023]
        return self._head + pair[number >> 20 & 1023] + pair[number >> 10 & 1023] + pair[number & 1023]
