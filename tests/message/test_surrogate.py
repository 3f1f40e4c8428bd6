"""Headers for clients that know no UTF-8: RFC 6858, simple downgrading."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message import header
from mailsrv.message.surrogate import NOBODY, surrogate, words
from tests.properties import tries

BLOCK = (
    "Received: from mail.example (пример.example) by mx\r\n"
    "From: Jürgen \"der\" Müller <jürgen@köln.example>\r\n"
    "To: a@example.org, Zoë <zoe@example.org>,\r\n 用户 <用户@例.example>, undisclosed: b@example.org;\r\n"
    "Subject: Grüße,\r\n aus Köln\r\n"
    "X-Other: ü\r\n"
    "Date: Tue, 24 Nov 2026 04:00:00 +0000\r\n"
    'Content-Type: text/plain; charset=utf-8; name="Grüße \\"1\\".txt"; x=ü\r\n'
    "\r\n"
).encode()


def test_rfc6858_names_and_subjects_stay_readable_addresses_become_invalid_other_fields_go() -> None:
    shown = surrogate(BLOCK)
    assert shown.isascii() and shown.endswith(b"\r\n\r\n") and max(map(len, shown.split(b"\r\n"))) <= 110
    read = email.message_from_bytes(shown, policy=email.policy.default)
    assert read.keys() == ["From", "To", "Subject", "Date", "Content-Type"]
    assert read["Subject"] == "Grüße, aus Köln" and read["Date"] == "Tue, 24 Nov 2026 04:00:00 +0000"
    (author,) = read["From"].addresses
    assert author.addr_spec == NOBODY.decode().strip("<>") and "<jürgen@köln.example" in author.display_name
    to = [(one.display_name, one.addr_spec) for one in read["To"].addresses]
    assert to[:2] == [("", "a@example.org"), ("Zoë", "zoe@example.org")] and to[3] == ("", "b@example.org")
    assert to[2] == ("用户 <用户@例.example>", "invalid@internationalized-address.invalid")
    assert read["Content-Type"].params == {"charset": "utf-8", "name": 'Grüße "1".txt', "x": "ü"}


@pytest.mark.parametrize(
    "block", [b"Subject: x\r\n\r\n", b"Subject: \xfcber\r\n\r\n", b"", b"\r\n", b"Subject: \xc3\r\n\r\n"]
)
def test_what_is_ascii_or_no_utf8_stays_as_it_is(block: bytes) -> None:
    assert surrogate(block) is block


def test_lines_that_are_no_field_and_fields_of_foreign_names_go() -> None:
    block = "Subject: x\r\nüber\r\nÜ: 1\r\nno field\r\nTo: a@b\r\n\r\n".encode()
    assert surrogate(block) == b"Subject: x\r\nno field\r\nTo: a@b\r\n\r\n"
    assert surrogate("ü\r\n\r\n".encode()) == b"\r\n"


@settings(max_examples=tries(150), deadline=None)
@given(st.text(max_size=200))
def test_rfc2047_words_say_what_was_said(text: str) -> None:
    octets = text.encode("utf-8", "ignore")
    shown = words(octets)
    assert shown.isascii() and max(map(len, shown.split(b"\r\n "))) <= 75
    assert header.decode(header.unfold(shown)) == octets.decode()


LINES = st.lists(
    st.sampled_from(["From: ", "To: ", "Subject: ", "Content-Type: a/b; n=", "X: ", "ü", "é <é@é>", "a@b", '"', "\\",
                     ";", ",", ":", "\r\n", "\r\n ", "\n", "name=", "(", "<"]),
    max_size=20,
).map("".join)  # fmt: skip


@settings(max_examples=tries(300), deadline=None)
@given(LINES)
def test_whatever_it_is_it_becomes_ascii_and_hardly_grows(text: str) -> None:
    block = text.encode() + b"\r\n\r\n"
    shown = surrogate(block)
    assert shown.isascii() and len(shown) <= 4 * len(block) + 100 * (1 + text.count(",") + text.count("é"))
    assert surrogate(shown) is shown
