"""Answers are offered to the socket at once; what it does not take goes the reactor's way."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server
from twisted.internet.testing import MemoryReactor

from mailsrv.net.send import send, without_delay
from tests.loopback import loopback

Pair = tuple[Server, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A Twisted transport over a real loopback connection, and the client's socket."""
    with loopback() as (accepted, address, client):
        transport = Server(accepted, Protocol(), address, None, 0, MemoryReactor())
        yield transport, client
        accepted.close()


def test_a_small_answer_is_there_without_the_reactor(pair: Pair) -> None:
    transport, client = pair
    send(transport, b"250 OK\r\n")
    assert client.recv(100) == b"250 OK\r\n"
    assert not transport.dataBuffer and not transport._tempDataBuffer


def test_what_the_socket_does_not_take_waits_in_order(pair: Pair) -> None:
    transport, client = pair
    big = bytes(range(256)) * 40_000
    send(transport, big)
    send(transport, b"the end")
    got = b""
    while not got.endswith(b"the end"):
        transport.doWrite()
        got += client.recv(1 << 20)
    assert got == big + b"the end"


def test_a_reset_connection_ends_the_usual_way(pair: Pair) -> None:
    transport, client = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    send(transport, b"x")
    send(transport, b"y")
    assert transport._tempDataBuffer


def test_small_pieces_do_not_wait_for_an_acknowledgement(pair: Pair) -> None:
    transport, _ = pair
    without_delay(transport)
    assert transport.getTcpNoDelay()
