"""`mailsrv queue`, `badmail`, `dns check`, `domain records` on a real site, without a wire between."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli import badmail, dns, queue
from mailsrv.cli.common import DONE, NO, USAGE
from mailsrv.cli.main import main
from mailsrv.errors import Refused
from mailsrv.host.control.run import run
from mailsrv.testing.queue_site import QueueSite

Said = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueSite]:
    """A site in the current folder that answers the commands of this process."""
    monkeypatch.chdir(tmp_path)
    made = QueueSite(tmp_path)

    def perform(options: Any, calls: Any) -> list[Any]:
        answers = [made.loop.run(run(made.site, name, arguments)) for name, arguments in calls]
        for answer in answers:
            if "error" in answer:
                raise Refused(answer["error"])
        return [answer["result"] for answer in answers]

    for module in (queue, badmail, dns):
        monkeypatch.setattr(module, "perform", perform)
    yield made
    made.close()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command writes to standard output."""

    def out(*arguments: str, status: int = DONE) -> str:
        assert main(arguments) == status
        text: str = capsys.readouterr().out
        return text

    return out


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        """Yes."""
        return True


# ---------------------------------------------------------------- the queue


def test_list(site: QueueSite, said: Said) -> None:
    assert said("queue", "list") == "(none)\n"
    message = site.put("bob@dest.example", "carl@dest.example", "eve@dest.example")
    site.try_in_vain("dest.example", "mx.example: 451 4.7.1 Greylisted")
    site.put("x@other.example", sender="")
    site.ask("queue.hold", ids=["2"])
    site.clock.advance(150)
    assert said("queue", "list").splitlines() == [
        "ID  MESSAGE        STATE    AGE  TRIED  DUE (UTC)            FROM             FOR                        "
        "  GOES TO        LAST REPLY",
        f"1   {message}  waiting  2m   1      2026-11-24 04:05:00  ann@example.org  bob@dest.example and 2 more"
        "  dest.example   mx.example: 451 4.7.1 Greylisted",
        "2   0abc000000002  held     2m   0      -                    <>               x@other.example            "
        "  other.example",
    ]
    assert said("queue", "list", "--limit", "1").splitlines()[-1] == "there is more: --after 1"
    told = json.loads(said("queue", "list", "--after", "1", "--json"))
    assert [row["id"] for row in told["rows"]] == [2]
    assert json.loads(said("queue", "list", "--state", "held", "--sender", "<>", "--json"))["rows"] == told["rows"]
    assert said("queue", "list", "--domain", "nowhere.example", "--older", "2h") == "(none)\n"
    assert said("queue", "list", "--older", "soon", status=NO) == ""


def test_list_of_a_server_that_does_not_run(site: QueueSite, said: Said) -> None:
    site.put(server="smtp/out")
    site.site.delivery.lanes["smtp/out"].active = lambda: False
    assert said("queue", "list").splitlines()[-1] == "smtp/out does not run: its mail waits until it is started"
    assert "server        smtp/out, outside (it does not run, so nothing is tried)" in said("queue", "show", "1")


@pytest.mark.parametrize(("seconds", "age"), [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86400 * 3 - 1, "2d")])
def test_ages_are_rounded_down(site: QueueSite, said: Said, seconds: int, age: str) -> None:
    site.put()
    site.clock.advance(seconds)
    assert said("queue", "list").splitlines()[1].split()[3] == age


def test_show(site: QueueSite, said: Said) -> None:
    message = site.put("bob@dest.example", server="smtp/out", origin="local", NOTIFY="FAILURE,DELAY")
    site.try_in_vain("dest.example")
    assert said("queue", "show", "1").splitlines() == [
        f"row           1 of message {message}", "state         waiting",
        "from          ann@example.org BODY=8BITMIME", "goes to       dest.example", "server        smtp/out, local",
        "size          61 octets", "accepted      2026-11-24 04:00:00", "attempts      1",
        "due           2026-11-24 04:05:00", "delay notice  2026-11-24 05:00:00",
        "expires       2026-11-24 06:00:00", "last reply    mx.example: 451 4.7.1 Greylisted",
        "for           bob@dest.example NOTIFY=FAILURE,DELAY", "",
        "From: Ann <ann@example.org>", "Subject: hello",
    ]  # fmt: skip
    assert json.loads(said("queue", "show", message, "--json"))["rows"][0]["id"] == 1


