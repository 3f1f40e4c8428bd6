"""How much an account may be sent, may send and may hold (S-120)."""

from __future__ import annotations

from typing import Any

import pytest

from mailsrv.errors import QuotaExceeded, TooBig
from mailsrv.message.content import MemoryContent
from mailsrv.serve.allowances import Allowances, SiteLimits
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.bed import Bed
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, DomainFacts, NewMessage

SITE = SiteLimits(quota=1000, max_in=100, max_out=50)


class Room:
    """One account, without limits of its own at first."""

    def __init__(self, site: SiteLimits = SITE) -> None:
        self.loop = Loop()
        self.store = MemoryStore(lambda: 0.0, [DomainFacts("example.org")])
        self.id = self.loop.run(self.store.directory.add_account(Address("me", "example.org"), "")).account_id
        self.allowances = Allowances(self.store.directory, self.store, site)

    def set(self, **limits: int) -> None:
        self.loop.run(self.store.directory.set_limits(self.id, **limits))

    def fill(self, octets: int) -> None:
        inbox = self.loop.run(self.loop.run(self.store.account(self.id)).open("INBOX"))
        self.loop.run(inbox.append([NewMessage(MemoryContent(b"x" * octets))]))

    def ask(self, method: str, *arguments: Any) -> str:
        """The status of the refusal, or ""."""
        try:
            self.loop.run(getattr(self.allowances, method)(self.id, *arguments))
        except (TooBig, QuotaExceeded) as error:
            return error.status
        return ""


def test_s120_the_limits_of_the_site_hold_for_everybody() -> None:
    room = Room()
    assert (room.ask("take_in", 100), room.ask("take_in", 101)) == ("", "5.3.4")
    assert (room.ask("send_out", 50), room.ask("send_out", 51)) == ("", "5.3.4")
    room.fill(950)
    assert (room.ask("take_in", 50), room.ask("take_in", 51)) == ("", "5.2.2")
    assert (room.ask("keep", 50), room.ask("keep", 51)) == ("", "5.2.2")


def test_s120_the_limit_of_a_user_beats_the_global_one_in_both_directions() -> None:
    room = Room()
    room.set(quota=2000, max_in=10, max_out=500)
    room.fill(1500)
    assert (room.ask("take_in", 10), room.ask("take_in", 11)) == ("", "5.3.4")
    assert (room.ask("send_out", 500), room.ask("send_out", 501)) == ("", "5.3.4")
    assert (room.ask("keep", 500), room.ask("keep", 501)) == ("", "5.2.2")


def test_who_has_no_octet_left_is_told_before_the_size_is_known() -> None:
    room = Room()
    assert room.ask("take_in", None) == ""
    room.fill(1000)
    assert room.ask("take_in", None) == "5.2.2"


def test_without_limits_nothing_is_counted() -> None:
    room = Room(SiteLimits())
    room.fill(10**6)
    assert not any(room.ask(method, 10**9) for method in ("take_in", "keep", "send_out"))
    assert room.loop.run(room.allowances.largest(room.id)) is None


def test_append_over_quota_is_refused_before_the_message_is_sent() -> None:
    bed = Bed()
    bed.settings["allowances"] = Allowances(bed.store.directory, bed.store, SiteLimits(quota=20))
    client = bed.connect("imap")
    for line in (b"a LOGIN me secret", b"b APPEND INBOX {11}", b"From: a\r\n\r\n", b"c APPEND INBOX {11}"):
        client.take()
        client.send(line + b"\r\n")
        bed.settle()
    assert client.take() == b"c NO [OVERQUOTA] Mailbox is full\r\n"
    with pytest.raises(QuotaExceeded):
        bed.loop.run(bed.settings["allowances"].keep(bed.accounts["me"], 10))
