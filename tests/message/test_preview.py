"""Previews (RFC 8970): the first words that the sender meant to be read."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message import preview


def words(octets: bytes) -> str:
    record = preview.make(octets)
    assert preview.current(record)
    return preview.shown(record).decode("utf-8")


MIXED = b"Content-Type: multipart/%b; boundary=b\r\n\r\n--b\r\n%b\r\n--b\r\n%b\r\n--b--\r\n"
HTML = (
    b"Content-Type: text/html\r\n\r\n"
    b"<style>p {color: red}</style><p>Dear <b>you</b> &amp; me<img alt='logo' src='x'></p>"
)


@pytest.mark.parametrize(
    "octets, shown",
    [
        (b"Subject: x\r\n\r\nHello\r\n\r\n  world \r\n", "Hello world"),
        (b"\r\nme too\r\n> he said\r\n> this\r\nand that\r\n", "me too and that"),
        (b"\r\n> only what\r\n> was said\r\n", "> only what > was said"),
        (MIXED % (b"alternative", b"\r\nplain", HTML), "plain"),
        (MIXED % (b"alternative", b"\r\n \r\n", HTML), "Dear you & me"),
        (MIXED % (b"mixed", HTML, b"\r\nfooter"), "footer"),
        (MIXED % (b"mixed", b"Content-Disposition: ATTACHMENT\r\n\r\nlog", b"\r\ntext"), "text"),
        (MIXED % (b"encrypted", b"\r\nVersion: 1", b"\r\nsecret"), ""),
        (b"\r\n-----BEGIN PGP MESSAGE-----\r\nabc", ""),
        (b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ninside", ""),
        (b"Content-Type: image/png\r\n\r\n\x89PNG", ""),
        (b"Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n"
         + base64.b64encode("Привет".encode("koi8-r")), "Привет"),
        (b"\r\n\xe2\x80\x8b\xef\xbb\xbfa\xe2\x80\x8fb\x07\x00c\xc2\xa0\xc2\xa0d", "a b" "c d"),
        (b"\r\n" + b"x" * 500, "x" * 200),
        (b"\r\n" + "ü".encode() * (preview.TEXT_OCTETS), "ü" * 200),
        (b"", ""),
    ],
)  # fmt: skip
def test_rfc8970_what_is_shown(octets: bytes, shown: str) -> None:
    assert words(octets) == shown


def test_a_link_and_a_picture_are_not_words() -> None:
    page = b"<a href='https://x.example/%b'>Read</a> <img alt='a cat' src='http://x/c.png'> on" % (b"y" * 100)
    assert words(b"Content-Type: text/html\r\n\r\n" + page) == "Read on"


def test_a_record_of_another_version_is_made_anew() -> None:
    assert not preview.current(None) and not preview.current(b"") and not preview.current(b"mp\x00abc")


PIECES = st.sampled_from(
    [b"Content-Type: text/html", b"multipart/mixed; boundary=b", b"--b", b"\r\n", b"\r\n\r\n", b"<p", b">", b"&#xD800;",
     b"\xff", b"\xed\xa0\x80", b"charset=utf-7", b"+2AA-", b"=", b"a"]
)  # fmt: skip


@given(st.lists(PIECES).map(b"".join) | st.binary(max_size=200))
def test_any_octets_have_a_preview_of_at_most_200_characters(octets: bytes) -> None:
    assert len(words(octets)) <= preview.LONGEST
