"""Sizes of renderings are made behind deliveries, so that a login renders nothing (decisions 30)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.message.format import FormatOptions, render
from mailsrv.serve import formatted, measuring
from mailsrv.serve.formatted import Format, FormattedStore
from mailsrv.serve.measuring import Measuring
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Placement

HTML = b"From: a@b.example\r\nSubject: %d\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<b>News</b>\r\n"
TRACE = b"Return-Path: <a@b.example>\r\n"
TEXT = FormatOptions(body="text")


class Site:
    """A bed with a format, which notes what was rendered, how long each took, and how long was rested."""

    def __init__(self, options: FormatOptions = TEXT, protocol: str = "pop3", patience: float = float("inf")) -> None:
        self.bed = Bed()
        self.made: list[bytes] = []
        self.rests: list[float] = []
        self.takes, self.worked = 0.0, 0.0
        shown = Format(options, self._aside, patience=patience, monotonic=self.monotonic)
        self.bed.settings["store"] = FormattedStore(self.bed.store, shown)  # type: ignore[arg-type]
        services: Any = self.bed.server("smtp").services
        self.intake = services.intake
        self.measuring = Measuring(self.intake, self._sleep, self.monotonic)
        self.measuring.adopt([self.bed.server(protocol).services])

    def monotonic(self) -> float:
        """What clocks and work have taken."""
        return self.bed.clock.seconds() + self.worked

    async def _aside(self, function: Any, stored: list[bytes], options: Any) -> Any:
        self.made += stored
        self.worked += self.takes * len(stored)
        return function(stored, options)

    async def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        await self.bed._sleep(seconds)

    def mail(self, number: int = 1, address: str = "me@example.org") -> None:
        """Send a message, to its 250."""
        client = self.bed.connect("smtp")
        said = say(self.bed, client, b"HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<%b>\r\nDATA" % address.encode())
        assert b"\r\n354 " in said
        assert say(self.bed, client, HTML % number + b".").startswith(b"250 ")

    def put(self, number: int, mailbox: str) -> None:
        """A message for a mailbox of a client's own, as if it had just been accepted."""
        self.bed.deliver(TRACE + HTML % number, mailbox=mailbox)
        self.intake.delivered([Placement(self.bed.accounts["me"], mailbox)])

    def login(self) -> bytes:
        """Log in by POP3, list and leave: what was said to PASS and LIST."""
        client = self.bed.connect("pop3")
        say(self.bed, client, b"USER me")
        told = say(self.bed, client, b"PASS secret")
        told += say(self.bed, client, b"LIST")
        say(self.bed, client, b"QUIT")
        return told


def say(bed: Bed, client: MemoryTransport, line: bytes) -> bytes:
    client.send(line + b"\r\n")
    bed.settle()
    return client.take()


def test_a_login_after_deliveries_renders_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatted, "CACHE", 0)  # sizes are kept, not only held ready
    site = Site()
    for number in range(7):
        site.mail(number)
    assert site.made == []  # the answers go first
    site.bed.settle(1)
    assert len(site.made) == 7
    sizes = [len(render(octets, TEXT)) for octets in site.made]
    told = site.login()
    assert told.startswith(b"+OK 7 messages (%d octets)\r\n" % sum(sizes))
    assert b"".join(b"%d %d\r\n" % pair for pair in enumerate(sizes, 1)) in told
    assert len(site.made) == 7


def test_messages_of_before_are_measured_with_the_first_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "BACKLOG", 6)
    site = Site()
    for number in range(9):
        site.bed.deliver(TRACE + HTML % number)
    site.mail(9)
    for _ in range(3):
        site.bed.settle(1)
    assert [octets.partition(b"Subject: ")[2][:1] for octets in site.made] == [
        b"%d" % n for n in (5, 6, 7, 8, 9, 3, 4)
    ]
    site.mail(10)
    site.bed.settle(1)
    assert len(site.made) == 8
    assert site.login().startswith(b"+OK 11 ") and len(site.made) == 11


