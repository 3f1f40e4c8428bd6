"""BODY=BINARYMIME becomes text on its way in (RFC 3030 section 3, docs/decisions/0013)."""

from __future__ import annotations

from email import message_from_bytes, policy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.wire.smtp_binary import MAX_DEPTH, MAX_HEADER, BinaryReader
from tests.properties import tries

BINARY = bytes(range(256)) * 3 + b"\r\n--x\r\n\n.\n\r\n"
MIXED = (
    b"Subject: two\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n"
    b'Content-Type: multipart/mixed;\r\n\tboundary="a (b)"\r\n\r\npreamble\r\n--a (b)\r\n'
    b"Content-Type: text/plain; charset=us-ascii\r\n\r\nhello\r\n--a (b)  \r\n"
    b"Content-Type: image/x\r\nContent-Transfer-Encoding: BINARY (raw)\r\nX: y\r\n\r\n" + BINARY + b"\r\n--a (b)\r\n"
    b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    b"Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Transfer-Encoding: binary\r\n\r\n\0"
    b"\r\n--in--\r\n--a (b)--\r\nepilogue\r\n"
)


def convert(pieces: list[bytes], limit: int = 1000) -> tuple[bytes, BinaryReader]:
    reader = BinaryReader(limit)
    out = b"".join(reader.take(piece) for piece in pieces) + reader.finish()
    assert reader.size == len(out)
    return out, reader


def leaves(octets: bytes) -> list[Any]:
    return [
        part.get_payload(decode=True)
        for part in message_from_bytes(octets, policy=policy.default).walk()
        if not part.is_multipart()
    ]


def sound(reader: BinaryReader) -> bool:
    return not (reader.nul or reader.bare or reader.long_line or reader.malformed)


def test_rfc_3030_3_binary_parts_become_base64_and_all_else_stays() -> None:
    out, reader = convert([MIXED])
    assert sound(reader) and not reader.eight_bit
    assert leaves(out)[0] == b"hello" and leaves(out)[1] == BINARY and leaves(out)[2] == b"\0"
    assert out.count(b"base64") == 2 and b"binary" not in out.lower() and out.count(b"8bit") == 2
    assert b"\r\npreamble\r\n--a (b)\r\n" in out and out.endswith(b"\r\n--a (b)--\r\nepilogue\r\n")


WHOLE = convert([MIXED])[0]


@given(st.lists(st.integers(0, len(MIXED)), max_size=6))
@settings(max_examples=tries(150), deadline=None)
def test_split_anywhere_it_is_the_same(cuts: list[int]) -> None:
    cuts = sorted({0, *cuts, len(MIXED)})
    assert convert([MIXED[a:b] for a, b in pairwise(cuts)])[0] == WHOLE


def test_octet_by_octet_it_is_the_same() -> None:
    assert convert([MIXED[k : k + 1] for k in range(len(MIXED))])[0] == WHOLE


@pytest.mark.parametrize("body", [b"", b"x", b"\r", b"\n", b"\r\n", b"--", b"-", b"\r\n--", BINARY, b"q" * 57])
def test_a_message_of_one_binary_part(body: bytes) -> None:
    out, reader = convert([b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body])
    assert sound(reader) and leaves(out) == [body] and out.endswith(b"\r\n")


@pytest.mark.parametrize("body", [b"", b"x", b"\r\n", b"-", b"--", b"--b", b"\r", BINARY.replace(b"--x", b"--bb")])
@pytest.mark.parametrize("end", [b"\r\n--b--", b"\r\n--b--\r\n", b"\r\n--b--\r\nz", b"\r\n--b-- \t\r\n"])
def test_the_last_part_ends_where_its_boundary_does(body: bytes, end: bytes) -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    if body == b"--b":
        body = b"-b"
    out, reader = convert([head + body + end])
    assert sound(reader) and leaves(out) == [body]


def test_what_is_not_declared_binary_keeps_to_the_rules_of_text() -> None:
    for octets, what in (
        (b"A: b\r\n\r\nx\0\r\n", "nul"), (b"A: b\r\n\r\nx\ny\r\n", "bare"), (b"A\r: b\r\n\r\n", "bare"),
        (b"A: b\r\n\r\n" + b"x" * 1001, "long_line"), (b"A: \0\r\n\r\n", "nul"),
    ):  # fmt: skip
        assert getattr(convert([octets])[1], what)
        bound = b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\n"
        assert getattr(convert([bound + octets + b"\r\n--b--\r\n"])[1], what)


@pytest.mark.parametrize(
    "octets",
    [b"Content-Type: multipart/mixed\r\n\r\n", b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n",
     b"A: " + b"x" * MAX_HEADER + b"\r\n", b"Content-Type: multipart/mixed; boundary=" + b"x" * 300 + b"\r\n\r\n",
     b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (k, k) for k in range(MAX_DEPTH + 1)),
     b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * 1001],
    ids=["no boundary", "empty boundary", "long header", "long boundary", "deep", "many parts"],
)  # fmt: skip
def test_a_structure_without_measure_is_malformed_and_nothing_more_is_kept(octets: bytes) -> None:
    reader = BinaryReader(1000)
    reader.take(octets)
    assert reader.malformed and reader.take(b"\0" * 10_000) == b"" and reader.finish() == b""


PIECES = st.sampled_from(
    [b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Transfer-Encoding: binary\r\n", b"\r\n", b"--b\r\n",
     b"--b--\r\n", b"\r\n--", b"\r", b"\n", b"\0", b"--", b"x", b"Content-Type: message/rfc822\r\n", b"\xff" * 60]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=5), max_size=40))
@settings(max_examples=tries(200), deadline=None)
def test_no_octets_make_it_raise_and_what_comes_out_is_told(pieces: list[bytes]) -> None:
    out, reader = convert(pieces, 200)
    assert reader.nul == (b"\0" in out)
    assert reader.bare == (not out.count(b"\r") == out.count(b"\n") == out.count(b"\r\n"))
    assert out == b"" or out.endswith(b"\r\n") or reader.malformed
    assert convert([b"".join(pieces)], 200)[0] == out


def test_what_looks_like_boundaries_costs_no_more_than_other_octets() -> None:
    """A read of nothing but beginnings of boundaries is gone through once."""
    reader = BinaryReader(1000)
    reader.take(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n")
    held = 0
    for _ in range(20):
        reader.take(b"\r\n--" * 16_000)
        held = max(held, len(reader._held))
    assert held < 300
