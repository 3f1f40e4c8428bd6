"""Password hashes: right, wrong, remembered, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.auth.hashing import PasswordHasher, normal
from mailsrv.errors import Refused, TryLater
from mailsrv.testing.loop import Loop


class Hashers:
    """Makes hashers that count the checks that really ran, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.now = 1000.0
        self.checks: list[tuple[str, bytes]] = []
        self._made: list[PasswordHasher] = []

    def make(self, **options: Any) -> PasswordHasher:
        """A hasher on this clock and loop."""
        hasher = PasswordHasher(self.loop.call_from_thread, clock=lambda: self.now, **options)
        check = hasher._check

        def counted(encoded: str, secret: bytes) -> bool | None:
            self.checks.append((encoded, secret))
            return check(encoded, secret)

        hasher._check = counted  # type: ignore[method-assign]
        self._made.append(hasher)
        return hasher

    def close(self) -> None:
        """End the threads."""
        for hasher in self._made:
            hasher.close()


@pytest.fixture
def hashers() -> Iterator[Hashers]:
    made = Hashers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def cheap() -> str:
    import argon2

    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret")


def test_a_hash_has_the_promised_cost_and_is_right_for_its_password_only(hashers: Hashers) -> None:
    hasher, run = hashers.make(), hashers.loop.run
    encoded = run(hasher.hash("pässword"))
    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert run(hasher.verify(encoded, "pässword")) is True
    assert run(hasher.verify(encoded, "password")) is False


def test_the_same_text_in_another_normal_form_is_the_same_password(hashers: Hashers) -> None:
    hasher, run = hashers.make(), hashers.loop.run
    assert run(hasher.verify(run(hasher.hash("p\u00e4ss")), "pa\u0308ss")) is True


