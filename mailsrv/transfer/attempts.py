"""Attempts (floor 4): one row of the queue, tried and settled.

What follows from an attempt is told before the row is settled: what nobody could be told of stays in the queue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from ..errors import Refused, TryLater
from ..interfaces import IContent, IDeliveryAgent, IQueue
from ..values import Address, Outcome, Queued
from . import schedule
from .bounce import Asked, Settled, failed_by, settle
from .routes import Plan, Routes

log = Logger()

#: Seconds until rows are looked at again whose server does not run, or whose report could not be kept.
PAUSE = 300.0
#: Rows whose last attempt is remembered to the second.
MEMORY = 100_000


class Reporter(Protocol):
    """Makes reports and keeps bad mail (`host/delivery.py`)."""

    async def report(self, row: Queued, content: IContent, asked: Asked, until: float | None) -> None:
        """Accept one report as mail of our own.  Raises Refused when it cannot be delivered, TryLater."""

    async def keep_bad(self, row: Queued, content: IContent, outcomes: Sequence[Outcome]) -> None:
        """S-129.  Raises TryLater."""


async def _as_it_is(row: Queued, content: IContent) -> Queued:
    """Nothing is changed."""
    return row


@define(eq=False, kw_only=True)
class Lane:
    """How one SMTP virtual server sends on what it accepted.  `active()`: it is not stopped (S-018); `await
    outgoing(row, content)` is the row as other servers are told of it (S-083)."""

    server: str
    policy: schedule.Policy
    routes: Routes
    agent: IDeliveryAgent
    reporter: Reporter
    messages: int = 20
    per_domain: int | None = None
    copy_to: Address | None = None
    active: Callable[[], bool] = lambda: True
    outgoing: Callable[[Queued, IContent], Awaitable[Queued]] = _as_it_is


@define(eq=False)
class Attempt:
    """What an attempt at one row has brought; `reached` False: no server of the destination could be spoken to."""

    outcomes: Sequence[Outcome] = ()
    decision: schedule.Decision = field(factory=lambda: schedule.Decision(0.0))
    reached: bool = True
    final: bool = False


class Attempts:
    """What one row goes through.  `lanes` by server, the first one also for mail of servers that are gone; `now` gives
    UTC epoch seconds."""

    def __init__(self, queue: IQueue, lanes: Mapping[str, Lane], now: Callable[[], float]) -> None:
        self._queue, self._lanes, self._now = queue, dict(lanes), now
        self._tried: dict[int, float] = {}
        self.counters: dict[str, int] = {}

    def batch(self) -> int:
        """Rows for one worker: what one connection carries."""
        return max(1, min(lane.messages for lane in self._lanes.values()))

    def lane(self, row: Queued) -> Lane:
        """The lane of the server that accepted it, or the first one."""
        found = self._lanes.get(row.server)
        return found if found is not None else next(iter(self._lanes.values()))

    async def go(self, row: Queued) -> bool | None:
        """One attempt, settled.  False: nobody of this destination can be reached now; None: none was made."""
        lane, now = self.lane(row), self._now()
        if not lane.active():
            await self._queue.settle(row, row.recipients, due=now + PAUSE, reply="The server does not run")
            return None
        decision = schedule.awake(lane.policy, row, now, self._tried.get(row.id, 0.0))
        content = await self._queue.queue_content(row)
        try:
            attempt = await self._attempt(lane, row, content) if decision.attempt else Attempt(decision=decision)
            if decision.attempt:
                self._remember(row.id, now)
                attempt.decision = schedule.after(lane.policy, row, self._now())
            await self._settle(lane, row, content, attempt)
        finally:
            content.close()
        return attempt.reached if decision.attempt else None

    async def _attempt(self, lane: Lane, row: Queued, content: IContent) -> Attempt:
        """Ask where it goes, and hand it over."""
        try:
            plan: Plan = await lane.routes.hops(row.destination)
            outcomes = await lane.agent.deliver(await lane.outgoing(row, content), content, plan.hops, plan.login)
        except TryLater as error:
            return Attempt(failed_by(row.recipients, error), reached=False)
        except Refused as error:
            return Attempt(failed_by(row.recipients, error))
        return Attempt(outcomes, final=bool(plan.hops) and plan.hops[0].protocol == "lmtp")

    def _remember(self, row: int, now: float) -> None:
        self._tried.pop(row, None)
        while len(self._tried) >= MEMORY:
            del self._tried[next(iter(self._tried))]
        self._tried[row] = now

    async def _settle(self, lane: Lane, row: Queued, content: IContent, attempt: Attempt) -> None:
        """Reports first, then bad mail, then the row: what is not told of yet stays in the queue."""
        found = settle(row, attempt.outcomes, attempt.decision, copy_to=lane.copy_to, final=attempt.final)
        try:
            await self._tell(lane, row, content, found)
        except TryLater as error:
            log.warn("a report about {id} must wait: {reason}", id=row.delivery, reason=error.text)
            untold = tuple(dict.fromkeys(one.recipient.address for asked in found.reports for one in asked.outcomes))
            left = [one for one in row.recipients if one.address in untold or one in found.remaining]
            await self._queue.settle(row, left or row.recipients, due=self._now() + PAUSE, reply=error.text)
            return
        for outcome in attempt.outcomes:
            self.counters[outcome.action] = self.counters.get(outcome.action, 0) + 1
        if not await self._queue.settle(
            row, found.remaining, due=found.due, reply=found.reply, noticed=found.noticed
        ):
            log.warn("the lease of {id} had run out", id=row.delivery)
        if not found.remaining:
            self._tried.pop(row.id, None)
        self._log(row, attempt, found)

    async def _tell(self, lane: Lane, row: Queued, content: IContent, found: Settled) -> None:
        """Raises TryLater when something could not be kept."""
        until = schedule.expires_at(lane.policy, row)
        for asked in found.reports:
            try:
                await lane.reporter.report(row, content, asked, until)
            except Refused as error:
                log.warn("no report about {id} can reach {to}: {reason}", id=row.delivery, to=str(asked.to),
                         reason=error.text)  # fmt: skip
                failed = [one for one in asked.outcomes if one.action == "failed"]
                if failed and not asked.copy:
                    # S-129: neither delivered nor returned.
                    await lane.reporter.keep_bad(row, content, failed)
        if found.bad:
            await lane.reporter.keep_bad(row, content, found.bad)

    def _log(self, row: Queued, attempt: Attempt, found: Settled) -> None:
        """One line for each attempt."""
        if not attempt.outcomes:
            return
        counts: dict[str, int] = {}
        for outcome in attempt.outcomes:
            counts[outcome.action] = counts.get(outcome.action, 0) + 1
        said = ", ".join(f"{number} {action}" for action, number in counts.items())
        why = f": {found.reply}" if found.reply else ""
        log.info("{text}", text=f"message {row.delivery} for {row.destination}: {said}{why}", id=row.delivery)


    def pressing(self, row: Queued) -> bool:
        """Whether a row of a destination that cannot be reached needs a settlement of its own."""
        return schedule.pressing(self.lane(row).policy, row, self._now())

    async def put_off(self, row: Queued, reply: str) -> None:
        """Try it again after a pause; the attempt counts."""
        await self._queue.settle(row, row.recipients, due=self._now() + PAUSE, reply=reply)

    async def late(self, row: Queued, reply: str) -> None:
        """A row that waits for a destination that cannot be reached: as after an attempt of its own."""
        lane = self.lane(row)
        decision = schedule.after(lane.policy, row, self._now())
        if not (decision.notice or decision.expired):
            await self._queue.settle(row, row.recipients, due=decision.due, reply=reply)
            return
        content = await self._queue.queue_content(row)
        try:
            outcomes = failed_by(row.recipients, TryLater(reply, "4.4.1"))
            await self._settle(lane, row, content, Attempt(outcomes, decision, reached=False))
        finally:
            content.close()

    async def fail(self, row: Queued, reply: str) -> None:
        """End a row now, with a report to its sender.  Raises Refused while an attempt is under way, TryLater."""
        # Held, it is not taken up meanwhile.
        if not await self._queue.alter([row.id], "hold"):
            raise Refused("An attempt at it is under way; try again in a moment", "5.5.1")
        lane, content = self.lane(row), await self._queue.queue_content(row)
        try:
            outcomes = [Outcome(recipient, "failed", "5.0.0", reply) for recipient in row.recipients]
            found = settle(row, outcomes, schedule.Decision(self._now()), copy_to=lane.copy_to)
            await self._tell(lane, row, content, found)
        finally:
            content.close()
        await self._queue.alter([row.id], "delete")
