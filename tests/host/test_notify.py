"""systemd is told when the site is ready, stops, and lives (sd_notify(3)); root is given up once ports are bound."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailsrv.errors import ConfigError
from mailsrv.host import privileges
from mailsrv.host.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """What systemd listens on, and how it names that."""
    name = f"@mailsrv-{secrets.token_hex(6)}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("\0" + name[1:] if name.startswith("@") else name)
        made.settimeout(5)
        yield made, name


def test_ready_and_stopping_are_told(system: tuple[socket.socket, str]) -> None:
    listening, name = system
    notifier = Notifier({"NOTIFY_SOCKET": name}, Clock().callLater)
    notifier.ready("3 of 3\nrun")
    assert listening.recv(4096).decode().splitlines() == ["READY=1", "STATUS=3 of 3 run", f"MAINPID={os.getpid()}"]
    notifier.stopping("the end")
    assert listening.recv(4096) == b"STOPPING=1\nSTATUS=the end"


def test_the_watchdog_hears_twice_in_its_time(system: tuple[socket.socket, str]) -> None:
    listening, name = system
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"}, clock.callLater)
    clock.advance(10)
    notifier.ready("")
    assert b"READY=1" in listening.recv(4096)
    for _ in range(3):
        assert listening.recv(4096) == b"WATCHDOG=1"
        clock.advance(2)


@pytest.mark.parametrize("environment", [
    {}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/no/such/socket", "WATCHDOG_USEC": "much"},
    {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
])  # fmt: skip
def test_nobody_who_listens_is_no_trouble(environment: dict[str, str]) -> None:
    clock = Clock()
    Notifier(environment, clock.callLater).ready("")
    assert not clock.getDelayedCalls()


# ---------------------------------------------------------------- privileges


class System:
    """What the process asks of the system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
        self.uid, self.calls = uid, list[Any]()
        for name in ("setuid", "setgid", "seteuid", "setegid"):
            monkeypatch.setattr(os, name, lambda number, name=name: self.call(name, number))
        monkeypatch.setattr(os, "initgroups", lambda user, gid: self.calls.append(("initgroups", user)))
        monkeypatch.setattr(os, "geteuid", lambda: self.uid)
        monkeypatch.setattr(os, "getuid", lambda: self.uid)
        monkeypatch.setattr(os, "getgid", lambda: 8)

    def call(self, name: str, number: int) -> None:
        """Done."""
        self.calls.append((name, number))
        if name in ("setuid", "seteuid"):
            self.uid = number


ACCOUNT = privileges.Account("someone", 4242, 8)


def test_groups_are_given_up_before_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, 0)
    privileges.become(ACCOUNT)
    assert system.calls == [("initgroups", "someone"), ("setgid", 8), ("setuid", 4242)]


def test_files_are_made_as_the_user_and_ports_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, 0)
    with privileges.acting_as(ACCOUNT):
        assert system.uid == 4242
    assert system.uid == 0


def test_who_is_that_user_already_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = System(monkeypatch, 4242)
    privileges.check(ACCOUNT, tmp_path)
    privileges.become(ACCOUNT)
    assert system.calls == []


def test_somebody_else_cannot_become_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    System(monkeypatch, 1)
    with pytest.raises(ConfigError, match="only root can become someone"):
        privileges.check(ACCOUNT, tmp_path)


def test_data_of_root_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    System(monkeypatch, 0)
    with pytest.raises(ConfigError, match=f"chown -R someone {tmp_path}"):
        privileges.check(ACCOUNT, tmp_path)


@pytest.mark.parametrize(("text", "what"), [("no-such-user-here", "user"), ("root:no-such-group-here", "group")])
def test_users_and_groups_must_exist(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"no UNIX {what}"):
        privileges.account_of(text)
    assert privileges.account_of("root").uid == 0
