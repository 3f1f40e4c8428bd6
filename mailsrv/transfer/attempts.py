"""Attempts (floor 4): one row of the queue, tried and settled.

What follows from an attempt is told before the row is settled: what nobody could be told of stays in the queue.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, evolve, field, frozen

from ..errors import MailError, Refused, TryLater
from ..happenings import Publish, unheard
from ..interfaces import IContent, IDeliveryAgent, IQueue
from ..message.rewrite import without_return_path
from ..net.log_lines import LineLogger
from ..values import Address, Outcome, Queued
from . import schedule
from .bounce import Asked, Settled, failed_by, settle
from .routes import Plan, Routes
from .success import arrived, told_here
from .tracing import Trace, attempted, untraced

log = LineLogger()

#: Seconds until rows are looked at again whose server does not run, or whose report could not be kept.
PAUSE = 300.0
#: Rows whose last attempt is remembered to the second, those that wait for the start of one server, and destinations
#: that cannot be reached.
MEMORY = 100_000
#: Instants as near as this, in seconds, are one: stores may round them.
NEAR = 0.01
#: Of these recipients nothing more is to be done, whatever else goes wrong.
_ARRIVED = ("relayed", "delivered", "expanded")
#: What is told of other actions than those.
_EVENTS = {"delayed": "delivery.deferred", "failed": "delivery.failed"}
#: Recipients that an event names.
MAX_TOLD = 20


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

    def smooth(self) -> bool:
        """Whether there is nothing to try again, and nothing to report but a success that was asked for."""
        return bool(self.outcomes) and all(one.action == "delivered" for one in self.outcomes)


@frozen
class Down:
    """A destination could not be reached at `at`; it is tried again `wait` seconds later."""

    at: float
    wait: float
    reply: str

    @property
    def until(self) -> float:
        """The instant of the next attempt."""
        return self.at + self.wait

    def holds(self, now: float) -> bool:
        """Whether it is still to come (and the clock was not set back meanwhile)."""
        return self.at <= now < self.until - NEAR


class Attempts:
    """What one row goes through.  `lanes` by server, the first one also for mail of servers that are gone: the mapping
    may change while attempts are under way.  `now` gives UTC epoch seconds."""

    def __init__(self, queue: IQueue, lanes: Mapping[str, Lane], now: Callable[[], float]) -> None:
        self._queue, self._lanes, self._now = queue, lanes, now
        #: When the last attempts were begun, by row; not known after a restart.
        self.tried: OrderedDict[int, float] = OrderedDict()
        self._down: OrderedDict[tuple[str, str], Down] = OrderedDict()
        self._parked: dict[str, set[int]] = {}
        #: Tells those who follow what happens.
        self.publish: Publish = unheard
        self.counters: dict[str, int] = {}
        self.trace: Trace = untraced
        #: The same by server; and "reported": reports that were made.
        self.by_server: dict[tuple[str, str], int] = {}

    def batch(self) -> int:
        """Rows for one worker: what one connection carries."""
        return max(1, min(lane.messages for lane in self._lanes.values()))

    def lane(self, row: Queued) -> Lane:
        """The lane of the server that accepted it, or the first one."""
        found = self._lanes.get(row.server)
        return found if found is not None else next(iter(self._lanes.values()))

    def down(self, row: Queued) -> Down | None:
        """Whether its destination is waited for, by way of its server."""
        return self._down.get((row.destination, self.lane(row).server))

    # ------------------------------------------------------------ one attempt

    async def go(self, row: Queued) -> bool | None:
        """One attempt, settled.  False: nobody of this destination can be reached now; None: none was made.

        Raises StoreUnavailable, StoreFull when the queue cannot keep what came of it.
        """
        lane, now, down = self.lane(row), self._now(), self.down(row)
        if not lane.active():
            await self._park(lane, row, now)
            return None
        waits = down is not None and down.holds(now)
        if down is not None and waits and not row.attempts:
            # It joins those that wait for the next attempt at the destination (decisions 34).
            await self.late(row, down)
            return None
        decision = self._awake(lane, row, now, down if waits else None)
        try:
            content = await self._queue.queue_content(row)
        except MailError as error:
            # One message that cannot be read must not hold up those behind it.
            log.error("message {id} cannot be read: {reason}", id=row.delivery, reason=error.text)
            await self.put_off(row, error.text)
            return None
        try:
            attempt = await self._attempt(lane, row, content) if decision.attempt else Attempt(decision=decision)
            if decision.attempt:
                self._judge(lane, row, attempt, now)
            await self._settle(lane, row, content, attempt)
        finally:
            content.close()
        return attempt.reached if decision.attempt else None

    def _awake(self, lane: Lane, row: Queued, now: float, down: Down | None) -> schedule.Decision:
        if told_here(row):
            # However old it is: mail that has arrived does not expire.
            return schedule.Decision(now, attempt=True)
        if down is None and not row.attempts:
            return schedule.Decision(now, attempt=True)
        tried = self.tried.get(row.id, 0.0)
        if down is None:
            return schedule.awake(lane.policy, row, now, tried)
        return schedule.awake(evolve(lane.policy, retry=(down.wait,)), row, now, down.at)

    async def _attempt(self, lane: Lane, row: Queued, content: IContent) -> Attempt:
        """Ask where it goes, and hand it over."""
        if told_here(row):
            return Attempt(arrived(row))
        try:
            told, sent = await lane.outgoing(row, content), await without_return_path(content)
        except MailError as error:
            return Attempt(failed_by(row.recipients, TryLater(error.text, "4.3.0")))
        try:
            plan: Plan = await lane.routes.hops(row.destination)
            outcomes = await lane.agent.deliver(told, sent, plan.hops, plan.login)
        except TryLater as error:
            return Attempt(failed_by(row.recipients, error), reached=False)
        except Refused as error:
            return Attempt(failed_by(row.recipients, error))
        return Attempt(outcomes, final=bool(plan.hops) and plan.hops[0].protocol == "lmtp")

    def _judge(self, lane: Lane, row: Queued, attempt: Attempt, began: float) -> None:
        """What the schedule says after an attempt, and what is known of the destination now."""
        key, now, policy = (row.destination, lane.server), self._now(), lane.policy
        if attempt.reached:
            self._down.pop(key, None)
        if attempt.smooth():
            return
        _keep(self.tried, row.id, began)
        if not attempt.reached:
            down = self._down.get(key)
            if down is None or not down.holds(now):
                down = Down(now, schedule.interval(policy, row.attempts + 1), attempt.outcomes[0].reply)
                _keep(self._down, key, down)
            # Of attempts side by side, or by hand, the destination keeps the rhythm it had.
            policy = evolve(policy, retry=(down.until - now,)) if down.until - now >= 1 else policy
        attempt.decision = schedule.after(policy, row, now)

    # ------------------------------------------------------------ what follows

    async def _settle(self, lane: Lane, row: Queued, content: IContent, attempt: Attempt) -> None:
        """Reports first, then bad mail, then the row: what is not told of yet stays in the queue."""
        found = settle(row, attempt.outcomes, attempt.decision, copy_to=lane.copy_to, final=attempt.final)
        for outcome in attempt.outcomes:
            _add(self.counters, outcome.action)
            _add(self.by_server, (lane.server, outcome.action))
        try:
            await self._tell(lane, row, content, found)
        except TryLater as error:
            log.warn("a report about {id} must wait: {reason}", id=row.delivery, reason=error.text)
            # Whoever has the message must not get it again for want of a report.
            there = {one.recipient.address for one in attempt.outcomes if one.action in _ARRIVED}
            left = [one for one in row.recipients if one.address not in there or told_here(row)]
            await self._queue.settle(row, left, due=self._now() + PAUSE, reply=error.text)
            return
        if not await self._queue.settle(
            row, found.remaining, due=found.due, reply=found.reply, noticed=found.noticed
        ):
            log.warn("the lease of {id} had run out", id=row.delivery)
        if not found.remaining:
            self.tried.pop(row.id, None)
        self._log(row, attempt, found)

    async def _tell(self, lane: Lane, row: Queued, content: IContent, found: Settled) -> None:
        """Raises TryLater when something could not be kept."""
        until = schedule.expires_at(lane.policy, row)
        for asked in found.reports:
            try:
                await lane.reporter.report(row, content, asked, until)
                _add(self.by_server, (lane.server, "reported"))
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
        due = found.due if found.remaining else None
        self.trace(row.delivery, "attempt", attempted(row, attempt.outcomes, due, attempt.reached))
        by_action: dict[str, list[Outcome]] = {}
        for outcome in attempt.outcomes:
            by_action.setdefault(outcome.action, []).append(outcome)
        said = ", ".join(f"{len(some)} {action}" for action, some in by_action.items())
        why = f": {found.reply}" if found.reply else ""
        log.line(f"message {row.delivery} for {row.destination}: {said}{why}", id=row.delivery)
        for action, some in by_action.items():
            self.publish(
                _EVENTS.get(action, "delivery.relayed"),
                message=row.delivery, server=row.server, destination=row.destination, reply=some[0].reply,
                recipients=[str(one.recipient.address) for one in some[:MAX_TOLD]],
                **({"due": found.due} if action == "delayed" else {}),
            )  # fmt: skip

    # ------------------------------------------------------------ without an attempt

    def pressing(self, row: Queued, down: Down) -> bool:
        """Whether a row of a destination that cannot be reached needs a settlement of its own."""
        policy = evolve(self.lane(row).policy, retry=(down.wait,))
        return schedule.pressing(policy, row, down.at)

    async def put_off(self, row: Queued, reply: str) -> None:
        """Try it again after a pause; the attempt counts."""
        await self._queue.settle(row, row.recipients, due=self._now() + PAUSE, reply=reply)

    async def late(self, row: Queued, down: Down) -> None:
        """A row that waits for a destination that cannot be reached: as after an attempt of its own, but it is tried
        when the destination is."""
        now = self._now()
        wait = max(down.until - now, 1.0)
        await self._delayed(row, TryLater(down.reply, "4.4.1"), evolve(self.lane(row).policy, retry=(wait,)))

    async def broken(self, row: Queued, reply: str) -> None:
        """An attempt has ended in a mistake of ours: the row goes on as if its server had said 4xx, so it is neither
        tried for ever nor lost."""
        await self._delayed(row, TryLater(reply, "4.3.0"), self.lane(row).policy)

    async def _delayed(self, row: Queued, error: TryLater, policy: schedule.Policy) -> None:
        decision = schedule.after(policy, row, self._now())
        if not (decision.notice or decision.expired):
            await self._queue.settle(row, row.recipients, due=decision.due, reply=error.text)
            return
        try:
            content = await self._queue.queue_content(row)
        except MailError as unread:
            # Without the message there is no report; those behind it must not wait for that.
            log.error("message {id} cannot be read: {reason}", id=row.delivery, reason=unread.text)
            await self.put_off(row, unread.text)
            return
        try:
            attempt = Attempt(failed_by(row.recipients, error), decision, reached=False)
            await self._settle(self.lane(row), row, content, attempt)
        finally:
            content.close()

    async def _park(self, lane: Lane, row: Queued, now: float) -> None:
        """Its server does not run: it waits for the start (`resume`).  No attempt is counted."""
        parked = self._parked.setdefault(lane.server, set())
        if len(parked) < MEMORY:
            parked.add(row.id)
        await self._queue.release(row)
        await self._queue.alter([row.id], "retry", due=now + PAUSE)

    @property
    def parked(self) -> int:
        """Rows that wait for the start of their server."""
        return sum(len(rows) for rows in self._parked.values())

    async def resume(self) -> None:
        """What waits for a server that runs now is due at once.  Raises StoreFull, StoreUnavailable."""
        lanes = self._lanes
        # What a server that is gone has accepted goes by the first one's rules.
        for server in [name for name in self._parked if name not in lanes or lanes[name].active()]:
            await self._queue.alter(sorted(self._parked[server]), "retry", due=self._now())
            del self._parked[server]

    async def fail(self, row: Queued, reply: str) -> None:
        """End a row now, with a report to its sender.  Raises Refused while an attempt is under way, TryLater; then
        it is in the queue as it was."""
        # Held, it is not taken up meanwhile.
        if not await self._queue.alter([row.id], "hold"):
            raise Refused("An attempt at it is under way; try again in a moment", "5.5.1")
        try:
            lane, content = self.lane(row), await self._queue.queue_content(row)
            try:
                outcomes = [Outcome(recipient, "failed", "5.0.0", reply) for recipient in row.recipients]
                found = settle(row, outcomes, schedule.Decision(self._now()), copy_to=lane.copy_to)
                await self._tell(lane, row, content, found)
            finally:
                content.close()
            await self._queue.alter([row.id], "delete")
        except MailError:
            if not row.held:
                await self._queue.alter([row.id], "release")
            raise
        self.tried.pop(row.id, None)


def horizon(lanes: Mapping[str, Lane]) -> float:
    """Seconds from now within which every row is due, if the clock was always right."""
    return max([PAUSE, *(max(lane.policy.retry) for lane in lanes.values())]) + PAUSE


def _add(counters: dict[Any, int], what: Any) -> None:
    """One more."""
    counters[what] = counters.get(what, 0) + 1


def _keep(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Remember it as the newest; the oldest is forgotten when there are too many."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MEMORY:
        memory.popitem(last=False)
