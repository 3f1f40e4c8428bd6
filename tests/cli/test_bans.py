"""`mailsrv ban` on the guard of a running server, without a wire between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from mailsrv.auth.guard import Guard, GuardSettings
from mailsrv.cli import bans
from mailsrv.cli.common import DONE, NO, UNREACHABLE
from mailsrv.cli.main import main
from mailsrv.errors import Refused
from mailsrv.host.control.run import run
from mailsrv.testing.loop import Loop


class Site:
    """What the operations look at."""

    def __init__(self) -> None:
        clock = Clock()
        clock.advance(1_795_492_800.0)
        self.guard = Guard(GuardSettings(), monotonic=clock.seconds, wall=clock.seconds, random=lambda n: b"\x07" * n)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mailsrv.toml").write_text('[site]\nhostname = "mail.example.org"\ndomains = ["example.org"]\n')


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site that answers the commands of this process."""
    made = Site()

    def perform(options: Any, calls: Any) -> list[Any]:
        answers = [Loop().run(run(made, name, arguments)) for name, arguments in calls]
        for answer in answers:
            if "error" in answer:
                raise Refused(answer["error"])
        return [answer["result"] for answer in answers]

    monkeypatch.setattr(bans, "perform", perform)
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command writes to standard output."""

    def out(*arguments: str, status: int = DONE) -> str:
        assert main(arguments) == status
        text: str = capsys.readouterr().out
        return text

    return out


def test_list_add_lift(site: Site, said: Callable[..., str]) -> None:
    assert said("ban", "list") == "(none)\n"
    assert said("ban", "add", "192.0.2.1") == "banned 192.0.2.1 until 2026-11-24 05:00:00 UTC\n"
    assert said("ban", "add", "2001:db8::1", "--minutes", "5") == (
        "banned 2001:db8::/64 until 2026-11-24 04:05:00 UTC\n"
    )
    assert [line.split() for line in said("ban", "list").splitlines()] == [
        ["SUBJECT", "KIND", "SINCE", "UNTIL", "FAILURES"],
        ["192.0.2.1", "address", "2026-11-24", "04:00:00", "2026-11-24", "05:00:00", "0"],
        ["2001:db8::/64", "address", "2026-11-24", "04:00:00", "2026-11-24", "04:05:00", "0"],
    ]
    assert said("ban", "lift", "192.0.2.1") == "lifted the ban of 192.0.2.1\n"
    told = json.loads(said("ban", "list", "--json"))
    assert [(one["subject"], one["until"] - one["since"]) for one in told] == [("2001:db8::/64", 300)]


def test_no(site: Site, said: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert said("ban", "lift", "192.0.2.1", status=NO) == ""
    assert json.loads(said("ban", "add", "host.example", "--json", status=NO))["error"] == (
        "'host.example' is no IP address"
    )
    with pytest.raises(SystemExit):
        main(["ban", "add", "192.0.2.1", "--minutes", "soon"])


@pytest.mark.parametrize("arguments", [["list"], ["lift", "192.0.2.1"], ["add", "192.0.2.1"]])
def test_without_a_running_server_there_are_no_bans(arguments: list[str], said: Callable[..., str]) -> None:
    said("ban", *arguments, status=UNREACHABLE)
