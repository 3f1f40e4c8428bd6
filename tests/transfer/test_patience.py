"""Who takes long is told of, who takes too long is cut off; nothing is left over."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from mailsrv.transfer.patience import TICK, Patience


class _Case:
    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[str] = []
        self.patience = Patience(self.clock.callLater, 30, 100, self.told.append)

    def begin(self, destination: str) -> tuple[int, Deferred[Any], list[Any]]:
        attempt: Deferred[Any] = Deferred()
        ended: list[Any] = []
        attempt.addErrback(lambda failure: ended.append(failure.trap(CancelledError)))
        return self.patience.begin(destination, attempt), attempt, ended

    def wait(self, seconds: float) -> None:
        self.clock.pump([TICK] * int(seconds / TICK))


def test_an_attempt_that_ends_in_time_is_never_heard_of() -> None:
    case = _Case()
    number, _, ended = case.begin("a.example")
    case.wait(30)
    case.patience.end(number)
    case.wait(200)
    assert (case.told, ended, len(case.patience)) == ([], [], 0)
    assert case.clock.getDelayedCalls() == []


def test_one_that_takes_long_is_told_of_once_and_then_cut_off() -> None:
    case = _Case()
    _, _, ended = case.begin("a.example")
    case.wait(30)
    assert case.told == []
    case.wait(1)
    assert case.told == ["a.example"]
    case.wait(69)
    assert ended == []
    case.wait(1)
    assert ended == [CancelledError] and case.told == ["a.example"]


def test_each_has_its_own_time() -> None:
    case = _Case()
    case.begin("a.example")
    case.wait(20)
    number, _, ended = case.begin("b.example")
    case.wait(11)
    assert case.told == ["a.example"]
    case.wait(20)
    assert case.told == ["a.example", "b.example"]
    case.patience.end(number)
    case.wait(100)
    assert ended == []


def test_after_the_end_of_service_there_is_no_timer() -> None:
    case = _Case()
    number, _, _ = case.begin("a.example")
    case.patience.close()
    assert case.clock.getDelayedCalls() == []
    case.patience.end(number)
    case.patience.close()
