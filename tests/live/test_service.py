"""A site as a service: it drains when it is told to stop, ends at once when it is told twice, and tells systemd."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import CONFIG, DOMAIN, PASSWORD, Server
from .test_standard_library import imap

pytestmark = pytest.mark.live

ACCOUNT = f"me@{DOMAIN}"
#: `twistd` ends by the signal that it has answered.
CLEAN = (0, -signal.SIGTERM)


def site(folder: Path, config: str = CONFIG) -> Server:
    """A site with one account."""
    made = Server(folder, config)
    (folder / "password").write_text(PASSWORD + "\n")
    made.command("user", "add", ACCOUNT, "--password-file", str(folder / "password"))
    return made


def half_a_message(server: Server) -> socket.socket:
    """A connection in the middle of DATA."""
    client = socket.create_connection(("127.0.0.1", server.port("smtp/default")), timeout=20)
    file = client.makefile("rb")
    for line in (b"", b"HELO c", b"MAIL FROM:<a@b.example>", f"RCPT TO:<{ACCOUNT}>".encode(), b"DATA"):
        if line:
            client.sendall(line + b"\r\n")
        assert file.readline()[:1] in b"23"
    client.sendall(b"Subject: half\r\n\r\nhalf of ")
    return client


def ended(server: Server, seconds: float) -> int:
    """The exit status of the process, which ends in that time."""
    assert server._process is not None
    return server._process.wait(seconds)


def refused(port: int) -> bool:
    """Whether nobody listens there any more, soon."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


def test_a_stop_lets_the_message_under_way_end_and_takes_no_new_connection(tmp_path: Path) -> None:
    server = site(tmp_path)
    server.start()
    client = half_a_message(server)
    idle = smtplib.SMTP("127.0.0.1", server.port("smtp/default"), timeout=20)
    try:
        os.kill(server.pid, signal.SIGTERM)
        assert refused(server.port("smtp/default"))
        assert idle.getreply()[0] == 421
        client.sendall(b"a message\r\n.\r\n")
        answer = client.makefile("rb").readline()
        assert answer.startswith(b"250 2.0.0"), answer
        client.close()
        assert ended(server, 20) in CLEAN
        assert not (server.data / "ready.json").exists()
    finally:
        idle.close()
        server.stop(signal.SIGKILL)
    server.start()
    try:
        reader = imap(server, ACCOUNT)
        assert reader.select() == ("OK", [b"1"])
        assert b"half of a message" in reader.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1]
        reader.logout()
    finally:
        server.stop()
    assert "Traceback" not in server.log(), server.log()


def test_a_stop_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    server = site(tmp_path, CONFIG.replace("[store]", 'drain_time = "2s"\n[store]'))
    server.start()
    client = half_a_message(server)
    began = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    try:
        assert ended(server, 20) in CLEAN
        assert 1 < time.monotonic() - began < 10
    finally:
        client.close()
        server.stop(signal.SIGKILL)
    assert "Traceback" not in server.log(), server.log()


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    server = site(tmp_path)
    server.start()
    client = half_a_message(server)
    try:
        os.kill(server.pid, signal.SIGTERM)
        assert refused(server.port("smtp/default"))
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert ended(server, 10) == 128 + signal.SIGTERM and time.monotonic() - began < 5
        assert "the second signal" in server.log()
    finally:
        client.close()
        server.stop(signal.SIGKILL)
    assert "nothing wrong" in server.command("store", "check").stdout


def test_systemd_is_told_and_lines_are_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(str(place))
        system.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(place))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        server = Server(tmp_path, CONFIG + '[log]\nformat = "json"\n')
        server.start()
        try:
            told = system.recv(4096).decode()
            assert "READY=1" in told and f"MAINPID={server.pid}" in told and "4 of 4 virtual servers" in told
            assert system.recv(4096) == system.recv(4096) == b"WATCHDOG=1"
        finally:
            server.stop()
        while "STOPPING=1" not in (told := system.recv(4096).decode()):
            assert told == "WATCHDOG=1"
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert any(line["text"].startswith("smtp/default listens") and line["server"] == "smtp/default" for line in lines)
    assert all({"time", "level", "logger", "text"} <= line.keys() for line in lines) and len(lines) > 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_user_of_run_as_once_ports_are_bound(tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody")
    if not all(folder.stat().st_mode & 0o001 for folder in Path(os.__file__).resolve().parents):
        pytest.skip("this Python is not there for other users")
    folder = Path("/tmp") / f"mailsrv-run-as-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        server = Server(folder, CONFIG.replace("[store]", 'run_as = "nobody"\n[store]'))
        server.start()
        try:
            owner = Path(f"/proc/{server.pid}/status").read_text()
            assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}" in owner
            for name in ("index.db", "tls/default.key", "control.sock"):
                assert (server.data / name).stat().st_uid == user.pw_uid, name
            smtplib.SMTP("127.0.0.1", server.port("smtp/default"), timeout=20).quit()
        finally:
            server.stop()
        assert "Traceback" not in server.log(), server.log()
        # What belongs to root is refused, with what to do.
        os.chown(server.data, 0, 0)
        line = [*server.program, "-n", "--pidfile=", "mailsrv", "--config", str(server.config)]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "chown -R nobody" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    finally:
        shutil.rmtree(folder)


def test_the_unit_is_one_that_systemd_takes() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = Path(__file__).parents[2] / "examples" / "mailsrv.service"
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "mailsrv.service" in line]
    complaints = [line for line in said if "not executable" not in line]
    assert complaints == [], done.stderr
