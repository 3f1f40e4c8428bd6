"""The schedule of retries, delay notices and expiry, to the minute (S-069..S-078, decisions X-4 and X-5)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.transfer.schedule import (
    Ages,
    Decision,
    Policy,
    after,
    ages,
    awake,
    expires_at,
    interval,
    pressing,
    simulate,
)
from mailsrv.values import Queued
from tests.properties import tries

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
T0 = 1_800_000_000.0
CHAPTER = Policy()
TODAY = Policy((300.0, 900.0, 1800.0, 3600.0), Ages(4 * HOUR, 4 * HOUR), Ages(5 * DAY, 5 * DAY))


def row(**more: object) -> Queued:
    return Queued(1, "m1", "example.net", None, (), received_at=T0, due=T0, **more)  # type: ignore[arg-type]


def minutes(policy: Policy, what: str, **more: object) -> list[float]:
    """Minutes after T0 at which that happens."""
    return [(at - T0) / MINUTE for at, event in simulate(policy, row(**more), T0) if event.startswith(what)]


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [(1, 10), (2, 10), (3, 10), (4, 15), (5, 15), (1000, 15)],
    ids=["S-070", "S-071", "S-072", "S-073", "S-073 fifth", "S-073 late"],
)
def test_s070_s071_s072_s073_waits_of_the_chapter(attempts: int, wait: int) -> None:
    assert interval(CHAPTER, attempts) == wait * MINUTE


def test_s070_s071_s072_s073_attempts_to_the_minute() -> None:
    assert minutes(CHAPTER, "attempt")[:7] == [0, 10, 20, 30, 45, 60, 75]
    assert minutes(TODAY, "attempt")[:6] == [0, 5, 20, 50, 110, 170]


def test_s069_s074_s075_forty_eight_hours_on_a_virtual_clock() -> None:
    """Everything that happens to a message nobody takes: 194 attempts, one notice, one end."""
    events = list(simulate(CHAPTER, row(), T0))
    assert [(at - T0) / MINUTE for at, what in events if what == "delay notice"] == [12 * 60]
    assert (events[-1][0] - T0) / MINUTE == 48 * 60
    assert events[-1][1] == "expiry"
    tried = [at for at, what in events if what.startswith("attempt")]
    assert len(tried) == 4 + (48 * 60 - 30) // 15
    assert {later - sooner for sooner, later in pairwise(tried[4:])} == {15 * MINUTE}
    assert [what for _, what in events if what.startswith("attempt")] == [f"attempt {n}" for n in range(1, 195)]


def test_s074_s075_come_at_their_instant_between_attempts_and_are_no_attempts() -> None:
    policy = Policy((3600.0,), Ages(90 * MINUTE, 90 * MINUTE), Ages(200 * MINUTE, 200 * MINUTE))
    told = [((at - T0) / MINUTE, what) for at, what in simulate(policy, row(), T0)]
    assert told == [
        (0, "attempt 1"), (60, "attempt 2"), (90, "delay notice"), (120, "attempt 3"), (180, "attempt 4"),
        (200, "expiry"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("minute", "noticed", "notice", "expired"),
    [
        (0, False, False, False),
        (12 * 60 - 1, False, False, False),
        (12 * 60, False, True, False),
        (12 * 60 + 1, False, True, False),
        (12 * 60, True, False, False),
        (48 * 60 - 1, True, False, False),
        (48 * 60, True, False, True),
        (48 * 60, False, False, True),
        (9999, False, False, True),
    ],
)
def test_s074_s075_after_a_failed_attempt(minute: int, noticed: bool, notice: bool, expired: bool) -> None:
    """X-5: one notice per message, never before the interval; who hears of the end hears of no delay."""
    decision = after(CHAPTER, row(attempts=9, noticed=noticed), T0 + minute * MINUTE)
    assert (decision.notice, decision.expired, decision.attempt) == (notice, expired, False)


@pytest.mark.parametrize(
    ("minute", "due"),
    [
        (0, 15), (700, 715), (710, 720), (720, 735), (48 * 60 - 10, 48 * 60),
    ],
)  # fmt: skip
def test_the_next_instant_is_the_first_of_attempt_notice_and_end(minute: int, due: int) -> None:
    assert after(CHAPTER, row(attempts=9), T0 + minute * MINUTE).due == T0 + due * MINUTE


def test_s076_s077_local_and_outbound_values_by_where_the_message_began() -> None:
    """X-4: two messages to the same place, with different ends."""
    policy = Policy(notice=Ages(HOUR, 2 * HOUR), expiration=Ages(DAY, 3 * DAY))
    assert ages(policy, "local") == (HOUR, DAY)
    assert ages(policy, "outside") == (2 * HOUR, 3 * DAY)
    assert minutes(policy, "delay", origin="local") == [60]
    assert minutes(policy, "delay", origin="outside") == [120]
    assert minutes(policy, "expiry", origin="local") == [24 * 60]
    assert minutes(policy, "expiry", origin="outside") == [72 * 60]
    assert expires_at(policy, row(origin="local")) == T0 + DAY


def test_s075_delivered_before_the_interval_means_no_notice() -> None:
    events = simulate(CHAPTER, row(), T0)
    told = [what for at, what in events if at < T0 + 12 * HOUR]
    assert "delay notice" not in told


def test_never_is_a_value_too() -> None:
    policy = Policy(notice=Ages(None, None), expiration=Ages(None, DAY))
    assert not after(policy, row(origin="local"), T0 + 999 * DAY).expired
    assert after(policy, row(), T0 + DAY).expired
    assert minutes(policy, "delay") == []
    assert len(list(simulate(policy, row(origin="local"), T0))) == 5000


class TestAwake:
    """What a row that is due wants."""

    def test_a_first_attempt_and_a_retry(self) -> None:
        assert awake(CHAPTER, row(), T0).attempt
        again = row(attempts=1)
        assert awake(CHAPTER, evolve(again, due=T0 + 10 * MINUTE), T0 + 10 * MINUTE, T0).attempt

    def test_retry_by_hand_is_an_attempt_whatever_the_schedule_says(self) -> None:
        assert awake(CHAPTER, evolve(row(attempts=3), due=T0 + 21 * MINUTE), T0 + 21 * MINUTE, T0 + 20 * MINUTE).attempt

    def test_woken_for_the_notice(self) -> None:
        noon = T0 + 12 * HOUR
        decision = awake(CHAPTER, evolve(row(attempts=50), due=noon), noon, noon - 5 * MINUTE)
        assert decision == Decision(noon + 10 * MINUTE, notice=True)

    def test_woken_for_the_notice_without_knowing_the_last_attempt(self) -> None:
        noon = T0 + 12 * HOUR
        assert awake(CHAPTER, evolve(row(attempts=50), due=noon), noon) == Decision(noon, attempt=True)

    @pytest.mark.parametrize("known", [True, False])
    def test_woken_for_the_end(self, known: bool) -> None:
        end = T0 + 48 * HOUR
        sleeping = evolve(row(attempts=190, noticed=True), due=end)
        assert awake(CHAPTER, sleeping, end, end - MINUTE if known else 0.0) == Decision(end, expired=True)

    def test_a_clock_set_forward_gives_nothing_up_untried(self) -> None:
        year = T0 + 365 * DAY
        assert awake(CHAPTER, evolve(row(attempts=1), due=T0 + 10 * MINUTE), year, T0) == Decision(year, attempt=True)
        assert awake(CHAPTER, evolve(row(attempts=90), due=T0 + 12 * HOUR), year, T0).attempt
        assert after(CHAPTER, row(attempts=1), year).expired

    def test_a_clock_set_back_does_not_put_off_the_next_attempt(self) -> None:
        now = T0 + HOUR
        decision = awake(CHAPTER, evolve(row(attempts=9), due=T0 + 12 * HOUR), now, tried_at=T0 + 11 * HOUR)
        assert decision.due <= now + 15 * MINUTE


def test_a_dead_destination_puts_rows_off_together_and_each_still_ends_at_its_minute() -> None:
    """Decisions 34: what `pressing` leaves out misses neither notice nor end when it is put off by the interval."""
    rows = [evolve(row(), id=n, received_at=T0 + n * 7 * MINUTE, due=T0 + n * 7 * MINUTE) for n in range(40)]
    told: dict[tuple[int, str], float] = {}
    alone = together = 0
    now = T0
    while rows and now < T0 + 4 * DAY:
        kept = []
        for one in rows:
            if one.due > now:
                kept.append(one)
                continue
            if not pressing(CHAPTER, one, now):
                together += 1
                kept.append(evolve(one, attempts=one.attempts + 1, due=now + interval(CHAPTER, one.attempts + 1)))
                continue
            alone += 1
            decision = after(CHAPTER, one, now)
            if decision.notice:
                told[one.id, "notice"] = now - one.received_at
            if decision.expired:
                told[one.id, "end"] = now - one.received_at
            else:
                noticed = one.noticed or decision.notice
                kept.append(evolve(one, attempts=one.attempts + 1, due=decision.due, noticed=noticed))
        rows = kept
        now = min((one.due for one in rows), default=now)
    assert rows == []
    assert set(told.values()) == {12 * HOUR, 48 * HOUR}
    assert len(told) == 80
    assert together > 20 * alone


@pytest.mark.parametrize("retry", [(), (0.0,), (600.0, -1.0)])
def test_a_schedule_without_rest_is_refused(retry: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="retry"):
        Policy(retry)


spans = st.one_of(st.none(), st.floats(1, 10 * DAY))
policies = st.builds(
    Policy, st.lists(st.floats(30, DAY), min_size=1, max_size=5).map(tuple), st.builds(Ages, spans, spans),
    st.builds(Ages, st.floats(1, 3 * DAY), st.floats(1, 3 * DAY)),
)  # fmt: skip


@settings(max_examples=tries(30))
@given(policies, st.sampled_from(["local", "outside"]))
def test_every_message_ends_once_is_noticed_at_most_once_and_time_goes_forward(policy: Policy, origin: str) -> None:
    events = list(simulate(policy, row(origin=origin), T0))
    notice, end = ages(policy, origin)
    assert [what for _, what in events].count("delay notice") <= 1
    assert all(at >= T0 + notice - 0.1 for at, what in events if what == "delay notice" and notice is not None)
    assert all(sooner[0] <= later[0] for sooner, later in pairwise(events))
    if len(events) < 5000:
        assert events[-1][1] == "expiry"
        assert end is not None
        assert events[-1][0] == pytest.approx(T0 + end, abs=0.1)


@pytest.mark.parametrize(
    ("minute", "attempt"), [(240, False), (299, False), (419, False), (420, True), (700, True)]
)
def test_after_a_start_that_knows_no_last_attempt_a_row_may_end_only_while_none_can_be_due(
    minute: int, attempt: bool
) -> None:
    """Tried every three hours, given up after four: it slept until its end, so the last attempt was less than three
    hours before that, and another one is due at the latest three hours after it."""
    policy = Policy((180 * MINUTE,), Ages(None, None), Ages(4 * HOUR, 4 * HOUR))
    waking = evolve(row(attempts=2), due=T0 + 240 * MINUTE)
    found = awake(policy, waking, T0 + minute * MINUTE)
    assert (found.attempt, found.expired) == (attempt, not attempt)
