"""A connection that was closed while it was read from is gone at once; any other way out is Twisted's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsrv.net.accepted import Accepted
from mailsrv.net.send import send
from tests.loopback import loopback


@implementer(IHalfCloseableProtocol)
class Polite(Protocol):
    """Answers QUIT with its last words and closes; `gone` is what Twisted told of the end."""

    gone: Failure | None = None
    half = False
    last_words = b"+OK\r\n"

    def dataReceived(self, data: bytes) -> None:
        """Octets came."""
        if data == b"QUIT\r\n":
            send(self.transport, self.last_words)
            self.transport.loseConnection()

    def readConnectionLost(self) -> None:
        """The peer said all."""
        self.half = True

    def writeConnectionLost(self) -> None:
        """Not in these tests."""

    def connectionLost(self, reason: Any = None) -> None:
        """The end."""
        self.gone = reason


Pair = tuple[Accepted, socket.socket, Polite]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A transport over a real loopback connection, and the client's socket."""
    with loopback() as (accepted, address, client):
        protocol = Polite()
        transport = Accepted(accepted, protocol, address, None, 0, MemoryReactor())
        protocol.makeConnection(transport)
        yield transport, client, protocol
        accepted.close()


def read(transport: Accepted) -> None:
    """What the reactor does when there is something to read."""
    why = transport.doRead()
    if why is CONNECTION_DONE:
        transport.readConnectionLost(Failure(why))
    elif why is not None:
        transport.connectionLost(Failure(why))


def test_last_words_are_followed_by_the_end_in_the_same_turn(pair: Pair) -> None:
    transport, client, protocol = pair
    client.sendall(b"QUIT\r\n")
    read(transport)
    assert protocol.gone is not None and protocol.gone.check(type(CONNECTION_DONE)) and not protocol.half
    assert client.recv(100) + client.recv(100) == b"+OK\r\n"


def test_words_that_the_peer_does_not_take_yet_are_waited_for(pair: Pair) -> None:
    transport, client, protocol = pair
    protocol.last_words = bytes(10_000_000)
    client.sendall(b"QUIT\r\n")
    read(transport)
    assert protocol.gone is None and transport.disconnecting
    got = 0
    while got < len(protocol.last_words):
        got += len(client.recv(1 << 20))
        done = transport.doWrite()
    assert done is CONNECTION_DONE


def test_the_end_comes_later_when_nothing_was_read(pair: Pair) -> None:
    transport, _, protocol = pair
    transport.loseConnection()
    assert protocol.gone is None and transport.doWrite() is CONNECTION_DONE


def test_a_connection_goes_on_after_what_it_read(pair: Pair) -> None:
    transport, client, protocol = pair
    assert transport.doRead() is None  # there was nothing
    client.sendall(b"NOOP\r\n")
    read(transport)
    client.shutdown(socket.SHUT_WR)
    read(transport)
    assert protocol.half and protocol.gone is None


def test_a_reset_is_the_end(pair: Pair) -> None:
    transport, client, protocol = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    read(transport)
    assert protocol.gone is not None and protocol.gone.check(type(CONNECTION_LOST))
