"""XCLIENT with swaks, which speaks it as Postfix's documentation has it: the client is who the proxy says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from .conftest import PASSWORD, Server, program
from .test_standard_library import pop3

pytestmark = pytest.mark.live

ANNA = "anna@example.test"
CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[access.block]
list = ["203.0.113.0/24"]
[access.relay]
mode = "only"
list = ["127.0.0.1", "198.51.100.0/24"]
[routes."elsewhere.test"]
host = ["127.0.0.1"]
port = 1
[smtp.default]
listen = ["127.0.0.1:0"]
xclient_from = ["127.0.0.1"]
access = "block"
relay = "relay"
[pop3.default]
listen = ["127.0.0.1:0", "127.0.0.1:0/tls"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("xclient"), CONFIG)
    made.start()
    try:
        made.command("user", "add", ANNA, given=PASSWORD + "\n")
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


def swaks(site: Server, to: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            program("swaks"), "--server", "127.0.0.1", "--port", str(site.port("smtp/default")), "--from", "a@c.test",
            "--to", to, "--timeout", "20", *options,
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_client_is_who_the_proxy_says(site: Server) -> None:
    done = swaks(
        site, ANNA, "--xclient-addr", "192.0.2.7", "--xclient-name", "c.test", "--xclient-helo", "c.test",
        "--xclient-port", "4711", "--xclient-proto", "ESMTP",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT" in done.stdout
    maildrop = pop3(site, ANNA)
    message = b"\n".join(maildrop.retr(maildrop.stat()[0])[1])
    maildrop.quit()
    assert b"(c.test [192.0.2.7])" in message and "accepted on smtp/default from 192.0.2.7" in site.log()


@pytest.mark.parametrize("to, address, status, answer", [
    (ANNA, "203.0.113.9", 33, "554 5.7.1 Access denied"),
    # The proxy may relay; its client may not, unless it is on the list itself.
    ("x@elsewhere.test", "192.0.2.7", 24, "550 5.7.1 Relay access denied"),
    ("x@elsewhere.test", "[UNAVAILABLE]", 24, "550 5.7.1 Relay access denied"),
    ("x@elsewhere.test", "198.51.100.7", 0, "250 2.1.5 Recipient OK"),
])
def test_lists_are_for_the_client(site: Server, to: str, address: str, status: int, answer: str) -> None:
    done = swaks(site, to, "--xclient-addr", address)
    assert answer in done.stdout, done.stdout
    assert done.returncode == status, done.stdout


def test_nobody_is_logged_in_by_the_word_of_a_proxy(site: Server) -> None:
    done = swaks(site, ANNA, "--xclient-addr", "192.0.2.7", "--xclient-login", ANNA, "--xclient-no-verify")
    assert "501 5.5.4 Bad LOGIN of XCLIENT" in done.stdout and done.returncode, done.stdout
