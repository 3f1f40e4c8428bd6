"""Asking the message policies (floor 4): every moment of a connection, in order, each within its time.

A policy that answers at once costs a call: no Deferred is made and no timer started.  Why failures are handled as they
are is told in `docs/decisions/0014`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import MailError
from ..interfaces import IMessagePolicy
from ..message.rewrite import is_field
from ..values import ACCEPT, Transaction, Verdict
from . import smtp_replies as say
from .smtp_verdicts import ENDS, REFUSES, Answers

log = Logger()

#: Seconds that a policy may take for one answer, unless it has a `timeout` of its own.
TIMEOUT = 30.0
#: What goes wrong between a policy and its helpers; all else is a bug, and the connection's to handle.
_FAILURES = (OSError, ConnectError, ConnectionClosed, DeferTimeout, CancelledError)


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
class _Rule:
    """One policy's object at this connection."""

    policy: Any
    name: str
    timeout: float
    opens: bool


class Judge:
    """The policies of one connection.

    Of the transaction under way: `fields` are put above the message, fields named `removed` taken out; `whole` is
    accept, discard, quarantine or redirect for the whole message; `notes` tell who decided what; `open` whether
    there is one to be aborted.
    """

    __slots__ = ("_about", "_makers", "_rules", "_sleep", "fields", "notes", "open", "removed", "whole")

    def __init__(
        self, makers: Sequence[Callable[[], IMessagePolicy]], sleep: Callable[[float], Awaitable[None]], about: str
    ) -> None:
        self._makers = makers
        self._sleep = sleep
        #: For the log: "on smtp/default from 192.0.2.1".
        self._about = about
        self._rules: list[_Rule] | None = None
        self.open = False
        self.clear()

    def clear(self) -> None:
        """No transaction is under way."""
        self.fields: list[bytes] = []
        self.removed: set[bytes] = set()
        self.notes: list[Verdict] = []
        self.whole = ACCEPT

    # ------------------------------------------------------------ moments

    async def ask(self, moment: str, *about: Any) -> Verdict:
        """The first verdict that ends it, else the first that is not plain accept, else ACCEPT.

        `moment` is a method of IMessagePolicy or IConnectionPolicy; a policy without it is not asked.  What is
        refused is told to the log.  Raises MailError.
        """
        kept = ACCEPT
        for rule in self.rules():
            verdict = await self._one(rule, moment, about)
            if verdict is ACCEPT:
                continue
            verdict = self._note(rule, verdict)
            if verdict.action in ENDS:
                if verdict.action != "discard":
                    self._tell(moment, verdict, about)
                return verdict
            if kept.action == "accept":
                kept = verdict
        return kept

    async def sender(self, transaction: Transaction) -> Verdict:
        """MAIL: a transaction begins, unless this refuses.  Raises MailError."""
        self.clear()
        self.open = True
        verdict = await self.ask("on_sender", transaction)
        self._hold(verdict)
        return verdict

    async def refusal(self, moment: str, *about: Any) -> bytes | None:
        """The reply that refuses at on_connect (instead of the greeting; then close), on_helo or on_data, or None.

        DATA (or the first BDAT): what is not refused goes into `whole`.
        """
        try:
            verdict = await self.ask(moment, *about)
        except MailError as error:
            return say.of_error(error, 554 if moment != "on_helo" else 550)
        if moment == "on_data":
            self._hold(verdict)
            return say.of_verdict(verdict, 554) if verdict.action in REFUSES else None
        if verdict.action == "accept":
            return None
        if moment == "on_helo":
            return say.of_verdict(verdict)
        # RFC 5321 section 3.1: 554 in place of the greeting; 421 for now.
        return say.of_verdict(verdict, 554) if verdict.action != "tempfail" else _go_away(verdict)

    async def content(self, transaction: Transaction, content: Any) -> Answers:
        """The whole message: one answer, or one for each recipient.  Raises MailError."""
        answers = Answers()
        for rule in self.rules():
            answer = await self._one(rule, "on_content", (transaction, content))
            if answer is ACCEPT:
                continue
            if isinstance(answer, Mapping):
                for address, verdict in answer.items():
                    verdict = self._note(rule, verdict)
                    if answers.each.get(address, ACCEPT).action not in ENDS and verdict.action != "accept":
                        answers.each[address] = verdict
                continue
            verdict = self._note(rule, answer)
            if verdict.action in ENDS:
                answers.whole = verdict
                break
            if answers.whole.action == "accept":
                answers.whole = verdict
        refusal = answers.refusal()
        if refusal is not None:
            self._tell("on_content", refusal, (transaction,))
        return answers

    def done(self) -> None:
        """The message was taken: there is nothing to abort."""
        self.open = False

    async def abort(self) -> None:
        """The transaction, if there is one, ends without a message."""
        if self.open:
            self.open = False
            await self._inform("on_abort")

    def close(self) -> None:
        """The connection is gone; policies that want to know are told, and nobody waits for them."""
        if self._rules:
            Deferred.fromCoroutine(self._close()).addErrback(
                lambda failure: log.failure("a policy failed at the end of a connection", failure=failure)
            )

    async def _close(self) -> None:
        await self.abort()
        await self._inform("on_close")

    async def _inform(self, moment: str) -> None:
        for rule in self._rules or ():
            await self._one(rule, moment, ())

    # ------------------------------------------------------------ one policy

    def rules(self) -> list[_Rule]:
        """The policies of this connection, made when first needed."""
        if self._rules is None:
            self._rules = [_rule(make) for make in self._makers]
        return self._rules

    async def _one(self, rule: _Rule, moment: str, about: tuple[Any, ...]) -> Any:
        """One policy's answer.  Raises MailError."""
        method = getattr(rule.policy, moment, None)
        if method is None:
            return ACCEPT
        try:
            work = method(*about)
            if isinstance(work, Deferred):
                return await _within(work, rule.timeout, self._sleep)
            try:
                work.send(None)
            except StopIteration as answered:
                return answered.value
            # It has begun and waits for a Deferred, which can be waited for again from outside.
            return await _within(Deferred.fromCoroutine(work), rule.timeout, self._sleep)
        except _Late:
            log.warn("policy {name} took longer than {timeout} s at {moment} {about}",
                     name=rule.name, timeout=rule.timeout, moment=moment, about=self._about)  # fmt: skip
            return ACCEPT if rule.opens else _failed(rule, "time-out")
        except MailError as error:
            if error.permanent or not rule.opens:
                raise
            log.info("policy {name} could not answer at {moment}: {reason}",
                     name=rule.name, moment=moment, reason=error.text)  # fmt: skip
            return ACCEPT
        except _FAILURES:
            # Above all it is not the client's connection that broke, as the pump would think.
            incident = uuid4().hex[:12]
            log.failure("incident {incident}: policy {name} failed at {moment} {about}",
                        incident=incident, name=rule.name, moment=moment, about=self._about)  # fmt: skip
            return ACCEPT if rule.opens else _failed(rule, f"incident {incident}")

    def _note(self, rule: _Rule, verdict: Verdict) -> Verdict:
        """Keep what a verdict adds to the message; gives it with the name of who decided."""
        if not verdict.part:
            verdict = evolve(verdict, part=rule.name)
        if verdict.action in ENDS:
            return verdict
        for one in verdict.fields:
            if is_field(one):
                self.fields.append(one)
            else:
                log.error("policy {name} gave what is no header field: {octets!r}", name=rule.name, octets=one[:100])
        self.removed.update(name.lower() for name in verdict.removed)
        self.notes.append(verdict)
        return verdict

    def _hold(self, verdict: Verdict) -> None:
        """A verdict on the whole message; the first one holds, but for discard."""
        if verdict.action == "discard" or (self.whole.action == "accept" and verdict.action not in REFUSES):
            self.whole = verdict

    def _tell(self, moment: str, verdict: Verdict, about: tuple[Any, ...]) -> None:
        """One line about a refusal."""
        log.info(
            "{text}",
            text=f"{_subject(moment, about)} refused {self._about} by {by(verdict)}: {verdict.text or verdict.action}",
            part=verdict.part,
            rule=verdict.rule,
        )


