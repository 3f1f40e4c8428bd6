"""Live tests: a child `twistd` on free loopback ports, spoken to by real clients from other processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.host.control.client import Client

from . import logins as login_site

PASSWORD = "correct horse"
DOMAIN = "example.test"
#: The command beside the interpreter that runs the tests.
TWISTD = str(Path(sys.executable).with_name("twistd"))
CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
data = "data"
[store]
use = "sqlite"
[smtp.default]
listen = ["127.0.0.1:0"]
[smtp.submission]
role = "submission"
sender_check = false
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[imap.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[pop3.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
"""


class Server:
    """A running site; `port(name, tls)` tells where a virtual server listens."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        self.config = folder / "mailsrv.toml"
        self.config.write_text(config, encoding="utf-8")
        self.data = folder / "data"
        #: What is started, and options of `twistd` itself.
        self.program, self.options = [TWISTD], list[str]()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: dict[str, dict[str, object]] = {}

    def command(self, *arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `mailsrv NOUN VERB ...`."""
        noun_verb = [a for a in arguments[:2]]
        line = [sys.executable, "-m", "mailsrv", *noun_verb, "--config", str(self.config), *arguments[2:]]
        done = subprocess.run(line, input=given, capture_output=True, text=True, timeout=60)
        if check:
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done

    def ask(self, operation: str, **arguments: object) -> Any:
        """What a command asks of the running site, without the second that a process of its own takes."""
        with Client(self.data / "control.sock") as client:
            answer = client.call(operation, arguments)
        assert "error" not in answer, answer
        return answer["result"]

    def start(self) -> None:
        """Start and wait until it accepts; the log is in `log`.

        A site on a full disk cannot write where it listens: then its log tells.
        """
        ready = self.data / "ready.json"
        ready.unlink(missing_ok=True)
        before = len(self.log())
        log = (self.folder / "log").open("ab")
        line = [*self.program, *self.options, "-n", "--pidfile=", "mailsrv", "--config", str(self.config)]
        self._process = subprocess.Popen(line, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not ready.exists():
            said = self.log()[before:]
            assert self._process.poll() is None, said
            assert time.monotonic() < until, said
            if "not told in a file" in said and "send: swaks" in said:
                told = re.findall(r"(\w+/\w+) listens on (.+)", said)
                self._ready = {name: {"addresses": addresses.split(", ")} for name, addresses in told}
                return
            time.sleep(0.02)
        self._ready = json.loads(ready.read_text())["servers"]

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait."""
        if self._process is not None:
            self._process.send_signal(number)
            # With a session that does not end by itself it takes half a minute.
            self._process.wait(60)
            self._process = None

    def port(self, name: str, tls: bool = False) -> int:
        """The port of a virtual server's plain or TLS binding."""
        for address in self._ready[name]["addresses"]:  # type: ignore[attr-defined]
            if address.endswith("/tls") == tls:
                return int(address.removesuffix("/tls").rpartition(":")[2])
        raise AssertionError(f"{name} has no such binding: {self._ready[name]}")

    def log(self) -> str:
        """What it logged so far."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One site for all tests of a run; tests use accounts of their own."""
    made = Server(tmp_path_factory.mktemp("site"))
    made.start()
    yield made
    made.stop()
    log = made.log()
    assert "Traceback" not in log, log


@pytest.fixture(scope="session")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The site of the login tests (`logins.py`), with every way to log in that there is."""
    folder = tmp_path_factory.mktemp("logins")
    login_site.prepare(folder)
    made = Server(folder, login_site.CONFIG)
    made.start()
    try:
        made.command("user", "add", "--from", str(folder / "accounts"))
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


@pytest.fixture
def account(server: Server, request: pytest.FixtureRequest) -> str:
    """A new account of the site, with PASSWORD."""
    name = f"{request.node.name.replace('[', '-').replace(']', '')[-40:].strip('-_')}@{DOMAIN}"
    server.ask("user.add", address=name, password=PASSWORD)
    return name


def _password_file(server: Server) -> Path:
    path = server.folder / "password"
    if not path.exists():
        path.write_text(PASSWORD + "\n")
        path.chmod(0o600)
    return path


_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """`tell(what, number)`: to be shown when all tests are done."""

    def told(what: str, number: float) -> None:
        request.config.stash.setdefault(_FIGURES, []).append(f"{request.node.name}: {what}: {number:.2f}")

    return told


@pytest.fixture
def figure(tell: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """As `tell`, for what is measured and is only true on a machine that does nothing else."""
    return tell


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What measures must have the machine to itself, and with it all of its file, which shares its servers."""
    measuring = {item.path for item in items if "figure" in getattr(item, "fixturenames", ())}
    for item in items:
        if item.path in measuring:
            item.add_marker("alone")


#: Files of which each test starts what it needs: several workers may divide them.
DIVIDED = {
    "test_backup", "test_crash", "test_disk_full", "test_imap_resync", "test_mailbox_moving", "test_misuse",
    "test_service",
}  # fmt: skip
#: Files that share the site with every way to log in.
LOGINS = {"test_logins", "test_logins_accounts", "test_logins_clients", "test_logins_curl", "test_logins_secrets"}


def share(test: str) -> str:
    """What a test shares with others: they are all for one worker."""
    path = Path(test.partition("::")[0])
    if path.parent.name != "live" or path.stem in DIVIDED:
        return test
    return "logins" if path.stem in LOGINS else path.stem


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope` workers divide the tests by what these share."""
    from xdist.scheduler import LoadScopeScheduling

    class ByShare(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return ByShare(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    if figures := config.stash.get(_FIGURES, []):
        terminalreporter.section("figures")
        terminalreporter.write("\n".join(figures) + "\n")


@pytest.fixture
def password_file(server: Server) -> Path:
    """A file with PASSWORD."""
    return _password_file(server)


def program(name: str) -> str:
    """A client's path; skips the test where it is not installed, fails it in CI."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed (python -m tests installs it as root)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
