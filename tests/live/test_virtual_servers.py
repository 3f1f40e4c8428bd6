"""Several virtual servers of each protocol in one site (rows S-001 to S-033 and more of the Exchange 2003 model)."""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from mailsrv.net.certificate import ensure

from .conftest import PASSWORD, Server
from .messages import REAL, without_trace

pytestmark = pytest.mark.live

CONFIG = """
[site]
hostname = "mx.first.test"
domains = ["first.test", "second.test"]
[tls.other]
certificate = "other.crt"
key = "other.key"
[smtp.default]
listen = ["127.0.0.1:0"]
[smtp.second]
listen = ["127.0.0.1:0", "127.0.0.2:0"]
hostname = "mx2.second.test"
default_domain = "second.test"
max_message_size = "64K"
authentication = ["anonymous"]
[smtp.taken]
listen = ["127.0.0.1:{taken}"]
[smtp.foreign]
listen = ["192.0.2.1:0"]
[smtp.manual]
startup = "manual"
listen = ["127.0.0.1:0"]
[imap.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[imap.other]
certificate = "other"
listen = ["127.0.0.1:0/tls"]
[pop3.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[pop3.everywhere]
listen = ["*:0"]
[routes."elsewhere.test"]
host = ["127.0.0.1"]
port = 1
"""
ANNA, BO = "anna@first.test", "bo@second.test"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One site with all of them, and two accounts."""
    folder = tmp_path_factory.mktemp("servers")
    ensure(folder / "other.crt", folder / "other.key", ["other.first.test"])
    (folder / "password").write_text(PASSWORD + "\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        made = Server(folder, CONFIG.format(taken=taken.getsockname()[1]))
        made.start()
        for name in (ANNA, BO):
            made.command("user", "add", name, "--password-file", str(folder / "password"))
        yield made
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def unchecked() -> ssl.SSLContext:
    """The certificates are self-signed; a test compares them itself."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def smtp(site: Server, name: str) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", site.port(name), timeout=20)
    client.ehlo()
    return client


def greeting(site: Server, name: str) -> bytes:
    with socket.create_connection(("127.0.0.1", site.port(name)), timeout=20) as connection:
        return connection.makefile("rb").readline()


def inbox(site: Server, login: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4_SSL("127.0.0.1", site.port("imap/default", True), ssl_context=unchecked(), timeout=20)
    client.login(login, PASSWORD)
    client.select()
    return client


def newest(site: Server, login: str) -> bytes:
    with inbox(site, login) as client:
        return bytes(client.fetch("*", "(BODY.PEEK[])")[1][0][1])


def states(site: Server) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in site.ask("server.list")}


def test_s_001_s_008_s_088_servers_of_one_protocol_have_settings_of_their_own(site: Server) -> None:
    with smtp(site, "smtp/default") as one, smtp(site, "smtp/second") as two:
        assert one.esmtp_features["size"] == str(50 * 2**20)
        assert two.esmtp_features["size"] == str(64 * 2**10)
    assert greeting(site, "smtp/default").startswith(b"220 mx.first.test ESMTP")
    assert greeting(site, "smtp/second").startswith(b"220 mx2.second.test ESMTP")


def test_s_009_s_086_one_server_serves_several_domains_and_names_itself_in_received(site: Server) -> None:
    with smtp(site, "smtp/second") as client:
        client.sendmail("you@example.com", [ANNA, BO], REAL, ["BODY=8BITMIME"])
    for login in (ANNA, BO):
        message = newest(site, login)
        assert without_trace(message) == REAL
        assert b"by mx2.second.test with ESMTP" in message


def test_s_010_one_server_takes_mail_without_login_and_submissions(site: Server) -> None:
    with smtp(site, "smtp/default") as client:
        client.sendmail("you@example.com", [BO], REAL, ["BODY=8BITMIME"])
        assert b"with ESMTP\r\n" in newest(site, BO)
        client.starttls(context=unchecked())
        client.login(ANNA, PASSWORD)
        client.sendmail(ANNA, [BO], REAL, ["BODY=8BITMIME"])
        assert b"with ESMTPSA" in newest(site, BO)


def test_s_010_it_sends_on_for_who_logged_in_and_for_nobody_else(site: Server) -> None:
    with smtp(site, "smtp/default") as client:
        client.starttls(context=unchecked())
        client.ehlo()
        client.mail("you@example.com")
        assert client.rcpt("cy@elsewhere.test")[0] == 550
        client.rset()
        client.login(ANNA, PASSWORD)
        client.sendmail(ANNA, ["cy@elsewhere.test"], REAL, ["BODY=8BITMIME"])
    (row,) = site.ask("queue.list", domain="elsewhere.test")["rows"]
    assert (row["server"], row["sender"]) == ("smtp/default", ANNA)


def test_s_011_servers_have_default_domains_of_their_own(site: Server) -> None:
    with smtp(site, "smtp/second") as client:
        client.mail("you@example.com")
        assert client.rcpt("bo")[0] == 250
        assert client.rcpt("anna")[0] == 550
    with smtp(site, "smtp/default") as client:
        client.mail("you@example.com")
        assert client.rcpt("anna")[0] == 250
        assert client.rcpt("bo")[0] == 550


def test_s_013_a_server_for_manual_start_stands_still(site: Server) -> None:
    assert states(site)["smtp/manual"]["state"] == "stopped"
    assert states(site)["smtp/default"]["state"] == "running"


