"""Parameters of MAIL and RCPT, and addresses of UTF-8 (RFC 3461, 4954, 6531, 6533)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.values import Address, Reply
from mailsrv.wire.smtp_commands import SMTP, read_command
from mailsrv.wire.smtp_parameters import check_mail, check_rcpt, is_orcpt, read_xtext
from mailsrv.wire.smtp_syntax import print_address, print_reply, read_domain, read_path
from tests.properties import tries


def test_rfc_3461_4_xtext() -> None:
    assert read_xtext("a+2Bb+3D") == "a+b=" and read_xtext("plain") == "plain"
    for text in ("", "a=b", "a+b", "a+2b", "a+2", "a b", "a+", "ü"):
        assert read_xtext(text) is None, text


@given(st.text(max_size=30))
def test_any_text_is_xtext_or_none(text: str) -> None:
    written = "".join(f"+{ord(c):02X}" if c in "+=" or not "!" <= c <= "~" else c for c in text)
    if written and all(ord(c) < 256 for c in text):
        assert read_xtext(written) == text
    read_xtext(text)
    check_mail({"ENVID": text, "AUTH": text, "RET": text, "SIZE": text})
    check_rcpt({"ORCPT": text, "NOTIFY": text}, utf8=True)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("SIZE", ["0", "20000000000000000000"], ["", "1x", "-1", "²", "9" * 21]),
        ("BODY", ["7BIT", "8bitmime", "BinaryMime"], ["", "9BIT"]),
        ("RET", ["FULL", "hdrs"], ["", "NONE"]),
        ("ENVID", ["QQ314159", "a+20b", "x" * 100], ["", "x" * 101, "a+0D+0Ab", "a+7Fb"]),
        ("SMTPUTF8", [""], ["1"]),
        ("AUTH", ["<>", "bob@example.org", "+22a+20b+22@example.org", "b+C3+BC@example.org"],
         ["", "<bob@example.org>", "bob@", "bob@a+3E+20X", "a+FF@example.org", "+3C+3E"]),
        ("FUTURE", [], ["", "1"]),
    ],
)  # fmt: skip
def test_values_of_mail(name: str, good: list[str], bad: list[str]) -> None:
    assert [check_mail({name: value}) for value in good] == [""] * len(good)
    assert [bool(check_mail({name: value})) for value in bad] == [True] * len(bad)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("NOTIFY", ["NEVER", "success", "FAILURE,DELAY,SUCCESS"],
         ["", "NEVER,DELAY", "DELAY,DELAY", "ALWAYS", "DELAY,", ",", "DELAY, FAILURE"]),
        ("ORCPT", ["rfc822;bob@example.org", "x400;/c=de/".replace("=", "+3D"), "utf-8;b\\x{FC}cher@example.org"],
         ["", "bob@example.org", ";bob", "rfc822;", "rfc822;a+0A", "rfc-822-;=", "utf-8;bücher@example.org",
          "utf-8;b\\x{fc}", "utf-8;b\\x{110000}", "utf-8;a\\b", "rfc822;" + "x" * 500]),
        ("RET", [], ["FULL"]),
    ],
)  # fmt: skip
def test_values_of_rcpt(name: str, good: list[str], bad: list[str]) -> None:
    assert [check_rcpt({name: value}, False) for value in good] == [""] * len(good)
    assert [bool(check_rcpt({name: value}, False)) for value in bad] == [True] * len(bad)


def test_rfc_6533_3_an_address_of_utf8_as_it_is_needs_smtputf8() -> None:
    assert is_orcpt("utf-8;bücher@example.org", True) and not is_orcpt("utf-8;bücher@example.org", False)
    assert is_orcpt("UTF-8;b\\x{FC}cher@example.org", True) and not is_orcpt("utf-8;a\x85b", True)


# ---------------------------------------------------------------- RFC 6531 section 3.3


def test_addresses_are_nfc_in_the_domain_and_as_given_in_the_local_part() -> None:
    # Decisions 33: local parts of our domains are compared as NFC without case; those of others are theirs.
    assert read_path("<u\u0308@bu\u0308cher.Example>") == (Address("u\u0308", "bücher.example"), "")
    assert read_domain("xn--bcher-kva.example") == read_domain("BÜCHER.example") == "bücher.example"
    # Not by the rules of 2003, for which this is no domain.
    assert read_domain("XN--FA-HIA.example") == read_domain("faß.example") == "faß.example"


@pytest.mark.parametrize("bad", ["\x80", "\x85", "\xa0", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", "\x7f"])
def test_controls_and_ends_of_line_of_unicode_are_in_no_address(bad: str) -> None:
    for text in (f"<a{bad}b@c.example>", f'<"a{bad}b"@c.example>', f"<a@c{bad}d.example>"):
        assert read_path(text) is None


def test_lengths_count_octets() -> None:
    assert read_path(f"<{'ü' * 32}@c.example>") is not None and read_path(f"<{'ü' * 33}@c.example>") is None
    assert read_domain(".".join(["ü" * 31] * 4)) is not None and read_domain(".".join(["ü" * 31] * 5)) is None


@given(st.text(min_size=1, max_size=12))
def test_no_address_makes_two_lines_of_a_reply(text: str) -> None:
    read = read_path(f"<{text}@c.example>")
    printed = print_address(read[0]) if read is not None and read[0] is not None else text
    for utf8 in (False, True):
        octets = print_reply(Reply(250, "2.1.5", (printed, "x")), utf8)
        assert octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r") == 2
        assert not any("\x7f" <= c <= "\xa0" or c in "\u2028\u2029" for c in octets.decode())
        assert utf8 or octets.isascii()


_NAME = st.text(alphabet="aZ0.-_+%\"@ ü", min_size=0, max_size=8)
_TAIL = st.sampled_from(["", " ", " SIZE=1", " SIZE=1 SIZE=1", " BODY=8BITMIME ", "x", " =", " SMTPUTF8", "  A=1  B"])


@settings(max_examples=tries(150), deadline=None)
@given(_NAME, _NAME, _TAIL, st.sampled_from([".example", "", "."]))
def test_the_usual_mail_and_rcpt_mean_the_same_as_those_in_other_letters(
    local: str, domain: str, tail: str, end: str
) -> None:
    """A quick way reads what is nearly every line; in small letters a line goes the long way."""
    for usual, other in (("MAIL FROM", "mail from"), ("RCPT TO", "rcpt to")):
        rest = f":<{local}@{domain}{end}>{tail}".encode()
        assert read_command(usual.encode() + rest, SMTP) == read_command(other.encode() + rest, SMTP)
