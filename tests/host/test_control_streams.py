"""Operations that answer with a stream: items on the wire, slow readers, the end; and the feed that holds items."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mailsrv.errors import Refused
from mailsrv.host.control import wire
from mailsrv.host.control.client import Client, NotReachable
from mailsrv.host.control.run import run
from mailsrv.host.control.table import OPERATIONS, Asker, End, operation
from mailsrv.host.control.wire import ControlFactory, ControlProtocol
from mailsrv.host.events import Feed
from mailsrv.testing.loop import Loop
from mailsrv.values import ACCEPT, Identity, Verdict

TESTER = Identity(0, "unix:tester", mechanism="UNIX")


class Anything:
    """A site whose authorizer permits everything."""

    class authorizer:
        """See IAuthorizer."""

        @staticmethod
        async def permits(identity: Any, action: str, resource: str) -> Verdict:
            """Yes."""
            return ACCEPT


class Tap:
    """What the operation test.tap gives: items of a feed, then a result; `left` counts the readers that are gone."""

    def __init__(self) -> None:
        self.feed = Feed(limit=3)
        self.left = 0

    def register(self) -> None:
        """As the operation test.tap."""

        @operation("test.tap", stream=True)
        async def tap(site: Any, asker: Asker, last: str = "") -> AsyncGenerator[Any, None]:
            """Items as they come."""
            try:
                async for item in self.feed:
                    yield item
                yield End({"by": asker.who, "last": last})
            finally:
                self.left += 1


@pytest.fixture
def tap() -> Iterator[Tap]:
    """An operation test.tap."""
    made = Tap()
    made.register()
    yield made
    made.feed.close()
    del OPERATIONS["test.tap"]


class Wire:
    """One connection without a socket."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.factory = ControlFactory(Anything(), self.clock, lambda transport: TESTER)
        self.protocol = ControlProtocol()
        self.protocol.factory = self.factory
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def ask(self, operation: str, **arguments: Any) -> list[dict[str, Any]]:
        """Ask, with the id 1; what was answered."""
        request = {"id": 1, "operation": operation, "arguments": arguments}
        self.protocol.dataReceived(json.dumps(request).encode() + b"\n")
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        """What was answered since the last time."""
        self.clock.advance(0)
        octets = self.transport.value()
        self.transport.clear()
        return [json.loads(line) for line in octets.splitlines()]


def test_items_come_one_by_one_and_then_the_result(tap: Tap) -> None:
    connection = Wire()
    assert connection.ask("test.tap", last="x") == []
    tap.feed.push("one")
    assert connection.answers() == [{"id": 1, "item": "one"}]
    tap.feed.push({"two": 2})
    tap.feed.close()
    assert connection.answers() == [
        {"id": 1, "item": {"two": 2}}, {"id": 1, "result": {"by": "unix:tester", "last": "x"}}
    ]  # fmt: skip
    # The connection is good for more.
    assert connection.ask("nope.nope")[0]["error"].startswith("no operation")
    connection.protocol.connectionLost()
    assert connection.clock.getDelayedCalls() == [] and tap.left == 1


def test_a_slow_reader_makes_the_stream_wait_and_the_feed_counts_what_it_leaves_out(tap: Tap) -> None:
    connection = Wire()
    connection.ask("test.tap")
    connection.protocol.flow.pauseProducing()
    for number in range(1, 10):
        tap.feed.push(number)
    # One was on its way, three wait.
    assert connection.answers() == [{"id": 1, "item": 1}]
    connection.protocol.flow.resumeProducing()
    assert [answer["item"] for answer in connection.answers()] == [2, 3, 4, {"lost": 5}]
    tap.feed.push(10)
    assert connection.answers() == [{"id": 1, "item": 10}]


def test_a_client_that_leaves_ends_the_stream(tap: Tap) -> None:
    waiting, stuck = Wire(), Wire()
    waiting.ask("test.tap")
    waiting.protocol.connectionLost()
    assert tap.left == 1
    stuck.ask("test.tap")
    stuck.protocol.flow.pauseProducing()
    tap.feed.push("on its way")
    stuck.protocol.connectionLost()
    assert tap.left == 2
    assert waiting.clock.getDelayedCalls() == stuck.clock.getDelayedCalls() == []


def test_a_stream_is_read_meanwhile_so_that_its_end_is_seen(tap: Tap) -> None:
    connection = Wire()
    connection.ask("test.tap")
    assert connection.transport.producerState == "producing"
    # What is asked meanwhile waits for its turn, and there is an end of what may wait.
    assert connection.ask("nope.nope") == []
    tap.feed.close()
    assert [set(answer) for answer in connection.answers() + connection.answers()] == [
        {"id", "result"}, {"id", "error", "status"}
    ]  # fmt: skip
    tap.feed = Feed()
    connection.ask("test.tap")
    connection.protocol.dataReceived(b"x" * (wire.MAX_REQUEST + 1))
    said = connection.answers()
    assert said[0]["error"] == "too much was sent during a stream" and said[1]["error"] == "the stream was cut off"
    assert connection.transport.disconnecting and tap.left == 2


