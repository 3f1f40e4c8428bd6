"""The runner on a clock that only tests move: what is tried when, what follows, and that nothing holds up the rest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsrv.errors import MailError, Refused, StoreUnavailable, TryLater
from mailsrv.interfaces import IContent
from mailsrv.message.content import MemoryContent
from mailsrv.store.memory import MemoryStore
from mailsrv.transfer import unreachable
from mailsrv.transfer.attempts import PAUSE, Lane
from mailsrv.transfer.bounce import Asked
from mailsrv.transfer.routes import Plan
from mailsrv.transfer.runner import GRACE, REST, Runner
from mailsrv.transfer.schedule import Ages, Policy, simulate
from mailsrv.values import Address, Envelope, Hop, NewDelivery, NewQueued, Outcome, Queued, Recipient

MINUTE, HOUR = 60.0, 3600.0
START = 1_000_000.0
OCTETS = b"Return-Path: <a@example.com>\r\nReceived: by us\r\n\r\ntext\r\n"
SENDER = Address("a", "example.com")


class Roads:
    """Every destination has one server of its own name; those in `errors` have none."""

    def __init__(self) -> None:
        self.errors: dict[str, MailError] = {}

    async def hops(self, destination: str) -> Plan:
        if destination in self.errors:
            raise self.errors[destination]
        return Plan((Hop(destination, ("192.0.2.1",)),), None, "")


class Agent:
    """Answers by `answers[destination]`: an action, an exception, or a Deferred that is waited for; else it relays."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self.answers: dict[str, Any] = {}
        self.tried: list[tuple[float, str]] = []
        self.sent: list[bytes] = []
        self.sizes: list[int] = []

    async def deliver(self, row: Queued, content: IContent, hops: Sequence[Hop], login: Any) -> Sequence[Outcome]:
        self.tried.append((self._now() - START, row.delivery))
        self.sent.append(await content.read(0, content.size))
        self.sizes.append(content.size)
        answer = self.answers.get(row.destination, "relayed")
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        status = {"relayed": "2.0.0", "failed": "5.1.1", "delayed": "4.2.0"}[answer]
        return [Outcome(one, answer, status, f"{status} words", row.destination) for one in row.recipients]

    @property
    def when(self) -> list[float]:
        return [instant for instant, _ in self.tried]