def test_without_a_format_deliveries_know_nothing_of_it() -> None:
    site = Site(FormatOptions())
    assert site.intake.delivered is None
    site.mail()
    site.bed.settle(1)
    assert site.rests == [] and site.made == []


def test_a_change_of_the_servers_holds_from_then_on() -> None:
    site = Site()
    site.mail()
    site.measuring.adopt([])
    site.mail(2)
    site.bed.settle(1)
    assert site.made == [] and site.intake.delivered is None


@pytest.mark.parametrize(("protocol", "count"), [("pop3", 1), ("imap", 2)])
def test_pop3_shows_inbox_alone(protocol: str, count: int) -> None:
    site = Site(protocol=protocol)
    client = site.bed.connect("imap")
    say(site.bed, client, b"a LOGIN me secret")
    say(site.bed, client, b"b CREATE Lists")
    site.mail(1)
    site.put(2, "Lists")
    site.bed.settle(1)
    assert len(site.made) == count


def test_it_rests_three_times_as_long_as_it_works_but_never_for_long() -> None:
    site = Site()
    site.takes = 0.01
    for number in range(6):
        site.mail(number)
    site.bed.settle(1)
    site.bed.settle(1)
    assert site.rests == pytest.approx([measuring.SETTLE, 0.15, 0.03], rel=1e-3)
    site.takes = 10.0
    site.mail(7)
    site.bed.settle(1)
    assert site.rests[-1] == measuring.LONGEST_REST


def test_what_waits_is_bounded_and_what_is_left_out_is_made_at_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MOST", 1)
    site = Site()
    site.mail(1, "you@example.org")
    site.mail(2)
    site.mail(3, "you@example.org")
    site.bed.settle(1)
    assert [octets.partition(b"Subject: ")[2][:1] for octets in site.made] == [b"1", b"3"]
    assert site.login().startswith(b"+OK 1 ") and len(site.made) == 3


def test_a_mailbox_that_is_gone_is_passed_over() -> None:
    site = Site(protocol="imap")
    client = site.bed.connect("imap")
    say(site.bed, client, b"a LOGIN me secret")
    say(site.bed, client, b"b CREATE Lists")
    site.put(1, "Lists")
    say(site.bed, client, b"c DELETE Lists")
    site.mail(2, "you@example.org")
    site.bed.settle(1)
    assert len(site.made) == 1


def test_at_the_end_what_is_under_way_is_waited_for_and_the_rest_is_left() -> None:
    site = Site()
    for number in range(8):
        site.mail(number)
    site.takes = 1.0
    site.bed.settle(measuring.SETTLE)
    assert len(site.made) == measuring.SLICE
    ended = Deferred.fromCoroutine(site.measuring.close())
    assert not ended.called
    site.bed.settle(measuring.LONGEST_REST)
    assert ended.called and len(site.made) == measuring.SLICE
    site.mail(9)
    site.bed.settle(1)
    assert len(site.made) == measuring.SLICE


def test_a_login_waits_so_long_for_sizes_and_the_next_one_goes_on_from_there() -> None:
    site = Site(patience=20.0)
    site.measuring.adopt([])
    site.takes = 0.6
    for number in range(50):
        site.bed.deliver(TRACE + HTML % number)
    told = site.login()
    assert told.startswith(b"-ERR [SYS/TEMP] Messages are made ready to be shown, try again in a minute\r\n")
    assert 40 <= len(site.made) < 50
    assert site.login().startswith(b"+OK 50 messages ") and len(site.made) == 50


def test_who_has_opened_a_mailbox_reads_it_however_long_that_takes() -> None:
    site = Site(patience=20.0)
    site.bed.deliver(TRACE + HTML % 1)
    store: Any = site.bed.settings["store"]
    run = site.bed.loop.run
    box = run(run(store.account(site.bed.accounts["me"])).open("INBOX"))
    site.worked = 100.0
    (content,) = run(box.contents([1]))
    assert content.size == len(render(run(content.read(0, 1 << 20)), TEXT))
