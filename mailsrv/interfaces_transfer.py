"""The contracts of mail that goes on (floor 0); `interfaces` re-exports them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Interface

from . import values as v

if TYPE_CHECKING:
    from .interfaces import IContent


class IQueue(Interface):
    """Add-on of a store: mail that waits to go on, in the same commit as deliveries (decisions 18).

    Rows are made by `IMessageStore.deliver` (`NewDelivery.queued`), due at once.  Everything is durable when it
    returns.  A lease is a promise to settle: when it runs out, or its process died, the row is due again.
    """

    async def due(now: float, most: int = 1000, skip: Collection[str] = ()) -> Sequence[v.Due]:
        """Destinations with rows that are due, neither held nor leased, without those of `skip` (up to 100,000; what
        tells quickly whether it has one, such as a set); the longest due first."""

    async def next_due() -> float | None:
        """The instant of the next row that is neither held nor leased, or at which a lease runs out."""

    async def lease(destination: str, count: int, holder: str, now: float, seconds: float) -> Sequence[v.Queued]:
        """Take rows of a destination that are due, the longest due first, for so long."""

    async def settle(
        row: v.Queued, remaining: Sequence[v.Recipient], *, due: float, reply: str = "", noticed: bool = False
    ) -> bool:
        """An attempt is over: `remaining` recipients are tried again at `due` (one attempt more), () ends the row.

        False, and nothing changes, when the lease of `row.token` has passed to somebody else or ended."""

    async def release(*rows: v.Queued) -> None:
        """Give leases back as if they had not been taken."""

    async def postpone(
        destination: str, now: float, intervals: Sequence[float], reply: str, most: int | None = None
    ) -> int:
        """A destination cannot be reached: every row of it that is due (at most so many, the longest due first) counts
        an attempt more, and is due again after `intervals[attempts]` (the last one for all beyond); how many."""

    async def recall(now: float, latest: float) -> int:
        """Rows, neither held nor leased, that would be due later than `latest` are due `now`; how many.  No schedule
        makes such rows: the clock was ahead, and has been set back."""

    async def queued(
        ids: Sequence[int] | None = None, *, destination: str = "", sender: str | None = None, after: int = 0,
        most: int = 1000, wanted: v.Wanted | None = None,
    ) -> Sequence[v.Queued]:
        """Rows in the order they were made, for administrators; `after` is the id of the last one seen.

        Rows that are not `wanted` may be left out, and need not be: who asks looks again."""

    async def alter(ids: Sequence[int], action: str, *, due: float = 0.0, destination: str = "") -> int:
        """hold, release (due as before), retry (due at `due`), reroute (to `destination`), delete: how many there
        were that no attempt was under way for."""

    async def queue_content(row: v.Queued) -> IContent:
        """The message.  Raises StoreUnavailable, Refused when it is gone."""

    def watch_queue(watcher: Callable[[], Any]) -> Callable[[], None]:
        """Call `watcher()` in the reactor thread when a row was made or altered; gives the way to stop it."""


class IDeliveryAgent(Interface):
    """Carries messages to one next hop."""

    async def deliver(
        row: v.Queued, content: IContent, hops: Sequence[v.Hop], login: Any
    ) -> Sequence[v.Outcome]:
        """Try the hops in order until one takes the message or refuses it for good; an outcome for every recipient.

        `login` is an OutboundLogin (`auth/outbound.py`).  Raises TryLater when no hop could be reached at all; then
        nothing is known of any recipient and the whole destination waits."""
