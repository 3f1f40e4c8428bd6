"""The control wire: JSON lines, one answer each, bounds; and the client over a real UNIX socket."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mailsrv.host.control import wire
from mailsrv.host.control.client import Client, NotReachable
from mailsrv.host.control.table import OPERATIONS, Operation
from mailsrv.host.control.wire import ControlFactory, ControlProtocol
from mailsrv.values import ACCEPT, Identity, Verdict

SERVER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from mailsrv.auth.authorizer import AccountsAuthorizer
from mailsrv.auth.roles import owners
from mailsrv.host.control.wire import ControlFactory, listen
from mailsrv.store.memory import MemoryStore
from mailsrv.values import DomainFacts

class Site:
    config_path = None
    monotonic = reactor.seconds
    @staticmethod
    async def sleep(seconds):
        pass
    store = MemoryStore(domains=[DomainFacts("example.org")])
    directory = store.directory
    authorizer = AccountsAuthorizer(directory, {}, [owners()])
    class logins:
        kept = frozenset()
    class hasher:
        @staticmethod
        async def hash(password):
            return "$argon2id$"

factory = ControlFactory(Site(), reactor)
listen(reactor, Path(sys.argv[1]), factory, *sys.argv[2:])
sys.stdout.write("ready\\n")
sys.stdout.flush()
reactor.callLater(60, reactor.stop)
reactor.run()
"""


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[Deferred[Any]]:
    """An operation test.wait whose answers are held back."""
    held: list[Deferred[Any]] = []

    async def wait(site: Any, text: str = "") -> Any:
        """Hold."""
        answer: Deferred[Any] = Deferred()
        held.append(answer)
        return await answer

    held_back = Operation("test.wait", wait, {"text": (str, False)}, frozenset(), False)
    monkeypatch.setitem(OPERATIONS, "test.wait", held_back)
    return held


class Wire:
    """One connection without a socket."""

    def __init__(self, factory: ControlFactory) -> None:
        self.protocol = ControlProtocol()
        self.protocol.factory = factory
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def ask(self, octets: bytes) -> list[dict[str, Any]]:
        """Give it octets; what it has answered."""
        self.protocol.dataReceived(octets)
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        """What it has answered since the last time, after all calls that were due."""
        self.protocol.factory.reactor.advance(0)
        octets = self.transport.value()
        self.transport.clear()
        return [json.loads(line) for line in octets.splitlines()]


class Anything:
    """A site whose authorizer permits everything."""

    class authorizer:
        """See IAuthorizer."""

        @staticmethod
        async def permits(identity: Any, action: str, resource: str) -> Verdict:
            """Yes."""
            return ACCEPT


@pytest.fixture
def factory() -> ControlFactory:
    """For a site that part.list does not look at."""
    return ControlFactory(Anything(), Clock(), lambda transport: Identity(0, "unix:tester", mechanism="UNIX"))


def request(number: Any, operation: str, **arguments: Any) -> bytes:
    """One line."""
    return json.dumps({"id": number, "operation": operation, "arguments": arguments}).encode() + b"\n"


def test_a_request_is_answered_whatever_the_pieces(factory: ControlFactory) -> None:
    connection = Wire(factory)
    line = request("a", "part.list")
    for octet in line[:-1]:
        assert connection.ask(bytes([octet])) == []
    (answer,) = connection.ask(b"\n")
    assert answer["id"] == "a" and answer["result"][0]["contract"] == "IAuthenticator"


def test_answers_come_in_order_one_at_a_time(factory: ControlFactory, waiting: list[Deferred[Any]]) -> None:
    connection = Wire(factory)
    assert connection.ask(request(1, "test.wait") + request(2, "test.wait") + request(3, "nope.nope")) == []
    assert len(waiting) == 1 and connection.transport.producerState == "paused"
    waiting[0].callback("first")
    assert connection.answers() == [{"id": 1, "result": "first"}]
    assert len(waiting) == 2
    waiting[1].callback("second")
    answers = connection.answers() + connection.answers()
    assert [answer["id"] for answer in answers] == [2, 3]
    assert answers[0]["result"] == "second" and answers[1]["error"].startswith("no operation")
    assert connection.transport.producerState == "producing"


