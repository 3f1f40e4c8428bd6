"""The pool of the hashes: each address has its turn, whoever fills the queue."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from mailsrv.auth.pool import Job, Pool
from mailsrv.errors import TryLater
from mailsrv.testing.loop import Loop


class Bench:
    """A pool of one thread that is held up, so that a queue forms; `order` is what was worked on after it."""

    def __init__(self, **limits: int) -> None:
        self.loop, self.gate, self.order = Loop(), Event(), list[str]()
        self.pool = Pool(self.loop.call_from_thread, threads=1, **{"waiting": 100, **limits})
        self.submit("first", "blocker", self.gate.wait)

    def submit(self, source: str, name: str, work: Any = lambda: True) -> None:
        job = Job(work)
        self.pool.submit(job, lambda job, outcome: self.order.append(name), source)

    def finish(self, count: int) -> list[str]:
        """Let it work until so many are done; without the blocker."""
        self.gate.set()

        async def enough() -> None:
            from twisted.internet.defer import Deferred

            while len(self.order) < count + 1:
                tick: Deferred[None] = Deferred()
                self.loop.call_from_thread(tick.callback, None)
                await tick

        self.loop.run(enough())
        self.pool.close()
        return self.order[1:]


def test_who_guesses_a_hundred_times_waits_for_himself() -> None:
    bench = Bench()
    for number in range(50):
        bench.submit("192.0.2.66", f"guess {number}")
    bench.submit("192.0.2.1", "owner")
    bench.submit("192.0.2.2", "other")
    order = bench.finish(52)
    assert order.index("owner") == 1 and order.index("other") == 2
    assert [name for name in order if name.startswith("guess")] == [f"guess {number}" for number in range(50)]


def test_many_sources_take_turns() -> None:
    bench = Bench()
    for source in "abc":
        for number in range(3):
            bench.submit(source, f"{source}{number}")
    assert bench.finish(9) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_source_has_a_share_of_the_room_and_the_room_has_a_limit() -> None:
    bench = Bench(waiting=5, share=2)
    for number in range(2):
        bench.submit("a", str(number))
    with pytest.raises(TryLater):
        bench.submit("a", "too many of one")
    for source in "bcd":
        bench.submit(source, source)
    with pytest.raises(TryLater):
        bench.submit("d", "too many of all")
    assert set(bench.finish(5)) == {"0", "1", "b", "c", "d"}


def test_nothing_is_taken_after_the_end_and_what_waited_is_told() -> None:
    bench = Bench()
    bench.submit("a", "waiting")
    assert len(bench.pool.close()) == 2 and bench.pool.close() == []
    bench.gate.set()
    with pytest.raises(TryLater):
        bench.submit("a", "late")
