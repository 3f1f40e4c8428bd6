"""kill -9 at every step of a message that goes on (the crash table of docs/delivery.md).

What was acknowledged arrives or is reported; nothing arrives twice but what the other side had taken when it was not
yet written down; and after the restart no row waits for anything but its schedule.
"""

from __future__ import annotations

import os
import random
import re
import signal
import smtplib
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Server
from .postfix import until
from .test_postfix import pop3
from .test_relay import BOTH, prepare, route, rows

pytestmark = pytest.mark.live

SITE = """
[site]
hostname = "mx.near.test"
domains = ["near.test"]
[access.here]
mode = "only"
list = ["127.0.0.1"]
[smtp.default]
listen = ["127.0.0.1:0"]
relay = "here"
[smtp.default.delivery]
retry = ["1s"]
delay_notification = "off"
"""
SENDER = "u1@near.test"
#: Seconds in which mail goes on after a restart: leases of the process that died bind nobody.
SOON = 30.0
#: How the storm is blown.
ROUNDS, SENDERS = 3, 4
FOLDER = Path(__file__).resolve().parents[2]


class Remote(socketserver.ThreadingTCPServer):
    """A server for mail that stalls at a stage as often as it is told: says nothing, until the other side is gone.

    `taken` are the messages it has answered with 250, `seen` those of which it has all octets; it refuses recipients
    whose name begins with "nobody", and while it is `busy` everybody but "now" for now.  `asked` counts recipients,
    `given` those whom it has taken a message for.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.port = int(self.server_address[1])
        self.stage, self.busy, self.asked = "", False, 0
        self.stalled = threading.Event()
        self.taken: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Session(socketserver.StreamRequestHandler):
    server: Remote

    def handle(self) -> None:
        """One connection to its end."""
        try:
            self._talk()
        except OSError:
            pass

    def _at(self, stage: str) -> None:
        if self.server.stage == stage:
            self.server.stalled.set()
            # Until the other side is no more.
            while self.connection.recv(1000):
                pass
            raise ConnectionResetError

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def _talk(self) -> None:
        self._at("greeting")
        self._say("220 remote ESMTP")
        for line in self.rfile:
            verb = line[:4].upper().strip()
            if verb in (b"EHLO", b"HELO"):
                self._say("250 remote")
            elif verb == b"MAIL":
                self._at("MAIL")
                self.to: list[str] = []
                self._say("250 sender")
            elif verb == b"RCPT":
                self._at("RCPT")
                self.server.asked += 1
                self._recipient(line.decode().partition("<")[2].partition("@")[0])
            elif verb == b"DATA":
                self._at("DATA")
                self._say("354 go on")
                self._message()
            elif verb == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _recipient(self, name: str) -> None:
        if name.startswith("nobody"):
            self._say("550 5.1.1 nobody")
        elif self.server.busy and name != "now":
            self._say("451 4.2.1 busy")
        else:
            self.to.append(name)
            self._say("250 recipient")

    def _message(self) -> None:
        octets = b""
        for line in self.rfile:
            if line == b".\r\n":
                break
            octets += line
            if b"\r\n\r\n" in octets:
                self._at("body")
        else:
            return
        name = identity(octets)
        self.server.seen[name] += 1
        self._at("dot")
        self.server.taken[name] += 1
        self.server.given.update(self.to)
        self._say("250 taken")


def identity(octets: bytes) -> str:
    """Which message this is; it must be whole."""
    found = re.search(rb"^X-Id: (\S+)", octets, re.M)
    assert found and octets.endswith(b"the end\r\n"), octets
    return found[1].decode()


@pytest.fixture
def remote() -> Iterator[Remote]:
    """For far.test."""
    made = Remote()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def site(tmp_path: Path, remote: Remote) -> Iterator[Server]:
    """Not started yet."""
    made = Server(prepare(tmp_path), SITE + BOTH + route("far.test", remote.port))
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


def give(site: Server, name: str = "m1", to: str = "who@far.test", sender: str = SENDER) -> bool:
    """Whether it was acknowledged before the server died.  `to` may be several, with commas between."""
    octets = f"X-Id: {name}\r\nSubject: crash\r\n\r\n{'text ' * 2000}\r\nthe end\r\n".encode()
    octets = re.sub(rb"(text ){10}", lambda found: found[0] + b"\r\n", octets)
    try:
        with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
            return client.sendmail(sender, to.split(","), octets) == {}
    except (OSError, smtplib.SMTPException):
        return False


def start_dying(site: Server, point: str) -> None:
    """Start it so that it dies at that step."""
    site.program = [sys.executable, "-m", "tests.live.crash_site", point]
    os.environ["PYTHONPATH"] = str(FOLDER)
    try:
        site.start()
    finally:
        del os.environ["PYTHONPATH"]
    site.program = Server(site.folder, site.config.read_text()).program


def await_death(site: Server) -> None:
    """Wait until it has killed itself."""
    assert site._process is not None
    assert site._process.wait(60) == -signal.SIGKILL, site.log()
    site._process = None


def restart(site: Server, remote: Remote, arrives: Callable[[], Any]) -> float:
    """Start it again and wait for what must happen; the queue is empty then.  The seconds that took."""
    remote.stage = ""
    site.start()
    began = time.monotonic()
    until(arrives, site.log, SOON)
    until(lambda: not rows(site, "far.test"), site.log)
    return time.monotonic() - began


def maildrop(site: Server, user: str) -> list[bytes]:
    """All mail of somebody."""
    client = pop3(site, user)
    found = [b"\r\n".join(client.retr(number)[1]) for number in range(1, client.stat()[0] + 1)]
    client.quit()
    return found


# ---------------------------------------------------------------- steps that the other server sees


@pytest.mark.parametrize("stage", ["greeting", "MAIL", "RCPT", "DATA", "body"])
def test_killed_before_the_other_side_has_it_it_is_sent_once(site: Server, remote: Remote, stage: str) -> None:
    remote.stage = stage
    site.start()
    assert give(site)
    assert remote.stalled.wait(SOON)
    site.stop(signal.SIGKILL)
    restart(site, remote, lambda: remote.taken)
    assert remote.taken == {"m1": 1} == remote.seen


def test_killed_before_the_other_side_says_it_has_it_it_is_sent_again(site: Server, remote: Remote) -> None:
    remote.stage = "dot"
    site.start()
    assert give(site)
    assert remote.stalled.wait(SOON)
    site.stop(signal.SIGKILL)
    restart(site, remote, lambda: remote.taken)
    assert remote.taken == {"m1": 1} and remote.seen == {"m1": 2}


# ---------------------------------------------------------------- steps that nobody sees


def test_killed_before_the_commit_it_was_never_there(site: Server, remote: Remote) -> None:
    start_dying(site, "before the commit")
    assert not give(site)
    await_death(site)
    site.start()
    assert give(site, "m2")
    until(lambda: remote.taken, site.log, SOON)
    until(lambda: not rows(site, "far.test"), site.log)
    assert remote.taken == {"m2": 1}


def test_killed_after_the_commit_it_goes_on_although_nobody_was_told(site: Server, remote: Remote) -> None:
    start_dying(site, "after the commit")
    assert not give(site)
    await_death(site)
    restart(site, remote, lambda: remote.taken)
    assert remote.taken == {"m1": 1}


def test_a_lease_dies_with_its_process(site: Server, remote: Remote) -> None:
    start_dying(site, "after the lease")
    give(site)
    await_death(site)
    restart(site, remote, lambda: remote.taken)
    assert remote.taken == {"m1": 1}


@pytest.mark.parametrize(
    "point, copies",
    [("before the row is settled", 2), ("while the row is settled", 2), ("after the row was settled", 1)],
)
def test_what_was_taken_is_sent_again_unless_that_was_written_down(
    site: Server, remote: Remote, point: str, copies: int
) -> None:
    start_dying(site, point)
    give(site)
    await_death(site)
    assert remote.taken == {"m1": 1}
    restart(site, remote, lambda: remote.taken["m1"] == copies)
    assert remote.taken == {"m1": copies}


@pytest.mark.parametrize(
    "point, copies",
    [("before the report", {1}), ("after the report", {2}), ("before the row is settled", {2}),
     ("while the row is settled", {2}), ("after the row was settled", {1})],
)  # fmt: skip
def test_a_report_comes_once_or_twice_but_comes(site: Server, remote: Remote, point: str, copies: set[int]) -> None:
    start_dying(site, point)
    give(site, to="nobody@far.test")
    await_death(site)
    restart(site, remote, lambda: len(maildrop(site, SENDER)) in copies)
    reports = maildrop(site, SENDER)
    assert len(reports) in copies and all(b"Final-Recipient: rfc822; nobody@far.test" in one for one in reports)


@pytest.mark.parametrize(
    "point",
    ["while the message of bad mail is written", "while the facts of bad mail are written", "after bad mail",
     "while the row is settled"],
)  # fmt: skip
def test_bad_mail_is_kept_whole_and_once(site: Server, remote: Remote, point: str) -> None:
    start_dying(site, point)
    give(site, to="nobody@far.test", sender="")
    await_death(site)
    folder = site.data / "badmail" / "default"
    restart(site, remote, lambda: list(folder.glob("*.json")))
    (kept,) = folder.glob("*.eml")
    assert identity(kept.read_bytes()) == "m1"
    assert sorted(path.suffix for path in folder.iterdir()) == [".eml", ".json"]


# ---------------------------------------------------------------- states of a row


def test_killed_while_it_is_received_it_was_never_there(site: Server, remote: Remote) -> None:
    site.start()
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt("who@far.test")
        assert client.docmd("DATA")[0] == 354
        client.send(b"X-Id: m1\r\n\r\n" + b"half of it\r\n" * 50_000)
        site.stop(signal.SIGKILL)
        client.close()
    site.start()
    assert give(site, "m2")
    until(lambda: remote.taken, site.log, SOON)
    until(lambda: not rows(site, "far.test"), site.log)
    assert remote.taken == {"m2": 1}


def test_settled_in_part_who_has_it_never_gets_it_again(site: Server, remote: Remote) -> None:
    remote.busy = True
    start_dying(site, "after the row was settled")
    give(site, to="now@far.test,later@far.test,nobody@far.test")
    await_death(site)
    assert remote.given == {"now": 1}
    remote.busy = False
    restart(site, remote, lambda: remote.given["later"])
    assert remote.given == {"now": 1, "later": 1} and len(maildrop(site, SENDER)) == 1


def test_what_waits_and_what_is_held_is_as_it_was(site: Server, remote: Remote) -> None:
    remote.busy = True
    site.config.write_text(site.config.read_text().replace('retry = ["1s"]', 'retry = ["1h"]'))
    site.start()
    assert give(site) and give(site, "m2", "held@far.test")
    until(lambda: [row["attempts"] for row in rows(site, "far.test")] == [1, 1], site.log)
    site.command("queue", "hold", "2")
    before = rows(site, "far.test")
    site.stop(signal.SIGKILL)
    asked = remote.asked
    site.start()
    assert rows(site, "far.test") == before and before[1]["state"] == "held"
    remote.busy = False
    site.command("queue", "retry", "1")
    until(lambda: remote.given, site.log, SOON)
    assert remote.given == {"who": 1} and remote.asked == asked + 1, "nothing is hurried by a start"
    site.command("queue", "release", "2")
    site.command("queue", "retry", "2")
    until(lambda: remote.given["held"], site.log, SOON)


# ---------------------------------------------------------------- all at once


def test_killed_in_a_storm_nothing_acknowledged_is_lost(
    site: Server, remote: Remote, tell: Callable[[str, float], None]
) -> None:
    dice, promised, killed = random.Random(2026), set[str](), threading.Event()

    def sender(of: str) -> None:
        number = 0
        while not killed.is_set():
            number += 1
            if give(site, f"{of}-{number}"):
                promised.add(f"{of}-{number}")

    waits = [0.0]
    site.start()
    for turn in range(ROUNDS):
        killed.clear()
        threads = [threading.Thread(target=sender, args=(f"{turn}-{one}",)) for one in range(SENDERS)]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.5, 1.0))
        site.stop(signal.SIGKILL)
        killed.set()
        for thread in threads:
            thread.join(30)
        waits.append(restart(site, remote, lambda: promised <= set(remote.taken)))
    assert len(promised) > 10 * ROUNDS
    twice = [name for name, count in remote.taken.items() if count > 1]
    # What was under way when it died: no more than connections there may be, and one batch of settlements each.
    assert max(remote.taken.values()) == 2 or not twice
    assert len(twice) <= ROUNDS * 40, twice
    tell("messages", len(promised))
    tell("sent twice", len(twice))
    tell("longest wait after a restart, seconds", max(waits))
    found = site.command("store", "check")
    assert found.returncode == 0, found.stdout + found.stderr
