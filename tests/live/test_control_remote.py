"""Administration of a running site from elsewhere, by the command line (S-028, S-172, S-179); events, audit log."""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli.main import main
from mailsrv.host.control.client import Client, RemoteClient, Target
from tests.ports import free_ports

from .conftest import Server

pytestmark = pytest.mark.live

CONFIG = """
[site]
hostname = "mx.near.test"
domains = ["near.test"]
[control]
listen = ["127.0.0.1:0"]
[smtp.default]
listen = ["127.0.0.1:0"]
max_hops = 30
[imap.default]
listen = ["127.0.0.1:{imap}"]
[pop3.default]
listen = ["127.0.0.1:{pop3}"]
"""
Order = Callable[..., str]


def say(*words: str, status: int = 0) -> str:
    """Run a command in this process; what it says, on standard error when it fails."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        found = main(words)
    assert found == status, (words, out.getvalue(), errors.getvalue())
    return out.getvalue() if status == 0 else errors.getvalue()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    imap, pop3 = free_ports(2)
    made = Server(tmp_path_factory.mktemp("near"), CONFIG.format(imap=imap, pop3=pop3))
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


@pytest.fixture(scope="module")
def place(site: Server) -> str:
    """Where the site takes orders from elsewhere."""
    (found,) = json.loads((site.data / "ready.json").read_text())["remote"]
    return str(found)


def token(site: Server, name: str, role: str) -> Path:
    """The file with a new token."""
    file = site.folder / name
    file.write_text(say("token", "create", name, "--role", role, "--config", str(site.config)))
    return file


@pytest.fixture(scope="module")
def order(site: Server, place: str) -> Order:
    """Orders of an administrator elsewhere, who trusts the site's own certificate."""
    file = token(site, "admin", "administrator")
    way = "--site", place, "--token-file", str(file), "--fingerprint", fingerprint(site)
    return lambda *words, status=0: say(*way, *words, status=status)


def fingerprint(site: Server) -> str:
    """The SHA-256 of its certificate."""
    pem = (site.data / "tls" / "default.crt").read_text()
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_s028_the_life_of_servers_and_services_from_elsewhere(site: Server, order: Order) -> None:
    def states() -> dict[str, str]:
        return {one["name"]: one["state"] for one in json.loads(order("server", "list", "--json"))}

    order("server", "pause", "smtp/default")
    assert states() == {"smtp/default": "paused", "imap/default": "running", "pop3/default": "running"}
    order("server", "resume", "smtp/default")
    order("server", "stop", "pop3/default")
    assert states()["pop3/default"] == "stopped" and states()["smtp/default"] == "running"
    order("server", "start", "pop3/default")
    order("service", "pause", "imap")
    assert states()["imap/default"] == "paused"
    order("service", "resume", "imap")
    order("server", "restart", "imap/default")
    assert set(states().values()) == {"running"}
    assert "there is no server smtp/defalt" in order("server", "stop", "smtp/defalt", status=1)


def test_s028_whose_certificate_is_not_the_right_one_gets_no_token(site: Server, place: str) -> None:
    file = token(site, "shown", "auditor")
    way = "--site", place, "--token-file", str(file)
    assert "is not trusted: self-signed certificate" in say(*way, "status", status=3)
    assert f"whose SHA-256 is {fingerprint(site)}" in say(*way, "--fingerprint", "00" * 32, "status", status=3)
    # As its own authority it is trusted, for the host that it names.
    assert "token shown (" not in site.log()
    assert "running" in say(*way, "--ca", str(site.data / "tls" / "default.crt"), "status")


def test_s028_roles_and_the_end_of_a_token(site: Server, place: str) -> None:
    file = token(site, "looker", "auditor")
    way = "--site", place, "--token-file", str(file), "--fingerprint", fingerprint(site)
    assert "smtp/default" in say(*way, "server", "list")
    assert "token:looker may not server.stop" in say(*way, "server", "stop", "smtp/default", status=1)
    say("token", "revoke", "looker", "--config", str(site.config))
    assert "the token is not good here" in say(*way, "server", "list", status=1)


def test_s179_a_change_is_pushed_to_a_remote_site_and_its_state_is_seen(site: Server, order: Order) -> None:
    changed = json.loads(order("config", "set", "smtp.default.max_hops", "42", "--json"))
    assert changed["applied"] == ["smtp.default.max_hops"]
    assert "max_hops = 42" in site.config.read_text()
    assert "is in effect" in order("config", "status")
    assert order("config", "get", "smtp.default.max_hops").strip().endswith("42")
    (record,) = [one for one in audit(order) if one["operation"] == "config.set"]
    assert (record["who"], record["peer"], record["outcome"]) == ("token:admin", "127.0.0.1", "done")
    assert record["changed"] == ["smtp.default.max_hops"]


