"""Byte-stuffing (RFC 1939 section 3) and TOP (section 7) over every way to cut a message into pieces."""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailsrv.wire.pop3_text import Cutter, Stuffer, whole
from tests.properties import tries

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
    """The plain meaning of the RFC, line by line, where a bare LF begins a line too."""
    lines = [b"." + line if line.startswith(b".") else line for line in octets.split(b"\n")]
    return b"\n".join(lines) + (b".\r\n" if not octets or octets.endswith(b"\r\n") else b"\r\n.\r\n")


def sent(pieces: list[bytes]) -> bytes:
    """What a client gets of a message that is read in these pieces."""
    stuffer = Stuffer()
    return b"".join([stuffer.stuff(piece) for piece in pieces]) + stuffer.end()


@settings(max_examples=tries(150), deadline=None)
@given(SHAPES)
@example(b"")
@example(b".")
@example(b"\r\n.\r\n")
@example(b"a\r\n.\r\n..b\r\n.")
@example(b"\r\r\n.")
@example(b"a\n.\nb\n")
@example(b"\n.\r\n")
def test_rfc1939_section_3_stuffing_does_not_depend_on_the_cuts(octets: bytes) -> None:
    expected = stuffed(octets)
    assert whole(b"+OK\r\n", octets) == b"+OK\r\n" + expected
    for way in every_cut(octets):
        assert sent(way) == expected


def unstuffed(octets: bytes, end: bytes = b"\r\n") -> bytes:
    """What a client makes of a multi-line response, for whom lines end so, and what it takes for the next answer."""
    out, at = [], 0
    while (found := octets.find(end, at)) >= 0:
        line = octets[at : found + len(end)]
        at = found + len(end)
        if line.rstrip(b"\r\n") == b"." and line.startswith(b"."):
            assert at == len(octets), "what follows would be taken for an answer"
            return b"".join(out)
        out.append(line[1:] if line.startswith(b".") else line)
    raise AssertionError("no terminator")


def with_end(octets: bytes) -> bytes:
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


@settings(max_examples=tries(200), deadline=None)
@given(SHAPES)
def test_a_client_reads_back_exactly_what_was_stored(octets: bytes) -> None:
    assert unstuffed(sent([octets]), b"\n") == with_end(octets)


@settings(max_examples=tries(200), deadline=None)
@given(SHAPES)
def test_to_a_client_that_knows_crlf_alone_the_message_ends_at_its_end_too(octets: bytes) -> None:
    strict = octets.replace(b"\r\n", b"\0").replace(b"\n.", b"\n..").replace(b"\0", b"\r\n")
    assert unstuffed(sent([octets])) == with_end(strict)


def test_a_message_without_dots_is_not_copied() -> None:
    octets = b"Subject: x\r\n\r\nbody\r\n" * 100
    assert Stuffer().stuff(octets) is octets


def cut_plainly(octets: bytes, lines: int) -> bytes:
    """The plain meaning of TOP."""
    if octets.startswith(b"\r\n"):
        header, body = b"\r\n", octets[2:]
    else:
        header, found, body = octets.partition(b"\r\n\r\n")
        header += found
    ends = body.split(b"\r\n")
    return header + (body if len(ends) <= lines else b"".join(line + b"\r\n" for line in ends[:lines]))


@settings(max_examples=tries(120), deadline=None)
@given(SHAPES, st.integers(0, 4))
@example(b"\r\nbody\r\n", 0)
@example(b"A: b\r\n\r\n1\r\n2\r\n3", 2)
@example(b"A: b\r\n\r\n\r\n\r\n", 1)
@example(b"no empty line\r\n", 3)
def test_rfc1939_section_7_top_does_not_depend_on_the_cuts(octets: bytes, lines: int) -> None:
    expected = cut_plainly(octets, lines)
    for way in every_cut(octets):
        cutter = Cutter(lines)
        assert b"".join(cutter.cut(piece) for piece in way) == expected


def test_the_cutter_says_when_the_rest_is_not_wanted() -> None:
    cutter = Cutter(1)
    assert cutter.cut(b"A: b\r\n\r\n1\r\n") == b"A: b\r\n\r\n1\r\n" and cutter.done
    assert cutter.cut(b"2\r\n") == b""
    assert not (more := Cutter(99_999_999)).done and more.cut(b"A: b\r\n\r\n1") and not more.done
