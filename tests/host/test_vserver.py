"""The life of one virtual server: start, stop, sessions that outlast it (S-013, S-017; decisions 25)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mailsrv.host.leaving import AT_ONCE, GRACE
from mailsrv.host.vserver import TICK
from mailsrv.testing.bed import Bed
from mailsrv.values import ACCEPT, Peer, Verdict


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


def test_of_many_a_stop_dismisses_some_at_a_time() -> None:
    bed = Bed()
    clients = [bed.connect("smtp") for _ in range(3 * AT_ONCE)]
    stopped = bed.server("smtp").stop()
    told = sum(b"421 " in client.take() for client in clients)
    assert told == AT_ONCE and not fired(stopped)
    bed.settle(0.1)
    assert all(client.closed for client in clients) and fired(stopped)


def test_s_019_s_021_a_paused_server_keeps_its_sessions_and_lets_nobody_in() -> None:
    bed = Bed()
    client, server = bed.connect("smtp"), bed.server("smtp")
    server.start("paused")
    assert server.state == "paused" and server.accept(Peer("192.0.2.1"), False) is None
    client.take()
    client.send(b"HELO c\r\n")
    bed.settle()
    assert client.take().startswith(b"250 ")
    server.start()
    assert server.state == "running" and server.accept(Peer("192.0.2.1"), False) is not None
