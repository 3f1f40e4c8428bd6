"""How policies are asked: order, time-outs, failures, every moment, and what becomes of mail that they move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.logger import LogEvent, globalLogPublisher

from mailsrv.access.policy import Policy
from mailsrv.errors import Refused, TryLater
from mailsrv.serve.smtp_policies import TIMEOUT, PolicyMaker
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import ACCEPT, Address, Verdict

ENVELOPE = b"HELO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\n"
MESSAGE = b"Subject: hi\r\nX-Spam: no\r\n\r\nbody\r\n.\r\n"
ME, YOU = Address("me", "example.org"), Address("you", "example.org")


class Scripted(Policy):
    """Says at the named moments what a test says: a verdict, an exception, a Deferred, or what a function gives."""

    def __init__(self, **says: Any) -> None:
        self.says = says
        self.heard: list[str] = []

    def for_connection(self) -> Scripted:
        return self

    async def _say(self, moment: str) -> Any:
        self.heard.append(moment)
        said = self.says.get(moment, ACCEPT)
        if callable(said):
            said = said()
        if isinstance(said, Deferred):
            said = await said
        if isinstance(said, Exception):
            raise said
        return said


def _moment(name: str) -> Any:
    async def method(self: Scripted, *about: Any) -> Any:
        return await self._say(name)

    return method


for _name in ("connect", "helo", "authenticated", "sender", "recipient", "data", "content", "abort", "close"):
    setattr(Scripted, f"on_{_name}", _moment(_name))


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def texts(log: list[LogEvent]) -> list[str]:
    return [event["text"] for event in log if "text" in event]


def bed_with(*policies: Any) -> Bed:
    """A bed whose SMTP server asks these policies; a maker is taken as it is."""
    return Bed(policies=[p if isinstance(p, PolicyMaker) else (lambda p=p: p) for p in policies])


def say(bed: Bed, client: MemoryTransport, octets: bytes) -> list[str]:
    """The lines that answer."""
    client.send(octets)
    bed.settle()
    return client.take().decode("ascii").splitlines()


def sent(bed: Bed, octets: bytes = ENVELOPE + b"DATA\r\n") -> tuple[MemoryTransport, list[str]]:
    client = bed.connect("smtp")
    client.take()
    return client, say(bed, client, octets)


def mailbox(bed: Bed, local: str = "me", name: str = "INBOX") -> list[bytes]:
    """The messages in a mailbox."""

    async def read() -> list[bytes]:
        account = await bed.store.account(bed.accounts[local])
        box = await account.open(name)
        contents = await box.contents(list(box.columns().uids))
        return [await content.read(0, content.size) for content in contents]

    found: list[bytes] = bed.loop.run(read())
    return found


def fields_of(message: bytes) -> list[str]:
    lines = message.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return [line.partition(":")[0] for line in lines if line[:1] not in " \t"]


# ---------------------------------------------------------------- the cost


def deferreds_of(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many Deferreds and timers one message makes."""
    client, _ = sent(bed)
    say(bed, client, MESSAGE)
    made: list[Any] = []
    create = Deferred.__init__
    timers = len(bed.clock.getDelayedCalls())
    with monkeypatch.context() as patch:
        patch.setattr(Deferred, "__init__", lambda self, *a, **k: (made.append(1), create(self, *a, **k))[1])
        client.send(ENVELOPE[16:] + b"DATA\r\n" + MESSAGE)
        assert [line[:3] for line in client.take().split(b"\r\n")[:-1]] == [b"250", b"250", b"354", b"250"]
    return len(made), len(bed.clock.getDelayedCalls()) - timers


def test_an_answer_at_once_makes_no_deferred_and_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    none = deferreds_of(bed_with(), monkeypatch)
    assert deferreds_of(bed_with(Scripted(), Scripted(), Policy()), monkeypatch) == none
    late = bed_with(Scripted(sender=lambda: defer.succeed(ACCEPT)))
    assert deferreds_of(late, monkeypatch)[0] > none[0]


def test_what_a_policy_does_not_speak_of_is_not_asked() -> None:
    class Odd:
        """Neither derives from Policy nor has all moments."""

        async def on_helo(self, helo: str, peer: Any, client_name: str) -> Verdict:
            return Verdict("reject", f"not {helo}")

    bed = bed_with(Odd())
    assert sent(bed, b"HELO c.example\r\n")[1] == ["550 5.7.1 not c.example"]
    judge = next(iter(bed.server("smtp").arrivals.present)).session.judge  # type: ignore[attr-defined]
    assert [len(judge.asked(moment)) for moment in ("on_helo", "on_sender", "on_abort")] == [1, 0, 0]


