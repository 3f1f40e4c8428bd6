"""What is idle, on all three protocols: who takes octets is not, who sends octets of no command is (S-060, S-061)."""

from __future__ import annotations

import pytest

from mailsrv.net.connection import HANDSHAKE, WORTH_NOTING
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Peer

IDLE = 600.0
BODY = b"Subject: large\r\n\r\n" + b"a line of a large message\r\n" * 8000
DOWNLOAD = {
    "imap": (b"a LOGIN me secret\r\nb SELECT INBOX\r\n", b"c FETCH 1 BODY.PEEK[]\r\n", b"c OK FETCH completed\r\n"),
    "pop3": (b"USER me\r\nPASS secret\r\n", b"RETR 1\r\n", b"message\r\n.\r\n"),
}
both = pytest.mark.parametrize("protocol", ["imap", "pop3"])


def bed_of(**limits: float | None) -> Bed:
    bed = Bed()
    bed.limit(**{"idle_timeout": IDLE, "login_timeout": 60.0, **limits})
    return bed


def downloading(bed: Bed, protocol: str) -> MemoryTransport:
    """A client that has asked for a large message, of which it has taken nothing."""
    bed.deliver(BODY)
    client = bed.connect(protocol, window=1000)
    login, ask, _ = DOWNLOAD[protocol]
    client.send(login)
    bed.settle()
    while client.take():
        bed.settle()
    client.send(ask)
    bed.settle()
    assert len(client.output) > client.window
    return client


@both
def test_s_061_a_download_that_takes_longer_than_the_idle_time_is_not_cut(protocol: str) -> None:
    bed = bed_of()
    client = downloading(bed, protocol)
    # So slowly that what is held for it, 64 KiB, does not run out within the idle time.
    got = bytearray()
    for _ in range(100):
        got += client.take(50)
        bed.settle(60)
        assert not client.closed
    while piece := client.take():
        got += piece
        bed.settle(IDLE / 2)
    assert BODY in got and got.endswith(DOWNLOAD[protocol][2]) and not client.closed
    bed.settle(IDLE + 2)
    assert client.closed and not client.aborted


@both
def test_s_061_one_that_takes_nothing_is_cut(protocol: str) -> None:
    bed = bed_of()
    client = downloading(bed, protocol)
    bed.settle(IDLE - 10)
    assert not client.closed
    client.take(1)
    bed.settle(20)
    bed.settle(IDLE - 30)
    assert not client.closed
    bed.settle(40)
    assert client.aborted


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_s_060_a_line_that_trickles_in_is_no_activity(protocol: str) -> None:
    # An SMTP server of role relay has no time for a login; with the others it is over sooner than that.
    bed = bed_of(login_timeout=None)
    client = bed.connect(protocol)
    client.take()
    for _ in range(9):
        bed.settle(60)
        client.send(b"N")
    assert not client.closed
    bed.settle(62)
    # RFC 1939 section 3: a POP3 server says nothing.
    said = client.take()
    assert client.closed and ((b"Idle for too long" in said) if protocol != "pop3" else b"-ERR" not in said)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_s_060_after_login_a_line_that_trickles_in_is_no_activity(protocol: str) -> None:
    bed = bed_of()
    client = bed.connect(protocol)
    client.send(DOWNLOAD[protocol][0])
    bed.settle()
    client.take()
    bed.settle(IDLE - 10)
    client.send(b"a NOOP\r\n" if protocol == "imap" else b"NOOP\r\n")
    for _ in range(9):
        bed.settle(60)
        client.send(b"N")
        assert not client.closed
    bed.settle(62)
    # RFC 1939 section 3: a POP3 server says nothing.
    said = client.take()
    assert client.closed and ((b"Idle for too long" in said) if protocol != "pop3" else b"-ERR" not in said)


def test_before_login_the_time_runs_from_the_beginning_whatever_is_said() -> None:
    bed = bed_of()
    client = bed.connect("imap")
    for _ in range(6):
        client.send(b"a NOOP\r\n")
        bed.settle(10)
    bed.settle(2)
    assert b"* BYE Idle for too long" in client.take() and client.closed


@pytest.mark.parametrize(("piece", "lives"), [(1, False), (WORTH_NOTING // 3, True)])
def test_pieces_of_a_message_are_activity_if_there_are_enough_of_them(piece: int, lives: bool) -> None:
    bed = bed_of()
    client = bed.connect("imap")
    client.send(DOWNLOAD["imap"][0] + b"c APPEND INBOX {100000}\r\n")
    bed.settle()
    for _ in range(30):
        client.send(b"x" * piece)
        bed.settle(60)
    assert client.closed is not lives


def test_s_060_thousands_are_looked_at_a_share_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsrv.host.arrivals.AT_ONCE", 3)
    bed = bed_of()
    clients = [bed.connect("smtp") for _ in range(8)]
    looks: list[int] = []
    look_at = bed.server("smtp").arrivals._look_at
    monkeypatch.setattr(bed.server("smtp").arrivals, "_look_at", lambda some: looks.append(len(some)) or look_at(some))
    clients[7].send(b"NOOP\r\n")
    bed.settle(IDLE + 2)
    assert looks[:3] == [8, 5, 2] and all(client.closed for client in clients)


def test_a_handshake_has_its_time() -> None:
    class Silent(MemoryTransport):
        def startTLS(self, context: object) -> None:
            self.tls = True

    for implicit in (True, False):
        bed = bed_of()
        client = Silent()
        client.attach(bed.server("smtp").accept(Peer("192.0.2.1"), implicit))
        if not implicit:
            bed.settle(300)
            client.send(b"EHLO c\r\nSTARTTLS\r\n")
            bed.settle()
        assert client.tls
        bed.settle(HANDSHAKE - 1)
        assert not client.closed
        bed.settle(2)
        assert client.aborted
