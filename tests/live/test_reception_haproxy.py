"""Behind Debian's haproxy: clients are themselves, by both versions of the PROXY protocol; health checks are nobody."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports

from .conftest import PASSWORD, Server, program
from .postfix import until
from .test_standard_library import context

pytestmark = pytest.mark.live

ANNA = "anna@example.test"
SITE = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[access.nuisance]
list = ["127.0.5.0/24"]
[smtp.default]
trusted_proxies = ["127.0.0.2"]
access = "nuisance"
max_connections_per_address = 1
listen = ["127.0.0.1:0"]
[imap.default]
trusted_proxies = ["127.0.0.2"]
access = "nuisance"
listen = ["127.0.0.1:0/tls"]
"""
HAPROXY = """
global
  log stdout format raw local0
defaults
  mode tcp
  log global
  option log-health-checks
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen smtp-v1
  bind 127.0.0.1:{v1}
  option smtpchk EHLO haproxy.example
  server one 127.0.0.1:{smtp} source 127.0.0.2 send-proxy check inter 200ms
listen smtp-v2
  bind 127.0.0.1:{v2}
  option smtpchk EHLO haproxy.example
  server two 127.0.0.1:{smtp} source 127.0.0.2 send-proxy-v2 check inter 200ms
listen imaps
  bind 127.0.0.1:{imaps}
  server three 127.0.0.1:{imap} source 127.0.0.2 send-proxy-v2
"""
DOORS = ("v1", "v2", "imaps")


class Proxied:
    """The site and the haproxy before it."""

    def __init__(self, site: Server, ports: dict[str, int], log: Path) -> None:
        self.site, self.ports, self.log = site, ports, log

    def connect(self, door: str, address: str) -> socket.socket:
        """A client from that address at a door of haproxy."""
        return socket.create_connection(("127.0.0.1", self.ports[door]), 20, (address, 0))

    def first(self, door: str, address: str) -> bytes:
        """What a client hears first."""
        with self.connect(door, address) as client:
            return client.recv(4096)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("haproxy")
    haproxy = program("haproxy")
    (folder / "password").write_text(PASSWORD + "\n")
    site = Server(folder, SITE)
    site.start()
    try:
        site.command("user", "add", ANNA, "--password-file", str(folder / "password"))
        ports = dict(zip(DOORS, free_ports(len(DOORS)), strict=True))
        (folder / "haproxy.cfg").write_text(
            HAPROXY.format(**ports, smtp=site.port("smtp/default"), imap=site.port("imap/default", tls=True))
        )
        with (folder / "haproxy.log").open("wb") as log:
            process = subprocess.Popen([haproxy, "-db", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log)
        made = Proxied(site, ports, folder / "haproxy.log")
        try:
            until(lambda: _listens(ports["imaps"]), made.log.read_text)
            yield made
        finally:
            process.terminate()
            process.wait(20)
    finally:
        site.stop()
    assert "Traceback" not in site.log(), site.log()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("door", ["v1", "v2"])
def test_mail_by_haproxy_names_the_client(proxied: Proxied, door: str) -> None:
    client = f"127.0.9.{DOORS.index(door) + 1}"
    with smtplib.SMTP(
        "127.0.0.1", proxied.ports[door], "client.example", timeout=20, source_address=(client, 0)
    ) as sender:
        sender.starttls(context=context())
        sender.sendmail("a@b.example", [ANNA], f"Subject: by {door}\r\n\r\n")
    with imaplib.IMAP4_SSL("127.0.0.1", proxied.ports["imaps"], ssl_context=context(), timeout=20) as reader:
        reader.login(ANNA, PASSWORD)
        reader.select()
        (number,) = reader.search(None, f'SUBJECT "by {door}"')[1]
        header = reader.fetch(number.split()[0].decode(), "(BODY[HEADER])")[1][0][1]
    received = header.partition(b"\r\nReceived: ")[2].partition(b";")[0]
    assert received.startswith(f"from client.example ([{client}])".encode()), received
    assert b" with ESMTPS\r\n" in received and b"127.0.0.2" not in header


@pytest.mark.parametrize("door", ["v1", "v2"])
def test_s_040_access_and_limits_are_about_who_is_behind_haproxy(proxied: Proxied, door: str) -> None:
    assert proxied.first(door, "127.0.5.50") == b"554 5.7.1 Access denied\r\n"
    with proxied.connect(door, "127.0.6.1") as one, proxied.connect(door, "127.0.6.2") as other:
        assert one.recv(4096).startswith(b"220 ") and other.recv(4096).startswith(b"220 ")
        assert proxied.first(door, "127.0.6.1").startswith(b"421 4.3.2 ")


def test_s_040_tls_from_the_start_passes_through_haproxy(proxied: Proxied) -> None:
    with context().wrap_socket(proxied.connect("imaps", "127.0.6.3"), server_hostname="mx.example.test") as client:
        assert client.recv(4096).startswith(b"* OK ")
    with proxied.connect("imaps", "127.0.5.50") as client, pytest.raises(OSError):
        context().wrap_socket(client, server_hostname="mx.example.test")
    assert "127.0.5.50 is not let in by imap/default" in proxied.site.log()


def test_health_checks_of_both_versions_find_the_server_well(proxied: Proxied) -> None:
    def well() -> bool:
        said = proxied.log.read_text()
        return all(f"server {name} succeeded" in said for name in ("smtp-v1/one", "smtp-v2/two"))

    until(well, proxied.log.read_text)
    assert "failed" not in proxied.log.read_text() and "sent no PROXY header" not in proxied.site.log()
