"""Asking the message policies (floor 5): every moment of a connection, in order, and what the answers come to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import CoroutineType
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..access.policy import Policy
from ..errors import MailError, Refused, TryLater
from ..interfaces import IContent, IMessagePolicy
from ..message.rewrite import is_field
from ..values import ACCEPT, Identity, Peer, Transaction, Verdict
from . import smtp_replies as say
from .smtp_asking import FAILURES, Rule, rule_of
from .smtp_asking import TIMEOUT as TIMEOUT
from .smtp_asking import PolicyMaker as PolicyMaker
from .smtp_verdicts import ENDS, REFUSES, Answers

log = Logger()

#: Verdicts told in the line about one message, and characters of a refusal's text (RFC 5321 section 4.5.3.1.5).
MAX_NOTES, MAX_TEXT = 20, 450
_ACTIONS = ENDS | {"accept", "quarantine", "redirect"}
#: RFC 3463 section 2.
_STATUS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)


class Judge:
    """The policies of one connection.

    Of the transaction under way: `notes` are the verdicts that accept and have something to say; `whole` is accept,
    discard, quarantine or redirect for the whole message; `open` is the one that can be aborted.  `connection` has a
    `peer`, which a proxy may replace.
    """

    __slots__ = (
        "_connection", "_ending", "_made", "_makers", "_methods", "_rules", "_server", "notes", "open", "sleep",
        "whole",
    )  # fmt: skip

    def __init__(
        self,
        makers: Sequence[Callable[[], IMessagePolicy]],
        sleep: Callable[[float], Awaitable[None]],
        server: str,
        connection: Any,
    ) -> None:
        self._makers, self.sleep = makers, sleep
        self._server, self._connection = server, connection
        self._rules: list[Rule] | None = None
        self._methods: dict[str, list[tuple[Rule, Any]]] = {}
        #: Policies that are still being told of an end.
        self._ending: Deferred[None] | None = None
        self.open: Transaction | None = None
        #: Contents that policies have put in the place of the message.
        self._made: list[IContent] = []
        self.notes: list[Verdict] = []
        self.whole = ACCEPT

    def clear(self) -> None:
        """No transaction is under way.  Policies are told of one that ends without a message; they are waited for
        before they are asked again."""
        if self.open is not None:
            about, self.open = self.open, None
            self._inform("on_abort", about)
        if self.notes:
            self.notes = []
        self.whole = ACCEPT
        while self._made:
            self._made.pop().close()

    @property
    def fields(self) -> list[bytes]:
        """Header fields that are put above the message, in the order of the verdicts."""
        return [one for verdict in self.notes for one in verdict.fields]

    @property
    def removed(self) -> set[bytes]:
        """Names of fields, in lower case, that are taken out of the message."""
        return {name.lower() for verdict in self.notes for name in verdict.removed}

    @property
    def where(self) -> str:
        """For the log."""
        return f"on {self._server} from {self._connection.peer.host}"

    # ------------------------------------------------------------ moments

    async def ask(self, moment: str, *about: Any) -> Verdict:
        """The first verdict that ends it, else the first that is not plain accept, else ACCEPT.

        `moment` is a method of IMessagePolicy or IConnectionPolicy; a policy without it is not asked.  What is
        refused or dropped is told to the log.  Raises MailError.
        """
        kept = ACCEPT
        if self._ending is not None:
            ending, self._ending = self._ending, None
            await ending
        for rule, method in self.asked(moment):
            try:
                work = method(*about)
                # As `Rule.answer`, which would be one more coroutine for each policy and recipient.
                if type(work) is CoroutineType:
                    work.send(None)
                verdict = await rule.waited(work, self.sleep)
            except StopIteration as answered:
                verdict = answered.value
            except FAILURES as error:
                verdict = rule.excuse(error, moment, self.where)
            if verdict is ACCEPT:
                continue
            _no_content(rule, [verdict])
            verdict = self._note(rule, verdict)
            if verdict.action in ENDS:
                self._tell(moment, verdict, about)
                return verdict
            if kept.action == "accept":
                kept = verdict
        return kept

    def begin(self, transaction: Transaction) -> None:
        """MAIL: a transaction begins, unless policies refuse."""
        self.clear()
        self.open = transaction

    def hold(self, verdict: Verdict) -> None:
        """A verdict on the whole message; the first one holds, but for discard."""
        if verdict.action == "discard" or (self.whole.action == "accept" and verdict.action not in REFUSES):
            self.whole = verdict

    async def refusal(self, moment: str, *about: Any) -> bytes | None:
        """The reply that refuses at on_helo or on_data, or None.

        DATA (or the first BDAT): what is not refused goes into `whole`.
        """
        if not self.asked(moment):
            return None
        try:
            verdict = await self.ask(moment, *about)
        except MailError as error:
            return say.of_error(error, 554 if moment == "on_data" else 550)
        if moment == "on_data":
            self.hold(verdict)
            return say.of_verdict(verdict, 554) if verdict.action in REFUSES else None
        return None if verdict.action == "accept" else say.of_verdict(verdict)

    async def login(self, identity: Identity, peer: Peer) -> None:
        """Somebody has logged in.  Raises Refused or TryLater to take it back."""
        verdict = await self.ask("on_authenticated", identity, peer)
        if verdict.action != "accept":
            text, refused = verdict.text or None, verdict.action != "tempfail"
            raise Refused(text, verdict.status or "5.7.1") if refused else TryLater(text, verdict.status or "4.7.1")

    async def content(self, transaction: Transaction, content: IContent) -> Answers:
        """The whole message: one answer, or one for each recipient.  Raises MailError."""
        answers = Answers()
        for rule, method in self.asked("on_content"):
            answer: Any = await rule.answer(method, "on_content", (transaction, content), self)
            if answer is ACCEPT:
                continue
            if isinstance(answer, Mapping):
                _no_content(rule, answer.values())
                there = {recipient.address for recipient in transaction.recipients}
                for address, verdict in answer.items():
                    if address not in there:
                        continue
                    verdict = self._note(rule, verdict)
                    if answers.each.get(address, ACCEPT).action not in ENDS and verdict.action != "accept":
                        answers.each[address] = verdict
                continue
            if answer.content is not None:
                # The policies that follow look at what will be delivered.
                content = answers.content = answer.content
                self._made.append(content)
            verdict = self._note(rule, answer)
            if verdict.action in ENDS:
                answers.whole = verdict
                break
            if answers.whole.action == "accept":
                answers.whole = verdict
        if answers.whole is ACCEPT and not answers.each:
            return answers
        each = () if answers.whole.action in ENDS else answers.each.values()
        for verdict in dict.fromkeys((answers.whole, *each)):
            if verdict.action in ENDS:
                self._tell("on_content", verdict, (transaction,))
        return answers

    def note(self) -> str:
        """Who took the message but had something to say about it, for the log."""
        if not self.notes:
            return ""
        told = dict.fromkeys(f"{verdict.action} by {by(verdict)}" for verdict in self.notes)
        return "; " + ", ".join(list(told)[:MAX_NOTES])

    def done(self) -> None:
        """The message was taken: there is nothing to abort."""
        self.open = None

    def close(self) -> None:
        """The connection is gone: policies are told of it, and nobody waits for them."""
        self.clear()
        if self._rules:
            self._inform("on_close")

    def _inform(self, moment: str, *about: Any) -> None:
        if self.asked(moment):
            work = Deferred.fromCoroutine(self._tell_all(moment, about, self._ending))
            work.addErrback(lambda failure: log.failure("a policy failed at {moment}", failure=failure, moment=moment))
            self._ending = None if work.called else work

    async def _tell_all(self, moment: str, about: tuple[Any, ...], before: Deferred[None] | None) -> None:
        if before is not None:
            await before
        for rule, method in self.asked(moment):
            try:
                await rule.answer(method, moment, about, self)
            except MailError as error:
                log.info("policy {name} at {moment}: {reason}", name=rule.name, moment=moment, reason=error.text)

    # ------------------------------------------------------------ one policy

    def waits(self, moment: str) -> bool:
        """Whether somebody is asked at that moment, or still told of the end of a transaction."""
        return self._ending is not None or bool(self.asked(moment))

    def asked(self, moment: str) -> list[tuple[Rule, Any]]:
        """Those that have something to say at that moment: with a method of that name that is not `Policy`'s own."""
        found = self._methods.get(moment)
        if found is None:
            if self._rules is None:
                self._rules = [rule_of(make) for make in self._makers]
            plain = getattr(Policy, moment)
            found = self._methods[moment] = [
                (rule, getattr(rule.policy, moment))
                for rule in self._rules
                if getattr(type(rule.policy), moment, None) is not plain and hasattr(rule.policy, moment)
            ]
        return found

    def _note(self, rule: Rule, verdict: Verdict) -> Verdict:
        """Keep what a verdict adds to the message; gives it with the name of who decided.  Raises ValueError for a
        verdict that is none: taken for another it might let in what was to be refused."""
        if verdict.action not in _ACTIONS:
            raise ValueError(f"policy {rule.name} gave the verdict {verdict.action!r}")
        if not verdict.part:
            verdict = evolve(verdict, part=rule.name)
        if verdict.action in ENDS:
            status = verdict.status if _STATUS.fullmatch(verdict.status) else ""
            return evolve(verdict, status=status, text=verdict.text[:MAX_TEXT])
        wrong = [one for one in verdict.fields if not is_field(one)]
        if wrong:
            log.error("policy {name} gave what is no header field: {octets!r}", name=rule.name, octets=wrong[0][:100])
            verdict = evolve(verdict, fields=tuple(one for one in verdict.fields if one not in wrong))
        self.notes.append(verdict)
        return verdict

    def _tell(self, moment: str, verdict: Verdict, about: tuple[Any, ...]) -> None:
        """One line about what is refused or dropped."""
        done = "dropped" if verdict.action == "discard" else "refused"
        said = verdict.text if verdict.text.isprintable() else ascii(verdict.text)
        log.info(
            "{text}",
            text=f"{_subject(moment, about)} {done} {self.where} by {by(verdict)}: {said or verdict.action}",
            part=verdict.part,
            rule=verdict.rule,
        )


def _no_content(rule: Rule, verdicts: Iterable[Verdict]) -> None:
    """Another message for one recipient, or before there is one, is a mistake.  Raises ValueError; it is closed."""
    made = [one for one in verdicts if one.content is not None]
    for content in {id(one.content): one.content for one in made}.values():
        content.close()  # type: ignore[union-attr]
    for verdict in made:
        raise ValueError(f"policy {rule.name}, {by(verdict) or 'no part'}: a message out of place in its verdict")


def by(verdict: Verdict) -> str:
    """Who decided, for the log."""
    text = f"{verdict.part} ({verdict.rule})" if verdict.rule else verdict.part
    return text if text.isprintable() else ascii(text)


def _subject(moment: str, about: tuple[Any, ...]) -> str:
    """What was asked about, for the log; clients' words are quoted."""
    if moment == "on_sender":
        return f"sender {str(about[0].reverse_path or '<>')!r}"
    if moment == "on_recipient":
        return f"recipient {str(about[1].address)!r}"
    if moment == "on_helo":
        return f"greeting {about[0]!r}"
    return {"on_connect": "connection", "on_authenticated": "login"}.get(moment, "message")