def test_simulate_and_summary(site: QueueSite, said: Said) -> None:
    assert said("queue", "summary") == "(none)\n"
    site.put(server="smtp/out", origin="local")
    site.put()
    site.ask("queue.hold", ids=["2"])
    lines = said("queue", "simulate", "1").splitlines()
    assert lines[:3] == [
        "row 1 for dest.example, if no attempt succeeds", "WHEN (UTC)           WHAT", "2026-11-24 04:00:00  attempt 1",
    ]  # fmt: skip
    assert lines[-1] == "2026-11-24 06:00:00  expiry" and "2026-11-24 05:00:00  delay notice" in lines
    assert "(held: nothing happens until it is released)" in said("queue", "simulate", "2")
    assert said("queue", "summary").splitlines() == [
        "GOES TO       ROWS  HELD  TRYING  OLDEST (UTC)         NEXT (UTC)           LAST REPLY",
        "dest.example  2     1     0       2026-11-24 04:00:00  2026-11-24 04:00:00",
        "2 rows for 1 destinations",
    ]


def test_changes(site: QueueSite, said: Said) -> None:
    for number in range(4):
        site.put(f"b{number}@dest.example")
    assert said("queue", "hold", "1", "2") == "2 held\n"
    assert said("queue", "retry", "--domain", "dest.example").splitlines() == [
        "4 due now", "2 of them are held: `mailsrv queue release` lets them go",
    ]  # fmt: skip
    assert said("queue", "release", "--all") == "4 released\n"
    assert said("queue", "reroute", "1", "2", "backup.example") .splitlines() == [
        "2 rerouted to backup.example", "they are due as before: `mailsrv queue retry` sends them now",
    ]  # fmt: skip
    assert "2 rerouted to [192.0.2.1]\n" in said("queue", "reroute", "--domain", "backup.example", "[192.0.2.1]")
    assert [row.destination for row in site.rows()] == ["[192.0.2.1]"] * 2 + ["dest.example"] * 2
    assert said("queue", "fail", "1", "--reason", "Gone") == (
        "1 ended: told to the senders, or bad mail where no report can go\n"
    )
    assert said("queue", "delete", "2", "--yes") == "1 deleted\n"
    assert [row.id for row in site.rows()] == [3, 4]
    assert json.loads(said("queue", "hold", "3", "--json")) == {"changed": 1, "busy": 0, "held": 0}


def test_what_is_left_alone_is_said_and_is_status_1(site: QueueSite, said: Said) -> None:
    site.put()
    site.loop.run(site.queue.lease("dest.example", 1, "test", site.clock.seconds(), 60))
    lines = said("queue", "hold", "1", status=NO).splitlines()
    assert lines == ["0 held", "1 left alone: an attempt is under way, or they have just ended; look again"]
    assert said("queue", "release", "7", status=NO) == ""


