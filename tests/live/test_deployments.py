"""Sites of several processes (docs/deployments.md): mail comes in at some and is read at another (S-166 to S-168)."""

from __future__ import annotations

import json
import re
import signal
import smtplib
from collections.abc import Iterator

import pytest

from tests.ports import free_ports

from .conftest import PASSWORD, Server
from .messages import REAL
from .postfix import until
from .remotes import Remotes
from .test_relay import rows
from .test_standard_library import context, imap, pop3

pytestmark = pytest.mark.live

ANNA, BO, FAR = "anna@branch.test", "bo@branch.test", "carl@far.test"
MAILBOXES = """
[site]
hostname = "mail.branch.test"
domains = ["branch.test"]
[smtp.inside]
role = "lmtp"
listen = ["127.0.0.1:{lmtp}"]
[imap.default]
listen = ["127.0.0.1:0/tls"]
[pop3.default]
listen = ["127.0.0.1:0/tls"]
"""
DOOR = """
[site]
hostname = "{name}.branch.test"
domains = ["branch.test"]
[domain."branch.test"]
kind = "relay"
verify = "callout"
[routes."branch.test"]
host = ["127.0.0.1"]
port = {lmtp}
protocol = "lmtp"
[smtp.default]
listen = ["{listen}"]
[smtp.default.delivery]
retry = ["1s"]
[smtp.submission]
role = "submission"
listen = ["127.0.0.1:0"]
[smtp.submission.delivery]
retry = ["1s"]
"""
#: Somebody else, who finds the three by the name system, and does not keep a connection for the next message.
SENDER = """
[site]
hostname = "mx.far.test"
domains = ["far.test"]
[access.here]
mode = "only"
list = ["127.0.0.1"]
[smtp.default]
listen = ["127.0.0.1:0"]
relay = "here"
[smtp.default.delivery]
retry = ["1s"]
delay_notification = "off"
messages_per_connection = 1
port = {port}
dns_servers = ["{names}"]
"""


def start(site: Server, *, users: bool = True) -> None:
    """Start it; `users`: with the accounts, which are the same on every machine."""
    site.start()
    if users:
        lines = [json.dumps({"address": name, "password": PASSWORD}) for name in (ANNA, BO)]
        site.command("user", "add", "--from", "-", given="\n".join(lines) + "\n")


def put(door: Server, token: str, to: str = ANNA) -> None:
    """From outside: a message with this in its subject."""
    with smtplib.SMTP("127.0.0.1", door.port("smtp/default"), timeout=30) as client:
        client.sendmail(FAR, [to], f"Subject: {token}\r\n".encode() + REAL, ["BODY=8BITMIME"])


def submit(door: Server, token: str) -> None:
    """Anna writes to Bo."""
    with smtplib.SMTP("127.0.0.1", door.port("smtp/submission"), timeout=30) as client:
        client.starttls(context=context())
        client.login(ANNA, PASSWORD)
        client.sendmail(ANNA, [BO], f"From: {ANNA}\r\nSubject: {token}\r\n\r\nHello\r\n".encode())


def maildrop(mailboxes: Server, account: str) -> list[bytes]:
    """All messages that an account has, read by POP3."""
    client = pop3(mailboxes, account)
    found = [b"\r\n".join(client.retr(number + 1)[1]) + b"\r\n" for number in range(client.stat()[0])]
    client.quit()
    return found


def arrived(mailboxes: Server, token: str, *others: Server, account: str = ANNA) -> bytes:
    """The one message with that subject, as soon as it is there."""
    line = f"\r\nSubject: {token}\r\n".encode()
    found = until(
        lambda: [one for one in maildrop(mailboxes, account) if line in one],
        lambda: "\n".join(one.log() for one in (mailboxes, *others)),
    )
    assert len(found) == 1, found
    return found[0]


def doors(message: bytes) -> list[str]:
    """The servers that had it, the last one first."""
    unfolded = re.sub(rb"\r\n[ \t]+", b" ", message.partition(b"\r\n\r\n")[0])
    return [name.decode() for name in re.findall(rb"(?m)^Received: .*? by ([\w.]+)", unfolded)]


# ---------------------------------------------------------------- SMTP here, POP3 and IMAP4 there


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """The machine that the MX record names, and the one with the mailboxes."""
    (lmtp,) = free_ports(1)
    mailboxes = Server(tmp_path_factory.mktemp("mailboxes"), MAILBOXES.format(lmtp=lmtp))
    config = DOOR.format(name="mx", lmtp=lmtp, listen="127.0.0.1:0")
    door = Server(tmp_path_factory.mktemp("door"), config)
    try:
        start(mailboxes)
        start(door)
        yield door, mailboxes
    finally:
        door.stop()
        mailboxes.stop()
    for one in (door, mailboxes):
        assert "Traceback" not in one.log(), one.log()


