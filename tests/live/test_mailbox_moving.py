"""`mailsrv mailbox import|export` beside real programs: Dovecot's Maildir there and back, kill -9, a real corpus."""

from __future__ import annotations

import imaplib
import os
import poplib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.ports import free_ports

from . import test_logins_dovecot as theirs
from .conftest import DOMAIN, PASSWORD, Server
from .corpus import corpus

pytestmark = pytest.mark.live

ME = f"me@{DOMAIN}"
CONFIG = f"""
[site]
hostname = "mx.example.test"
domains = ["{DOMAIN}"]
data = "data"
[store]
use = "sqlite"
[imap.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
[pop3.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
"""
FOLDERS = ("INBOX", "Sent", "Work.2024 & más")


def site(folder: Path) -> Server:
    """A site with one account, not running."""
    folder.mkdir()
    made = Server(folder, CONFIG)
    (folder / "password").write_text(PASSWORD + "\n")
    made.command("user", "add", ME, "--password-file", str(folder / "password"))
    return made


def imap(port: int, user: str, password: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    client.login(user, password)
    return client


def rows(client: imaplib.IMAP4, folder: str) -> list[tuple[int, set[bytes], bytes, bytes]]:
    """UID, flags, date and octets of all messages."""
    status, _ = client.select(f'"{folder}"', readonly=True)
    assert status == "OK", folder
    found = []
    for item in client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            uid, flags, date = (
                re.search(form, item[0])[1]  # type: ignore[index]
                for form in (rb"UID ([0-9]+)", rb"FLAGS \(([^)]*)\)", rb'INTERNALDATE "([^"]*)"')
            )
            seen = set(flags.split()) - {b"\\Recent"}
            found.append((int(uid), seen, imaplib.Internaldate2tuple(b'INTERNALDATE "' + date + b'"'), item[1]))
    return found  # type: ignore[return-value]


def unique_ids(port: int, user: str, password: str) -> list[bytes]:
    client = poplib.POP3("127.0.0.1", port, timeout=20)
    client.user(user)
    client.pass_(password)
    ids = [line.split()[1] for line in client.uidl()[1]]
    client.quit()
    return ids


class Dovecot(theirs.Dovecot):
    """With POP3 beside IMAP4."""

    pop3 = 0

    def start(self) -> None:
        (self.pop3,) = free_ports(1)
        listener = f"service pop3-login {{{{\n  chroot =\n  inet_listener pop3 {{{{\n    port = {self.pop3}\n  }}}}\n"
        listener += "  inet_listener pop3s {{\n    port = 0\n  }}\n}}\n"
        config = theirs.CONFIG
        theirs.CONFIG = config.replace("protocols = imap", "protocols = imap pop3") + listener
        try:
            super().start()
        finally:
            theirs.CONFIG = config

    @property
    def maildir(self) -> Path:
        """Of the user."""
        return self.folder / "mail" / theirs.USER.partition("@")[0] / "Maildir"

    def fill(self) -> None:
        """Messages with flags, keywords and dates in several folders; two are gone, so that UIDs have gaps."""
        client = imap(self.port("imap"), theirs.USER, theirs.PASSWORD)
        for number, folder in enumerate(FOLDERS):
            name = folder.replace(" & más", " &- m&AOE-s")
            if number:
                client.create(f'"{name}"')
                client.subscribe(f'"{name}"')
            for at in range(6):
                flags = ("", r"(\Seen)", r"(\Flagged $Forwarded)", r"(\Answered work)", r"(\Draft)", r"(\Deleted)")[at]
                date = imaplib.Time2Internaldate(1_600_000_000 + at)
                octets = b"Subject: %d of %d\r\nX: y\r\n\r\nFrom me\r\n.\r\n\r\n" % (at, number)
                assert client.append(f'"{name}"', flags, date, octets)[0] == "OK"
            client.select(f'"{name}"')
            client.uid("STORE", "2,4", "+FLAGS.SILENT", r"(\Deleted)")
            client.uid("EXPUNGE", "2,4")
            client.close()
            client.select(f'"{name}"')
        client.logout()


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    with TemporaryDirectory(prefix="mailsrv-dovecot-") as folder:
        made = Dovecot(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


def test_a_maildir_moves_from_dovecot_and_back_with_uidls_flags_and_dates(dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.fill()
    wire = [folder.replace(" & más", " &- m&AOE-s") for folder in FOLDERS]
    client = imap(dovecot.port("imap"), theirs.USER, theirs.PASSWORD)
    before = [rows(client, folder) for folder in wire]
    client.logout()
    assert all(len(one) >= 2 for one in before)
    ids = unique_ids(dovecot.pop3, theirs.USER, theirs.PASSWORD)
    ours = site(tmp_path / "site")
    ours.command("mailbox", "import", ME, str(dovecot.maildir))
    ours.start()
    try:
        assert unique_ids(ours.port("pop3/default"), ME, PASSWORD) == ids
        client = imap(ours.port("imap/default"), ME, PASSWORD)
        after = [rows(client, folder.replace(".", "/")) for folder in wire]
        assert [[row[1:] for row in one] for one in after] == [[row[1:] for row in one] for one in before]
        assert any(b'"Work/2024 &- m&AOE-s"' in line for line in client.lsub()[1] if isinstance(line, bytes))
        client.logout()
        out = tmp_path / "out"
        ours.command("mailbox", "export", ME, str(out))
    finally:
        ours.stop()
    owner = dovecot.maildir.stat()
    shutil.rmtree(dovecot.maildir)
    shutil.copytree(out, dovecot.maildir)
    for path in (dovecot.maildir, *dovecot.maildir.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    assert unique_ids(dovecot.pop3, theirs.USER, theirs.PASSWORD) == ids
    client = imap(dovecot.port("imap"), theirs.USER, theirs.PASSWORD)
    back = [rows(client, folder) for folder in wire]
    assert back == after
    assert any(b"Work.2024" in line for line in client.lsub()[1] if isinstance(line, bytes))
    client.logout()
    assert "Error" not in dovecot.told() and "Corrupt" not in dovecot.told(), dovecot.told()


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_import_and_an_export(tmp_path: Path) -> None:
    ours = site(tmp_path / "site")
    source, count = tmp_path / "mail", 6000
    with source.open("wb") as file:
        for at in range(count):
            file.write(b"From a@b Thu Aug 22 12:36:23 2002\nX-Number: %d\n\n%b\n\n" % (at, b"z" * 2000))
    journals = {"import": Path(f"{source}.{ME}.mailsrv-import"), "export": tmp_path / "out" / "mailsrv-export"}
    ours.start()
    try:
        for line in (["import", ME, str(source)], ["export", ME, str(tmp_path / "out")]):
            for _ in range(4):
                cut_short(ours, line, journals[line[0]])
            last = ours.command("mailbox", *line).stdout
            assert not re.search(r"^0 messages", last, re.M) and "; 0 were there" not in last
            assert re.search(rf"^0 messages, .*; {count} were there", ours.command("mailbox", *line).stdout, re.M)
        assert f"INBOX    {count} " in ours.command("mailbox", "list", ME).stdout
    finally:
        ours.stop()
    files = [path.read_bytes() for path in (tmp_path / "out" / "cur").iterdir()]
    numbers = [int(octets[10 : octets.index(b"\n")]) for octets in files]
    assert sorted(numbers) == list(range(count)) and all(len(octets) > 2000 for octets in files)
    assert len((tmp_path / "out" / "dovecot-uidlist").read_bytes().splitlines()) == count + 1


def cut_short(server: Server, line: list[str], journal: Path) -> None:
    """Kill the command when it has done a few batches."""
    before = size(journal)
    command = [sys.executable, "-m", "mailsrv", "mailbox", line[0], "--config", str(server.config), *line[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        until = time.monotonic() + 60
        while size(journal) < before + 3:
            assert run.poll() is None and time.monotonic() < until, run.communicate()
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=20)


def size(journal: Path) -> int:
    """Its lines."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def test_2000_real_messages_pass_through_mbox_and_maildir(tmp_path: Path) -> None:
    # Those with a NUL are refused; the fields for flags are not mail.
    refused = re.compile(rb"(?im)\0|^(x-)?(status|keywords):")
    messages = [one for one in corpus(2000) if not refused.search(one)]
    source = tmp_path / "corpus"
    with source.open("wb") as file:
        for octets in messages:
            # As mboxrd.
            lines = re.sub(rb"(?m)^(>*From )", rb">\1", octets)
            lines = lines if b"\r\r\n" in lines else lines.replace(b"\r\n", b"\n")
            file.write(b"From a@b Thu Aug 22 12:36:23 2002\n" + lines + b"\n")
    ours = site(tmp_path / "site")
    ours.start()
    try:
        assert f"{len(messages)} messages" in ours.command("mailbox", "import", ME, str(source)).stdout
        ours.command("mailbox", "export", ME, str(tmp_path / "maildir"), "--mailbox", "INBOX")
        ours.command("mailbox", "import", ME, str(tmp_path / "maildir"), "--into", "Again")
        client = imap(ours.port("imap/default"), ME, PASSWORD)
        for folder in ("INBOX", "Again"):
            got = [row[3] for row in rows(client, folder)]
            wrong = [at for at, (one, other) in enumerate(zip(got, messages, strict=True)) if one != other]
            assert not wrong, (folder, wrong[:9], got[wrong[0]][:300], messages[wrong[0]][:300])
        client.logout()
    finally:
        ours.stop()
