"""SMTP reception as other people's clients see it: swaks, openssl s_client, curl, msmtp, smtplib and raw sockets."""

from __future__ import annotations

import email
import imaplib
import re
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsrv.testing.smuggling import EVIL, FALSE_ENDS

from .conftest import PASSWORD, Server, program
from .test_clients import run
from .test_standard_library import context

pytestmark = pytest.mark.live

ANNA, BO, CY = "anna@example.test", "bo@example.test", "cy@example.test"
CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test", "bücher.example"]
[auth]
use = ["directory"]
[auth.directory]
keep = ["cram-md5", "scram-sha-256"]
[smtp.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[smtp.normal]
bare_newlines = "normalise"
listen = ["127.0.0.1:0"]
[smtp.asked]
vrfy = "on"
expn = "authenticated"
login_without_tls = true
listen = ["127.0.0.1:0"]
[smtp.proxied]
trusted_proxies = ["127.0.0.2"]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[smtp.filtered]
xclient_from = ["127.0.0.3"]
listen = ["127.0.0.1:0"]
[smtp.submission]
role = "submission"
sender_check = false
failed_login_delay = "off"
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
[imap.default]
listen = ["127.0.0.1:0/tls"]
"""
#: Not in the clear, on the plain port after STARTTLS, and on the port that has TLS from the start.
TLS = pytest.mark.parametrize("tls", ["starttls", "on-connect"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("reception")
    (folder / "password").write_text(PASSWORD + "\n")
    made = Server(folder, CONFIG)
    made.start()
    try:
        for account in (ANNA, BO, CY):
            made.command("user", "add", account, "--password-file", str(folder / "password"))
        made.command("alias", "add", "all@example.test", ANNA, BO)
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def inbox(site: Server, user: str) -> list[bytes]:
    """All messages of somebody, the newest last."""
    port = site.port("imap/default", tls=True)
    with imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context(), timeout=20) as client:
        client.login(user, PASSWORD)
        client.select()
        return [item[1] for item in client.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(item, tuple)]


def swaks(site: Server, server: str, *options: str, tls: bool = False, ok: int = 0) -> str:
    """What swaks said to a server, with its own protocol of the conversation."""
    port = site.port(server, tls)
    return run(program("swaks"), "--server", "127.0.0.1", "--port", str(port), *options, ok=(ok,))


# ---------------------------------------------------------------- swaks


@TLS
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_rfc_4954_swaks_logs_in_by_each_mechanism_that_it_knows(site: Server, tls: str, mechanism: str) -> None:
    name = f"{mechanism} {tls}"
    said = swaks(
        site, "smtp/submission", "--tls" if tls == "starttls" else "--tls-on-connect", "--pipeline",
        "--auth", mechanism, "--auth-user", ANNA, "--auth-password", PASSWORD, "--from", ANNA, "--to", BO,
        "--header", f"Subject: {name}", tls=tls == "on-connect",
    )  # fmt: skip
    assert "235 2.7.0" in said and "250 2.0.0 OK id=" in said
    octets = inbox(site, BO)[-1]
    assert f"Subject: {name}\r\n".encode() in octets and b" with ESMTPSA" in octets


@TLS
def test_rfc_4954_a_mechanism_that_is_not_offered_and_a_wrong_password(site: Server, tls: str) -> None:
    more = ["--tls" if tls == "starttls" else "--tls-on-connect", "--from", ANNA, "--to", BO, "--auth-user", ANNA]
    on = tls == "on-connect"
    said = swaks(site, "smtp/submission", *more, "--auth", "DIGEST-MD5", "--auth-password", PASSWORD, tls=on, ok=28)
    assert "DIGEST-MD5" not in "".join(line for line in said.splitlines() if "250" in line)
    said = swaks(site, "smtp/submission", *more, "--auth", "PLAIN", "--auth-password", "wrong", tls=on, ok=28)
    assert "535 5.7.8" in said


def test_swaks_sends_attachments_that_come_back_as_they_were(site: Server, tmp_path: Path) -> None:
    names = {"all octets.bin": bytes(range(256)) * 300, "dots.txt": b".\r\n..\r\n.x\r\n" * 100, "empty.txt": b""}
    options = []
    for name, octets in names.items():
        (tmp_path / name).write_bytes(octets)
        options += ["--attach-type", "application/octet-stream", "--attach-name", name, "--attach",
                    f"@{tmp_path / name}"]  # fmt: skip
    swaks(site, "smtp/default", "--pipeline", "--from", "a@b.example", "--to", ANNA, *options)
    parts = email.message_from_bytes(inbox(site, ANNA)[-1]).walk()
    found = {part.get_filename(): part.get_payload(decode=True) for part in parts if part.get_filename()}
    assert found == names


def test_rfc_2920_swaks_pipelines_and_each_recipient_has_its_answer(site: Server) -> None:
    said = swaks(site, "smtp/default", "--pipeline", "--from", "a@b.example", "--to",
                 f"{ANNA},nobody@example.test,x@elsewhere.example,{BO}", "--header", "Subject: four")  # fmt: skip
    answers = re.findall(r"^<(?:-|\*\*) +(\d{3} \d\.\d\.\d+)", said, re.M)
    assert answers == ["250 2.1.0", "250 2.1.5", "550 5.1.1", "550 5.7.1", "250 2.1.5", "250 2.0.0", "221 2.0.0"]
    for user in (ANNA, BO):
        assert b"Subject: four\r\n" in inbox(site, user)[-1]


@pytest.mark.parametrize(("version", "family"), [("1", "TCP4"), ("1", "TCP6"), ("2", "AF_INET"), ("2", "AF_INET6")])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_swaks_speaks_for_a_client_by_the_proxy_protocol(
    site: Server, version: str, family: str, tls: bool
) -> None:
    client, here = ("2001:db8::7", "2001:db8::25") if family.endswith("6") else ("198.51.100.7", "192.0.2.25")
    swaks(
        site, "smtp/proxied", "--local-interface", "127.0.0.2", "--proxy-version", version, "--proxy-family", family,
        "--proxy-source", client, "--proxy-source-port", "4711", "--proxy-dest", here, "--proxy-dest-port", "25",
        *(["--tls-on-connect"] if tls else []), "--ehlo", "client.example", "--from", "a@b.example", "--to", CY,
        tls=tls,
    )  # fmt: skip
    received = inbox(site, CY)[-1].partition(b"Received: ")[2].partition(b";")[0]
    literal = f"IPv6:{client}" if ":" in client else client
    assert f"[{literal}]".encode() in received and b"127.0.0.2" not in received


@pytest.mark.parametrize("line", ["TCP4 198.51.100.7 192.0.2.25 4711", "TCP4 300.1.1.1 192.0.2.25 4711 25", "SCTP x"])
def test_a_proxy_whose_header_cannot_be_read_is_cut_off(site: Server, line: str) -> None:
    said = swaks(site, "smtp/proxied", "--local-interface", "127.0.0.2", "--proxy", line, "--to", CY, ok=6)
    assert "220 " not in said


def test_xclient_is_not_offered_to_strangers_and_not_believed(site: Server) -> None:
    said = swaks(site, "smtp/default", "--xclient-addr", "192.0.2.1", "--from", "a@b.example", "--to", CY, ok=33)
    assert "XCLIENT" not in "".join(line for line in said.splitlines() if line.startswith("<-")), said
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        assert client.docmd("XCLIENT ADDR=192.0.2.1")[0] == 550
        assert client.docmd("MAIL FROM:<a@b.example>")[0] == 250


def test_swaks_speaks_for_a_client_by_xclient(site: Server) -> None:
    swaks(site, "smtp/filtered", "--local-interface", "127.0.0.3", "--xclient-addr", "198.51.100.8", "--xclient-name",
          "client.example", "--xclient-helo", "said.example", "--from", "a@b.example", "--to", CY)  # fmt: skip
    received = inbox(site, CY)[-1].partition(b"Received: ")[2].partition(b";")[0]
    assert b"(client.example [198.51.100.8])" in received and b"127.0.0.3" not in received


# ---------------------------------------------------------------- openssl s_client


def s_client(site: Server, tls: str, *options: str, given: str = "QUIT\r\n") -> tuple[int, str]:
    """Exit status and output of `openssl s_client`."""
    way = ["-starttls", "smtp"] if tls == "starttls" else []
    port = site.port("smtp/submission", tls=tls == "on-connect")
    done = subprocess.run(
        [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *way, *options],
        input=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@TLS
def test_rfc_3207_s_client_sees_the_certificate_of_the_site(site: Server, tls: str) -> None:
    known = str(site.data / "tls/default.crt")
    status, said = s_client(site, tls, "-CAfile", known, "-verify_return_error", "-verify_hostname", "mx.example.test")
    assert status == 0 and "Verification: OK" in said and "Verified peername: mx.example.test" in said, said
    assert re.search(r"New, TLSv1\.3, Cipher is TLS_", said)
    status, said = s_client(site, tls, "-CAfile", known, "-verify_return_error", "-verify_hostname", "other.example")
    assert status != 0 and "ostname mismatch" in said


@TLS
def test_rfc_8996_tls_before_1_2_is_refused(site: Server, tls: str) -> None:
    for version, good in (("-tls1_2", True), ("-tls1_3", True), ("-tls1_1", False), ("-tls1", False)):
        # OpenSSL itself says such a hello at security level 0 only.
        status, said = s_client(site, tls, version, "-cipher", "ALL:@SECLEVEL=0")
        assert (status == 0) is good, said
        assert good or "protocol version" in said, said


@TLS
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_rfc_8446_2_2_a_session_is_resumed(site: Server, tls: str, version: str, tmp_path: Path) -> None:
    ticket = str(tmp_path / "session")
    # Tickets of TLS 1.3 come after the handshake: the client must read on to the answer of QUIT.
    _, said = s_client(site, tls, version, "-sess_out", ticket, "-ign_eof")
    assert "New, TLSv" in said and Path(ticket).stat().st_size > 0
    _, said = s_client(site, tls, version, "-sess_in", ticket, "-ign_eof")
    assert "Reused, TLSv" in said and "221 2.0.0" in said


def test_rfc_3207_6_what_was_pipelined_behind_starttls_is_dropped(site: Server) -> None:
    """CVE-2011-0411: a man in the middle puts commands in front of those of the client."""
    with socket.create_connection(("127.0.0.1", site.port("smtp/default")), 20) as client:
        stream = client.makefile("rb")
        stream.readline()
        client.sendall(b"EHLO mallory\r\n")
        while stream.readline()[3:4] == b"-":
            pass
        client.sendall(b"STARTTLS\r\nMAIL FROM:<mallory@b.example>\r\nRCPT TO:<%b>\r\n" % ANNA.encode())
        answer = stream.readline()
        assert answer.startswith(b"220 "), answer
        with context().wrap_socket(client, server_hostname="mx.example.test") as secured:
            # Nothing was said before the handshake: not even EHLO counts.
            secured.sendall(b"RCPT TO:<%b>\r\n" % ANNA.encode())
            heard = secured.recv(4096)
            assert heard.startswith(b"503 5.5.1 ") and heard.count(b"\r\n") == 1, heard
    assert "mallory@b.example" not in site.log()


# ---------------------------------------------------------------- smuggling


def conversation(client: socket.socket, *lines: bytes) -> list[bytes]:
    """Each line, and the last line of its answer."""
    stream = client.makefile("rb")
    heard = []
    for line in lines:
        if line:
            client.sendall(line)
        said = stream.readline()
        while said[3:4] == b"-":
            said = stream.readline()
        heard.append(said)
    return heard


@pytest.mark.parametrize("server", ["default", "normal"])
@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_no_message_is_smuggled_in_behind_an_end_that_is_none(site: Server, server: str, end: bytes) -> None:
    """CVE-2023-51764 and its like: whatever stands before the one true end, it is one message or none."""
    before = len(inbox(site, BO))
    evil = EVIL.replace(b"me@example.org", BO.encode()) + b"\r\n.\r\n"
    with socket.create_connection(("127.0.0.1", site.port(f"smtp/{server}")), 20) as client:
        heard = conversation(
            client, b"", b"EHLO c\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<%b>\r\n" % BO.encode(),
            b"DATA\r\n", b"Subject: outer\r\n\r\nfirst" + end + evil, b"NOOP\r\n",
        )  # fmt: skip
    assert heard[4].startswith(b"354 ")
    # One answer for all of it, and the next is that of NOOP: nothing inside was taken for a command.
    assert heard[5][:3] in (b"250", b"550") and heard[6].startswith(b"250 2.0.0 OK"), heard
    taken = inbox(site, BO)[before:]
    assert len(taken) == (1 if heard[5].startswith(b"250") else 0)
    assert all(b"Return-Path: <a@b.example>" in one and b"\r\nevil\r\n" in one for one in taken)


def test_one_true_end_is_enough_however_the_packets_are_cut(site: Server) -> None:
    with socket.create_connection(("127.0.0.1", site.port("smtp/default")), 20) as client:
        conversation(client, b"", b"EHLO c\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<%b>\r\n" % CY.encode(),
                     b"DATA\r\n")  # fmt: skip
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"Subject: cut\r\n\r\n..\r\n.":
            client.sendall(bytes([octet]))
        assert conversation(client, b"\r\n")[0].startswith(b"250 2.0.0 OK id=")
    assert inbox(site, CY)[-1].endswith(b"Subject: cut\r\n\r\n.\r\n")


# ---------------------------------------------------------------- curl, msmtp, smtplib


@TLS
def test_curl_submits_and_asks_vrfy(site: Server, tls: str, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_bytes(b"Subject: by curl " + tls.encode() + b"\r\n\r\n.\r\n..\r\n")
    scheme, more = ("smtps", []) if tls == "on-connect" else ("smtp", ["--ssl-reqd"])
    port = site.port("smtp/submission", tls == "on-connect")
    run(program("curl"), "-sk", *more, f"{scheme}://127.0.0.1:{port}/laptop.example", "--user", f"{ANNA}:{PASSWORD}",
        "--mail-from", ANNA, "--mail-rcpt", BO, "--mail-rcpt", CY, "-T", str(message))  # fmt: skip
    for user in (BO, CY):
        assert inbox(site, user)[-1].endswith(b"\r\n\r\n.\r\n..\r\n")
    asked = f"smtp://127.0.0.1:{site.port('smtp/asked')}"
    assert f"<{ANNA}>" in run(program("curl"), "-s", asked, "--mail-rcpt", ANNA)
    assert "252" in run(program("curl"), "-s", f"smtp://127.0.0.1:{site.port('smtp/default')}", "--mail-rcpt", ANNA)


def test_msmtp_with_its_own_check_of_the_certificate(site: Server, tmp_path: Path) -> None:
    line = [
        program("msmtp"), "--file=", "--host=127.0.0.1", f"--port={site.port('smtp/submission')}", "--tls=on",
        "--auth=plain", f"--user={ANNA}", f"--passwordeval=cat {site.folder / 'password'}", f"--from={ANNA}",
    ]  # fmt: skip
    print_ = run(program("openssl"), "x509", "-noout", "-fingerprint", "-sha256", "-in",
                 str(site.data / "tls/default.crt")).strip().partition("=")[2]  # fmt: skip
    message = b"From: %b\nTo: %b\nSubject: by msmtp\n\nhello\n" % (ANNA.encode(), BO.encode())
    run(*line, f"--tls-fingerprint={print_}", BO, given=message)
    octets = inbox(site, BO)[-1]
    assert b"Subject: by msmtp\r\n" in octets and b" with ESMTPSA" in octets
    wrong = ":".join(["00"] * 32)
    assert "fingerprint" in run(*line, f"--tls-fingerprint={wrong}", BO, given=message, ok=(69,))


def test_rfc_6531_smtplib_submits_to_and_from_addresses_of_utf8(site: Server) -> None:
    message = "From: Anna <anna@example.test>\r\nTo: Jürgen <cy@bücher.example>\r\nSubject: grün\r\n\r\nß\r\n".encode()
    site.command("alias", "add", "jürgen@bücher.example", CY)
    with smtplib.SMTP("127.0.0.1", site.port("smtp/submission"), timeout=20) as client:
        client.starttls(context=context())
        client.login(ANNA, PASSWORD)
        client.ehlo()
        # Without SMTPUTF8 such an address is refused, and the session goes on.
        assert client.mail(ANNA)[0] == 250
        client.command_encoding = "utf-8"
        code, said = client.rcpt("jürgen@bücher.example")
        assert code == 553 and said.startswith(b"5.6.7 ")
        client.rset()
        client.sendmail(ANNA, ["jürgen@bücher.example"], message, ["SMTPUTF8", "BODY=8BITMIME"])
    octets = inbox(site, CY)[-1]
    assert "\r\nSubject: grün\r\n".encode() in octets and b" with UTF8SMTPSA" in octets


def test_vrfy_and_expn_over_the_wire(site: Server) -> None:
    with smtplib.SMTP("127.0.0.1", site.port("smtp/asked"), timeout=20) as client:
        client.ehlo()
        assert client.verify(ANNA)[0] == 250 and client.verify("nobody@example.test")[0] == 550
        assert client.expn("all@example.test")[0] in (502, 530, 550)
        client.login(ANNA, PASSWORD)
        code, said = client.expn("all@example.test")
        assert code == 250 and sorted(re.findall(rb"<(.+?)>", said)) == [ANNA.encode(), BO.encode()]
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("expn") and client.expn("all@example.test")[0] == 502
        assert client.verify(ANNA) == client.verify("nobody@example.test") and client.verify(ANNA)[0] == 252


def test_rfc_3461_parameters_of_dsn_are_taken_where_they_are_offered(site: Server) -> None:
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        offered = client.has_extn("dsn")
        answer = client.docmd("MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ314159")
        assert (answer[0] == 250) is offered, answer
        if not offered:
            assert answer[0] == 555
            return
        for parameters, code in (
            ("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Anna@Example.Test", 250), ("NOTIFY=NEVER", 250),
            ("NOTIFY=NEVER,FAILURE", 501), ("NOTIFY=SOMETIMES", 501), ("ORCPT=anna", 501),
            ("NOTIFY=NEVER NOTIFY=NEVER", 501),
        ):  # fmt: skip
            assert client.docmd(f"RCPT TO:<{ANNA}> {parameters}")[0] == code, parameters
        client.rset()
        for parameters in ("RET=SOME", "ENVID=a+", "RET=FULL RET=FULL"):
            assert client.docmd(f"MAIL FROM:<a@b.example> {parameters}")[0] == 501, parameters
