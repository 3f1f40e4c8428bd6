"""A whole site: of a list or a message, who has no room is left out, and the sender hears of it (S-120, RFC 3461)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from house_network import DSN, House
from mail_network import DAY, HOUR, delivery

from mailsrv.message.content import MemoryContent
from mailsrv.serve.smtp_dsn import MESSAGES
from mailsrv.transfer.success import EXPANDED, NO_ROOM, TOO_LARGE
from mailsrv.values import Address, Verdict

Make = Callable[..., House]
LMTP = delivery() + '[smtp.lmtp]\nrole = "lmtp"\nlisten = ["127.0.0.1:24"]\n'


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A site whose bob is full, with a list of both that have mailboxes."""
    made: list[House] = []

    def house(settings: str | None = None, **more: Any) -> House:
        net = House(tmp_path, delivery() if settings is None else settings, monkeypatch, **more)
        made.append(net)
        limit(net, "bob", quota=1)
        net.alias("all", "ann@home.test", "bob@home.test")
        return net

    yield house
    for one in made:
        one.close()


def limit(net: House, name: str, **limits: int) -> None:
    account = net.wait(net.site.directory.resolve(Address(name, "home.test")))
    net.wait(net.site.directory.set_limits(account.account_id, **limits))


def told(reports: list[Message]) -> list[tuple[str, str, str, str]]:
    """What reports say: final and original recipient, action, status."""
    return [
        (str(one["Final-Recipient"])[8:], str(one["Original-Recipient"] or "")[8:], one["Action"], one["Status"])
        for report in reports
        if report.get_content_type() == "multipart/report"
        for one in report.get_payload()[1].get_payload()[1:]  # type: ignore[union-attr,index]
    ]


BOB = ("bob@home.test", "all@home.test", "failed", "5.2.2")


@pytest.mark.parametrize("server", ["smtp/default", "smtp/lmtp"])
def test_s_120_a_list_with_one_full_member_reaches_the_others_and_the_sender_hears_who_it_was(
    make: Make, server: str
) -> None:
    net = make(LMTP)
    said = net.send("ann@home.test", "all@home.test", name=server)
    assert said[0] == "250 2.1.5 Recipient OK" and said[1].startswith("250 2.0.0 OK")
    net.until(1)
    assert told(net.reports()) == [BOB] and net.inbox("bob") == [] and net.rows() == []
    first, report = net.inbox()
    assert b"Delivered-To" not in first and b"The mailbox is full" in report and b"how are you?" in report


def test_the_promise_to_tell_is_in_the_commit_of_the_message_and_never_too_old(make: Make) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    net.send("ann@home.test", "all@home.test NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@y.test")
    assert [(row.destination, str(row.recipients[0].address)) for row in net.rows()] == [
        (EXPANDED, "all@home.test"), (NO_ROOM, "bob@home.test"),
    ]  # fmt: skip
    net.settle(9 * DAY)
    net.site.delivery.runner.start()
    net.settle(1)
    assert sorted(told(net.reports())) == [
        ("all@home.test", "x@y.test", "expanded", "2.0.0"), ("bob@home.test", "x@y.test", "failed", "5.2.2"),
    ]  # fmt: skip
    assert net.rows() == []


@pytest.mark.parametrize(("sender", "asked"), [
    ("ann@home.test", " NOTIFY=NEVER"), ("ann@home.test", " NOTIFY=SUCCESS"), ("", ""),
])  # fmt: skip
def test_rfc3461_4_1_who_wants_to_hear_nothing_or_has_no_address_hears_nothing(
    make: Make, sender: str, asked: str
) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    assert net.send(sender, "all@home.test" + asked)[1].startswith("250 ")
    assert len(net.inbox()) == 1 and NO_ROOM not in [row.destination for row in net.rows()]


def test_of_two_recipients_the_one_that_is_full_at_the_end_is_told_of(make: Make) -> None:
    net = make()
    limit(net, "bob", quota=50)
    said = net.send("ann@home.test", "ann@home.test", "bob@home.test")
    assert [one[:3] for one in said] == ["250", "250", "250"]
    net.until(1)
    assert told(net.reports()) == [("bob@home.test", "", "failed", "5.2.2")] and net.inbox("bob") == []
    assert net.send("ann@home.test", "bob@home.test")[1] == "552 5.2.2 Mailbox is full"


