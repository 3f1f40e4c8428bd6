"""SMTP sessions: policies that take their time, what they may answer, and what is forgotten when (RFC 5321)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface import implementer

from mailsrv.errors import Refused, StoreFull, StoreUnavailable, TryLater
from mailsrv.host.leaving import GRACE
from mailsrv.interfaces import IContent, IMessagePolicy
from mailsrv.serve import smtp_replies
from mailsrv.testing.bed import Bed
from mailsrv.testing.conversation import Conversation
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import ACCEPT, Address, Recipient, Transaction, Verdict

MESSAGE = b"Subject: hi\r\n\r\nbody\r\n"


@implementer(IMessagePolicy)
class Scripted:
    """Answers what a test says: a Verdict, an error to raise, or a Deferred of either."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def _answer(self, what: str, about: object) -> Verdict:
        self.asked.append(f"{what} {about}")
        answer = self.answers.get(what, ACCEPT)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Verdict)
        return answer

    async def on_sender(self, transaction: Transaction) -> Verdict:
        return await self._answer("sender", transaction.reverse_path)

    async def on_recipient(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        return await self._answer("recipient", recipient.address)

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict:
        return await self._answer("content", content.size)


@pytest.fixture
def failures() -> Any:
    """Incidents: nothing that a client or a policy does here may be one."""
    found: list[Any] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            found.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)
    assert not found


def bed_with(*policies: Scripted, **limits: Any) -> Bed:
    """A bed whose SMTP sessions ask these policies."""
    bed = Bed(policies=[lambda policy=policy: policy for policy in policies])
    bed.limit(**limits)
    return bed


def stored(bed: Bed, local: str = "me") -> list[bytes]:
    """The messages in an INBOX."""

    async def read() -> list[bytes]:
        account = await bed.store.account(bed.accounts[local])
        mailbox = await account.open("INBOX")
        contents = await mailbox.contents(list(mailbox.columns().uids))
        return [await content.read(0, content.size) for content in contents]

    messages: list[bytes] = bed.loop.run(read())
    return messages


def say(client: MemoryTransport, bed: Bed, octets: bytes) -> list[str]:
    """The lines that answer these octets."""
    client.send(octets)
    bed.settle()
    return client.take().decode("ascii").splitlines()


def codes(lines: list[str]) -> list[str]:
    return [line[:3] for line in lines]


def greeted(bed: Bed) -> MemoryTransport:
    client = bed.connect("smtp")
    client.take()
    assert say(client, bed, b"HELO c.example\r\n") == ["250 mx.example.org"]
    return client


GROUP = (
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
    b"RCPT TO:<you@example.org>\r\nDATA\r\n"
)


# ---------------------------------------------------------------- RFC 2920: order, however slow the answers


def test_rfc_2920_answers_of_slow_policies_come_in_strict_order(failures: list[Any]) -> None:
    waits: list[Deferred[Verdict]] = []

    def later() -> Deferred[Verdict]:
        waits.append(Deferred())
        return waits[-1]

    policy = Scripted(sender=later, recipient=later, content=later)
    bed = bed_with(policy)
    client = greeted(bed)
    client.send(GROUP)
    # One question at a time: the next is asked when the last was answered, and nothing is said before.
    seen: list[list[str]] = []
    for count in range(1, 5):
        bed.settle()
        assert len(waits) == count
        waits[-1].callback(ACCEPT)
        bed.settle()
        seen.append(client.take().decode().splitlines())
    assert [codes(lines) for lines in seen] == [["250"], ["250"], ["550"], ["250", "354"]]
    client.send(MESSAGE + b".\r\nNOOP\r\nMAIL FROM:<c@d.example>\r\nQUIT\r\n")
    bed.settle()
    assert client.take() == b"" and stored(bed) == []
    waits[-1].callback(ACCEPT)
    bed.settle()
    assert codes(client.take().decode().splitlines()) == ["250", "250"]
    waits[-1].callback(Verdict("tempfail", "Not now", "4.7.1"))
    bed.settle()
    assert client.take() == b"451 4.7.1 Not now\r\n221 2.0.0 Goodbye\r\n"
    assert [asked.split()[0] for asked in policy.asked] == ["sender"] + ["recipient"] * 3 + ["content", "sender"]
    assert len(stored(bed)) == len(stored(bed, "you")) == 1


def test_rfc_2920_answered_out_of_turn_by_two_policies(failures: list[Any]) -> None:
    slow: Deferred[Verdict] = Deferred()
    first, second = Scripted(sender=lambda: slow), Scripted()
    bed = bed_with(first, second)
    client = greeted(bed)
    assert say(client, bed, b"MAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\nRSET\r\n") == []
    assert second.asked == []
    slow.callback(ACCEPT)
    bed.settle()
    assert codes(client.take().decode().splitlines()) == ["250", "250", "250"]


