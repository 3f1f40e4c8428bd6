"""Attempts under way (floor 4): who takes long, and who takes too long.

One timer for all of them: nearly every attempt ends within a second, and two timers for each would cost more than the
look at the few that do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

#: Seconds between two looks.
TICK = 1.0


class Patience:
    """Attempts by when they began.  `long(destination)` is called for one that takes more than `slow` seconds, and one
    that takes more than `most` is cancelled; either up to `TICK` later."""

    def __init__(
        self, call_later: Callable[..., Any], slow: float, most: float, long: Callable[[str], None]
    ) -> None:
        self._call_later, self._long = call_later, long
        self._slow, self._most = int(slow / TICK), int(most / TICK)
        self._ticks = self._last = 0
        #: Number -> ticks when it began, the destination, the attempt; the oldest first.  Those that take long are in
        #: the second table.
        self._fresh: dict[int, tuple[int, str, Deferred[Any]]] = {}
        self._late: dict[int, tuple[int, str, Deferred[Any]]] = {}
        self._timer: Any = None

    def __len__(self) -> int:
        """Attempts under way."""
        return len(self._fresh) + len(self._late)

    def begin(self, destination: str, attempt: Deferred[Any]) -> int:
        """One more; its number, for `end`."""
        self._last += 1
        self._fresh[self._last] = (self._ticks, destination, attempt)
        if self._timer is None:
            self._timer = self._call_later(TICK, self._tick)
        return self._last

    def end(self, number: int) -> None:
        """It has ended, however it did."""
        if self._fresh.pop(number, None) is None:
            self._late.pop(number, None)

    def close(self) -> None:
        """Look no more until another one begins."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._ticks += 1
        self._timer = self._call_later(TICK, self._tick) if len(self) else None
        for number, (began, destination, _) in list(self._fresh.items()):
            if self._ticks - began <= self._slow:
                break
            self._late[number] = self._fresh.pop(number)
            self._long(destination)
        for number, (began, _, attempt) in list(self._late.items()):
            if self._ticks - began <= self._most:
                break
            del self._late[number]
            attempt.cancel()