class _Late(Exception):
    """A policy took too long."""


async def _within(work: Deferred[Any], seconds: float, sleep: Callable[[float], Awaitable[None]]) -> Any:
    """The result of `work`; raises what it raises, or _Late after so many seconds, when it is cancelled."""
    if work.called and not work.paused:
        return await work
    answer: Deferred[Any] = Deferred()
    timer = Deferred.fromCoroutine(_slept(sleep(seconds)))

    def answered(result: Any) -> None:
        if not answer.called:
            answer.callback(result) if not isinstance(result, Failure) else answer.errback(result)
        elif isinstance(result, Failure) and not result.check(CancelledError):
            log.failure("a policy failed after its time", failure=result)

    def late(result: Any) -> None:
        if not answer.called:
            answer.errback(_Late())
            work.cancel()

    work.addBoth(answered)
    timer.addBoth(late)
    try:
        return await answer
    finally:
        timer.cancel()


async def _slept(waiting: Awaitable[None]) -> None:
    await waiting


def _rule(make: Callable[[], IMessagePolicy]) -> _Rule:
    """The object of one policy, with what is said about it."""
    policy: Any = make()
    timeout = getattr(make, "timeout", None)
    return _Rule(
        policy,
        getattr(make, "name", "") or getattr(policy, "name", "") or type(policy).__name__,
        getattr(policy, "timeout", TIMEOUT) if timeout is None else timeout,
        (getattr(make, "on_failure", "") or getattr(policy, "on_failure", "tempfail")) == "open",
    )


def _go_away(verdict: Verdict) -> bytes:
    """A temporary refusal of the whole connection (RFC 5321 section 3.8)."""
    status = verdict.status if verdict.status.startswith("4.") else "4.7.1"
    return say.reply(421, status, verdict.text or "Try again later")


def _failed(rule: _Rule, why: str) -> Verdict:
    """The answer of a policy that could not answer."""
    return Verdict("tempfail", "Temporary failure, try again later", "4.3.0", rule.name, why)


def by(verdict: Verdict) -> str:
    """Who decided, for log and trace."""
    return f"{verdict.part} ({verdict.rule})" if verdict.rule else verdict.part


def _subject(moment: str, about: tuple[Any, ...]) -> str:
    """What was asked about, for the log; clients' words are quoted."""
    if moment == "on_sender":
        return f"sender {str(about[0].reverse_path or '<>')!r}"
    if moment == "on_recipient":
        return f"recipient {str(about[1].address)!r}"
    if moment == "on_helo":
        return f"greeting {about[0]!r}"
    return {"on_connect": "connection", "on_authenticated": "login"}.get(moment, "message")
