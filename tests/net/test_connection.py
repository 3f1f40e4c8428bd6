"""The pump: strict order under slow answers, one write per read, back-pressure both ways."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher

from mailsrv.net.connection import Connection
from mailsrv.net.pump import TURNS
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Peer
from mailsrv.wire.engine import NEED_DATA


class LineEngine:
    """Lines in, lines as events."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def buffered(self) -> int:
        return len(self._data)

    def receive(self, octets: bytes) -> None:
        self._data += octets

    def next_event(self) -> Any:
        line, end, rest = self._data.partition(b"\n")
        if not end:
            return NEED_DATA
        self._data = rest
        return line

    def eof(self) -> None:
        pass

    def tls_started(self) -> None:
        self._data = b""


class EchoSession:
    """Says every line back; `wait` lines wait for a Deferred, others do what their name tells."""

    midway = False

    def __init__(self, connection: Connection) -> None:
        self.engine = LineEngine()
        self.connection = connection
        self.waits: list[Deferred[None]] = []
        self.gone = 0
        self.drained: list[str] = []

    def greet(self) -> None:
        self.connection.write(b"hi;")

    async def handle(self, event: bytes) -> None:
        if event.startswith(b"wait"):
            waited: Deferred[None] = Deferred()
            self.waits.append(waited)
            try:
                await waited
            except KeyError as error:
                event = b"failed:" + str(error.args[0]).encode()
        elif event == b"big":
            self.connection.write(b"x" * 20_000)
            await self.connection.drain()
            self.drained.append("big")
        elif event == b"more":
            event = b"more:" + await self.connection.next_event()
        elif event == b"bug":
            raise ZeroDivisionError("secret details")
        elif event == b"quit":
            self.connection.close()
        self.connection.write(event + b";")

    def limit(self, connected: float, active: float) -> float | None:
        return active + 10

    def dismiss(self, why: str) -> None:
        self.connection.write(b"bye " + why.encode() + b";")

    def fail(self, incident: str) -> None:
        self.connection.write(b"incident;")

    def closed(self) -> None:
        self.gone += 1


class EchoHost:
    """What a virtual server gives."""

    pending_octets = 20

    def __init__(self) -> None:
        self.now = 0.0
        self.lost: list[Connection] = []
        self.soon: list[Any] = []

    def monotonic(self) -> float:
        return self.now

    def session(self, connection: Connection) -> EchoSession:
        return EchoSession(connection)

    def tls_context(self) -> Any:
        return object()

    def left(self, connection: Connection) -> None:
        self.lost.append(connection)

    def call_soon(self, function: Any, *arguments: Any) -> None:
        self.soon.append((function, arguments))


def connected(window: int = 1 << 30) -> tuple[MemoryTransport, EchoSession, EchoHost]:
    host = EchoHost()
    transport = MemoryTransport(window)
    connection = Connection(host, Peer("192.0.2.1"))
    transport.attach(connection)
    session = connection.session
    assert isinstance(session, EchoSession)
    return transport, session, host


def test_answers_to_one_read_leave_in_one_write() -> None:
    transport, _, _ = connected()
    writes: list[bytes] = []
    transport.write = writes.append  # type: ignore[method-assign]
    transport.send(b"a\nb\nc\n")
    assert writes == [b"a;b;c;"]


def test_a_slow_answer_keeps_the_order_and_what_was_said_before_leaves() -> None:
    transport, session, _ = connected()
    transport.take()
    transport.send(b"a\nwait1\nb\nwait2\nc\n")
    assert transport.take() == b"a;"
    session.waits[0].callback(None)
    assert transport.take() == b"wait1;b;"
    session.waits[1].callback(None)
    assert transport.take() == b"wait2;c;"


def test_a_failure_is_raised_where_it_was_awaited() -> None:
    transport, session, _ = connected()
    transport.take()
    transport.send(b"wait1\nb\n")
    session.waits[0].errback(KeyError("why"))
    assert transport.take() == b"failed:why;b;"


def test_input_above_the_limit_waits_in_the_kernel() -> None:
    transport, session, _ = connected()
    transport.send(b"wait\n")
    transport.send(b"x" * 30 + b"\n")
    assert not transport.reading
    session.waits[0].callback(None)
    assert transport.reading
    assert transport.take().endswith(b"wait;" + b"x" * 30 + b";")