def test_a_client_that_leaves_while_a_policy_thinks_leaves_nothing(failures: list[Any]) -> None:
    slow: Deferred[Verdict] = Deferred()
    bed = bed_with(Scripted(content=lambda: slow))
    client = greeted(bed)
    say(client, bed, GROUP + b"")
    client.send(MESSAGE + b".\r\nMAIL FROM:<a@b.example>\r\n")
    client.drop()
    assert len(bed.server("smtp").sessions()) == 1
    slow.callback(Verdict("reject"))
    bed.settle()
    assert bed.server("smtp").sessions() == [] and stored(bed) == []


def test_a_message_that_was_complete_is_kept_though_its_sender_has_left(failures: list[Any]) -> None:
    slow: Deferred[Verdict] = Deferred()
    bed = bed_with(Scripted(content=lambda: slow))
    client = greeted(bed)
    say(client, bed, GROUP)
    client.send(MESSAGE + b".\r\n")
    client.drop()
    slow.callback(ACCEPT)
    bed.settle()
    assert len(stored(bed)) == 1


# ---------------------------------------------------------------- what policies may answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Verdict("reject"), "550 5.7.1 Refused by policy"),
        (Verdict("reject", "No", "5.7.23"), "550 5.7.23 No"),
        (Verdict("tempfail"), "451 4.7.1 Try again later"),
        # RFC 2034 section 4: the class is the first digit of the code, whatever a policy says.
        (Verdict("reject", "No", "4.7.1"), "550 5.7.1 No"),
        (Verdict("tempfail", "No", "5.7.1"), "451 4.7.1 No"),
        (TryLater(), "451 4.3.0 Temporary failure, try again later"),
        (StoreUnavailable(), "451 4.3.0 Mail store temporarily unavailable"),
        (Refused("Go away", "5.7.1"), "550 5.7.1 Go away"),
    ],
)
def test_a_refused_sender_leaves_no_transaction(answer: Any, said: str, failures: list[Any]) -> None:
    policy = Scripted(sender=lambda: answer)
    bed = bed_with(policy)
    client = greeted(bed)
    assert say(client, bed, b"MAIL FROM:<a@b.example>\r\n") == [said]
    assert say(client, bed, b"RCPT TO:<me@example.org>\r\n") == ["503 5.5.1 MAIL first"]
    policy.answers.clear()
    assert codes(say(client, bed, b"MAIL FROM:<a@b.example>\r\n")) == ["250"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Verdict("reject", "Spam", "5.7.1"), "554 5.7.1 Spam"),
        (Verdict("tempfail", "Busy", "4.3.2"), "451 4.3.2 Busy"),
        (Verdict("discard"), "250 2.0.0 OK"),
        (TryLater(), "451 4.3.0 Temporary failure, try again later"),
        (Refused("Go away", "5.7.1"), "554 5.7.1 Go away"),
    ],
)
def test_refused_and_discarded_content_goes_nowhere(answer: Any, said: str, failures: list[Any]) -> None:
    bed = bed_with(Scripted(content=lambda: answer))
    client = greeted(bed)
    say(client, bed, GROUP)
    assert say(client, bed, MESSAGE + b".\r\n") == [said]
    assert stored(bed) == stored(bed, "you") == []
    assert say(client, bed, b"RCPT TO:<me@example.org>\r\n") == ["503 5.5.1 MAIL first"]


@pytest.mark.parametrize("what", ["sender", "recipient"])
def test_discarded_in_the_envelope_is_accepted_and_goes_nowhere(what: str, failures: list[Any]) -> None:
    bed = bed_with(Scripted(**{what: lambda: Verdict("discard")}))
    client = greeted(bed)
    assert codes(say(client, bed, b"MAIL FROM:<>\r\nRCPT TO:<me@example.org>\r\nDATA\r\n")) == ["250", "250", "354"]
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250"]
    assert stored(bed) == [] and bed.server("smtp").services.counters["messages discarded"] == 1


def test_one_discarded_recipient_does_not_take_the_message_from_the_others(failures: list[Any]) -> None:
    answers = iter([Verdict("discard"), ACCEPT])
    bed = bed_with(Scripted(recipient=lambda: next(answers)))
    client = greeted(bed)
    said = say(client, bed, b"MAIL FROM:<>\r\nRCPT TO:<me@example.org>\r\nRCPT TO:<you@example.org>\r\nDATA\r\n")
    assert codes(said) == ["250", "250", "250", "354"]
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250"]
    assert stored(bed) == [] and len(stored(bed, "you")) == 1


