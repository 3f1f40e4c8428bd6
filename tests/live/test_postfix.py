"""Postfix sends to us by SMTP and LMTP, and takes what we send on: RFC 5321, 2033, 3207, 4954."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from . import test_logins_dovecot as dovecots
from .conftest import PASSWORD, Server
from .messages import REAL, without_trace
from .postfix import DOORS, Postfix, until
from .test_standard_library import pop3

pytestmark = pytest.mark.live

SITE = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[auth]
use = ["any"]
[auth.any]
password_file = "password"
[access.here]
mode = "only"
list = ["127.0.0.1"]
[smtp.default]
listen = ["127.0.0.1:0"]
relay = "here"
[smtp.default.delivery]
retry = ["1h"]
[smtp.lmtp]
role = "lmtp"
listen = ["127.0.0.1:0"]
[pop3.default]
listen = ["127.0.0.1:0/tls"]
"""
#: What Postfix does with mail that is not for its own domain.
ONWARD = """
relayhost = [127.0.0.1]:{smtp}
transport_maps = inline:{{ lmtp.test=lmtp:inet:127.0.0.1:{lmtp} }}
smtpd_sasl_path = {dovecot}/run/auth-relay
"""


def route(name: str, door: int, *keys: str) -> str:
    """A route to a door of Postfix."""
    return "\n".join((f'[routes."{name}.test"]', 'host = ["127.0.0.1"]', f"port = {door}", *keys, ""))


def login(name: str) -> tuple[str, ...]:
    """Keys of a route with the password of that file."""
    return 'auth = "sasl"', f'username = "{dovecots.USER}"', f'password_file = "{name}"'