def test_s_166_s_167_mail_comes_in_here_and_is_read_there_by_pop3_and_imap4(two: tuple[Server, Server]) -> None:
    door, mailboxes = two
    put(door, "first")
    message = arrived(mailboxes, "first", door)
    assert message.endswith(REAL) and doors(message) == ["mail.branch.test", "mx.branch.test"]
    reader = imap(mailboxes, ANNA)
    assert reader.select() == ("OK", [b"1"])
    assert reader.fetch("1", "(BODY.PEEK[])")[1][0][1] == message
    reader.logout()
    # Nothing waits any more, and nobody has it in a mailbox here.
    until(lambda: not rows(door, "branch.test"), door.log)
    shown = json.loads(door.command("user", "show", ANNA, "--json").stdout)
    assert shown["messages"] == 0, shown


def test_s_166_s_167_who_has_no_mailbox_there_is_refused_here(two: tuple[Server, Server]) -> None:
    door, _ = two
    with smtplib.SMTP("127.0.0.1", door.port("smtp/default"), timeout=30) as client:
        client.ehlo()
        client.mail(FAR)
        code, text = client.rcpt("eve@branch.test")
        assert (code, text.split()[0]) == (550, b"5.1.1"), text
        assert client.rcpt(BO)[0] == 250


def test_s_166_users_send_by_the_one_and_read_at_the_other(two: tuple[Server, Server]) -> None:
    door, mailboxes = two
    submit(door, "from anna")
    assert doors(arrived(mailboxes, "from anna", door, account=BO)) == ["mail.branch.test", "mx.branch.test"]


def test_s_166_s_167_nothing_is_lost_while_the_mailboxes_or_both_are_away(two: tuple[Server, Server]) -> None:
    door, mailboxes = two
    put(door, "before")
    arrived(mailboxes, "before", door)
    had = maildrop(mailboxes, ANNA)
    mailboxes.stop(signal.SIGKILL)
    tokens = [f"away-{number}" for number in range(3)]
    for token in tokens:
        put(door, token)
    door.stop(signal.SIGKILL)
    door.start()
    put(door, "after the kill")
    mailboxes.start()
    for token in (*tokens, "after the kill"):
        assert arrived(mailboxes, token, door).endswith(REAL)
    now = maildrop(mailboxes, ANNA)
    assert now[: len(had)] == had and len(now) == len(had) + 4


# ---------------------------------------------------------------- three servers of SMTP


class Three:
    """Doors of preference 10, 20 and 30, the mailboxes behind them, and a site that sends to them."""

    def __init__(self, factory: pytest.TempPathFactory, remotes: Remotes) -> None:
        lmtp, port = free_ports(2)
        self.mailboxes = Server(factory.mktemp("mailboxes"), MAILBOXES.format(lmtp=lmtp))
        self.doors: dict[int, Server] = {}
        zone: dict[str, object] = {"branch.test MX": [(wish, f"mx{wish}.branch.test") for wish in (30, 10, 20)]}
        for wish in (10, 20, 30):
            zone[f"mx{wish}.branch.test A"] = [remotes.address(wish)]
            config = DOOR.format(name=f"mx{wish}", lmtp=lmtp, listen=f"{remotes.address(wish)}:{port}")
            self.doors[wish] = Server(factory.mktemp(f"mx{wish}"), config)
        remotes.names(1, zone)
        self.sender = Server(factory.mktemp("sender"), SENDER.format(port=port, names=remotes.address(1)))
        self.all = (self.mailboxes, *self.doors.values(), self.sender)

    def came_by(self, token: str) -> str:
        """Which of the three had this message."""
        last, door, first = doors(arrived(self.mailboxes, token, *self.all))
        assert (last, first) == ("mail.branch.test", "mx.far.test")
        return door


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    remotes = Remotes()
    made = Three(tmp_path_factory, remotes)
    remotes.start()
    try:
        for one in made.all:
            start(one, users=one is not made.sender)
        yield made
    finally:
        for one in made.all:
            one.stop()
        remotes.stop()
    for one in made.all:
        assert "Traceback" not in one.log(), one.log()


def test_s_168_s_169_any_of_three_servers_may_be_away_and_no_mail_is_lost(three: Three) -> None:
    sender, mx = three.sender, three.doors
    put(sender, "all are there")
    assert three.came_by("all are there") == "mx10.branch.test"
    mx[10].stop()
    put(sender, "without the first")
    assert three.came_by("without the first") == "mx20.branch.test"
    mx[20].stop()
    put(sender, "the last one")
    assert three.came_by("the last one") == "mx30.branch.test"
    # Users can still send: everybody is known at each of them.
    submit(mx[30], "by the last one")
    assert doors(arrived(three.mailboxes, "by the last one", mx[30], account=BO))[1] == "mx30.branch.test"
    mx[30].stop()
    put(sender, "nobody is there")
    until(lambda: [one for one in rows(sender, "branch.test") if one["attempts"]], sender.log)
    mx[20].start()
    assert three.came_by("nobody is there") == "mx20.branch.test"
    mx[10].start()
    put(sender, "the first is back")
    assert three.came_by("the first is back") == "mx10.branch.test"
    assert len(maildrop(three.mailboxes, ANNA)) == 5
