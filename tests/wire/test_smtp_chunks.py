"""BDAT on the wire (RFC 3030), and what never ends the message of a DATA, however the octets arrive."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.limits import Limits
from mailsrv.testing.smuggling import EVIL, FALSE_ENDS
from mailsrv.wire import smtp_server as wire
from mailsrv.wire.engine import NEED_DATA, PAUSED
from mailsrv.wire.smtp_commands import LMTP, SMTP, read_command
from mailsrv.wire.smtp_data import BodyReader, ChunkReader
from mailsrv.wire.smtp_events import Chunk, Hello, Wrong
from tests.properties import tries

LIMITS = Limits(command_octets=200, text_line_octets=100)

SCRIPT = (
    b"BDAT 5\r\n\r\n.\r\nBDAT 0\r\nNOOP\r\nbdat 7 last \r\nQUIT\r\nxNOOP\r\n" + b"BDAT 300\r\n" + b"RSET\r\n" * 50
    + b"NOOP\r\nBDAT 1 LAST\r\nyQUIT\r\n"
)


def events_of(pieces: list[bytes], wanted: int = 3) -> list[object]:
    """All events; the first `wanted` chunks are taken, what comes of one is joined, the others are dropped."""
    engine = wire.SmtpServerEngine(LIMITS)
    reader = ChunkReader(100)
    out: list[object] = []
    body, seen = b"", 0
    for piece in pieces:
        engine.receive(piece)
        while (event := engine.next_event()) is not NEED_DATA:
            if isinstance(event, wire.Body):
                body += event.octets
                if event.last:
                    out.append(body)
                    body = b""
                continue
            out.append(event)
            if isinstance(event, Chunk):
                seen += 1
                if seen <= wanted:
                    engine.take_chunk(reader)
        assert engine.buffered <= 200
    return out


WHOLE = events_of([SCRIPT])


def test_rfc_3030_2_counted_octets_are_never_commands_whether_wanted_or_not() -> None:
    noop, quit_ = wire.Plain("NOOP"), wire.Plain("QUIT")
    assert WHOLE == [
        Chunk(5, False), b"\r\n.\r\n", Chunk(0, False), b"", noop, Chunk(7, True), b"QUIT\r\nx", noop,
        Chunk(300, False), noop, Chunk(1, True), quit_,
    ]  # fmt: skip


@pytest.mark.parametrize("at", range(1, len(SCRIPT), 3))
def test_split_anywhere_the_events_are_the_same(at: int) -> None:
    assert events_of([SCRIPT[:at], SCRIPT[at:]]) == WHOLE


def test_octet_by_octet_the_events_are_the_same() -> None:
    assert events_of([SCRIPT[k : k + 1] for k in range(len(SCRIPT))]) == WHOLE


@given(
    st.lists(st.sampled_from([b"BDAT 3\r\n", b"BDAT 2 LAST\r\n", b"BDAT 99\r\n", b"BDAT x\r\n", b"\r\n", b"."])
             | st.binary(max_size=9), max_size=15), st.booleans(),
)  # fmt: skip
@settings(max_examples=tries(150), deadline=None)
def test_no_octets_make_the_engine_raise_or_grow(pieces: list[bytes], wanted: bool) -> None:
    engine = wire.SmtpServerEngine(LIMITS)
    for piece in pieces:
        engine.receive(piece)
        while (event := engine.next_event()) not in (NEED_DATA, PAUSED):
            if isinstance(event, Chunk) and wanted:
                engine.take_chunk(ChunkReader(100))
        assert engine.buffered <= LIMITS.command_octets + 1


@pytest.mark.parametrize("text", [b"", b"x", b"-1", b"+1", b"1.5", b"0x10", b"1 2", b"1 LAST LAST", b"1LAST",
                                  b"\xc2\xb2", b"99999999999999999999", "١".encode(), b"LAST", b"1_0"])  # fmt: skip
def test_a_size_that_cannot_be_read_is_fatal(text: bytes) -> None:
    event = read_command(b"BDAT " + text, SMTP)
    assert isinstance(event, Wrong) and event.fatal and event.reply.code == 501


def test_rfc_3207_a_chunk_is_forgotten_with_the_clear_text() -> None:
    engine = wire.SmtpServerEngine(LIMITS)
    engine.receive(b"BDAT 100\r\nabc")
    assert engine.next_event() == Chunk(100, False) and engine.next_event() is NEED_DATA
    engine.tls_started()
    engine.receive(b"NOOP\r\n")
    assert engine.next_event() == wire.Plain("NOOP")


def test_rfc_2033_lmtp_has_a_greeting_of_its_own() -> None:
    assert read_command(b"lhlo c.example", LMTP) == Hello(True, "c.example")
    for line in (b"EHLO c", b"HELO c", b"EXPN x", b"ETRN x"):
        assert read_command(line, LMTP).reply.code == 500
    assert read_command(b"LHLO c", SMTP).reply.code == 500


# ---------------------------------------------------------------- text of a message

TEXT = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\0", b"\xff", b"x" * 30]), max_size=25)
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@given(TEXT, st.lists(st.integers(0, 60), max_size=6), st.booleans())
@settings(max_examples=tries(300), deadline=None)
def test_chunks_are_kept_as_they_are_or_normalised_however_they_are_cut(
    words: list[bytes], cuts: list[int], normalise: bool
) -> None:
    text, reader = b"".join(words), ChunkReader(1000, normalise)
    ends = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    out = b"".join(reader.take(text[a:b]) for a, b in pairwise(ends)) + reader.finish()
    wanted = _BARE.sub(b"\r\n", text) if normalise else text
    if wanted and not wanted.endswith(b"\r\n") and not (wanted.endswith(b"\n") and not normalise):
        wanted += b"\r\n"
    assert out == wanted and reader.size == len(out)
    assert reader.bare == (not normalise and bool(_BARE.search(text)))
    assert reader.nul == (b"\0" in text) and reader.eight_bit == (b"\xff" in text)


@given(TEXT, st.integers(1, 9))
@settings(max_examples=tries(200), deadline=None)
def test_a_normalised_body_has_crlf_alone_and_ends_where_it_would_have(words: list[bytes], step: int) -> None:
    text = b"".join(words) + b"\r\n.\r\n"
    plain, normal = BodyReader(1000), BodyReader(1000, normalise=True)
    pieces = [text[k : k + step] for k in range(0, len(text), step)]
    out = b"".join(normal.take(piece) for piece in pieces if not normal.ended)
    kept = b"".join(plain.take(piece) for piece in pieces if not plain.ended)
    assert normal.ended and plain.ended and normal.rest == plain.rest
    assert out == _BARE.sub(b"\r\n", kept) and not _BARE.search(out) and not normal.bare


@pytest.mark.parametrize("normalise", [False, True], ids=["refuse", "normalise"])
@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_smuggling_split_at_every_octet_nothing_but_crlf_dot_crlf_ends_a_message(end: bytes, normalise: bool) -> None:
    text = b"first" + end + EVIL
    results = set()
    for at in range(len(text) + 1):
        reader = BodyReader(1000, normalise)
        out = b"".join(reader.take(piece) for piece in (text[:at], text[at:]) if piece)
        assert not reader.ended, at
        # Neither the real end nor what follows it is lost.
        out += reader.take(b".\r\nNOOP\r\n")
        assert reader.ended and reader.rest == b"NOOP\r\n" and b"evil@x.example" in out
        results.add((out, reader.bare, reader.nul, reader.size))
    assert len(results) == 1


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_smuggling_octet_by_octet(end: bytes) -> None:
    reader = BodyReader(1000)
    for octet in b"first" + end + EVIL:
        reader.take(bytes([octet]))
        assert not reader.ended
