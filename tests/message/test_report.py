"""Delivery reports, read back by Python's email package (RFC 3461, 3464, 6522, 6533; S-081, S-118, S-125..S-128)."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage, Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message.content import MemoryContent
from mailsrv.message.report import MAX_HEADER, Issuer, Report, Reported, delivery_status, make, print_address
from mailsrv.message.report_text import ENGLISH, MAX_NAMED, TOO_BIG, TOO_MANY_HOPS, advice_for, harmless, status_of
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, Outcome, Recipient
from tests.properties import tries

NOW = 1_800_000_000.0
ALICE, BOB = Address("alice", "example.org"), Address("bob", "example.net")
ISSUER = Issuer("mx.example.org", Address("postmaster", "example.org"))
ORIGINAL = (
    b"Received: from client\r\nFrom: alice@example.org\r\nTo: bob@example.net\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Message-ID: <one@example.org>\r\n\r\nHello\r\n"
)
GONE = Outcome(Recipient(BOB), "failed", "5.1.1", "550 5.1.1 No such user here", "mx.example.net")


def report(
    *outcomes: Outcome, original: bytes = ORIGINAL, to: Address = ALICE, issuer: Issuer = ISSUER,
    parameters: dict[str, str] | None = None, **more: Any,
) -> Report:  # fmt: skip
    message = Reported(MemoryContent(original), "0abc", NOW - 3600, parameters or {})
    made: Report = Loop().run(make(message, to, outcomes or (GONE,), issuer, id="0def", now=NOW, **more))
    return made


def octets(made: Report) -> bytes:
    whole = b"".join(made.content.chunks())
    assert len(whole) == made.content.size
    return whole


def parsed(made: Report) -> tuple[Message, list[Any]]:
    message = email.message_from_bytes(octets(made), policy=email.policy.SMTP)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not [part.defects for part in message.walk() if part.defects]
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3
    return message, parts


def text_of(part: EmailMessage) -> str:
    return " ".join(str(part.get_content()).split())


def test_s125_rfc3464_a_failed_recipient() -> None:
    made = report(parameters={"ENVID": "QQ+2B314"})
    message, (text, status, returned) = parsed(made)
    assert made.envelope.reverse_path is None
    assert [(one.address, one.parameters) for one in made.envelope.recipients] == [(ALICE, {"NOTIFY": "NEVER"})]
    assert made.envelope.parameters == {}
    assert message["To"] == "alice@example.org"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["References"] == "<one@example.org>"
    assert message["Message-ID"] == "<0def@mx.example.org>"
    assert message["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert "Reply-To" not in message
    whole, bob = status.get_payload()
    assert dict(whole.items()) == {
        "Original-Envelope-Id": "QQ+314", "Reporting-MTA": "dns; mx.example.org",
        "Arrival-Date": "Fri, 15 Jan 2027 07:00:00 +0000", "X-Mailsrv-Id": "0abc",
    }  # fmt: skip
    assert dict(bob.items()) == {
        "Final-Recipient": "rfc822; bob@example.net", "Action": "failed", "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net", "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date": "Fri, 15 Jan 2027 08:00:00 +0000",
    }  # fmt: skip
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_payload()[0]["Message-ID"] == "<one@example.org>"
    words = text_of(text)
    for said in ("mx.example.org", "NOT delivered", "<bob@example.net>", "mx.example.net said: 550", "no such address",
                 "Grüße", "0abc"):  # fmt: skip
        assert said in words


def test_the_original_comes_back_octet_for_octet_and_is_read_in_slices() -> None:
    made = report()
    whole = octets(made)
    assert ORIGINAL in whole
    loop = Loop()
    assert b"".join(loop.run(made.content.read(at, 7)) for at in range(0, len(whole), 7)) == whole
    assert loop.run(made.content.read(len(whole), 9)) == b""


def test_a_delayed_message_says_until_when_it_is_tried_and_returns_the_header_alone() -> None:
    waiting = Outcome(Recipient(BOB), "delayed", "4.4.1", "Connection refused")
    _, (text, status, returned) = parsed(report(waiting, until=NOW + 86400, parameters={"RET": "FULL"}))
    bob = status.get_payload()[1]
    assert (bob["Action"], bob["Status"]) == ("delayed", "4.4.1")
    assert bob["Will-Retry-Until"] == "Sat, 16 Jan 2027 08:00:00 +0000"
    assert bob["Diagnostic-Code"] == "x-mailsrv; Connection refused"
    assert bob["Remote-MTA"] is None
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Sat, 16 Jan 2027 08:00:00 +0000" in text_of(text)
    assert "need not do anything" in text_of(text)


@pytest.mark.parametrize(("action", "words"), [
    ("delivered", "was delivered"), ("relayed", "sends no reports"), ("expanded", "members of a list"),
])  # fmt: skip
def test_rfc3461_4_1_success_when_asked(action: str, words: str) -> None:
    _, (text, status, returned) = parsed(report(Outcome(Recipient(BOB), action, "2.1.5")))
    bob = status.get_payload()[1]
    assert (bob["Action"], bob["Status"], bob["Last-Attempt-Date"]) == (action, "2.1.5", None)
    assert words in text_of(text)
    assert returned.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("parameters", "more", "kind"),
    [
        ({}, {}, "message/rfc822"),
        ({"RET": "full"}, {}, "message/rfc822"),
        ({"RET": "HDRS"}, {}, "text/rfc822-headers"),
        ({"RET": "FULL"}, {"bound": 10}, "text/rfc822-headers"),
        ({"RET": "HDRS"}, {"bound": 10, "whole": True}, "message/rfc822"),
        ({"BODY": "BINARYMIME"}, {}, "text/rfc822-headers"),
    ],
)
def test_rfc3461_4_3_message_or_header(parameters: dict[str, str], more: dict[str, Any], kind: str) -> None:
    """S-128: a copy with `whole` has the message, whatever RET says."""
    _, parts = parsed(report(parameters=parameters, **more))
    assert parts[2].get_content_type() == kind
    if kind == "text/rfc822-headers":
        assert parts[2].get_content().rstrip().endswith("Message-ID: <one@example.org>")
        assert "Hello" not in parts[2].get_content()


def test_s127_reply_to_is_the_address_of_copies() -> None:
    message, _ = parsed(report(issuer=Issuer("mx.example.org", ALICE, Address("help", "example.org"))))
    assert message["Reply-To"] == "help@example.org"


@pytest.mark.parametrize(("found", "words"), [(TOO_BIG, "exceeds the size limit"),
                                              (TOO_MANY_HOPS, "maximum hop count was reached")])  # fmt: skip
def test_s081_s118_what_is_found_here(found: tuple[str, str], words: str) -> None:
    _, (text, status, _) = parsed(report(Outcome(Recipient(BOB), "failed", *found)))
    assert words in text_of(text)
    bob = status.get_payload()[1]
    assert bob["Status"] in ("5.3.4", "5.4.6")
    assert words in bob["Diagnostic-Code"]
    assert bob["Diagnostic-Code"].startswith("x-mailsrv;")


def test_eight_bit_originals_make_eight_bit_reports() -> None:
    made = report(original=ORIGINAL + b"Gr\xc3\xbc\xc3\x9fe\r\n")
    _, parts = parsed(made)
    assert parts[2]["Content-Transfer-Encoding"] == "8bit"
    assert made.envelope.parameters == {"BODY": "8BITMIME"}
    headers = report(original=ORIGINAL + b"Gr\xc3\xbc\xc3\x9fe\r\n", parameters={"RET": "HDRS"})
    assert headers.envelope.parameters == {}


def test_octets_that_are_no_text_come_back_only_in_a_copy() -> None:
    made = report(parameters={"BODY": "BINARYMIME"}, whole=True)
    assert made.envelope.parameters == {"BODY": "BINARYMIME"}
    assert b"Content-Transfer-Encoding: binary" in octets(made)


class TestInternationalised:
    """RFC 6533."""

    JUE = Address("jürgen", "exämple.net")

    def test_an_address_beyond_ascii(self) -> None:
        known_as = {"ORCPT": "utf-8;j\\x{FC}rgen@ex\\x{E4}mple.net"}
        made = report(Outcome(Recipient(self.JUE, known_as), "failed", "5.1.1"))
        whole = octets(made)
        assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit" in whole
        assert "Final-Recipient: utf-8; jürgen@exämple.net\r\n".encode() in whole
        assert "Original-Recipient: utf-8; jürgen@exämple.net\r\n".encode() in whole
        assert b"Content-Type: message/global\r\n" in whole
        # Who gets it has a plain address, so the report's own header is ASCII.
        assert made.envelope.parameters == {"BODY": "8BITMIME"}

    def test_a_sender_beyond_ascii_gets_it_with_smtputf8(self) -> None:
        made = report(to=Address("jürgen", "example.org"), parameters={"SMTPUTF8": "", "RET": "HDRS"})
        assert made.envelope.parameters == {"BODY": "8BITMIME", "SMTPUTF8": ""}
        assert "To: <jürgen@example.org>\r\n".encode() in octets(made)
        assert b"Content-Type: message/global-headers\r\n" in octets(made)

    def test_a_domain_alone_is_written_in_ascii(self) -> None:
        made = report(Outcome(Recipient(Address("bob", "exämple.net")), "failed", "5.1.1"))
        assert b"Final-Recipient: rfc822; bob@xn--exmple-cua.net\r\n" in octets(made)
        assert made.envelope.parameters == {}
        assert octets(made).isascii()
        _, (text, _, _) = parsed(made)
        assert "bob@exämple.net" in text_of(text)

    def test_in_plain_reports_utf8_addresses_are_spelt_out(self) -> None:
        message = Reported(MemoryContent(b""))
        plain = delivery_status(message, [Outcome(Recipient(self.JUE), "failed")], ISSUER, tried=0)
        assert b"Final-Recipient: utf-8; j\\x{FC}rgen@ex\\x{E4}mple.net\r\n" in plain


def test_rfc3461_6_3_original_recipient_is_decoded() -> None:
    one = Outcome(Recipient(BOB, {"ORCPT": "rfc822;bob+2Bx@example.com"}), "failed")
    _, (_, status, _) = parsed(report(one))
    assert status.get_payload()[1]["Original-Recipient"] == "rfc822; bob+x@example.com"


@pytest.mark.parametrize(("orcpt", "words"), [
    ("rfc822;sales+2Bx@example.com", "to which <sales+x@example.com> leads"),
    ("utf-8;j\\x{FC}rgen@example.com", "to which <jürgen@example.com> leads"),
    ("rfc822;BOB@example.net", ""), ("x-other;somebody", ""), ("", ""),
])  # fmt: skip
def test_people_are_told_which_of_their_addresses_it_was(orcpt: str, words: str) -> None:
    one = Outcome(Recipient(BOB, {"ORCPT": orcpt} if orcpt else {}), "failed")
    _, (text, _, _) = parsed(report(one))
    assert words in text_of(text) and ("leads" in text_of(text)) == bool(words)


def test_several_recipients_and_a_bound_on_names_for_people() -> None:
    many = [Outcome(Recipient(Address(f"u{n}", "example.net")), "failed", "5.1.1") for n in range(MAX_NAMED + 7)]
    _, (text, status, _) = parsed(report(*many))
    assert len(status.get_payload()) == 1 + len(many)
    assert "and 7 more" in text_of(text)
    assert text_of(text).count("<u") == MAX_NAMED


def test_words_of_others_end_no_line() -> None:
    """A reply, an ORCPT, a subject that try to write fields of their own."""
    evil = "550 no\r\nAction: delivered\r\n\r\nx\u2028\u202e " + "long" * 2000
    one = Outcome(Recipient(BOB, {"ORCPT": "rfc822;a+0D+0AAction: x"}), "failed", "9.9\r\nX: y", evil, "h\r\nX: y")
    made = report(one, original=b"Subject: a\0b\x1b[2J\r\nMessage-ID: <x y>\r\n\r\n", parameters={"ENVID": "a+0AX: y"})
    message, (text, status, _) = parsed(made)
    bob = status.get_payload()[1]
    assert len(status.get_payload()) == 2
    assert (bob["Action"], bob["Status"], bob["X"]) == ("failed", "5.0.0", None)
    assert "References" not in message
    assert "\x1b" not in text.get_content()
    front = octets(made).partition(b"Content-Type: message/rfc822")[0]
    assert max(map(len, front.split(b"\r\n"))) < 1000


def test_a_huge_header_is_cut_at_a_line() -> None:
    head = b"".join(b"X-%d: %b\r\n" % (n, b"y" * 70) for n in range(2000))
    _, parts = parsed(report(original=head + b"\r\nbody", parameters={"RET": "HDRS"}))
    returned = parts[2].get_payload(decode=True)
    assert MAX_HEADER - 100 < len(returned) <= MAX_HEADER + 2
    assert re.fullmatch(rb"X-\d+: y{70}", returned.rstrip(b"\r\n").rpartition(b"\n")[2])


@pytest.mark.parametrize("original", [b"", b"\r\n", b"no header", b"A: b", b"A: b\r\n\r\n", b"\n\n", b"A: b\n\nc"])
@pytest.mark.parametrize("ret", ["FULL", "HDRS"])
def test_whatever_it_is_about_the_report_can_be_read(original: bytes, ret: str) -> None:
    made = report(original=original, parameters={"RET": ret})
    parts = octets(made).split(b"\r\n--=_0def_report")
    assert len(parts) == 5
    assert parts[4] == b"--\r\n"


@settings(max_examples=tries(40))
@given(st.text(max_size=60), st.text(max_size=60), st.text(min_size=1, max_size=20), st.booleans())
def test_no_words_break_the_fields(reply: str, host: str, local: str, utf8: bool) -> None:
    one = Outcome(Recipient(Address(local, "example.net")), "delayed", reply, reply, host)
    made = delivery_status(Reported(MemoryContent(b"")), [one], ISSUER, tried=NOW, until=NOW, utf8=utf8)
    blocks = made.split(b"\r\n\r\n")
    assert len(blocks) == 2
    for line in made.rstrip(b"\r\n").split(b"\r\n"):
        assert line == b"" or line[:1] == b" " or re.match(rb"[A-Z][A-Za-z-]+: \S", line), line
        assert len(line) < 998
    assert utf8 or made.isascii()
    assert blocks[1].count(b"Action:") >= 1


def test_statuses_fit_their_action() -> None:
    assert status_of(Outcome(Recipient(BOB), "failed", "4.4.7")) == "4.4.7"
    assert status_of(Outcome(Recipient(BOB), "failed", "2.0.0")) == "5.0.0"
    assert status_of(Outcome(Recipient(BOB), "delayed", "5.1.1")) == "4.0.0"
    assert status_of(Outcome(Recipient(BOB), "relayed")) == "2.0.0"


@pytest.mark.parametrize(("status", "words"), [
    ("5.1.1", "no such address"), ("5.1.10", "takes no mail at all"), ("5.1.2", "mail domain"), ("5.1.3", "spelt"),
    ("5.4.4", "No way"), ("5.4.6", "circle"), ("4.4.7", "its time was over"), ("5.7.26", "rule of safety"),
    ("5.7.1", "from you"), ("5.0.0", ""),
])  # fmt: skip
def test_the_way_out_by_status(status: str, words: str) -> None:
    advice = advice_for(status)
    assert words in advice
    assert bool(words) == bool(advice)


def test_every_way_out_can_be_reached() -> None:
    assert all(advice_for(prefix) == text for prefix, text in ENGLISH.advice)


def test_addresses_are_quoted_where_they_must_be() -> None:
    assert print_address(Address('a "b', "x.org")) == '"a \\"b"@x.org'
    assert print_address(Address("postmaster", "")) == "postmaster"
    assert harmless("a\r\n b" * 1000, 20) == "a ba ba ba ba..."


class Watched(MemoryContent):
    """Content that tells the largest slice it was asked for, and whether it was closed."""

    largest = 0
    closed = False

    async def read(self, offset: int, length: int) -> bytes:
        self.largest = max(self.largest, min(length, self.size - offset))
        return await super().read(offset, length)

    def close(self) -> None:
        self.closed = True


def test_s128_a_large_message_is_never_held_and_serves_two_reports() -> None:
    original = Watched([ORIGINAL, *[b"x" * 998 + b"\r\n"] * 3000, "ü".encode()])
    loop, message = Loop(), Reported(original, "0abc", NOW)
    first = loop.run(make(message, ALICE, [GONE], ISSUER, id="0d1", now=NOW))
    copy = loop.run(make(message, BOB, [GONE], ISSUER, id="0d2", now=NOW, whole=True))
    assert (first.content.size < 5000) and copy.content.size > original.size
    assert original.largest <= 2**18
    assert copy.envelope.parameters == {"BODY": "8BITMIME"}
    first.content.close()
    assert not original.closed
    assert max(map(len, copy.content.chunks())) <= 2**18
    assert octets(copy).count(b"x" * 998) == 3000


@settings(max_examples=tries(40))
@given(
    st.one_of(st.binary(max_size=200), st.text("Subjectmsag-id:\r\n <>@=?", max_size=80).map(str.encode)),
    st.sampled_from(["failed", "delayed", "relayed"]), st.text(max_size=30),
    st.dictionaries(
        st.sampled_from(["RET", "ENVID", "BODY", "SMTPUTF8"]), st.sampled_from(["FULL", "HDRS", "+C3+9F", ""])
    ),
)  # fmt: skip
def test_any_octets_can_be_reported_about(
    original: bytes, action: str, words: str, parameters: dict[str, str]
) -> None:
    one = Outcome(Recipient(Address(words, "x.org"), {"ORCPT": "utf-8;" + words}), action, words, words, words)
    made = report(one, original=original, parameters=parameters)
    assert octets(made).count(b"--=_0def_report\r\n") == 3
    assert octets(made).isascii() or "BODY" in made.envelope.parameters
