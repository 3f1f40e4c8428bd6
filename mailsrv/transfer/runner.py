"""The runner (floor 4): takes what is due from the queue, has it delivered, and settles it.

Rows of one destination are tried together: a worker leases as many as one connection carries and goes through them;
how many workers a destination has grows with its successes and falls back with a failure (S-113, S-114, S-122).  When a
destination cannot be reached its attempt counts for every message that waits for it (decisions 34).  Some workers are
kept from those that take long (`shares.py`).

One of the few places where anything at all is caught: a bug in an attempt must not end the delivery of all other mail.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from ..errors import MailError
from ..interfaces import IQueue
from ..values import Due, Queued
from .attempts import NEAR, Attempts, Lane, horizon
from .leases import Leases
from .patience import Patience
from .shares import SLOW, Shares
from .unreachable import Lease, Turns, give_back, put_off

log = Logger()

#: Seconds for which rows are leased, and after which an attempt is cut off; one that would outlast its lease is not
#: begun, for then somebody else would send the message a second time.
LEASE, ATTEMPT = 6 * 3600.0, 2 * 3600.0
#: How many workers a destination begins with and may have.  One to begin with: for a dead destination that is one
#: attempt in each interval.
FIRST, MOST = 1, 20
#: Destinations that are begun with in one turn of the reactor.
BURST = 8
#: Seconds that a destination, or everything, rests when the queue fails.
REST = 30.0
#: Seconds between looks while some rows that are due wait for something else than an instant.
POLL = 1.0
#: Seconds that an end of service waits for attempts under way, and for what those that were cut off have brought.
GRACE, LAST = 10.0, 3.0
#: The longest sleep: the clock may be set forward meanwhile.
LONGEST = 60.0
#: Destinations whose pace is remembered.
MEMORY = 100_000


@define(eq=False)
class _Pace:
    """What is known of one destination; before `rest` nothing is begun."""

    limit: int = FIRST
    workers: int = 0
    rest: float = 0.0

    def rests(self, now: float) -> bool:
        """Nothing is begun now; by a clock that was set back the rest would be longer than it can be."""
        return now < self.rest <= now + REST


class Runner:
    """One for a site.  `lanes` by server, the first one also for mail of servers that are gone; `now` gives UTC epoch
    seconds, `call_later(seconds, function)` the reactor's.  `shares` counts those that are at work."""

    def __init__(
        self, queue: IQueue, lanes: Mapping[str, Lane], now: Callable[[], float], call_later: Callable[..., Any]
    ) -> None:
        self._queue = cast(IQueue, Leases(queue))
        self._now, self._call_later = now, call_later
        self.attempts = Attempts(self._queue, lanes, now)
        self._turns = Turns(call_later)
        self.shares = Shares()
        self._patience = Patience(call_later, SLOW, ATTEMPT, partial(_long, self))
        holder = f"runner-{secrets.token_hex(4)}"
        self._lease: Lease = lambda destination, count, at: self._queue.lease(destination, count, holder, at, LEASE)
        self._paces: OrderedDict[str, _Pace] = OrderedDict()
        #: Those of them that have workers, or rest.
        self._busy: set[str] = set()
        self._tasks: set[Deferred[None]] = set()
        self._unwatch: Callable[[], None] | None = None
        self._timer: Any = None
        self._soon: Any = None
        self._looking = self._again = False
        self._stopping = True
        #: When it was last looked for rows of a clock that was ahead.
        self._recalled, self._horizon = 0.0, horizon(lanes)

    @property
    def counters(self) -> Mapping[str, int]:
        """Recipients by what became of them in an attempt: relayed, delivered, failed, delayed."""
        return self.attempts.counters

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Look at the queue now, and whenever something is put into it or is due."""
        self._stopping = False
        if self._unwatch is None:
            self._unwatch = self._queue.watch_queue(self.wake)
        self.wake()

    async def stop(self, grace: float = GRACE) -> None:
        """Begin nothing more; attempts under way have `grace` seconds, those cut off count as not made."""
        self._stopping = True
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        self._timer = self._soon = None
        await self._wait(grace)
        for task in list(self._tasks):
            task.cancel()
        # What an attempt has brought until then is written down.
        await self._wait(LAST)
        self._patience.close()

    async def _wait(self, seconds: float) -> None:
        """For what is under way, but no longer than that."""
        if self._tasks:
            over: Deferred[Any] = Deferred()
            waiting = self._call_later(seconds, _fire, over)
            DeferredList(list(self._tasks)).addBoth(lambda _: _fire(over))
            await over
            if waiting.active():
                waiting.cancel()

    def wake(self) -> None:
        """Something may be due.  However often this is called, there is one look for each turn of the reactor."""
        if self._looking:
            self._again = True
        elif not self._stopping and self._soon is None:
            self._soon = self._call_later(0, self._rouse_now)

    def _rouse_now(self) -> None:
        self._soon = None
        if self._looking:
            self._again = True
        else:
            self._begin(self._look())

    def adopt(self, lanes: Mapping[str, Lane]) -> None:
        """The lanes have changed; there is at least one.  What is due stays due, attempts under way end as they began,
        and later ones are counted by the new schedule."""
        self._horizon = horizon(lanes)
        self.wake()

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
        seconds: float | None = None
        try:
            if self.attempts.parked:
                await self.attempts.resume()
            free = self.shares.free()
            if free > 0:
                now = self._now()
                await self._recall(now)
                crowded = self.shares.crowded
                # Those at work may be due too, and first: there must be others behind them.
                found = await self._queue.due(now, free + len(self._busy), self.shares.poor if crowded else ())
                self._hire(found, now)
                # Behind the poor there may be others.
                self._again = self._again or (self.shares.crowded and not crowded)
                upcoming = await self._queue.next_due()
                if upcoming is not None:
                    seconds = max(upcoming - now, POLL if found or crowded else NEAR)
            if self.attempts.parked:
                seconds = min(POLL, POLL if seconds is None else seconds)
        except MailError as error:
            log.warn("the queue cannot be read now: {reason}", reason=error.text)
            seconds = REST
        except Exception:
            log.failure("the queue cannot be looked at")
            seconds = REST
        finally:
            self._looking = False
        self._sleep(seconds)
        if self._again:
            self.wake()

    async def _recall(self, now: float) -> None:
        """What a clock that was ahead has put off is due now: nothing waits longer than its schedule says."""
        if not 0 <= now - self._recalled < LONGEST:
            self._recalled = now
            recalled = await self._queue.recall(now, now + self._horizon)
            if recalled:
                log.warn("the clock was ahead: {count} rows of the queue are due now", count=recalled)

    def _hire(self, found: Sequence[Due], now: float) -> None:
        """A worker for each destination that has none, then more for those that have much."""
        new = set[str]()
        for one in found:
            pace = self._pace(one.destination)
            idle = not pace.workers and not pace.rests(now) and not self._stopping
            if idle and self.shares.room(one.destination):
                if len(new) == BURST:
                    self._again = True
                    return
                new.add(one.destination)
                self._engage(one.destination, pace)
        for one in found:
            pace = self._pace(one.destination)
            # What was due counts those rows too that the new worker has taken.
            wanted = -(-one.count // self.attempts.batch()) - (one.destination in new)
            wanted = min(wanted, pace.limit - pace.workers, self.shares.further())
            if not pace.rests(now) and not self._stopping:
                for _ in range(wanted):
                    if self.shares.room(one.destination):
                        self._engage(one.destination, pace)

    def _engage(self, destination: str, pace: _Pace) -> None:
        pace.workers += 1
        self.shares.engage(destination)
        self._busy.add(destination)
        self._begin(self._worker(destination, pace))

    def _pace(self, destination: str) -> _Pace:
        """What is known of it; the oldest are forgotten when there are too many."""
        pace = self._paces.get(destination)
        if pace is None:
            pace = self._paces[destination] = _Pace()
            while len(self._paces) > MEMORY + len(self._busy):
                name, old = self._paces.popitem(last=False)
                if name in self._busy or old is pace:
                    self._paces[name] = old
        return pace

    def _sleep(self, seconds: float | None) -> None:
        """Look again then; None: when a worker ends, or something comes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and not self._stopping:
            self._timer = self._call_later(min(max(seconds, NEAR), LONGEST), self._rouse)

    def _rouse(self) -> None:
        self._timer = None
        self.wake()

    # ------------------------------------------------------------ one worker

    async def _worker(self, destination: str, pace: _Pace) -> None:
        """Go through one lot of rows; what is left of it is due again at once."""
        rows: list[Queued] = []
        try:
            began = self._now()
            pace.rest = 0.0
            rows = list(await self._lease(destination, self.attempts.batch(), began))
            if rows and pace.limit == FIRST and all(one.attempts for one in rows) and self.shares.suspect(destination):
                # After a start nobody knows who is dead; what was tried in vain tells.
                return
            while rows and not self._stopping and 0 <= self._now() - began <= LEASE - ATTEMPT:
                row = rows[0]
                reached = await self._guarded(row)
                del rows[0]
                if reached:
                    self._reached(row, pace)
                elif reached is False:
                    pace.limit = 1
                    left, rows = rows, []
                    await put_off(self._queue, self.attempts, self._lease, self._turns, row, left)
        except CancelledError:
            pass
        except MailError as error:
            log.warn("mail for {destination} waits: {reason}", destination=destination, reason=error.text)
            pace.rest = self._now() + REST
        except Exception:
            log.failure("a worker for {destination} failed", destination=destination)
            pace.rest = self._now() + REST
        finally:
            await give_back(self._queue, rows)
            self._dismiss(destination, pace)

    def _reached(self, row: Queued, pace: _Pace) -> None:
        """A server has answered: one worker more may be good."""
        most = min(self.attempts.lane(row).per_domain or MOST, MOST)
        if pace.limit < most:
            pace.limit += 1
            self.wake()

    def _dismiss(self, destination: str, pace: _Pace) -> None:
        """A worker has ended."""
        pace.workers -= 1
        self.shares.dismiss(destination)
        if not pace.workers:
            if not pace.rests(self._now()):
                self._busy.discard(destination)
            if pace.limit == FIRST and not pace.rest:
                self._paces.pop(destination, None)
        self.wake()

    async def _guarded(self, row: Queued) -> bool | None:
        """One attempt, whatever happens in it."""
        task, began = Deferred.fromCoroutine(self.attempts.go(row)), self._now()
        number = self._patience.begin(row.destination, task)
        try:
            reached = await task
            if reached is not None:
                self.shares.judge(row.destination, not (reached and self._now() - began < SLOW))
            return reached
        except MailError:
            raise
        except CancelledError:
            if self._stopping:
                raise
            log.warn("an attempt at {id} was cut off: it took too long", id=row.delivery)
            await self.attempts.broken(row, "The attempt took too long")
        except Exception:
            incident = secrets.token_hex(4)
            log.failure("an attempt at {id} failed: incident {incident}", id=row.delivery, incident=incident)
            await _broken(self.attempts, row, f"Internal error, incident {incident}")
        finally:
            self._patience.end(number)
        return None


async def _broken(attempts: Attempts, row: Queued, reply: str) -> None:
    """Even what follows from a mistake may have one: the row must not come back at once."""
    try:
        await attempts.broken(row, reply)
    except MailError:
        raise
    except Exception:
        log.failure("no report about {id} can be made", id=row.delivery)
        await attempts.put_off(row, reply)


def _long(runner: Runner, destination: str) -> None:
    """An attempt takes long: others may have workers instead."""
    runner.shares.judge(destination, True)
    runner.wake()


def _fire(waiting: Deferred[Any]) -> None:
    if not waiting.called:
        waiting.callback(None)
