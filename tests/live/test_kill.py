"""kill -9 in the middle of everything: what was acknowledged is there after the restart, whole, once, and in order."""

from __future__ import annotations

import hashlib
import imaplib
import itertools
import poplib
import random
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import DOMAIN, PASSWORD, Server

pytestmark = pytest.mark.live

CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
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
ROUNDS, SENDERS = 5, 6
#: What a client meets when its server is killed.
GONE = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto)
READERS = [f"{name}@{DOMAIN}" for name in ("anna", "bert", "cleo")]
WORKER, POPPER = f"imap@{DOMAIN}", f"pop3@{DOMAIN}"
_number = itertools.count(1)


def message(sizes: random.Random) -> tuple[str, bytes]:
    """A message with an identity and the checksum of its body; a few are so big that they pass through a file."""
    name = f"m{next(_number)}"
    length = sizes.choice([10, 900, 4000, 4000, 20_000, 400_000])
    line = bytes(sizes.randrange(33, 127) for _ in range(70))
    body = b"".join(b"%06d%s\r\n" % (at, line) for at in range(length // 78 + 1))
    head = f"X-Id: {name}\r\nX-Sum: {hashlib.sha256(body).hexdigest()}\r\n\r\n".encode()
    return name, head + body


def identity(octets: bytes) -> str:
    """Which message this is; fails for one that is torn."""
    head, _, body = octets.partition(b"\r\n\r\n")
    name = re.search(rb"^X-Id: (\S+)", head, re.M)
    total = re.search(rb"^X-Sum: (\w+)", head, re.M)
    assert name and total and hashlib.sha256(body).hexdigest().encode() == total[1], f"torn: {octets[:300]!r}"
    return name[1].decode()


class Acknowledged:
    """What clients were promised.  `may` holds what was asked for and not answered: it may have happened or not."""

    def __init__(self) -> None:
        self.delivered: dict[str, set[str]] = {account: set() for account in [*READERS, POPPER]}
        self.appended: dict[int, str] = {}
        self.flagged: set[int] = set()
        self.expunged: set[int] = set()
        self.may_expunge: set[int] = set()
        self.removed: set[str] = set()
        self.may_remove: set[str] = set()

    def count(self) -> int:
        """How many deliveries."""
        return sum(map(len, self.delivered.values()))


def deliver(server: Server, promised: Acknowledged, seed: int) -> None:
    """One sender until the server dies."""
    dice = random.Random(seed)
    with smtplib.SMTP("127.0.0.1", server.port("smtp/default"), timeout=10) as client:
        while True:
            name, octets = message(dice)
            to = dice.sample([*READERS, POPPER], dice.randrange(1, 4))
            assert client.sendmail("storm@remote.example", to, octets) == {}
            for account in to:
                promised.delivered[account].add(name)


def imap(server: Server, account: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port("imap/default"), timeout=10)
    client.login(account, PASSWORD)
    return client


def pop3(server: Server) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", server.port("pop3/default"), timeout=10)
    client.user(POPPER)
    client.pass_(PASSWORD)
    return client


def work(server: Server, promised: Acknowledged, seed: int) -> None:
    """One IMAP4 client: APPEND, STORE, EXPUNGE until the server dies."""
    dice = random.Random(seed)
    client = imap(server, WORKER)
    client.select()
    while True:
        name, octets = message(dice)
        status, said = client.append("INBOX", None, None, octets)
        assert status == "OK"
        uid = int(said[0].split(b"APPENDUID ")[1].split(b"]")[0].split()[1])
        assert uid not in promised.appended, "a UID was given twice"
        promised.appended[uid] = name
        left = sorted(set(promised.appended) - promised.may_expunge)
        flagged = dice.choice(left)
        assert client.uid("STORE", str(flagged), "+FLAGS.SILENT", r"(\Flagged kept)")[0] == "OK"
        promised.flagged.add(flagged)
        if len(left) > 5 and dice.random() < 0.5:
            gone = dice.choice(left)
            # One message is marked at a time, so that EXPUNGE takes what is meant only.
            promised.may_expunge.add(gone)
            assert client.uid("STORE", str(gone), "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
            assert client.uid("EXPUNGE", str(gone))[0] == "OK"
            promised.expunged.add(gone)


def fetch_and_delete(server: Server, promised: Acknowledged, seed: int) -> None:
    """One POP3 client: delete a few, QUIT, again, until the server dies."""
    dice = random.Random(seed)
    while True:
        client = pop3(server)
        count = client.stat()[0]
        chosen = dice.sample(range(1, count + 1), min(count, 3))
        names = {identity(b"\r\n".join(client.retr(number)[1]) + b"\r\n") for number in chosen}
        for number in chosen:
            client.dele(number)
        promised.may_remove |= names
        assert client.quit().startswith(b"+OK")
        promised.removed |= names


def storm(server: Server, promised: Acknowledged, dice: random.Random) -> None:
    """Clients of every kind, and kill -9 in the middle of it, when they have been promised something."""
    acknowledged = promised.count()
    surprises: list[BaseException] = []

    def until_it_dies(client: Callable[[Server, Acknowledged, int], None], seed: int) -> None:
        try:
            client(server, promised, seed)
        except GONE as error:
            # Dead is dead; before that nobody may be refused anything.
            if not killed.is_set():
                surprises.append(error)
        except BaseException as error:
            surprises.append(error)

    killed = threading.Event()
    clients = [deliver] * SENDERS + [work, fetch_and_delete]
    threads = [threading.Thread(target=until_it_dies, args=(client, dice.random())) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(dice.uniform(0.3, 1.0))
    # Where others need the machine, a second may be too short for anything to be promised.
    until = time.monotonic() + 30
    while promised.count() == acknowledged and time.monotonic() < until and not surprises:
        time.sleep(0.02)
    killed.set()
    server.stop(signal.SIGKILL)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not surprises, surprises


Mailbox = dict[int, tuple[str, bytes]]


def read(server: Server, account: str) -> tuple[int, Mailbox]:
    """UIDVALIDITY, and UID -> (which message, flags) of every message; each is checked to be whole."""
    client = imap(server, account)
    client.select(readonly=True)
    validity = int(client.response("UIDVALIDITY")[1][0])
    found: Mailbox = {}
    last = 0
    for item in client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            uid = int(re.search(rb"UID (\d+)", item[0])[1])  # type: ignore[index]
            assert uid > last, "UIDs rise"
            last = uid
            found[uid] = (identity(item[1]), item[0])
    client.logout()
    return validity, found


def check(server: Server, promised: Acknowledged, before: dict[str, tuple[int, Mailbox]]) -> int:
    """Every promise holds; `before` is updated to what is there now.  The number of messages."""
    total = 0
    for account in [*READERS, WORKER, POPPER]:
        validity, found = read(server, account)
        total += len(found)
        there = Counter(name for name, _ in found.values())
        if account in before:
            was_validity, was = before[account]
            assert validity == was_validity
            assert all(found[uid][0] == was[uid][0] for uid in found if uid in was), "a UID names another message"
            assert all(uid > max(was, default=0) for uid in found if uid not in was), "a UID below one that was seen"
            assert account not in READERS or set(was) <= set(found), "a message is gone"
        before[account] = (validity, found)
        if account != WORKER:
            assert not (twice := [name for name, count in there.items() if count > 1]), f"twice: {twice}"
            lost = promised.delivered[account] - set(there)
            if account == POPPER:
                lost -= promised.may_remove
                assert not promised.removed & set(there), "a message deleted at QUIT is back"
            assert not lost, f"{account} lost {lost}"
    now = before[WORKER][1]
    for uid, name in promised.appended.items():
        if uid in promised.expunged:
            assert uid not in now, "an expunged message is back"
        elif uid not in promised.may_expunge:
            assert now[uid][0] == name
            assert uid not in promised.flagged or (b"\\Flagged" in now[uid][1] and b"kept" in now[uid][1])
    return total


def test_kill_9_in_a_storm_loses_nothing_acknowledged(tmp_path: Path, tell: Callable[[str, float], None]) -> None:
    server = Server(tmp_path, CONFIG)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    for account in [*READERS, WORKER, POPPER]:
        server.command("user", "add", account, "--password-file", str(tmp_path / "password"))
    dice = random.Random(2026)
    promised = Acknowledged()
    before: dict[str, tuple[int, Mailbox]] = {}
    restarts = []
    total = 0
    try:
        server.start()
        for _ in range(ROUNDS):
            acknowledged = promised.count()
            storm(server, promised, dice)
            assert promised.count() > acknowledged, "the storm did not blow"
            began = time.monotonic()
            server.start()
            restarts.append(time.monotonic() - began)
            total = check(server, promised, before)
            found = server.command("store", "check")
            assert found.returncode == 0, found.stdout + found.stderr
    finally:
        server.stop()
    assert promised.expunged and promised.removed and promised.flagged
    assert "Traceback" not in server.log()
    tell("messages at the end", total)
    tell("longest restart, seconds", max(restarts))
    offline = server.command("store", "check")
    assert offline.returncode == 0, offline.stdout + offline.stderr
