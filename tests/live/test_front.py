"""Before the greeting, with real sockets: proxies that say whom they bring, access, UNIX sockets (S-040)."""

from __future__ import annotations

import socket
import ssl
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import PASSWORD, Server

pytestmark = pytest.mark.live

ANNA = "anna@example.test"
CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[access.block]
list = ["203.0.113.0/24"]
[smtp.default]
listen = ["127.0.0.1:0", "unix:smtp.sock"]
[imap.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
trusted_proxies = ["127.0.0.2"]
access = "block"
max_connections_per_address = 2
login_without_tls = true
[pop3.default]
listen = ["127.0.0.1:0"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("front")
    (folder / "password").write_text(PASSWORD + "\n")
    made = Server(folder, CONFIG)
    made.start()
    made.command("user", "add", ANNA, "--password-file", str(folder / "password"))
    yield made
    made.stop()
    assert not (folder / "smtp.sock").exists()
    assert "Traceback" not in made.log(), made.log()


def header(client: str) -> bytes:
    """PROXY protocol, version 2."""
    block = socket.inet_aton(client) + socket.inet_aton("192.0.2.25") + struct.pack(">HH", 40000, 143)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(block)) + block


def connect(site: Server, tls: bool = False, proxy: bool = True) -> socket.socket:
    made = socket.create_connection(
        ("127.0.0.1", site.port("imap/default", tls)), 10, ("127.0.0.2" if proxy else "127.0.0.1", 0)
    )
    made.settimeout(10)
    return made


def answers(client: socket.socket, end: bytes) -> bytes:
    """All up to these octets, or to the end of the connection."""
    out = b""
    while end not in out and (piece := client.recv(4096)):
        out += piece
    return out


def test_a_client_of_a_proxy_is_greeted_and_logged_as_itself(site: Server) -> None:
    with connect(site) as client:
        login = b"a LOGIN %b {%d+}\r\n%b\r\n" % (ANNA.encode(), len(PASSWORD), PASSWORD.encode())
        client.sendall(header("198.51.100.7") + login)
        assert b"a OK " in answers(client, b"a OK ")
        # Lines are written at the end of a turn, after its answers.
        client.sendall(b"b NOOP\r\n")
        assert b"b OK " in answers(client, b"b OK ")
    assert f"login of {ANNA} on imap/default from 198.51.100.7" in site.log()


@pytest.mark.parametrize("together", [False, True])
def test_tls_from_the_start_begins_behind_the_header(site: Server, together: bool) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = context.wrap_bio(incoming, outgoing, server_hostname="mx.example.test")
    with connect(site, tls=True) as client:
        with pytest.raises(ssl.SSLWantReadError):
            secure.do_handshake()
        hello = outgoing.read()
        if together:
            client.sendall(header("198.51.100.8") + hello)
        else:
            for octet in header("198.51.100.8"):
                client.sendall(bytes([octet]))
            client.sendall(hello)
        read = b""
        while not read:
            try:
                secure.do_handshake()
                read = secure.read(4096)
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(65536))
        assert read.startswith(b"* OK ")


def test_s_040_access_is_about_the_client_not_its_proxy(site: Server) -> None:
    with connect(site) as client:
        client.sendall(header("203.0.113.9") + b"a LOGIN anna x\r\n")
        assert answers(client, b"never") == b"* BYE Access denied\r\n"
    with connect(site, tls=True) as client:
        client.sendall(header("203.0.113.9") + b"\x16\x03\x01")
        assert client.recv(100) == b""
    assert "203.0.113.9 is not let in by imap/default: reject access" in site.log()


def test_a_proxy_without_a_header_and_a_header_without_a_proxy(site: Server) -> None:
    with connect(site) as client:
        client.sendall(b"a NOOP\r\n")
        assert client.recv(100) == b""
    with connect(site, proxy=False) as client:
        client.sendall(b"PROXY TCP4 198.51.100.7 192.0.2.25 40001 143\r\n")
        assert b"PROXY BAD " in answers(client, b"PROXY BAD ")


def test_s_058_connections_of_an_address_are_those_of_the_client(site: Server) -> None:
    held = []
    for number in (7, 7, 7, 8):
        held.append(connect(site))
        held[-1].sendall(header(f"198.51.100.{100 + number}"))
    assert [answers(client, b"\r\n")[:5] for client in held] == [b"* OK ", b"* OK ", b"* BYE", b"* OK "]
    for client in held:
        client.close()


def test_mail_comes_in_by_a_unix_socket(site: Server) -> None:
    path = Path(site.folder / "smtp.sock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert f"unix:{path}" in site.command("server", "show", "smtp/default").stdout
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        assert answers(client, b"\r\n").startswith(b"220 ")
        client.sendall(b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<%b>\r\nDATA\r\n" % ANNA.encode())
        assert b"354 " in answers(client, b"354 ")
        client.sendall(b"Subject: by a socket\r\n\r\nbody\r\n.\r\nQUIT\r\n")
        assert b"250 2.0.0 OK id=" in answers(client, b"221 ")