@pytest.mark.parametrize("verb", ["retry", "hold", "release", "fail", "delete"])
def test_nothing_is_changed_without_saying_what(
    site: QueueSite, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site.put()
    assert main(["queue", verb]) == USAGE
    assert "IDs, a filter such as --domain example.org, or --all" in capsys.readouterr().err
    assert main(["queue", "reroute", "dest.example"]) == USAGE
    assert len(site.rows()) == 1


def test_delete_asks(site: QueueSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    site.put()
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert main(["queue", "delete", "1"]) == USAGE
    assert "nobody can be asked here: say --yes" in capsys.readouterr().err
    for answer in ("no\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert main(["queue", "delete", "1"]) == NO
        assert "without a report to the sender? [yes/no]" in capsys.readouterr().err
    assert len(site.rows()) == 1
    monkeypatch.setattr("sys.stdin", Terminal("Yes\n"))
    assert main(["queue", "delete", "1"]) == DONE
    assert site.rows() == []


# ---------------------------------------------------------------- bad mail


def test_badmail(site: QueueSite, said: Said) -> None:
    """S-129, S-131: list, show, resubmit, delete."""
    assert said("badmail", "list") == "(none)\n"
    first, second = site.bad(1), site.bad(2)
    third = site.bad(3, to="nobody@example.org")
    lines = said("badmail", "list", "--limit", "2").splitlines()
    assert lines[0].split() == ["KEY", "SINCE", "FROM", "FOR", "OCTETS", "WHY"]
    assert lines[1].split() == [
        first, "2026-11-24", "04:00:00", "<>", "bob@dest.example", "61", "5.1.1", "550", "no", "such", "user",
    ]  # fmt: skip
    assert lines[3] == f"there is more: --after {second}"
    assert said("badmail", "show", first).splitlines() == [
        "message       0bad000000001 of smtp/default, local", "from          <>", "size          61 octets",
        "accepted      2026-11-24 03:59:51", "here since    2026-11-24 04:00:00",
        "for           bob@dest.example: 5.1.1 mx.dest.example: 550 no such user", "",
        "From: Ann <ann@example.org>", "Subject: hello",
    ]  # fmt: skip
    lines = said("badmail", "resubmit", first, third, status=NO).splitlines()
    assert lines[0] == f"{first} is message {site.rows()[0].delivery} now" and lines[1].startswith(f"{third} stays: ")
    assert said("badmail", "resubmit", third, "--to", "abuse@other.example").startswith(f"{third} is message ")
    assert said("badmail", "delete", second, "--yes") == "1 deleted\n"
    assert said("badmail", "list", "--server", "smtp/out") == "(none)\n"
    site.bad(4, "smtp/out")
    assert said("badmail", "delete", "--all", "--yes", "--server", "smtp/out") == "1 deleted\n"


def test_badmail_usage(site: QueueSite, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    key = site.bad()
    for arguments in (["delete"], ["delete", key, "--all"], ["delete", key]):
        said("badmail", *arguments, status=USAGE)
    said("badmail", "show", "x", status=NO)
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    said("badmail", "delete", key, status=NO)
    assert said("badmail", "show", key, "--json").startswith("{")


# ---------------------------------------------------------------- names


def test_s170_domain_records(site: QueueSite, said: Said) -> None:
    lines = said("domain", "records", "example.org").splitlines()
    assert lines[0] == "example.org. 3600 IN MX 10 mail.example.org."
    assert lines[-1].startswith("; mail.example.org needs an A or AAAA record too: say --address ")
    lines = said("domain", "records", "--address", "192.0.2.1", "--address", "2001:db8::1").splitlines()
    assert lines[-2:] == ["mail.example.org. 3600 IN A 192.0.2.1", "mail.example.org. 3600 IN AAAA 2001:db8::1"]
    assert "example.com. 3600 IN MX 10 mail.example.org." in lines
    assert said("domain", "records", "other.example", status=NO) == ""


def test_s089_dns_check(site: QueueSite, said: Said) -> None:
    assert said("dns", "check", "--server", "smtp/out", status=NO).splitlines() == [
        "mail.example.org (smtp/out): error", "error  mail.example.org has no A or AAAA record",
    ]  # fmt: skip
    site.names.host("192.0.2.1", "mail.example.org")
    lines = said("dns", "check").splitlines()
    assert lines[0] == "mail.example.org (smtp/default, smtp/out): warning"
    assert lines[1] == "ok       mail.example.org has the address 192.0.2.1"
    assert json.loads(said("dns", "check", "--server", "smtp/out", "--json"))[0]["level"] == "ok"
