"""COMPRESS in a session (RFC 4978): back-pressure, streams that are none, what is let go while nothing is said."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from imap_doubles import SlowStore
from test_imap_session import login, message, say, session_of

from mailsrv.net.deflate import PIECE
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport


def compressed(bed: Bed, window: int = 1 << 30) -> MemoryTransport:
    client = login(bed, window)
    assert say(bed, client, b"z COMPRESS DEFLATE") == b"z OK DEFLATE active\r\n"
    client.deflate()
    return client


def layer_of(client: MemoryTransport) -> Any:
    return client.protocol.layer


@pytest.mark.parametrize("octets", [b"NOOP\r\n", b"\xff" * 10])
def test_what_is_no_deflate_stream_ends_the_connection(octets: bytes) -> None:
    bed = Bed()
    client = compressed(bed)
    client._packing = None
    client.send(octets)
    bed.settle()
    assert client.closed and client.take() == b"* BYE Closing connection\r\n"


def test_a_stream_that_breaks_in_the_middle_of_a_message_ends_the_connection() -> None:
    bed = Bed()
    client = compressed(bed)
    assert say(bed, client, b"a APPEND INBOX {100}") == b"+ OK\r\n"
    client._packing = None
    client.send(b"\xff" * 10)
    bed.settle()
    assert client.closed and client.take() == b"* BYE Closing connection\r\n"


def test_what_is_dense_waits_in_the_dense_form() -> None:
    """A thousand times what came is not in memory at once: the engine gets it as it asks for it."""
    bed = Bed()
    client = compressed(bed)
    largest = 0
    receive = client.protocol.engine.receive
    engine = client.protocol.engine

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def receive(self, octets: bytes) -> None:
            nonlocal largest
            receive(octets)
            largest = max(largest, engine.buffered)

    client.protocol.engine = Watched()
    size = 100 * PIECE
    client.send(b"a APPEND INBOX {%d+}\r\n%b\r\nb NOOP\r\n" % (size, b" " * size))
    bed.settle()
    answer = client.take()
    assert b"a OK [APPENDUID" in answer and answer.endswith(b"b OK NOOP completed\r\n")
    assert PIECE <= largest <= 2 * PIECE


def test_while_a_command_waits_what_came_stays_deflated_and_the_rest_in_the_network() -> None:
    bed = Bed()
    bed.store = SlowStore(bed.store, bed.clock)  # type: ignore[assignment]
    client = login(bed)
    say(bed, client, b"z COMPRESS DEFLATE")
    client.deflate()
    # Random, so that it stays large.
    words = b"".join(b"%b NOOP\r\n" % sha256(b"%d" % number).hexdigest().encode() for number in range(20_000))
    client.send(b"a STATUS INBOX (MESSAGES)\r\n")
    client.send(words[: len(words) // 2])
    client.send(words[len(words) // 2 :])
    assert not client.reading and client.protocol.engine.buffered == 0
    bed.settle()
    assert client.reading and client.take().count(b" OK NOOP completed\r\n") == 20_000


def test_a_client_that_half_closes_gets_its_answers() -> None:
    bed = Bed()
    client = compressed(bed)
    client.send(b"a NOOP\r\nb NOOP\r\n")
    client.half_close()
    bed.settle()
    assert client.take() == b"a OK NOOP completed\r\nb OK NOOP completed\r\n" and client.closed


def test_the_deflater_is_forgotten_while_nothing_is_said() -> None:
    bed = Bed()
    bed.deliver(message(3000))
    client = compressed(bed)
    assert say(bed, client, b"a FETCH 1 BODY.PEEK[]").endswith(b"a OK FETCH completed\r\n")
    assert layer_of(client)._deflater is not None
    bed.settle(60)
    client.protocol.check(bed.clock.seconds())
    assert layer_of(client)._deflater is None
    assert say(bed, client, b"b FETCH 1 BODY.PEEK[]").endswith(b"b OK FETCH completed\r\n")


def test_a_client_in_idle_costs_no_deflater() -> None:
    bed = Bed()
    client = compressed(bed)
    say(bed, client, b"a NOOP")
    assert layer_of(client)._deflater is not None
    assert say(bed, client, b"b IDLE") == b"+ idling\r\n"
    assert layer_of(client)._deflater is None
    bed.deliver(message())
    assert client.take() == b"* 1 EXISTS\r\n* 1 RECENT\r\n" and layer_of(client)._deflater is None


def test_a_slow_client_is_waited_for_by_what_is_sent_not_by_what_is_said() -> None:
    bed = Bed()
    bed.deliver(message(4_000_000))
    client = compressed(bed, window=100_000)
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    bed.settle()
    most, out = 0, b""
    while not out.endswith(b"FETCH completed\r\n"):
        most = max(most, len(client.output))
        out += client.take()
        bed.settle()
    assert len(out) > 4_000_000 and most < 250_000


def test_words_to_a_client_that_is_dismissed_are_deflated() -> None:
    bed = Bed()
    client = compressed(bed)
    session_of(client).connection.dismiss("shutdown")
    assert client.take() == b"* BYE Server shutting down\r\n"
