"""What a user gets wrong, and that what is said then tells the way out; never a traceback."""

from __future__ import annotations

import imaplib
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mailsrv.net.certificate import self_signed

from .conftest import DOMAIN, PASSWORD, TWISTD, Server
from .test_standard_library import context

pytestmark = pytest.mark.live

GOOD = """[site]
hostname = "mx.example.test"
domains = ["example.test"]
[smtp.default]
listen = ["127.0.0.1:0"]
max_hops = 30
"""


def refused(folder: Path, text: str) -> str:
    """What `twistd` says to a configuration with which it does not run; its status must tell too."""
    (folder / "mailsrv.toml").write_text(text)
    line = [TWISTD, "-n", "--pidfile=", "mailsrv"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said, said
    return said


@pytest.mark.parametrize(("right", "wrong", "way_out"), [
    ("max_hops", "max_hop", 'mailsrv.toml:6: smtp.default.max_hop: unknown key (did you mean "max_hops"?)'),
    ("[smtp.", "[smpt.", 'smpt: unknown table (did you mean "smtp"?)'),
    ("30", '"many"', "mailsrv.toml:6: smtp.default.max_hops: must be a whole number, not 'many'"),
    (":0", "", 'must be ADDRESS:PORT or ADDRESS:PORT/tls, for example "*:25"'),
    ("[site]", "[site", "mailsrv.toml:1: not TOML"),
    ("[site]\n", '[site]\ndata = "/proc/x"\n', "mailsrv.toml: site.data: the data folder /proc/x cannot be made: No "),
])
def test_a_mistake_in_the_configuration(tmp_path: Path, right: str, wrong: str, way_out: str) -> None:
    assert way_out in refused(tmp_path, GOOD.replace(right, wrong, 1))


def started(folder: Path, text: str) -> tuple[Server, str]:
    """A site that runs although something is wrong, and what its log says."""
    server = Server(folder, text)
    server.start()
    server.stop()
    log = server.log()
    assert "Traceback" not in log, log
    return server, log


def test_a_port_that_is_taken_stops_its_server_only(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        text = GOOD.replace("127.0.0.1:0", place) + '[imap.default]\nlisten = ["127.0.0.1:0"]\n'
        log = started(tmp_path, text)[1]
    reason = f"cannot listen on {place}: another process has this port; stop it or choose another port"
    assert log.count(f"smtp/default is stopped: {reason}") == log.count(reason) == 1
    assert "imap/default listens on" in log


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    text = GOOD + '[tls.default]\ncertificate = "a.crt"\nkey = "a.key"\n'
    certificate, key = tmp_path / "a.crt", tmp_path / "a.key"
    reasons = []
    server, log = started(tmp_path, text)
    reasons.append((log, f"{certificate}: No such file or directory"))
    certificate.write_bytes(self_signed(["mx.example.test"])[0])
    key.write_bytes(self_signed(["mx.example.test"])[1])
    log = started(tmp_path, text)[1]
    reasons.append((log, "the key does not belong to the certificate"))
    assert "the key does not belong to the certificate" in server.command("check", check=False).stdout
    certificate.write_text("junk")
    log = started(tmp_path, text)[1]
    reasons.append((log, "it holds no certificate"))
    for log, reason in reasons:
        assert "smtp/default is stopped" in log and reason in log, log
        assert "put a pair there that fits" in log


def test_the_data_folder_is_nobody_elses_to_read(tmp_path: Path) -> None:
    """A site that was written by hand, whose certificate is made at the first start."""
    started(tmp_path, GOOD)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_wrong_password_and_an_unknown_name_look_the_same(server: Server, account: str) -> None:
    said = []
    for name in (account, f"nobody@{DOMAIN}"):
        port = server.port("imap/default", tls=True)
        client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context(), timeout=20)
        with pytest.raises(imaplib.IMAP4.error) as wrong:
            client.login(name, PASSWORD + "x")
        said.append(str(wrong.value))
    assert said[0] == said[1] and "AUTHENTICATIONFAILED" in said[0]


@pytest.mark.parametrize(("arguments", "way_out"), [
    (("user", "add", "anna"), "write NAME@DOMAIN"),
    (("user", "add", "anna@other.example"), "`mailsrv domain add other.example` makes it one"),
    (("user", "remove", "nobody@example.test"), "there is no account nobody@example.test"),
    (("usr", "list"), "choose from"),
])
def test_commands(server: Server, password_file: Path, arguments: tuple[str, ...], way_out: str) -> None:
    more = ("--password-file", str(password_file)) if arguments[1] == "add" else ()
    done = server.command(*arguments, *more, check=False)
    assert done.returncode != 0 and way_out in done.stderr and "Traceback" not in done.stderr


def test_a_command_without_a_site(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mailsrv", "user", "list"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode != 0 and "`mailsrv init DIR` makes one" in done.stderr and "Traceback" not in done.stderr
