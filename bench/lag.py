"""Reactor stall probe: python -m bench.lag [messages] [rounds].

While one IMAP4 connection works on a big mailbox (lists, searches, stores, copies, expunges), another connection sends
NOOP every 5 ms.  The longest answer is the longest time the server did not turn to others.  Goal: 20 ms.  The first row
is the same probe with nothing to do, the machine's own noise: read the others beside it.  The probe is a process of
its own, so that the loading client does not stand in its way; with several rounds the least of the longest answers is
given too, since noise only ever adds.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from attrs import frozen

INTERVAL = 0.005
PASSWORD = "lag probe"
ACCOUNT = "lag@bench.example"
CONFIG = """
[site]
hostname = "bench.example"
data = "data"
[store]
use = "sqlite"
[smtp.default]
listen = ["127.0.0.1:0"]
[imap.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
[pop3.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
"""


@frozen
class Stall:
    """One operation: what was done, its seconds, and the longest of the other client's answers in ms."""

    what: str
    seconds: float
    longest: float


class Client:
    """One connection that looks at no more of an answer than its last line."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.recv(4096)

    def ask(self, octets: bytes, *ends: bytes) -> bytes:
        """Send, and read until the answer ends with a line that begins with one of `ends`; that line."""
        self._socket.sendall(octets)
        tail = b"\r\n"
        while True:
            more = self._socket.recv(1 << 20)
            if not more:
                raise ConnectionResetError(octets[:60])
            tail = (tail + more)[-65536:]
            if tail.endswith(b"\r\n"):
                last = tail[tail.rindex(b"\r\n", 0, -2) + 2 :]
                if last.startswith(ends):
                    return last

    def command(self, text: bytes) -> bytes:
        """An IMAP4 command; its tagged answer, which must be OK."""
        answer = self.ask(b"t " + text + b"\r\n", b"t OK", b"t NO", b"t BAD")
        if not answer.startswith(b"t OK"):
            raise ValueError(answer)
        return answer


def imap(port: int) -> Client:
    """Logged in."""
    client = Client(port)
    client.command(b'LOGIN %s "%s"' % (ACCOUNT.encode(), PASSWORD.encode()))
    return client


def probe(port: int, control: Connection) -> None:
    """The other process: NOOP every 5 ms from "go" to the next word; answers the longest, in seconds."""
    client = imap(port)
    control.send(None)
    while control.recv():
        longest = 0.0
        following = time.perf_counter()
        while not control.poll():
            begin = time.perf_counter()
            client.command(b"NOOP")
            longest = max(longest, time.perf_counter() - begin)
            following = max(following + INTERVAL, time.perf_counter())
            time.sleep(max(0.0, following - time.perf_counter()))
        control.recv()
        control.send(longest)


class Probe:
    """Starts and stops the other process; as a context."""

    def __init__(self, port: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._control, theirs = spawn.Pipe()
        self._process = spawn.Process(target=probe, args=(port, theirs), daemon=True)
        self._process.start()
        self._answer()

    def _answer(self) -> float:
        if not self._control.poll(60):
            raise TimeoutError("the probe got no answer for a minute")
        return self._control.recv()  # type: ignore[no-any-return]

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *how: object) -> None:
        self._control.send(False)
        self._process.join(10)

    def watch(self, what: str, work: Callable[[], object]) -> Stall:
        """Do something while the probe looks."""
        self._control.send(True)
        time.sleep(0.03)
        begin = time.perf_counter()
        work()
        seconds = time.perf_counter() - begin
        time.sleep(0.03)
        self._control.send(True)
        return Stall(what, seconds, self._answer() * 1e3)


def message(number: int) -> bytes:
    """A multipart message of 3 to 5 KiB as mail programs write it."""
    line = b"The quick brown fox jumps over the lazy dog, again and again.\r\n"
    pdf = b"AAECAwQFBgcICQoLDA0ODw==\r\n" * 40
    return (
        b"Received: from mx.remote.example (mx.remote.example [192.0.2.7]) by bench.example with ESMTPS id %d;"
        b" Tue, 24 Nov 2026 04:00:00 +0000\r\n"
        b'From: "Anna Example" <anna%d@remote.example>\r\nTo: lag@bench.example, "Other" <other@remote.example>\r\n'
        b"Cc: third@remote.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= number %d\r\n"
        b"Date: Tue, 24 Nov 2026 04:00:00 +0000\r\nMessage-ID: <lag-%d@remote.example>\r\n"
        b"In-Reply-To: <lag-%d@remote.example>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
        b"--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%b\r\n"
        b'--=_b\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        b"Content-Disposition: attachment; filename=a.pdf\r\n\r\n%b\r\n--=_b--\r\n"
    ) % (number, number % 97, number, number, number - 1, line * (20 + number % 20), pdf)


def append(client: Client, first: int, count: int) -> None:
    """MULTIAPPEND in one command with LITERAL+."""
    parts = [b"t APPEND INBOX"]
    for number in range(first, first + count):
        octets = message(number)
        parts.append(b" {%d+}\r\n%b" % (len(octets), octets))
    parts.append(b"\r\n")
    answer = client.ask(b"".join(parts), b"t OK", b"t NO", b"t BAD")
    if not answer.startswith(b"t OK"):
        raise ValueError(answer)


def operations(client: Client, pop3_port: int, messages: int) -> list[tuple[str, Callable[[], object]]]:
    """What is done to the mailbox, in this order."""
    batch = 500

    def fill() -> None:
        for first in range(0, messages, batch):
            append(client, first, min(batch, messages - first))

    def maildrop() -> None:
        drop = Client(pop3_port)
        drop.ask(b"USER %s\r\n" % ACCOUNT.encode(), b"+OK")
        drop.ask(b"PASS %s\r\n" % PASSWORD.encode(), b"+OK")
        for command in (b"UIDL\r\n", b"LIST\r\n"):
            drop.ask(command, b".\r\n")
        drop.ask(b"QUIT\r\n", b"+OK")

    def said(text: str) -> tuple[str, Callable[[], object]]:
        return text, lambda: client.command(text.encode())

    return [
        ("nothing", lambda: time.sleep(1)),
        ("LOGIN", lambda: imap(client._socket.getpeername()[1])),
        ("CREATE Copies, CREATE Moved", lambda: [client.command(b"CREATE " + name) for name in (b"Copies", b"Moved")]),
        (f"APPEND, {batch} in a command", fill),
        said("SELECT INBOX"),
        said("FETCH 1:* (UID FLAGS)"),
        said("FETCH 1:* (ENVELOPE)"),
        said("FETCH 1:* (ENVELOPE INTERNALDATE RFC822.SIZE)"),
        said("FETCH 1:* (BODYSTRUCTURE)"),
        said("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])"),
        said("FETCH 1:* (BODY.PEEK[2])"),
        said("FETCH 1:* (BODY.PEEK[])"),
        said('SEARCH TEXT "is not there"'),
        said('SEARCH SUBJECT "number 77"'),
        said("SEARCH OR UNSEEN LARGER 4000"),
        said(r"STORE 1:* +FLAGS (\Seen)"),
        said(r"STORE 1:* +FLAGS.SILENT (\Answered $Junk)"),
        said("COPY 1:* Copies"),
        ("POP3 login, UIDL, LIST", maildrop),
        said(r"STORE 2:* +FLAGS.SILENT (\Deleted)"),
        said("EXPUNGE"),
        said("SELECT Copies"),
        said("MOVE 1:* Moved"),
        said("SELECT Moved"),
        said(r"STORE 1:* +FLAGS.SILENT (\Deleted)"),
        said("CLOSE"),
        said("DELETE Copies"),
    ]


def measure(imap_port: int, pop3_port: int, messages: int) -> list[Stall]:
    """All operations on a running server that has ACCOUNT, empty; leaves it nearly so."""
    client, other = imap(imap_port), imap(imap_port)
    # Somebody else looks on: news for another session are part of the work.
    other.ask(b"t SELECT INBOX\r\ni IDLE\r\n", b"+")
    with Probe(imap_port) as looking:
        found = [looking.watch(what, work) for what, work in operations(client, pop3_port, messages)]
    client.command(b"DELETE Moved")
    client.command(b"SELECT INBOX")
    client.command(rb"STORE 1:* +FLAGS.SILENT (\Deleted)")
    client.command(b"CLOSE")
    return found


def serve(folder: Path, settings: str = CONFIG) -> tuple[subprocess.Popen[bytes], int, int]:
    """A site of its own: the process, its IMAP4 and its POP3 port."""
    config = folder / "mailsrv.toml"
    config.write_text(settings)
    command = [sys.executable, "-m", "mailsrv", "user", "add", "--config", str(config), ACCOUNT]
    subprocess.run(command, input=PASSWORD + "\n", text=True, check=True, timeout=60, stdout=subprocess.DEVNULL)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "mailsrv", "--config", str(config)],
        stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT,
    )
    ready = folder / "data" / "ready.json"
    until = time.monotonic() + 20
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.02)
    servers = json.loads(ready.read_text())["servers"]
    ports = [int(servers[name]["addresses"][0].rpartition(":")[2]) for name in ("imap/default", "pop3/default")]
    return process, ports[0], ports[1]


def main(arguments: list[str]) -> None:
    """Measure and print a table."""
    messages = int(arguments[0]) if arguments else 10_000
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    with tempfile.TemporaryDirectory() as name:
        process, imap_port, pop3_port = serve(Path(name))
        try:
            table = [measure(imap_port, pop3_port, messages) for _ in range(rounds)]
        finally:
            process.terminate()
            process.wait(20)
    lines = [f"{'while (' + str(messages) + ' messages)':52}  seconds  least of {rounds}  longest (ms)"]
    for row in zip(*table):
        longest = [stall.longest for stall in row]
        lines.append(f"{row[0].what:52}  {row[0].seconds:7.2f}  {min(longest):10.1f}  {max(longest):7.1f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
