"""`mailsrv access` and `mailsrv relay` without a wire between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli import access
from mailsrv.cli.common import DONE, NO
from mailsrv.cli.main import main
from mailsrv.errors import Refused
from mailsrv.host.access import Access
from mailsrv.host.changes import Changes
from mailsrv.host.config.load import load
from mailsrv.host.control.run import run
from mailsrv.testing.dns import NameTable
from mailsrv.testing.loop import Loop

CONFIG = '[access.office]\nmode = "only"\nlist = ["192.168.5/24",\n"eng.example.com"]\n[smtp.in]\nrelay = "office"\n' \
    '[imap.a]\naccess = "office"\n'


class Site:
    """What the operations look at."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.config_path = options.file
        self.access = Access(self)
        self.access.resolver = NameTable()
        self.clock = lambda: 1_800_000_000.0
        self.changes = Changes(self, lambda: False)

    async def aside(self, function: Any, *arguments: Any) -> Any:
        """Here and now."""
        return function(*arguments)


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a command writes, in a folder with a site's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mailsrv.toml").write_text(CONFIG)

    def perform(options: Any, calls: Any) -> list[Any]:
        answers = [Loop().run(run(Site(load("mailsrv.toml")), name, arguments)) for name, arguments in calls]
        for answer in answers:
            if "error" in answer:
                raise Refused(answer["error"])
        return [answer["result"] for answer in answers]

    monkeypatch.setattr(access, "perform", perform)

    def out(*arguments: str, status: int = DONE) -> str:
        assert main(arguments) == status
        text: str = capsys.readouterr().out
        return text

    return out


def test_the_answer_its_rule_and_its_line(said: Callable[..., str]) -> None:
    lines = said("access", "test", "192.168.5.1", "--server", "imap/a").splitlines()
    assert lines[0].split() == ["SERVER", "CLIENT", "IS", "BY"]
    assert lines[1] == 'imap/a  allowed    list "office" (only): "192.168.5/24" at mailsrv.toml:3'
    assert "denied     list" in said("access", "test", "10.0.0.1", "--server", "imap/a", status=NO)
    # Of all servers: no as soon as one says no.
    text = said("access", "test", "10.0.0.1", status=NO)
    assert "smtp/in  allowed    no access list" in text and "imap/a   denied" in text


def test_relay_and_a_name_instead_of_a_look_up(said: Callable[..., str]) -> None:
    said("relay", "test", "10.0.0.1", status=NO)
    assert "mailsrv.toml:4 holds x.eng.example.com" in said("relay", "test", "10.0.0.1", "--name", "x.eng.example.com")
    told = json.loads(said("relay", "test", "10.0.0.1", "--json", "--name", "x.example.com", status=NO))
    assert [(one["server"], one["allowed"]) for one in told] == [("smtp/in", False)]
    assert "is no IP address" in json.loads(said("relay", "test", "10", "--json", status=NO))["error"]


def test_the_lists(said: Callable[..., str]) -> None:
    assert said("access", "list").splitlines() == [
        "office: only (relay of smtp/in, access of imap/a)",
        "LINE  KIND    ENTRY",
        "3     group   192.168.5.0/24",
        "4     domain  eng.example.com",
    ]
    Path("mailsrv.toml").write_text("")
    assert said("access", "list") == "(none)\n"


def test_a_whole_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "mailsrv.toml").write_text('[store]\nuse = "memory"\n' + CONFIG)
    command = [sys.executable, "-m", "mailsrv", "access", "test", "10.0.0.1", "--name", "a.example.com"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False, text=True)
    assert ended.returncode == NO and "not listed" in ended.stdout, ended.stderr


def test_entries_and_mode_are_changed(said: Callable[..., str]) -> None:
    assert said("access", "add", "office", "10/8") == (
        'added 10.0.0.0/8, office (only)\nwarning: "10/8" is taken as 10.0.0.0/8\n'
    )
    said("access", "test", "10.0.0.1", "--server", "imap/a")
    assert said("relay", "remove", "office", "10.0.0.0/8") == "removed 10.0.0.0/8, office (only)\n"
    assert "is except now (relay of smtp/in, access of imap/a)\nwarning: " in said("access", "except", "office")
    said("access", "test", "10.0.0.1", "--server", "imap/a", "--name", "x.org")
    assert said("access", "only", "office") == "office is only now (relay of smtp/in, access of imap/a)\n"
    said("access", "remove", "office", "10.0.0.0/8", status=NO)