def test_s_014_s_033_a_binding_that_cannot_be_had_stops_that_server_alone_with_the_reason(site: Server) -> None:
    found = states(site)
    assert found["smtp/taken"]["state"] == "stopped"
    assert "another process has this port" in str(found["smtp/taken"]["reason"])
    assert found["smtp/foreign"]["state"] == "stopped"
    assert "no such address" in str(found["smtp/foreign"]["reason"])


def test_s_031_every_binding_of_a_server_answers(site: Server) -> None:
    for address in states(site)["smtp/second"]["addresses"]:  # type: ignore[attr-defined]
        host, _, port = address.rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=20) as client:
            assert client.ehlo()[1].startswith(b"mx2.second.test")
    assert len(states(site)["smtp/second"]["addresses"]) == 2  # type: ignore[arg-type]


def test_s_030_all_addresses_answer(site: Server) -> None:
    for host in ("127.0.0.1", "127.0.0.3"):
        assert b"+OK" in poplib.POP3(host, site.port("pop3/everywhere"), timeout=20).welcome


def test_s_050_s_051_servers_share_a_certificate_or_are_given_one_by_name(site: Server) -> None:
    def shown(name: str) -> str:
        return ssl.get_server_certificate(("127.0.0.1", site.port(name, True)), timeout=20)

    assert shown("imap/default") == shown("pop3/default")
    assert shown("imap/other") == (site.folder / "other.crt").read_text()
    assert shown("imap/other") != shown("imap/default")


def test_s_055_s_056_tls_on_the_plain_port_and_on_its_own(site: Server) -> None:
    plain = imaplib.IMAP4("127.0.0.1", site.port("imap/default"), timeout=20)
    plain.starttls(unchecked())
    own = imaplib.IMAP4_SSL("127.0.0.1", site.port("imap/default", True), ssl_context=unchecked(), timeout=20)
    for client in (plain, own):
        assert client.sock.cipher() is not None
        assert client.login(ANNA, PASSWORD)[0] == "OK"
        client.logout()
    stls = poplib.POP3("127.0.0.1", site.port("pop3/default"), timeout=20)
    stls.stls(unchecked())
    pop3s = poplib.POP3_SSL("127.0.0.1", site.port("pop3/default", True), context=unchecked(), timeout=20)
    for maildrop in (stls, pop3s):
        assert maildrop.sock.cipher() is not None
        maildrop.user(ANNA)
        maildrop.pass_(PASSWORD)
        maildrop.quit()


def test_s_063_s_064_s_065_s_068_s_172_each_server_has_its_sessions(site: Server) -> None:
    def sessions(server: str) -> list[dict[str, object]]:
        return json.loads(site.command("session", "list", server, "--json").stdout)

    began = time.time()
    with inbox(site, ANNA):
        (one,) = sessions("imap/default")
        assert (one["user"], one["peer"], one["secure"]) == (ANNA, "127.0.0.1", True)
        assert began - 5 < float(str(one["since"])) < time.time() + 5
        assert sessions("imap/other") == [] and sessions("pop3/default") == []
        assert states(site)["imap/default"]["connections"] == 1
        assert states(site)["imap/other"]["connections"] == 0
    # The session ends with the connection.
    until = time.monotonic() + 60
    while sessions("imap/default"):
        assert time.monotonic() < until


def test_s_098_s_107_the_methods_offered_follow_the_settings(site: Server) -> None:
    with smtp(site, "smtp/second") as client:
        client.starttls(context=unchecked())
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] in (502, 503, 504)
    with smtp(site, "smtp/default") as client:
        client.starttls(context=unchecked())
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]


def test_s_117_a_message_above_the_limit_is_refused_announced_or_not(site: Server) -> None:
    big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n"
    with smtp(site, "smtp/second") as client:
        assert client.mail("you@example.com", ["SIZE=65537"]) == (552, b"5.3.4 Message exceeds the size limit")
        client.mail("you@example.com")
        client.rcpt(BO)
        code, text = client.data(big * 900)
        assert (code, text[:5]) == (552, b"5.3.4")
        client.mail("you@example.com", ["SIZE=60000"])
        client.rcpt(BO)
        assert client.data(big * 100)[0] == 250


def test_s_142_s_144_s_150_s_161_retrieval_by_imap4_and_pop3(site: Server) -> None:
    with smtp(site, "smtp/default") as client:
        client.sendmail("you@example.com", [ANNA], REAL, ["BODY=8BITMIME"])
    with inbox(site, ANNA) as reader:
        folders = [line.decode() for line in reader.list()[1]]
        assert any(line.endswith("INBOX") for line in folders) and any("Sent" in line for line in folders)
        header = reader.fetch("*", "(BODY.PEEK[HEADER])")[1][0][1]
        whole = reader.fetch("*", "(BODY[])")[1][0][1]
        assert whole.startswith(header) and without_trace(whole) == REAL
    closed = imaplib.IMAP4_SSL("127.0.0.1", site.port("imap/default", True), ssl_context=unchecked(), timeout=20)
    assert "AUTH=ANONYMOUS" not in closed.capabilities and "AUTH=PLAIN" in closed.capabilities
    with pytest.raises(imaplib.IMAP4.error):
        closed.authenticate("ANONYMOUS", lambda challenge: b"guest")
    closed.logout()
    maildrop = poplib.POP3_SSL("127.0.0.1", site.port("pop3/default", True), context=unchecked(), timeout=20)
    maildrop.user(ANNA)
    maildrop.pass_(PASSWORD)
    count = maildrop.stat()[0]
    assert b"\r\n".join(maildrop.retr(count)[1]) + b"\r\n" == whole
    maildrop.dele(count)
    maildrop.quit()
    with inbox(site, ANNA) as reader:
        assert len(reader.search(None, "ALL")[1][0].split()) == count - 1
