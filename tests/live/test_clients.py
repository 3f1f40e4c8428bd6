"""Real clients from other people's hands: swaks, curl, mbsync and fetchmail."""

from __future__ import annotations

import mailbox
import os
import subprocess
from pathlib import Path

import pytest

from .conftest import PASSWORD, Server, program
from .messages import REAL, without_trace
from .test_standard_library import imap, send

pytestmark = pytest.mark.live

LOGIN = ["--auth", "PLAIN", "--auth-user", "x", "--auth-password", "x"]


def run(*line: str, given: bytes = b"", ok: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run a client for at most a minute; what it said on both channels."""
    done = subprocess.run(
        line, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        env={**os.environ, **environment},
    )  # fmt: skip
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode in ok, f"{line} gave {done.returncode}:\n{said}"
    return said


# ---------------------------------------------------------------- swaks


def test_swaks_sends_with_tls_auth_pipelining_and_attachment(server: Server, account: str, tmp_path: Path) -> None:
    attachment = tmp_path / "table.csv"
    attachment.write_text("a;b\n1;2\n" * 50)
    said = run(
        program("swaks"), "--server", "127.0.0.1", "--port", str(server.port("smtp/submission")),
        "--tls", "--pipeline", "--auth", "PLAIN", "--auth-user", account, "--auth-password", PASSWORD,
        "--from", account, "--to", account, "--header", "Subject: =?utf-8?q?t=C3=A4ble?=",
        "--attach", f"@{attachment}",
    )  # fmt: skip
    assert "250 2.0.0 OK id=" in said and "TLS started" in said
    client = imap(server, account)
    assert client.select() == ("OK", [b"1"])
    assert b"table.csv" in client.fetch("1", "(BODYSTRUCTURE)")[1][0]


@pytest.mark.parametrize(
    ("options", "status", "answer"),
    [
        (["--to", "nobody@example.test"], 24, "550 5.1.1"),
        (["--to", "x@elsewhere.example"], 24, "550 5.7.1"),
        (["--to", "x@example.test", *LOGIN], 28, "Host did not advertise authentication"),
        (["--to", "x@example.test", "--tls", *LOGIN], 28, "535 5.7.8"),
    ],
)
def test_swaks_judges_refusals_by_their_codes(server: Server, options: list[str], status: int, answer: str) -> None:
    said = run(
        program("swaks"), "--server", "127.0.0.1", "--port", str(server.port("smtp/default")),
        "--from", "a@remote.example", *options, ok=(status,),
    )  # fmt: skip
    assert answer in said


# ---------------------------------------------------------------- curl


def curl(
    server: Server, scheme: str, tls: bool, path: str, account: str, *more: str, ok: tuple[int, ...] = (0,)
) -> str:
    name = {"imap": "imap/default", "pop3": "pop3/default"}[scheme]
    url = f"{scheme}{'s' if tls else ''}://127.0.0.1:{server.port(name, tls)}/{path}"
    starttls = () if tls else ("--ssl-reqd",)
    return run(program("curl"), "-sk", *starttls, "--user", f"{account}:{PASSWORD}", url, *more, ok=ok)


def test_curl_sends_and_reads(server: Server, account: str, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(REAL)
    run(
        program("curl"), "-sk", "--ssl-reqd", f"smtp://127.0.0.1:{server.port('smtp/submission')}",
        "--user", f"{account}:{PASSWORD}", "--mail-from", account, "--mail-rcpt", account, "-T", str(message),
    )  # fmt: skip
    for tls in (True, False):
        folders = curl(server, "imap", tls, "", account)
        assert '"/" Sent' in folders and "\\Sent" in folders and "INBOX" in folders
        whole = curl(server, "imap", tls, "INBOX;MAILINDEX=1", account).encode()
        assert without_trace(whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) == REAL
        assert curl(server, "pop3", tls, "", account).startswith("1 ")
        assert "Message-ID: <real-1@remote.example>" in curl(server, "pop3", tls, "1", account)
    assert "SEARCH 1" in curl(server, "imap", True, "INBOX?ALL", account)
    assert curl(server, "imap", True, "", account, "--user", f"{account}:wrong", ok=(67,)) == ""


def test_curl_appends(server: Server, account: str, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(REAL)
    curl(server, "imap", True, "Sent", account, "-T", str(message))
    client = imap(server, account)
    assert client.select("Sent") == ("OK", [b"1"])
    assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == REAL


# ---------------------------------------------------------------- mbsync


def mbsync(server: Server, account: str, home: Path) -> str:
    """One run of a two-way sync of all mailboxes with the Maildirs below home/mail."""
    (home / "mail").mkdir(exist_ok=True)
    config = home / "mbsyncrc"
    config.write_text(
        f"""
IMAPAccount site
Host 127.0.0.1
Port {server.port("imap/default")}
User {account}
Pass "{PASSWORD}"
SSLType STARTTLS
CertificateFile {server.folder}/data/tls/default.crt
AuthMechs LOGIN

IMAPStore far
Account site

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
CopyArrivalDate yes
"""
    )
    return run(program("mbsync"), "-c", str(config), "-a", HOME=str(home))


def test_mbsync_syncs_messages_and_flags_both_ways(server: Server, account: str, tmp_path: Path) -> None:
    for _ in range(20):
        send(server, [account])
    mbsync(server, account, tmp_path)
    box = mailbox.Maildir(tmp_path / "mail" / "INBOX")
    assert len(box) == 20
    keys = sorted(box.keys())
    whole = box.get_bytes(keys[0])
    assert b"Message-ID: <real-1@remote.example>" in whole
    # Flags set here arrive there, and the other way round.
    marked = box.get_message(keys[0])
    marked.set_flags("FS")
    marked.set_subdir("cur")
    box.update({keys[0]: marked})
    client = imap(server, account)
    client.select()
    client.store("20", "+FLAGS", r"(\Answered)")
    mbsync(server, account, tmp_path)
    assert client.search(None, "FLAGGED SEEN")[1] == [b"1"]
    assert [message.get_flags() for message in box if "R" in message.get_flags()] == ["R"]
    # A message made here goes up; one removed there goes away here; a new mailbox appears.
    box.add(mailbox.MaildirMessage(b"Subject: from here\n\nhello\n"))
    client.store("2", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.create("Projects/2026")
    client.append("Projects/2026", None, None, REAL)
    mbsync(server, account, tmp_path)
    assert len(mailbox.Maildir(tmp_path / "mail" / "INBOX")) == 20
    client.noop()
    assert client.search(None, 'SUBJECT "from here"')[1] != [b""]
    assert (tmp_path / "mail" / "Projects" / "2026").is_dir()
    # Nothing changed: a further run moves nothing.
    before = client.status("INBOX", "(UIDNEXT)")
    mbsync(server, account, tmp_path)
    assert client.status("INBOX", "(UIDNEXT)") == before


# ---------------------------------------------------------------- fetchmail


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_fetchmail_drains(server: Server, account: str, protocol: str, tmp_path: Path) -> None:
    for _ in range(3):
        send(server, [account])
    config = tmp_path / "fetchmailrc"
    fetched = tmp_path / "fetched"
    config.write_text(
        f"poll 127.0.0.1 service {server.port(f'{protocol}/default')} protocol {protocol}\n"
        f"  user '{account}' password '{PASSWORD}' sslproto 'TLS1.2+' no sslcertck fetchall\n"
        f"  mda 'cat >> {fetched}'\n"
    )
    config.chmod(0o600)
    run(program("fetchmail"), "-f", str(config), "--pidfile", str(tmp_path / "pid"), "--nobounce",
        FETCHMAILHOME=str(tmp_path))  # fmt: skip
    assert fetched.read_bytes().count(b"Message-ID: <real-1@remote.example>") == 3
    client = imap(server, account)
    assert client.select() == ("OK", [b"0"])
