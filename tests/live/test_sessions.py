"""Sessions and their limits through the command line, and the page of counters (rows S-057 to S-068, X-10)."""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mailsrv.host.control.client import Client
from tests.host.prometheus_text import of_server, read

from .conftest import PASSWORD, Server

pytestmark = pytest.mark.live

CONFIG = """
[site]
hostname = "mx.example.test"
domains = ["example.test"]
[metrics]
listen = ["127.0.0.1:0"]
token_file = "token"
[smtp.default]
listen = ["127.0.0.1:0"]
[smtp.two]
listen = ["127.0.0.1:0"]
max_connections = 2
idle_timeout = "2s"
[imap.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
[imap.two]
listen = ["127.0.0.1:0"]
max_connections = 2
idle_timeout = "2s"
[pop3.default]
listen = ["127.0.0.1:0"]
login_without_tls = true
[pop3.two]
listen = ["127.0.0.1:0"]
max_connections = 2
idle_timeout = "2s"
"""
ANNA, BO = "anna@example.test", "bo@example.test"
TOKEN = "a token of this test"
PROTOCOLS = ("smtp", "imap", "pop3")
#: How a server greets, how it turns away, what it says at the end, and what keeps a session alive.
GREETING = {"smtp": b"220 ", "imap": b"* OK ", "pop3": b"+OK "}
REFUSAL = {"smtp": b"421 ", "imap": b"* BYE ", "pop3": b"-ERR "}
ALIVE = {"smtp": b"NOOP\r\n", "imap": b"a NOOP\r\n", "pop3": b"CAPA\r\n"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One site with two servers of each protocol, and two accounts."""
    folder = tmp_path_factory.mktemp("sessions")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "token").write_text(TOKEN + "\n")
    made = Server(folder, CONFIG)
    made.start()
    try:
        for name in (ANNA, BO):
            made.command("user", "add", name, "--password-file", str(folder / "password"))
        yield made
    finally:
        made.stop()
    assert "Traceback" not in made.log(), made.log()


class Line:
    """A client that says and hears lines."""

    def __init__(self, site: Server, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", site.port(name)), timeout=20)
        self._file = self._socket.makefile("rb")

    def hear(self) -> bytes:
        """The next line; b"" when the server has closed."""
        try:
            return self._file.readline()
        except ConnectionResetError:
            return b""

    def say(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def soon(test: Callable[[], bool]) -> bool:
    """Whether it becomes so within some seconds."""
    until = time.monotonic() + 60
    while not test():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def sessions(site: Server, server: str = "", **more: str) -> list[dict[str, Any]]:
    """What `session list` tells, asked for without a process of its own."""
    with Client(site.data / "control.sock") as client:
        found = client.stream("session.list", {"server": server, **more})
        return [dict(zip(lot["keys"], row)) for lot in found for row in lot["rows"]]


@contextmanager
def inbox(site: Server, login: str) -> Iterator[imaplib.IMAP4]:
    """Somebody's INBOX; the connection is closed without a word."""
    client = imaplib.IMAP4("127.0.0.1", site.port("imap/default"), timeout=20)
    try:
        client.login(login, PASSWORD)
        client.select()
        yield client
    finally:
        client.shutdown()


def page(site: Server, token: str = TOKEN) -> bytes:
    """The counters."""
    where = json.loads((site.data / "ready.json").read_text())["metrics"][0]
    request = urllib.request.Request(f"http://{where}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return bytes(answer.read())


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s057_there_is_no_limit_unless_one_is_set(site: Server, protocol: str) -> None:
    clients = [Line(site, f"{protocol}/default") for _ in range(60)]
    assert all(client.hear().startswith(GREETING[protocol]) for client in clients)
    assert of_server(read(page(site)), f"{protocol}/default")["mailsrv_sessions"] >= 60
    for client in clients:
        client.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s058_s059_s062_x10_the_third_of_two_is_turned_away_until_one_leaves(site: Server, protocol: str) -> None:
    name = f"{protocol}/two"
    before = of_server(read(page(site)), name)["mailsrv_connections_turned_away_total"]
    with Line(site, name) as one, Line(site, name) as two:
        assert one.hear().startswith(GREETING[protocol]) and two.hear().startswith(GREETING[protocol])
        with Line(site, name) as three:
            assert three.hear().startswith(REFUSAL[protocol]) and three.hear() == b""
        found = of_server(read(page(site)), name)
        assert found["mailsrv_connections_turned_away_total"] == before + 1 and found["mailsrv_sessions"] == 2
        # Those who are there are not harmed, and when one leaves the next is let in.
        one.say(ALIVE[protocol])
        assert one.hear()
        two.close()
        assert soon(lambda: of_server(read(page(site)), name)["mailsrv_sessions"] == 1)
        with Line(site, name) as four:
            assert four.hear().startswith(GREETING[protocol])
    with Client(site.data / "control.sock") as client:
        shown = [client.call("server.show", {"name": one})["result"] for one in (name, f"{protocol}/default")]
        assert [one["limits"]["connections"] for one in shown] == [2, None]


def test_s060_s062_who_says_nothing_is_disconnected_and_who_speaks_is_not(site: Server) -> None:
    assert soon(lambda: not any(one["server"].endswith("/two") for one in sessions(site)))
    idle, active = ([Line(site, f"{protocol}/two") for protocol in PROTOCOLS] for _ in range(2))
    for client in (*idle, *active):
        client.hear()
    began = time.monotonic()
    while time.monotonic() < began + 3.5:
        for client, protocol in zip(active, PROTOCOLS):
            client.say(ALIVE[protocol])
        time.sleep(0.4)
    for client, protocol in zip(idle, PROTOCOLS):
        # RFC 1939 section 3: a POP3 server says nothing.
        assert protocol == "pop3" or client.hear().startswith(REFUSAL[protocol])
        assert client.hear() == b""
        client.close()
    # Those still have their sessions.
    assert {one["server"] for one in sessions(site) if one["server"].endswith("/two")} == {
        f"{protocol}/two" for protocol in PROTOCOLS
    }
    for client in active:
        client.close()


# ---------------------------------------------------------------- sessions


def test_s063_s064_s065_the_list_shows_who_is_connected_to_which_server(site: Server) -> None:
    began = time.time()
    with inbox(site, ANNA) as anna, smtplib.SMTP("127.0.0.1", site.port("smtp/default"), "me.example") as other:
        anna.noop()
        other.ehlo("me.example")
        one, = sessions(site, "imap/default")
        assert (one["user"], one["peer"], one["state"], one["verb"]) == (ANNA, "127.0.0.1", "selected INBOX", "NOOP")
        assert (one["mechanism"], one["tls"]) == ("LOGIN", "") and one["octets_in"] > 40 < one["octets_out"]
        assert began - 5 < one["since"] < time.time() + 5 and 0 <= one["idle"] <= one["age"] < 60
        assert sessions(site, "imap/two") == sessions(site, peer="192.0.2.0/24") == []
        assert [one["server"] for one in sessions(site, peer="127.0.0.0/8")] == ["smtp/default", "imap/default"]
        told = json.loads(site.command("session", "list", "imap/default", "--user", ANNA, "--json").stdout)
        assert [one["user"] for one in told] == [ANNA]
        table = site.command("session", "list", "--peer", "127.0.0.1").stdout
        assert table.splitlines()[0].split()[:4] == ["ID", "SERVER", "USER", "PEER"]
        assert "127.0.0.1 (me.example)" in table and "selected INBOX" in table
        shown = site.command("session", "show", str(one["id"])).stdout
        assert f"user: {ANNA}" in shown and "helo: -" in shown
    assert soon(lambda: sessions(site, "imap/default") == [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s066_one_session_is_ended_at_once(site: Server, protocol: str) -> None:
    with Line(site, f"{protocol}/default") as one, Line(site, f"{protocol}/default") as two:
        one.hear(), two.hear()
        number = max(one["id"] for one in sessions(site, f"{protocol}/default"))
        began = time.monotonic()
        assert f"session {number} of nobody" in site.command("session", "terminate", str(number)).stdout
        assert two.hear().startswith(REFUSAL[protocol]) and two.hear() == b""
        assert time.monotonic() < began + 10
        one.say(ALIVE[protocol])
        assert one.hear()
    if protocol == "smtp":
        again = site.command("session", "terminate", str(number), check=False)
        assert again.returncode == 1 and f"there is no session {number} now" in again.stderr


def test_s067_all_sessions_of_a_server_or_of_a_user_are_ended_together(site: Server) -> None:
    with inbox(site, ANNA) as one, inbox(site, BO) as two:
        assert site.command("session", "terminate-user", ANNA).stdout == f"1 session of {ANNA} is ended\n"
        with pytest.raises(imaplib.IMAP4.abort):
            one.noop()
        assert two.noop()[0] == "OK"
        pop3 = poplib.POP3("127.0.0.1", site.port("pop3/default"), timeout=20)
        ended = site.command("session", "terminate-all", "imap/default").stdout
        assert ended == "1 session of imap/default is ended\n"
        with pytest.raises(imaplib.IMAP4.abort):
            two.noop()
        assert pop3.capa()
        pop3.quit()
        # The server goes on.
        with inbox(site, BO) as three:
            assert three.noop()[0] == "OK"


def test_s067_who_is_disabled_is_logged_out(site: Server) -> None:
    with inbox(site, BO) as client:
        site.command("user", "disable", BO)
        with pytest.raises(imaplib.IMAP4.abort):
            client.noop()
    site.command("user", "enable", BO)


def test_a_session_is_read_along_without_its_password(site: Server) -> None:
    client = imaplib.IMAP4("127.0.0.1", site.port("imap/default"), timeout=20)
    number = max(one["id"] for one in sessions(site, "imap/default"))
    line = [sys.executable, "-m", "mailsrv", "session", "transcript", "--config", str(site.config), str(number)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        try:
            assert soon(lambda: f"begins to read along in session {number}" in site.log())
            client.login(ANNA, PASSWORD)
            client.append("INBOX", "", "", b"Subject: x\r\n\r\nprivate\r\n")
            client.logout()
            out, err = reader.communicate(timeout=20)
        finally:
            reader.kill()
    texts = [line.partition(" ")[2] for line in out.splitlines()]
    assert reader.returncode == 0, err
    assert [text.partition(" ")[2] for text in texts if text.endswith("LOGIN ***")], out
    assert PASSWORD not in out and "private" not in out
    assert "C: (23 octets of a message)" in texts and "S: * BYE Logging out" in out
    assert out.splitlines()[-1].startswith("the session has ended; ")


# ---------------------------------------------------------------- counters


def test_s068_the_page_of_counters_has_the_load_of_every_server(site: Server) -> None:
    with inbox(site, ANNA), Line(site, "pop3/default") as pop3:
        pop3.hear()
        samples = read(page(site))
        imap = of_server(samples, "imap/default")
        load = imap["mailsrv_sessions"], imap["mailsrv_sessions_logged_in"], imap["mailsrv_server_running"]
        assert load == (1, 1, 1)
        assert of_server(samples, "pop3/default")["mailsrv_sessions"] == 1
        assert of_server(samples, "imap/two")["mailsrv_sessions"] == 0
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default")) as client:
        client.sendmail("you@example.com", [ANNA], b"Subject: x\r\n\r\nx\r\n")
    after = read(page(site))
    assert of_server(after, "smtp/default")["mailsrv_smtp_messages_received_total"] == 1
    assert after["mailsrv_store_commits_total", ()] > samples["mailsrv_store_commits_total", ()]
    assert after["mailsrv_reactor_lag_seconds_count", ()] >= 1
    assert after["process_resident_memory_bytes", ()] > 10_000_000


def test_the_page_of_counters_is_for_who_has_the_token(site: Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        page(site, "another token")
    assert TOKEN not in site.log()


def test_the_page_of_counters_goes_and_comes_with_its_option(site: Server) -> None:
    where = json.loads((site.data / "ready.json").read_text())["metrics"][0]
    with Client(site.data / "control.sock") as client:
        assert client.call("config.set", {"key": "metrics.listen", "value": "[]"})["result"]["applied"]
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://{where}/metrics", timeout=20)
        assert client.call("config.set", {"key": "metrics.listen", "value": '["127.0.0.1:0"]'})["result"]["applied"]
    # Counters go on; they are the servers', not the page's.
    assert soon(lambda: bool(json.loads((site.data / "ready.json").read_text())["metrics"]))
    assert of_server(read(page(site)), "imap/default")["mailsrv_connections_total"] > 0
