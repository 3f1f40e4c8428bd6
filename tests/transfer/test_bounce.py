"""After an attempt: reports, copies, what waits, what is bad mail (RFC 3461; S-125, S-126, S-128..S-130)."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.errors import TryLater, Unroutable
from mailsrv.message.report_text import EXPIRED
from mailsrv.transfer.bounce import MAX_REPLY, MAX_REPORTED, NEWS, Asked, failed_by, settle, wants
from mailsrv.transfer.schedule import Decision
from mailsrv.transfer.success import DELIVERED, EXPANDED, arrival, arrived, known_as, passed_on, told_here
from mailsrv.values import Address, Outcome, Owner, Queued, Recipient
from mailsrv.wire.smtp_parameters import is_orcpt

ALICE, HELP = Address("alice", "example.org"), Address("postmaster", "example.org")
WAIT = Decision(due=600.0)
NOTICE, END = Decision(due=600.0, notice=True), Decision(due=600.0, expired=True)


def to(name: str, notify: str = "") -> Recipient:
    return Recipient(Address(name, "example.net"), {"NOTIFY": notify} if notify else {})


def row(*recipients: Recipient, sender: Address | None = ALICE, **more: Any) -> Queued:
    return Queued(1, "0abc", "example.net", sender, recipients, attempts=3, **more)


def outcome(recipient: Recipient, action: str) -> Outcome:
    status = {"failed": "5.1.1", "delayed": "4.2.2"}.get(action, "2.0.0")
    return Outcome(recipient, action, status, f"{action} it is", "mx.example.net")


#: Event -> (outcome of the attempt, what the schedule says).
EVENTS = {
    "success": ("relayed", WAIT), "failure": ("failed", WAIT), "delay": ("delayed", NOTICE), "end": ("delayed", END),
}  # fmt: skip


@pytest.mark.parametrize(
    ("notify", "heard"),
    [
        ("", {"failure", "delay", "end"}),
        ("NEVER", set()),
        ("FAILURE", {"failure", "end"}),
        ("DELAY", {"delay"}),
        ("SUCCESS", {"success"}),
        ("success,failure", {"success", "failure", "end"}),
        ("SUCCESS,FAILURE,DELAY", {"success", "failure", "delay", "end"}),
    ],
)
@pytest.mark.parametrize("event", EVENTS)
def test_rfc3461_4_1_who_hears_of_what(notify: str, heard: set[str], event: str) -> None:
    action, decision = EVENTS[event]
    bob = to("bob", notify)
    done = settle(row(bob), [outcome(bob, action)], decision)
    assert bool(done.reports) == (event in heard)
    assert all(asked.to == ALICE and not asked.copy for asked in done.reports)
    assert done.bad == ()
    assert bool(done.silent) == (event in ("failure", "end") and event not in heard)
    assert done.remaining == ((bob,) if event == "delay" else ())


def test_s125_each_recipient_is_settled_by_itself() -> None:
    """One took it, one is refused, one waits: one report, and one row with who is left."""
    ann, bob, cid = to("ann"), to("bob"), to("cid")
    found = [outcome(ann, "delivered"), outcome(bob, "failed"), outcome(cid, "delayed")]
    done = settle(row(ann, bob, cid), found, WAIT)
    assert done.reports == (Asked(ALICE, (outcome(bob, "failed"),)),)
    assert (done.remaining, done.due, done.noticed) == ((cid,), 600.0, False)
    assert done.reply == "mx.example.net: delayed it is"


def test_very_many_recipients_are_several_reports_and_each_is_in_one_rfc3464_2() -> None:
    many = [to(f"u{number}") for number in range(2 * MAX_REPORTED + 1)]
    done = settle(row(*many), [outcome(one, "failed") for one in many], WAIT, copy_to=HELP)
    for whom in (ALICE, HELP):
        asked = [one for one in done.reports if one.to == whom]
        assert [len(one.outcomes) for one in asked] == [MAX_REPORTED, MAX_REPORTED, 1]
        assert [of.recipient for one in asked for of in one.outcomes] == many
        assert all(one.copy == (whom == HELP) for one in asked)


def test_failed_and_delayed_are_two_reports() -> None:
    ann, bob = to("ann"), to("bob")
    done = settle(row(ann, bob), [outcome(ann, "failed"), outcome(bob, "delayed")], NOTICE)
    assert [asked.outcomes[0].action for asked in done.reports] == ["failed", "delayed"]
    assert done.noticed


def test_s074_at_the_end_what_waits_has_failed_with_the_last_reply() -> None:
    bob = to("bob")
    done = settle(row(bob), [outcome(bob, "delayed")], END)
    [asked] = done.reports
    assert asked.outcomes == (Outcome(bob, "failed", EXPIRED, "delayed it is", "mx.example.net"),)
    assert done.remaining == ()


@pytest.mark.parametrize(("reply", "status", "said", "host"), [
    ("mx: 450 busy", "", "450 busy", "mx"), ("", "", "", ""), ("mx: 4500 x", "", "mx: 4500 x", ""),
    ("mx.a.test: 451 4.7.1 Greylisted", "4.7.1", "451 4.7.1 Greylisted", "mx.a.test"),
    ("Cannot connect: refused", "", "Cannot connect: refused", ""),
    ("mx: 450 4.7.1234 x", "", "450 4.7.1234 x", "mx"),
])  # fmt: skip
def test_s075_a_row_woken_without_an_attempt_tells_its_last_reply(
    reply: str, status: str, said: str, host: str
) -> None:
    bob = to("bob")
    done = settle(row(bob, reply=reply), [], NOTICE)
    assert done.reports == (Asked(ALICE, (Outcome(bob, "delayed", status, said, host),)),)
    assert (done.remaining, done.noticed, done.reply) == ((bob,), True, reply)


def test_a_notice_that_nobody_wants_is_done_all_the_same() -> None:
    """Else the row would wake for it again and again."""
    bob = to("bob", "NEVER")
    done = settle(row(bob), [outcome(bob, "delayed")], NOTICE)
    assert (done.reports, done.noticed) == ((), True)
    assert settle(row(bob, noticed=True), [outcome(bob, "delayed")], WAIT).noticed


@pytest.mark.parametrize("event", EVENTS)
def test_rfc3461_6_1_nobody_reports_about_a_report(event: str) -> None:
    action, decision = EVENTS[event]
    bob = to("bob", "SUCCESS,FAILURE,DELAY")
    assert settle(row(bob, sender=None), [outcome(bob, action)], decision, copy_to=HELP).reports == ()


@pytest.mark.parametrize("notify", ["", "NEVER", "FAILURE"])
def test_s129_s130_what_can_neither_be_delivered_nor_returned_is_bad_mail(notify: str) -> None:
    bob = to("bob", notify)
    done = settle(row(bob, sender=None), [outcome(bob, "failed")], WAIT)
    assert done.bad == (outcome(bob, "failed"),)
    assert (done.remaining, done.silent) == ((), ())
    assert settle(row(bob, sender=None), [outcome(bob, "delayed")], WAIT).bad == ()


def test_a_report_of_success_that_nobody_takes_is_no_bad_mail() -> None:
    """Nothing is lost with it; else whoever forges senders could fill the folder."""
    bob = to("bob", "NEVER")
    done = settle(row(bob, sender=None, parameters={NEWS: ""}), [outcome(bob, "failed")], WAIT)
    assert (done.bad, done.silent, done.remaining) == ((), (outcome(bob, "failed"),), ())


# ---------------------------------------------------------------- copies


def test_s126_s128_every_failure_is_copied_with_the_whole_message() -> None:
    bob = to("bob")
    done = settle(row(bob), [outcome(bob, "failed")], WAIT, copy_to=HELP)
    assert [(asked.to, asked.whole, asked.copy) for asked in done.reports] == [
        (ALICE, False, False), (HELP, True, True),
    ]  # fmt: skip


@pytest.mark.parametrize(("action", "decision"), [("relayed", WAIT), ("delayed", NOTICE)])
def test_s126_nothing_else_is(action: str, decision: Decision) -> None:
    bob = to("bob", "SUCCESS,DELAY")
    done = settle(row(bob), [outcome(bob, action)], decision, copy_to=HELP)
    assert [asked.to for asked in done.reports] == [ALICE]


def test_nor_a_report_that_nobody_gets_or_that_goes_there_anyway() -> None:
    bob, ann = to("bob", "NEVER"), to("ann")
    assert settle(row(bob), [outcome(bob, "failed")], WAIT, copy_to=HELP).reports == ()
    assert len(settle(row(ann, sender=HELP), [outcome(ann, "failed")], WAIT, copy_to=HELP).reports) == 1


def test_rfc3461_4_1_delivered_is_said_by_who_delivers() -> None:
    """A server that reports does so itself; the mailboxes' own server (LMTP) has delivered what it took."""
    bob = to("bob", "SUCCESS")
    assert settle(row(bob), [outcome(bob, "delivered")], WAIT).reports == ()
    [relayed] = settle(row(bob), [outcome(bob, "relayed")], WAIT).reports
    assert relayed.outcomes[0].action == "relayed"
    [delivered] = settle(row(bob), [outcome(bob, "relayed")], WAIT, final=True).reports
    assert delivered.outcomes[0].action == "delivered"


