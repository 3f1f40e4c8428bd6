"""Header fields taken out and put above: the body is never copied."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.interfaces import IContent
from mailsrv.message.content import MemoryContent
from mailsrv.message.header import MAX_OCTETS
from mailsrv.message.rewrite import is_field, read_head, rewritten, without
from mailsrv.testing.loop import Loop
from tests.properties import tries


def result(octets: bytes, prefix: bytes = b"", removed: frozenset[bytes] = frozenset()) -> bytes:
    content = Loop().run(rewritten(MemoryContent(octets), prefix, removed))
    assert IContent.providedBy(content)
    whole = b"".join(content.chunks())
    assert whole == Loop().run(content.read(0, content.size)) and len(whole) == content.size
    return whole


@pytest.mark.parametrize(("octets", "kept"), [
    (b"A: 1\r\nX: 2\r\nB: 3\r\n\r\nX: body\r\n", b"A: 1\r\nB: 3\r\n\r\nX: body\r\n"),
    (b"x: 1\r\n two\r\n\tthree\r\nB: 3\r\n\r\n", b"B: 3\r\n\r\n"),
    (b"X : 1\r\nB: 3\r\nX: 2\r\n\r\nb", b"B: 3\r\n\r\nb"),
    (b"X: 1\r\n\r\n", b"\r\n"),
    (b"X: 1\r\n", b""),
    (b"X: 1", b""),
    (b"A: 1\r\nX: 1", b"A: 1\r\n"),
    (b"XX: 1\r\nAX: 2\r\n", b"XX: 1\r\nAX: 2\r\n"),
    (b"\r\nX: body\r\n", b"\r\nX: body\r\n"),
    (b"B: 1\nX: 2\nC: 3\n\nX: body", b"B: 1\nC: 3\n\nX: body"),
    (b"", b""),
])  # fmt: skip
def test_fields_are_taken_out_of_the_header_alone(octets: bytes, kept: bytes) -> None:
    assert result(octets, removed=frozenset({b"x"})) == kept
    assert result(octets, b"P: 0\r\n", frozenset({b"x"})) == b"P: 0\r\n" + kept


def test_a_message_that_has_none_of_them_is_the_same_content() -> None:
    content = MemoryContent(b"A: 1\r\n\r\nbody")
    assert Loop().run(rewritten(content, b"", {b"x"})) is content


def test_the_body_is_read_from_where_it_is() -> None:
    asked: list[tuple[int, int]] = []

    class Watched(MemoryContent):
        """Notes what is read."""

        closed = False

        async def read(self, offset: int, length: int) -> bytes:
            asked.append((offset, length))
            return self.cut(offset, length)

        def chunks(self) -> Iterator[bytes]:
            raise AssertionError("nobody reads all of it")

        def close(self) -> None:
            self.closed = True

    content = Watched(b"X: 1\r\nA: 1\r\n\r\n" + b"b" * 10**6)
    made = Loop().run(rewritten(content, b"P: 1\r\n", {b"x"}))
    assert sum(length for _, length in asked) <= 8192
    assert Loop().run(made.read(0, 20)) == b"P: 1\r\nA: 1\r\n\r\nbbbbbb" and made.size == 10**6 + 14
    made.close()
    assert content.closed


def test_a_long_header_is_read_and_its_rest_kept() -> None:
    long = b"A: " + b"x" * 20_000 + b"\r\n"
    assert result(long + b"X: 1\r\n\r\nb", removed=frozenset({b"x"})) == long + b"\r\nb"
    endless = (b"B: " + b"y" * 997 + b"\r\n") * (MAX_OCTETS // 1002 + 10)
    assert result(endless + b"X: 1\r\n\r\nb", removed=frozenset({b"x"})) == endless + b"X: 1\r\n\r\nb"
    assert len(Loop().run(read_head(MemoryContent(endless)))) == MAX_OCTETS


LINES = st.lists(st.sampled_from([b"X: 1", b"x:", b" more", b"\t", b"A: b", b"", b"no field", b"X"]), max_size=8)


@given(LINES, st.sampled_from([b"\r\n", b"\n"]))
@settings(max_examples=tries(200), deadline=None)
def test_what_is_left_is_there_in_order_and_no_more(lines: list[bytes], end: bytes) -> None:
    octets = end.join(lines)
    kept = without(octets, {b"x"})
    rest = iter(octets.splitlines(keepends=True))
    assert all(any(line == other for other in rest) for line in kept.splitlines(keepends=True))
    assert without(kept, {b"x"}) == kept and not kept.lower().startswith((b"x:", b"x :"))


@pytest.mark.parametrize(("octets", "good"), [
    (b"X-A: b\r\n", True), (b"X-A: b\r\n\tc\r\n d\r\n", True), (b"X:\r\n", True), ("X: ü\r\n".encode(), True),
    (b"X: b", False), (b"X b: c\r\n", False), (b": c\r\n", False), (b"X: b\r\n\r\n", False), (b"X: b\nY: c\r\n", False),
    (b"X: \0\r\n", False), (b" X: b\r\n", False), (b"X: b\r\nY: c\r\n", False), (b"", False),
])  # fmt: skip
def test_rfc5322_2_2_what_one_field_is(octets: bytes, good: bool) -> None:
    assert is_field(octets) is good