# ---------------------------------------------------------------- failures and time


@pytest.mark.parametrize("failure", [OSError("no"), ConnectionResetError("gone"), ConnectError(), defer.TimeoutError()])
@pytest.mark.parametrize(("meaning", "said"), [("tempfail", "451 4.3.0"), ("open", "250 2.1.0")])
def test_a_broken_helper_means_what_the_policy_says(
    failure: Exception, meaning: str, said: str, log: list[LogEvent]
) -> None:
    policy = Scripted(sender=lambda: failure)
    policy.on_failure = meaning
    client, lines = sent(bed_with(policy), ENVELOPE[:41])
    assert lines[1].startswith(said) and not client.closed
    (failed,) = [event for event in log if "log_failure" in event]
    assert len(failed["incident"]) == 12 and failed["name"] == "Scripted"


@pytest.mark.parametrize(("meaning", "said"), [("tempfail", "451 4.3.0"), ("open", "250 2.1.0")])
def test_a_late_answer_means_what_the_policy_says(meaning: str, said: str, log: list[LogEvent]) -> None:
    cancelled: list[Any] = []
    policy = Scripted(sender=lambda: Deferred(cancelled.append))
    policy.timeout = 5
    bed = bed_with(PolicyMaker(lambda: policy, "slow", on_failure=meaning))
    client, lines = sent(bed, ENVELOPE[:41])
    assert lines == ["250 mx.example.org"]
    bed.settle(4.9)
    assert client.take() == b"" and not cancelled
    bed.settle(0.2)
    assert client.take().decode().startswith(said) and cancelled
    assert [event["name"] for event in log if event.get("timeout") == 5] == ["slow"]


def test_the_configuration_goes_before_what_a_policy_says_of_itself() -> None:
    policy = Scripted(sender=lambda: Deferred())
    policy.timeout, policy.on_failure = 5, "open"
    bed = bed_with(PolicyMaker(lambda: policy, "slow", timeout=60, on_failure="tempfail"))
    client, _ = sent(bed, ENVELOPE[:41])
    bed.settle(59)
    assert client.take() == b""
    bed.settle(1.1)
    assert client.take().startswith(b"451 4.3.0")


def test_an_answer_in_time_leaves_no_timer_behind() -> None:
    late: Deferred[Verdict] = Deferred()
    bed = bed_with(Scripted(sender=lambda: late))
    client, _ = sent(bed, ENVELOPE[:41])
    before = len(bed.clock.getDelayedCalls())
    bed.settle(TIMEOUT - 1)
    late.callback(ACCEPT)
    assert client.take() == b"250 2.1.0 Sender OK\r\n" and len(bed.clock.getDelayedCalls()) == before - 1


def test_a_policy_that_does_not_let_go_keeps_nobody_waiting(log: list[LogEvent]) -> None:
    """It catches the cancellation and goes on; what it says at last is nothing to anybody."""
    stubborn: Deferred[None] = Deferred()

    class Stubborn(Policy):
        timeout = 1

        async def on_sender(self, transaction: Any) -> Verdict:
            try:
                await Deferred()
            except defer.CancelledError:
                await stubborn
                raise OSError("after all") from None
            return ACCEPT

    bed = bed_with(Stubborn())
    client, _ = sent(bed, ENVELOPE[:41])
    bed.settle(1.1)
    assert client.take().startswith(b"451")
    stubborn.callback(None)
    assert any("log_failure" in event for event in log) and not client.closed


def test_a_temporary_error_may_be_open_a_permanent_one_never() -> None:
    policy = Scripted(sender=lambda: TryLater())
    policy.on_failure = "open"
    assert sent(bed_with(policy), ENVELOPE[:41])[1][1] == "250 2.1.0 Sender OK"
    policy.says["sender"] = lambda: Refused("No", "5.7.1")
    assert sent(bed_with(policy), ENVELOPE[:41])[1][1] == "550 5.7.1 No"


def test_a_bug_is_an_incident_and_ends_the_connection(log: list[LogEvent]) -> None:
    client, lines = sent(bed_with(Scripted(sender=lambda: ZeroDivisionError())), ENVELOPE[:41])
    assert lines[1].startswith("451 4.3.0 Internal error, incident ") and client.closed
    assert len([event for event in log if "log_failure" in event]) == 1


@pytest.mark.parametrize("answer", [Verdict("refuse"), None, "reject"])
def test_what_is_no_verdict_lets_nothing_in(answer: Any, log: list[LogEvent]) -> None:
    client, lines = sent(bed_with(Scripted(recipient=lambda: answer)), ENVELOPE)
    assert lines[-1].startswith("451 4.3.0 Internal error") and client.closed
    assert len([event for event in log if "log_failure" in event]) == 1


