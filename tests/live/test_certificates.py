"""Certificates of a running site, looked at by `openssl s_client` and the standard library (S-048 to S-056)."""

from __future__ import annotations

import base64
import imaplib
import poplib
import select
import smtplib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority, pem

from .conftest import PASSWORD, Server

pytestmark = pytest.mark.live

CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[tls.customers]
directory = "live"
[smtp.default]
listen = ["127.0.0.1:0"]
certificates = ["customers"]
[smtp.strong]
role = "submission"
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
certificates = ["customers"]
require_tls = true
require_strong_tls = true
[imap.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
certificates = ["customers"]
[imap.clear]
listen = ["127.0.0.1:0"]
login_without_tls = true
[pop3.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
certificates = ["customers"]
"""
ANNA = "anna@example.test"
CA = Authority()
#: (server, TLS from the start, what s_client is told).
PORTS = [
    ("smtp/default", False, "smtp"), ("smtp/strong", True, ""),
    ("imap/default", False, "imap"), ("imap/default", True, ""),
    ("pop3/default", False, "pop3"), ("pop3/default", True, ""),
]  # fmt: skip


def put(folder: Path, name: str, *hosts: str) -> None:
    """A pair as certbot leaves it."""
    (folder / "live" / name).mkdir(parents=True)
    for file, octets in zip(("fullchain.pem", "privkey.pem"), CA.issue(*hosts), strict=True):
        (folder / "live" / name / file).write_bytes(octets)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "root.pem").write_bytes(pem(CA.root))
    put(folder, "mail.first.test", "mail.first.test", "*.wild.test")
    made = Server(folder, CONFIG)
    made.start()
    try:
        made.command("user", "add", ANNA, "--password-file", str(folder / "password"))
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def s_client(site: Server, name: str, tls: bool, starttls: str, *more: str) -> subprocess.CompletedProcess[str]:
    """One connection that ends at once; status 0 when there was a handshake."""
    line = ["openssl", "s_client", "-connect", f"127.0.0.1:{site.port(name, tls)}", *more]
    line += ["-starttls", starttls] if starttls else []
    return subprocess.run(line, input="", capture_output=True, text=True, timeout=30)


def verified(site: Server, at: tuple[str, bool, str], host: str) -> bool:
    """Whether a client that knows the authority believes that this is the host."""
    root = str(site.folder / "root.pem")
    done = s_client(site, *at, "-servername", host, "-CAfile", root, "-verify_hostname", host, "-verify_return_error")
    return done.returncode == 0 and "Verification: OK" in done.stdout


def unchecked() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


@pytest.mark.parametrize("at", PORTS, ids=[f"{name}-{'tls' if tls else 'starttls'}" for name, tls, _ in PORTS])
def test_s_056_tls_on_the_plain_port_and_from_the_start_with_the_certificate_that_is_asked_for(
    site: Server, at: tuple[str, bool, str]
) -> None:
    assert verified(site, at, "mail.first.test")
    assert verified(site, at, "any.wild.test")
    assert not verified(site, at, "mail.unknown.test")
    assert "Cipher is" in s_client(site, *at, "-servername", "mail.unknown.test").stdout


def test_s_048_s_049_from_the_request_to_the_certificate_while_a_session_goes_on(site: Server) -> None:
    with imaplib.IMAP4_SSL(
        "127.0.0.1", site.port("imap/default", True), ssl_context=unchecked(), timeout=20
    ) as session:
        session.login(ANNA, PASSWORD)
        before = session.sock.getpeercert(True)
        request = site.command("certificate", "request", "default", "--host", "mx.example.test").stdout
        assert site.command("certificate", "request", "default").stdout == request
        (site.folder / "wrong.pem").write_bytes(CA.issue("mx.example.test")[0])
        refused = site.command("certificate", "install", "default", str(site.folder / "wrong.pem"), check=False)
        assert refused.returncode == 1 and "belongs to the pending request" in refused.stderr
        assert not verified(site, PORTS[2], "mx.example.test")
        (site.folder / "right.pem").write_bytes(pem(CA.between) + pem(CA.sign(request.encode())))
        site.command("certificate", "install", "default", str(site.folder / "right.pem"))
        for at in PORTS:
            assert verified(site, at, "mx.example.test"), at
        assert session.noop()[0] == "OK" and session.sock.getpeercert(True) == before


def test_s_050_s_051_another_certificate_for_one_server_while_it_runs(site: Server) -> None:
    certificate, key = CA.issue("pop.example.test")
    (site.folder / "pop.pem").write_bytes(certificate + key)
    site.command("certificate", "import", "pop", str(site.folder / "pop.pem"))
    at = "pop3/default", True, ""
    assert not verified(site, at, "pop.example.test")
    assert "pop3/default shows [tls.pop] now" in site.command("certificate", "assign", "pop", "pop3/default").stdout
    assert verified(site, at, "pop.example.test") and not verified(site, PORTS[3], "pop.example.test")


def test_s_050_a_certificate_that_cannot_be_used_is_not_assigned(site: Server) -> None:
    site.command("certificate", "self-signed", "broken", "--host", "broken.example.test")
    (site.data / "tls" / "broken.key").unlink()
    done = site.command("certificate", "assign", "broken", "imap/default", check=False)
    assert done.returncode == 1 and "broken.key" in done.stderr
    assert verified(site, PORTS[3], "mail.first.test")
    assert site.command("config", "get", "imap.default.certificate").stdout == "default\n"


def test_a_folder_of_an_acme_client_is_looked_at_again(site: Server) -> None:
    at = PORTS[3]
    put(site.folder, "mail.second.test", "mail.second.test")
    # The list looks at once; otherwise it takes half a minute.
    assert "customers: mail.second.test" in site.command("certificate", "list").stdout
    assert verified(site, at, "mail.second.test")


WEAK = "ECDHE+AES:-AESGCM:-AESCCM"


@pytest.mark.parametrize(("tls", "starttls"), [(True, ""), (False, "smtp")])
def test_s_054_a_weak_suite_is_refused(site: Server, tls: bool, starttls: str) -> None:
    weak = s_client(site, "smtp/strong", tls, starttls, "-tls1_2", "-cipher", WEAK)
    assert weak.returncode != 0 and "handshake failure" in weak.stderr
    strong = s_client(site, "smtp/strong", tls, starttls, "-tls1_2")
    assert strong.returncode == 0 and "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in strong.stdout
    assert "TLSv1.3, Cipher is TLS_AES" in s_client(site, "smtp/strong", tls, starttls).stdout
    usual = s_client(site, "imap/default", True, "", "-tls1_2", "-cipher", WEAK)
    assert usual.returncode == 0 and "Cipher is ECDHE-ECDSA-AES" in usual.stdout


@pytest.mark.parametrize("suite", ["AES256-GCM-SHA384", "AES128-SHA", "NULL"])
@pytest.mark.parametrize("at", PORTS[1:4])
def test_no_port_speaks_without_forward_secrecy(site: Server, at: tuple[str, bool, str], suite: str) -> None:
    done = s_client(site, *at, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
    assert done.returncode != 0 and "handshake failure" in done.stderr


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_rfc_8996_no_port_speaks_below_tls_1_2(site: Server, version: str) -> None:
    done = s_client(site, "imap/default", True, "", version, "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0 and "protocol version" in done.stderr


# ---------------------------------------------------------------- the octets on the wire


class Wire:
    """A connection to a port of the site that writes down what passes."""

    def __init__(self, port: int) -> None:
        self.octets = b""
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._pass)
        self._thread.start()

    def _pass(self) -> None:
        self._listener.settimeout(20)
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._port), timeout=20) as server:
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [], 20)[0] or [client]:
                    try:
                        octets = ready.recv(1 << 16)
                    except ConnectionError:
                        # A client that closes without reading the server's last words.
                        return
                    self.octets += octets
                    if not octets:
                        return
                    other[ready].sendall(octets)

    def end(self) -> bytes:
        """All octets, of both directions, when the client has closed."""
        self._thread.join(30)
        self._listener.close()
        return self.octets


def told(octets: bytes) -> bool:
    """Whether the password is to be read there, as it is or in base64."""
    secret = PASSWORD.encode()
    forms = secret, base64.b64encode(secret), base64.b64encode(f"\0{ANNA}\0{PASSWORD}".encode())
    return any(form in octets for form in forms)


def test_s_055_without_tls_the_password_is_on_the_wire_in_clear_text(site: Server) -> None:
    wire = Wire(site.port("imap/clear"))
    with imaplib.IMAP4("127.0.0.1", wire.port, timeout=20) as client:
        assert client.login(ANNA, PASSWORD)[0] == "OK"
    assert told(wire.end())


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "starttls"])
@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_s_055_under_tls_the_password_is_not_on_the_wire(site: Server, protocol: str, implicit: bool) -> None:
    wire = Wire(site.port("smtp/strong" if protocol == "smtp" else f"{protocol}/default", implicit))
    context = unchecked()
    if protocol == "imap":
        imap = imaplib.IMAP4_SSL if implicit else imaplib.IMAP4
        with imap("127.0.0.1", wire.port, timeout=20, **({"ssl_context": context} if implicit else {})) as client:
            if not implicit:
                client.starttls(context)
            assert client.login(ANNA, PASSWORD)[0] == "OK"
    elif protocol == "smtp":
        smtp = smtplib.SMTP_SSL if implicit else smtplib.SMTP
        with smtp("127.0.0.1", wire.port, timeout=20, **({"context": context} if implicit else {})) as sender:
            if not implicit:
                sender.starttls(context=context)
            assert sender.login(ANNA, PASSWORD)[0] == 235
    else:
        pop3 = poplib.POP3_SSL if implicit else poplib.POP3
        reader = pop3("127.0.0.1", wire.port, timeout=20, **({"context": context} if implicit else {}))
        if not implicit:
            reader.stls(context)
        reader.user(ANNA)
        assert reader.pass_(PASSWORD).startswith(b"+OK")
        reader.quit()
    octets = wire.end()
    assert len(octets) > 1000 and not told(octets)


def test_s_053_before_tls_there_is_nothing_but_tls(site: Server) -> None:
    with smtplib.SMTP("127.0.0.1", site.port("smtp/strong"), timeout=20) as client:
        client.ehlo()
        assert "starttls" in client.esmtp_features and "auth" not in client.esmtp_features
        assert client.mail(ANNA)[0] == 530
        client.starttls(context=unchecked())
        client.login(ANNA, PASSWORD)
        assert client.mail(ANNA)[0] == 250
