"""Text of messages for searching: what is told quickly is what reading all of it tells (RFC 9051 section 6.4.4)."""

from __future__ import annotations

import quopri
from base64 import encodebytes

from hypothesis import given, settings
from hypothesis import strategies as st
from test_message_structure import MESSAGES

from mailsrv.message.charsets import text_of
from mailsrv.message.header import decode, header_end, unfolded_lines
from mailsrv.message.structure import MESSAGE, parse
from mailsrv.message.summary import Summary, summarise
from mailsrv.message.text import folded, header_text, is_in_body
from tests.properties import tries


def read_slowly(octets: bytes) -> list[str]:
    """All texts of a body, folded."""
    found = []
    waiting = [parse(octets)]
    for part in waiting:
        waiting += part.children
        if part.kind == MESSAGE:
            inner = part.children[0]
            lines = unfolded_lines(octets[inner.header_start : inner.body_start])
            found.append(folded("\n".join(map(decode, lines))))
        elif not part.children and part.media.name.startswith(b"text/"):
            body = octets[part.body_start : part.body_end]
            encoding = part.fields.get(b"content-transfer-encoding", b"")
            if encoding == b"quoted-printable":
                body = quopri.decodestring(body)
            if encoding == b"base64":
                body = b"Stra\xc3\x9fe kilo"
            found.append(folded(text_of(body, part.media.parameter(b"charset"))))
    return found


ENCODED = {
    b"7bit": b"Masse kilo \xc3\x84ffin",
    b"8bit": "Maße \u212ailo \ufb03 stra\u017fse".encode(),
    b"quoted-printable": b"Ma=C3=9Fe =E2=84=AAilo\r\nkil=\r\no =EF=AC=83n",
    b"base64": encodebytes(b"Stra\xc3\x9fe kilo"),
}
LABELS = [b"", b"; charset=utf-8", b'; charset="US-ASCII"', b"; charset=iso-8859-1", b"; charset=x-unknown"]
TYPES = [b"text/plain", b"TEXT/html", b"image/x"]
PARTS = st.tuples(st.sampled_from(sorted(ENCODED)), st.sampled_from(LABELS), st.sampled_from(TYPES)).map(
    lambda part: (
        b"Content-Type: %b%b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (part[2], part[1], part[0], ENCODED[part[0]])
    )
)
INNER = PARTS.map(lambda part: b"Content-Type: message/rfc822\r\n\r\nSubject: a\r\n ff =?utf-8?q?=C3=9F?=\r\n" + part)
MIXED = st.lists(PARTS | INNER, min_size=1, max_size=4).map(
    lambda parts: (
        b"Subject: kilo\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + b"\r\n--b\r\n".join(parts)
        + b"\r\n--b--\r\n"
    )
)
NEEDLES = st.sampled_from(
    ["masse", "ss", "s", "kilo", "ilo", "\u00e4f", "ffi", "f", "strasse", "a ff", "nowhere", "e k", "\u00e4ffin", "l\n"]
)


@settings(max_examples=tries(150), deadline=None)
@given(MIXED | PARTS, NEEDLES)
def test_what_is_told_quickly_is_right(octets: bytes, needle: str) -> None:
    expected = any(needle in text for text in read_slowly(octets))
    assert is_in_body(needle, octets) is expected
    assert is_in_body(needle, octets, Summary(summarise(octets)).places()) is expected


@settings(max_examples=tries(80), deadline=None)
@given(MESSAGES, st.sampled_from(["a", "b", "x", "--", "1", "content"]))
def test_the_parts_of_a_summary_are_those_of_the_message(octets: bytes, needle: str) -> None:
    assert is_in_body(needle, octets, Summary(summarise(octets)).places()) is is_in_body(needle, octets)


PIECES = [
    b"A: ",
    b"\r\n",
    b" ",
    b"\n",
    b"=?utf-8?q?=C3=84?=",
    b"=?Utf-8?B?w58=?=",
    b"?=",
    b"=?",
    b"x",
    b"\xc3\x84",
    b"B",
    b"\r\n\r\n",
    b"\t",
]


@given(st.lists(st.sampled_from(PIECES), max_size=15).map(b"".join))
def test_a_header_is_decoded_line_by_line(block: bytes) -> None:
    lines = unfolded_lines(block[: header_end(block)])
    assert header_text(block) == folded("\n".join(map(decode, lines)))
