"""BDAT, BINARYMIME and SMTPUTF8 over sockets, and LMTP with smtplib and swaks, over TCP and a UNIX socket."""

from __future__ import annotations

import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CONFIG, PASSWORD, Server, program
from .messages import REAL, without_trace
from .test_standard_library import context, pop3

pytestmark = pytest.mark.live

LMTP = '\n[smtp.lmtp]\nrole = "lmtp"\nlisten = ["127.0.0.1:0", "unix:lmtp.sock"]\n'
USERS = ("anna@example.test", "bo@example.test")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("lmtp"), CONFIG + LMTP)
    made.start()
    try:
        for user in USERS:
            made.command("user", "add", user, given=PASSWORD + "\n")
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def last(site: Server, user: str) -> bytes:
    """The newest message of somebody, as POP3 gives it."""
    maildrop = pop3(site, user)
    count = maildrop.stat()[0]
    octets: bytes = b"\r\n".join(maildrop.retr(count)[1]) + b"\r\n"
    maildrop.quit()
    return octets


def chunks(client: smtplib.SMTP, octets: bytes, size: int) -> tuple[int, bytes]:
    """Send a message by BDAT; the last answer."""
    for at in range(0, len(octets), size):
        piece = octets[at : at + size]
        client.send(b"BDAT %d%s\r\n" % (len(piece), b" LAST" if at + size >= len(octets) else b"") + piece)
        code, text = client.getreply()
        if code != 250:
            break
    return code, text


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_rfc_3030_a_message_by_bdat_octet_for_octet(site: Server, tls: bool) -> None:
    octets = REAL + b"line\r\n.\r\n" * 150_000
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        if tls:
            client.starttls(context=context())
            client.ehlo()
        assert client.has_extn("chunking") and client.has_extn("binarymime") and client.has_extn("smtputf8")
        assert client.docmd("MAIL FROM:<a@b.example> BODY=8BITMIME")[0] == 250
        assert client.docmd(f"RCPT TO:<{USERS[0]}>")[0] == 250
        assert chunks(client, octets, 99_991)[0] == 250
    assert without_trace(last(site, USERS[0])) == octets


def test_rfc_3030_3_a_binary_part_comes_back_as_it_was(site: Server) -> None:
    from email import message_from_bytes

    binary = bytes(range(256)) * 3000
    octets = (
        b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n"
        b"--x\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + binary + b"\r\n--x--\r\n"
    )
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<a@b.example> BODY=BINARYMIME")[0] == 250
        assert client.docmd(f"RCPT TO:<{USERS[0]}>")[0] == 250
        assert chunks(client, octets, 8191)[0] == 250
    text, attachment = message_from_bytes(last(site, USERS[0])).get_payload()
    assert text.get_payload() == "hello" and attachment.get_payload(decode=True) == binary


def test_rfc_6531_smtplib_sends_from_an_address_of_utf8(site: Server) -> None:
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), timeout=20) as client:
        client.sendmail("jürgen@bücher.example", [USERS[1]], REAL, ["SMTPUTF8", "BODY=8BITMIME"])
    octets = last(site, USERS[1])
    assert octets.startswith("Return-Path: <jürgen@bücher.example>\r\n".encode()) and b"with UTF8SMTP\r\n" in octets


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_rfc_2033_smtplib_delivers_by_lmtp(site: Server, way: str) -> None:
    path = str(site.folder / "lmtp.sock")
    host, port = ("127.0.0.1", site.port("smtp/lmtp")) if way == "tcp" else (path, 0)
    client = smtplib.LMTP(host, port)
    try:
        client.ehlo()
        client.mail("a@b.example")
        assert [client.rcpt(to)[0] for to in (*USERS, "nobody@example.test", "x@elsewhere.example")] == [
            250, 250, 550, 550,
        ]  # fmt: skip
        assert client.docmd("DATA")[0] == 354
        client.send(REAL.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert [client.getreply()[0] for _ in USERS] == [250, 250]
        client.quit()
    finally:
        client.close()
    for user in USERS:
        octets = last(site, user)
        assert without_trace(octets) == REAL and b"with LMTP\r\n" in octets


def test_rfc_2033_swaks_delivers_by_lmtp_at_a_unix_socket(site: Server, tmp_path: Path) -> None:
    said = subprocess.run(
        [program("swaks"), "--socket", str(site.folder / "lmtp.sock"), "--protocol", "LMTP", "--from", "a@b.example",
         "--to", ",".join(USERS), "--header", "Subject: by swaks", "--body", "hello"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    for user in USERS:
        assert b"Subject: by swaks\r\n" in last(site, user)


def test_another_protocol_is_turned_away_at_once(site: Server) -> None:
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        with socket.create_connection(("127.0.0.1", site.port("smtp/default")), timeout=20) as client:
            client.recv(1000)
            client.sendall(words)
            said = b""
            while piece := client.recv(1000):
                said += piece
            assert said == b"421 4.7.0 This is a mail server; closing\r\n"
