"""Two sites: one takes mail for a domain whose mailboxes the other has: call-outs (decisions 39), and ETRN."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator

import pytest

from .conftest import PASSWORD, Server
from .test_standard_library import context, pop3

pytestmark = pytest.mark.live

ANNA = "anna@branch.test"
INNER = """
[site]
hostname = "inner.test"
domains = ["branch.test"]
[smtp.lmtp]
role = "lmtp"
listen = ["127.0.0.1:0"]
[pop3.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
"""
OUTER = """
[site]
hostname = "outer.test"
domains = ["outer.test", "branch.test", "listed.test"]
[domain."branch.test"]
kind = "relay"
verify = "callout"
[domain."listed.test"]
kind = "relay"
verify = "list"
recipients_file = "listed.txt"
[routes."branch.test"]
host = ["127.0.0.1"]
port = {port}
protocol = "lmtp"
[smtp.default]
listen = ["127.0.0.1:0"]
"""


@pytest.fixture
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    inner = Server(tmp_path_factory.mktemp("inner"), INNER)
    inner.start()
    folder = tmp_path_factory.mktemp("outer")
    (folder / "listed.txt").write_text("carl\n")
    outer = Server(folder, OUTER.format(port=inner.port("smtp/lmtp")))
    outer.start()
    try:
        inner.command("user", "add", ANNA, given=PASSWORD + "\n")
        yield inner, outer
    finally:
        outer.stop()
        inner.stop()
    for one in (inner, outer):
        assert "Traceback" not in one.log(), one.log()


def count(site: Server) -> int:
    """Messages that Anna has."""
    maildrop = pop3(site, ANNA)
    found: int = maildrop.stat()[0]
    maildrop.quit()
    return found


def test_who_does_not_exist_there_is_refused_here(sites: tuple[Server, Server]) -> None:
    inner, outer = sites
    with smtplib.SMTP("127.0.0.1", outer.port("smtp/default"), timeout=30) as client:
        client.ehlo()
        client.mail("a@c.test")
        assert client.rcpt("eve@branch.test")[0] == 550
        assert client.rcpt("eve@listed.test")[0] == 550 and client.rcpt("carl@listed.test")[0] == 250
        client.rset()
        client.sendmail("a@c.test", [ANNA], b"Subject: hi\r\n\r\nbody\r\n")
        until = time.monotonic() + 60
        while not count(inner):
            assert time.monotonic() < until, outer.log() + inner.log()
            time.sleep(0.2)
        # The other site is gone: what was said is remembered, and nobody is refused because of it.
        inner.stop()
        client.mail("a@c.test")
        assert client.rcpt("eve@branch.test")[0] == 550 and client.rcpt("new@branch.test")[0] == 250


def test_rfc_1985_what_waits_goes_on_at_once_when_somebody_asks(sites: tuple[Server, Server]) -> None:
    inner, outer = sites
    port = inner.port("smtp/lmtp")
    inner.stop()
    with smtplib.SMTP("127.0.0.1", outer.port("smtp/default"), timeout=30) as client:
        client.ehlo()
        assert "etrn" not in client.esmtp_features and client.docmd("ETRN", "branch.test")[0] == 550
        client.sendmail("a@c.test", [ANNA], b"Subject: hi\r\n\r\nbody\r\n")
    until = time.monotonic() + 60
    while not any(row["attempts"] == 1 for row in outer.ask("queue.list")["rows"]):
        assert time.monotonic() < until, outer.log()
        time.sleep(0.2)
    inner.config.write_text(INNER.replace('listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:{port}"]'))
    inner.start()
    outer.command("user", "add", "ops@outer.test", given=PASSWORD + "\n")
    with smtplib.SMTP("127.0.0.1", outer.port("smtp/default"), timeout=30) as client:
        client.starttls(context=context())
        client.login("ops@outer.test", PASSWORD)
        client.ehlo()
        assert "etrn" in client.esmtp_features
        code, text = client.docmd("ETRN", "branch.test")
        assert (code, text.split()[:2]) == (253, [b"2.0.0", b"1"]), text
    until = time.monotonic() + 60
    while not count(inner):
        assert time.monotonic() < until, outer.log()
        time.sleep(0.2)