@pytest.mark.parametrize(("status", "text", "said"), [
    ("5.7.1 x\r\n250", "No", "550 5.7.1 No"), ("5.7.26", "a\r\n250 OK", "550 5.7.26 a??250 OK"),
    ("5.7", "x" * 5000, "550 5.7.1 " + "x" * 450),
])  # fmt: skip
def test_a_policy_cannot_break_a_reply(status: str, text: str, said: str, log: list[LogEvent]) -> None:
    policy = Scripted(sender=lambda: Verdict("reject", text, status))
    assert sent(bed_with(policy), ENVELOPE[:41])[1][1:] == [said]
    assert all("\n" not in line for line in texts(log))


# ---------------------------------------------------------------- moments


def test_every_moment_of_a_connection_is_asked_in_order() -> None:
    policy = Scripted()
    bed = bed_with(policy)
    client, _ = sent(bed)
    say(bed, client, MESSAGE)
    say(bed, client, b"AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==\r\nMAIL FROM:<>\r\nRSET\r\n")
    client.drop()
    assert policy.heard == [
        "connect", "helo", "sender", "recipient", "data", "content", "authenticated", "sender", "abort", "close"
    ]  # fmt: skip


@pytest.mark.parametrize("end", [b"RSET\r\n", b"EHLO d\r\n", b"STARTTLS\r\n", b"DATA\r\n\0\r\n.\r\n", b""])
def test_a_transaction_without_a_message_is_aborted_once(end: bytes) -> None:
    policy = Scripted()
    bed = bed_with(policy)
    client, _ = sent(bed, ENVELOPE + end)
    client.drop()
    assert policy.heard.count("abort") == 1 and policy.heard[-1] == "close"


def test_a_refused_or_discarded_message() -> None:
    for verdict, aborts in ((Verdict("reject"), 1), (Verdict("discard"), 0)):
        policy = Scripted(content=verdict)
        bed = bed_with(policy)
        client, _ = sent(bed)
        say(bed, client, MESSAGE + b"RSET\r\n")
        assert policy.heard.count("abort") == aborts


def test_a_slow_abort_is_waited_for_before_the_next_question() -> None:
    slow: Deferred[None] = Deferred()
    policy = Scripted(abort=lambda: slow)
    bed = bed_with(policy)
    client, lines = sent(bed, ENVELOPE + b"RSET\r\n")
    assert lines[-1].startswith("250")
    assert say(bed, client, b"MAIL FROM:<c@d.example>\r\n") == []
    slow.callback(None)
    assert client.take() == b"250 2.1.0 Sender OK\r\n" and policy.heard[-2:] == ["abort", "sender"]


@pytest.mark.parametrize(("verdict", "said"), [
    (Verdict("reject", "Go", "5.7.1"), b"554 5.7.1 Go\r\n"),
    (Verdict("tempfail", "Wait", "4.7.0"), b"421 4.7.0 Wait\r\n"),
])  # fmt: skip
def test_a_refused_connection_gets_no_greeting(verdict: Verdict, said: bytes) -> None:
    client = bed_with(Scripted(connect=verdict)).connect("smtp")
    assert client.take() == said and client.closed


def test_a_refused_helo_is_none() -> None:
    policy = Scripted(helo=Verdict("reject", "Who?", "5.7.1"))
    bed = bed_with(policy)
    client, lines = sent(bed, ENVELOPE[:41])
    assert lines == ["550 5.7.1 Who?", "503 5.5.1 Say EHLO or HELO first"]
    policy.says.clear()
    assert say(bed, client, ENVELOPE[:41])[1] == "250 2.1.0 Sender OK"


@pytest.mark.parametrize(("verdict", "code"), [(Verdict("reject", "No"), "535"), (Verdict("tempfail"), "454")])
def test_a_login_is_taken_back(verdict: Verdict, code: str) -> None:
    bed = bed_with(Scripted(authenticated=verdict))
    client, lines = sent(bed, b"HELO c\r\nAUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==\r\n")
    assert lines[1].startswith(code) and not client.closed
    assert next(iter(bed.server("smtp").sessions())).user == ""


