"""A full disk: mail is put off, nothing acknowledged is lost, reading goes on, room that is back is used at once."""

from __future__ import annotations

import imaplib
import poplib
import re
import signal
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .apart import apart, mount_small_disk
from .conftest import DOMAIN, PASSWORD, Server
from .test_kill import CONFIG, imap

pytestmark = pytest.mark.live

ACCOUNT, OTHER = f"me@{DOMAIN}", f"other@{DOMAIN}"
DISK, BALLAST = 12 * 2**20, 3 * 2**20


def numbered(number: int, octets: int) -> bytes:
    """A message that can be told from the others; it cannot be made smaller by compression."""
    line = b"%06d" % number * 12 + b"\r\n"
    return b"X-Id: %06d\r\n\r\n" % number + line * (octets // len(line) + 1)


class Sender:
    """One SMTP connection that is kept; it knows what was acknowledged."""

    def __init__(self, server: Server) -> None:
        self.client = smtplib.SMTP("127.0.0.1", server.port("smtp/default"), timeout=20)
        self.accepted: list[int] = []
        self.number = 0

    def send(self, octets: int) -> tuple[int, bytes]:
        """Send one; the answer to its text, or the refusal of MAIL."""
        self.number += 1
        client = self.client
        client.ehlo_or_helo_if_needed()
        answer = client.mail("a@remote.example")
        if answer[0] == 250:
            assert client.rcpt(ACCOUNT)[0] == 250
            answer = client.data(numbered(self.number, octets))
        if answer[0] == 250:
            self.accepted.append(self.number)
        else:
            assert client.noop()[0] == 250, "the connection survives"
            client.rset()
        return answer

    def until_full(self, octets: int) -> tuple[int, bytes]:
        """Send until something is not accepted."""
        for _ in range(2 * DISK // octets):
            answer = self.send(octets)
            if answer[0] != 250:
                return answer
        raise AssertionError("the disk does not get full")


def there(client: imaplib.IMAP4) -> list[int]:
    """The numbers of the messages in INBOX; each must be whole."""
    assert client.select()[0] == "OK"
    numbers = []
    for item in client.fetch("1:*", "(BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            number = int(re.search(rb"X-Id: (\d+)", item[1])[1])  # type: ignore[index]
            body = item[1].partition(b"\r\n\r\n")[2]
            assert body == numbered(number, len(body) - 1).partition(b"\r\n\r\n")[2], "whole"
            numbers.append(number)
    return numbers


@contextmanager
def small_site(folder: Path) -> Iterator[Server]:
    """A site whose data folder is a disk of its own, with a ballast that can be taken away."""
    (folder / "data").mkdir()
    mount_small_disk(folder / "data", DISK)
    (folder / "data").chmod(0o700)
    (folder / "password").write_text(PASSWORD + "\n")
    server = Server(folder, CONFIG)
    for name in (ACCOUNT, OTHER):
        server.command("user", "add", name, "--password-file", str(folder / "password"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fill(path: Path) -> None:
    """Take the last octet of the disk."""
    with path.open("ab", buffering=0) as file:
        size = 2**16
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


@apart
def test_a_full_disk_puts_mail_off_and_loses_nothing(tmp_path: Path, tell: Callable[[str, float], None]) -> None:
    with small_site(tmp_path) as server:
        ballast = tmp_path / "data" / "ballast"
        ballast.write_bytes(b"x" * BALLAST)
        sender = Sender(server)
        reader = imap(server, ACCOUNT)
        # One that is written to a file while it comes finds no room there; small ones then find none either.
        for octets in (1_000_000, 20_000, 3_000):
            code, text = sender.until_full(octets)
            assert code == 452 and text.startswith(b"4.3.1 "), (code, text)
        tell("accepted before the disk was full", len(sender.accepted))
        fill(ballast)
        for octets in (1_000_000, 20_000, 100):
            code, text = sender.send(octets)
            assert code == 452 and text.startswith(b"4.3.1 "), (code, text)
        refused, said = reader.append("INBOX", None, None, numbered(1, 20_000))
        assert refused == "NO", said
        refused, said = reader.append("INBOX", None, None, numbered(1, 1_000_000))
        assert refused == "NO", said
        # Reading goes on, also for those who come now.
        assert there(reader) == sender.accepted
        late = imap(server, ACCOUNT)
        assert there(late) == sender.accepted
        assert late.search(None, "TEXT", '"X-Id: 000001"')[1] == [b"1"]
        assert imap(server, OTHER).select() == ("OK", [b"0"])
        maildrop = poplib.POP3("127.0.0.1", server.port("pop3/default"), timeout=20)
        maildrop.user(ACCOUNT)
        maildrop.pass_(PASSWORD)
        assert maildrop.stat()[0] == len(sender.accepted)
        assert b"X-Id: 000001" in maildrop.retr(1)[1]
        maildrop.quit()
        # Room is back: nobody has to connect again.
        ballast.unlink()
        code, text = sender.send(20_000)
        assert code == 250, text
        assert reader.append("INBOX", None, None, numbered(0, 20_000))[0] == "OK"
        assert there(late) == [*sender.accepted, 0]
        assert server.command("store", "check").returncode == 0
        server.stop()
        server.start()
        assert there(imap(server, ACCOUNT)) == [*sender.accepted, 0]
        assert "Traceback" not in server.log(), server.log()


@apart
def test_a_site_killed_on_a_full_disk_starts_there_and_is_read(tmp_path: Path) -> None:
    with small_site(tmp_path) as server:
        ballast = tmp_path / "data" / "ballast"
        ballast.write_bytes(b"x" * BALLAST)
        sender = Sender(server)
        sender.until_full(20_000)
        fill(ballast)
        server.stop(signal.SIGKILL)
        server.start()
        reader = imap(server, ACCOUNT)
        assert there(reader) == sender.accepted
        # What cannot be kept is refused, not forgotten later.
        assert reader.store("1", "+FLAGS", r"(\Flagged)")[0] == "NO"
        assert Sender(server).send(3_000) == (452, b"4.3.1 Insufficient system storage")
        ballast.unlink()
        assert reader.store("1", "+FLAGS", r"(\Flagged)")[0] == "OK"
        later = Sender(server)
        assert later.send(3_000)[0] == 250
        assert there(reader) == [*sender.accepted, *later.accepted]
        assert "Traceback" not in server.log(), server.log()