def test_errors_found_here_are_outcomes_without_a_host() -> None:
    bob = to("bob")
    assert failed_by([bob], Unroutable("No such", "5.1.2")) == (Outcome(bob, "failed", "5.1.2", "No such"),)
    assert failed_by([bob], TryLater("No answer", "4.4.3")) == (Outcome(bob, "delayed", "4.4.3", "No answer"),)


def test_what_is_remembered_is_one_short_line() -> None:
    bob = to("bob")
    done = settle(row(bob), [Outcome(bob, "delayed", "4.0.0", "450 a\r\nb" + "c" * 2000, "h")], WAIT)
    assert done.reply.startswith("h: 450 a b")
    assert len(done.reply) <= MAX_REPLY
    assert not wants(bob, "SUCCESS")


# ---------------------------------------------------------------- what is here already


HERE, HERE_TOO = Owner(1), Owner(2)
THERE, THERE_TOO = ("a.test", Address("a", "a.test")), ("b.test", Address("b", "b.test"))


@pytest.mark.parametrize(("owners", "onward", "astray", "where", "passed"), [
    ([HERE], [], False, DELIVERED, "SUCCESS,FAILURE"),
    ([], [THERE], False, "", "SUCCESS,FAILURE"),
    ([HERE, HERE_TOO], [], False, EXPANDED, "FAILURE"),
    ([HERE], [THERE], False, EXPANDED, "FAILURE"),
    ([], [THERE, THERE_TOO], False, EXPANDED, "FAILURE"),
    ([HERE], [], True, "", "FAILURE"),
    ([], [THERE], True, "", "FAILURE"),
    ([], [], False, "", "FAILURE"),
])  # fmt: skip
def test_rfc3461_5_2_7_one_several_none(
    owners: list[Owner], onward: list[Any], astray: bool, where: str, passed: str
) -> None:
    asked = Recipient(ALICE, {"NOTIFY": "success,failure", "ORCPT": "rfc822;x"})
    assert arrival(asked, owners, onward, astray=astray) == where
    told = passed_on(asked, owners, onward, astray=astray)
    assert told.parameters["NOTIFY"].upper() == passed and told.parameters["ORCPT"] == "rfc822;x"
    assert asked.parameters["NOTIFY"] == "success,failure"


