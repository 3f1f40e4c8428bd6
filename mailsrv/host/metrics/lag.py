"""How late the reactor is (floor 6): a timer each second, and by how much it comes after its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .text import Histogram

#: Seconds between two looks, and looks that `worst` is of.
PERIOD, KEPT = 1.0, 60
#: A timer of the reactor goes by the clock of the machine: when that was set by more than this, the look tells nothing.
SET = 0.05


class LagProbe:
    """Counts how late its timer comes.  `clock` is the machine's, which may be set, `monotonic` one that is not."""

    def __init__(
        self, call_later: Callable[..., Any], monotonic: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._call_later, self._monotonic, self._clock = call_later, monotonic, clock
        self._timer: Any = None
        self._due = self._wall = 0.0
        self._last: deque[float] = deque(maxlen=KEPT)
        self.lags = Histogram.of(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

    @property
    def worst(self) -> float:
        """The worst of the last minute in seconds."""
        return max(self._last, default=0.0)

    def start(self) -> None:
        """Look from now on."""
        self._due, self._wall = self._monotonic() + PERIOD, self._clock()
        self._timer = self._call_later(PERIOD, self._look)

    def stop(self) -> None:
        """Look no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        lag = self._monotonic() - self._due
        if abs(self._clock() - self._wall - PERIOD - lag) < SET:
            lag = max(lag, 0.0)
            self.lags.add(lag)
            self._last.append(lag)
        self.start()
