"""Policies of a running site, as clients from outside meet them: sender filter, own addresses, rates, quarantine."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from collections.abc import Iterator

import pytest

from .conftest import PASSWORD, Server

pytestmark = pytest.mark.live

CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[filter.spam]
list = ["spam.example", "bob@example.com"]
[policy.few]
use = "rates"
messages_per_sender = 2
[policy.names]
use = "helo"
own_names = false
[smtp.default]
listen = ["127.0.0.1:0"]
sender_filter = "spam"
policies = ["few", "names"]
[smtp.other]
listen = ["127.0.0.1:0"]
[smtp.submission]
role = "submission"
listen = ["127.0.0.1:0/tls"]
hide_client = true
received_user = true
[imap.default]
listen = ["127.0.0.1:0/tls"]
"""
ANNA, BO = "anna@example.test", "bo@example.test"


def anybody() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "password").write_text(PASSWORD + "\n")
    made = Server(folder, CONFIG)
    made.start()
    for account in (ANNA, BO):
        made.command("user", "add", account, "--password-file", str(folder / "password"))
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


def send(site: Server, name: str, sender: str, message: str = "Subject: x\r\n\r\n") -> None:
    with smtplib.SMTP("127.0.0.1", site.port(name), local_hostname="client.example", timeout=20) as client:
        client.sendmail(sender, [ANNA], message)


def submit(site: Server, sender: str, message: str) -> None:
    port = site.port("smtp/submission", tls=True)
    with smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="laptop", context=anybody(), timeout=20) as client:
        client.login(ANNA, PASSWORD)
        client.sendmail(sender, [BO], message)


def test_s045_a_filter_is_for_one_server_and_names_itself_in_the_log(site: Server) -> None:
    for sender in ("x@spam.example", "x@mail.spam.example", "Bob@Example.COM"):
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            send(site, "smtp/default", sender)
        assert refused.value.smtp_code == 550
        send(site, "smtp/other", sender)
    send(site, "smtp/default", "bobby@example.com")
    told = "sender 'x@mail.spam.example' refused on smtp/default from 127.0.0.1 by filter.spam (spam.example)"
    assert told in site.log()


def test_rates_count_over_connections(site: Server) -> None:
    for _ in range(2):
        send(site, "smtp/default", "often@remote.example")
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        send(site, "smtp/default", "often@remote.example")
    assert refused.value.smtp_code == 451 and refused.value.smtp_error.startswith(b"4.7.1 ")
    send(site, "smtp/default", "seldom@remote.example")


def test_rfc6409_who_logs_in_sends_as_itself_and_gets_what_is_missing(site: Server) -> None:
    with pytest.raises(smtplib.SMTPSenderRefused) as sender:
        submit(site, BO, f"From: {BO}\r\n\r\n")
    assert sender.value.smtp_error == b"5.7.1 bo@example.test is not your address"
    with pytest.raises(smtplib.SMTPDataError) as author:
        submit(site, ANNA, f"From: Bo <{BO}>\r\nSubject: forged\r\n\r\n")
    assert (author.value.smtp_code, author.value.smtp_error) == (554, b"5.7.1 bo@example.test is not your address")
    submit(site, ANNA, f"From: Anna <{ANNA}>\r\nSubject: mine\r\n\r\nhello\r\n")
    port = site.port("imap/default", tls=True)
    with imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=anybody(), timeout=20) as client:
        client.login(BO, PASSWORD)
        assert client.select()[1] == [b"1"]
        header = client.fetch("1", "(BODY[HEADER])")[1][0][1]
    assert b"\r\nReceived: by mx.example.test with ESMTPSA\r\n" in header
    assert b"(authenticated as anna@example.test)" in header
    assert b"\r\nDate: " in header and b"\r\nMessage-ID: <" in header
    assert b"127.0.0.1" not in header and b"laptop" not in header
