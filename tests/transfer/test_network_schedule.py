"""Days of trying on the clock of the test: when a server is asked, when the sender hears of it, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mail_network import DAY, HOUR, MINUTE, START, MailNetwork, delivery, fields, server

pytestmark = pytest.mark.slow

Make = Callable[..., MailNetwork]
LATER = b"451 4.3.2 Come back tomorrow\r\n"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[MailNetwork] = []

    def network(**keys: Any) -> MailNetwork:
        made.append(MailNetwork(tmp_path, delivery(**keys)))
        return made[0]

    yield network
    made[0].close()


def minutes(instants: list[float]) -> list[float]:
    """Rounded to tenths."""
    return [round(instant / MINUTE, 1) for instant in instants]


def told(net: MailNetwork) -> list[tuple[float, str]]:
    """Hours and actions of the reports that came."""
    found = []
    for report in net.reports():
        (received,) = (line for line in report.get_all("Received", []) if "by mail.home.test" in line)
        day, clock = received.rpartition(";")[2].split()[1], received.rpartition(";")[2].split()[4]
        hours, mins, seconds = map(int, clock.split(":"))
        # The test begins on the 12th at 13:46:40.
        since = (int(day) - 12) * DAY + hours * HOUR + mins * MINUTE + seconds - START % DAY
        found.append((round(since / HOUR, 2), str(fields(report)["Action"])))
    return found


def test_two_days_of_451_s069_to_s075(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", rcpt=LATER)
    name = net.put()
    net.until(3 * DAY)
    tries = minutes(net.commands(b"RCPT"))
    assert tries[:4] == [0, 10, 20, 30] and tries[4:] == [45 + 15 * n for n in range(len(tries) - 4)]
    # At the last instant it is tried once more.
    assert tries[-1] == 2880 and told(net) == [(12, "delayed"), (48, "failed")]
    assert not net.rows() and not net.taken()
    notice, end = net.reports()
    assert fields(notice)["Will-Retry-Until"] == "Wed, 14 Jan 1970 13:46:40 +0000"
    assert [fields(one)["Status"] for one in (notice, end)] == ["4.3.2", "4.4.7"]
    for one in (notice, end):
        assert fields(one)["Diagnostic-Code"] == "smtp; 451 4.3.2 Come back tomorrow"
        assert one.get_payload()[1].get_payload()[0]["X-Mailsrv-Id"] == name  # type: ignore[union-attr,index]


def test_two_days_without_a_server_s069_to_s075(make: Make) -> None:
    net = make()
    net.refuse = {"192.0.2.1"}
    net.put()
    net.put("you@one.test")
    net.until(3 * DAY)
    tries = [round(at / MINUTE) for at in net.attempts("192.0.2.1")]
    assert tries[:8] == [0, 10, 20, 30, 45, 60, 75, 90] and len(tries) <= 3 + 48 * 4 + 1
    assert told(net) == [(12, "delayed")] * 2 + [(48, "failed")] * 2 and not net.rows()


def test_the_defaults_of_a_new_site(tmp_path: Path) -> None:
    net = MailNetwork(tmp_path)
    net.remote("192.0.2.1", rcpt=LATER)
    net.put()
    net.until(6 * DAY)
    tries = minutes(net.commands(b"RCPT"))
    assert tries[:6] == [0, 5, 20, 50, 110, 170] and tries[-1] <= 5 * 24 * 60
    assert told(net) == [(4, "delayed"), (120, "failed")] and not net.rows()
    net.close()


def test_s076_s077_local_and_outbound_mail_have_times_of_their_own(make: Make) -> None:
    net = make(
        delay_notification={"local": "1h", "outbound": "2h"}, expiration={"local": "3h", "outbound": "4h"}
    )  # fmt: skip
    net.remote("192.0.2.1", rcpt=LATER)
    net.put(origin="local")
    net.put(origin="outside")
    net.until(DAY)
    assert told(net) == [(1, "delayed"), (2, "delayed"), (3, "failed"), (4, "failed")]


@pytest.mark.parametrize(
    ("notice", "end", "hours"), [("90m", "180m", (1.5, 3)), ("2h", "26h", (2, 26)), ("1d", "2d", (24, 48))]
)
def test_s078_times_in_minutes_hours_and_days(make: Make, notice: str, end: str, hours: tuple[float, float]) -> None:
    net = make(delay_notification=notice, expiration=end, retry=["6h"])
    net.remote("192.0.2.1", rcpt=LATER)
    net.put()
    net.until(3 * DAY)
    assert told(net) == [(hours[0], "delayed"), (hours[1], "failed")]


def test_s078_each_of_the_four_values_has_a_unit_of_its_own(make: Make) -> None:
    net = make(
        delay_notification={"local": "90m", "outbound": "2h"}, expiration={"local": "5h", "outbound": "1d"},
        retry=["2h"],
    )  # fmt: skip
    net.remote("192.0.2.1", rcpt=LATER)
    net.put(origin="local")
    net.put(origin="outside")
    net.until(2 * DAY)
    assert told(net) == [(1.5, "delayed"), (2, "delayed"), (5, "failed"), (24, "failed")]


def test_s075_no_notice_when_it_arrives_a_minute_before(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", rcpt=LATER)
    net.put()
    net.until(12 * HOUR - 16 * MINUTE)
    net.remote("192.0.2.1")
    net.until(3 * DAY)
    assert len(net.taken()) == 1 and told(net) == []


@pytest.mark.parametrize(("answer", "status"), [(LATER, "4.3.2"), (b"450 wait\r\n", "4.0.0")])
def test_s075_a_notice_between_two_attempts_tells_what_the_last_one_brought(
    make: Make, answer: bytes, status: str
) -> None:
    net = make(retry=["10m"], delay_notification="15m")
    net.remote("192.0.2.1", rcpt=answer)
    net.put()
    net.until(16 * MINUTE)
    told = fields(net.reports()[0])
    assert (told["Status"], told["Remote-MTA"]) == (status, "dns; mx.one.test")
    assert told["Diagnostic-Code"] == "smtp; " + answer[:-2].decode() and len(net.commands(b"RCPT")) == 2


def test_notices_can_be_off(make: Make) -> None:
    net = make(delay_notification="off", expiration="5h")
    net.remote("192.0.2.1", rcpt=LATER)
    net.put()
    net.until(DAY)
    assert told(net) == [(5, "failed")]


def test_a_day_of_outage_delivers_everything_once(make: Make) -> None:
    net = make()
    net.remote("192.0.2.1", greeting=b"421 4.3.2 In maintenance\r\n")
    for number in range(30):
        net.put(f"u{number}@one.test")
        net.until(net.now + 17 * MINUTE)
    assert len(net.rows()) == 30 and not net.taken()
    net.remote("192.0.2.1")
    net.until(net.now + 16 * MINUTE)
    assert sorted(one.recipients[0] for one in net.taken()) == sorted(b"u%d@one.test" % n for n in range(30))
    assert not net.rows()
    # Asked once in each interval, whatever the number of messages.
    greetings = net.attempts("192.0.2.1")
    assert all(later - earlier > 9 * MINUTE for earlier, later in pairwise(greetings) if later < 8 * HOUR)


def test_one_recipient_of_many_that_waits_is_tried_alone_and_reported_alone(make: Make) -> None:
    net = make(expiration="2h", delay_notification="1h")
    good = server()
    net.remote("192.0.2.1", lambda line: LATER if line == b"RCPT TO:<b@one.test>" else good(line))
    net.put("a@one.test", "b@one.test", "c@one.test")
    net.until(DAY)
    assert [one.recipients for one in net.taken()] == [[b"a@one.test", b"c@one.test"]]
    assert [fields(one)["Final-Recipient"] for one in net.reports()] == ["rfc822; b@one.test"] * 2
    assert told(net) == [(1, "delayed"), (2, "failed")]


def test_a_message_for_two_domains_waits_for_one_of_them_alone(make: Make) -> None:
    net = make()
    net.refuse = {"192.0.2.1"}
    net.put("me@one.test", "me@two.test")
    net.until(5 * MINUTE)
    assert len(net.taken("192.0.2.21")) == 1 and net.row().destination == "one.test"
    net.refuse = set()
    net.until(11 * MINUTE)
    assert len(net.taken("192.0.2.21")) == len(net.taken("192.0.2.1")) == 1 and not net.rows()


def test_a_message_without_a_sender_ends_in_bad_mail_without_a_word(make: Make) -> None:
    net = make(delay_notification="1h", expiration="2h")
    net.remote("192.0.2.1", rcpt=LATER)
    net.put(sender="")
    net.until(DAY)
    assert not net.rows() and net.reports() == []
    assert len(net.site.delivery.badmail["smtp/default"].entries()) == 1
