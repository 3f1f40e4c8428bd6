"""Every file of examples/ runs: a child process on free loopback ports, used as its text says."""

from __future__ import annotations

import contextlib
import email
import email.policy
import imaplib
import os
import poplib
import selectors
import signal
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsrv.host.config.load import load

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
MESSAGE = "Subject: hello\r\n\r\nIt works.\r\n"
#: Seconds for anything, on a machine that does other things as well.
PATIENCE = 60
ANNA = ("anna@example.test", "correct horse")


def environment(**more: str) -> dict[str, str]:
    """The child finds mailsrv however this process did."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def lines(process: subprocess.Popen[bytes], count: int, seconds: float = PATIENCE) -> list[str]:
    """The first lines of a child's output, waited for no longer than that."""
    assert process.stdout is not None
    until, found = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while found.count(b"\n") < count:
            assert selector.select(max(0.0, until - time.monotonic())), f"no more lines after {found!r}"
            octets = os.read(process.stdout.fileno(), 4096)
            assert octets, f"it ended after {found!r}: {process.stderr.read() if process.stderr else b''!r}"
            found += octets
    return found.decode().splitlines()[:count]


@contextlib.contextmanager
def running(name: str, folder: Path, count: int = 2) -> Iterator[dict[str, int]]:
    """An example at work: name of a server -> port.  It ends cleanly when it is interrupted."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / name), str(folder)], cwd=folder, env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )
    try:
        told = dict(line.split(" ")[:2] for line in lines(process, count))
        yield {server: int(address.rpartition(":")[2]) for server, address in told.items()}
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert b"Traceback" not in errors and process.returncode == 0, errors.decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=PATIENCE)


def send(port: int, message: str = MESSAGE, sender: str = "you@example.com", to: str = ANNA[0]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        client.sendmail(sender, [to], message.encode())


@contextlib.contextmanager
def inbox(port: int) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4("127.0.0.1", port, timeout=PATIENCE) as client:
        client.login(*ANNA)
        client.select()
        yield client


def maildrop(port: int, login: str, password: str) -> list[bytes]:
    """All messages of a maildrop."""
    client = poplib.POP3("127.0.0.1", port, timeout=PATIENCE)
    client.user(login)
    client.pass_(password)
    found = [b"\r\n".join(client.retr(number + 1)[1]) for number in range(client.stat()[0])]
    client.quit()
    return found


@pytest.mark.live
def test_minimal(tmp_path: Path) -> None:
    with running("minimal.py", tmp_path) as ports:
        send(ports["smtp/default"])
        with inbox(ports["imap/default"]) as client:
            assert b"It works." in client.fetch("1", "(BODY[])")[1][0][1]
    # The mail is in the folder, not in the process.
    with running("minimal.py", tmp_path) as ports, inbox(ports["imap/default"]) as client:
        assert client.search(None, "SEEN")[1] == [b"1"]


@pytest.mark.live
def test_embed(tmp_path: Path) -> None:
    """S-165: a site with one protocol alone, POP3."""
    with running("embed.py", tmp_path) as ports:
        url = f"http://127.0.0.1:{ports['web']}/"
        order = urllib.parse.urlencode({"to": ANNA[0], "item": "teapot"}).encode()
        with urllib.request.urlopen(url, order, timeout=PATIENCE) as answer:
            assert answer.read().startswith(b"accepted as ")
        (message,) = maildrop(ports["pop3/default"], *ANNA)
        assert b"One teapot is on its way." in message
        assert message.startswith(b"Return-Path: <shop@example.test>\r\nDelivered-To: anna@example.test\r\nReceived: ")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, b"to=nobody@example.test&item=x", timeout=PATIENCE)
        assert refused.value.code == 422 and refused.value.read() == b"No such user here\n"


@pytest.mark.live
def test_own_authenticator(tmp_path: Path) -> None:
    with running("own_authenticator.py", tmp_path) as ports:
        send(ports["smtp/default"], to="Bo@example.test")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(ports["smtp/default"], to="nobody@example.test")
        (message,) = maildrop(ports["pop3/default"], "bo", "battery staple")
        assert b"It works." in message
        with pytest.raises(poplib.error_proto):
            maildrop(ports["pop3/default"], "bo", "correct horse")


def with_parts(folder: Path) -> dict[str, str]:
    """The environment of a child that finds the parts of the wiki."""
    # A copy, because Twisted keeps a cache beside drop-ins.
    plugins = folder / "path" / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "wiki_parts.py").write_bytes((EXAMPLES / "twisted" / "plugins" / "wiki_parts.py").read_bytes())
    return environment(PYTHONPATH=os.pathsep.join([str(folder / "path"), str(EXAMPLES), str(ROOT)]))


def command(folder: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mailsrv", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )


def test_the_authenticator_is_a_part_too(tmp_path: Path) -> None:
    (tmp_path / "mailsrv.toml").write_text(
        'site.domains = ["example.test"]\nauth.use = ["wiki"]\nauth.wiki.domain = "example.test"\n'
    )
    done = command(tmp_path, with_parts(tmp_path), "config", "show")
    assert done.returncode == 0, done.stderr
    assert 'auth.use = ["wiki"]' in done.stdout and 'auth.wiki.domain = "example.test"' in done.stdout
    without = command(tmp_path, environment(), "config", "show")
    assert without.returncode == 1 and 'no part "wiki"' in without.stderr


@pytest.mark.live
def test_the_mechanism_of_own_mechanism_is_a_part(tmp_path: Path) -> None:
    """"own_mechanism.py": offered after SCRAM, and used from both sides."""
    (tmp_path / "mailsrv.toml").write_text(
        'site.domains = ["example.test"]\nauth.use = ["any"]\nauth.any.password_file = "ticket"\n'
        "[imap.default]\nlisten = []\n"
    )
    (tmp_path / "ticket").write_text("7c1f\n")
    (tmp_path / "wrong").write_text("7c1e\n")
    env = with_parts(tmp_path)
    offered = command(tmp_path, env, "auth", "list").stdout.splitlines()
    assert any("SCRAM-SHA-1 X-TICKET OAUTHBEARER" in line for line in offered if line.startswith("  with TLS")), offered
    login = ("auth", "test", "anna", "--server", "imap/default", "--mechanism", "x-ticket", "--password-file")
    done = command(tmp_path, env, *login, "ticket")
    assert done.stdout == "anna@example.test can log in at imap/default by X-TICKET\n", done.stderr
    assert command(tmp_path, env, *login, "wrong").returncode == 1


@pytest.mark.live
def test_own_store(tmp_path: Path) -> None:
    with running("own_store.py", tmp_path) as ports:
        with inbox(ports["imap/default"]) as client:
            (first,) = client.search(None, "ALL")[1]
            assert first == b"1"
            assert b"[#1] The teapot leaks" in client.fetch("1", "(BODY[])")[1][0][1]
        send(ports["smtp/default"], "Subject: =?utf-8?q?Gr=C3=BCn?=\r\n\r\nAnother.\r\n")
        with inbox(ports["imap/default"]) as client:
            told = email.message_from_bytes(client.fetch("2", "(BODY[])")[1][0][1], policy=email.policy.default)
            assert told["Subject"] == "[#2] Grün" and told.get_content().split() == ["Another."]


@pytest.mark.live
def test_filter(tmp_path: Path) -> None:
    """S-045: mail from some senders is not taken."""
    with running("filter.py", tmp_path) as ports:
        port = ports["smtp/default"]
        send(port)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            send(port, sender="x@spam.example")
        assert refused.value.smtp_code == 550 and b"5.7.1 Mail from spam.example" in refused.value.smtp_error
        with pytest.raises(smtplib.SMTPDataError):
            send(port, "Subject: hello\r\n\r\nFree teapots!\r\n")
        send(port, "Subject: a teapot\r\nX-Filter: forged\r\n\r\n")
        with inbox(ports["imap/default"]) as client:
            assert client.search(None, 'HEADER X-Filter "passed"')[1] == [b"1"]
            assert client.search(None, "ALL")[1] == [b"1"]
            client.select("Junk")
            assert client.search(None, 'HEADER X-Mailsrv-Verdict "quarantine by Filter (teapot)"')[1] == [b"1"]


def test_the_sample_configuration_is_without_a_mistake() -> None:
    options = load(EXAMPLES / "mailsrv.toml")
    assert options.warnings == ()
    assert list(options.servers) == ["smtp/default", "smtp/submission", "imap/default", "pop3/default"]


def test_the_unit_of_systemd_names_options_that_there_are() -> None:
    unit = (EXAMPLES / "mailsrv.service").read_text()
    (command,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert command.endswith("/twistd --nodaemon --pidfile= mailsrv --config /etc/mailsrv/mailsrv.toml")
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit


def test_every_example_is_tested() -> None:
    here = Path(__file__).read_text()
    for path in EXAMPLES.iterdir():
        if path.is_file():
            assert f'"{path.name}"' in here, path.name