def test_s172_the_way_to_a_session_is_site_protocol_server_session(site: Server, order: Order) -> None:
    """The site is named by --site, then the protocol's service, the server as PROTOCOL/NAME, its sessions."""
    with socket.create_connection(("127.0.0.1", site.port("imap/default")), 5) as client:
        client.recv(1000)
        assert {"smtp", "imap", "pop3"} <= set(order("service", "status").split())
        assert [one["name"] for one in json.loads(order("server", "list", "--json"))][1] == "imap/default"
        assert "imap/default" in order("session", "list", "imap/default")
        assert "imap/default" not in order("session", "list", "pop3/default")


def audit(order: Order, *words: str) -> list[dict[str, Any]]:
    """Records of the audit log."""
    records: list[dict[str, Any]] = json.loads(order("audit", "list", "--json", *words))["records"]
    return records


def test_what_was_changed_is_in_the_audit_log_and_passwords_are_not(site: Server, order: Order) -> None:
    given = site.folder / "given"
    given.write_text("very secret words\n")
    order("user", "add", "anna@near.test", "--password-file", str(given))
    order("user", "disable", "nobody@near.test", status=1)
    order("user", "list")
    failed, added = audit(order, "--operation", "user", "--limit", "2")
    assert (added["operation"], added["outcome"], added["arguments"]) == (
        "user.add", "done", {"address": "anna@near.test"}
    )  # fmt: skip
    assert (failed["operation"], failed["outcome"]) == ("user.disable", "refused")
    assert audit(order, "--who", "token:nobody") == [] == audit(order, "--since", "2100-01-01")
    log = site.data / "audit.log"
    assert log.stat().st_mode & 0o777 == 0o600 and "very secret" not in log.read_text() + site.log()


def test_events_are_followed_as_they_happen(site: Server, place: str, order: Order) -> None:
    target = Target("127.0.0.1", int(place.rpartition(":")[2]), (site.folder / "admin").read_text().strip(),
                    fingerprint=fingerprint(site))  # fmt: skip
    got: list[dict[str, Any]] = []
    begun = threading.Event()

    def follow() -> None:
        """Until the configuration has changed."""
        with RemoteClient(target) as client:
            assert "result" in client.call("event.list")
            begun.set()
            for event in client.stream("event.follow", {"kinds": ["session", "server", "config"]}):
                got.append(event)
                if event["kind"] == "config.applied":
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert begun.wait(60)
    until = time.monotonic() + 60
    while not _followed(site, got):
        assert time.monotonic() < until
    order("server", "pause", "pop3/default")
    order("server", "resume", "pop3/default")
    order("config", "set", "smtp.default.max_hops", "43")
    thread.join(60)
    assert {event["kind"] for event in got} == {"session.begun", "session.ended", "server.state", "config.applied"}
    states = [(event["server"], event["state"]) for event in got if event["kind"] == "server.state"]
    assert states == [("pop3/default", "paused"), ("pop3/default", "running")]
    assert got[-1]["keys"] == ["smtp.default.max_hops"]


def _followed(site: Server, got: list[dict[str, Any]]) -> bool:
    """Connect until that is heard of: then somebody follows."""
    with socket.create_connection(("127.0.0.1", site.port("pop3/default")), 5) as client:
        client.recv(1000)
    time.sleep(0.05)
    return len(got) >= 2


def test_mailsrv_log_prints_lines_and_ends_with_the_server(site: Server) -> None:
    line = [sys.executable, "-m", "mailsrv", "log", "--kind", "session", "--config", str(site.config)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as log:
        try:
            assert log.stdout is not None
            lines: list[str] = []
            reader = threading.Thread(target=lambda: lines.append(log.stdout.readline()), daemon=True)  # type: ignore[union-attr]
            reader.start()
            until = time.monotonic() + 60
            while reader.is_alive() and time.monotonic() < until:
                with socket.create_connection(("127.0.0.1", site.port("pop3/default")), 5) as client:
                    client.recv(1000)
                reader.join(0.1)
        finally:
            log.terminate()
    # It may come between the two of one client.
    assert re.search(r" session\.(begun|ended) server=pop3/default session=\d+ peer=127\.0\.0\.1", lines[0])


def test_an_answer_comes_at_once(site: Server) -> None:
    with Client(site.data / "control.sock") as client:
        times = []
        for _ in range(20):
            began = time.perf_counter()
            assert "result" in client.call("site.status")
            times.append(time.perf_counter() - began)
    assert min(times) < 0.05
