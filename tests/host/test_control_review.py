"""Whoever may open the control socket, but nothing else, can neither fill nor forge its log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mailsrv.auth.roles import unix_identity
from mailsrv.host.config.load import loads
from mailsrv.host.control.run import MAX_LOGGED, run
from mailsrv.host.site import Site
from mailsrv.testing.loop import Loop

CONFIG = """
[site]
hostname = "mx.example.org"
domains = ["example.org"]
"""
#: A user of the machine that has no role.
STRANGER = unix_identity(2**31 - 2)


class Room:
    """An open site; what it logs."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        reactor = SimpleNamespace(callFromThread=self.loop.call_from_thread, callLater=None)
        self.site = Site(loads(CONFIG, folder / "mailsrv.toml"), reactor)
        self.loop.run(self.site.open())
        self.lines: list[str] = []

    def hear(self, event: LogEvent) -> None:
        """Note a line."""
        self.lines.append(formatEvent(event))

    def ask(self, name: str, arguments: Any, identity: Any = STRANGER) -> dict[str, Any]:
        """The answer."""
        answer: dict[str, Any] = self.loop.run(run(self.site, name, arguments, identity))
        return answer


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    globalLogPublisher.addObserver(room.hear)
    yield room
    globalLogPublisher.removeObserver(room.hear)
    room.loop.run(room.site.close())


LONG = 2_000_000


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("user.add" + "ab" * (LONG // 2), {}),
        ("user.add", {"x" * LONG: "y"}),
        ("user.disable", {"address": "a" * LONG + "@example.org"}),
        ("user.disable", {"address": '"' + "a " * (LONG // 2) + '"@example.org'}),
        ("domain.add", {"domain": "a." * (LONG // 2)}),
        ("server.stop", {"server": "smtp/" + "a" * LONG}),
    ],
)
def test_a_long_request_is_refused_and_logged_in_one_short_line(
    room: Room, name: str, arguments: dict[str, str]
) -> None:
    answer = room.ask(name, arguments)
    assert 0 < len(answer["error"]) < 3 * MAX_LOGGED
    assert len(room.lines) == 1 and len(room.lines[0]) < 3 * MAX_LOGGED


def test_no_line_of_the_log_can_be_forged(room: Room) -> None:
    room.ask("user.add\n2026-11-24T00:00:00 operation user.add by unix:root: done\x1b[2J", {})
    assert len(room.lines) == 1 and "\n" not in room.lines[0] and "\x1b" not in room.lines[0]


def test_a_password_that_is_no_text_is_refused_and_no_incident(room: Room) -> None:
    answer = room.ask("user.add", {"address": "me@example.org", "password": "\ud800"}, unix_identity(0))
    assert answer["error"] == "A password must be Unicode text"


def test_two_denials_at_once_are_both_kept(room: Room) -> None:
    """Each reads what is denied already; the store takes its time to write."""
    who, owner = {"address": "me@example.org"}, unix_identity(0)
    assert "result" in room.ask("user.add", {**who, "password": "secret"}, owner)
    room.loop.gather([run(room.site, "user.deny", {**who, "what": [what]}, owner) for what in ("pop3", "imap", "smtp")])
    stored = room.loop.run(room.site.directory.credentials("me@example.org"))
    assert stored.denied == {"pop3", "imap", "smtp"}