@pytest.mark.parametrize("notify", ["", "NEVER", "FAILURE", "DELAY,FAILURE"])
def test_who_does_not_ask_for_success_hears_nothing_and_passes_on_what_he_said(notify: str) -> None:
    bob = to("bob", notify)
    assert arrival(bob, [HERE, HERE_TOO], [THERE]) == ""
    assert passed_on(bob, [HERE], [THERE]) is bob


def test_members_of_a_list_whose_sender_wants_success_alone_report_nothing() -> None:
    assert passed_on(to("bob", "SUCCESS"), [HERE], [THERE]).parameters == {"NOTIFY": "NEVER"}


@pytest.mark.parametrize(("local", "domain", "coded"), [
    ("bob", "home.test", "rfc822;bob@home.test"), ("a+b=c", "home.test", "rfc822;a+2Bb+3Dc@home.test"),
    ("a b", "home.test", 'rfc822;"a+20b"@home.test'), ("bob", "bücher.test", "rfc822;bob@xn--bcher-kva.test"),
    ("jörg+x", "bücher.test", "utf-8;j\\x{F6}rg\\x{2B}x@b\\x{FC}cher.test"),
    ("postmaster", "", ""), ("b" * 600, "home.test", ""), ("bob", "ü" * 80 + ".test", ""),
])  # fmt: skip
def test_rfc3461_5_2_1_who_is_reached_by_another_name_is_known_by_it(local: str, domain: str, coded: str) -> None:
    found = known_as(Recipient(Address(local, domain), {"NOTIFY": "FAILURE"}))
    assert found == {"NOTIFY": "FAILURE"} | ({"ORCPT": coded} if coded else {})
    assert not coded or is_orcpt(coded, False)
    assert known_as(Recipient(Address(local, domain), {"ORCPT": "rfc822;x"})) == {"ORCPT": "rfc822;x"}


def here(*recipients: Recipient, destination: str = DELIVERED, **more: Any) -> Queued:
    return Queued(1, "0abc", destination, ALICE, recipients, **more)


@pytest.mark.parametrize("decision", [WAIT, NOTICE, END])
@pytest.mark.parametrize(("destination", "action"), [(DELIVERED, "delivered"), (EXPANDED, "expanded")])
def test_mail_that_is_here_is_told_of_however_old_it_is(destination: str, action: str, decision: Decision) -> None:
    waiting = here(to("ann", "SUCCESS"), to("bob", "SUCCESS,FAILURE"), destination=destination)
    assert told_here(waiting) and not told_here(row(to("bob")))
    done = settle(waiting, arrived(waiting), decision, copy_to=HELP)
    [asked] = done.reports
    assert (asked.to, [one.action for one in asked.outcomes]) == (ALICE, [action, action])
    assert (done.remaining, done.bad, done.silent) == ((), (), ())


def test_its_report_may_be_late_but_nobody_hears_of_a_delay_or_a_failure() -> None:
    """What goes wrong in making the report is a delay of the report, not of the mail."""
    bob = to("bob", "SUCCESS,FAILURE,DELAY")
    late = failed_by([bob], TryLater("Internal error", "4.3.0"))
    for decision, left in ((WAIT, (bob,)), (NOTICE, (bob,)), (END, ())):
        done = settle(here(bob), late, decision, copy_to=HELP)
        assert (done.remaining, done.reports, done.bad) == (left, (), ())
