"""IContent in memory, and with a prefix."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from mailsrv.interfaces import IContent
from mailsrv.message.content import CHUNK, MemoryContent, prefixed
from mailsrv.testing.loop import Loop
from tests.properties import tries

PIECES = st.lists(st.binary(max_size=8), max_size=6)


def read(content: IContent, offset: int, length: int) -> bytes:
    return Loop().run(content.read(offset, length))


def test_they_provide_the_contract() -> None:
    content = MemoryContent([b"a"])
    assert verifyObject(IContent, content)
    assert verifyObject(IContent, prefixed(b"x", content))
    assert prefixed(b"", content) is content


@given(PIECES, PIECES, st.integers(-2, 50), st.integers(-2, 50))
@settings(max_examples=tries(200), deadline=None)
def test_reading_is_slicing(prefix: list[bytes], pieces: list[bytes], offset: int, length: int) -> None:
    whole = b"".join(prefix) + b"".join(pieces)
    content = prefixed(b"".join(prefix), MemoryContent(pieces))
    offset_now, length_now = max(offset, 0), max(length, 0)
    assert content.size == len(whole)
    assert read(content, offset, length) == whole[offset_now : offset_now + length_now]
    assert b"".join(content.chunks()) == whole
    assert read(MemoryContent(whole), offset, length) == whole[offset_now : offset_now + length_now]


def test_pieces_are_small_and_not_copied() -> None:
    big = bytes(CHUNK * 2 + 1)
    assert [len(piece) for piece in MemoryContent(big).chunks()] == [CHUNK, CHUNK, 1]
    small = bytes(100)
    assert next(iter(MemoryContent([small]).chunks())) is small
    assert read(MemoryContent([b"x", small]), 1, 100) is small
    assert read(MemoryContent(big), 0, len(big)) is big


def test_closing_reaches_the_content_under_a_prefix() -> None:
    class Watched(MemoryContent):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    under = Watched(b"x")
    prefixed(b"y", under).close()
    assert under.closed == 1
