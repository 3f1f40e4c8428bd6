"""The octet buffer: lines and counted octets come out the same however they arrived."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.wire.buffer import Buffer, LineTooLong
from tests.properties import tries


def test_lines_end_with_crlf_only() -> None:
    buffer = Buffer()
    buffer.feed(b"a\nb\rc\r\n\r\nrest")
    assert [buffer.line(100), buffer.line(100), buffer.line(100)] == [b"a\nb\rc", b"", None]
    assert len(buffer) == 4


def test_the_limit_counts_the_crlf() -> None:
    buffer = Buffer()
    buffer.feed(b"12345678\r\n")
    with pytest.raises(LineTooLong):
        buffer.line(9)
    assert buffer.line(10) == b"12345678"


def test_a_line_that_cannot_fit_any_more_is_known_before_its_end() -> None:
    buffer = Buffer()
    buffer.feed(b"x" * 9)
    assert buffer.line(10) is None
    buffer.feed(b"\r")
    with pytest.raises(LineTooLong):
        buffer.line(10)


def test_skip_line_finds_a_crlf_in_two_halves() -> None:
    buffer = Buffer()
    buffer.feed(b"x" * 50)
    assert not buffer.skip_line() and len(buffer) == 0
    buffer.feed(b"y\r")
    assert not buffer.skip_line() and len(buffer) == 1
    buffer.feed(b"\nnext\r\n")
    assert buffer.skip_line()
    assert buffer.line(100) == b"next"


def test_a_whole_read_is_handed_on_without_a_copy() -> None:
    buffer, octets = Buffer(), b"z" * 1000
    buffer.feed(octets)
    assert buffer.take_up_to(5000) is octets


def test_the_bound_is_hard() -> None:
    buffer = Buffer(10)
    buffer.feed(b"1234567")
    buffer.feed(b"89abcdef")
    assert buffer.overflowed and len(buffer) == 10
    assert buffer.take_up_to(99) == b"123456789a"
    buffer.feed(b"lost")
    assert len(buffer) == 0
    buffer.clear()
    buffer.feed(b"new")
    assert buffer.take(3) == b"new" and not buffer.overflowed


def test_a_line_fed_octet_by_octet_is_searched_once() -> None:
    buffer = Buffer()
    for _ in range(100_000):
        buffer.feed(b"x")
        assert buffer.line(1 << 20) is None
    buffer.feed(b"\r\n")
    assert buffer.line(1 << 20) == b"x" * 100_000


@settings(max_examples=tries(300), deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcdef", b"x" * 30]), max_size=40), st.data())
def test_any_split_gives_the_same_lines(parts: list[bytes], data: st.DataObject) -> None:
    octets = b"".join(parts)
    limit = 12

    def read(cuts: list[int]) -> list[bytes]:
        buffer, out, skipping, at = Buffer(), [], False, 0
        for cut in [*cuts, len(octets)]:
            buffer.feed(octets[at:cut])
            at = cut
            while True:
                if skipping:
                    if not buffer.skip_line():
                        break
                    skipping = False
                try:
                    line = buffer.line(limit)
                except LineTooLong:
                    out.append(b"TOO LONG")
                    skipping = True
                    continue
                if line is None:
                    break
                out.append(line)
        return out

    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    expected = [b"TOO LONG" if len(line) + 2 > limit else line for line in octets.split(b"\r\n")]
    expected.pop()
    if len(octets.split(b"\r\n")[-1]) >= limit:
        expected.append(b"TOO LONG")
    assert read(cuts) == expected == read(list(range(len(octets))))


@settings(max_examples=tries(200), deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 40)), max_size=40))
def test_takes_are_what_was_fed(steps: list[bytes | int]) -> None:
    buffer, model = Buffer(), b""
    for step in steps:
        if isinstance(step, bytes):
            buffer.feed(step)
            model += step
        else:
            assert buffer.peek(step) == model[:step]
            taken = buffer.take(step)
            assert taken == (model[:step] if len(model) >= step else None)
            if taken is None:
                assert buffer.take_up_to(step) == model[:step]
            model = model[step:]
        assert len(buffer) == len(model)
