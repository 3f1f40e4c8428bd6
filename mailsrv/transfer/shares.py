"""Who may have a worker (floor 4): some of them are kept from destinations that take long.

A dead destination takes a worker a minute, one that stalls an hour; a few thousand of them would have all workers all
the time, and mail for everybody else would wait behind them.  So what is known to be *poor* (it could not be reached
the last time, or an attempt at it takes or took long) has its share of the workers and no more.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection

#: Workers of all destinations; so many of them are not for poor ones.
MAX_WORKERS, KEPT = 200, 50
#: A worker of a destination that has become poor meanwhile goes on.  Those above the share of the poor are not counted
#: among `MAX_WORKERS`, but no more than so many are at work.
LIMIT = 2 * MAX_WORKERS
#: An attempt of more seconds is a long one.
SLOW = 30.0
#: Poor destinations that are remembered.
MEMORY = 100_000


class Shares:
    """Counts workers.  `workers`: all that are at work."""

    def __init__(self) -> None:
        self.workers = 0
        self._by: Counter[str] = Counter()
        self._poor: OrderedDict[str, None] = OrderedDict()
        #: Workers of poor destinations.
        self._taken = 0

    @property
    def poor(self) -> Collection[str]:
        """Destinations that are poor."""
        return self._poor.keys()

    @property
    def crowded(self) -> bool:
        """The poor have their share."""
        return self._taken >= MAX_WORKERS - KEPT

    def free(self) -> int:
        """Workers that a destination that is not poor may have."""
        return min(self._left() - (self.workers - self._taken), LIMIT - self.workers)

    def room(self, destination: str) -> bool:
        """Whether it may have one more."""
        return self.free() > 0 and not (self.crowded and destination in self._poor)

    def further(self) -> int:
        """Workers for destinations that have one already: half of them is for those that have none yet."""
        return self._left() // 2 - (self.workers - self._taken)

    def engage(self, destination: str) -> None:
        """It has one more."""
        self.workers += 1
        self._by[destination] += 1
        self._taken += destination in self._poor

    def dismiss(self, destination: str) -> None:
        """It has one less."""
        self.workers -= 1
        self._taken -= destination in self._poor
        self._by[destination] -= 1
        if not self._by[destination]:
            del self._by[destination]

    def judge(self, destination: str, poor: bool) -> None:
        """What an attempt at it has shown."""
        if poor == (destination in self._poor):
            return
        if poor:
            if len(self._poor) >= MEMORY:
                self.judge(next(iter(self._poor)), False)
            self._poor[destination] = None
            self._taken += self._by[destination]
        else:
            del self._poor[destination]
            self._taken -= self._by[destination]

    def suspect(self, destination: str) -> bool:
        """It is as if poor until an attempt shows something else; whether the poor have more than their share now."""
        self.judge(destination, True)
        return self._taken > MAX_WORKERS - KEPT

    def _left(self) -> int:
        """Workers that the poor leave to the others."""
        return MAX_WORKERS - min(self._taken, MAX_WORKERS - KEPT)