def test_header_fields_of_policies_stand_above_the_message_in_order(failures: list[Any]) -> None:
    first = Scripted(
        sender=lambda: Verdict(fields=(b"Received-SPF: pass\r\n",)),
        content=lambda: Verdict(fields=(b"X-First: 1\r\n",)),
    )
    second = Scripted(content=lambda: Verdict(fields=(b"X-Second: 2\r\n", b"X-Third: 3\r\n")))
    bed = bed_with(first, second)
    client = greeted(bed)
    say(client, bed, GROUP)
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250"]
    (message,) = stored(bed)
    header = message.partition(b"\r\n\r\n")[0].split(b"\r\n")
    fields = [line.partition(b":")[0] for line in header if line[:1] not in b" \t"]
    assert fields == [b"Return-Path", b"Received", b"Received-SPF", b"X-First", b"X-Second", b"X-Third", b"Subject"]
    # The fields of one message are not put above the next.
    first.answers.clear()
    say(client, bed, GROUP)
    say(client, bed, MESSAGE + b".\r\n")
    assert stored(bed)[1].count(b"Received-SPF") == 0


def test_a_policy_whose_own_connection_breaks_is_logged_and_the_client_stays() -> None:
    """It is not the client that is gone."""
    incidents: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            incidents.append(event)

    bed = bed_with(Scripted(sender=lambda: ConnectionResetError("the filter is gone")))
    client = greeted(bed)
    globalLogPublisher.addObserver(observe)
    try:
        (line,) = say(client, bed, b"MAIL FROM:<a@b.example>\r\n")
    finally:
        globalLogPublisher.removeObserver(observe)
    assert line == "451 4.3.0 Temporary failure, try again later" and len(incidents) == 1 and not client.closed


# ---------------------------------------------------------------- state


def test_rfc_3207_4_2_a_login_before_starttls_is_forgotten(failures: list[Any]) -> None:
    Conversation().play(
        """
@connect smtp
S: 220 {any}
C: HELO c.example
S: 250 {any}
C: AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==
S: 235 {any}
C: STARTTLS
S: 220 {any}
C: HELO c.example
S: 250 {any}
C: MAIL FROM:<a@b.example>
S: 250 {any}
C: RCPT TO:<x@elsewhere.example>
S: 550 5.7.1 Relay access denied
C: RSET
S: 250 {any}
C: AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==
S: 235 {any}
"""
    )


def test_nothing_is_said_after_the_last_words() -> None:
    """A stopping server dismisses a client whose message is not yet durable: 421 is the answer, no 250 follows."""
    slow: Deferred[Verdict] = Deferred()
    bed = bed_with(Scripted(content=lambda: slow))
    client = greeted(bed)
    say(client, bed, GROUP)
    assert say(client, bed, MESSAGE + b".\r\n") == []
    written: list[bytes] = []
    client.write = written.append  # type: ignore[method-assign]
    client.loseConnection = lambda: None  # type: ignore[method-assign]
    bed.server("smtp").stop()
    bed.settle(3)
    slow.callback(ACCEPT)
    bed.settle()
    assert written == [b"421 4.3.2 Service is stopping\r\n"]
    client.drop()


def test_temporary_refusals_are_not_the_clients_mistakes(failures: list[Any]) -> None:
    bed = bed_with(Scripted(recipient=lambda: Verdict("tempfail", "Greylisted", "4.7.1")), bad_commands=3)
    client = greeted(bed)
    said = say(client, bed, b"MAIL FROM:<>\r\n" + b"RCPT TO:<me@example.org>\r\n" * 5)
    assert codes(said) == ["250"] + ["451"] * 5 and not client.closed


def test_a_client_that_reads_nothing_is_not_answered_without_bound() -> None:
    bed = Bed()
    bed.limit(idle_commands=10_000)
    client = bed.connect("smtp", window=10_000)
    client.take()
    client.send(b"EHLO c.example\r\n" * 4000)
    bed.settle()
    assert len(client.output) < 10_000 + 32 * 300
    for _ in range(1000):
        if not client.take():
            break
        bed.settle()
    assert say(client, bed, b"NOOP\r\n") == ["250 2.0.0 OK"]


def test_every_answer_of_a_reply_table_has_a_status_of_its_class() -> None:
    """RFC 2034 section 4; RFC 5321: 220, 354 and 334 have none, nor have answers to EHLO."""
    for name, octets in vars(smtp_replies).items():
        if isinstance(octets, bytes) and name not in ("START_INPUT",):
            code, status = octets.split()[:2]
            assert status[:1] == code[:1] and status.count(b".") == 2, name


