"""One message over one connection: every combination of answers, and what becomes of each recipient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smtp_client_drive import Drive, client

from mailsrv.errors import Refused, StoreUnavailable
from mailsrv.values import Address, Outcome, Recipient
from mailsrv.wire import smtp_sending
from mailsrv.wire.smtp_client import Body, SmtpClient
from mailsrv.wire.smtp_sending import Mail, send

SENDER = Address("a", "example.com")
OK, GO = b"250 2.0.0 ok\r\n", b"354 go\r\n"
LATER, NO, BYE = b"451 4.2.1 later\r\n", b"550 5.1.1 no\r\n", b"421 4.3.2 bye\r\n"


def mail(count: int = 2, **more: Any) -> Mail:
    return Mail(SENDER, tuple(Recipient(Address(f"r{n}", "example.org")) for n in range(count)), 100, **more)


def sent(one: SmtpClient, message: Mail, replies: Sequence[bytes]) -> tuple[list[str], Drive]:
    drive = Drive(one, replies)
    outcomes: list[Outcome] = drive.run(send(one, message, "mx"))
    assert [outcome.recipient for outcome in outcomes] == list(message.recipients)
    return [f"{outcome.action} {outcome.status}" for outcome in outcomes], drive


# ---------------------------------------------------------------- the usual course


def test_one_command_at_a_time() -> None:
    outcomes, drive = sent(client(), mail(), [OK, OK, OK, GO, OK])
    assert outcomes == ["delivered 2.0.0"] * 2
    assert drive.said == [
        b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<r0@example.org>\r\n", b"RCPT TO:<r1@example.org>\r\n", b"DATA\r\n",
        Body(),
    ]  # fmt: skip


def test_all_commands_in_one_piece_rfc2920() -> None:
    outcomes, drive = sent(client("PIPELINING"), mail(), [OK + OK, OK, GO, OK])
    assert outcomes == ["delivered 2.0.0"] * 2 and len(drive.said) == 2
    assert drive.said[0].count(b"\r\n") == 4 and drive.said[0].endswith(b"DATA\r\n")


def test_very_many_recipients_go_in_several_pieces_and_none_follows_a_refusal() -> None:
    with patch.object(smtp_sending, "GROUP", 3):
        outcomes, drive = sent(client("PIPELINING"), mail(4), [OK] * 5 + [GO, OK])
        assert outcomes == ["delivered 2.0.0"] * 4 and [said.count(b"\r\n") for said in drive.said[:-1]] == [3, 3]
        outcomes, drive = sent(client("PIPELINING"), mail(5), [OK, NO, NO, NO, NO, NO])
        assert outcomes == ["failed 5.1.1"] * 5 and [said.count(b"\r\n") for said in drive.said] == [3, 3]
        outcomes, drive = sent(client("PIPELINING"), mail(4), [NO, NO, NO])
        assert outcomes == ["failed 5.1.1"] * 4 and len(drive.said) == 1


def test_a_second_message_needs_no_rset_after_an_answered_one_but_after_an_open_one() -> None:
    for names in ((), ("PIPELINING",)):
        one = client(*names)
        sent(one, mail(1), [OK, OK, GO, OK])
        _, drive = sent(one, mail(1), [OK, NO, NO])
        assert b"RSET" not in b"".join(drive.said)
        outcomes, drive = sent(one, mail(1), [OK, OK, OK, GO, OK])
        assert drive.said[0].startswith(b"RSET\r\n") and outcomes == ["delivered 2.0.0"]
        assert one.sent == 2 and not one.dirty


# ---------------------------------------------------------------- parameters


def test_parameters_of_mail() -> None:
    one = client("8BITMIME", "SMTPUTF8", "DSN", SIZE="1000")
    message = mail(1, body="8BITMIME", utf8=True, parameters={"RET": "HDRS", "ENVID": "x", "AUTH": "<>", "BODY": "?"})
    _, drive = sent(one, message, [])
    assert drive.said == [b"MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x\r\n"]
    _, drive = sent(client(), mail(1, body="8BITMIME", parameters={"RET": "HDRS"}), [])
    assert drive.said == [b"MAIL FROM:<a@example.com>\r\n"]


def test_a_message_larger_than_the_server_takes_is_not_begun_rfc1870() -> None:
    outcomes, drive = sent(client(SIZE="99"), mail(), [])
    assert outcomes == ["failed 5.3.4"] * 2 and drive.said == []
    assert sent(client(SIZE="0"), mail(), [OK, OK, OK, GO, OK])[0] == ["delivered 2.0.0"] * 2


def test_internationalised_mail_needs_a_server_for_it_rfc6531() -> None:
    outcomes, drive = sent(client(), mail(utf8=True), [])
    assert outcomes == ["failed 5.6.7"] * 2 and drive.said == []
    sender = Mail(Address("é", "example.com"), mail().recipients)
    assert sent(client(), sender, [])[0] == ["failed 5.6.7"] * 2
    _, drive = sent(client("SMTPUTF8"), sender, [])
    assert drive.said == ["MAIL FROM:<é@example.com> SMTPUTF8\r\n".encode()]


def test_an_internationalised_recipient_fails_alone_and_a_domain_is_written_in_ascii() -> None:
    message = Mail(SENDER, tuple(Recipient(Address(local, "bücher.example")) for local in ("é", "e")))
    outcomes, drive = sent(client(), message, [OK, OK, GO, OK])
    assert outcomes == ["failed 5.6.7", "delivered 2.0.0"]
    assert drive.said[1] == b"RCPT TO:<e@xn--bcher-kva.example>\r\n"


def test_an_address_that_is_more_than_an_address() -> None:
    message = Mail(SENDER, (Recipient(Address("x\r\nDATA", "example.org")), *mail(1).recipients))
    outcomes, drive = sent(client(), message, [OK, OK, GO, OK])
    assert outcomes == ["failed 5.1.3", "delivered 2.0.0"]
    assert [one.split()[0] for one in drive.said[:-1]] == [b"MAIL", b"RCPT", b"DATA"] and b"x\r" not in drive.said[1]
    assert sent(client(), Mail(Address("x\n", "y"), mail().recipients), [])[0] == ["failed 5.1.7"] * 2


def test_delivered_or_relayed_rfc3461_4_1() -> None:
    wish = Mail(SENDER, (Recipient(Address("r", "b.org"), {"NOTIFY": "SUCCESS,FAILURE"}), *mail(1).recipients))
    assert sent(client(), wish, [OK, OK, OK, GO, OK])[0] == ["relayed 2.0.0", "delivered 2.0.0"]
    assert sent(client("DSN"), wish, [OK, OK, OK, GO, OK])[0] == ["delivered 2.0.0"] * 2


def test_binary_goes_by_bdat_and_only_for_somebody_rfc3030() -> None:
    one = client("CHUNKING", "BINARYMIME", "PIPELINING")
    outcomes, drive = sent(one, mail(1, body="BINARYMIME"), [OK, OK, OK])
    assert outcomes == ["delivered 2.0.0"] and drive.said[1:] == [Body(raw=True)] and b"DATA" not in drive.said[0]
    outcomes, drive = sent(client("CHUNKING", "BINARYMIME"), mail(1, body="BINARYMIME"), [OK, NO])
    assert outcomes == ["failed 5.1.1"] and not drive.bodies


# ---------------------------------------------------------------- refusals

#: names of features, replies, outcomes, whether the message is sent, whether the connection is over.
CASES = [
    ("", [NO], ["failed 5.1.1"] * 2, 0, False),
    ("", [LATER], ["delayed 4.2.1"] * 2, 0, False),
    ("PIPELINING", [NO, NO, NO, NO], ["failed 5.1.1"] * 2, 0, False),
    ("PIPELINING", [NO, OK, OK, GO, OK], ["failed 5.1.1"] * 2, 0, False),
    ("", [OK, NO, OK, GO, OK], ["failed 5.1.1", "delivered 2.0.0"], 1, False),
    ("", [OK, NO, LATER], ["failed 5.1.1", "delayed 4.2.1"], 0, False),
    ("PIPELINING", [OK, NO, LATER, NO], ["failed 5.1.1", "delayed 4.2.1"], 0, False),
    ("PIPELINING", [OK, NO, LATER, GO, NO], ["failed 5.1.1", "delayed 4.2.1"], 0, False),
    ("PIPELINING", [OK, NO, OK, GO, OK], ["failed 5.1.1", "delivered 2.0.0"], 1, False),
    ("", [OK, OK, OK, LATER], ["delayed 4.2.1"] * 2, 0, False),
    ("PIPELINING", [OK, OK, OK, NO], ["failed 5.1.1"] * 2, 0, False),
    ("", [OK, OK, OK, GO, NO], ["failed 5.1.1"] * 2, 1, False),
    ("", [OK, NO, OK, GO, LATER], ["failed 5.1.1", "delayed 4.2.1"], 1, False),
    ("", [OK, OK, b"552 too many\r\n", GO, OK], ["delivered 2.0.0", "delayed 4.5.3"], 1, False),
    ("", [OK, b"552 5.2.2 full\r\n", OK, GO, OK], ["failed 5.2.2", "delivered 2.0.0"], 1, False),
    # 421 at any time: whoever was refused stays so, all others wait (RFC 5321 section 3.8).
    ("", [BYE], ["delayed 4.3.2"] * 2, 0, True),
    ("", [OK, NO, BYE], ["failed 5.1.1", "delayed 4.3.2"], 0, True),
    ("PIPELINING", [OK, OK, NO, BYE], ["delayed 4.3.2", "failed 5.1.1"], 0, True),
    ("", [OK, OK, OK, GO, BYE], ["delayed 4.3.2"] * 2, 1, True),
    # The connection is lost: nobody has failed.
    ("", [], ["delayed 4.4.2"] * 2, 0, True),
    ("", [OK, NO], ["failed 5.1.1", "delayed 4.4.2"], 0, True),
    ("PIPELINING", [OK, OK, OK], ["delayed 4.4.2"] * 2, 0, True),
    ("", [OK, OK, OK, GO], ["delayed 4.4.2"] * 2, 1, True),
    # Answers that are none.
    ("", [GO], ["delayed 4.5.0"] * 2, 0, True),
    ("", [OK, b"354 x\r\n"], ["delayed 4.5.0"] * 2, 0, True),
    ("", [OK, OK, OK, OK], ["delayed 4.5.0"] * 2, 0, True),
    ("", [OK, OK, OK, GO, GO], ["delayed 4.5.0"] * 2, 1, True),
    ("", [b"hm\r\n"], ["delayed 4.5.0"] * 2, 0, True),
    ("", [OK + OK], ["delayed 4.5.0"] * 2, 0, True),
    ("", [OK, OK, OK, GO + OK], ["delayed 4.5.0"] * 2, 0, True),
    ("PIPELINING", [OK, OK, OK, GO + OK], ["delayed 4.5.0"] * 2, 0, True),
]


@pytest.mark.parametrize("names, replies, outcomes, bodies, over", CASES)
def test_what_becomes_of_recipients(
    names: str, replies: list[bytes], outcomes: list[str], bodies: int, over: bool
) -> None:
    one = client(*names.split())
    found, drive = sent(one, mail(), replies)
    assert (found, drive.bodies, one.over) == (outcomes, bodies, over)


def test_an_unwanted_354_gets_an_empty_message_rfc2920_3_1() -> None:
    _, drive = sent(client("PIPELINING"), mail(), [OK, NO, NO, GO, NO])
    assert drive.said[1:] == [b".\r\n"]


def test_after_the_message_its_fate_may_be_unknown() -> None:
    one = client()
    sent(one, mail(), [OK, OK, OK, GO])
    assert one.doubt and one.over
    for replies in ([OK, OK], [OK, OK, OK, GO, NO], [OK, OK, OK, GO, OK]):
        one = client()
        sent(one, mail(), replies)
        assert not one.doubt


@pytest.mark.parametrize("error", [StoreUnavailable(), Refused("gone")])
def test_a_message_that_cannot_be_read_to_its_end_waits_and_the_connection_is_over(error: Exception) -> None:
    class Broken(Drive):
        def _meet(self, wish: Any) -> Any:
            if type(wish) is Body:
                raise error
            return super()._meet(wish)

    one = client()
    outcomes = Broken(one, [OK, OK, GO, OK]).run(send(one, mail(1)))
    assert [outcome.action for outcome in outcomes] == ["delayed"] and one.over and not one.doubt


# ---------------------------------------------------------------- LMTP


def test_lmtp_has_an_answer_for_each_recipient_rfc2033_4_2() -> None:
    one = client("PIPELINING", lmtp=True)
    found, _ = sent(one, mail(4), [OK, OK, NO, OK, OK, GO, OK, LATER, b"552 5.2.2 full\r\n"])
    assert found == ["delivered 2.0.0", "failed 5.1.1", "delayed 4.2.1", "failed 5.2.2"] and not one.over


def test_lmtp_lost_between_the_answers() -> None:
    one = client(lmtp=True)
    found, _ = sent(one, mail(3), [OK, OK, OK, OK, GO, OK])
    assert found == ["delivered 2.0.0", "delayed 4.4.2", "delayed 4.4.2"] and one.over and one.doubt


# ---------------------------------------------------------------- anything at all

REPLY = st.sampled_from(
    [OK, OK, OK, GO, GO, LATER, NO, BYE, b"552 many\r\n", b"x\r\n", OK + OK, b"250-a\r\n250 b\r\n", b""]
)


@given(st.lists(REPLY, max_size=9), st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), st.integers(2, 5))
def test_no_message_without_354_and_no_delivery_without_an_answer_to_it(
    replies: list[bytes], count: int, pipelining: bool, lmtp: bool, dirty: bool, group: int
) -> None:
    with patch.object(smtp_sending, "GROUP", group):
        check(replies, count, pipelining, lmtp, dirty)


def check(replies: list[bytes], count: int, pipelining: bool, lmtp: bool, dirty: bool) -> None:
    one = client(*(["PIPELINING"] if pipelining else []), lmtp=lmtp)
    one.dirty = dirty
    drive = Drive(one, replies)
    outcomes = drive.run(send(one, mail(count)))
    assert len(outcomes) == count
    arrived = replies[: len(replies) - len(drive.replies)]
    heard = [one for reply in arrived for one in ([OK, OK] if reply == OK + OK else [reply])]
    delivered = [outcome for outcome in outcomes if outcome.action == "delivered"]
    if drive.bodies:
        # What was heard before the body: enough good answers, and 354.
        assert GO in heard and heard.index(GO) >= 2 + dirty
    if delivered:
        after = heard[len(heard) - 1 - heard[::-1].index(GO) + 1 :] if GO in heard else []
        assert drive.bodies == 1 and sum(reply.startswith(b"250") for reply in after) >= (len(delivered) if lmtp else 1)
    for outcome in outcomes:
        assert outcome.action in ("delivered", "delayed", "failed")
        assert outcome.status[0] == {"delivered": "2", "delayed": "4", "failed": "5"}[outcome.action]
        assert outcome.action != "failed" or outcome.reply.startswith("55")