class Desk:
    """Writes down the reports it is asked for."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self.reports: list[tuple[float, str, str]] = []
        self.bad: list[tuple[str, ...]] = []
        self.error: MailError | None = None

    async def report(self, row: Queued, content: IContent, asked: Asked, until: float | None) -> None:
        if self.error is not None:
            raise self.error
        self.reports.append((self._now() - START, str(asked.to), asked.outcomes[0].action))

    async def keep_bad(self, row: Queued, content: IContent, outcomes: Sequence[Outcome]) -> None:
        self.bad.append(tuple(str(one.recipient.address) for one in outcomes))


class Post:
    """A store, a lane "smtp/default" (and others), a runner."""

    def __init__(self, lanes: Sequence[str] = ("smtp/default",), store: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        now = self.clock.seconds
        self.store: Any = (store or MemoryStore)(now)
        self.roads, self.agent, self.desk = Roads(), Agent(now), Desk(now)
        self.stopped: set[str] = set()
        settings = {"policy": Policy(), **settings}
        self.lanes = {
            name: Lane(
                server=name, routes=self.roads, agent=self.agent, reporter=self.desk,  # type: ignore[arg-type]
                active=lambda name=name: name not in self.stopped, **settings,
            )
            for name in lanes
        }  # fmt: skip
        self.runner = self.renew()
        self._ids = 0

    def renew(self) -> Runner:
        """A runner that knows nothing, as after a start of the process."""
        self.runner = Runner(self.store, self.lanes, self.clock.seconds, self.clock.callLater)
        self.runner.start()
        return self.runner

    def put(self, *to: str, sender: Address | None = SENDER, server: str = "smtp/default", origin: str = "outside",
            held: bool = False) -> str:  # fmt: skip
        """A message in the queue; its id."""
        self._ids += 1
        name = f"m{self._ids}"
        recipients = tuple(Recipient(Address(*one.split("@"))) for one in to or ("me@example.org",))
        row = NewQueued(recipients[0].address.domain, recipients, held)
        self.result(self.store.deliver(NewDelivery(
            name, Envelope(sender, recipients), MemoryContent(OCTETS), (), self.clock.seconds(), server=server,
            queued=(row,), origin=origin,
        )))  # fmt: skip
        return name

    def result(self, coroutine: Any) -> Any:
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        assert done, "it waits"
        if hasattr(done[0], "raiseException"):
            done[0].raiseException()
        return done[0]

    def rows(self) -> list[Queued]:
        return list(self.result(self.store.queued(most=100_000)))

    def until(self, seconds: float) -> None:
        """Let time pass from one timer to the next until so long after the start."""
        for _ in range(200_000):
            coming = min((call.getTime() for call in self.clock.getDelayedCalls()), default=None)
            if coming is None or coming > START + seconds:
                break
            self.clock.advance(max(coming - self.clock.seconds(), 0.0))
        else:
            raise AssertionError("it does not come to rest")
        self.clock.advance(max(START + seconds - self.clock.seconds(), 0.0))


def near(found: Sequence[float], minutes: Sequence[float]) -> bool:
    """Whether these instants are those minutes, to the second."""
    return len(found) == len(minutes) and all(abs(a - b * MINUTE) < 1 for a, b in zip(found, minutes))


# ---------------------------------------------------------------- one message


def test_what_was_delivered_is_gone() -> None:
    post = Post()
    post.put()
    post.until(1)
    assert post.rows() == [] and post.runner.counters == {"relayed": 1} and post.runner.shares.workers == 0


def test_our_return_path_is_not_sent_on_rfc5321_4_4() -> None:
    post = Post()
    post.put()
    post.until(1)
    assert post.agent.sent == [b"Received: by us\r\n\r\ntext\r\n"] and post.agent.sizes == [len(post.agent.sent[0])]


@pytest.mark.parametrize("answer", ["delayed", TryLater("nobody there")])
def test_a_message_alone_is_tried_again_to_the_minute_s070_to_s073(answer: Any) -> None:
    post = Post()
    post.agent.answers["example.org"] = answer
    post.put()
    post.until(91 * MINUTE)
    assert near(post.agent.when, [0, 10, 20, 30, 45, 60, 75, 90])


@pytest.mark.parametrize("answer", ["delayed", TryLater("nobody there")])
def test_notice_once_and_report_at_the_end_s074_s075(answer: Any) -> None:
    post = Post()
    post.agent.answers["example.org"] = answer
    post.put()
    post.until(12 * HOUR - 1)
    assert post.desk.reports == []
    post.until(47.99 * HOUR)
    assert [(round(when), what) for when, _, what in post.desk.reports] == [(43200, "delayed")]
    post.until(48 * HOUR + 1)
    assert [round(when) for when, _, _ in post.desk.reports] == [43200, 172800]
    assert post.desk.reports[-1][2] == "failed" and post.rows() == []


@pytest.mark.parametrize("begun", [0.0, 35 * MINUTE, 12 * HOUR + 1, 47 * HOUR])
@pytest.mark.parametrize("answer", ["delayed", TryLater("nobody there")])
def test_s069_to_s075_what_is_simulated_is_what_happens(answer: Any, begun: float) -> None:
    policy = Policy(retry=(600.0, 1500.0, 7777.0))
    post = Post(policy=policy)
    post.agent.answers["example.org"] = answer
    post.put()
    post.until(begun)
    (row,) = post.rows()
    tried = post.runner.attempts.tried.get(row.id, 0.0)
    told = [(at - START, what) for at, what in simulate(policy, row, START + begun, tried)]
    attempts, reports = len(post.agent.tried), len(post.desk.reports)
    post.until(48 * HOUR + 1)
    happened = [*post.agent.when[attempts:], *(when for when, _, _ in post.desk.reports[reports:])]
    assert [round(at) for at, what in told] == [round(at) for at in sorted(happened)]
    assert told[-1] == (48 * HOUR, "expiry") and post.rows() == []


def test_the_origin_chooses_the_ages_s077() -> None:
    post = Post(policy=Policy(notice=Ages(None, None), expiration=Ages(HOUR, 2 * HOUR)))
    post.agent.answers["example.org"] = "delayed"
    post.put(origin="local")
    post.put(origin="outside")
    post.until(3 * HOUR)
    assert [round(when) for when, _, _ in post.desk.reports] == [3600, 7200]


def test_a_refusal_is_reported_at_once_with_a_copy_s126() -> None:
    post = Post(copy_to=Address("postmaster", "example.com"))
    post.agent.answers["example.org"] = "failed"
    post.put()
    post.until(0)
    assert [(to, what) for _, to, what in post.desk.reports] == [
        ("a@example.com", "failed"), ("postmaster@example.com", "failed"),
    ]  # fmt: skip
    assert post.rows() == []


def test_a_failure_nobody_can_be_told_of_is_bad_mail_s129() -> None:
    post = Post()
    post.agent.answers["example.org"] = "failed"
    post.desk.error = Refused("no way back")
    post.put()
    post.put("you@example.org", sender=None)
    post.until(1)
    assert post.desk.bad == [("me@example.org",), ("you@example.org",)] and post.rows() == []


def test_a_report_that_cannot_be_kept_now_keeps_the_row() -> None:
    post = Post()
    post.agent.answers["example.org"] = "failed"
    post.desk.error = StoreUnavailable()
    post.put()
    post.until(1)
    assert len(post.rows()) == 1
    post.desk.error = None
    post.until(PAUSE + 1)
    assert len(post.desk.reports) == 1 and post.rows() == []


# ---------------------------------------------------------------- many messages


def test_a_dead_destination_is_tried_once_in_each_interval_for_all() -> None:
    post = Post()
    post.agent.answers["example.org"] = TryLater("nobody there")
    for _ in range(100):
        post.put()
    post.until(29 * MINUTE)
    assert near(post.agent.when, [0, 10, 20])
    for _ in range(10):
        post.put()
    post.until(91 * MINUTE)
    assert near(post.agent.when, [0, 10, 20, 30, 45, 60, 75, 90])
    assert {row.due - START for row in post.rows()} == {max(row.due - START for row in post.rows())}


def test_a_dead_destination_has_each_notice_and_end_at_its_minute() -> None:
    post = Post()
    post.agent.answers["example.org"] = TryLater("nobody there")
    for minute in range(4):
        post.until(minute * MINUTE)
        post.put()
    post.until(12 * HOUR + 4 * MINUTE)
    assert [round(when / MINUTE, 1) for when, _, _ in post.desk.reports] == [720, 721, 722, 723]
    post.until(48 * HOUR + 4 * MINUTE)
    assert [round(when / MINUTE, 1) for when, _, _ in post.desk.reports[4:]] == [2880, 2881, 2882, 2883]
    assert post.rows() == [] and len(post.agent.tried) < 48 * 4 + 10


def test_very_many_rows_of_a_dead_destination_have_their_minutes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreachable, "LOT", 10)
    monkeypatch.setattr(unreachable, "HELD", 30)
    post = Post(["smtp/default", "smtp/other"], policy=Policy(notice=Ages(HOUR, HOUR), expiration=Ages(None, None)))
    post.agent.answers["example.org"] = TryLater("nobody there")
    for number in range(200):
        post.until(number)
        post.put(server="smtp/other" if number % 4 == 3 else "smtp/default")
    post.until(HOUR + 200)
    told = [round(when) for when, _, _ in post.desk.reports]
    assert sorted(told) == [3600 + number for number in range(200)]
    # One attempt in each interval for each of the two ways, and one row has joined them at each second before.
    assert len(post.agent.tried) < 2 * 6 + 3 and all(row.noticed for row in post.rows())
    post.until(2 * HOUR)
    assert len({row.due for row in post.rows()}) <= 2, "all wait for the next attempt"


def test_a_message_that_cannot_be_read_does_not_hold_up_the_notices_of_a_dead_destination() -> None:
    class Unreadable(MemoryStore):
        """Has lost the first message."""

        async def queue_content(self, row: Queued) -> IContent:
            if row.delivery == "m1":
                raise StoreUnavailable("the content of this message is missing")
            return await super().queue_content(row)

    post = Post(store=Unreadable)
    post.agent.answers["example.org"] = TryLater("nobody there")
    for _ in range(5):
        post.put()
    post.until(12 * HOUR + 2)
    assert [to for _, to, _ in post.desk.reports] == ["a@example.com"] * 4
    assert [row.delivery for row in post.rows() if not row.noticed] == ["m1"]
    tries = len(post.agent.tried)
    post.until(13 * HOUR)
    assert len(post.agent.tried) - tries <= 4, "no flood"
    post.until(48 * HOUR + 1)
    assert len(post.desk.reports) == 8 and [row.delivery for row in post.rows()] == ["m1"]


def test_a_dead_way_of_one_server_does_not_put_off_the_mail_of_another() -> None:
    post = Post(["smtp/default", "smtp/submission"])
    post.agent.answers["example.org"] = TryLater("the smart host is away")
    other = Agent(post.clock.seconds)
    post.lanes["smtp/submission"].agent = other
    post.put()
    post.put(server="smtp/submission")
    post.until(1)
    assert [name for _, name in other.tried] == ["m2"] and [row.delivery for row in post.rows()] == ["m1"]


def test_a_slow_destination_holds_up_nobody() -> None:
    post = Post()
    post.agent.answers["slow.example"] = Deferred()
    for _ in range(500):
        post.put("me@slow.example")
    post.put("me@quick.example")
    post.agent.answers["late.example"] = "delayed"
    post.put("me@late.example")
    post.until(601)
    assert [name for _, name in post.agent.tried].count("m501") == 1
    late = [when for when, name in post.agent.tried if name == "m502"]
    assert len(late) == 2 and abs(late[1] - 600) < 2


def test_ten_thousand_rows_are_not_quadratic() -> None:
    post = Post()
    for number in range(10_000):
        post.put(f"me@d{number % 1000}.example")
    calls = 0
    due = post.store.due

    async def counted(*arguments: Any) -> Any:
        nonlocal calls
        found = await due(*arguments)
        calls += 1 + len(found)
        return found

    post.store.due = counted
    began = time.process_time()
    post.until(60)
    assert post.rows() == [] and len(post.agent.tried) == 10_000
    assert calls < 50_000 and time.process_time() - began < 20


# ---------------------------------------------------------------- servers, administrators, starts


def test_mail_of_a_stopped_server_waits_for_its_start_s018() -> None:
    post = Post()
    post.stopped.add("smtp/default")
    post.put()
    post.until(2 * PAUSE + 100)
    assert post.agent.tried == [] and post.rows()[0].attempts == 0
    post.stopped.clear()
    post.until(2 * PAUSE + 102)
    assert len(post.agent.tried) == 1 and post.rows() == []


def test_leases_of_a_runner_that_is_gone_run_out() -> None:
    post = Post()
    post.result(post.runner.stop())
    post.put()
    assert post.result(post.store.lease("example.org", 1, "gone", START, 60))
    post.renew()
    post.until(59)
    assert post.agent.tried == []
    post.until(61)
    assert post.rows() == []


@pytest.mark.parametrize("answer", ["delayed", TryLater("nobody there")])
def test_a_retry_by_hand_is_tried_at_once(answer: Any) -> None:
    post = Post()
    post.agent.answers["example.org"] = answer
    post.put()
    post.until(100)
    post.result(post.store.alter([1], "retry", due=START + 100))
    post.until(101)
    assert [round(when) for when in post.agent.when] == [0, 100]


def test_held_mail_waits_and_goes_another_way_when_told() -> None:
    post = Post()
    post.put(held=True)
    post.until(HOUR)
    assert post.agent.tried == []
    post.result(post.store.alter([1], "reroute", destination="other.example"))
    post.result(post.store.alter([1], "release"))
    post.roads.errors["example.org"] = TryLater("not this way")
    post.until(HOUR + 1)
    assert post.rows() == []


def test_fail_reports_and_ends_and_leaves_all_as_it_was_when_it_cannot() -> None:
    post = Post()
    post.agent.answers["example.org"] = "delayed"
    post.put()
    post.until(1)
    post.desk.error = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        post.result(post.runner.attempts.fail(post.rows()[0], "no more"))
    assert not post.rows()[0].held
    post.desk.error = None
    post.result(post.runner.attempts.fail(post.rows()[0], "no more"))
    assert post.rows() == [] and post.desk.reports[0][2] == "failed"


# ---------------------------------------------------------------- mistakes and failures


def test_a_mistake_in_the_agent_puts_off_that_message_alone(caplog: Any) -> None:
    post = Post()
    post.agent.answers["example.org"] = KeyError("bug")
    post.put()
    post.put("me@other.example")
    post.until(1)
    (row,) = post.rows()
    assert row.delivery == "m1" and "incident" in row.reply and row.attempts == 1
    post.until(49 * HOUR)
    assert post.rows() == [] and [what for _, _, what in post.desk.reports] == ["delayed", "failed"]


class Broken(MemoryStore):
    """`settle` raises while it is `broken`; counts."""

    broken, leases = True, 0

    async def settle(self, *arguments: Any, **more: Any) -> bool:
        if self.broken:
            raise StoreUnavailable()
        return await super().settle(*arguments, **more)

    async def lease(self, *arguments: Any) -> Any:
        self.leases += 1
        return await super().lease(*arguments)


def test_a_queue_that_fails_is_asked_seldom_and_loses_nothing() -> None:
    post = Post(store=Broken)
    post.agent.answers["example.org"] = "delayed"
    for _ in range(30):
        post.put()
    post.until(10 * MINUTE)
    assert 2 <= post.store.leases <= 10 * MINUTE / REST + 2 and len(post.rows()) == 30
    post.store.broken = False
    post.agent.answers.clear()
    post.until(11 * MINUTE)
    assert post.rows() == []


@pytest.mark.parametrize("answer", ["relayed", "failed"])
def test_while_the_queue_cannot_be_written_nobody_gets_it_twice_nor_hears_of_it_twice(answer: Any) -> None:
    post = Post(store=Broken)
    post.agent.answers["example.org"] = answer
    post.put()
    post.put()
    post.until(10 * MINUTE)
    assert [name for _, name in post.agent.tried] == ["m1"] and all(not row.token for row in post.rows())
    post.store.broken = False
    post.until(11 * MINUTE)
    assert [name for _, name in post.agent.tried] == ["m1", "m2"] and post.rows() == []
    assert len(post.desk.reports) == (2 if answer == "failed" else 0)


def test_what_an_attempt_has_brought_counts_when_the_row_was_held_meanwhile() -> None:
    post = Post(store=Broken)
    post.agent.answers["example.org"] = "delayed"
    post.put()
    post.until(1)
    ids = [row.id for row in post.rows()]
    assert post.result(post.store.alter(ids, "hold")) == 1
    post.store.broken = False
    post.until(5 * MINUTE)
    assert post.rows()[0].attempts == 0
    post.result(post.store.alter(ids, "release"))
    post.until(6 * MINUTE)
    assert post.rows()[0].attempts == 1 and len(post.agent.tried) == 1
    post.until(11 * MINUTE)
    assert near(post.agent.when, [0, 10])


def test_an_attempt_that_hangs_is_cut_off_at_the_end_of_service() -> None:
    post = Post()
    post.agent.answers["example.org"] = Deferred()
    post.put()
    post.until(1)
    stopped = Deferred.fromCoroutine(post.runner.stop())
    post.until(1 + GRACE - 1)
    assert not stopped.called
    post.until(1 + GRACE + 1)
    assert stopped.called and post.runner.shares.workers == 0
    assert post.rows()[0].attempts == 0 and post.rows()[0].token == ""


def test_an_attempt_that_hangs_for_ever_ends_before_its_lease() -> None:
    post = Post()
    post.agent.answers["example.org"] = Deferred()
    post.put()
    post.until(2 * HOUR + 1)
    assert post.rows()[0].attempts == 1 and post.rows()[0].reply == "The attempt took too long"
