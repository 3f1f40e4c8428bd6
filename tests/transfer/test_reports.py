"""A whole site: mail comes in by SMTP, and its senders hear what became of it (RFC 3461; S-081..S-134)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from house_network import DSN, House
from mail_network import DAY, HOUR, TEXT, delivery, fields
from smtp_network import server
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.errors import Refused, StoreFull
from mailsrv.transfer import bounce
from mailsrv.transfer.success import DELIVERED, EXPANDED
from mailsrv.values import Address, Recipient, Verdict

Make = Callable[..., House]


LMTP = delivery() + '[smtp.lmtp]\nrole = "lmtp"\nlisten = ["127.0.0.1:24"]\n'


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the sites of a test, in one folder."""
    made: list[House] = []

    def house(settings: str | None = None, **more: Any) -> House:
        made.append(House(tmp_path, delivery() if settings is None else settings, monkeypatch, **more))
        return made[-1]

    yield house
    for one in made:
        one.close()


def told(reports: list[Message]) -> list[tuple[str, str]]:
    """What reports say: (recipient, action), in order."""
    return [
        (one["Final-Recipient"].partition("; ")[2], one["Action"])
        for report in reports
        if report.get_content_type() == "multipart/report"
        for one in report.get_payload()[1].get_payload()[1:]  # type: ignore[union-attr,index]
    ]


# ---------------------------------------------------------------- success


def test_rfc3461_4_1_mail_that_is_delivered_here_is_told_of_when_asked(make: Make) -> None:
    net = make()
    said = net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS ORCPT=rfc822;Bob+2Bx@Home.test", mail="ENVID=Q+2B1")
    assert said[0] == "250 2.1.5 Recipient OK" and said[1].startswith("250 2.0.0 OK")
    net.until(1)
    assert len(net.inbox("bob")) == 1 and net.rows() == []
    (report,) = net.reports()
    about, bob = report.get_payload()[1].get_payload()  # type: ignore[union-attr,index]
    assert (bob["Action"], bob["Status"], bob["Final-Recipient"]) == ("delivered", "2.0.0", "rfc822; bob@home.test")
    assert bob["Original-Recipient"] == "rfc822; Bob+x@Home.test" and about["Original-Envelope-Id"] == "Q+1"
    assert report["Return-Path"] == "<>" and "was delivered" in str(report.get_payload()[0])  # type: ignore[index]
    # RET is for failures: of success the header comes back alone (RFC 3461 section 4.3).
    assert report.get_payload()[2].get_content_type() == "text/rfc822-headers"  # type: ignore[index,union-attr]


@pytest.mark.parametrize("asked", ["", "NOTIFY=NEVER", "NOTIFY=FAILURE,DELAY"])
def test_who_did_not_ask_hears_nothing_and_no_row_is_made(make: Make, asked: str) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    net.send("ann@home.test", f"bob@home.test {asked}")
    assert len(net.inbox("bob")) == 1 and net.rows() == []


def test_rfc3461_6_1_nobody_sent_a_report_so_nobody_hears_of_it(make: Make) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    net.send("", "bob@home.test NOTIFY=SUCCESS")
    assert len(net.inbox("bob")) == 1 and net.rows() == []


def test_the_promise_is_in_the_commit_of_the_message_and_outlives_the_process(make: Make) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS,FAILURE", "bob@home.test NOTIFY=SUCCESS")
    row = net.row()
    assert (row.destination, [str(one.address) for one in row.recipients]) == (DELIVERED, ["bob@home.test"])
    assert net.inbox() == []
    # However long it was away, what has arrived has neither failed nor is it late.
    net.settle(9 * DAY)
    net.site.delivery.runner.start()
    net.settle(1)
    assert told(net.reports()) == [("bob@home.test", "delivered")] and net.rows() == []


