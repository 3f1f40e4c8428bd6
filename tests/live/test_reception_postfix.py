"""Postfix as a client of ours that has to log in (relayhost), and as one that has us for a content filter (LMTP)."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from .conftest import PASSWORD, Server
from .messages import REAL
from .postfix import Postfix
from .test_postfix import newest, no_trace_of_postfix

pytestmark = pytest.mark.live

SITE = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[auth]
use = ["any"]
[auth.any]
password_file = "password"
[smtp.submission]
role = "submission"
sender_check = false
received_user = true
listen = ["127.0.0.1:0"]
[smtp.lmtp]
role = "lmtp"
listen = ["127.0.0.1:0"]
[pop3.default]
listen = ["127.0.0.1:0/tls"]
"""
#: All goes to the relay host, with TLS and a login; FILTERED goes to the content filter first, by LMTP.
ONWARD = """
relayhost = [127.0.0.1]:{submission}
smtp_tls_security_level = encrypt
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ {{ [127.0.0.1]:{submission} = u9@example.test:{password} }} }}
smtputf8_enable = yes
smtpd_sender_restrictions = check_sender_access inline:{{ {{ {filtered} = FILTER lmtp:inet:127.0.0.1:{lmtp} }} }}
"""
FILTERED = "filtered@b.example"


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    # Its users must reach the folder: those of pytest are their owner's alone.
    with TemporaryDirectory(prefix="mailsrv-postfix-") as folder:
        made = Postfix(Path(folder))
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postfix: Postfix) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("relayhost")
    (folder / "password").write_text(PASSWORD + "\n")
    made = Server(folder, SITE)
    made.start()
    try:
        ports = {"submission": made.port("smtp/submission"), "lmtp": made.port("smtp/lmtp")}
        postfix.start(ONWARD.format(**ports, password=PASSWORD, filtered=FILTERED))
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def give(postfix: Postfix, sender: str, to: list[str], octets: bytes, *options: str, asked: str = "") -> None:
    """Hand a message to Postfix; `asked` are parameters of each recipient."""
    with smtplib.SMTP("127.0.0.1", postfix.ports["clear"], timeout=30) as client:
        client.ehlo()
        assert client.sendmail(sender, to, octets, ["BODY=8BITMIME", *options], [asked] if asked else []) == {}


def test_rfc_4954_postfix_relays_to_us_with_tls_and_a_login(site: Server, postfix: Postfix) -> None:
    give(postfix, "a@b.example", ["u1@example.test", "u2@example.test"], REAL)
    for user in ("u1@example.test", "u2@example.test"):
        octets = newest(site, user)
        assert no_trace_of_postfix(octets) == REAL
        trace = octets.partition(b"(Postfix)")[0]
        assert b" with ESMTPSA" in trace and b"(authenticated as u9@example.test)" in trace


def test_postfix_bounces_what_we_refuse_and_delivers_the_rest(site: Server, postfix: Postfix) -> None:
    before = len(postfix.log())
    give(postfix, "u3@example.test", ["u4@example.test", "nobody@example.test"], REAL)
    assert no_trace_of_postfix(newest(site, "u4@example.test")) == REAL
    bounce = newest(site, "u3@example.test")
    assert b"Status: 5.1.1\r\n" in bounce and b"550 5.1.1 No such user here" in bounce
    told = bounce.partition(b"message/delivery-status")[2]
    assert b"nobody@example.test" in told and b"u4@example.test" not in told
    assert "status=bounced" in postfix.log()[before:]


def test_rfc_6531_postfix_relays_an_address_of_utf8(site: Server, postfix: Postfix) -> None:
    give(postfix, "jürgen@bücher.example", ["u5@example.test"], "Subject: grün\r\n\r\nß\r\n".encode(), "SMTPUTF8")
    octets = newest(site, "u5@example.test")
    assert octets.startswith("Return-Path: <jürgen@bücher.example>\r\n".encode())
    assert "\r\nSubject: grün\r\n".encode() in octets and b" with UTF8SMTPSA" in octets


def test_rfc_3461_postfix_hands_on_that_a_success_is_to_be_told(site: Server, postfix: Postfix) -> None:
    give(postfix, "u6@example.test", ["u7@example.test"], REAL, "RET=HDRS", "ENVID=Q1", asked="NOTIFY=SUCCESS")
    assert no_trace_of_postfix(newest(site, "u7@example.test")) == REAL
    report = newest(site, "u6@example.test")
    assert b"Action: " in report and b"Original-Envelope-Id: Q1\r\n" in report


def test_rfc_2033_postfix_has_us_for_a_content_filter(site: Server, postfix: Postfix) -> None:
    before = len(postfix.log())
    give(postfix, FILTERED, ["u8@example.test", "nobody@example.test", "u10@example.test"], REAL)
    for user in ("u8@example.test", "u10@example.test"):
        octets = newest(site, user)
        assert no_trace_of_postfix(octets) == REAL and b" with LMTP" in octets.partition(b"(Postfix)")[0]
    postfix.wait_log("to=<nobody@example.test>", "status=bounced", "550 5.1.1")
    sent = [line for line in postfix.log()[before:].splitlines() if "/lmtp[" in line and "status=sent" in line]
    assert len(sent) == 2 and all("250 2." in line for line in sent)
