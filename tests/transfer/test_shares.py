"""Workers that are kept from dead and stalling destinations, on a clock that only tests move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from test_runner import MINUTE, START, Post
from twisted.internet.defer import Deferred

from mailsrv.errors import TryLater
from mailsrv.transfer.shares import KEPT, LIMIT, MAX_WORKERS, SLOW, Shares
from mailsrv.values import Outcome, Queued


class Slow:
    """Nobody answers at d*.example, which takes `seconds`; all others do at once."""

    def __init__(self, post: Post, seconds: float) -> None:
        self.post, self.seconds, self.under_way, self.most = post, seconds, 0, 0
        self.arrived: list[tuple[float, str]] = []
        post.agent.deliver = self.deliver  # type: ignore[method-assign]

    async def deliver(self, row: Queued, content: Any, hops: Any, login: Any) -> Sequence[Outcome]:
        if row.destination.startswith("d"):
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            waiting: Deferred[None] = Deferred()
            self.post.clock.callLater(self.seconds, waiting.callback, None)
            await waiting
            self.under_way -= 1
            raise TryLater("nobody answers")
        self.arrived.append((self.post.clock.seconds() - START, row.delivery))
        return [Outcome(one, "relayed", "2.0.0", "250 ok", row.destination) for one in row.recipients]


def test_many_dead_destinations_do_not_hold_up_mail_for_others() -> None:
    post = Post()
    slow = Slow(post, 3 * MINUTE)
    for number in range(600):
        post.put(f"me@d{number}.example")
    # At first nobody knows; then all of them have been tried, and are due again behind each other.
    post.until(16 * MINUTE)
    assert slow.under_way == MAX_WORKERS - KEPT and not slow.arrived
    names = []
    for moment in range(5):
        names.append(post.put(f"me@live{moment % 2}.example"))
        post.until(16 * MINUTE + 10 * (moment + 1))
        assert slow.arrived[-1][0] - 16 * MINUTE - 10 * moment < 2
    assert [name for _, name in slow.arrived] == names and slow.most <= LIMIT


def test_servers_that_stall_do_not_hold_up_mail_for_others() -> None:
    post = Post()
    slow = Slow(post, 100 * MINUTE)
    for number in range(MAX_WORKERS + 20):
        post.put(f"me@d{number}.example")
    post.put("me@live.example")
    post.until(SLOW - 1)
    assert slow.under_way == MAX_WORKERS
    post.until(SLOW + 1)
    assert [name for _, name in slow.arrived] == ["m221"] and slow.under_way == MAX_WORKERS + 20
    # A destination that is well again is like any other.
    post.until(100 * MINUTE + 1)
    assert "d0.example" in post.runner.shares.poor
    slow.post.agent.deliver = type(post.agent).deliver.__get__(post.agent)  # type: ignore[method-assign]
    post.until(300 * MINUTE)
    assert post.rows() == [] and not post.runner.shares.poor and not post.runner.shares.workers


def test_after_a_start_what_was_tried_in_vain_does_not_hold_up_new_mail() -> None:
    post, dead = Post(), 600
    slow = Slow(post, MINUTE)
    for number in range(dead):
        post.put(f"me@d{number}.example")
        assert post.result(post.store.postpone(f"d{number}.example", START, (0.0,), "nobody answers")) == 1
    post.put("me@live.example")
    post.until(2)
    assert slow.under_way == MAX_WORKERS - KEPT and len(slow.arrived) == 1
    # All of them are tried none the less.
    post.until(5 * MINUTE)
    assert [row.attempts for row in post.rows()] == [2] * dead


def test_shares() -> None:
    shares = Shares()
    for number in range(MAX_WORKERS):
        assert shares.room(f"d{number}")
        shares.engage(f"d{number}")
    assert not shares.room("x") and shares.free() == 0 and not shares.crowded
    for number in range(MAX_WORKERS):
        shares.judge(f"d{number}", True)
        shares.judge(f"d{number}", True)
    assert shares.crowded and shares.free() == KEPT and shares.further() == KEPT // 2
    assert shares.room("x") and not shares.room("d0")
    for number in range(KEPT + 1):
        shares.dismiss(f"d{number}")
    assert not shares.crowded and shares.room("d0") and shares.workers == MAX_WORKERS - KEPT - 1
    for number in range(MAX_WORKERS):
        shares.judge(f"d{number}", False)
    assert shares.free() == KEPT + 1 and not shares.poor
