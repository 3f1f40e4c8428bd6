"""Two of our servers: mail goes from one to the other, waits, comes back with a report, and outlives a kill."""

from __future__ import annotations

import signal
import smtplib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.ports import free_ports

from .conftest import PASSWORD, Server
from .messages import REAL, without_trace
from .postfix import until
from .test_postfix import newest
from .test_standard_library import context

pytestmark = pytest.mark.live

#: Both sites: every name uN has a mailbox, and one password opens all.
BOTH = """
[auth]
use = ["any", "directory"]
[auth.any]
password_file = "password"
[limits]
# One test logs in wrongly, as often as it takes; the others must not suffer for it.
failed_logins_per_address = "off"
[pop3.default]
listen = ["127.0.0.1:0/tls"]
"""
FAR = """
[site]
hostname = "mx.far.test"
domains = ["far.test", "backup.test", "split.test", "slow.test"]
[policy.pace]
use = "rates"
interval = "2s"
messages_per_sender = 1
[smtp.default]
listen = ["127.0.0.1:0"]
[smtp.slow]
listen = ["127.0.0.1:0"]
policies = ["pace"]
[smtp.login]
role = "submission"
sender_check = false
listen = ["127.0.0.1:0"]
authentication = ["basic", "ntlm", "sasl"]
failed_login_delay = "off"
"""
NEAR = """
[site]
hostname = "mx.near.test"
domains = ["near.test", "backup.test", "split.test"]
[domain."backup.test"]
kind = "relay"
[domain."split.test"]
kind = "shared"
[access.here]
mode = "only"
list = ["127.0.0.1"]
[smtp.default]
listen = ["127.0.0.1:0"]
[smtp.default.delivery]
retry = ["1s"]
expiration = "1h"
delay_notification = "off"
forward_unresolved = "127.0.0.1"
port = {far}
[smtp.peers]
listen = ["127.0.0.1:0"]
relay = "here"
[smtp.peers.delivery]
retry = ["1s"]
expiration = "3s"
delay_notification = "off"
[smtp.submission]
role = "submission"
sender_check = false
listen = ["127.0.0.1:0"]
[smtp.submission.delivery]
retry = ["1s"]
"""


def route(domain: str, port: int, auth: str = "", secret: str = "password") -> str:
    """A route to a port of this machine, with a login where `auth` says how."""
    lines = [f'[routes."{domain}"]', 'host = ["127.0.0.1"]', f"port = {port}"]
    if auth:
        lines += [f'auth = "{auth}"', 'username = "u9@far.test"', f'password_file = "{secret}"']
    return "\n".join([*lines, ""])


