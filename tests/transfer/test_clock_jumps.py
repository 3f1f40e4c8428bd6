"""The clock is set while mail waits (decisions 24): nothing is lost, nothing floods, nothing ends untried, nothing
waits longer than its schedule says.  With the queue in memory, and with the one on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_runner import HOUR, MINUTE, START, Agent, Post
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsrv.errors import StoreUnavailable, TryLater
from mailsrv.store.embedded.store import EmbeddedStore
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.transfer.attempts import PAUSE
from mailsrv.transfer.runner import ATTEMPT, LONGEST
from mailsrv.transfer.schedule import Ages, Policy

pytestmark = pytest.mark.slow

DAY, YEAR = 24 * HOUR, 365 * 24 * HOUR
#: Until the runner has seen that the clock was set.
SEEN = LONGEST + 2


class Steady(Clock):
    """Timers run evenly, whatever the calendar shows (`wall`)."""

    ahead = 0.0

    def wall(self) -> float:
        return self.seconds() + self.ahead


class Clocked(Post):
    """A post with two clocks, and a store that answers from a thread if it is on the disk."""

    def __init__(self, folder: Path | None, **settings: Any) -> None:
        self.loop = Loop()
        self.folder = folder
        super().__init__(store=self._open, **settings)

    def _open(self, now: Any) -> Any:
        self.clock = Steady()
        self.clock.advance(START)
        if self.folder is None:
            return MemoryStore(self.clock.wall)
        return EmbeddedStore.open(self.folder, self.loop.call_from_thread, self.clock.wall)

    def renew(self) -> Any:
        self.agent._now = self.desk._now = self.clock.wall
        made = super().renew()
        made._now = made.attempts._now = self.clock.wall
        return made

    def result(self, coroutine: Any) -> Any:
        return self.loop.run(coroutine)

    def until(self, seconds: float) -> None:
        """As in Post; after each timer what the store has to say."""
        for _ in range(20_000):
            self._settle()
            coming = min((call.getTime() for call in self.clock.getDelayedCalls()), default=None)
            if coming is None or coming > START + seconds:
                break
            self.clock.advance(max(coming - self.clock.seconds(), 0.0))
        else:
            raise AssertionError("it does not come to rest")
        self.clock.advance(max(START + seconds - self.clock.seconds(), 0.0))
        self._settle()

    def _settle(self) -> None:
        """Wait for the store and for turns of the reactor, but not for an agent that hangs."""
        while self.runner._looking or len(self.runner._tasks) > self.hanging:
            if any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
                self.clock.advance(0)
                continue
            function, arguments = self.loop._calls.get(timeout=10)
            function(*arguments)

    @property
    def hanging(self) -> int:
        return sum(isinstance(answer, Deferred) and not answer.called for answer in self.agent.answers.values())

    def jump(self, seconds: float) -> None:
        """The calendar is set forward, or back."""
        self.clock.ahead += seconds

    def later(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.until(self.clock.seconds() - START + seconds)

    def close(self) -> None:
        self.result(self.runner.stop())
        if self.folder is not None:
            self.result(self.store.close())


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: list[Clocked] = []

    def build(**settings: Any) -> Clocked:
        made.append(Clocked(tmp_path / "store" if request.param == "disk" else None, **settings))
        return made[-1]

    yield build
    for post in made:
        post.close()


@pytest.mark.parametrize("jump", [DAY, YEAR])
@pytest.mark.parametrize("answer", ["delayed", TryLater("nobody there")])
def test_set_forward_everything_is_tried_once_before_it_ends(make: Any, jump: float, answer: Any) -> None:
    post = make()
    names = [f"d{number % 10}.example" for number in range(50)]
    for name in names:
        post.agent.answers[name] = answer
        post.put(f"me@{name}")
    post.later(35 * MINUTE)
    assert post.desk.reports == []
    before = len(post.agent.tried)
    post.jump(jump)
    post.later(SEEN)
    tried = post.agent.tried[before:]
    # One attempt for each message, or for each destination where that counts for all of its messages; no flood.
    assert len(tried) == (50 if answer == "delayed" else 10)
    ended = [what for _, _, what in post.desk.reports]
    assert ended == ["delayed" if jump == DAY else "failed"] * 50
    assert len(post.rows()) == (50 if jump == DAY else 0)


@pytest.mark.parametrize("jump", [DAY, YEAR])
def test_set_forward_what_can_be_delivered_is_delivered_and_nothing_is_reported(make: Any, jump: float) -> None:
    post = make()
    post.agent.answers["example.org"] = "delayed"
    for _ in range(20):
        post.put()
    post.later(35 * MINUTE)
    post.agent.answers.clear()
    post.jump(jump)
    post.later(SEEN)
    assert post.rows() == [] and post.desk.reports == [] and post.runner.counters["relayed"] == 20


@pytest.mark.parametrize("jump", [DAY, YEAR])
def test_set_forward_during_an_attempt_nobody_gets_it_twice(make: Any, jump: float) -> None:
    post = make()
    # A destination that answers may have a second worker.
    post.put()
    post.later(1)
    hangs = post.agent.answers["example.org"] = Deferred()
    post.put()
    post.later(1)
    post.jump(jump)
    post.later(SEEN)
    assert [name for _, name in post.agent.tried] == ["m1", "m2"]
    hangs.callback("relayed")
    post.later(1)
    assert len(post.agent.tried) == 2 and post.rows() == [] and post.desk.reports == []


def test_set_forward_and_the_attempt_fails_it_is_tried_by_its_schedule(make: Any) -> None:
    post = make()
    hangs = post.agent.answers["example.org"] = Deferred()
    post.put()
    post.later(1)
    post.jump(DAY)
    post.later(SEEN)
    hangs.callback("delayed")
    post.later(1)
    (row,) = post.rows()
    assert row.attempts == 1 and row.token == "" and [what for _, _, what in post.desk.reports] == ["delayed"]
    del post.agent.answers["example.org"]
    post.later(15 * MINUTE)
    assert post.rows() == [] and len(post.agent.tried) == 2


@pytest.mark.parametrize("jump", [-HOUR, -DAY, -YEAR / 40])
@pytest.mark.parametrize("answer", ["delayed", TryLater("nobody there")])
def test_set_back_everything_is_tried_soon_and_then_by_its_schedule(make: Any, jump: float, answer: Any) -> None:
    post = make()
    post.agent.answers["example.org"] = answer
    for _ in range(5):
        post.put()
    post.later(35 * MINUTE)
    before = len(post.agent.tried)
    post.jump(jump)
    post.later(SEEN)
    each = 5 if answer == "delayed" else 1
    assert len(post.agent.tried) == before + each, "due now, and once"
    post.later(15 * MINUTE)
    assert len(post.agent.tried) == before + 2 * each
    post.agent.answers.clear()
    post.later(15 * MINUTE)
    assert post.rows() == [] and post.desk.reports == []


def test_set_back_a_little_nothing_is_hurried(make: Any) -> None:
    post = make()
    post.agent.answers["example.org"] = "delayed"
    post.put()
    post.later(1)
    post.jump(-MINUTE)
    post.later(9 * MINUTE)
    assert len(post.agent.tried) == 1
    post.later(3 * MINUTE)
    assert len(post.agent.tried) == 2


def test_a_destination_that_rests_when_the_clock_is_set_back_rests_no_longer_than_it_should() -> None:
    class Failing(MemoryStore):
        """Settles nothing while `broken`."""

        broken = True

        async def settle(self, *arguments: Any, **more: Any) -> bool:
            if self.broken:
                raise StoreUnavailable()
            return await super().settle(*arguments, **more)

    post = Clocked(None)
    post.store = Failing(post.clock.wall)
    post.renew()
    post.put()
    post.later(1)
    post.jump(-DAY)
    post.store.broken = False
    post.later(2 * MINUTE)
    assert post.rows() == []


def test_started_with_a_clock_that_was_a_year_ahead(make: Any) -> None:
    post = make()
    post.agent.answers["example.org"] = "delayed"
    post.jump(YEAR)
    post.put()
    post.put(held=True)
    post.later(MINUTE)
    post.result(post.runner.stop())
    post.jump(-YEAR)
    post.agent.answers.clear()
    post.renew()
    post.later(SEEN)
    (held,) = post.rows()
    assert held.held
    post.result(post.store.alter([held.id], "release"))
    post.later(SEEN)
    assert post.rows() == [], "what was held is not forgotten either"


def test_a_night_without_power_ends_nothing_untried(make: Any) -> None:
    """The row slept until its end, as its next attempt would have been later; of its last one nothing is known."""
    post = make(policy=Policy((3 * HOUR,), Ages(None, None), Ages(4 * HOUR, 4 * HOUR)))
    post.agent.answers["example.org"] = "delayed"
    post.put()
    post.later(3.5 * HOUR)
    assert len(post.agent.tried) == 2
    post.result(post.runner.stop())
    post.jump(8 * HOUR)
    post.agent.answers.clear()
    post.renew()
    post.later(SEEN)
    assert post.rows() == [] and post.desk.reports == [] and len(post.agent.tried) == 3


def test_a_hanging_attempt_is_cut_off_by_the_seconds_that_pass_not_by_the_calendar(make: Any) -> None:
    post = make()
    post.agent.answers["example.org"] = Deferred()
    post.put()
    post.later(1)
    post.jump(-DAY)
    post.later(ATTEMPT + PAUSE)
    (row,) = post.rows()
    assert row.attempts == 1 and row.reply == "The attempt took too long"


def test_the_agent_double_tells_the_calendar() -> None:
    post = Clocked(None)
    assert isinstance(post.agent, Agent)
    post.jump(DAY)
    post.put()
    post.later(1)
    assert post.agent.when == [DAY]
