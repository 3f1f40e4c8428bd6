"""The time of a change that waits to be confirmed, and taking it back again and again (floor 6; S-179)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger()

#: Seconds until a change that could not be taken back is taken back again, doubled each time up to the second.
AGAIN = (10.0, 600.0)


@frozen
class Failed:
    """A change that nobody has confirmed could not be taken back: how often that was tried, why not, and when it is
    tried again (UTC epoch seconds)."""

    tries: int
    error: str
    again: float


class Confirmation:
    """One for a site; `over()` is done when the time of a change is over."""

    def __init__(self, site: Any, over: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._site, self._over = site, over
        self._timer: Any = None
        #: Until it was taken back after all, or somebody has decided otherwise.
        self.failed: Failed | None = None

    def wait(self, seconds: float) -> None:
        """So long, from now on."""
        self.cancel()
        self._timer = self._site.reactor.callLater(
            max(0.0, seconds), lambda: Deferred.fromCoroutine(self._over())
        )

    def cancel(self) -> None:
        """The site ends; what waits does so at the next start."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def settled(self) -> None:
        """It stays, or was taken back."""
        self.failed = None
        self.cancel()

    def again(self, reason: str) -> None:
        """It could not be taken back; perhaps what was in the way goes."""
        tries = 0 if self.failed is None else self.failed.tries
        seconds = min(AGAIN[0] * 2 ** min(tries, 20), AGAIN[1])
        self.failed = Failed(tries + 1, reason, self._site.clock() + seconds)
        log.error(
            "the configuration of before cannot be taken up, again in {seconds:.0f} seconds unless somebody confirms "
            "the change, or takes up another version: {reason}", seconds=seconds, reason=reason,
        )  # fmt: skip
        self.wait(seconds)
