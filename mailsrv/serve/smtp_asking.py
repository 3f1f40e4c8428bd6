"""One message policy at one connection (floor 5): what it answers, in time or not, and what its failures mean.

A policy that answers at once costs a call: no Deferred is made and no timer started.  Why failures are handled as they
are is told in `docs/decisions/0014`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any
from uuid import uuid4

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import MailError
from ..interfaces import IMessagePolicy
from ..values import ACCEPT, Verdict

log = Logger()

#: Seconds that a policy may take for one answer, unless it has a `timeout` of its own.
TIMEOUT = 30.0


class Late(Exception):
    """A policy took too long."""


#: What goes wrong between a policy and its helpers; all else is a bug, and the connection's to handle.
FAILURES = (MailError, Late, OSError, ConnectError, ConnectionClosed, DeferTimeout, CancelledError)
Sleep = Callable[[float], Awaitable[None]]


@frozen
class PolicyMaker:
    """What makes a policy's object for each connection.

    `name` is for the log; `timeout` seconds and `on_failure` ("open" or "tempfail") go before what the object says.
    """

    make: Callable[[], IMessagePolicy]
    name: str = ""
    timeout: float | None = None
    on_failure: str = ""

    def __call__(self) -> IMessagePolicy:
        """The object for one connection."""
        return self.make()


@define(eq=False)
class Rule:
    """One policy's object at this connection."""

    policy: Any
    name: str
    timeout: float
    opens: bool

    async def waited(self, work: Any, sleep: Sleep) -> Any:
        """The answer of a policy that gave a Deferred, or a coroutine that has begun to wait for one, which can be
        waited for again from outside.  Raises what it raises, or Late."""
        return await _within(work if isinstance(work, Deferred) else Deferred.fromCoroutine(work), self.timeout, sleep)

    async def answer(self, method: Any, moment: str, about: tuple[Any, ...], judge: Any) -> Any:
        """What the policy says, or what it means that it cannot; `judge` has `sleep`, and `where` for the log.  Raises
        MailError."""
        try:
            work = method(*about)
            if type(work) is CoroutineType:
                work.send(None)
            return await self.waited(work, judge.sleep)
        except StopIteration as answered:
            return answered.value
        except FAILURES as error:
            return self.excuse(error, moment, judge.where)

    def excuse(self, error: Any, moment: str, where: str) -> Verdict:
        """What a failure of the policy at that moment means; `where` is for the log.  Raises MailError for one that was
        meant as an answer."""
        if isinstance(error, MailError):
            if error.permanent or not self.opens:
                raise error
            log.info("policy {name} could not answer at {moment}: {reason}",
                     name=self.name, moment=moment, reason=error.text)  # fmt: skip
            return ACCEPT
        if isinstance(error, Late):
            log.warn("policy {name} took longer than {timeout} s at {moment} {about}",
                     name=self.name, timeout=self.timeout, moment=moment, about=where)  # fmt: skip
            return ACCEPT if self.opens else self._failed("time-out")
        # Above all it is not the client's connection that broke, as the pump would think.
        incident = uuid4().hex[:12]
        log.failure("incident {incident}: policy {name} failed at {moment} {about}", failure=Failure(error),
                    incident=incident, name=self.name, moment=moment, about=where)  # fmt: skip
        return ACCEPT if self.opens else self._failed(f"incident {incident}")

    def _failed(self, why: str) -> Verdict:
        """The answer of a policy that could not answer."""
        return Verdict("tempfail", "Temporary failure, try again later", "4.3.0", self.name, why)


def rule_of(make: Callable[[], IMessagePolicy]) -> Rule:
    """The object of one policy, with what is said about it."""
    policy: Any = make()
    timeout = getattr(make, "timeout", None)
    return Rule(
        policy,
        getattr(make, "name", "") or getattr(policy, "name", "") or type(policy).__name__,
        getattr(policy, "timeout", TIMEOUT) if timeout is None else timeout,
        (getattr(make, "on_failure", "") or getattr(policy, "on_failure", "tempfail")) == "open",
    )


async def _within(work: Deferred[Any], seconds: float, sleep: Sleep) -> Any:
    """The result of `work`; raises what it raises, or Late after so many seconds, when it is cancelled."""
    if work.called and not work.paused:
        return await work
    answer: Deferred[Any] = Deferred()
    timer = Deferred.fromCoroutine(_slept(sleep(seconds)))

    def answered(result: Any) -> None:
        if not answer.called:
            answer.callback(result) if not isinstance(result, Failure) else answer.errback(result)
        elif isinstance(result, Failure) and not result.check(CancelledError):
            log.failure("a policy failed after its time", failure=result)

    def late(result: None) -> None:
        if not answer.called:
            answer.errback(Late())
            work.cancel()

    work.addBoth(answered)
    timer.addCallbacks(late, lambda cancelled: None)
    try:
        return await answer
    finally:
        timer.cancel()


async def _slept(waiting: Awaitable[None]) -> None:
    await waiting
