"""The tour in docs/tour.md, run as it is written."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

TOUR = Path(__file__).resolve().parent.parent.parent / "docs" / "tour.md"
#: The ports of the page, and what `init` adds to its base.
BASE, OFFSETS = 20000, (10, 25, 26, 43, 65, 87, 93, 95)


class Terminal:
    """Runs commands of the page in a folder, on other ports than the page's."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, free_base()
        self.behind: list[subprocess.Popen[bytes]] = []
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path}

    def here(self, text: str) -> str:
        """The page's text with the ports of this run."""
        return re.sub(r"\b200(\d\d)\b", lambda found: str(self.base + int(found[1])), text)

    def run(self, command: str) -> str:
        """What it says, as a terminal shows it."""
        if command.startswith("cd "):
            self.folder = self.folder / command[3:]
            return ""
        if command.endswith("&"):
            self.start(command[:-1])
            self.wait_for_site()
            return ""
        done = subprocess.run(
            self.here(command), shell=True, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        )  # fmt: skip
        return done.stdout.decode()

    def start(self, command: str) -> None:
        """Something that goes on until the end, or until it is cut off."""
        self.behind.append(subprocess.Popen(
            ["sh", "-c", f"exec {self.here(command)}"], cwd=self.folder, env=self.environment, stdin=subprocess.PIPE,
            stdout=(self.folder / f"said{len(self.behind)}").open("wb"), stderr=subprocess.STDOUT,
        ))  # fmt: skip

    def wait_for_site(self) -> None:
        """Until it accepts."""
        until = time.monotonic() + 60
        while not (self.folder / "data" / "ready.json").exists():
            assert time.monotonic() < until and self.behind[-1].poll() is None
            time.sleep(0.05)

    def wait_for_greeting(self) -> None:
        """Until whoever was started last has heard something."""
        said, until = self.folder / f"said{len(self.behind) - 1}", time.monotonic() + 60
        while b"* OK" not in said.read_bytes():
            assert time.monotonic() < until, said.read_bytes()
            time.sleep(0.05)

    def end(self) -> None:
        """Everything that runs."""
        for one in self.behind:
            one.terminate()
            one.wait(30)


def free_base() -> int:
    """A base whose ports are all free."""
    for base in range(23000 + os.getpid() % 100 * 100, 60000, 100):
        sockets = [socket.socket() for _ in OFFSETS]
        try:
            for one, offset in zip(sockets, OFFSETS, strict=True):
                one.bind(("0.0.0.0", base + offset))
            return base
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.end()


def blocks() -> list[tuple[bool, list[tuple[str, str]]]]:
    """(in another terminal, [(command, what it says)]) of each block."""
    found = []
    for other, body in re.findall(r"^```console( other)?\n(.*?)^```$", TOUR.read_text("utf-8"), re.M | re.S):
        pieces = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.M)
        assert "".join(f"$ {command}\n{said}" for command, said in pieces) == body
        found.append((bool(other), pieces))
    return found


def pattern(said: str) -> str:
    """What is expected, as a regular expression: `...` is anything."""
    return re.escape(said).replace(re.escape("..."), "(?s:.*?)") + r"\s*\Z"


def test_the_tour_is_as_it_is_told(terminal: Terminal) -> None:
    ran = 0
    for other, pieces in blocks():
        for command, said in pieces:
            if other:
                terminal.start(command)
                terminal.wait_for_greeting()
                continue
            answered = terminal.run(command)
            assert re.match(pattern(terminal.here(said)), answered), f"$ {command}\n{answered}\nexpected:\n{said}"
            ran += 1
    assert ran > 20
    site, client = terminal.behind
    # The client of the session that was terminated is gone by itself.
    client.wait(10)
    assert site.poll() is None
    text = (terminal.folder / "mailsrv.toml").read_text("utf-8")
    assert "partners" in text and "[smtp.partners]" not in text
