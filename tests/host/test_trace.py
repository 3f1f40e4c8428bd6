"""`mailsrv trace`: the steps of a message are kept, found again, and go when they are old or too many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailsrv.cli.trace import _timeline
from mailsrv.errors import Refused
from mailsrv.host import trace as module
from mailsrv.host.config.load import load, loads
from mailsrv.host.config.operations import TraceTable
from mailsrv.host.control import run as control
from mailsrv.host.control.trace import message_id
from mailsrv.host.site import Site
from mailsrv.host.trace import TraceLog
from mailsrv.message.content import MemoryContent
from mailsrv.testing.loop import Loop
from mailsrv.testing.queue_site import CONFIG, START, path
from mailsrv.transfer.tracing import MOST, accepted, attempted
from mailsrv.values import Outcome, Owner, Peer, Placement, Recipient, TlsFacts, Transaction


class Bed:
    """A log of its own; time is moved by hand."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.clock, self.loop, self.options = Clock(), Loop(), TraceTable(**options)
        self.clock.advance(START)
        self.log = TraceLog(
            folder / "trace.db", lambda: self.options, self.clock.seconds, self.clock.callLater,
            self.loop.call_from_thread,
        )  # fmt: skip

    def steps(self, message: str = "") -> list[tuple[Any, ...]]:
        """What is kept, of one message or of all."""
        sql = "SELECT at, message, kind FROM event WHERE ?1='' OR message=?1 ORDER BY id"
        found: list[tuple[Any, ...]] = self.loop.run(self.log.find(lambda db: db.execute(sql, (message,)).fetchall()))
        return found


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.log.close()


def test_steps_are_found_in_order_also_after_a_restart(bed: Bed, tmp_path: Path) -> None:
    bed.log.note("m1", "accepted", {"sender": "ä@example.org"})
    bed.clock.advance(0.5)
    bed.log.note("m2", "accepted", {})
    bed.log.note("m1", "attempt", {})
    assert bed.steps("m1") == [(START, "m1", "accepted"), (START + 0.5, "m1", "attempt")]
    bed.log.note("m1", "report", {})
    bed.log.close()
    again = Bed(tmp_path)
    assert [kind for _, _, kind in again.steps("m1")] == ["accepted", "attempt", "report"]
    assert (tmp_path / "trace.db").stat().st_mode & 0o777 == 0o600
    again.log.close()


def test_nothing_is_kept_when_it_is_off(bed: Bed) -> None:
    bed.options = TraceTable(keep=None)
    bed.log.note("m1", "accepted", {})
    bed.clock.advance(2)
    assert bed.steps() == []