def test_a_report_that_cannot_be_kept_now_is_made_later(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(delivery(expiration="30m", delay_notification="20m"))
    deliver, full = net.site.intake.accept, [True]

    async def accept(transaction: Any, *arguments: Any, **more: Any) -> Any:
        if full and transaction.reverse_path is None:
            raise StoreFull()
        return await deliver(transaction, *arguments, **more)

    monkeypatch.setattr(net.site.intake, "accept", accept)
    net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS")
    net.until(HOUR)
    assert net.row().destination == DELIVERED and net.inbox() == [] and len(net.inbox("bob")) == 1
    full.clear()
    net.until(2 * HOUR)
    assert told(net.reports()) == [("bob@home.test", "delivered")] and net.rows() == []


def test_a_report_goes_out_to_a_sender_elsewhere(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1")
    net.send("me@one.test", "bob@home.test NOTIFY=SUCCESS")
    net.until(1)
    (taken,) = net.taken()
    assert taken.mail.startswith(b"MAIL FROM:<>") and taken.recipients == [b"me@one.test"]
    assert b"Action: delivered" in taken.octets


@pytest.mark.parametrize(("script", "action"), [(DSN, None), (server(), "relayed")])
def test_rfc3461_5_2_2_who_passes_it_on_to_a_server_that_reports_does_not(
    make: Make, script: Any, action: str | None
) -> None:
    net = make()
    net.remote("192.0.2.1", script)
    asked = Recipient(Address("me", "one.test"), {"NOTIFY": "SUCCESS", "ORCPT": "rfc822;x@y.test"})
    net.submit(asked)
    net.until(1)
    (command,) = [line for _, _, line in net.heard if line.startswith(b"RCPT")]
    assert command == (
        b"RCPT TO:<me@one.test>" + (b" NOTIFY=SUCCESS ORCPT=rfc822;x@y.test" if action is None else b"")
    )
    assert told(net.reports()) == ([("me@one.test", action)] if action else [])


def test_a_server_of_mailboxes_that_takes_it_by_lmtp_has_delivered_it(make: Make) -> None:
    net = make('[routes."one.test"]\nhost = ["192.0.2.1"]\nport = 24\nprotocol = "lmtp"\n' + delivery())
    net.remote("192.0.2.1")
    net.submit(Recipient(Address("me", "one.test"), {"NOTIFY": "SUCCESS"}))
    net.until(1)
    assert len(net.taken()) == 1 and told(net.reports()) == [("me@one.test", "delivered")]


def test_rfc3461_6_1_what_is_late_and_then_fails_is_told_once_each(make: Make) -> None:
    """S-074, S-075 with X-5: a notice is sent at its time, and never twice."""
    net = make(delivery(retry=["10m"], delay_notification="35m", expiration="2h"))
    net.remote("192.0.2.1", server(rcpt=b"450 4.2.0 Later\r\n"))
    net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS,FAILURE,DELAY")
    net.submit(Recipient(Address("me", "one.test"), {"NOTIFY": "DELAY,FAILURE"}))
    for instant, known in ((34 * 60, 1), (36 * 60, 2), (119 * 60, 2), (121 * 60, 3), (DAY, 3)):
        net.until(instant)
        assert len(net.reports()) == known, instant
    assert told(net.reports()) == [
        ("bob@home.test", "delivered"), ("me@one.test", "delayed"), ("me@one.test", "failed"),
    ]  # fmt: skip
    late, over = (fields(report) for report in net.reports()[1:])
    assert late["Will-Retry-Until"] and late["Status"] == "4.2.0" and over["Status"] == "4.4.7"


def test_dsn_is_offered_but_not_by_lmtp(make: Make) -> None:
    """Who hands over by LMTP has an answer for each recipient, and reports by itself."""
    net = make(LMTP)
    for name, word, offered in (("smtp/default", b"EHLO", True), ("smtp/lmtp", b"LHLO", False)):
        client = net.connect(name)
        client.send(word + b" c.test\r\n")
        net.settle()
        assert (b"DSN" in client.take()) is offered


# ---------------------------------------------------------------- aliases and lists


def test_rfc3461_5_2_7_1_an_alias_of_one_address_passes_on_what_was_asked(make: Make) -> None:
    net = make()
    net.alias("sales", "me@one.test")
    net.alias("robert", "bob@home.test")
    net.remote("192.0.2.1", DSN)
    net.send("ann@home.test", "sales@home.test NOTIFY=SUCCESS,DELAY")
    net.send("ann@home.test", "robert@home.test NOTIFY=SUCCESS")
    net.until(1)
    asked = b"NOTIFY=SUCCESS,DELAY ORCPT=rfc822;sales@home.test"
    assert b"RCPT TO:<me@one.test> " + asked in [line for _, _, line in net.heard]
    assert told(net.reports()) == [("robert@home.test", "delivered")]


@pytest.mark.parametrize(("asked", "passed"), [
    ("SUCCESS,FAILURE", b" NOTIFY=FAILURE"), ("success", b" NOTIFY=NEVER"), ("FAILURE", b" NOTIFY=FAILURE"),
])  # fmt: skip
def test_rfc3461_5_2_7_2_a_list_is_expanded_and_its_members_tell_of_no_success(
    make: Make, asked: str, passed: bytes
) -> None:
    net = make()
    net.alias("all", "bob@home.test", "me@one.test", "you@one.test")
    net.remote("192.0.2.1", DSN)
    net.send("ann@home.test", f"all@home.test NOTIFY={asked}")
    net.until(1)
    assert [line for _, _, line in net.heard if line.startswith(b"RCPT")] == [
        b"RCPT TO:<me@one.test>" + passed + b" ORCPT=rfc822;all@home.test",
        b"RCPT TO:<you@one.test>" + passed + b" ORCPT=rfc822;all@home.test",
    ]  # fmt: skip
    assert told(net.reports()) == ([("all@home.test", "expanded")] if "FAILURE" != asked else [])
    assert len(net.inbox("bob")) == 1 and net.rows() == []


def test_mail_of_both_kinds_waits_under_two_names_that_say_what_it_is(make: Make) -> None:
    # Strangers have one report of a message.
    net = make('relay = "ours"\n[access.ours]\nmode = "only"\nlist = ["192.0.2.99"]\n' + delivery())
    net.alias("all", "bob@home.test", "ann@home.test")
    net.wait(net.site.delivery.runner.stop())
    net.send("ann@home.test", "all@home.test NOTIFY=SUCCESS", "bob@home.test NOTIFY=SUCCESS")
    assert [row.destination for row in net.rows()] == [EXPANDED, DELIVERED] == ["(expanded here)", "(delivered here)"]
    assert len(net.inbox("bob")) == 1


# ---------------------------------------------------------------- what policies move


class Says:
    """A policy with one verdict for every message."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    async def on_content(self, transaction: Any, content: Any) -> Verdict:
        return self._verdict


def judged(make: Make, verdict: Verdict) -> House:
    return make(None, policies=[lambda site: Says(verdict)])


def test_what_is_dropped_is_no_success(make: Make) -> None:
    net = judged(make, Verdict("discard"))
    net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS")
    net.until(1)
    assert net.rows() == [] and net.inbox("bob") == [] and net.inbox() == []


def test_what_is_redirected_tells_nobody_of_success_and_not_whom_it_reached(make: Make) -> None:
    net = judged(make, Verdict("redirect", targets=(Address("bob", "home.test"), Address("me", "one.test"))))
    net.remote("192.0.2.1", DSN)
    net.send("ann@home.test", "ann@home.test NOTIFY=SUCCESS,FAILURE")
    net.until(1)
    asked = b"NOTIFY=FAILURE ORCPT=rfc822;ann@home.test"
    assert [line for _, _, line in net.heard if line.startswith(b"RCPT")] == [b"RCPT TO:<me@one.test> " + asked]
    assert len(net.inbox("bob")) == 1 and net.inbox() == []


def test_what_is_redirected_and_then_quarantined_is_still_with_somebody_else(make: Make) -> None:
    class Both(Says):
        async def on_recipient(self, transaction: Any, recipient: Any) -> Verdict:
            return Verdict("redirect", targets=(Address("bob", "home.test"),))

    net = make(None, policies=[lambda site: Both(Verdict("quarantine", mailbox="INBOX"))])
    net.send("you@two.test", "ann@home.test NOTIFY=SUCCESS")
    (octets,) = net.inbox("bob")
    assert net.rows() == [] and b"Delivered-To" not in octets


def test_quarantine_is_in_the_recipients_own_mailbox_and_so_delivered(make: Make) -> None:
    net = judged(make, Verdict("quarantine"))
    net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS")
    net.until(1)
    assert net.inbox("bob") == [] and told(net.reports()) == [("bob@home.test", "delivered")]


def test_a_list_whose_members_elsewhere_get_nothing_is_not_expanded_and_the_log_says_so(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = judged(make, Verdict("quarantine"))
    net.alias("all", "bob@home.test", "me@one.test", "you@one.test")
    lines: list[str] = []
    monkeypatch.setattr("mailsrv.transfer.intake.log.line", lambda text, **facts: lines.append(text))
    net.send("ann@home.test", "all@home.test NOTIFY=SUCCESS")
    assert lines[0].endswith("; quarantine by Says; kept from 2 elsewhere by quarantine")
    net.until(1)
    assert net.inbox() == [] and net.rows() == [] and net.taken() == []


# ---------------------------------------------------------------- reports of failures


GONE = server(rcpt=b"550 5.1.1 No such user\r\n")


def test_s125_a_message_that_is_refused_comes_back_to_its_sender_whole(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", GONE)
    net.put()
    net.until(1)
    (report,) = net.reports()
    assert report["Return-Path"] == "<>" and report["From"] == "Mail delivery at mail.home.test <postmaster@home.test>"
    assert (fields(report)["Status"], fields(report)["Remote-MTA"]) == ("5.1.1", "dns; mx.one.test")
    assert fields(report)["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user"
    returned = report.get_payload()[2]  # type: ignore[index]
    assert returned.get_content_type() == "message/rfc822"  # type: ignore[union-attr]
    assert returned.as_bytes().replace(b"\n", b"\r\n").endswith(TEXT)  # type: ignore[union-attr]
    assert net.rows() == [] and net.bad() == []


def test_s126_s127_s128_one_address_gets_a_copy_with_the_message_and_all_answers(make: Make) -> None:
    net = make(delivery(ndr_copy="bob@home.test"))
    net.remote("192.0.2.1", GONE)
    net.submit(Recipient(Address("me", "one.test")), RET="HDRS")
    net.until(1)
    (report,), (copy,) = net.reports(), net.reports("bob")
    assert report["Reply-To"] == copy["Reply-To"] == "<bob@home.test>"
    assert (report["To"], copy["To"]) == ("<ann@home.test>", "<bob@home.test>")
    assert fields(copy)["Status"] == fields(report)["Status"] == "5.1.1"
    # The sender asked for the header alone; the administrator's copy has the report and the message.
    kinds = [one.get_payload()[2].get_content_type() for one in (report, copy)]  # type: ignore[index,union-attr]
    assert kinds == ["text/rfc822-headers", "message/rfc822"]
    assert b"how are you?" in net.inbox("bob")[0] and b"how are you?" not in net.inbox()[0]


def test_a_report_names_the_address_that_the_sender_wrote(make: Make) -> None:
    """Nobody knows who me@one.test is who has written to sales@home.test."""
    net = make()
    net.alias("sales", "me@one.test")
    net.remote("192.0.2.1", GONE)
    net.send("ann@home.test", "sales@home.test")
    net.until(1)
    (report,) = net.reports()
    assert fields(report)["Original-Recipient"] == "rfc822; sales@home.test"
    assert fields(report)["Final-Recipient"] == "rfc822; me@one.test"
    words = str(report.get_payload()[0].get_payload())  # type: ignore[index,union-attr]
    assert "<me@one.test>\r\n    to which <sales@home.test> leads\r\n".replace("\r", "") in words.replace("\r", "")


def test_a_copy_that_cannot_be_delivered_is_no_bad_mail(make: Make) -> None:
    net = make(delivery(ndr_copy="nobody@home.test"))
    net.remote("192.0.2.1", GONE)
    net.put()
    net.until(1)
    assert len(net.reports()) == 1 and net.bad() == [] and net.rows() == []


def test_s118_the_report_names_the_limit_that_the_message_is_over(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", server(ehlo=b"250-mx.one.test\r\n250 SIZE 200\r\n"))
    net.put(octets=TEXT + b"x" * 500 + b"\r\n")
    net.until(1)
    (report,) = net.reports()
    assert fields(report)["Status"] == "5.3.4"
    assert "the server takes 200" in " ".join(fields(report)["Diagnostic-Code"].split())
    words = " ".join(str(report.get_payload()[0].get_payload()).split())  # type: ignore[index,union-attr]
    assert "larger than a server on the way takes" in words and net.commands(b"MAIL") == []


def test_s081_another_server_that_counts_too_many_hops_is_quoted(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", server(dot=b"554 5.4.6 Too many hops\r\n"))
    net.put()
    net.until(1)
    (report,) = net.reports()
    assert fields(report)["Status"] == "5.4.6" and "Too many hops" in fields(report)["Diagnostic-Code"]


def test_s081_mail_of_our_own_over_the_limit_goes_back_with_the_reason(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make()
    round_and_round = b"Received: by x\r\n" * 31 + TEXT
    net.submit(Recipient(Address("me", "one.test")), Recipient(Address("bob", "home.test")), octets=round_and_round)
    net.until(1)
    (report,) = net.reports()
    assert told([report]) == [("me@one.test", "failed"), ("bob@home.test", "failed")]
    assert fields(report)["Status"] == "5.4.6"
    assert "maximum hop count was reached" in " ".join(fields(report)["Diagnostic-Code"].split())
    assert net.inbox("bob") == [] and net.commands(b"MAIL") == [] and net.rows() == []
    # Of very many recipients there are several reports; here, of more than one.
    monkeypatch.setattr(bounce, "MAX_REPORTED", 1)
    net.submit(Recipient(Address("me", "one.test")), Recipient(Address("bob", "home.test")), octets=round_and_round)
    net.until(2)
    assert sorted(told(net.reports()[1:])) == [("bob@home.test", "failed"), ("me@one.test", "failed")]
    assert len(net.reports()) == 3
    # Thirty are not too many.
    net.submit(Recipient(Address("bob", "home.test")), octets=round_and_round.partition(b"\r\n")[2])
    assert len(net.inbox("bob")) == 1


@pytest.mark.parametrize(("sender", "notify"), [("", "FAILURE"), ("ann@home.test", "NEVER")])
def test_s081_with_nobody_to_tell_it_is_not_accepted(make: Make, sender: str, notify: str) -> None:
    net = make()
    with pytest.raises(Refused, match="maximum hop count"):
        net.submit(Recipient(Address("me", "one.test"), {"NOTIFY": notify}), sender=sender,
                   octets=b"Received: by x\r\n" * 31 + TEXT)  # fmt: skip
    assert net.rows() == []


def test_rfc6533_a_report_about_addresses_beyond_ascii_needs_a_server_for_them(make: Make) -> None:
    """To a sender beyond ASCII it is sent with SMTPUTF8; a server that has none refuses it by being asked."""
    net = make()
    net.remote("192.0.2.1", server(ehlo=b"250-mx\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"))
    net.alias("jürgen", "bob@home.test")
    said = net.send("jörg@one.test", "jürgen@home.test NOTIFY=SUCCESS ORCPT=utf-8;j\\x{FC}rgen@home.test",
                    mail="SMTPUTF8 BODY=8BITMIME")  # fmt: skip
    assert said[-1].startswith("250")
    net.until(1)
    (taken,) = net.taken()
    assert taken.mail.startswith(b"MAIL FROM:<>") and b" SMTPUTF8" in taken.mail
    assert taken.recipients == ["jörg@one.test".encode()]
    assert b"Content-Type: message/global-delivery-status\r\n" in taken.octets
    assert "Final-Recipient: utf-8; jürgen@home.test\r\n".encode() in taken.octets
    assert "Original-Recipient: utf-8; jürgen@home.test\r\n".encode() in taken.octets
    assert b"Content-Type: message/global-headers\r\n" in taken.octets


def test_s134_a_sender_hears_nothing_of_recipients_that_another_host_may_know(make: Make) -> None:
    net = make(delivery(forward_unresolved="smart.test"))
    net.domain("both.test", "shared")
    net.remote("192.0.2.60")
    said = net.send("me@one.test", "stranger@both.test", "ann@home.test")
    assert [line[:3] for line in said] == ["250", "250", "250"]
    net.until(1)
    assert net.taken("192.0.2.60")[0].recipients == [b"stranger@both.test"]
    assert net.commands(b"MAIL", "192.0.2.1") == [] and net.rows() == []


# ---------------------------------------------------------------- bad mail


def test_s129_s130_a_report_that_nobody_takes_is_kept_and_never_tried_again(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", GONE)
    net.put("me@one.test", sender="stranger@one.test", origin="outside")
    net.until(1)
    (entry,) = net.bad()
    # The original is lost to its sender: what is kept is the report, which has it whole.
    assert entry.reverse_path is None and [str(one.recipient.address) for one in entry.outcomes] == [
        "stranger@one.test"
    ]
    tried = len(net.commands(b"MAIL"))
    assert tried == 2 and net.rows() == []
    net.until(3 * HOUR)
    assert len(net.commands(b"MAIL")) == tried and len(net.bad()) == 1
    with_it = net.wait(net.kept(entry.key))
    assert with_it.endswith(b"_report--\r\n") and TEXT in with_it


def test_news_that_nobody_takes_is_no_bad_mail(make: Make) -> None:
    """A success or a delay is told or not: the message itself is where it was."""
    net = make(delivery(delay_notification="10m"))
    net.remote("192.0.2.1", GONE)
    net.remote("192.0.2.60", server(rcpt=b"450 4.2.0 Later\r\n"))
    net.send("stranger@one.test", "bob@home.test NOTIFY=SUCCESS")
    net.put("me@[192.0.2.60]", sender="stranger@one.test")
    net.until(HOUR)
    assert net.commands(b"MAIL", "192.0.2.1") and len(net.commands(b"MAIL", "192.0.2.1")) == 2
    assert net.bad() == [] and [row.destination for row in net.rows()] == ["[192.0.2.60]"]
    assert b"X-MAILSRV" not in b"".join(line for _, _, line in net.heard)


TWO = delivery() + '[smtp.other]\nlisten = ["127.0.0.1:26"]\n'


def test_s131_each_server_has_a_folder_of_its_own(make: Make, tmp_path: Path) -> None:
    net = make(TWO)
    net.remote("192.0.2.1", GONE)
    for name in ("smtp/default", "smtp/other"):
        net.put(sender="", server=name)
    net.until(1)
    assert [len(net.bad(name)) for name in ("smtp/default", "smtp/other")] == [1, 1]
    folders = {path.parent for path in tmp_path.rglob("*.eml")}
    assert {folder.name for folder in folders} == {"default", "other"}


def test_s132_another_folder_is_used_from_the_next_start_on(make: Make, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        net = make(delivery(badmail=folder))
        net.remote("192.0.2.1", GONE)
        net.put(sender="")
        net.until(1)
    assert [len(list((tmp_path / folder).glob("*.eml"))) for folder in ("first", "second")] == [1, 1]


def test_what_is_sent_again_has_one_return_path(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", GONE)
    net.put(sender="")
    net.until(1)
    (entry,) = net.bad()
    answer = net.ask("badmail.resubmit", keys=[entry.key], to=["bob@home.test"])
    assert len(answer["sent"]) == 1 and net.bad() == []
    (message,) = net.reports("bob")
    assert message.get_all("Return-Path") == ["<>"] and len(message.get_all("Received") or []) == 2


# ---------------------------------------------------------------- masquerade


MASKED = delivery(masquerade_domain="home.example")


def test_s083_s084_the_reverse_path_is_masked_and_the_header_is_not(make: Make) -> None:
    net = make(MASKED)
    net.remote("192.0.2.1")
    net.put(origin="local")
    net.until(1)
    (taken,) = net.taken()
    assert taken.mail.startswith(b"MAIL FROM:<ann@home.example>")
    assert b"\r\nFrom: Ann <ann@home.test>\r\n" in taken.octets and b"home.example" not in taken.octets


@pytest.mark.parametrize(("sender", "origin", "octets", "path"), [
    # By way of another server of the house: its first hop was there.
    ("ann@home.test", "local", b"Received: from inside by gate\r\n" + TEXT, b"<ann@home.test>"),
    ("ann@home.test", "outside", TEXT, b"<ann@home.test>"),
    ("ann@elsewhere.test", "local", TEXT, b"<ann@elsewhere.test>"),
    ("", "local", TEXT, b"<>"),
])  # fmt: skip
def test_s085_only_what_begins_here_and_is_ours_is_masked(
    make: Make, sender: str, origin: str, octets: bytes, path: bytes
) -> None:
    net = make(MASKED)
    net.remote("192.0.2.1")
    net.put(sender=sender, origin=origin, octets=octets)
    net.until(1)
    assert net.taken()[0].mail.startswith(b"MAIL FROM:" + path)


def test_s083_reports_go_to_who_sent_it_whatever_others_were_told(make: Make) -> None:
    net = make(MASKED)
    net.remote("192.0.2.1", GONE)
    net.put(origin="local")
    net.until(1)
    assert net.reports()[0]["To"] == "<ann@home.test>"


# ---------------------------------------------------------------- loops, LMTP, administration


def test_a_loop_by_way_of_another_server_ends_when_it_comes_back(make: Make) -> None:
    net = make()
    net.alias("ann2", "me@one.test")
    net.remote("192.0.2.1")
    assert net.send("you@two.test", "ann2@home.test")[-1].startswith("250")
    net.until(1)
    gone = net.taken()[0].octets.removesuffix(b".\r\n")
    assert gone.startswith(b"Delivered-To: ann2@home.test\r\nReceived: ")
    # me@one.test is forwarded to ann2@home.test there.
    assert net.send("you@two.test", "ann2@home.test", octets=gone)[-1].startswith("554 5.4.6")
    assert net.send("you@two.test", "ann@home.test", octets=gone)[-1].startswith("250")


def test_mail_that_only_passes_has_no_delivered_to(make: Make) -> None:
    net = make('[routes."other.test"]\nhost = ["192.0.2.77"]\n' + delivery())
    net.domain("other.test", "relay")
    net.remote("192.0.2.77")
    assert net.send("you@two.test", "Me@other.test")[-1].startswith("250")
    net.until(1)
    assert b"Delivered-To" not in net.taken("192.0.2.77")[0].octets


def test_lmtp_is_the_last_step_for_domains_and_aliases_go_on(make: Make) -> None:
    net = make(LMTP)
    net.domain("other.test", "relay")
    net.alias("sales", "me@one.test")
    net.remote("192.0.2.1")
    (said,) = net.send("you@two.test", "me@other.test", name="smtp/lmtp")[:1]
    assert said == "550 5.7.1 Mail for other.test is not sent on from here"
    assert net.send("you@two.test", "sales@home.test", name="smtp/lmtp")[-1].startswith("250")
    net.until(1)
    assert net.taken()[0].recipients == [b"me@one.test"]


def test_what_waits_for_its_report_alone_can_be_deleted_but_not_failed_or_sent_elsewhere(make: Make) -> None:
    net = make()
    net.wait(net.site.delivery.runner.stop())
    net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS")
    (shown,) = net.ask("queue.list", domain="(delivered here)")["rows"]
    assert shown["destination"] == "(delivered here)" and shown["recipients"] == ["bob@home.test"]
    failed = net.ask("queue.fail", ids=[str(shown["id"])])
    assert failed["changed"] == 0 and "has been delivered" in failed["failed"][0]["error"]
    net.ask("queue.reroute", ids=[str(shown["id"])], destination="one.test")
    assert net.row().destination == DELIVERED and not net.row().held
    assert net.ask("queue.delete", ids=[str(shown["id"])])["changed"] == 1
    assert net.rows() == [] and net.inbox() == []


def test_s135_mail_that_the_other_host_sends_back_ends_by_the_hop_count(make: Make) -> None:
    """What is forwarded as unresolved has no Delivered-To, so hops alone count."""
    net = make("max_hops = 12\n" + delivery(forward_unresolved="smart.test"))
    net.domain("both.test", "shared")
    net.remote("192.0.2.60")
    octets, said, passes = TEXT, "250", 0
    while said.startswith("250"):
        said = net.send("me@one.test", "stranger@both.test", octets=octets)[-1]
        if said.startswith("250"):
            passes += 1
            net.until(passes)
            octets = b"Received: by smart.test\r\n" + net.taken("192.0.2.60")[-1].octets.removesuffix(b".\r\n")
    # Ours and theirs at each pass; six passes have twelve.
    assert said.startswith("554 5.4.6") and passes == 7
    assert net.rows() == [] and net.bad() == []


def test_the_log_says_of_mail_of_our_own_that_it_is_from_this_host(make: Make) -> None:
    lines: list[str] = []

    def keep(event: LogEvent) -> None:
        if event.get("log_namespace") == "mailsrv.transfer.intake":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(keep)
    try:
        net = make()
        net.send("ann@home.test", "bob@home.test NOTIFY=SUCCESS")
        net.until(1)
    finally:
        globalLogPublisher.removeObserver(keep)
    assert [line.partition(" from ")[2].partition(":")[0] for line in lines] == ["192.0.2.99", "this host"]