def routes(ports: dict[str, int]) -> str:
    """One domain for each way to send on."""
    assert set(ports) == set(DOORS)
    return "".join((
        route("peer", ports["tls"]),
        route("require", ports["tls"], 'tls = "require"'),
        route("verify", ports["tls"], 'tls = "verify"'),
        route("old", ports["clear"]),
        route("bare", ports["clear"], 'tls = "require"'),
        # The smart host: for smart.test and all the world besides.
        route("smart", ports["login"], *login("right")).replace('"smart.test"', '"*"'),
        route("guess", ports["login"], *login("wrong")),
        route("open", ports["clear"], *login("right")),
    ))  # fmt: skip


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    """Its ports are known before it runs."""
    # Its users must reach the folder: those of pytest are their owner's alone.
    with TemporaryDirectory(prefix="mailsrv-postfix-") as folder:
        made = Postfix(Path(folder))
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def dovecot() -> Iterator[dovecots.Dovecot]:
    """It checks the logins of Postfix."""
    with TemporaryDirectory(prefix="mailsrv-dovecot-") as folder:
        made = dovecots.Dovecot(Path(folder))
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postfix: Postfix, dovecot: dovecots.Dovecot) -> Iterator[Server]:
    """Ours and Postfix, each with the other as a peer."""
    folder = tmp_path_factory.mktemp("postfix")
    for name, secret in (("password", PASSWORD), ("right", dovecots.PASSWORD), ("wrong", "Dull-Otter-1150")):
        (folder / name).write_text(secret + "\n")
        (folder / name).chmod(0o600)
    made = Server(folder, SITE + routes(postfix.ports))
    made.start()
    try:
        postfix.start(ONWARD.format(
            smtp=made.port("smtp/default"), lmtp=made.port("smtp/lmtp"), dovecot=dovecot.folder
        ))  # fmt: skip
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def give(port: int, sender: str, to: list[str], octets: bytes) -> None:
    """Submit a message without a login."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        assert client.sendmail(sender, to, octets, ["BODY=8BITMIME"]) == {}


def newest(site: Server, user: str) -> bytes:
    """The only message of somebody, which is deleted, as soon as there is one."""

    def found() -> bytes:
        maildrop = pop3(site, user)
        octets = b""
        if maildrop.stat()[0]:
            octets = b"\r\n".join(maildrop.retr(1)[1]) + b"\r\n"
            maildrop.dele(1)
        maildrop.quit()
        return octets

    return until(found, site.log)


def waiting(site: Server, postfix: Postfix, domain: str, *words: str) -> dict[str, Any]:
    """The row of the queue for a domain, as soon as an attempt has failed with these words."""

    def found() -> dict[str, Any]:
        rows = site.ask("queue.list", domain=domain)["rows"]
        return next((row for row in rows if row["attempts"] and row["state"] == "waiting"), {})

    row = until(found, lambda: site.log() + postfix.log())
    assert all(word in row["reply"] for word in words), row
    return row


def no_trace_of_postfix(octets: bytes) -> bytes:
    """Without our trace and the Received of Postfix below it."""
    lines = without_trace(octets).split(b"\r\n")
    assert lines[0].startswith(b"Received: from ") and b"(Postfix)" in b"".join(lines[:4]), lines[:4]
    at = 1
    while lines[at].startswith((b" ", b"\t")):
        at += 1
    return b"\r\n".join(lines[at:])


# ---------------------------------------------------------------- Postfix sends to us


@pytest.mark.parametrize("extra", [b"", b"x" * 990 + b"\r\n", b"y" * 2000 + b"\r\n", b".\r\n" * 2000], ids=[
    "real", "longest-line", "longer-line", "dots",
])  # fmt: skip
def test_rfc_5321_4_5_2_what_postfix_relays_arrives_octet_for_octet(
    site: Server, postfix: Postfix, extra: bytes
) -> None:
    give(postfix.ports["clear"], "a@b.example", ["u1@example.test"], REAL + extra)
    octets = newest(site, "u1@example.test")
    assert no_trace_of_postfix(octets) == REAL + extra
    # Opportunistic TLS is Postfix's way here, and the trace tells of it.
    assert b" with ESMTPS" in octets.partition(b"(Postfix)")[0]


def test_five_megabytes_from_postfix_arrive_octet_for_octet(site: Server, postfix: Postfix) -> None:
    big = REAL + (b"." + b"0123456789" * 7 + b"\r\n") * 70_000
    assert len(big) > 5_000_000
    give(postfix.ports["clear"], "a@b.example", ["u2@example.test"], big)
    assert no_trace_of_postfix(newest(site, "u2@example.test")) == big


def test_postfix_pipelines_a_message_for_a_hundred(site: Server, postfix: Postfix) -> None:
    to = [f"u{number}@example.test" for number in range(100, 200)]
    give(postfix.ports["clear"], "a@b.example", to, REAL + b"to a hundred\r\n")
    heard = site.log
    found = [newest(site, user) for user in to]
    assert {no_trace_of_postfix(octets) for octets in found} == {REAL + b"to a hundred\r\n"}, heard()
    # One transaction: one Received of ours, so one id.
    ids = {octets.partition(b" id ")[2].split(None, 1)[0] for octets in found}
    assert len(ids) == 1, ids


def test_rfc_2033_postfix_delivers_by_lmtp_and_bounces_for_the_unknown_alone(site: Server, postfix: Postfix) -> None:
    before = len(postfix.log())
    # Addresses of lmtp.test are ours too, in another domain: the transport map chooses the way by the domain.
    site.command("domain", "add", "lmtp.test")
    give(postfix.ports["clear"], "u3@example.test", ["u4@lmtp.test", "nobody@lmtp.test", "u5@lmtp.test"], REAL)
    for user in ("u4@lmtp.test", "u5@lmtp.test"):
        octets = newest(site, user)
        assert no_trace_of_postfix(octets) == REAL and b" with LMTP" in octets.partition(b"(Postfix)")[0]
    bounce = message_from_bytes(newest(site, "u3@example.test"))
    assert bounce.get_content_type() == "multipart/report"
    told = bounce.get_payload()[1].get_payload()
    assert [block["Final-Recipient"] for block in told[1:]] == ["rfc822; nobody@lmtp.test"]
    assert told[1]["Status"] == "5.1.1" and "550 5.1.1" in told[1]["Diagnostic-Code"]
    assert postfix.log()[before:].count("status=sent (250 2.") >= 2, postfix.log()[before:]


# ---------------------------------------------------------------- we send to Postfix


@pytest.mark.parametrize("name, tls", [("peer", True), ("require", True), ("old", False)])
def test_rfc_3207_mail_goes_on_to_postfix_with_tls_where_it_can(
    site: Server, postfix: Postfix, name: str, tls: bool
) -> None:
    octets = REAL + b"sent on: " + name.encode() + b"\r\n.\r\n.." + b"x" * 990 + b"\r\n"
    give(site.port("smtp/default"), "a@b.example", [f"who@{name}.test"], octets)
    got = postfix.message(b"sent on: " + name.encode(), site.log)
    assert got.endswith(octets), got
    assert (b" with ESMTPS" in got.partition(b"Received: from")[2].partition(b"Received: from")[0]) is tls, got


@pytest.mark.parametrize("name, words", [
    ("verify", ("certificate",)), ("bare", ("TLS",)), ("guess", ("535",)), ("open", ("no way to log in",)),
])  # fmt: skip
def test_mail_waits_with_the_reason_where_a_rule_forbids_to_send_it(
    site: Server, postfix: Postfix, name: str, words: tuple[str, ...]
) -> None:
    token = f"never {name}"
    give(site.port("smtp/default"), "a@b.example", [f"who@{name}.test"], REAL + token.encode() + b"\r\n")
    row = waiting(site, postfix, f"{name}.test", *words)
    assert row["recipients"] == [f"who@{name}.test"] and row["attempts"] == 1
    assert not any(token.encode() in octets for octets in postfix.mailbox())
    assert f"to=<who@{name}.test>" not in postfix.log()
    assert "Dull-Otter" not in site.log() and dovecots.PASSWORD not in site.log()


def test_rfc_4954_s_111_postfix_is_a_smart_host_that_wants_a_login(site: Server, postfix: Postfix) -> None:
    with smtplib.SMTP("127.0.0.1", postfix.ports["login"], timeout=20) as client:
        client.ehlo()
        client.mail("a@b.example")
        assert client.rcpt("who@smart.test")[0] == 554
    give(site.port("smtp/default"), "a@b.example", ["who@smart.test"], REAL + b"by login\r\n")
    got = postfix.message(b"by login", site.log)
    assert got.endswith(REAL + b"by login\r\n")
    # The strongest that both know.
    postfix.wait_log("sasl_method=SCRAM-SHA-256", f"sasl_username={dovecots.USER}")
    # Nobody asked the name system about it: there is no such domain.
    assert " for smart.test: 1 delivered" in until(lambda: site.log() if "smart.test:" in site.log() else "", site.log)
