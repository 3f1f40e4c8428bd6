"""Whatever comes in, in whatever format: nothing raises, nothing grows beyond bounds, and the result can be read."""

from __future__ import annotations

import email
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.message.format import FormatOptions, render
from mailsrv.message.structure import parse
from tests.gallery.samples import PNG, apple_double, lines64, message, multipart, part, stored_rtf, string, tnef
from tests.properties import tries
from tests.timing import takes_at_most

pytestmark = pytest.mark.slow

FORMATS = [
    FormatOptions(body, charset, attachments, rich_text)
    for body, charset in (("text", "iso-8859-1"), ("html", "iso-2022-jp"), ("both", "utf-8"), ("html", "us-ascii"))
    for attachments in ("mime", "uuencode", "binhex")
    for rich_text in ("stored", "unpack")
]

LINES = [
    b"Content-Type: multipart/alternative; boundary=b", b"Content-Type: multipart/mixed; boundary=b", b"--b", b"--b--",
    b"Content-Type: multipart/related; boundary=c; start=\"<x>\"", b"--c", b"--c--", b"", b"Content-ID: <x>",
    b"Content-Type: text/html; charset=utf-8", b"Content-Type: text/plain; charset=utf-16", b"Content-Type: text/rtf",
    b"Content-Type: text/plain; format=flowed; delsp=yes; charset=x-odd", b"Content-Type: application/ms-tnef",
    b"Content-Type: message/rfc822", b"Content-Type: multipart/appledouble; boundary=d", b"--d", b"--d--",
    b"Content-Type: application/applefile", b"Content-Type: application/octet-stream; name*=utf-8''%ff%00.pdf",
    b"Content-Type", b"Content-Type: multipart/", b":", b" folded", b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: quoted-printable", b"Content-Transfer-Encoding: x-unknown", b"Content-MD5: x",
    b"Content-Disposition: attachment; filename=\"a/../b\"", b"MIME-Version: 1.0",
    b"<p>a <a href='http://x'>b</a><table>",
    b"> quoted \xe9\xff", b"=E9=", b"AAAA=", b"\xd0\xcf caf\xc3\xa9 \x00\x1e", b"begin 644 x",
    b"{\\rtf1\\u-1\\'", b"<td>&#55555;",
    lines64(tnef([string(0x1000, "x")], [("a", b"x", [])])), lines64(apple_double("x", b"y")),
]  # fmt: skip


@settings(max_examples=tries(60))
@given(st.lists(st.sampled_from(LINES), max_size=40), st.sampled_from([b"\r\n", b"\n"]))
def test_anything_can_be_rendered(lines: list[bytes], end: bytes) -> None:
    octets = end.join(lines)
    for options in FORMATS:
        made = render(octets, options)
        assert len(made) <= 60 * len(octets) + 1000
        parse(made)
        email.message_from_bytes(made)
        # The same octets every time.
        assert render(octets, options) == made


@settings(max_examples=tries(60))
@given(st.binary(max_size=300))
def test_any_octets_can_be_rendered(octets: bytes) -> None:
    for options in FORMATS:
        made = render(octets, options)
        assert len(made) <= 60 * len(octets) + 1000


PNG_PART = part("Content-Type: image/png\nContent-Transfer-Encoding: base64", lines64(PNG))
TNEF_PART = part("Content-Type: application/ms-tnef", tnef([string(0x1000, "x")]))
RTF = stored_rtf(b"{\\rtf1" + b"{\\'e9" * 20_000)
TEXTS = {
    "html": part("Content-Type: text/html; charset=utf-8", "<p>caf\u00e9 <b>b</b>\r\n".encode() * 5_000),
    "plain": part("Content-Type: text/plain; charset=utf-8", "> caf\u00e9 http://x.org\r\n".encode() * 5_000),
    "one line": part("Content-Type: text/plain", b"a@b.org " * 150_000),
    "one line of HTML": part("Content-Type: text/html", "caf\u00e9 ".encode() * 150_000),
    "one word": part("Content-Type: text/plain", "\u00fcx".encode() * 400_000),
    "lines just short enough": part("Content-Type: text/html", (b"x" * 990 + b"<br>") * 3000),
    "tabs": part("Content-Type: text/plain", b"\tx" * 150_000),
    "alternatives": multipart("alternative", *[part("Content-Type: text/html", b"<p>x")] * 1900),
    "files": multipart("mixed", *[PNG_PART] * 1900),
    "tnefs": multipart("mixed", *[TNEF_PART] * 1900),
    "rtf": part("Content-Type: application/ms-tnef", tnef([(0x1009, 0x0102, RTF)])),
    "nested": b"".join(
        b"Content-Type: multipart/alternative; boundary=%d\r\n\r\n--%d\r\n" % (at, at) for at in range(99)
    ) + b"Content-Type: text/html\r\n\r\n" + b"<p>x" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("entity", TEXTS.values(), ids=TEXTS)
def test_big_messages_are_rendered_in_bounded_time(entity: bytes) -> None:
    stored = message("Test", entity)
    for options in (FORMATS[1], FORMATS[7], FORMATS[2]):
        # A mebibyte a second would be slow; what is quadratic takes minutes.
        made = takes_at_most(3, partial(render, stored, options))
        assert len(made) < 25 * len(stored)


@pytest.mark.parametrize("kind, text", [
    ("text/html", b"<p>x" * 210_000), ("text/plain", b"> x\n" * 210_000), ("text/rtf", b"{\\rtf1" + b"{}" * 110_000),
    ("text/html", b"x" * (4 * 2**20 + 1)), ("text/html", b"&x" * 210_000),
])  # fmt: skip
def test_texts_beyond_the_limits_stay_as_they_are(kind: str, text: bytes) -> None:
    stored = message("Test", part(f"Content-Type: {kind}", text + b"\r\n"))
    for options in (FormatOptions("text"), FormatOptions("html")):
        assert render(stored, options) is stored


def test_messages_in_each_other_to_the_limit_of_depth() -> None:
    """Every level is parsed once, whatever is asked for."""
    inner = part("Content-Type: text/html", b"<p>x</p>")
    for at in range(98):
        inner = multipart(("mixed", "alternative", "related")[at % 3], inner, boundary=f"b{at}")
    for options in FORMATS:
        assert len(render(message("Test", inner), options)) < 40_000