def test_s_117_what_is_larger_than_a_member_takes_is_told_as_such(make: Make) -> None:
    net = make()
    limit(net, "bob", quota=10_000, max_in=20)
    net.wait(net.site.delivery.runner.stop())
    net.send("ann@home.test", "all@home.test")
    assert [row.destination for row in net.rows()] == [TOO_LARGE]
    net.site.delivery.runner.start()
    net.settle(1)
    assert told(net.reports()) == [("bob@home.test", "all@home.test", "failed", "5.2.3")]


def test_a_member_elsewhere_gets_it_and_is_asked_for_no_success_of_the_list(make: Make) -> None:
    net = make()
    net.alias("team", "bob@home.test", "me@one.test")
    net.remote("192.0.2.1", DSN)
    net.send("ann@home.test", "team@home.test NOTIFY=SUCCESS,FAILURE")
    net.until(1)
    (command,) = [line for _, _, line in net.heard if line.startswith(b"RCPT")]
    assert command == b"RCPT TO:<me@one.test> NOTIFY=FAILURE ORCPT=rfc822;team@home.test"
    assert sorted(one[2] for one in told(net.reports())) == ["expanded", "failed"]


def test_it_is_the_size_of_what_is_delivered_that_counts(make: Make) -> None:
    class Grows:
        async def on_content(self, transaction: Any, content: Any) -> Verdict:
            return Verdict(content=MemoryContent(b"Subject: x\r\n\r\n" + b"x" * 500 + b"\r\n"))

    net = make(None, policies=[lambda site: Grows()])
    limit(net, "bob", quota=400)
    assert net.send("x@two.test", "bob@home.test")[1] == "552 5.2.2 Mailbox is full"


def test_it_is_not_lost_with_the_one_who_has_room_and_whose_copy_is_dropped(make: Make) -> None:
    class Drops:
        async def on_content(self, transaction: Any, content: Any) -> Any:
            return {Address("ann", "home.test"): Verdict("discard")}

    net = make(None, policies=[lambda site: Drops()])
    limit(net, "bob", quota=50)
    said = net.send("x@two.test", "ann@home.test", "bob@home.test")
    assert said[2] == "552 5.2.2 Mailbox is full" and net.rows() == [] and net.inbox() == []


def test_of_what_a_policy_puts_aside_no_failure_is_told(make: Make) -> None:
    class Aside:
        async def on_content(self, transaction: Any, content: Any) -> Verdict:
            return Verdict("quarantine", mailbox="Junk")

    net = make(None, policies=[lambda site: Aside()])
    net.wait(net.site.delivery.runner.stop())
    assert net.send("ann@home.test", "all@home.test")[1].startswith("250 ")
    assert net.rows() == []


LATER = "452 4.2.2 A mailbox is full, and too much of this mail was to be reported already"


def test_a_stranger_has_others_sent_so_many_reports_an_hour_and_what_nobody_would_hear_of_is_not_taken(
    make: Make,
) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    said = [net.send("forged@two.test", "all@home.test", host="192.0.2.7") for _ in range(MESSAGES + 2)]
    assert all(one[1].startswith("250 2.0.0") for one in said[:MESSAGES])
    assert [one[1] for one in said[MESSAGES:]] == [LATER] * 2
    assert len(net.rows()) == len(net.inbox()) == MESSAGES
    # Without a sender, or one who wants to hear, it is taken; others have reports of their own, and so he later.
    for sender, asked, host in (
        ("", "", "192.0.2.7"), ("x@two.test", " NOTIFY=NEVER", "192.0.2.7"), ("x@two.test", "", "192.0.2.8"),
    ):  # fmt: skip
        assert net.send(sender, "all@home.test" + asked, host=host)[1].startswith("250 2.0.0")
    net.settle(HOUR)
    assert net.send("x@two.test", "all@home.test", host="192.0.2.7")[1].startswith("250 2.0.0")
    # Reports of success are counted by themselves.
    assert net.send("x@two.test", "ann@home.test NOTIFY=SUCCESS", host="192.0.2.7")[1].startswith("250 2.0.0")
    assert len(net.rows()) == MESSAGES + 3


@pytest.mark.parametrize(("keys", "server"), [(LMTP, "smtp/lmtp"), (
    'relay = "ours"\n[access.ours]\nmode = "only"\nlist = ["192.0.2.99"]\n' + delivery(), "smtp/default",
)])  # fmt: skip
def test_mail_of_ours_and_over_lmtp_is_reported_without_measure(make: Make, keys: str, server: str) -> None:
    net = make(keys)
    net.wait(net.site.delivery.runner.stop())
    for _ in range(MESSAGES + 2):
        assert net.send("x@two.test", "all@home.test", name=server)[1].startswith("250 2.0.0")
    assert len(net.rows()) == MESSAGES + 2