def prepare(folder: Path) -> Path:
    """With the files of passwords."""
    for name, secret in (("password", PASSWORD), ("wrong", "Dull-Otter-1150")):
        (folder / name).write_text(secret + "\n")
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Receives."""
    made = Server(prepare(tmp_path_factory.mktemp("far")), FAR + BOTH)
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, far: Server) -> Iterator[Server]:
    """Sends on."""
    login = far.port("smtp/login")
    routes = "".join((
        route("far.test", far.port("smtp/default")), route("backup.test", far.port("smtp/default")),
        route("slow.test", far.port("smtp/slow")), route("dead.test", free_ports(1)[0]),
        *(route(f"{auth}.test", login, auth) for auth in ("basic", "sasl", "ntlm")),
        *(route(f"wrong-{auth}.test", login, auth, "wrong") for auth in ("basic", "sasl", "ntlm")),
    ))  # fmt: skip
    made = Server(
        prepare(tmp_path_factory.mktemp("near")), NEAR.format(far=far.port("smtp/default")) + BOTH + routes
    )
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


def give(site: Server, sender: str, to: list[str], server: str = "smtp/peers", octets: bytes = REAL) -> None:
    """Submit a message; a door for submission wants a login first."""
    with smtplib.SMTP("127.0.0.1", site.port(server), timeout=20) as client:
        if server == "smtp/submission":
            client.starttls(context=context())
            client.login(sender, PASSWORD)
        assert client.sendmail(sender, to, octets, ["BODY=8BITMIME"]) == {}


def report(site: Server, user: str) -> tuple[Message, Message]:
    """The report that somebody got: the fields of its one recipient, and all of it."""
    made = message_from_bytes(newest(site, user))
    assert made.get_content_type() == "multipart/report" and made.get_param("report-type") == "delivery-status"
    assert made["Return-Path"] == "<>"
    status = made.get_payload()[1]  # type: ignore[union-attr]
    assert status.get_content_type() == "message/delivery-status"  # type: ignore[union-attr]
    _, recipient = status.get_payload()  # type: ignore[union-attr]
    return recipient, made  # type: ignore[return-value]


def test_a_message_for_both_sides_is_delivered_at_once_here_and_sent_on_there(near: Server, far: Server) -> None:
    give(near, "u1@near.test", ["u2@near.test", "u2@far.test"])
    assert without_trace(newest(near, "u2@near.test")) == REAL
    got = newest(far, "u2@far.test")
    assert got.endswith(REAL) and got.count(b"Received: ") == 2 and b"ESMTPS" in got


def test_s_136_who_has_logged_in_relays_and_a_stranger_does_not(near: Server, far: Server) -> None:
    with smtplib.SMTP("127.0.0.1", near.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        client.mail("u1@near.test")
        code, text = client.rcpt("u3@far.test")
        assert code == 550 and text.startswith(b"5.7.1")
    give(near, "u1@near.test", ["u3@far.test"], "smtp/submission")
    assert newest(far, "u3@far.test").endswith(REAL)


def test_an_alias_leads_to_another_server(near: Server, far: Server) -> None:
    near.command("alias", "add", "info@near.test", "u4@far.test", "u4@near.test")
    give(near, "a@b.example", ["info@near.test"], "smtp/default")
    assert newest(far, "u4@far.test").endswith(REAL) and newest(near, "u4@near.test").endswith(REAL)


def test_rfc_3464_the_sender_hears_of_an_unknown_recipient(near: Server) -> None:
    give(near, "u5@near.test", ["nobody@far.test"])
    recipient, made = report(near, "u5@near.test")
    assert recipient["Final-Recipient"] == "rfc822; nobody@far.test"
    assert recipient["Action"] == "failed" and recipient["Status"] == "5.1.1"
    assert recipient["Diagnostic-Code"].startswith("smtp; 550")
    assert made.get_payload()[2].get_payload(0)["Message-ID"] == "<real-1@remote.example>"  # type: ignore[union-attr]


def test_s_074_mail_for_a_dead_port_comes_back_when_its_time_is_over(near: Server) -> None:
    give(near, "u6@near.test", ["who@dead.test"])
    recipient, _ = report(near, "u6@near.test")
    assert recipient["Action"] == "failed"
    assert recipient["Status"].startswith("4.4.") or recipient["Status"] == "5.4.7"
    until(lambda: not rows(near, "dead.test"), near.log)


def test_mail_that_is_refused_for_now_comes_again(near: Server, far: Server) -> None:
    # The other server takes one message of a sender in two seconds.
    for to in ("u7@slow.test", "u8@slow.test"):
        give(near, "u7@near.test", [to], "smtp/submission")
    assert newest(far, "u7@slow.test").endswith(REAL) and newest(far, "u8@slow.test").endswith(REAL)
    assert "1 delayed" in "".join(line for line in near.log().splitlines() if "for slow.test" in line), near.log()


def rows(site: Server, domain: str) -> list[dict[str, object]]:
    """What waits for a domain."""
    found: list[dict[str, object]] = site.ask("queue.list", domain=domain)["rows"]
    return found


@pytest.mark.parametrize("auth, name", [("basic", "LOGIN|PLAIN"), ("sasl", "SCRAM-SHA-256"), ("ntlm", "NTLM")])
def test_s_108_to_s_110_the_other_server_is_logged_in_to(near: Server, far: Server, auth: str, name: str) -> None:
    before = len(far.log())
    give(near, "u1@near.test", [f"who@{auth}.test"], "smtp/submission")
    until(lambda: "login of u9@far.test on smtp/login" in far.log()[before:], lambda: near.log() + far.log())
    login = [line for line in far.log().splitlines() if "login of u9@far.test on smtp/login" in line][-1]
    assert any(one in login for one in name.split("|")), login


@pytest.mark.parametrize("auth", ["basic", "sasl", "ntlm"])
def test_nothing_is_sent_with_a_wrong_password(near: Server, auth: str) -> None:
    domain = f"wrong-{auth}.test"
    give(near, "u1@near.test", [f"who@{domain}"], "smtp/submission")
    (row,) = until(lambda: [one for one in rows(near, domain) if one["attempts"] and one["reply"]], near.log)
    assert "535" in str(row["reply"]), row
    assert "Dull-Otter" not in near.log()


def test_a_relay_domain_goes_on_whoever_the_recipient_is(near: Server, far: Server) -> None:
    give(near, "a@b.example", ["u10@backup.test"], "smtp/default")
    assert newest(far, "u10@backup.test").endswith(REAL)


def test_s_133_unknown_recipients_of_a_shared_domain_go_on(near: Server, far: Server) -> None:
    near.command("user", "add", "here@split.test", given=PASSWORD + "\n")
    give(near, "a@b.example", ["here@split.test", "u11@split.test"], "smtp/default")
    assert newest(near, "here@split.test").endswith(REAL)
    assert newest(far, "u11@split.test").endswith(REAL)


def test_a_kill_loses_nothing_of_the_queue(near: Server, far: Server, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    config = NEAR.format(far=port).replace('expiration = "3s"', 'expiration = "1h"') + BOTH
    doomed = Server(prepare(tmp_path), config + route("far.test", port))
    doomed.start()
    try:
        for number in range(20, 30):
            give(doomed, "a@b.example", [f"u{number}@far.test"])
        doomed.stop(signal.SIGKILL)
        doomed.config.write_text(config + route("far.test", far.port("smtp/default")))
        doomed.start()
        for number in range(20, 30):
            assert newest(far, f"u{number}@far.test").endswith(REAL)
        until(lambda: not rows(doomed, "far.test"), doomed.log)
    finally:
        doomed.stop()
    assert "Traceback" not in doomed.log(), doomed.log()