def test_output_waits_for_a_slow_peer() -> None:
    transport, session, _ = connected(window=50)
    transport.take()
    transport.send(b"big\na\n")
    assert session.drained == []
    assert transport.take() == b"x" * 20_000
    assert session.drained == ["big"]
    assert transport.take() == b"big;a;"


def test_a_peer_that_takes_no_answers_gets_no_more_of_them() -> None:
    transport, session, _ = connected(window=50)
    transport.take()
    transport.send(b"%s\n" % (b"a" * 60))
    transport.send(b"b\n" * 3)
    # What is said in answer to one read leaves in one write; the next read waits.
    assert transport.take() == b"a" * 60 + b";"
    assert transport.take() == b"b;b;b;"
    transport.send(b"%s\n" % (b"a" * 60))
    transport.send(b"c\n" * 20)
    transport.send(b"d\n")
    assert not transport.reading
    transport.drop()
    assert session.gone == 1


def test_many_small_commands_let_others_have_their_turn() -> None:
    transport, session, host = connected()

    async def handle(event: bytes) -> None:
        host.now += 0.0003
        session.connection.write(event + b";")

    session.handle = handle  # type: ignore[method-assign]
    transport.take()
    transport.send(b"a\n" * 40)
    assert len(host.soon) == 1 and transport.take() == b"a;" * TURNS
    function, arguments = host.soon.pop()
    function(*arguments)
    assert transport.take() == b"a;" * (40 - TURNS)


def test_a_handler_can_wait_for_the_next_event() -> None:
    transport, _, _ = connected()
    transport.take()
    transport.send(b"more\n")
    assert transport.take() == b""
    transport.send(b"x\ny\n")
    assert transport.take() == b"more:x;y;"


def test_a_bug_is_logged_once_and_its_text_is_not_shown() -> None:
    transport, session, host = connected()
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        transport.send(b"bug\nafter\n")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert transport.take() == b"hi;incident;"
    assert transport.closed
    assert [e["log_failure"].type for e in events if "log_failure" in e] == [ZeroDivisionError]
    assert host.lost and session.gone == 1


def test_a_vanished_peer_wakes_a_handler_and_all_is_let_go_once() -> None:
    for sent in (b"", b"more\n", b"big\n"):
        transport, session, host = connected(window=50)
        transport.send(sent)
        transport.drop()
        assert session.gone == 1 and len(host.lost) == 1


def test_a_handler_that_waits_for_the_store_ends_after_its_peer_is_gone() -> None:
    transport, session, host = connected()
    transport.send(b"wait\n")
    transport.drop()
    assert session.gone == 0
    session.waits[0].callback(None)
    assert session.gone == 1 and len(host.lost) == 1


def test_half_closed_complete_commands_are_answered_then_closed() -> None:
    transport, session, _ = connected()
    transport.take()
    transport.send(b"wait\na\nhalf")
    transport.half_close()
    assert not transport.closed
    session.waits[0].callback(None)
    assert transport.take() == b"wait;a;" and transport.closed


def test_idle_is_dismissed_but_a_command_under_way_is_not() -> None:
    transport, session, host = connected()
    connection = session.connection
    transport.send(b"wait\n")
    host.now = 11
    connection.check(host.now)
    assert not transport.closed
    session.waits[0].callback(None)
    # Who waited for the answer was not idle: the time counts from it.
    connection.check(host.now)
    assert not transport.closed
    host.now = 22
    connection.check(host.now)
    assert transport.closed and transport.take().endswith(b"bye idle;")


def test_a_peer_that_takes_nothing_is_cut_off() -> None:
    transport, session, host = connected(window=50)
    transport.send(b"big\n")
    host.now = 11
    session.connection.check(host.now)
    assert transport.aborted and session.gone == 1


def test_breathe_gives_others_a_turn_after_its_share() -> None:
    transport, session, host = connected()

    async def handle(event: bytes) -> None:
        await session.connection.breathe()
        host.now += 1
        await session.connection.breathe()
        session.connection.write(b"done;")

    session.handle = handle  # type: ignore[method-assign]
    transport.take()
    transport.send(b"a\n")
    assert len(host.soon) == 1 and transport.take() == b""
    function, arguments = host.soon.pop()
    function(*arguments)
    assert transport.take() == b"done;"


