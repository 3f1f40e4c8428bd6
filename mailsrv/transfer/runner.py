"""The runner (floor 4): takes what is due from the queue, has it delivered, and settles it.

Rows of one destination are tried together: a worker leases as many as one connection carries and goes through them;
how many workers a destination has grows with its successes and falls back with a failure (S-113, S-114, S-122).  When a
destination cannot be reached its attempt counts for every message that waits for it (decisions 34).

One of the few places where anything at all is caught: a bug in an attempt must not end the delivery of all other mail.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from ..errors import MailError
from ..interfaces import IQueue
from ..values import Queued
from .attempts import PAUSE, Attempts, Lane

log = Logger()

#: Seconds for which rows are leased: longer than any attempt takes.
LEASE = 3600.0
#: Workers of all destinations, and how many a destination begins with and may have.
MAX_WORKERS, FIRST, MOST = 100, 2, 20
#: Seconds that an end of service waits for attempts under way, and the longest sleep.
GRACE, LONGEST = 10.0, 3600.0
#: Rows looked at one by one when a destination cannot be reached, in lots; those beyond are postponed unseen.
LOT, MAX_LOTS = 200, 50
#: Destinations whose pace is remembered.
MEMORY = 100_000


@define(eq=False)
class _Pace:
    """What is known of one destination."""

    limit: int = FIRST
    workers: int = 0


class Runner:
    """One for a site.  `lanes` by server, the first one also for mail of servers that are gone; `now` gives UTC epoch
    seconds, `call_later(seconds, function)` the reactor's."""

    def __init__(
        self, queue: IQueue, lanes: Mapping[str, Lane], now: Callable[[], float], call_later: Callable[..., Any]
    ) -> None:
        self._queue, self._now, self._call_later = queue, now, call_later
        self.attempts = Attempts(queue, lanes, now)
        self._holder = f"runner-{secrets.token_hex(4)}"
        self._paces: dict[str, _Pace] = {}
        self._tasks: set[Deferred[None]] = set()
        self._unwatch: Callable[[], None] | None = None
        self._timer: Any = None
        self._looking = self._again = self._stopping = False

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Look at the queue now, and whenever something is put into it or is due."""
        self._stopping = False
        self._unwatch = self._queue.watch_queue(self.wake)
        self.wake()

    async def stop(self) -> None:
        """Begin nothing more; attempts under way have `GRACE` seconds, what they leave is due again later."""
        self._stopping = True
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tasks:
            tasks = list(self._tasks)
            over: Deferred[Any] = Deferred()
            waiting = self._call_later(GRACE, _fire, over)
            DeferredList(tasks).addBoth(lambda _: _fire(over))
            await over
            if waiting.active():
                waiting.cancel()
            for task in list(self._tasks):
                task.cancel()

    def wake(self) -> None:
        """Something may be due."""
        if self._looking:
            self._again = True
        elif not self._stopping:
            self._begin(self._look())

    @property
    def workers(self) -> int:
        """Attempts under way."""
        return sum(pace.workers for pace in self._paces.values())

    # ------------------------------------------------------------ choosing

    def _begin(self, work: Any) -> None:
        """Work beside everything else; nothing of it is lost in silence."""
        task = Deferred.fromCoroutine(work)
        self._tasks.add(task)

        def over(result: Any) -> None:
            """Forget it."""
            self._tasks.discard(task)

        task.addBoth(over)

    async def _look(self) -> None:
        """Start workers for what is due, and sleep until the next instant."""
        self._looking, self._again = True, False
        try:
            now = self._now()
            found = await self._queue.due(now)
            for one in found:
                pace = self._paces.setdefault(one.destination, _Pace())
                wanted = min(-(-one.count // self.attempts.batch()), pace.limit - pace.workers)
                for _ in range(max(0, min(wanted, MAX_WORKERS - self.workers))):
                    pace.workers += 1
                    self._begin(self._worker(one.destination, pace))
            if not found:
                self._forget()
            upcoming = await self._queue.next_due()
            self._sleep(None if upcoming is None or found else upcoming - now)
        except MailError as error:
            log.warn("the queue cannot be read now: {reason}", reason=error.text)
            self._sleep(PAUSE / 10)
        except Exception:
            log.failure("the queue cannot be looked at")
            self._sleep(PAUSE)
        finally:
            self._looking = False
        if self._again:
            self.wake()

    def _sleep(self, seconds: float | None) -> None:
        """Look again then; None: when a worker ends, or something comes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and not self._stopping:
            self._timer = self._call_later(min(max(seconds, 0.01), LONGEST), self._rouse)

    def _rouse(self) -> None:
        self._timer = None
        self.wake()

    def _forget(self) -> None:
        """Destinations that have nothing waiting begin anew."""
        self._paces = {name: pace for name, pace in self._paces.items() if pace.workers or pace.limit != FIRST}
        while len(self._paces) > MEMORY:
            self._paces.pop(next(iter(self._paces)))

    # ------------------------------------------------------------ one worker

    async def _worker(self, destination: str, pace: _Pace) -> None:
        """Go through one lot of rows."""
        rows: list[Queued] = []
        well = False
        try:
            rows = list(
                await self._queue.lease(destination, self.attempts.batch(), self._holder, self._now(), LEASE)
            )
            while rows and not self._stopping:
                row = rows[0]
                reached = await self._guarded(row)
                del rows[0]
                if reached is None:
                    continue
                most = self.attempts.lane(row).per_domain or MOST
                pace.limit = min(pace.limit + 1, most, MOST) if reached else 1
                if not reached:
                    left, rows = rows, []
                    await self._unreachable(destination, row, left)
            for row in rows:
                await self._queue.release(row)
            well = True
        except MailError as error:
            log.warn("mail for {destination} waits: {reason}", destination=destination, reason=error.text)
        except Exception:
            log.failure("a worker for {destination} failed", destination=destination)
        finally:
            pace.workers -= 1
            if well:
                self.wake()
            else:
                # What it held is due again when its lease runs out.
                self._sleep(PAUSE / 10)

    async def _guarded(self, row: Queued) -> bool | None:
        """One attempt, whatever happens in it."""
        try:
            return await self.attempts.go(row)
        except MailError:
            raise
        except Exception:
            incident = secrets.token_hex(4)
            log.failure("an attempt at {id} failed: incident {incident}", id=row.delivery, incident=incident)
            await self.attempts.put_off(row, f"Internal error, incident {incident}")
            return None

    async def _unreachable(self, destination: str, row: Queued, rows: Sequence[Queued]) -> None:
        """The attempt counts for every message that waits for the destination (decisions 34)."""
        reply, held = "No server could be reached", list(rows)
        for _ in range(MAX_LOTS):
            lot = await self._queue.lease(destination, LOT, self._holder, self._now(), LEASE)
            held += lot
            if len(lot) < LOT:
                break
        for other in held:
            # Most are put off together; a notice or an end has its minute.
            if self.attempts.pressing(other):
                await self.attempts.late(other, reply)
            else:
                await self._queue.release(other)
        await self._queue.postpone(destination, self._now(), self.attempts.lane(row).policy.retry, reply)


def _fire(waiting: Deferred[Any]) -> None:
    if not waiting.called:
        waiting.callback(None)


