"""`twistd mailsrv`: which file it runs, what it makes when there is none, and that parsing is all it does before."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from twisted.python import usage

from mailsrv import tap
from mailsrv.host.config.load import loads

TEXT = '[site]\nhostname = "mail.example.org"\n'


def parsed(*arguments: str) -> tap.Options:
    """The command line."""
    options = tap.Options()
    options.parseOptions(list(arguments))
    return options


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_of_the_command_line(folder: Path) -> None:
    (folder / "other.toml").write_text(TEXT)
    service = tap.makeService(parsed("--config", "other.toml"))
    # Absolute, because twistd changes folders when it forks.
    assert service.options.file == folder / "other.toml" and service.site is None


def test_the_usual_files_in_their_order(folder: Path) -> None:
    (folder / "mailsrv-data").mkdir()
    (folder / "mailsrv-data" / "mailsrv.toml").write_text(TEXT)
    assert tap.makeService(parsed()).options.file == folder / "mailsrv-data" / "mailsrv.toml"
    (folder / "mailsrv.toml").write_text(TEXT)
    assert tap.makeService(parsed()).options.file == folder / "mailsrv.toml"


def test_nothing_but_parsing_before_the_fork(folder: Path) -> None:
    (folder / "mailsrv.toml").write_text(TEXT)
    threads, descriptors = threading.active_count(), os.listdir("/proc/self/fd")
    tap.makeService(parsed())
    assert threading.active_count() == threads and len(os.listdir("/proc/self/fd")) == len(descriptors)
    assert os.listdir(folder) == ["mailsrv.toml"]


def test_a_mistake_is_told_without_a_traceback(folder: Path) -> None:
    with pytest.raises(SystemExit, match=r"^mailsrv: .*none.toml: no such file; `mailsrv init DIR` makes one"):
        tap.makeService(parsed("--config", "none.toml"))
    (folder / "mailsrv.toml").write_text("[smtp.a]\nmax_hops = 1\n")
    with pytest.raises(SystemExit, match=r"mailsrv.toml:2: smtp.a.max_hops: must be 10 to 256"):
        tap.makeService(parsed())
    with pytest.raises(usage.UsageError):
        parsed("--nonsense")


@pytest.mark.parametrize(("root", "arguments", "free", "expected"), [
    (True, (), True, ["--address", "*"]),
    (False, (), True, ["--address", "127.0.0.1"]),
    (False, ("--public",), False, ["--address", "*", "--high-ports"]),
    (False, (), False, ["--address", "127.0.0.1", "--high-ports"]),
])
def test_a_site_is_made_when_there_is_none(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: bool,
    arguments: tuple[str, ...],
    free: bool,
    expected: list[str],
) -> None:
    commands: list[list[str]] = []

    def init(command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
        """As `mailsrv init` would."""
        commands.append(command)
        (folder / "mailsrv-data").mkdir()
        (folder / "mailsrv-data" / "mailsrv.toml").write_text(TEXT)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", init)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(tap, "can_bind", lambda address: free)
    service = tap.makeService(parsed(*arguments))
    assert service.options.file == folder / "mailsrv-data" / "mailsrv.toml"
    assert commands[0][1:] == ["-m", "mailsrv", "init", "mailsrv-data", *expected]


def test_a_site_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **how: subprocess.CompletedProcess(command, 1))
    with pytest.raises(SystemExit, match="cannot make a site"):
        tap.makeService(parsed())


def test_all_ports_or_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not tap.can_bind("127.0.0.1", (0, port))
    assert tap.can_bind("127.0.0.1", (0, port))


def test_first_steps_speak_of_what_listens() -> None:
    options = loads('[site]\nhostname = "x.org"\n')
    lines = tap.first_steps(options, {
        "smtp/default": ["0.0.0.0:2525", "[::]:2525"], "imap/default": ["127.0.0.1:1993/tls"], "pop3/default": [],
    })
    assert lines == ["send: swaks --server 127.0.0.1:2525 --to me@x.org"]
    test_bed = loads('[site]\nhostname = "x.org"\n[auth]\nuse = ["any"]\n[auth.any]\npassword_file = "x"\n')
    assert tap.first_steps(test_bed, {"pop3/a": ["[::]:110"]}) == [
        "or:   curl -k --ssl-reqd --user u1@x.org pop3://[::1]:110/1"
    ]


def test_the_process_is_set_up_for_short_turns() -> None:
    before = sys.getswitchinterval()
    try:
        tap.turn_quickly()
        assert gc.get_freeze_count() > 10_000
        assert sys.getswitchinterval() == pytest.approx(tap.SWITCH_SECONDS)
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
