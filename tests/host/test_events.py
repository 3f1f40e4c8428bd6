"""The events of a site: who follows what, and that every kind is told where it happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.errors import Refused
from mailsrv.happenings import KINDS
from mailsrv.host.control.run import run
from mailsrv.host.events import MAX_FOLLOWERS, Events
from mailsrv.testing.loop import Loop


@pytest.fixture
def events() -> Events:
    """At one instant."""
    return Events(lambda: 1_800_000_000.12345)


def taken(follower: Any) -> list[Any]:
    """What it has got, at its end."""
    follower.close()

    async def read() -> list[Any]:
        """All of it."""
        return [event async for event in follower]

    found: list[Any] = Loop().run(read())
    return found


def test_who_follows_gets_what_it_wants(events: Events) -> None:
    events.publish("session.begun", server="imap/default", session=1, peer="192.0.2.1")
    every, groups = events.follow(), events.follow(["session", "login.failed"])
    server = events.follow(server="smtp/default")
    events.publish("session.ended", server="imap/default", session=1)
    events.publish("delivery.delivered", server="smtp/default", message="x")
    events.publish("login.failed", server="smtp/default", peer="192.0.2.1")
    events.publish("login.banned", subject="192.0.2.1")
    assert [event["kind"] for event in taken(every)] == [
        "session.ended", "delivery.delivered", "login.failed", "login.banned"
    ]  # fmt: skip
    assert [event["kind"] for event in taken(groups)] == ["session.ended", "login.failed"]
    assert taken(server)[0] == {
        "at": 1_800_000_000.123, "kind": "delivery.delivered", "server": "smtp/default", "message": "x"
    }  # fmt: skip


def test_who_is_slow_loses_events_and_is_told_how_many(events: Events) -> None:
    slow = events.follow(limit=2)
    for number in range(5):
        events.publish("session.begun", session=number)
    assert [event.get("session", event) for event in taken(slow)] == [0, 1, {"lost": 3}]


def test_followers_are_bounded_and_leave_nothing_behind(events: Events) -> None:
    followers = [events.follow() for _ in range(MAX_FOLLOWERS)]
    with pytest.raises(Refused, match="follow the events already"):
        events.follow()
    followers[0].close()
    followers[0].close()
    events.follow().close()
    with pytest.raises(Refused, match=r'no kind of event "sesion" \(did you mean "session"\?\)'):
        events.follow(["sesion"])


def test_the_operation_follows_until_its_reader_leaves(events: Events) -> None:
    site = SimpleNamespace(events=events, servers={"imap/default": None})
    got: list[Any] = []

    async def send(event: Any) -> None:
        """Take it."""
        got.append(event["kind"])

    def ask(**arguments: Any) -> Deferred[Any]:
        """Begin to follow."""
        return Deferred.fromCoroutine(run(site, "event.follow", arguments, send=send))

    unknown = Loop().run(run(site, "event.follow", {"server": "imap/defalt"}, send=send))
    assert unknown["error"] == 'there is no server imap/defalt (did you mean "imap/default"?)'
    following = ask(kinds=["session"])
    events.publish("session.begun", session=1)
    events.publish("server.state", server="imap/default")
    assert got == ["session.begun"]
    following.cancel()
    answers: list[Any] = []
    following.addBoth(answers.append)
    assert answers[0]["error"] == "the stream was cut off"
    assert events._followers == []


def test_each_kind_is_listed_with_its_facts() -> None:
    listed = Loop().run(run(object(), "event.list"))["result"]
    assert [one["kind"] for one in listed] == list(KINDS)
