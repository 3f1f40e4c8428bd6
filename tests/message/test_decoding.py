"""Transfer encodings undone piece by piece (RFC 2045 section 6): however the pieces fall, the result is the same."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message.decoding import MAX_LINE, Base64Decoder, QuotedDecoder, decoder, encoding_of


def decoded(encoding: bytes, octets: bytes, size: int = 1 << 20) -> bytes:
    made = decoder(encoding)
    assert made is not None
    out = [made.take(octets[at : at + size]) for at in range(0, len(octets), size)]
    return b"".join([*out, made.finish()])


@pytest.mark.parametrize(
    "encoded, plain",
    [
        (b"AAEC\r\nAwQF\r\nBg==\r\n", bytes(range(7))),
        (b"YWI=YWI=", b"abab"),
        (b"YWI", b"ab"),
        (b"YWJjZ", b"abc"),
        (b"====", b""),
        (b"\xff\x00", b""),
    ],
)
def test_rfc2045_base64_of_any_quality(encoded: bytes, plain: bytes) -> None:
    assert decoded(b"base64", encoded) == plain


@pytest.mark.parametrize(
    "encoded, plain",
    [
        (b"Gr=C3=BC=\r\nn=20\r\n", b"Gr\xc3\xbcn \r\n"),
        (b"a  \t\r\nb =\r\n c", b"a\r\nb  c"),
        (b"=ZZ=", b"=ZZ"),
        (b"a= \r\nb", b"ab"),
        (b"no end  ", b"no end"),
    ],
)
def test_rfc2045_quoted_printable_of_any_quality(encoded: bytes, plain: bytes) -> None:
    assert decoded(b"quoted-printable", encoded) == plain


@given(st.binary(max_size=300), st.integers(1, 40))
def test_what_is_well_encoded_comes_back(octets: bytes, size: int) -> None:
    assert decoded(b"base64", base64.encodebytes(octets).replace(b"\n", b"\r\n"), size) == octets
    assert decoded(b"quoted-printable", quopri.encodestring(octets, quotetabs=True), size) == octets


TEXT = st.lists(st.sampled_from([b"=", b"==", b"A", b"bcd", b"3D", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\xff", b"\0"]))


@given(TEXT.map(b"".join), st.integers(1, 20))
def test_pieces_make_no_difference_and_nothing_grows(octets: bytes, size: int) -> None:
    for encoding in (b"base64", b"quoted-printable"):
        whole = decoded(encoding, octets)
        assert len(whole) <= len(octets)
        assert decoded(encoding, octets, size) == whole


def test_a_line_without_end_is_not_held() -> None:
    made = QuotedDecoder()
    assert made.take(b"a" * (MAX_LINE - 1) + b"=") == b""
    assert made.take(b"41b") == b"a" * (MAX_LINE - 1) + b"Ab"
    held = Base64Decoder()
    assert held.take(b"YWI") == b"" and held.finish() == b"ab"


@given(st.integers(0, 6), st.binary(max_size=6))
def test_no_code_is_cut_in_a_long_line(before: int, rest: bytes) -> None:
    octets = b"x" * (MAX_LINE - 3 + before) + b"=41=42" + rest.replace(b"=", b"").replace(b"\r", b"") + b"z"
    assert decoded(b"quoted-printable", octets, MAX_LINE) == decoded(b"quoted-printable", octets)


@pytest.mark.parametrize(
    "block, encoding",
    [
        (b"Content-Transfer-Encoding: BASE64 (really)\r\n\r\n", b"base64"),
        (b'content-transfer-encoding : "8bit";\r\n\r\n', b"8bit"),
        (b"Subject: x\r\n\r\n", b""),
    ],
)
def test_rfc2045_the_name_of_an_encoding(block: bytes, encoding: bytes) -> None:
    assert encoding_of(block) == encoding
