"""A pool without room: those who fill it give way, whoever comes from elsewhere is worked on."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.auth.hashing import PasswordHasher
from mailsrv.auth.pool import Job, Pool
from mailsrv.errors import TryLater
from mailsrv.testing.loop import Loop


def filled(sources: dict[str, int]) -> tuple[Pool, Event, list[tuple[str, Any]]]:
    """A pool of one thread that is held up, with so many jobs waiting; what was done of them."""
    loop, gate, done = Loop(), Event(), list[tuple[str, Any]]()
    pool = Pool(loop.call_from_thread, threads=1, waiting=sum(sources.values()))
    pool.submit(Job(gate.wait), lambda job, outcome: None)
    for source, count in sources.items():
        for _ in range(count):
            pool.submit(Job(bool), lambda job, outcome, source=source: done.append((source, outcome)), source)
    return pool, gate, done


def test_who_has_most_loses_a_place_to_who_comes_from_elsewhere() -> None:
    pool, gate, done = filled({"192.0.2.66": 6, "192.0.2.67": 2})
    for _ in range(3):
        pool.submit(Job(bool), lambda job, outcome: None, "192.0.2.1")
    assert done == [("192.0.2.66", None)] * 3
    pool.submit(Job(bool), lambda job, outcome: None, "192.0.2.2")
    pool.close()
    gate.set()


def test_nobody_takes_a_place_from_who_has_no_more_than_he() -> None:
    pool, gate, done = filled({f"192.0.2.{number}": 1 for number in range(5)})
    for source in ("198.51.100.1", "192.0.2.1"):
        with pytest.raises(TryLater):
            pool.submit(Job(bool), lambda job, outcome: None, source)
    assert done == []
    pool.close()
    gate.set()


def test_a_login_whose_place_was_taken_is_to_come_again() -> None:
    loop, gate = Loop(), Event()
    hasher = PasswordHasher(loop.call_from_thread, threads=1, waiting=2, memory_kib=8)
    heard: list[Any] = []
    blocker = Deferred.fromCoroutine(hasher.run(gate.wait))
    for number in range(2):
        Deferred.fromCoroutine(hasher.verify("", f"guess {number}", source="192.0.2.66")).addBoth(heard.append)
    owner = Deferred.fromCoroutine(hasher.verify("", "right", "owner", "192.0.2.1"))
    assert len(heard) == 1 and heard[0].check(TryLater)
    gate.set()
    assert loop.run(wait(owner)) is False and loop.run(wait(blocker)) is True
    hasher.close()


async def wait(task: Deferred[Any]) -> Any:
    """Its result."""
    return await task
