"""A front hands its transport over: with Twisted's own sockets and TLS, and when things go wrong."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_connection import EchoHost
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from mailsrv.net.certificate import ensure
from mailsrv.net.connection import Connection
from mailsrv.net.front import Front
from mailsrv.net.tls import Certificate
from mailsrv.values import Peer


@pytest.fixture
def reactor() -> Iterator[Any]:
    """The process's own, turned by the test: Twisted's TLS knows no other."""
    from twisted.internet import reactor as made

    yield made
    for one in made.removeAll():  # type: ignore[attr-defined]
        one.connectionLost(Failure(ConnectionDone()))


class Door(EchoHost):
    """A host whose clients all wait for `hold`."""

    def __init__(self, tls: bool, folder: Path) -> None:
        super().__init__()
        self.tls = tls
        ensure(folder / "crt", folder / "key", ["mx.example.org"])
        self.certificate = Certificate(folder / "crt", folder / "key", self.monotonic)
        self.hold: Deferred[bytes] = Deferred()
        self.fronts: list[Front] = []
        self.away: list[Front] = []

    def tls_context(self) -> Any:
        return self.certificate.context()

    async def arrive(self, front: Front) -> Connection | bytes:
        front.wait(10, b"too late;")
        words = await self.hold
        return words or Connection(self, front.peer, self.tls)

    def build(self, address: Any) -> Front:
        front = Front(Peer(address.host), self.monotonic, self.away.append, lambda incident: b"incident;")
        assert front.start(self.arrive(front)) is None
        self.fronts.append(front)
        return front


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Door:
    return Door(request.param, tmp_path)


def listening(reactor: Any, door: Door) -> int:
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = door.build  # type: ignore[method-assign]
    port: int = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
    return port


def turn(reactor: Any, until: Any) -> None:
    # Not so many turns: while there is always something to read, thousands of them take no time at all.
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end, "nothing happens"
        reactor.iterate(0.005)


def test_who_spoke_while_it_waited_is_heard_afterwards(reactor: Any, door: Door) -> None:
    port = listening(reactor, door)
    said: list[bytes] = []

    def client() -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", port), 60)
        with context.wrap_socket(plain) if door.tls else plain as talk:
            talk.sendall(b"early\n")
            while not said or b"early;" not in b"".join(said):
                said.append(talk.recv(100))

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    turn(reactor, lambda: door.fronts)
    # What the client sends stays in the kernel.
    for _ in range(20):
        reactor.iterate(0.005)
    assert said == [] and door.away == [] and not door.fronts[0]._read
    door.hold.callback(b"")
    turn(reactor, lambda: not thread.is_alive())
    assert b"".join(said) == b"hi;early;" and door.away == door.fronts
    turn(reactor, lambda: door.lost)


def test_who_is_refused_reads_why_and_the_transport_is_closed(reactor: Any, door: Door) -> None:
    port = listening(reactor, door)
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        turn(reactor, lambda: door.fronts)
        door.hold.callback(b"not you;")
        turn(reactor, lambda: door.away)
        assert client.recv(100) == b"not you;" and client.recv(100) == b""
        assert door.fronts[0].closing


def test_time_is_over_and_the_answer_comes_too_late(reactor: Any, door: Door) -> None:
    port = listening(reactor, door)
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        turn(reactor, lambda: door.fronts)
        door.now = 9
        door.fronts[0].check(door.now)
        assert not door.fronts[0].closing
        door.now = 10
        door.fronts[0].check(door.now)
        turn(reactor, lambda: door.away)
        assert client.recv(100) == b"too late;" and client.recv(100) == b""
    door.hold.callback(b"")
    assert door.away == door.fronts and door.lost == []


def test_a_failure_of_the_question_is_told_as_an_incident(reactor: Any, door: Door) -> None:
    port = listening(reactor, door)
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        turn(reactor, lambda: door.fronts)
        door.hold.errback(ZeroDivisionError("secret"))
        turn(reactor, lambda: door.away)
        assert client.recv(100) == b"incident;"


def test_one_who_takes_no_last_words_is_cut_off() -> None:
    class Stuck:
        disconnected = aborted = False

        def write(self, octets: bytes) -> None:
            pass

        def pauseProducing(self) -> None:
            pass

        def loseConnection(self) -> None:
            self.disconnected = True

        def abortConnection(self) -> None:
            self.aborted = True

    host = EchoHost()
    front = Front(Peer(""), host.monotonic, lambda front: None, lambda incident: b"")
    hold: Deferred[bytes] = Deferred()

    async def work() -> bytes:
        return await hold

    front.start(work())
    stuck = Stuck()
    front.makeConnection(stuck)  # type: ignore[arg-type]
    hold.callback(b"no;")
    assert stuck.disconnected and not stuck.aborted
    for host.now, aborted in ((29, False), (31, True)):
        front.check(host.now)
        assert stuck.aborted is aborted