@pytest.mark.parametrize("many", [wire.LOT, wire.LOT + 1, 10 * wire.LOT])
def test_a_long_list_is_encoded_in_slices_and_is_the_same(
    factory: ControlFactory, waiting: list[Deferred[Any]], many: int
) -> None:
    turns: list[float] = []
    clock, result = iter(range(10_000)), [{"id": number, "name": "\u00e4"} for number in range(many)]

    async def sleep(seconds: float) -> None:
        turns.append(seconds)

    factory.site.monotonic, factory.site.sleep = lambda: next(clock), sleep
    connection = Wire(factory)
    assert connection.ask(request(1, "test.wait")) == []
    waiting[0].callback(result)
    assert connection.answers() == [{"id": 1, "result": result}]
    assert len(turns) == (0 if many <= wire.LOT else -(-many // wire.LOT))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"5", b"\xff\xfe", b"[" * 100_000, b'"x"', b"null"])
def test_what_is_no_request_is_answered_and_the_connection_kept(factory: ControlFactory, line: bytes) -> None:
    connection = Wire(factory)
    (answer,) = connection.ask(line + b"\n")
    assert answer == {"id": None, "error": "a request is one JSON object on a line", "status": "5.5.2"}
    assert connection.ask(request(1, "part.list"))[0]["id"] == 1


@pytest.mark.parametrize("line", [b"{}", b'{"operation": {}}', b'{"operation": "part.list", "arguments": 3}'])
def test_a_request_without_sense_is_refused(factory: ControlFactory, line: bytes) -> None:
    (answer,) = Wire(factory).ask(line + b"\n")
    assert answer["id"] is None and "an operation has a name" in answer["error"]


def test_a_line_without_end_is_cut_off(factory: ControlFactory) -> None:
    connection = Wire(factory)
    assert connection.ask(b"x" * wire.MAX_REQUEST) == []
    (answer,) = connection.ask(b"x")
    assert answer["error"] == "the request is too long" and connection.transport.disconnecting
    assert connection.ask(b"\n" + request(1, "part.list")) == []


def test_an_idle_connection_is_closed_but_not_one_at_work(
    factory: ControlFactory, waiting: list[Deferred[Any]]
) -> None:
    connection = Wire(factory)
    connection.ask(request(1, "test.wait"))
    factory.reactor.advance(wire.IDLE_SECONDS * 2)
    assert not connection.transport.disconnecting
    waiting[0].callback(None)
    assert connection.answers() == [{"id": 1, "result": None}]
    factory.reactor.advance(wire.IDLE_SECONDS - 1)
    assert not connection.transport.disconnecting
    factory.reactor.advance(1)
    assert connection.answers()[0]["error"] == "idle for too long" and connection.transport.disconnecting


def test_there_is_a_limit_of_connections(factory: ControlFactory) -> None:
    connections = [Wire(factory) for _ in range(wire.MAX_CONNECTIONS)]
    refused = Wire(factory)
    assert refused.answers()[0]["error"] == "too many control connections" and refused.transport.disconnecting
    refused.protocol.connectionLost()
    connections[0].protocol.connectionLost()
    assert Wire(factory).ask(request(1, "part.list"))[0]["id"] == 1


def test_closing_waits_for_the_answer_and_leaves_no_timer(
    factory: ControlFactory, waiting: list[Deferred[Any]]
) -> None:
    idle, busy = Wire(factory), Wire(factory)
    busy.ask(request(1, "test.wait"))
    factory.close()
    assert idle.transport.disconnecting and not busy.transport.disconnecting
    waiting[0].callback("done")
    assert busy.answers() == [{"id": 1, "result": "done"}] and busy.transport.disconnecting
    for connection in (idle, busy):
        connection.protocol.connectionLost()
    assert factory.connections == set() and factory.reactor.getDelayedCalls() == []


def test_a_connection_that_goes_while_its_operation_runs(
    factory: ControlFactory, waiting: list[Deferred[Any]]
) -> None:
    connection = Wire(factory)
    connection.ask(request(1, "test.wait"))
    connection.protocol.connectionLost()
    waiting[0].callback("nobody hears")
    assert factory.reactor.getDelayedCalls() == []


def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    # A socket that a crash left behind is in nobody's way.
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with subprocess.Popen([sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
            assert path.stat().st_mode & 0o777 == 0o600
            with Client(path) as client:
                added = client.call("user.add", {"address": "me@example.org", "password": "x"})
                assert added["result"]["address"] == "me@example.org"
                assert client.call("user.add", {"address": "me@example.org"})["status"] == "5.0.0"
                many = [{"address": f"u{n}@example.org", "password": "x" * 1000} for n in range(500)]
                assert client.call("user.import", {"accounts": many})["result"] == {"added": 500, "failed": []}
                assert len(client.call("user.list")["result"]) == 501
                with pytest.raises(NotReachable, match=r"refused: the request is too long|stopped answering"):
                    client.call("user.list", {"domain": "x" * (wire.MAX_REQUEST + 1)})
        finally:
            server.terminate()


def _serve_once(path: Path, octets: bytes) -> threading.Thread:
    """A server that answers the first request with these octets and closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        """One connection."""
        connection, _ = listener.accept()
        with listener, connection:
            connection.recv(65536)
            connection.sendall(octets)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("octets", [b"", b"{", b"{}\n", b'{"id": 2}\n', b"[]\n", b'{"id": 1', b"\xff\n"])
def test_an_answer_without_sense_is_not_reachable(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "s"
    thread = _serve_once(path, octets)
    with Client(path) as client, pytest.raises(NotReachable, match=r"stopped answering|refused"):
        client.call("part.list")
    thread.join(5)


def test_no_server_is_not_reachable(tmp_path: Path) -> None:
    with pytest.raises(NotReachable, match=r"no server at .*: No such file or directory"):
        Client(tmp_path / "none.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left.sock"))
    left.close()
    with pytest.raises(NotReachable, match="Connection refused"):
        Client(tmp_path / "left.sock")
    assert os.listdir(tmp_path) == ["left.sock"]