def test_what_is_too_old_goes(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", -1.0)
    for day in range(20):
        bed.log.note(f"m{day}", "accepted", {})
        bed.clock.advance(86400)
    bed.log.note("last", "accepted", {})
    assert [message for _, message, _ in bed.steps()] == [*(f"m{day}" for day in range(6, 20)), "last"]


def test_what_is_too_much_goes_the_oldest_first(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", -1.0)
    monkeypatch.setattr(module, "GO", 50)
    bed.options = TraceTable(size=200_000)
    for number in range(1000):
        bed.log.note(f"m{number}", "accepted", {"text": "x" * 500})
    kept = [message for _, message, _ in bed.steps()]
    assert kept == [f"m{number}" for number in range(1000 - len(kept), 1000)] and 200 < len(kept) < 400


def test_more_than_can_be_written_is_left_out_and_told(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    for number in range(15):
        bed.log.note(f"m{number}", "accepted", {})
    assert len(bed.steps()) == 10


def test_a_database_that_is_none_costs_no_mail(tmp_path: Path) -> None:
    (tmp_path / "trace.db").write_bytes(b"this is no database" * 100)
    bed = Bed(tmp_path)
    bed.log.note("m1", "accepted", {})
    bed.clock.advance(2)
    with pytest.raises(module.StoreUnavailable):
        bed.steps()
    bed.log.close()


def test_a_step_costs_next_to_nothing(bed: Bed) -> None:
    transaction = Transaction(
        "smtp/default", Peer("192.0.2.1"), "mx.example", "ESMTPS", None, path("a@b.example"),
        [Recipient(path("me@example.org"))],
    )  # fmt: skip
    places = [Placement(1)]
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for _ in range(1000):
            bed.log.note("0abc000000001", "accepted", accepted(transaction, 4096, None, places, (), ""))
        best = min(best, time.process_time() - began)
    assert best < 0.05, "50 us a message, on the slowest machine; 3 on a usual one"


@pytest.mark.parametrize("text", [
    "0abc123456789", "250 2.0.0 OK id=0abc123456789", "by mx.example with ESMTP id 0ABC123456789;", "<0abc123456789>",
])
def test_an_id_is_found_in_whatever_was_copied(text: str) -> None:
    assert message_id(text) == "0abc123456789"


@pytest.mark.parametrize("text", ["", "17", "nothing here", "x" * 2000])
def test_what_holds_no_id_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no id"):
        message_id(text)


def test_facts_are_bounded() -> None:
    many = [Recipient(path(f"r{number}@example.org")) for number in range(500)]
    transaction = Transaction("smtp/default", Peer("192.0.2.1"), "h" * 5000, recipients=many)
    tls = TlsFacts("TLSv1.3", "AES")
    found = accepted(transaction, 1, tls, [Placement(n) for n in range(500)], [("d", path("a@b.c"), many[0])] * 500, "")
    assert len(found["recipients"]) == MOST and found["count"] == 500 and found["mailboxes_count"] == 500
    assert len(str(found)) < 12_000


class TracedSite:
    """A site with a store on the disk, opened without servers."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "mailsrv.toml"
        self.config.write_text(CONFIG.replace('use = "memory"', 'use = "sqlite"'))
        self.clock, self.loop = Clock(), Loop()
        self.clock.advance(START)
        self.site = Site(load(self.config), self.clock, folder, clock=self.clock.seconds, monotonic=self.clock.seconds)
        self.site.call_from_thread = self.loop.call_from_thread  # type: ignore[method-assign]
        self.site.aside = self._aside  # type: ignore[assignment]
        self.loop.run(self.site.open())

    async def _aside(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def ask(self, name: str, **arguments: Any) -> Any:
        """The result of an operation, or the text of the refusal."""
        answer = self.loop.run(control.run(self.site, name, arguments))
        return answer["result"] if "result" in answer else answer["error"]

    def account(self, address: str) -> Owner:
        """A new one."""
        facts = self.loop.run(self.site.directory.add_account(path(address), "hash"))
        return Owner(facts.account_id)

    def accept(self, sender: str, recipients: list[str], owners: list[Owner], onward: bool = False) -> str:
        """A message for mailboxes here, or for elsewhere; its id."""
        transaction = Transaction(
            "smtp/default", Peer("192.0.2.1", 25), "mx.example", "ESMTPS", None, path(sender) if sender else None,
            [Recipient(path(one)) for one in recipients],
        )  # fmt: skip
        away = [(path(one).domain, path(one), Recipient(path(one))) for one in recipients if onward]
        made: str = self.loop.run(self.site.intake.accept(
            transaction, MemoryContent(b"Subject: x\r\n\r\nx\r\n"), owners, hostname="mail.example.org", onward=away,
            tls=TlsFacts("TLSv1.3", "AES"),
        ))  # fmt: skip
        return made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[TracedSite]:
    made = TracedSite(tmp_path)
    yield made
    made.loop.run(made.site.close())


def test_the_way_of_a_message_into_a_mailbox(site: TracedSite) -> None:
    message = site.accept("ann@foreign.example", ["me@example.org"], [site.account("me@example.org")])
    found = site.ask("trace.show", id=f"250 2.0.0 OK id={message}")
    [event] = found["events"]
    assert event["peer"] == "192.0.2.1" and event["tls"] == "TLSv1.3 AES" and event["at"] == START
    assert event["mailboxes"] == [{"account": "me@example.org", "mailbox": "INBOX"}] and found["queue"] == []
    lines = list(_timeline(found))
    assert "accepted on smtp/default from 192.0.2.1" in lines[1] and "INBOX of me@example.org" in lines[-1]


def test_the_way_of_a_message_elsewhere_with_what_was_done_to_it(site: TracedSite) -> None:
    message = site.accept("ann@foreign.example", ["bob@dest.example"], [], onward=True)
    attempts = site.site.delivery.runner.attempts
    [row] = site.loop.run(site.site.store.queued())
    outcome = Outcome(row.recipients[0], "delayed", "4.7.1", "451 4.7.1 Greylisted", "mx.dest.example")
    attempts.trace(message, "attempt", attempted(row, [outcome], START + 300, True))
    site.ask("queue.hold", ids=[str(row.id)])
    found = site.ask("trace.show", id=message)
    assert [event["kind"] for event in found["events"]] == ["accepted", "attempt", "action"]
    assert found["queue"][0]["state"] == "held"
    text = "\n".join(_timeline(found))
    for piece in (
        "queued: <bob@dest.example> by way of dest.example", "attempt 1 at dest.example; next 2026-11-24 04:05:00",
        "delayed: <bob@dest.example> mx.dest.example: 451 4.7.1 Greylisted", "queue: hold", "in the queue now",
    ):  # fmt: skip
        assert piece in text, text


def test_messages_are_found_by_sender_recipient_and_time(site: TracedSite) -> None:
    me = site.account("me@example.org")
    old = site.accept("ann@foreign.example", ["me@example.org"], [me])
    site.clock.advance(2 * 86400)
    new = site.accept("Ann@foreign.example", ["me@example.org"], [me])
    report = site.accept("", ["me@example.org"], [me])
    away = site.accept("a_n@foreign.example", ["bob@dest.example"], [], onward=True)

    def found(**wanted: Any) -> list[str]:
        return [one["message"] for one in site.ask("trace.search", **wanted)]

    assert found(sender="ann@foreign.example") == [new]
    assert found(sender="ann@foreign.example", since="7d") == [new, old]
    assert found(sender="@foreign.example", since="7d", limit=2) == [away, new]
    assert found(sender="<>") == [report] and found(recipient="bob@DEST.example") == [away]
    assert found(recipient="@example.org") == [report, new] and found(sender="a_n@foreign.example") == [away]
    assert "limit" in site.ask("trace.search", limit=0) and "since" in site.ask("trace.search", since="soon")


def test_what_was_never_seen_and_what_is_off_is_told(site: TracedSite) -> None:
    assert "nothing is known" in site.ask("trace.show", id="0abc123456789")
    site.site.options = loads('[trace]\nkeep = "off"')
    assert 'trace.keep is "off"' in site.ask("trace.show", id="0abc123456789")