def test_same_recipient_twice_and_by_an_alias_gets_one_copy(failures: list[Any]) -> None:
    bed = Bed()
    bed.loop.run(bed.store.directory.add_alias(Address("all", "example.org"), (Address("me", "example.org"),)))
    client = greeted(bed)
    group = b"MAIL FROM:<>\r\n" + b"".join(
        b"RCPT TO:<%s@example.org>\r\n" % name for name in (b"me", b"ME", b"all", b"me")
    )
    assert codes(say(client, bed, group + b"DATA\r\n")) == ["250"] * 5 + ["354"]
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250"]
    assert len(stored(bed)) == 1


def test_the_postmaster_without_a_domain_is_always_ours(failures: list[Any]) -> None:
    bed = Bed()
    bed.loop.run(bed.store.directory.add_alias(Address("postmaster", "example.org"), (Address("me", "example.org"),)))
    client = greeted(bed)
    assert codes(say(client, bed, b"MAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n")) == ["250", "250", "354"]
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250"]
    assert len(stored(bed)) == 1 and stored(bed)[0].startswith(b"Return-Path: <>\r\n")


# ---------------------------------------------------------------- what the message is kept in


def test_a_store_without_room_is_452_and_the_next_message_is_taken(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    for error, said in ((StoreFull(), "452 4.3.1"), (StoreUnavailable(), "451 4.3.0"), (None, "250 2.0.0")):
        bed.store.fail_with(error)
        assert codes(say(client, bed, GROUP)) == ["250", "250", "550", "250", "354"]
        (line,) = say(client, bed, MESSAGE + b".\r\n")
        assert line.startswith(said)
    assert len(stored(bed)) == 1


def test_no_room_for_the_spool_is_452_after_the_whole_message(failures: list[Any], tmp_path: Path) -> None:
    bed = Bed(spool_folder=str(tmp_path / "nowhere"))
    bed.limit(memory_octets=100)
    client = greeted(bed)
    say(client, bed, GROUP)
    for _ in range(3):
        assert say(client, bed, b"MAIL FROM:<evil@b.example>\r\n" * 10) == []
    assert say(client, bed, b".\r\n") == ["452 4.3.1 Insufficient system storage"]
    say(client, bed, GROUP)
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250"]


@pytest.mark.parametrize("end", ["vanishes", "is too big", "is refused", "is delivered", "is stopped"])
def test_no_spool_file_outlasts_its_message(end: str, failures: list[Any], tmp_path: Path) -> None:
    bed = Bed(spool_folder=str(tmp_path))
    bed.limit(memory_octets=100, message_octets=5000)
    client = greeted(bed)
    say(client, bed, GROUP)
    before = len(os.listdir("/proc/self/fd"))
    say(client, bed, b"x" * 60 + b"\r\n" + b"y" * 60 + b"\r\n")
    assert len(os.listdir("/proc/self/fd")) == before + 1 and os.listdir(tmp_path) == []
    if end == "vanishes":
        client.drop()
    elif end == "is stopped":
        bed.server("smtp").stop()
        # What is under way may come to its end for so long.
        bed.settle(GRACE + 1)
    else:
        rest = {"is too big": b"z" * 70 + b"\r\n", "is refused": b"\0\r\n", "is delivered": b"z\r\n"}[end]
        said = say(client, bed, rest * (100 if end == "is too big" else 1) + b".\r\n")
        assert codes(said) == [{"is too big": "552", "is refused": "550", "is delivered": "250"}[end]]
    bed.settle()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_authorizer_that_cannot_tell_is_no_wrong_password(failures: list[Any]) -> None:
    class Unsure:
        async def permits(self, identity: Any, action: str, resource: str) -> Verdict:
            return Verdict("tempfail")

    bed = Bed(authorizer=Unsure())
    client = greeted(bed)
    (line,) = say(client, bed, b"AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==\r\n")
    assert line.startswith("454 4.7.0")


@pytest.mark.parametrize("header", [b"Received: x\r\n" * 11, b"A: b\r\n" * 40, b"A: " + b"b" * 900 + b"\r\n"])
def test_rfc_5321_6_3_a_message_that_is_refused_for_its_header_is_counted(header: bytes, failures: list[Any]) -> None:
    bed = bed_with(hops=10, header_fields=30, header_octets=500)
    client = greeted(bed)
    say(client, bed, GROUP)
    said = say(client, bed, header + MESSAGE + b".\r\n")
    assert said[0][0] == "5" and len(said) == 1 and stored(bed) == []
    assert bed.server("smtp").services.counters["messages refused"] == 1