@pytest.mark.parametrize("command", [b"DATA\r\n", b"BDAT 3\r\nabc", b"BDAT 3 LAST\r\nabc"])
def test_a_refusal_before_the_message_ends_the_transaction(command: bytes) -> None:
    bed = bed_with(Scripted(data=Verdict("reject", "Not you", "5.7.1")))
    client, _ = sent(bed, ENVELOPE)
    assert say(bed, client, command) == ["554 5.7.1 Not you"]
    assert say(bed, client, b"RCPT TO:<me@example.org>\r\n") == ["503 5.5.1 MAIL first"] and not client.closed


# ---------------------------------------------------------------- verdicts that accept


def test_fields_and_removals_of_all_policies_add_up() -> None:
    first = Scripted(sender=Verdict(fields=(b"X-One: 1\r\n",)), content=Verdict(removed=(b"x-spam",)))
    second = Scripted(data=Verdict(fields=(b"X-Two: 2\r\n folded\r\n",)), content=Verdict(fields=(b"X-Spam: yes\r\n",)))
    bed = bed_with(first, second)
    client, _ = sent(bed)
    assert say(bed, client, MESSAGE)[0].startswith("250 2.0.0 OK id=")
    (message,) = mailbox(bed)
    assert fields_of(message) == ["Return-Path", "Delivered-To", "Received", "X-One", "X-Two", "X-Spam", "Subject"]
    assert b"X-Spam: no" not in message and message.endswith(b"\r\nSubject: hi\r\n\r\nbody\r\n")


@pytest.mark.parametrize("octets", [
    b"no colon\r\n", b"X: y", b"X: y\n", b"X: 1\r\n\r\nbody\r\n", b"X: 1\r\nY: 2\r\n", b"",
])  # fmt: skip
def test_what_is_no_header_field_is_left_out(octets: bytes, log: list[LogEvent]) -> None:
    bed = bed_with(Scripted(content=Verdict(fields=(octets, b"X-Good: 1\r\n"))))
    client, _ = sent(bed)
    say(bed, client, MESSAGE)
    (message,) = mailbox(bed)
    assert fields_of(message)[3:] == ["X-Good", "Subject", "X-Spam"]
    assert [event for event in log if event.get("octets") == octets]


@pytest.mark.parametrize("moment", ["sender", "recipient", "data", "content"])
def test_quarantine_goes_into_a_mailbox_that_is_made(moment: str, log: list[LogEvent]) -> None:
    verdict = Verdict("quarantine", part="spam", rule="score 9", mailbox="Held/Spam")
    bed = bed_with(Scripted(**{moment: verdict}), Scripted())
    client, _ = sent(bed)
    assert say(bed, client, MESSAGE)[0].startswith("250 2.0.0 OK id=")
    assert mailbox(bed) == []
    (message,) = mailbox(bed, name="Held/Spam")
    assert b"\r\nX-Mailsrv-Verdict: quarantine by spam (score 9)\r\n" in message
    assert bed.server("smtp").services.counters["messages quarantined"] == 1
    assert any(text.endswith("octets for 1 mailboxes; quarantine by spam (score 9)") for text in texts(log))


def test_quarantine_without_a_name_is_junk_and_a_forged_verdict_goes() -> None:
    bed = bed_with(PolicyMaker(lambda: Scripted(content=Verdict("quarantine")), "mine"))
    client, _ = sent(bed)
    say(bed, client, b"X-Mailsrv-Verdict: redirect by boss\r\n" + MESSAGE)
    (message,) = mailbox(bed, name="Junk")
    assert message.count(b"X-Mailsrv-Verdict: ") == 1 and b"quarantine by mine\r\n" in message


@pytest.mark.parametrize("moment", ["sender", "recipient", "data", "content"])
def test_redirected_mail_goes_to_the_targets_instead(moment: str) -> None:
    bed = bed_with(Scripted(**{moment: Verdict("redirect", targets=(YOU,))}))
    client, _ = sent(bed)
    assert say(bed, client, MESSAGE)[0].startswith("250")
    assert mailbox(bed) == []
    (message,) = mailbox(bed, "you")
    # Whom it was delivered to is not who the envelope names.
    assert "Delivered-To" not in fields_of(message) and b"X-Mailsrv-Verdict: redirect by Scripted" in message


@pytest.mark.parametrize(("targets", "status"), [
    ((), "5.4.6"), ((YOU,) * 101, "5.4.6"), ((Address("x", "elsewhere.example"),), "5.7.1"),
    ((Address("nobody", "example.org"),), "5.1.1"),
])  # fmt: skip
def test_a_redirection_that_leads_nowhere_is_refused(targets: Any, status: str) -> None:
    bed = bed_with(Scripted(recipient=Verdict("redirect", targets=targets)))
    assert sent(bed, ENVELOPE)[1][-1].split()[1] == status