def test_after_the_last_words_nothing_more_is_said() -> None:
    transport, session, _ = connected()
    writes: list[bytes] = []
    transport.write = writes.append  # type: ignore[method-assign]
    transport.loseConnection = lambda: None  # type: ignore[method-assign]

    async def handle(event: bytes) -> None:
        await waits[0]
        session.connection.write(b"answer;")
        await waits[1]

    waits: list[Deferred[None]] = [Deferred(), Deferred()]
    session.handle = handle  # type: ignore[method-assign]
    transport.send(b"a\n")
    session.connection.dismiss("shutdown")
    waits[0].callback(None)
    waits[1].callback(None)
    assert writes == [b"bye shutdown;"]
    transport.drop()
    assert session.gone == 1


def test_answers_to_very_many_commands_of_one_read_are_bounded_by_what_the_peer_takes() -> None:
    transport, _, _ = connected(window=500)
    transport.take()
    transport.send(b"x" * 19 + b"\n" + (b"x" * 19 + b"\n") * 1000)
    assert len(transport.output) < 500 + 2 * 20 * TURNS
    total = 0
    while taken := transport.take():
        total += len(taken)
        assert len(transport.output) < 500 + 2 * 20 * TURNS
    assert total == 1001 * 20


def test_little_output_is_not_sent_before_the_end_of_the_turn() -> None:
    transport, session, _ = connected()
    writes: list[bytes] = []
    transport.write = writes.append  # type: ignore[method-assign]

    async def handle(event: bytes) -> None:
        session.connection.write(b"one;")
        await session.connection.drain()
        session.connection.write(b"two;")

    session.handle = handle  # type: ignore[method-assign]
    transport.send(b"a\n")
    assert writes == [b"one;two;"]


class Queue(MemoryTransport):
    """A transport with a queue of its own, that closes when that is empty."""

    queued = 0

    @property
    def unsent(self) -> int:
        return self.queued

    def loseConnection(self) -> None:
        if not self.queued:
            super().loseConnection()


def queued() -> tuple[Queue, EchoSession, EchoHost]:
    host = EchoHost()
    transport = Queue()
    connection = Connection(host, Peer("192.0.2.1"))
    transport.attach(connection)
    session = connection.session
    assert isinstance(session, EchoSession)
    return transport, session, host


def test_s_061_the_last_octets_of_a_download_on_their_way_are_activity() -> None:
    transport, session, host = queued()
    transport.send(b"a\n")
    for host.now, transport.queued in ((11, 900), (22, 600), (33, 1), (44, 0)):
        session.connection.check(host.now)
        assert not transport.closed
    host.now = 55
    session.connection.check(host.now)
    assert transport.closed and not transport.aborted


def test_s_061_octets_on_their_way_that_nobody_takes_are_none() -> None:
    # What is said meanwhile (news of a mailbox) is ours, and no sign of life of the peer.
    for second in (900, 1500):
        transport, session, host = queued()
        transport.send(b"a\n")
        host.now, transport.queued = 11, 900
        session.connection.check(host.now)
        assert not transport.closed
        host.now, transport.queued = 22, second
        session.connection.check(host.now)
        assert session.connection.closing


def test_s_061_a_closed_connection_stays_while_its_peer_takes_the_rest() -> None:
    transport, session, host = queued()
    transport.queued = 900
    transport.send(b"a\nquit\n")
    assert session.connection.closing and not transport.closed
    while transport.queued > 100:
        host.now += 29
        session.connection.check(host.now)
        transport.queued -= 100
        assert not transport.closed
    host.now += 29
    session.connection.check(host.now)
    host.now += 31
    session.connection.check(host.now)
    assert transport.aborted


def test_a_connection_that_is_gone_is_not_looked_at_while_its_handler_works() -> None:
    transport, session, host = connected()
    transport.send(b"wait\n")
    transport.drop()
    transport.abortConnection = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    host.now = 1000
    session.connection.check(host.now)
    session.waits[0].callback(None)
    assert session.gone == 1
