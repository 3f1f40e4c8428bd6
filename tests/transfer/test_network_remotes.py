"""Servers that refuse, fall silent, hang up, and answer nonsense at every step: what the queue says, and that each
message arrives once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mail_network import HOUR, MINUTE, TEXT, MailNetwork, delivery, fields, server

from mailsrv.transfer.smtp_open import BROKEN

Make = Callable[..., MailNetwork]
EHLO = b"250-mx.one.test\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
GOOD: dict[str, bytes | None] = {"ehlo": EHLO, "starttls": b"220 go\r\n"}
STAGES = ("greeting", "ehlo", "starttls", "mail", "rcpt", "data", "dot")
#: Where in a dialogue, as the queue says it.
WHEN = {
    "greeting": "before its greeting", "ehlo": "after EHLO", "starttls": "after STARTTLS", "mail": "after MAIL",
    "rcpt": "after RCPT", "data": "after DATA", "dot": "after the message",
}  # fmt: skip
LATE, GONE = "The server did not answer in time", "The server closed the connection"
STRANGE = "The server does not speak SMTP as it should"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[MailNetwork] = []

    def network(settings: str | None = None, **keys: Any) -> MailNetwork:
        made.append(MailNetwork(tmp_path, delivery(**keys) if settings is None else settings))
        made[0].remote("192.0.2.1", **GOOD)
        return made[0]

    yield network
    made[0].close()


def mended(net: MailNetwork, seconds: float = 11 * MINUTE) -> None:
    """From now on the server is a good one."""
    net.remote("192.0.2.1", **GOOD)
    net.faults.clear()
    net.refuse.clear()
    net.until(net.now + seconds)


# ---------------------------------------------------------------- at every step


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, GONE), (b"", LATE), (b"\x00\xff what?\r\n", f"{STRANGE}: no reply code"),
        (b"250-more\r\n" * 200, f"{STRANGE}: too many lines"),
        (b"250 " + b"x" * 5000 + b"\r\n", f"{STRANGE}: a line too long"),
        (b"250-a\r\n550 b\r\n", f"{STRANGE}: two codes in one reply"),
    ],
    ids=["drops", "stalls", "garbage", "endless", "long line", "two codes"],
)  # fmt: skip
def test_a_server_that_fails_without_words_is_waited_for_and_the_queue_says_when(
    make: Make, stage: str, answer: bytes | None, words: str
) -> None:
    net = make()
    net.remote("192.0.2.1", **{**GOOD, stage: answer})
    net.put()
    net.until(10 * MINUTE - 1 if answer else 10 * MINUTE + 5)
    if stage == "starttls":
        # QUIRK of middle boxes: there is a way without TLS.
        assert not net.rows() and len(net.taken()) == 1 and len(net.ports) == 2
        return
    row = net.row()
    assert row.reply.endswith(f"{words} {WHEN[stage]}") and row.reply.startswith("mx.one.test"), row.reply
    assert net.reports() == []
    # It may have taken the message: who says 250 and goes on talking, and who never ends the line, has.
    before = len(net.taken())
    mended(net)
    assert not net.rows() and len(net.taken()) == before + 1 and net.reports() == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("answer", [b"451 4.3.2 Not now\r\n", b"421 4.3.2 Not now\r\n"])
def test_a_server_that_will_not_now_is_asked_again_after_the_interval(make: Make, stage: str, answer: bytes) -> None:
    net = make()
    net.remote("192.0.2.1", **{**GOOD, stage: answer})
    net.put()
    net.until(10 * MINUTE - 1)
    if stage == "starttls" and answer.startswith(b"451"):
        assert len(net.taken()) == 1 and not net.rows()
        return
    assert net.row().reply.endswith(": " + answer[:-2].decode()) and net.row().attempts == 1
    mended(net)
    assert len(net.taken()) == 1 and not net.rows() and not net.reports()


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
def test_a_refusal_for_good_is_reported_at_once_in_the_servers_words(make: Make, stage: str) -> None:
    net = make()
    net.remote("192.0.2.1", **{**GOOD, stage: b"554-5.7.1 Never\r\n554 5.7.1 in your life\r\n"})
    net.put()
    net.until(0)
    (report,) = net.reports()
    told = fields(report)
    assert (told["Action"], told["Status"]) == ("failed", "5.7.1")
    assert told["Diagnostic-Code"] == "smtp; 554 5.7.1 Never in your life"
    assert told["Remote-MTA"] == "dns; mx.one.test" and not net.rows() and not net.taken()


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "starttls"])
def test_before_mail_a_refusal_is_that_servers_alone_rfc7504(make: Make, stage: str) -> None:
    net = make()
    answers = {**GOOD, stage: b"554 5.7.1 Never\r\n", "helo": b"554 5.7.1 Never\r\n"}
    net.remote("192.0.2.21", **answers)
    net.put("me@two.test")
    net.until(0)
    took = "192.0.2.21" if stage == "starttls" else "192.0.2.22"
    assert len(net.taken(took)) == 1 and not net.rows() and not net.reports()


@pytest.mark.parametrize("answer", [None, b"", b"250 nonsense\r\n" * 3, b"451 no\r\n"])
def test_how_a_server_takes_leave_is_nothing_to_the_message(make: Make, answer: bytes | None) -> None:
    net = make()
    net.remote("192.0.2.1", **{**GOOD, "quit": answer})
    net.put()
    net.until(HOUR)
    assert len(net.taken()) == 1 and not net.rows() and len(net.ports) == 1
    assert all(wire.closed for wire in net.made)


@pytest.mark.parametrize(
    ("stage", "answer", "words"),
    [
        ("greeting", b"250 hello\r\n", "unexpected 250 hello"), ("ehlo", b"354 go\r\n", "unexpected 354 go"),
        ("mail", b"354 go\r\n", "unexpected 354 go"), ("rcpt", b"220 hello\r\n250 ok\r\n", "unexpected 250 ok"),
        ("data", b"250 ok\r\n", "unexpected 250 ok"), ("dot", b"354 go\r\n", "unexpected 354 go"),
        ("mail", b"250 ok\r\n250 ok\r\n", "unexpected 250 ok"),
    ],
)  # fmt: skip
def test_a_reply_that_makes_no_sense_there_is_neither_yes_nor_no(
    make: Make, stage: str, answer: bytes, words: str
) -> None:
    net = make()
    net.remote("192.0.2.1", **{**GOOD, stage: answer})
    net.put()
    net.until(MINUTE)
    assert net.row().reply.endswith(f"{STRANGE}: {words}") and not net.taken()
    # Nothing of the message was said to a server that does not wait for one.
    assert stage == "dot" or all(b"how are you" not in wire.said for wire in net.made)
    mended(net)
    assert len(net.taken()) == 1 and not net.rows()


@pytest.mark.parametrize("stage", [*STAGES, "quit"])
def test_a_server_that_ends_its_replies_with_lf_alone_is_understood(make: Make, stage: str) -> None:
    net = make()
    answer = {**GOOD, "greeting": b"220-mx\n220 mx\n", "data": b"354 go\n"}.get(stage, b"250-ok\n250 ok\n")
    assert answer is not None
    net.remote("192.0.2.1", **{**GOOD, stage: answer.replace(b"\r\n", b"\n")})
    net.put()
    net.until(HOUR)
    assert len(net.taken()) == 1 and not net.rows()


# ---------------------------------------------------------------- below SMTP


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("stall at connect", "Cannot connect: no answer within 30 seconds"),
        ("stall in the message", f"{LATE} in the middle of the message"),
        ("drop in the message", f"{GONE} in the middle of the message"),
    ],
)  # fmt: skip
def test_a_connection_that_fails_is_made_again_at_the_next_attempt(make: Make, fault: str, words: str) -> None:
    net = make()
    net.faults["192.0.2.1"] = fault
    net.put(octets=TEXT + b"x" * 70 + b"\r\n" * 100_000)
    net.until(10 * MINUTE - 1)
    assert net.row().reply.endswith(words) and net.row().attempts == 1, net.row().reply
    mended(net, 20 * MINUTE)
    assert len(net.taken()) == 1 and not net.rows() and not net.reports()


def test_nobody_listens_at_any_address(make: Make) -> None:
    net = make()
    net.refuse = {"192.0.2.21", "192.0.2.22"}
    net.put("me@two.test")
    net.until(MINUTE)
    assert net.row().reply.startswith("b.two.test [192.0.2.22]: Cannot connect: ")
    net.refuse = set()
    net.until(11 * MINUTE)
    assert len(net.taken("192.0.2.21")) == 1 and not net.rows()


def test_after_the_dot_no_other_server_gets_it_until_the_next_attempt(make: Make) -> None:
    net = make()
    net.remote("192.0.2.21", dot=None)
    net.put("me@two.test")
    net.until(10 * MINUTE - 1)
    assert not net.taken("192.0.2.22") and net.row().reply == f"a.two.test: {GONE} after the message"
    net.remote("192.0.2.21", greeting=None)
    net.until(11 * MINUTE)
    assert len(net.taken("192.0.2.22")) == 1


def test_recipients_have_each_their_own_fate_and_nobody_gets_it_twice(make: Make) -> None:
    net = make()
    good, answers = server(**GOOD), {b"b": b"450 4.2.1 later\r\n", b"c": b"550 5.1.1 nobody\r\n", b"d": None}

    def script(line: bytes) -> bytes | None:
        return answers.get(line[9:10], b"250 ok\r\n") if line.startswith(b"RCPT") else good(line)

    net.remote("192.0.2.1", script)
    net.put("a@one.test", "b@one.test", "c@one.test")
    net.until(MINUTE)
    assert [one.recipients for one in net.taken()] == [[b"a@one.test"]]
    assert [str(one.address) for one in net.row().recipients] == ["b@one.test"]
    assert [fields(one)["Final-Recipient"] for one in net.reports()] == ["rfc822; c@one.test"]
    mended(net)
    assert [one.recipients for one in net.taken()] == [[b"a@one.test"], [b"b@one.test"]]
    assert not net.rows() and len(net.reports()) == 1


def test_a_greylisting_server_gets_the_message_at_the_second_attempt(make: Make) -> None:
    net = make()
    seen: dict[bytes, float] = {}
    good = server(**GOOD)

    def script(line: bytes) -> bytes | None:
        if line.startswith(b"RCPT") and net.now - seen.setdefault(line, net.now) < 5 * MINUTE:
            return b"450 4.7.1 Greylisted, come back in five minutes\r\n"
        return good(line)

    net.remote("192.0.2.1", script)
    for user in ("a", "b", "c"):
        net.put(f"{user}@one.test")
    net.until(MINUTE)
    assert {row.reply for row in net.rows()} == {"mx.one.test: 450 4.7.1 Greylisted, come back in five minutes"}
    net.until(11 * MINUTE)
    assert [round(one.at / MINUTE) for one in net.taken()] == [10, 10, 10] and not net.rows()
    assert len(net.commands(b"RCPT")) == 6


# ---------------------------------------------------------------- TLS

BROKEN_TLS = [
    ("garbage in TLS", "TLS failed: wrong version number"),
    ("drop in TLS", "TLS failed: the server closed the connection"),
    ("stall in TLS", LATE),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "words"), BROKEN_TLS)
def test_broken_tls_is_left_out_and_remembered_for_a_while(make: Make, fault: str, words: str) -> None:
    net = make()
    net.faults["192.0.2.1"] = fault
    net.put()
    net.until(2 * MINUTE)
    assert len(net.taken()) == 1 and len(net.ports) == 2
    # Not tried for each message ...
    for number in range(1, 5):
        net.put()
        net.until((2 + number) * MINUTE)
    assert len(net.taken()) == 5 and len(net.ports) == 6
    # ... nor given up for ever.
    net.faults.clear()
    net.until(BROKEN + 2 * MINUTE)
    net.put()
    net.until(BROKEN + 3 * MINUTE)
    assert len(net.ports) == 7 and net.made[-1].tls and len(net.taken()) == 6


@pytest.mark.parametrize("level", ["require", "verify"])
@pytest.mark.parametrize(("fault", "words"), BROKEN_TLS)
def test_mail_waits_for_tls_where_it_is_required_and_the_queue_says_why(
    make: Make, level: str, fault: str, words: str
) -> None:
    net = make(tls=level)
    net.faults["192.0.2.1"] = fault
    net.put()
    net.until(9 * MINUTE)
    assert net.row().reply == f"mx.one.test [192.0.2.1]: {words}" and net.row().attempts == 1
    assert not net.taken() and b"MAIL" not in net.made[0].said


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"ehlo": b"250 mx\r\n"}, "mx.one.test does not offer TLS, which is required here"),
        ({"starttls": b"454 4.7.0 no key\r\n"}, "454 4.7.0 no key"),
        ({"starttls": b"502 never heard\r\n"}, "502 never heard"), ({"starttls": None}, f"{GONE} after STARTTLS"),
    ],
)  # fmt: skip
def test_starttls_that_is_not_there_or_refused_where_it_is_required(
    make: Make, answers: dict[str, Any], words: str
) -> None:
    net = make(tls="require")
    net.remote("192.0.2.1", **{**GOOD, **answers})
    net.put()
    net.until(9 * MINUTE)
    assert net.row().reply == f"mx.one.test [192.0.2.1]: {words}"
    mended(net)
    assert len(net.taken()) == 1 and net.made[-1].tls


def test_a_server_that_wants_tls_and_cannot_do_it_does_not_cost_the_message(make: Make) -> None:
    """RFC 3207 section 4: 530; it is about the connection, which is not as it should be."""
    net = make()
    net.faults["192.0.2.1"] = "garbage in TLS"
    net.remote("192.0.2.1", **{**GOOD, "mail": b"530 5.7.0 Must issue a STARTTLS command first\r\n"})
    net.put()
    net.until(MINUTE)
    assert net.row().reply == (
        "mx.one.test: 530 5.7.0 Must issue a STARTTLS command first (tried without a login, without TLS, which failed: "
        "TLS failed: wrong version number)"
    )
    mended(net, BROKEN + HOUR)
    assert len(net.taken()) == 1 and not net.reports()


def test_a_530_of_a_server_that_nobody_named_is_a_refusal(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", **{**GOOD, "mail": b"530 5.7.0 Authentication required\r\n"})
    net.put()
    net.until(1)
    assert fields(net.reports()[0])["Status"] == "5.7.0" and not net.rows()


def test_a_smart_host_that_wants_a_login_keeps_the_mail_waiting_s111(make: Make) -> None:
    """RFC 4954 section 6 has 530 as permanent; here the configuration is wrong, not the message."""
    net = make(delivery() + '[routes."*"]\nhost = ["smart.test"]\n')
    net.remote("192.0.2.60", mail=b"530 5.7.0 Authentication required\r\n")
    net.put()
    net.until(MINUTE)
    assert net.row().reply == (
        "smart.test: 530 5.7.0 Authentication required (tried without a login, without TLS)"
    )
    net.remote("192.0.2.60")
    net.until(11 * MINUTE)
    assert len(net.taken("192.0.2.60")) == 1 and not net.rows() and not net.reports()