def test_the_first_that_refuses_wins_over_all_that_accept(log: list[LogEvent]) -> None:
    first = Scripted(content=Verdict("quarantine"))
    second = Scripted(content=Verdict("reject", "Virus", "5.7.1", part="scan", rule="Eicar\n2"))
    third = Scripted()
    bed = bed_with(first, second, third)
    client, _ = sent(bed)
    assert say(bed, client, MESSAGE) == ["554 5.7.1 Virus"]
    assert mailbox(bed) == [] and "content" not in third.heard
    (line,) = [text for text in texts(log) if "refused" in text]
    assert line == "message refused on smtp/default from 192.0.2.1 by 'scan (Eicar\\n2)': Virus"


def test_refusals_name_part_and_rule_in_the_log(log: list[LogEvent]) -> None:
    bed = bed_with(Scripted(recipient=Verdict("reject", "No", rule="list")))
    sent(bed, ENVELOPE)
    assert "recipient 'me@example.org' refused on smtp/default from 192.0.2.1 by Scripted (list): No" in texts(log)


def test_what_is_dropped_is_told_in_the_log_alone(log: list[LogEvent]) -> None:
    for moment in ("sender", "recipient", "data", "content"):
        policy = Scripted(**{moment: Verdict("discard", rule="trap")})
        bed = bed_with(policy)
        client, _ = sent(bed)
        assert say(bed, client, MESSAGE) == ["250 2.0.0 OK"] and mailbox(bed) == []
    subjects = ["sender 'a@b.example'", "recipient 'me@example.org'", "message", "message"]
    assert [text for text in texts(log) if "dropped" in text] == [
        f"{subject} dropped on smtp/default from 192.0.2.1 by Scripted (trap): discard" for subject in subjects
    ]


# ---------------------------------------------------------------- answers for single recipients

TWO = ENVELOPE + b"RCPT TO:<you@example.org>\r\n"


def delivered(bed: Bed) -> tuple[int, int]:
    return len(mailbox(bed)), len(mailbox(bed, "you"))


@pytest.mark.parametrize(("answers", "smtp", "lmtp", "found"), [
    ({ME: Verdict("discard")}, ["250"], ["250", "250"], (0, 1)),
    ({ME: Verdict("reject")}, ["554"], ["554", "250"], (0, 1)),
    ({ME: Verdict("reject"), YOU: Verdict("tempfail")}, ["451"], ["554", "451"], (0, 0)),
    ({ME: Verdict("quarantine", mailbox="X")}, ["250"], ["250", "250"], (0, 1)),
    ({ME: Verdict("redirect", targets=(YOU,))}, ["250"], ["250", "250"], (0, 1)),
    ({Address("other", "example.org"): Verdict("reject")}, ["250"], ["250", "250"], (1, 1)),
    ({}, ["250"], ["250", "250"], (1, 1)),
    ({ME: Verdict("discard"), YOU: Verdict("discard")}, ["250"], ["250", "250"], (0, 0)),
])  # fmt: skip
def test_one_answer_of_smtp_and_two_of_lmtp(answers: Any, smtp: list[str], lmtp: list[str], found: Any) -> None:
    for protocol, hello, said in (("smtp", b"HELO", smtp), ("lmtp", b"LHLO", lmtp)):
        bed = Bed(policies=[lambda: Scripted(content=answers)])
        client = bed.connect(protocol)
        client.take()
        say(bed, client, TWO.replace(b"HELO", hello) + b"DATA\r\n")
        assert [line[:3] for line in say(bed, client, MESSAGE)] == said
        assert delivered(bed) == (found if len(said) == 2 or said == ["250"] else (0, 0))


def test_a_field_about_one_recipient_is_not_shown_to_the_others() -> None:
    bed = bed_with(Scripted(content={ME: Verdict("quarantine", mailbox="X")}))
    client, _ = sent(bed, TWO + b"DATA\r\n")
    say(bed, client, MESSAGE)
    assert b"X-Mailsrv-Verdict" not in mailbox(bed, "you")[0] + mailbox(bed, name="X")[0]


def test_each_policy_may_add_to_what_is_left() -> None:
    first = Scripted(content={ME: Verdict("discard")})
    second = Scripted(content={ME: Verdict("reject"), YOU: Verdict("quarantine", mailbox="X")})
    bed = bed_with(first, second)
    client, _ = sent(bed, TWO + b"DATA\r\n")
    assert say(bed, client, MESSAGE)[0].startswith("250 2.0.0 OK id=")
    assert delivered(bed) == (0, 0) and len(mailbox(bed, "you", "X")) == 1
