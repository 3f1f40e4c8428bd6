"""The README's first command: `twistd -n mailsrv` in an empty folder, and what a user meets then."""

from __future__ import annotations

import imaplib
import json
import os
import poplib
import pty
import re
import select
import smtplib
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .apart import apart, resident
from .conftest import TWISTD
from .messages import REAL, without_trace

pytestmark = pytest.mark.live

USUAL = {"smtp": 25, "submission": 587, "imap": 143, "imaps": 993, "pop3s": 995}
HIGH = {"smtp": 2525, "submission": 2587, "imap": 1143, "imaps": 1993, "pop3s": 1995}
#: Goals are 1.5 s and 80 MB; a shared machine may be slower, but memory does not depend on it.
START_SECONDS, IDLE_OCTETS = 5.0, 80 * 10**6


def context() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


@contextmanager
def site(folder: Path) -> Iterator[tuple[int, float]]:
    """`twistd -n mailsrv` in a folder: its process, and the seconds until it was ready.

    What it says is in `log`, appended.
    """
    ready = folder / "mailsrv-data" / "data" / "ready.json"
    began, before = time.monotonic(), (folder / "log").stat().st_size if (folder / "log").exists() else 0
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([TWISTD, "-n", "--pidfile=", "mailsrv"], cwd=folder, stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL)
    try:
        # What it says comes right after it is ready.
        while not ready.exists() or b"send: swaks" not in (folder / "log").read_bytes()[before:]:
            assert process.poll() is None and time.monotonic() < began + 30, (folder / "log").read_text()
            time.sleep(0.005)
        yield process.pid, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(20)


def mail_passes(ports: dict[str, int], account: str, password: str) -> bytes:
    """Send a first mail and read it over IMAP4 and POP3; what was read."""
    with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=20) as client:
        assert client.sendmail("juergen@remote.example", [account], REAL, ["BODY=8BITMIME"]) == {}
    reader = imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=context(), timeout=20)
    reader.login(account, password)
    count = int(reader.select()[1][0])
    whole: bytes = reader.fetch(str(count), "(BODY.PEEK[])")[1][0][1]
    reader.logout()
    maildrop = poplib.POP3_SSL("127.0.0.1", ports["pop3s"], context=context(), timeout=20)
    maildrop.user(account)
    maildrop.pass_(password)
    assert b"\r\n".join(maildrop.retr(count)[1]) + b"\r\n" == whole
    maildrop.quit()
    assert without_trace(whole) == REAL
    return whole


def check_first_start(folder: Path, ports: dict[str, int], figure: Callable[[str, float], None]) -> None:
    """Everything that a first start promises."""
    with site(folder) as (pid, seconds):
        made = folder / "mailsrv-data"
        secret = made / "first-password"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE((made / "data").stat().st_mode) == 0o700
        password = secret.read_text().strip()
        said = (folder / "log").read_text()
        account = re.search(r"^account (me@\S+)$", said, re.M)
        assert account is not None and str(secret) in said, said
        servers = json.loads((made / "data" / "ready.json").read_text())["servers"]
        for name, listening in servers.items():
            assert f"{name} listens on {', '.join(listening['addresses'])}" in said
        for name in ("smtp", "imap"):
            assert f"127.0.0.1:{ports[name]}" in said
        assert "send: swaks" in said and "read: curl" in said
        idle = resident(pid)
        figure("cold start with making the site, seconds", seconds)
        figure("resident memory of the idle site, MB", idle / 1e6)
        assert seconds < START_SECONDS and idle < IDLE_OCTETS
        first = mail_passes(ports, account[1], password)
    before = (made / "mailsrv.toml").read_bytes()
    with site(folder) as (pid, seconds):
        figure("cold start of the site that is there, seconds", seconds)
        assert seconds < START_SECONDS
        assert mail_passes(ports, account[1], password) != first, "another Received line"
    said = (folder / "log").read_text()
    assert (made / "mailsrv.toml").read_bytes() == before
    assert len(re.findall("^account ", said, re.M)) == 1, "the second start made something"
    assert password not in said and "Traceback" not in said


@apart
def test_first_start_where_every_port_is_free(tmp_path: Path, figure: Callable[[str, float], None]) -> None:
    check_first_start(tmp_path, USUAL, figure)


@apart
def test_first_start_where_a_usual_port_is_taken(tmp_path: Path, figure: Callable[[str, float], None]) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 993))
        taken.listen()
        check_first_start(tmp_path, HIGH, figure)


def test_first_start_without_a_network_of_its_own(tmp_path: Path, figure: Callable[[str, float], None]) -> None:
    """As any user may run it: on high ports, where these are free."""
    for port in HIGH.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                pytest.skip(f"port {port} is taken here")
    with socket.socket() as taken:
        if os.geteuid() == 0:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", 143))
                taken.listen()
            except OSError:
                pass  # somebody else has it, which serves as well
        check_first_start(tmp_path, HIGH, figure)


@apart
def test_a_terminal_is_shown_the_password_once(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([TWISTD, "-n", "--pidfile=", "mailsrv"], cwd=tmp_path, stdout=theirs, stderr=theirs,
                               stdin=subprocess.DEVNULL)
    os.close(theirs)
    try:
        said = b""
        until = time.monotonic() + 60
        while b"send: swaks" not in said:
            assert select.select([ours], [], [], until - time.monotonic())[0], said
            said += os.read(ours, 65536)
        shown = re.findall(rb"^account (\S+)\s+password (\S+) ", said, re.M)
        assert len(shown) == 1 and said.count(shown[0][1]) == 1, said
        assert not (tmp_path / "mailsrv-data" / "first-password").exists()
        mail_passes(USUAL, shown[0][0].decode(), shown[0][1].decode())
    finally:
        process.terminate()
        os.close(ours)
        process.wait(20)


def test_twistd_lists_the_command() -> None:
    done = subprocess.run([TWISTD, "--help"], capture_output=True, text=True, timeout=30)
    assert re.search(r"^\s+mailsrv\s+\S", done.stdout, re.M), done.stdout
    mine = subprocess.run([TWISTD, "mailsrv", "--help"], capture_output=True, text=True, timeout=30)
    assert "--config" in mine.stdout and "--public" in mine.stdout
