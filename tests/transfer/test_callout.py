"""Call-outs: the server that has the mailboxes is asked about a recipient (decisions 39)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_network import Network, address, server
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.auth.outbound import choose
from mailsrv.errors import TryLater, Unroutable
from mailsrv.net.client import Connector
from mailsrv.transfer.callout import AT_ONCE, BARE_NO, MEMORY, NO, REST, UNCLEAR, YES, Callout
from mailsrv.transfer.smtp_open import Opener
from mailsrv.values import Address, Hop
from tests.properties import tries

BOB = Address("bob", "branch.example")
HOPS = (Hop("mx.branch.example", ("192.0.2.25", "192.0.2.26"), tls="off"),)


class Asker:
    """A call-out on a network in memory."""

    def __init__(self, script: Callable[[bytes], bytes | None] = server(), **scripts: Any) -> None:
        self.network = Network()
        self.network.script = script
        self.connector = Connector(self.network, self.network.seconds, idle=15)
        opener = Opener(self.connector, lambda: "mx.example.org", choose, bytes, self.network.seconds)
        self.failure: Exception | None = None
        routes: Any = SimpleNamespace(hops=self.hops)
        self.callout = Callout(routes, opener, self.network, self.network.seconds)

    async def hops(self, destination: str) -> Any:
        if self.failure is not None:
            raise self.failure
        return SimpleNamespace(hops=HOPS, login=None)

    def takes(self, who: Address = BOB, seconds: float = 0.0) -> bool:
        found: bool = self.network.run(self.callout.takes(who), seconds)
        return found

    @property
    def questions(self) -> int:
        return len(self.network.made)


def test_the_question_is_asked_in_the_name_of_nobody_and_no_message_follows() -> None:
    asker = Asker()
    assert asker.takes()
    (wire,) = asker.network.wires
    assert wire.commands == [b"EHLO mx.example.org", b"MAIL FROM:<>", b"RCPT TO:<bob@branch.example>", b"QUIT"]
    asker.network.settle(1)
    assert not asker.network.live and len(asker.connector) == 0


@pytest.mark.parametrize("reply, taken", [
    (b"250 2.1.5 fine\r\n", True),
    (b"251 will forward\r\n", True),
    (b"550 5.1.1 nobody\r\n", False),
    (b"550 no such user\r\n", False),
    (b"550-5.2.1 she\r\n550 5.2.1 has left\r\n", False),
    (b"553 not a name\r\n", False),
    # It does not want us, or not now, or there is no room: that says nothing about the mailbox.
    (b"550 5.7.1 your address is on a list\r\n", True),
    (b"554 go away\r\n", True),
    (b"530 5.7.0 log in first\r\n", True),
    (b"552 5.2.2 full\r\n", True),
    (b"450 4.2.0 greylisted\r\n", True),
    (b"421 4.3.2 stopping\r\n", True),
    (b"354 what?\r\n", True),
    (b"\xff\xff\xff\r\n", True),
    (None, True),
])
def test_only_what_is_about_the_mailbox_is_a_no(reply: bytes | None, taken: bool) -> None:
    assert Asker(server(rcpt=reply)).takes(seconds=1) is taken


@pytest.mark.parametrize("answers", [
    {"greeting": b"554 no\r\n"}, {"greeting": None}, {"ehlo": b"550 no\r\n", "helo": b"550 no\r\n"},
    {"mail": b"550 5.7.1 no reports here\r\n"}, {"mail": b"451 later\r\n"}, {"mail": None},
])
def test_a_server_that_does_not_come_to_the_question_refuses_nobody(answers: dict[str, bytes | None]) -> None:
    assert Asker(server(**answers)).takes(seconds=1)


def test_answers_are_remembered_a_no_for_a_shorter_time() -> None:
    asker = Asker()
    assert asker.takes() and asker.takes() and asker.questions == 1
    asker.network.settle(YES)
    asker.network.script = server(rcpt=b"550 5.1.1 nobody\r\n")
    assert not asker.takes() and not asker.takes() and asker.questions == 2
    asker.network.settle(NO)
    asker.network.script = server()
    assert asker.takes() and asker.questions == 3


def test_a_no_without_a_status_is_believed_for_a_minute() -> None:
    asker = Asker(server(rcpt=b"550 you are not welcome\r\n"))
    assert not asker.takes() and not asker.takes() and asker.questions == 1
    asker.network.settle(BARE_NO)
    asker.network.script = server()
    assert asker.takes() and asker.questions == 2


def test_an_answer_that_is_none_is_remembered_too_so_that_not_each_recipient_makes_a_connection() -> None:
    asker = Asker(server(rcpt=b"450 4.2.0 greylisted\r\n"))
    assert asker.takes() and asker.takes() and asker.questions == 1
    # Of another nothing is known.
    assert asker.takes(address("eve@branch.example")) and asker.questions == 2
    asker.network.settle(UNCLEAR)
    asker.network.script = server(rcpt=b"550 5.1.1 nobody\r\n")
    assert not asker.takes() and asker.questions == 3


def test_a_server_that_wants_no_question_is_left_alone_for_a_while() -> None:
    asker = Asker(server(mail=b"550 5.7.1 no\r\n"))
    assert asker.takes() and asker.takes(address("eve@branch.example")) and asker.questions == 1
    asker.network.settle(REST)
    assert asker.takes() and asker.questions == 2


@pytest.mark.parametrize("script", [
    server(rcpt=b"450 4.2.0 grey\x1b[7mlisted\r\n"), server(mail=b"451 later\r\n"), server(greeting=b"421 no\r\n"),
])  # fmt: skip
def test_the_log_has_one_line_for_a_domain_and_its_rest(script: Any) -> None:
    lines: list[str] = []

    def keep(event: LogEvent) -> None:
        if event.get("log_namespace") == "mailsrv.transfer.callout":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(keep)
    try:
        asker = Asker(script)
        for number in range(5):
            asker.takes(address(f"u{number}@branch.example"))
        assert len(lines) == 1 and "recipients of branch.example cannot be asked about: " in lines[0]
        assert "\x1b" not in lines[0]
        asker.network.settle(REST)
        asker.takes()
        assert len(lines) == 2
    finally:
        globalLogPublisher.removeObserver(keep)


def test_the_next_address_is_asked_and_who_cannot_be_reached_is_left_alone_for_a_while() -> None:
    asker = Asker(server(rcpt=b"550 5.1.1 nobody\r\n"))
    asker.network.refuse = {"192.0.2.25"}
    assert not asker.takes() and asker.network.wires[0].address == "192.0.2.26"
    asker.network.refuse.add("192.0.2.26")
    asker.network.settle(NO)
    assert asker.takes() and asker.takes(address("eve@branch.example"))
    before = asker.questions
    asker.network.refuse.clear()
    # Nobody waits for a dead server at each recipient.
    assert asker.takes() and asker.questions == before
    asker.network.settle(REST)
    assert not asker.takes()


@pytest.mark.parametrize("failure", [TryLater(), Unroutable()])
def test_a_domain_without_a_way_refuses_nobody(failure: Exception) -> None:
    asker = Asker()
    asker.failure = failure
    assert asker.takes() and asker.questions == 0


def test_a_server_that_is_silent_is_waited_for_no_longer_than_a_client_waits() -> None:
    asker = Asker(lambda line: b"")
    assert asker.takes(seconds=25)
    asker.network.settle(60)
    assert not asker.network.live


def test_an_address_that_cannot_be_written_or_carried_is_no_question_and_keeps_no_other_from_one() -> None:
    asker = Asker(server(rcpt=b"550 5.1.1 nobody\r\n"))
    assert asker.takes(Address("a\r\nDATA", "branch.example")) and asker.takes(Address("bücher", "branch.example"))
    assert not any(line.startswith(b"RCPT") for wire in asker.network.wires for line in wire.commands)
    assert not asker.takes()


def test_questions_at_a_time_are_bounded() -> None:
    asker = Asker(lambda line: b"")
    waiting = [asker.network.start(asker.callout.takes(Address(f"u{n}", "branch.example"))) for n in range(AT_ONCE)]
    with pytest.raises(TryLater):
        asker.takes(Address("more", "branch.example"))
    assert asker.network.start(asker.callout.takes(Address("x", "other.example"))) == []
    for _ in range(30):
        asker.network.settle(1)
    assert waiting == [[True]] * AT_ONCE
    # They have ended: there is room again.
    asker.network.settle(REST)
    asker.network.script = server()
    assert asker.takes()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker()
    for number in range(MEMORY + 5):
        asker.callout._remember(Address(f"u{number}", "branch.example"), True, YES)
    assert len(asker.callout._known) == MEMORY
    for number in range(MEMORY + 5):
        asker.callout._rest(f"d{number}.example")
    asker.network.settle(REST)
    asker.callout._rest("last.example")
    assert len(asker.callout._resting) == 1


def test_who_is_not_waited_for_any_more_leaves_nothing_behind() -> None:
    asker = Asker(lambda line: b"")
    done: list[Any] = []
    work = Deferred.fromCoroutine(asker.callout.takes(BOB))
    work.addBoth(done.append)
    asker.network.settle()
    work.cancel()
    asker.network.settle(1)
    assert done and not asker.network.live


REPLY = st.one_of(
    st.binary(max_size=40), st.just(None),
    st.builds(lambda code, text: b"%d %b\r\n" % (code, text), st.integers(200, 599), st.binary(max_size=20)),
    st.sampled_from([b"220 hi\r\n", b"250 ok\r\n", b"250-a\r\n250 SMTPUTF8\r\n", b"550 5.1.1 no\r\n"]),
)


@given(st.lists(REPLY, max_size=6), st.text(min_size=1, max_size=8))
@settings(max_examples=tries(60), deadline=None)
def test_whatever_a_server_says_there_is_an_answer_and_no_connection_is_left(
    replies: list[bytes | None], local: str
) -> None:
    left = list(replies)
    asker = Asker(lambda line: left.pop(0) if left else b"")
    taken = asker.takes(Address(local, "branch.example"), seconds=60)
    # Who says no has said a refusal.
    assert taken or any(one is not None and one.startswith(b"5") for one in replies)
    for _ in range(40):
        asker.network.settle(1)
    assert not asker.network.live and not asker.callout._asking
