"""When mail that could not be delivered is tried again, when its sender hears of it, when it is given up (floor 4).

Pure: instants are UTC epoch seconds, ages and intervals seconds (S-069..S-078).  A row sleeps until the first of three
instants: its next attempt, its delay notice, its expiry; so each of them comes at its minute, also between attempts.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, field, frozen

from ..values import Queued

#: Events that `simulate` tells at most.
MAX_EVENTS = 10_000
#: Instants as near as this are one: stores may round them.
_NEAR = 0.01


@frozen
class Ages:
    """One of the times that exist twice (S-076); None: never."""

    local: float | None
    outbound: float | None


def _some(policy: object, attribute: object, value: tuple[float, ...]) -> None:
    if not value or min(value) < 1:
        raise ValueError("retry intervals: at least one, each of a second or more")


@frozen
class Policy:
    """The delivery options of one server.  `retry` are the waits after the first, second, third attempt ..., the last
    one after all that follow (S-070..S-073).  The defaults are those of the chapter."""

    retry: tuple[float, ...] = field(default=(600.0, 600.0, 600.0, 900.0), validator=_some)
    notice: Ages = Ages(12 * 3600.0, 12 * 3600.0)
    expiration: Ages = Ages(2 * 86400.0, 2 * 86400.0)


@frozen
class Decision:
    """What is to be done with a row now.  At most one of `attempt`, `notice`, `expired` is True; `due` is the instant
    it is looked at next, if it stays as it is after that."""

    due: float
    attempt: bool = False
    notice: bool = False
    expired: bool = False


def ages(policy: Policy, origin: str) -> tuple[float | None, float | None]:
    """The ages at which the sender is told of the delay, and at which a message is given up.

    The one place that says which of the two values counts: where the message began (S-077, X-4), not where it goes.
    """
    if origin == "local":
        return policy.notice.local, policy.expiration.local
    return policy.notice.outbound, policy.expiration.outbound


def interval(policy: Policy, attempts: int) -> float:
    """Seconds between the attempt of that number (from 1) and the next one."""
    return policy.retry[min(max(attempts, 1), len(policy.retry)) - 1]


def expires_at(policy: Policy, row: Queued) -> float | None:
    """When the row is given up; None: never."""
    age = ages(policy, row.origin)[1]
    return None if age is None else row.received_at + age


def after(policy: Policy, row: Queued, now: float) -> Decision:
    """After an attempt that has just failed for now.  `row` is as it was leased: the attempt is not in `attempts`.

    `notice` and `expired` are about the recipients that remain; with `notice` the row is settled as `noticed`.
    """
    return _judged(policy, row, now, now + interval(policy, row.attempts + 1))


def awake(policy: Policy, row: Queued, now: float, tried_at: float = 0.0) -> Decision:
    """When a row is due: is it to be tried, or was it woken for its notice or its end alone?  That is no attempt.

    `tried_at` is when the last attempt ended.  0: not known; then a row that was woken for its notice is tried, and
    hears of it afterwards.  An attempt goes before an end that is due too: after a clock was set forward, or a night
    without power, nothing is given up untried.
    """
    retry_at = now
    # By a clock that was set back the last attempt is still to come.
    known = min(tried_at, now) if row.attempts else 0.0
    wakes = _wakes(policy, row)
    if known and any(abs(row.due - instant) < _NEAR for instant in wakes):
        retry_at = known + interval(policy, row.attempts)
    elif not known and row.attempts and wakes and abs(row.due - wakes[-1]) < _NEAR and _expired(policy, row, now):
        # Its next attempt would have come within an interval after its end: by now it may be over that.
        retry_at = row.due + interval(policy, row.attempts)
    if retry_at <= now:
        return Decision(now, attempt=True)
    return _judged(policy, row, now, retry_at)


def pressing(policy: Policy, row: Queued, now: float) -> bool:
    """Whether a row of a destination that cannot be reached now needs `after` and a settlement of its own.

    Its notice or its end is due, or falls before its next attempt.  All others may be put off together
    (IQueue.postpone), which knows nothing of these instants.
    """
    wakes = _wakes(policy, row)
    return bool(wakes) and min(wakes) <= now + interval(policy, row.attempts + 1)


def simulate(policy: Policy, row: Queued, now: float, tried_at: float = 0.0) -> Iterator[tuple[float, str]]:
    """(instant, what happens) from now on if every attempt fails for now at once, in order; at most `MAX_EVENTS`.

    `what` is "attempt N", "delay notice", or "expiry"; nothing follows the last.
    """
    instant = max(row.due, now)
    for _ in range(MAX_EVENTS // 2):
        decision = awake(policy, row, instant, tried_at)
        if decision.attempt:
            yield instant, f"attempt {row.attempts + 1}"
            decision = after(policy, row, instant)
            row, tried_at = evolve(row, attempts=row.attempts + 1), instant
        if decision.notice:
            yield instant, "delay notice"
            row = evolve(row, noticed=True)
        if decision.expired:
            yield instant, "expiry"
            return
        instant = decision.due
        row = evolve(row, due=instant)


def _wakes(policy: Policy, row: Queued) -> list[float]:
    """The instants of a notice not yet sent, and of the end."""
    notice, end = ages(policy, row.origin)
    found = [row.received_at + notice] if notice is not None and not row.noticed else []
    return found if end is None else [*found, row.received_at + end]


def _expired(policy: Policy, row: Queued, now: float) -> bool:
    end = expires_at(policy, row)
    return end is not None and now >= end


def _judged(policy: Policy, row: Queued, now: float, retry_at: float) -> Decision:
    """What is due besides an attempt, and the first instant of those that are still to come."""
    if _expired(policy, row, now):
        return Decision(now, expired=True)
    wakes = _wakes(policy, row)
    later = [instant for instant in wakes if instant > now]
    return Decision(min([retry_at, *later]), notice=len(later) < len(wakes))