def test_a_quiet_stream_says_that_it_is_there_and_a_stuck_one_is_cut_off(tap: Tap) -> None:
    connection = Wire()
    connection.ask("test.tap")
    connection.clock.advance(wire.ALIVE_SECONDS)
    assert connection.answers() == [{"id": None, "alive": True}]
    connection.protocol.flow.pauseProducing()
    for _ in range(int(wire.IDLE_SECONDS // wire.ALIVE_SECONDS) - 1):
        connection.clock.advance(wire.ALIVE_SECONDS)
    assert connection.answers() == [] and not connection.transport.disconnected
    connection.clock.advance(wire.ALIVE_SECONDS)
    assert connection.transport.disconnected


def test_the_end_of_the_server_cuts_streams_off(tap: Tap) -> None:
    connection = Wire()
    connection.ask("test.tap")
    connection.factory.close()
    assert connection.answers() == [{"id": 1, "error": "the stream was cut off", "status": "4.3.2"}]
    assert connection.transport.disconnecting and tap.left == 1


def test_answers_that_nobody_reads_hold_further_requests_back() -> None:
    connection = Wire()
    connection.protocol.flow.pauseProducing()
    assert connection.ask("nope.nope") == []
    connection.protocol.flow.resumeProducing()
    assert connection.answers()[0]["error"].startswith("no operation")


def test_in_the_process_a_function_takes_the_items(tap: Tap) -> None:
    taken: list[Any] = []

    async def send(item: Any) -> None:
        """Take it."""
        taken.append(item)

    tap.feed.push("a")
    tap.feed.close()
    answer = Loop().run(run(object(), "test.tap", send=send))
    assert (taken, answer) == (["a"], {"result": {"by": "this process", "last": ""}})
    assert "nobody takes its items" in Loop().run(run(object(), "test.tap"))["error"]


def test_a_bug_in_a_stream_is_an_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    @operation("test.broken", stream=True)
    async def broken(site: Any) -> AsyncGenerator[Any, None]:
        """Breaks."""
        yield 1
        raise ZeroDivisionError

    try:
        said = Wire().ask("test.broken")
    finally:
        del OPERATIONS["test.broken"]
    assert said[0] == {"id": 1, "item": 1} and said[1]["error"].startswith("internal error, incident")


def test_only_a_generator_function_is_a_stream() -> None:
    async def plain(site: Any) -> None:
        """No stream."""

    with pytest.raises(TypeError, match="async generator"):
        operation("test.plain", stream=True)(plain)
    assert "test.plain" not in OPERATIONS


# ---------------------------------------------------------------- the feed alone


def test_a_feed_keeps_the_order_and_tells_where_something_is_missing() -> None:
    feed = Feed(limit=2)
    for number in range(5):
        feed.push(number)

    async def take(count: int) -> list[Any]:
        """That many items."""
        return [await feed.__anext__() for _ in range(count)]

    assert Loop().run(take(1)) == [0]
    feed.push(5)
    feed.close()
    feed.push("too late")

    async def rest() -> list[Any]:
        """All that is left."""
        return [item async for item in feed]

    assert Loop().run(rest()) == [1, {"lost": 3}, 5]


def test_a_reader_that_waits_is_woken_by_an_item_and_by_the_end() -> None:
    feed = Feed()
    got: list[Any] = []

    async def read() -> None:
        """Until the end."""
        async for item in feed:
            got.append(item)
        got.append("end")

    Deferred.fromCoroutine(read())
    feed.push(1)
    assert got == [1]
    feed.close()
    assert got == [1, "end"]


# ---------------------------------------------------------------- the blocking client

SERVER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from mailsrv.host.control.table import End, operation
from mailsrv.host.control.wire import ControlFactory, listen
from mailsrv.values import ACCEPT

class Site:
    class authorizer:
        async def permits(identity, action, resource):
            return ACCEPT

LEFT = []

@operation("test.count", stream=True)
async def count(site, to: int):
    "Numbers, each with a kilobyte."
    try:
        for number in range(to):
            LEFT[:] = [number]
            yield [number, "x" * 1000]
        yield End("all")
    finally:
        LEFT.append("left")

@operation("test.left")
async def left(site):
    "How far the last one got."
    return LEFT

listen(reactor, Path(sys.argv[1]), ControlFactory(Site(), reactor))
sys.stdout.write("ready\\n")
sys.stdout.flush()
reactor.callLater(60, reactor.stop)
reactor.run()
"""


def test_a_blocking_client_iterates(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with subprocess.Popen([sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
            with Client(path) as client:
                assert [item[0] for item in client.stream("test.count", {"to": 3000})] == list(range(3000))
                with pytest.raises(Refused, match="must be given"):
                    list(client.stream("test.count"))
                with pytest.raises(Refused, match="answers with a stream"):
                    client.call("test.count", {"to": 1})
            with Client(path) as client, Client(path) as other:
                items = client.stream("test.count", {"to": 10**9})
                assert next(items)[0] == 0
                # It waits for the reader: no more is made than what the sockets hold.
                (far,) = other.call("test.left")["result"]
                assert far < 5000
                items.close()
                while (left := other.call("test.left")["result"])[-1] != "left":
                    pass
                assert left[0] < 5000
                with pytest.raises(NotReachable):
                    client.call("test.left")
        finally:
            server.terminate()