def test_no_hash_and_a_damaged_hash_are_right_for_nobody_at_the_price_of_a_check(hashers: Hashers) -> None:
    hasher, run = hashers.make(), hashers.loop.run
    decoys: list[bytes] = []
    real = hasher._against_decoy
    hasher._against_decoy = lambda secret: (decoys.append(secret), real(secret))[1]  # type: ignore[method-assign]
    for encoded in ("", "x", "größe"):
        assert run(hasher.verify(encoded, "")) is False
    assert len(hashers.checks) == 3 and len(decoys) == 2
    with pytest.raises(TryLater):
        run(hasher.verify("$argon2id$v=19$m=8,t=1,p=1$c29t$", ""))
    assert hashers.checks[0][0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_right_password_is_remembered_for_a_while_by_login_hash_and_password(hashers: Hashers, cheap: str) -> None:
    hasher, run = hashers.make(cache_seconds=300.0), hashers.loop.run
    for _ in range(3):
        assert run(hasher.verify(cheap, "secret", "me"))
    assert len(hashers.checks) == 1
    hashers.now += 299.9
    assert run(hasher.verify(cheap, "secret", "me")) and len(hashers.checks) == 1
    hashers.now += 0.1
    assert run(hasher.verify(cheap, "secret", "me")) and len(hashers.checks) == 2
    assert run(hasher.verify(cheap, "secret", "you")) and len(hashers.checks) == 3
    # Where one field ends matters.
    assert run(hasher.verify(cheap, "secret", "m")) and not run(hasher.verify(cheap, "esecret", "m"))
    assert len(hashers.checks) == 5


def test_a_changed_hash_never_hits_what_is_remembered(hashers: Hashers, cheap: str) -> None:
    hasher, run = hashers.make(), hashers.loop.run
    assert run(hasher.verify(cheap, "secret", "me"))
    changed = run(hasher.hash("new"))
    assert run(hasher.verify(changed, "secret", "me")) is False
    assert run(hasher.verify("", "secret", "me")) is False
    assert len(hashers.checks) == 3


def test_a_wrong_password_is_not_remembered(hashers: Hashers, cheap: str) -> None:
    hasher, run = hashers.make(), hashers.loop.run
    assert [run(hasher.verify(cheap, "wrong", "me")) for _ in range(3)] == [False] * 3
    assert len(hashers.checks) == 3


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(hashers: Hashers, cheap: str) -> None:
    hasher, run = hashers.make(cache_entries=2), hashers.loop.run
    for login in ("a", "b", "c"):
        assert run(hasher.verify(cheap, "secret", login))
    assert len(hasher._right) == 2
    hashers.checks.clear()
    assert run(hasher.verify(cheap, "secret", "c")) and run(hasher.verify(cheap, "secret", "b"))
    assert hashers.checks == []
    assert run(hasher.verify(cheap, "secret", "a")) and len(hashers.checks) == 1


def test_what_is_remembered_holds_neither_password_nor_hash(hashers: Hashers, cheap: str) -> None:
    first, second, run = hashers.make(), hashers.make(), hashers.loop.run
    for hasher in (first, second):
        assert run(hasher.verify(cheap, "secret", "me"))
    (one,), (other,) = first._right, second._right
    assert len(one) == 32 and one != other


def test_equal_checks_under_way_share_one_run(hashers: Hashers, cheap: str) -> None:
    hasher = hashers.make()
    results = hashers.loop.gather([hasher.verify(cheap, "secret", "me") for _ in range(20)])
    assert results == [True] * 20 and len(hashers.checks) == 1
    assert hashers.loop.gather([hasher.verify(cheap, f"w{n}", "me") for n in range(5)]) == [False] * 5


class Gate:
    """Work that waits for the test."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self.started = threading.Semaphore(0)
        self.open = threading.Event()
        check: Callable[[str, bytes], bool | None] = hasher._check

        def gated(encoded: str, secret: bytes) -> bool | None:
            self.started.release()
            assert self.open.wait(10)
            return check(encoded, secret)

        hasher._check = gated  # type: ignore[method-assign]


def test_more_than_the_bound_is_told_to_try_later(hashers: Hashers, cheap: str) -> None:
    hasher = hashers.make(threads=2, waiting=3)
    gate = Gate(hasher)
    outcomes: list[Any] = []
    for n in range(5):
        Deferred.fromCoroutine(hasher.verify(cheap, f"w{n}")).addBoth(outcomes.append)
    with pytest.raises(TryLater):
        hashers.loop.run(hasher.verify(cheap, "one too many"))
    for _ in range(2):
        assert gate.started.acquire(timeout=10)
    assert not gate.started.acquire(blocking=False), "more than two at once"
    gate.open.set()
    for n in range(5):
        # Shares the run that is under way, or comes after it: either way that one has been told.
        assert hashers.loop.run(hasher.verify(cheap, f"w{n}")) is False
    assert outcomes == [False] * 5


def test_close_tells_everybody_and_takes_nothing_more(hashers: Hashers, cheap: str) -> None:
    hasher = hashers.make(threads=1)
    gate = Gate(hasher)
    outcomes: list[Any] = []
    for n in range(3):
        Deferred.fromCoroutine(hasher.verify(cheap, f"w{n}")).addBoth(outcomes.append)
    assert gate.started.acquire(timeout=10)
    hasher.close()
    hasher.close()
    assert len(outcomes) == 3 and all(failure.check(TryLater) for failure in outcomes)
    with pytest.raises(TryLater):
        hashers.loop.run(hasher.verify(cheap, "secret"))
    gate.open.set()
    for thread in hasher._pool._threads:
        thread.join(10)
        assert not thread.is_alive()
    # The outcome that came too late is told to nobody.
    hashers.loop.turn()
    assert len(outcomes) == 3


def test_no_thread_runs_before_the_first_job() -> None:
    before = threading.active_count()
    PasswordHasher(lambda *arguments: None)
    assert threading.active_count() == before


def test_a_password_that_is_no_unicode_text_is_refused(hashers: Hashers) -> None:
    with pytest.raises(Refused):
        normal("\ud800")


def test_no_memory_for_a_hash_is_a_temporary_failure(hashers: Hashers, cheap: str) -> None:
    import argon2
    from argon2.exceptions import HashingError, VerificationError

    class Exhausted(argon2.PasswordHasher):
        """argon2 on a machine without memory."""

        def hash(self, *arguments: Any, **options: Any) -> str:
            raise HashingError("Memory allocation error")

        def verify(self, *arguments: Any) -> bool:
            raise VerificationError("Memory allocation error")

    hasher = hashers.make()
    hasher._argon = Exhausted()
    for attempt in (hasher.hash("x"), hasher.verify(cheap, "secret")):
        with pytest.raises(TryLater):
            hashers.loop.run(attempt)
    hasher._argon = argon2.PasswordHasher()
    assert hashers.loop.run(hasher.verify(cheap, "secret")) is True
