"""The life of one virtual server: start, stop, sessions that outlast it (S-013, S-017; decisions 25)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsrv.host.config.values import Binding
from mailsrv.host.vserver import GRACE, TICK, VirtualServer
from mailsrv.limits import Limits
from mailsrv.testing.bed import Bed
from mailsrv.values import ACCEPT, Verdict


class Slow:
    """A policy that answers a sender when a test says so."""

    def __init__(self) -> None:
        self.waits: list[Deferred[Verdict]] = []

    async def on_sender(self, transaction: Any) -> Verdict:
        self.waits.append(Deferred())
        return await self.waits[-1]


def fired(deferred: Deferred[Any]) -> bool:
    out: list[Any] = []
    deferred.addBoth(out.append)
    return bool(out)


def slow_bed() -> tuple[Bed, Slow]:
    policy = Slow()
    return Bed(policies=[lambda: policy]), policy


def test_a_stop_dismisses_who_waits_at_once_and_ends_when_the_last_is_gone() -> None:
    bed = Bed()
    clients = [bed.connect("smtp") for _ in range(3)]
    stopped = bed.server("smtp").stop()
    assert fired(stopped)
    assert all(client.take().endswith(b"421 4.3.2 Service is stopping\r\n") and client.closed for client in clients)


def test_a_command_under_way_is_answered_before_the_server_is_gone() -> None:
    bed, policy = slow_bed()
    client = bed.connect("smtp")
    client.send(b"HELO c\r\nMAIL FROM:<a@b.example>\r\n")
    client.take()
    stopped = bed.server("smtp").stop()
    bed.settle(1)
    assert not fired(stopped)
    policy.waits[0].callback(ACCEPT)
    bed.settle()
    assert client.take() == b"250 2.1.0 Sender OK\r\n421 4.3.2 Service is stopping\r\n" and client.closed
    assert fired(stopped)


def test_a_command_that_never_ends_does_not_keep_a_server_from_stopping() -> None:
    bed, policy = slow_bed()
    client = bed.connect("smtp")
    client.send(b"HELO c\r\nMAIL FROM:<a@b.example>\r\n")
    stopped = bed.server("smtp").stop()
    bed.settle(GRACE - 1)
    assert not fired(stopped)
    bed.settle(2)
    assert fired(stopped) and client.closed
    # What ends after all finds nobody, and does no harm.
    policy.waits[0].callback(ACCEPT)
    bed.settle()
    assert bed.server("smtp").sessions() == []


def test_two_stops_at_once_both_end() -> None:
    bed, policy = slow_bed()
    client = bed.connect("smtp")
    client.send(b"HELO c\r\nMAIL FROM:<a@b.example>\r\n")
    first, second = bed.server("smtp").stop(), bed.server("smtp").stop()
    policy.waits[0].callback(ACCEPT)
    bed.settle(GRACE)
    assert fired(first) and fired(second)
    assert bed.clock.getDelayedCalls() == []


def test_a_server_started_again_keeps_its_new_sessions_while_the_old_ones_end() -> None:
    bed, _ = slow_bed()
    old = bed.connect("smtp")
    old.send(b"HELO c\r\nMAIL FROM:<a@b.example>\r\n")
    server = bed.server("smtp")
    stopped = server.stop()
    server.start()
    new = bed.connect("smtp")
    bed.settle(GRACE + 1)
    assert fired(stopped) and old.closed
    new.take()
    new.send(b"NOOP\r\n")
    bed.settle()
    assert new.take() == b"250 2.0.0 OK\r\n" and not new.closed


def test_a_second_start_changes_nothing() -> None:
    bed = Bed()
    server = bed.server("smtp")
    server.start()
    ticks = len(bed.clock.getDelayedCalls())
    assert ticks == 1
    server.stop()
    assert bed.clock.getDelayedCalls() == []


def test_a_session_that_breaks_at_the_tick_ends_alone() -> None:
    bed = Bed()
    bed.limit(idle_timeout=10)
    broken, idle = bed.connect("smtp"), bed.connect("smtp")

    def raises(connected: float, active: float) -> None:
        raise ZeroDivisionError

    for connection in bed.server("smtp").arrivals.present:
        if connection.transport is broken:
            connection.session.limit = raises  # type: ignore[method-assign]
    bed.settle(20)
    assert idle.closed and idle.take().endswith(b"421 4.4.2 Idle for too long\r\n")
    assert broken.closed and b"451 4.3.0 Internal error, incident" in broken.take()
    assert [call.getTime() - bed.clock.seconds() <= TICK for call in bed.clock.getDelayedCalls()] == [True]


class Ports:
    """A reactor that counts ports."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.open: list[Any] = []

    def callLater(self, *arguments: Any) -> Any:
        return self.clock.callLater(*arguments)

    def listenTCP(self, port: int, factory: Any, backlog: int, interface: str) -> Any:
        made = Port(self, factory)
        self.open.append(made)
        return made


class Port:
    """A port that listens or not."""

    def __init__(self, ports: Ports, factory: Any) -> None:
        self.ports, self.factory = ports, factory
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        self.reading = True

    def stopListening(self) -> None:
        self.ports.open.remove(self)


def server_on(ports: Ports, automatic: bool = True) -> VirtualServer:
    return VirtualServer(
        "smtp/default",
        Limits(),
        lambda *_: None,  # type: ignore[arg-type, return-value]
        ports,
        monotonic=ports.clock.seconds,
        numbers=lambda: 1,
        bindings=[Binding("127.0.0.1", 25, False)],
        automatic=automatic,
    )


def test_ports_are_taken_early_and_accept_when_started_and_come_back_after_a_stop() -> None:
    ports = Ports()
    server = server_on(ports)
    server.bind()
    assert [port.reading for port in ports.open] == [False]
    server.startService()
    assert [port.reading for port in ports.open] == [True] and server.state == "running"
    assert fired(server.stop()) and ports.open == [] and server.state == "stopped"
    server.start()
    assert [port.reading for port in ports.open] == [True]
    server.start()
    assert len(ports.open) == 1
    assert fired(server.stopService())


def test_s_013_a_server_for_manual_start_holds_no_port_before_that() -> None:
    ports = Ports()
    server = server_on(ports, automatic=False)
    server.startService()
    assert ports.open == [] and server.state == "stopped"
    server.start()
    assert len(ports.open) == 1 and server.state == "running"
    assert fired(server.stopService())
