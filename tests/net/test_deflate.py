"""The deflate layer (RFC 4978): whatever the pieces, the same octets; what is dense or broken is bounded."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.net import deflate
from mailsrv.net.deflate import PIECE, Corrupt, Deflate
from tests.properties import tries


def packed(pieces: list[bytes], level: int = 6, finish: bool = False) -> bytes:
    """What a client sends, each piece flushed."""
    made = zlib.compressobj(level, zlib.DEFLATED, -15)
    out = b"".join([made.compress(piece) + made.flush(zlib.Z_SYNC_FLUSH) for piece in pieces])
    return out + (made.flush() if finish else b"")


def drained(layer: Deflate) -> bytes:
    out = []
    while layer.pending:
        out.append(layer.inflate())
        assert len(out[-1]) <= PIECE
    return b"".join(out)


PIECES = st.lists(st.binary(max_size=200) | st.integers(0, 2 * PIECE).map(bytes), max_size=4)


@settings(deadline=None, max_examples=tries(50))
@given(PIECES, st.sampled_from([0, 1, 6, 9]), st.integers(7, 5000))
def test_rfc4978_what_a_client_says_arrives_however_it_is_cut(pieces: list[bytes], level: int, size: int) -> None:
    layer, stream, out = Deflate(), packed(pieces, level), b""
    for at in range(0, len(stream), size):
        layer.feed(stream[at : at + size])
        out += drained(layer)
    assert out == b"".join(pieces)


@settings(deadline=None)
@given(PIECES, st.lists(st.booleans(), min_size=6, max_size=6))
def test_rfc4978_each_write_can_be_read_at_once_also_after_a_rest(pieces: list[bytes], rests: list[bool]) -> None:
    layer, client = Deflate(), zlib.decompressobj(-15)
    for piece, resting in zip(pieces, rests):
        assert client.decompress(layer.deflate(piece)) == piece
        if resting:
            layer.rest()


@given(st.lists(st.binary(min_size=1, max_size=50)))
def test_any_octets_give_octets_or_are_refused(reads: list[bytes]) -> None:
    layer, said, came = Deflate(), 0, 0
    try:
        for octets in reads:
            layer.feed(octets)
            said, came = said + len(octets), came + len(drained(layer))
    except Corrupt:
        # Once refused, it stays so.
        with pytest.raises(Corrupt):
            layer.feed(b"\x00")
            drained(layer)
    # Deflate makes at most 1032 octets of one (RFC 1951).
    assert came <= 1032 * said


def test_a_bomb_is_inflated_piece_by_piece() -> None:
    layer = Deflate()
    layer.feed(packed([bytes(20 * PIECE)]))
    assert layer.held < PIECE // 20
    assert len(layer.inflate()) == PIECE and layer.pending
    assert len(drained(layer)) == 19 * PIECE and not layer.pending


def test_a_stream_that_is_far_too_dense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "GRACE", 10 * PIECE)
    layer = Deflate()
    layer.feed(packed([bytes(40 * PIECE)]))
    with pytest.raises(Corrupt):
        drained(layer)
    usual, client = Deflate(), zlib.compressobj(6, zlib.DEFLATED, -15)
    for number in range(40):
        text = b"%06d " % number * 100 + bytes(range(256)) * (PIECE // 256)
        usual.feed(client.compress(text) + client.flush(zlib.Z_SYNC_FLUSH))
        drained(usual)


def test_nothing_follows_a_stream_that_was_ended() -> None:
    layer = Deflate()
    layer.feed(packed([b"a LOGOUT\r\n"], finish=True) + b"garbage")
    assert drained(layer) == b"a LOGOUT\r\n"
    layer.feed(b"garbage")
    assert not layer.pending and not layer.held
