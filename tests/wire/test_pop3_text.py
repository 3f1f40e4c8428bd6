"""Byte-stuffing (RFC 1939 section 3) and TOP (section 7) over every way to cut a message into pieces."""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailsrv.wire.pop3_text import Cutter, dot_stuff, top

#: Octets that matter, and one that does not.
SHAPES = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"x", b"\r\n.", b"\r\n\r\n"]), max_size=14).map(
    b"".join
)


def pieces(octets: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    """The octets cut at these places."""
    ends = [0, *cuts, len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(ends)]


def every_cut(octets: bytes) -> list[list[bytes]]:
    """Every way to cut into two or three pieces, and into single octets."""
    places = range(len(octets) + 1)
    ways = [pieces(octets, cuts) for cuts in itertools.combinations_with_replacement(places, 2)]
    return [*ways, pieces(octets, tuple(range(1, len(octets))))]


def stuffed(octets: bytes) -> bytes:
    """The plain meaning of the RFC: line by line."""
    lines = octets.split(b"\r\n")
    last = lines.pop()
    if last:
        lines.append(last)
    return b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"


@settings(max_examples=150, deadline=None)
@given(SHAPES)
@example(b"")
@example(b".")
@example(b"\r\n.\r\n")
@example(b"a\r\n.\r\n..b\r\n.")
@example(b"\r\r\n.")
def test_rfc1939_section_3_stuffing_does_not_depend_on_the_cuts(octets: bytes) -> None:
    expected = stuffed(octets)
    for way in every_cut(octets):
        assert b"".join(dot_stuff(way)) == expected


def unstuffed(octets: bytes) -> bytes:
    """What a client makes of a multi-line response."""
    out = []
    for line in octets.split(b"\r\n"):
        if line == b".":
            return b"".join(out)
        out.append((line[1:] if line.startswith(b".") else line) + b"\r\n")
    raise AssertionError("no terminator")


@settings(max_examples=200, deadline=None)
@given(SHAPES)
def test_a_client_reads_back_exactly_what_was_stored(octets: bytes) -> None:
    expected = octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"
    assert unstuffed(b"".join(dot_stuff([octets]))) == expected


def test_a_message_without_dots_is_not_copied() -> None:
    octets = b"Subject: x\r\n\r\nbody\r\n" * 100
    assert next(iter(dot_stuff([octets]))) is octets


def cut_plainly(octets: bytes, lines: int) -> bytes:
    """The plain meaning of TOP."""
    if octets.startswith(b"\r\n"):
        header, body = b"\r\n", octets[2:]
    else:
        header, found, body = octets.partition(b"\r\n\r\n")
        header += found
    ends = body.split(b"\r\n")
    return header + (body if len(ends) <= lines else b"".join(line + b"\r\n" for line in ends[:lines]))


@settings(max_examples=120, deadline=None)
@given(SHAPES, st.integers(0, 4))
@example(b"\r\nbody\r\n", 0)
@example(b"A: b\r\n\r\n1\r\n2\r\n3", 2)
@example(b"A: b\r\n\r\n\r\n\r\n", 1)
@example(b"no empty line\r\n", 3)
def test_rfc1939_section_7_top_does_not_depend_on_the_cuts(octets: bytes, lines: int) -> None:
    expected = cut_plainly(octets, lines)
    assert top(octets, lines) == expected
    for way in every_cut(octets):
        cutter = Cutter(lines)
        assert b"".join(cutter.cut(piece) for piece in way) == expected


def test_the_cutter_says_when_the_rest_is_not_wanted() -> None:
    cutter = Cutter(1)
    assert cutter.cut(b"A: b\r\n\r\n1\r\n") == b"A: b\r\n\r\n1\r\n" and cutter.done
    assert cutter.cut(b"2\r\n") == b""
    assert not (more := Cutter(99_999_999)).done and more.cut(b"A: b\r\n\r\n1") and not more.done
