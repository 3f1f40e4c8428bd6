"""Operations on the queue, on a real site with the memory store; the clock is moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsrv.errors import TryLater
from mailsrv.host.control import run as control
from mailsrv.host.control.table import OPERATIONS
from mailsrv.testing.queue_site import START, QueueSite
from mailsrv.values import Identity, Verdict
from tests.properties import tries
from tests.timing import takes_at_most

CHANGES = ("retry", "hold", "release", "delete", "reroute", "fail")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[QueueSite]:
    made = QueueSite(tmp_path)
    yield made
    made.close()


def ids(site: QueueSite, **filters: Any) -> list[int]:
    """Of the rows that a list tells."""
    return [row["id"] for row in site.ask("queue.list", **filters)["rows"]]


def filled(site: QueueSite) -> None:
    """Six rows: 1 and 2 are one message."""
    site.put("bob@dest.example", "eve@other.example", sender="Ann@example.org")
    site.clock.advance(3600)
    site.put("Bob@dest.example", sender="cy@foreign.example", server="smtp/out", origin="local")
    site.put("carl@third.example", sender="")
    site.put("dan@third.example", sender="dan@sub.example.org")
    site.put(*(f"n{number}@many.example" for number in range(9)))


# ---------------------------------------------------------------- looking


def test_a_list_tells_where_each_row_goes_and_why_it_waits(site: QueueSite) -> None:
    message = site.put("bob@dest.example", NOTIFY="FAILURE")
    site.try_in_vain("dest.example")
    assert site.ask("queue.list") == {"next": 0, "now": START, "stopped": [], "rows": [{
        "id": 1, "message": message, "destination": "dest.example", "sender": "ann@example.org",
        "recipients": ["bob@dest.example"], "recipient_count": 1, "server": "smtp/default", "origin": "outside",
        "size": 61, "received_at": START, "attempts": 1, "due": START + 300, "state": "waiting", "noticed": False,
        "reply": "mx.example: 451 4.7.1 Greylisted",
    }]}  # fmt: skip


@pytest.mark.parametrize(("filters", "found"), [
    ({}, [1, 2, 3, 4, 5, 6]),
    ({"server": "smtp/out"}, [3]), ({"server": "smtp/default", "domain": "dest.example"}, [1]),
    ({"sender": "ann@example.org"}, [1, 2, 6]), ({"sender": "ANN@Example.org"}, [1, 2, 6]),
    ({"sender": "@example.org"}, [1, 2, 6]), ({"sender": "@sub.example.org"}, [5]), ({"sender": "<>"}, [4]),
    ({"recipient": "bob@dest.example"}, [1, 3]), ({"recipient": "@Third.example"}, [4, 5]),
    ({"recipient": "n8@many.example"}, [6]), ({"recipient": "nobody@dest.example"}, []),
    ({"domain": "DEST.example."}, [1, 3]), ({"domain": "dest"}, []),
    ({"older": "1h"}, [1, 2]), ({"older": "2h"}, []), ({"older": "30m", "recipient": "eve@other.example"}, [2]),
    ({"state": "held"}, [2]), ({"state": "trying"}, [4]), ({"state": "waiting", "domain": "third.example"}, [5]),
    ({"reply": "GREY"}, [1, 3]), ({"reply": "550"}, []),
    ({"after": 4}, [5, 6]),
])  # fmt: skip
def test_filters_must_all_fit(site: QueueSite, filters: dict[str, Any], found: list[int]) -> None:
    filled(site)
    site.ask("queue.hold", ids=["2"])
    site.try_in_vain("dest.example")
    site.loop.run(site.queue.lease("third.example", 1, "test", site.clock.seconds(), 60))
    assert ids(site, **filters) == found


def test_pages(site: QueueSite) -> None:
    for _ in range(250):
        site.put()
    page = site.ask("queue.list", limit=100)
    assert (len(page["rows"]), page["next"]) == (100, 100)
    assert ids(site, after=100, limit=150) == list(range(101, 251))
    assert site.ask("queue.list", after=100, limit=150)["next"] == 0
    assert site.ask("queue.list", after=100, limit=149)["next"] == 249
    assert len(ids(site, limit=1000)) == 250


@pytest.mark.parametrize(("filters", "said"), [
    ({"limit": 0}, "limit must be 1 to 1000"), ({"limit": 1001}, "limit must be 1 to 1000"),
    ({"after": -1}, "limit must be"), ({"state": "waitin"}, 'did you mean "waiting"'),
    ({"older": "soon"}, "older: must be a duration"), ({"sender": "bob"}, "is no address"),
    ({"recipient": "@a b"}, "is no address"), ({"domain": "x\ny"}, "a destination is a domain"),
    ({"server": "smtp/defaul"}, 'did you mean "smtp/default"'), ({"reply": "x" * 501}, "reply: at most"),
])  # fmt: skip
def test_filters_that_make_no_sense(site: QueueSite, filters: dict[str, Any], said: str) -> None:
    site.put()
    assert said in site.ask("queue.list", **filters)


@settings(max_examples=tries(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(
    st.sampled_from(["server", "sender", "recipient", "domain", "older", "state", "reply"]), st.text(max_size=600)
))
def test_any_text_is_a_filter_or_a_refusal(site: QueueSite, filters: dict[str, str]) -> None:
    assert "internal error" not in str(site.ask("queue.list", **filters))
    assert "internal error" not in str(site.ask("queue.hold", ids=[*filters.values()], **filters))


def test_show_tells_all_of_a_row_or_of_a_message(site: QueueSite) -> None:
    message = site.put("bob@dest.example", "eve@other.example", server="smtp/out", origin="local", NOTIFY="NEVER")
    told = site.ask("queue.show", id="2")
    assert told["header"] == "From: Ann <ann@example.org>\nSubject: hello"
    (row,) = told["rows"]
    assert row["recipients"] == [{"address": "eve@other.example", "parameters": {"NOTIFY": "NEVER"}}]
    assert row["parameters"] == {"BODY": "8BITMIME"} and row["server_runs"] is True
    assert (row["notice_at"], row["expires_at"]) == (START + 3600, START + 7200)
    assert [one["id"] for one in site.ask("queue.show", id=message)["rows"]] == [1, 2]
    assert [one["id"] for one in site.ask("queue.show", id=message.upper())["rows"]] == [1, 2]


def test_what_is_not_there_is_said(site: QueueSite) -> None:
    site.put()
    for wrong in ("2", "0", "", "0abc000000009", "9" * 40, "-1", "\ud800", "x" * 10_000):
        assert "nothing in the queue has the id" in site.ask("queue.show", id=wrong)
        assert "`mailsrv queue list` tells" in site.ask("queue.hold", ids=["1", wrong])
    assert [row.held for row in site.rows()] == [False]
    assert "at most 10000 ids" in site.ask("queue.hold", ids=["1"] * 10_001)


def test_simulate_says_what_will_happen(site: QueueSite) -> None:
    """Points of the schedule of smtp/out: every 10 minutes, a notice after an hour, the end after two."""
    site.put(server="smtp/out", origin="local")
    site.try_in_vain("dest.example", due=600)
    (told,) = site.ask("queue.simulate", id="1")
    minutes = [((event["at"] - START) / 60, event["what"]) for event in told["events"]]
    assert minutes[:2] == [(10, "attempt 2"), (20, "attempt 3")] and minutes[-1] == (120, "expiry")
    assert (60, "delay notice") in minutes and told["more"] is False


def test_a_summary_tells_of_each_destination_the_largest_first(site: QueueSite) -> None:
    assert site.ask("queue.summary") == {
        "rows": 0, "destinations": 0, "summary": [], "attempts_under_way": 0, "counters": {},
    }  # fmt: skip
    filled(site)
    site.ask("queue.hold", ids=["3"])
    site.try_in_vain("dest.example", due=900)
    told = site.ask("queue.summary")
    assert (told["rows"], told["destinations"]) == (6, 4)
    assert [(one["destination"], one["count"]) for one in told["summary"]] == [
        ("dest.example", 2), ("third.example", 2), ("many.example", 1), ("other.example", 1),
    ]  # fmt: skip
    assert told["summary"][0] == {
        "destination": "dest.example", "count": 2, "held": 1, "trying": 0, "size": 122, "oldest": START,
        "next_attempt": START + 3600 + 900, "reply": "mx.example: 451 4.7.1 Greylisted",
    }  # fmt: skip
    assert site.ask("queue.summary", server="smtp/out")["rows"] == 1


def test_s018_a_list_says_whose_mail_waits_for_the_start_of_its_server(site: QueueSite) -> None:
    site.put(server="smtp/out")
    lanes = site.site.delivery.lanes
    for state, stopped in (("running", []), ("paused", []), ("stopped", ["smtp/out"])):
        site.site.servers["smtp/out"] = SimpleNamespace(state=state)
        assert lanes["smtp/out"].active() is (state != "stopped")
        assert site.ask("queue.list")["stopped"] == stopped
        assert site.ask("queue.list", domain="nowhere.example")["stopped"] == []
    assert site.ask("queue.show", id="1")["rows"][0]["server_runs"] is False
    del site.site.servers["smtp/out"]


def test_the_last_attempt_is_told_while_it_is_known(site: QueueSite) -> None:
    site.put()
    assert site.ask("queue.show", id="1")["rows"][0]["tried_at"] is None
    site.site.delivery.runner.attempts.tried[1] = START + 5
    assert site.ask("queue.show", id="1")["rows"][0]["tried_at"] == START + 5


# ---------------------------------------------------------------- changing


def test_hold_release_retry(site: QueueSite) -> None:
    site.put()
    site.try_in_vain("dest.example", due=5000)
    site.clock.advance(60)
    assert site.ask("queue.hold", ids=["1"]) == {"changed": 1, "busy": 0, "held": 0}
    assert site.ask("queue.retry", ids=["1"]) == {"changed": 1, "busy": 0, "held": 1}
    assert site.loop.run(site.queue.due(START + 60)) == []
    assert site.ask("queue.release", ids=["1"]) == {"changed": 1, "busy": 0, "held": 1}
    assert [(one.destination, one.oldest) for one in site.loop.run(site.queue.due(START + 60))] == [
        ("dest.example", START + 60)
    ]
    assert site.rows()[0].attempts == 1


def test_a_retry_wakes_who_sends_and_begins_nothing_by_itself(site: QueueSite) -> None:
    """A command without a server must not begin to send in the moment before it ends."""
    calls: list[int] = []
    site.put()
    stop = site.queue.watch_queue(lambda: calls.append(1))
    assert site.ask("queue.retry", ids=["1"])["changed"] == 1
    stop()
    assert calls == [1] and site.site.delivery.runner.shares.workers == 0 and not site.clock.getDelayedCalls()


def test_reroute_changes_where_it_goes_and_not_for_whom(site: QueueSite) -> None:
    site.put("bob@dest.example", "eve@dest.example")
    site.try_in_vain("dest.example")
    told = site.ask("queue.reroute", ids=["1"], destination=" Backup.EXAMPLE.")
    assert told == {"changed": 1, "busy": 0, "held": 0, "destination": "backup.example"}
    (row,) = site.rows()
    assert row.destination == "backup.example"
    assert [str(one.address) for one in row.recipients] == ["bob@dest.example", "eve@dest.example"]
    assert site.ask("queue.reroute", ids=["1"], destination="[192.0.2.1]")["destination"] == "[192.0.2.1]"
    assert site.ask("queue.reroute", ids=["1"], destination="[IPv6:2001:DB8::1]")["destination"] == "[ipv6:2001:db8::1]"
    for wrong in ("", "*", ".example.com", "a b", "[192.0.2.1", "unresolved:smtp/default", "x" * 300):
        assert "is no destination" in site.ask("queue.reroute", ids=["1"], destination=wrong)


def test_delete_tells_nobody(site: QueueSite) -> None:
    site.put()
    site.put("eve@other.example")
    assert site.ask("queue.delete", ids=["1"])["changed"] == 1
    assert [row.id for row in site.rows()] == [2] and site.ask("badmail.list")["entries"] == []


@pytest.mark.parametrize("verb", CHANGES)
def test_changes_take_filters_ids_or_everything_and_never_nothing(site: QueueSite, verb: str) -> None:
    name, more = f"queue.{verb}", {"destination": "x.example"} if verb == "reroute" else {}
    filled(site)
    assert "say which: ids, a filter, or everything" in site.ask(name, ids=[], **more)
    assert "either ids or everything" in site.ask(name, ids=["1"], everything=True, **more)
    assert site.ask(name, ids=[], sender="cy@foreign.example", **more)["changed"] == 1
    assert site.ask(name, ids=["1", "1"], domain="dest.example", **more)["changed"] == 1
    assert "has the id" in site.ask(name, ids=["4"], domain="dest.example", **more)
    left = len(site.rows())
    assert site.ask(name, ids=[], everything=True, **more)["changed"] == left


@pytest.mark.parametrize("verb", CHANGES)
def test_what_is_being_tried_is_left_alone(site: QueueSite, verb: str) -> None:
    more = {"destination": "x.example"} if verb == "reroute" else {}
    site.put()
    site.put("eve@other.example")
    (leased,) = site.loop.run(site.queue.lease("dest.example", 1, "test", START, 60))
    told = site.ask(f"queue.{verb}", ids=["1", "2"], **more)
    assert (told["changed"], told["busy"]) == (1, 1)
    assert site.rows()[0] == leased


# ---------------------------------------------------------------- giving up


def reports(site: QueueSite) -> list[bytes]:
    """Contents of the queue that are from nobody."""
    return [
        b"".join(site.loop.run(site.queue.queue_content(row)).chunks())
        for row in site.rows() if row.reverse_path is None
    ]  # fmt: skip


def test_fail_ends_with_a_report_that_says_why(site: QueueSite) -> None:
    site.put(sender="cy@foreign.example")
    told = site.ask("queue.fail", ids=["1"], reason="The domain\r\nis gone")
    assert told == {"changed": 1, "busy": 0, "failed": [], "reason": "The domain is gone"}
    (report,) = reports(site)
    assert b"The domain is gone" in report and b"Action: failed" in report and b"bob@dest.example" in report
    assert [str(row.recipients[0].address) for row in site.rows()] == ["cy@foreign.example"]


def test_fail_without_a_reason_says_who(site: QueueSite) -> None:
    site.put(sender="cy@foreign.example")
    assert site.ask("queue.fail", ids=["1"], reason="")["reason"] == "The administrator has given this message up"


def test_s129_fail_of_a_report_is_bad_mail(site: QueueSite) -> None:
    site.put(sender="")
    assert site.ask("queue.fail", ids=["1"])["changed"] == 1
    (entry,) = site.ask("badmail.list")["entries"]
    assert entry["sender"] == "<>" and site.rows() == []


def test_a_report_that_cannot_be_kept_leaves_the_row_as_it_was(site: QueueSite, monkeypatch: Any) -> None:
    async def submit(*_: Any, **__: Any) -> str:
        """The disk is full."""
        raise TryLater("no room", "4.3.1")

    site.put(sender="cy@foreign.example")
    site.put(sender="cy@foreign.example")
    site.ask("queue.hold", ids=["2"])
    monkeypatch.setattr(site.site.delivery, "submit", submit)
    told = site.ask("queue.fail", ids=["1", "2"])
    assert told["changed"] == 0 and [one["id"] for one in told["failed"]] == [1, 2]
    assert "no room" in told["failed"][0]["error"] and [row.held for row in site.rows()] == [False, True]


# ---------------------------------------------------------------- who may, and how long it takes


def test_who_may_administer_one_server_sees_nothing_of_others(site: QueueSite) -> None:
    """A scope of server/smtp/out: the server must be named, and then holds for ids too."""

    class Authorizer:
        async def permits(self, identity: Any, action: str, resource: str) -> Verdict:
            return Verdict("accept" if resource == "server/smtp/out" else "refuse")

    filled(site)
    site.site.authorizer = Authorizer()
    who = Identity(1, "helper")

    def asked(name: str, **arguments: Any) -> Any:
        return site.loop.run(control.run(site.site, name, arguments, who))

    assert asked("queue.list", server="smtp/out")["result"]["rows"][0]["id"] == 3
    for name, arguments in (
        ("queue.list", {}), ("queue.show", {"id": "1"}), ("queue.hold", {"ids": ["1"]}), ("queue.summary", {}),
        ("queue.delete", {"ids": [], "everything": True}), ("badmail.list", {}), ("dns.check", {}),
    ):  # fmt: skip
        assert asked(name, **arguments)["status"] == "5.7.1", name
    assert "nothing in the queue of smtp/out has the id" in asked("queue.show", id="1", server="smtp/out")["error"]
    assert asked("queue.delete", ids=[], everything=True, server="smtp/out")["result"]["changed"] == 1
    assert [row.id for row in site.rows()] == [1, 2, 4, 5, 6]


def test_operations_are_for_a_server_or_the_site() -> None:
    for verb in ("list", "show", "simulate", "summary", *CHANGES):
        found = OPERATIONS[f"queue.{verb}"]
        # A domain to which mail goes is nobody's to administer.
        assert found.resource({"domain": "dest.example"}) == "" and not found.running
        assert found.resource({"server": "smtp/out", "domain": "x.example"}) == "server/smtp/out"
        assert len(found.text) > 20


def test_without_a_queue_there_is_none(site: QueueSite) -> None:
    site.site.delivery = None
    for name, arguments in (
        ("queue.list", {}), ("queue.summary", {}), ("queue.show", {"id": "1"}), ("queue.retry", {"ids": ["1"]}),
        ("badmail.list", {}), ("badmail.delete", {"keys": ["a-1"]}),
    ):  # fmt: skip
        assert "sends nothing on" in site.ask(name, **arguments)


def test_a_row_of_a_server_that_is_gone_goes_by_the_first_one(site: QueueSite) -> None:
    site.put(server="smtp/gone")
    assert site.ask("queue.show", id="1")["rows"][0]["expires_at"] == START + 5 * 86400
    assert ids(site, server="smtp/gone") == [1]


def test_ten_thousand_rows_are_listed_in_no_time(site: QueueSite) -> None:
    for number in range(100):
        site.put(*(f"u{number}@d{destination}.example" for destination in range(100)))
    assert takes_at_most(1, lambda: ids(site, recipient="u99@d99.example")) == [10_000]
    assert takes_at_most(1, lambda: site.ask("queue.summary"))["destinations"] == 100
