"""After an attempt: which reports go to whom, what is tried again, what is bad mail (floor 4).

Pure.  Who gets a report: RFC 3461 section 4.1 (NOTIFY) and section 6.1; S-125, S-126, S-128..S-130.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from ..errors import MailError
from ..message.report_text import EXPIRED, harmless
from ..values import Address, Outcome, Queued, Recipient
from .schedule import Decision
from .success import told_here
from .success import wants as wants

#: Recipients of one report: of fifty thousand, one report is 13 MB, and everybody waits for a second while it is made.
#: RFC 3464 section 2 leaves it open how many reports there are about a message.
MAX_REPORTED = 1000
#: Characters of what a row remembers of its last attempt.
MAX_REPLY = 500
#: A server's name and its words, as they are remembered.
_SAID = re.compile(
    r"(?P<host>[^\s:]{1,255}): (?P<reply>[45][0-9]{2}[ -](?P<status>[45]\.[0-9]{1,3}\.[0-9]{1,3}\b)?.*)",
    re.ASCII | re.DOTALL,
)
#: Parameter of MAIL, never sent, by which our own reports of a delay or a success are known: nothing is lost with them.
NEWS = "X-MAILSRV-NEWS"


@frozen
class Asked:
    """A report to be made (`message/report.py`): to whom, about what.  `copy`: it is the administrator's copy of a
    failure, so it holds the `whole` message (S-128)."""

    to: Address
    outcomes: tuple[Outcome, ...]
    copy: bool = False

    @property
    def whole(self) -> bool:
        """Whether the message is returned whatever its sender asked for."""
        return self.copy


@frozen
class Settled:
    """All that follows from an attempt.

    `remaining`, `due`, `noticed` and `reply` are for IQueue.settle.  `reports` come first: a row that ends before its
    report is accepted could lose it.  `bad` are failures that nobody can be told of: the message goes to bad mail
    (S-129).  `silent` are failures whose sender wants to hear nothing: for the log alone.
    """

    remaining: tuple[Recipient, ...] = ()
    due: float = 0.0
    noticed: bool = False
    reply: str = ""
    reports: tuple[Asked, ...] = ()
    bad: tuple[Outcome, ...] = ()
    silent: tuple[Outcome, ...] = ()


def failed_by(recipients: Iterable[Recipient], error: MailError) -> tuple[Outcome, ...]:
    """What an error found here, before any server was asked, is for each recipient: failed, or delayed."""
    action = "failed" if error.permanent else "delayed"
    return tuple(Outcome(recipient, action, error.status, error.text) for recipient in recipients)


def settle(
    row: Queued, outcomes: Sequence[Outcome], decision: Decision, *, copy_to: Address | None = None, final: bool = False
) -> Settled:
    """What follows for `row` from these outcomes (none: it was woken without an attempt), and from the schedule.

    A recipient without an outcome waits.  `copy_to` gets a copy of every report of a failure (S-126); `final`: the peer
    was the mailboxes' own server (LMTP), so what it took is delivered.
    """
    if told_here(row):
        return _settle_arrival(row, outcomes, decision, copy_to)
    if len(outcomes) == len(row.recipients) and all(one.action == "delivered" for one in outcomes):
        # Most attempts: nobody is left, and who has the message answers for it.
        return Settled(noticed=row.noticed)
    told_of = {outcome.recipient.address for outcome in outcomes}
    waiting = [one for one in row.recipients if one.address not in told_of]
    found = [*outcomes, *(_remembered(recipient, row.reply) for recipient in waiting)]
    delayed = [outcome for outcome in found if outcome.action == "delayed"]
    failed = [outcome for outcome in found if outcome.action == "failed"]
    if decision.expired:
        failed += [evolve(outcome, action="failed", status=EXPIRED) for outcome in delayed]
        delayed = []
    arrived = [
        evolve(outcome, action="delivered") if final and outcome.action == "relayed" else outcome
        for outcome in found
        if outcome.action in ("relayed", "expanded") and wants(outcome.recipient, "SUCCESS")
    ]
    told = [outcome for outcome in failed if wants(outcome.recipient, "FAILURE")]
    unasked = [outcome for outcome in failed if not wants(outcome.recipient, "FAILURE")]
    late = [outcome for outcome in delayed if decision.notice and wants(outcome.recipient, "DELAY")]
    return Settled(
        remaining=tuple(outcome.recipient for outcome in delayed),
        due=decision.due if delayed else 0.0,
        noticed=row.noticed or decision.notice,
        reply=_reply(delayed),
        reports=_reports(row.reverse_path, told, late, arrived, copy_to),
        # Nobody sent it, so nobody can get it back, whatever NOTIFY says.
        bad=tuple(failed) if row.reverse_path is None and NEWS not in row.parameters else (),
        silent=tuple(unasked) if row.reverse_path is not None or NEWS in row.parameters else (),
    )


def _settle_arrival(
    row: Queued, outcomes: Sequence[Outcome], decision: Decision, copy_to: Address | None
) -> Settled:  # fmt: skip
    """A row of mail that is here already (`success`): its sender hears of success, or of who had no room for it, and
    never of a delay, for there is none."""
    told = tuple(one for one in outcomes if one.action in ("delivered", "expanded"))
    failed = tuple(one for one in outcomes if one.action == "failed")
    delayed = [one for one in outcomes if one.action == "delayed"] if not decision.expired else []
    return Settled(
        remaining=tuple(outcome.recipient for outcome in delayed),
        due=decision.due if delayed else 0.0,
        noticed=row.noticed or decision.notice,
        reply=_reply(delayed),
        reports=_reports(row.reverse_path, failed, (), told, copy_to),
    )


def _reports(
    sender: Address | None, told: Sequence[Outcome], late: Sequence[Outcome], arrived: Sequence[Outcome],
    copy_to: Address | None,
) -> tuple[Asked, ...]:  # fmt: skip
    """One report of each sort, or more for very many recipients.  A message without a sender has none: no report about
    a report."""
    if sender is None:
        return ()
    asked = [Asked(sender, lot) for of in (told, late, arrived) for lot in lots(of)]
    if copy_to is not None and copy_to != sender:
        asked += [Asked(copy_to, lot, copy=True) for lot in lots(told)]
    return tuple(asked)


def lots(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, ...]]:
    """What each of the reports is about."""
    return [tuple(outcomes[at : at + MAX_REPORTED]) for at in range(0, len(outcomes), MAX_REPORTED)]


def _remembered(recipient: Recipient, reply: str) -> Outcome:
    """What a row still knows of its last attempt (`_reply`), for a recipient that was not tried again."""
    said = _SAID.fullmatch(reply)
    if said is None:
        return Outcome(recipient, "delayed", reply=reply)
    return Outcome(recipient, "delayed", said["status"] or "", said["reply"], said["host"])


def _reply(delayed: Sequence[Outcome]) -> str:
    """What is remembered: the first words of somebody else, else of ours."""
    first = next((one for one in delayed if one.reply and one.host), next((o for o in delayed if o.reply), None))
    if first is None:
        return ""
    said = f"{first.host}: {first.reply}" if first.host else first.reply
    return harmless(said, MAX_REPLY)
