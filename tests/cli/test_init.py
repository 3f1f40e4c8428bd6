"""`mailsrv init` and commands without a server, as processes of their own: they turn a reactor and open a store."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailsrv.host.config.load import load

#: Processes of their own: more than a second each on a slow machine.
pytestmark = pytest.mark.slow


def mailsrv(
    *arguments: str, cwd: Path, status: int = 0, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command and look at its exit status; never a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "mailsrv", *arguments], cwd=cwd, input=typed, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def modes(*paths: Path) -> list[int]:
    """Permissions."""
    return [path.stat().st_mode & 0o777 for path in paths]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this module work: it holds the site `site`."""
    folder = tmp_path_factory.mktemp("init")
    arguments = ("--domain", "x.org", "--domain", "y.org", "--port-base", "20000", "--json")
    done = mailsrv("init", "site", *arguments, cwd=folder)
    facts = json.loads(done.stdout)
    # The output is no terminal: the password is in a file that is ours alone, and nowhere else.
    password = folder / "site" / "first-password"
    assert facts["account"] == "me@x.org" and facts["password_file"] == str(password)
    assert password.read_text().strip() not in done.stdout + done.stderr
    return folder


def store(folder: Path, *arguments: str, status: int = 0, typed: str = "") -> str:
    """A command on the site of the module, without a server."""
    command = ("--config", str(folder / "site" / "mailsrv.toml"), *arguments)
    done = mailsrv(*command, cwd=folder, status=status, typed=typed)
    return done.stdout if status == 0 else done.stdout + done.stderr


def test_what_init_makes(folder: Path) -> None:
    site = folder / "site"
    assert modes(site / "data", site / "first-password", site / "mailsrv.toml") == [0o700, 0o600, 0o644]
    assert modes(site / "data" / "tls" / "default.key") == [0o600]
    options = load(site / "mailsrv.toml")
    assert list(options.domains) == ["x.org", "y.org"] and options.warnings == ()
    assert [one.port for server in options.servers.values() for one in server.listen] == [
        20025, 20087, 20065, 20043, 20093, 20010, 20095,
    ]
    assert len((site / "first-password").read_text()) == 20


def test_accounts_without_a_server(folder: Path) -> None:
    lines: Sequence[str] = [json.dumps({"address": f"u{n}@y.org", "password": "secret"}) for n in range(5)]
    assert store(folder, "user", "add", "--from", "-", typed="\n".join(lines)) == "added 5 accounts\n"
    listed = json.loads(store(folder, "user", "list", "--json"))
    assert [one["address"] for one in listed] == ["me@x.org", *(f"u{n}@y.org" for n in range(5))]
    told = store(folder, "user", "remove", "nobody@x.org", status=1)
    assert told == "mailsrv: there is no account nobody@x.org\n"
    assert "no server at" in store(folder, "server", "list", status=3)


def test_a_data_folder_in_use_without_a_control_socket_is_status_3(folder: Path) -> None:
    with (folder / "site" / "data" / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = store(folder, "user", "list", status=3)
    assert "a server has the data folder, but: no server at" in told and "control.sock" in told


def test_check_of_what_was_made(folder: Path) -> None:
    assert mailsrv("check", "site/mailsrv.toml", cwd=folder).stdout == "site/mailsrv.toml: no errors\n"


def test_init_never_overwrites(folder: Path) -> None:
    before = (folder / "site" / "mailsrv.toml").read_bytes()
    done = mailsrv("init", "site", cwd=folder, status=1)
    assert "mailsrv.toml is there already; `mailsrv check" in done.stderr
    assert (folder / "site" / "mailsrv.toml").read_bytes() == before
    (folder / "half" / "data").mkdir(parents=True)
    (folder / "half" / "data" / "index.db").touch()
    assert "holds something already" in mailsrv("init", "half", cwd=folder, status=1).stderr
    assert os.listdir(folder / "half") == ["data"]


def test_a_mistake_leaves_nothing_behind(folder: Path) -> None:
    told = mailsrv("init", "wrong", "--address", "1.2.3", cwd=folder, status=1).stderr
    assert "smtp.default.listen" in told and '"1.2.3" is no IP address' in told
    assert not (folder / "wrong").exists()


def test_the_profile_test(folder: Path) -> None:
    (folder / "password").write_text("opensesame\n")
    done = mailsrv(
        "init", "bed", "--profile", "test", "--domain", "z.org", "--password-file", "password", cwd=folder
    )
    assert "EVERY name" in done.stdout and "opensesame" not in done.stdout
    options = load(folder / "bed" / "mailsrv.toml")
    secret = options.base / options.authenticators[0].options.password_file
    assert secret.read_text() == "opensesame\n" and modes(secret) == [0o600]
    assert not (folder / "bed" / "first-password").exists()


def test_python_m_mailsrv_is_the_command(folder: Path) -> None:
    assert "Exit status: 0 done" in mailsrv("--help", cwd=folder).stdout
    assert "required: COMMAND" in mailsrv(cwd=folder, status=2).stderr
