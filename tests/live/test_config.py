"""The configuration of a running site, through the command line: set, applied, taken back (S-015, S-016, S-179, S-180).

The commands run in this process: what they say is what a terminal shows.
"""

from __future__ import annotations

import json
import poplib
import signal
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli.main import main
from tests.ports import free_ports

from .conftest import Server

pytestmark = pytest.mark.live

CONFIG = """\
# A site for tests.
[site]
hostname = "mx.example.test"
domains = ["example.test"]  # ours
[access.office]
list = ["192.0.2.0/24"]
[smtp.default]
listen = ["127.0.0.1:0"]
max_hops = 20  # loops
[imap.default]
listen = ["127.0.0.1:0"]
[pop3.default]
listen = ["127.0.0.1:0"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = CONFIG
    for _ in range(3):
        config = config.replace("127.0.0.1:0", f"127.0.0.1:{free_port()}", 1)
    made = Server(tmp_path_factory.mktemp("config"), config)
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


Say = Callable[..., str]


@pytest.fixture
def say(site: Server, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command prints; `status` is how it must end."""

    def run(*words: str, status: int = 0) -> str:
        assert main([*words[:2], "--config", str(site.config), *words[2:]]) == status, capsys.readouterr()
        told = capsys.readouterr()
        return told.out + told.err

    return run


@pytest.fixture(autouse=True)
def as_it_was(site: Server, say: Say) -> Iterator[None]:
    """Each test leaves the site as the first one found it."""
    yield
    kept = json.loads(say("config", "versions", "--json"))
    if kept:
        say("config", "rollback", str(kept[-1]["number"]))


def soon(test: Callable[[], bool]) -> bool:
    """Whether it becomes so within some seconds."""
    until = time.monotonic() + 60
    while not test():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    return free_ports(1)[0]


def greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        return client.recv(1000)


def ehlo(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.recv(1000)
        client.sendall(b"EHLO c.example\r\n")
        return client.recv(4000)


def test_s180_a_key_is_set_in_the_file_and_in_effect_at_once(site: Server, say: Say) -> None:
    port = site.port("smtp/default")
    assert "in effect: smtp.default.max_message_size" in say("config", "set", "smtp.default.max_message_size", "3M")
    assert b"SIZE 3145728" in ehlo(port)
    text = site.config.read_text()
    assert 'max_message_size = "3M"' in text and "# A site for tests." in text and "max_hops = 20  # loops" in text
    say("config", "unset", "smtp.default.max_message_size")
    assert b"SIZE 52428800" in ehlo(port)


def test_s180_an_open_session_goes_on_as_it_began(site: Server, say: Say) -> None:
    with socket.create_connection(("127.0.0.1", site.port("imap/default")), timeout=10) as client:
        assert client.recv(1000).startswith(b"* OK")
        say("config", "set", "imap.default.max_connections", "1")
        client.sendall(b"a NOOP\r\n")
        assert client.recv(1000).startswith(b"a OK")
        # Whoever comes now goes by the new limit.
        assert b"Too many connections" in greeting(site.port("imap/default"))


def test_s016_a_binding_moves_while_the_server_runs_and_its_sessions_go_on(site: Server, say: Say) -> None:
    old, new = site.port("pop3/default"), free_port()
    with socket.create_connection(("127.0.0.1", old), timeout=10) as client:
        assert client.recv(1000).startswith(b"+OK")
        say("config", "set", "pop3.default.listen", f'["127.0.0.1:{new}"]')
        assert greeting(new).startswith(b"+OK")
        with pytest.raises(ConnectionRefusedError):
            greeting(old)
        client.sendall(b"CAPA\r\n")
        assert client.recv(1000).startswith(b"+OK")


def test_s031_entries_are_added_and_removed_one_by_one(site: Server, say: Say) -> None:
    first, second = free_port(), free_port()
    say("config", "set", "imap.default.listen", f'["127.0.0.1:{first}", "127.0.0.1:{second}"]')
    assert greeting(first).startswith(b"* OK") and greeting(second).startswith(b"* OK")
    say("config", "set", "imap.default.listen", f'["127.0.0.1:{second}"]')
    assert greeting(second).startswith(b"* OK")
    with pytest.raises(ConnectionRefusedError):
        greeting(first)


def test_two_servers_change_their_ports(site: Server, say: Say, tmp_path: Path) -> None:
    one, other = free_port(), free_port()
    text = site.config.read_text()
    pop3, imap = f'["127.0.0.1:{one}"]', f'["127.0.0.1:{other}"]'
    say("config", "set", "pop3.default.listen", pop3)
    say("config", "set", "imap.default.listen", imap)
    swapped = tmp_path / "swapped.toml"
    text = site.config.read_text()
    swapped.write_text(text.replace(pop3, "X").replace(imap, pop3).replace("X", imap))
    say("config", "put", str(swapped))
    assert greeting(one).startswith(b"* OK") and greeting(other).startswith(b"+OK")


def test_s032_a_binding_of_another_server_is_refused_and_nothing_has_changed(site: Server, say: Say) -> None:
    port = free_port()
    say("config", "set", "pop3.default.listen", f'["127.0.0.1:{port}"]')
    told = say("config", "set", "imap.default.listen", f'["127.0.0.1:{port}"]', status=1)
    assert "pop3.default.listen" in told and "is a binding of imap/default already" in told
    assert greeting(port).startswith(b"+OK") and greeting(site.port("imap/default")).startswith(b"* OK")


def test_s014_a_binding_that_another_process_has_is_refused_and_the_old_one_stays(site: Server, say: Say) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        before = site.config.read_text()
        told = say("config", "set", "pop3.default.listen", f'["127.0.0.1:{other.getsockname()[1]}"]', status=1)
    assert "another process has this port" in told and "pop3.default.listen" in told
    assert site.config.read_text() == before and greeting(site.port("pop3/default")).startswith(b"+OK")


def test_s015_servers_come_and_go_with_the_file(site: Server, say: Say) -> None:
    port = free_port()
    text = site.config.read_text()
    site.config.write_text(text + f'[smtp.second]\nlisten = ["127.0.0.1:{port}"]\nhostname = "two.example.test"\n')
    assert "edited and not taken up" in say("config", "status")
    assert "in effect: smtp.second (" in say("config", "apply")
    assert greeting(port).startswith(b"220 two.example.test")
    site.config.write_text(text)
    say("config", "apply")
    with pytest.raises(ConnectionRefusedError):
        greeting(port)
    assert "smtp/second" not in say("server", "list")


def test_s014_a_page_of_counters_that_cannot_be_had_is_told_and_tried_again(site: Server, say: Say) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = say("config", "set", "metrics.listen", f'["127.0.0.1:{port}"]')
        assert f"mailsrv: metrics: cannot listen on 127.0.0.1:{port}: another process" in told
        assert f"metrics: stopped (cannot listen on 127.0.0.1:{port}: another process" in say("status")
    assert "another process" not in say("config", "apply")
    assert f"metrics: running (127.0.0.1:{port})" in say("status")


def test_who_reads_ready_json_knows_what_runs_now(site: Server, say: Say) -> None:
    def told() -> list[str]:
        facts = json.loads((site.data / "ready.json").read_text())["servers"]["imap/default"]
        return [facts["state"], *facts["addresses"]]

    (address,) = told()[1:]
    say("server", "stop", "imap/default")
    assert soon(lambda: told() == ["stopped"])
    say("server", "pause", "smtp/default")
    say("server", "start", "imap/default")
    say("server", "resume", "smtp/default")
    assert soon(lambda: told() == ["running", address])


def test_access_lists_relay_and_domains_are_live(site: Server, say: Say) -> None:
    port = site.port("smtp/default")
    say("config", "set", "smtp.default.access", "office")
    say("config", "set", "access.office.list", '["127.0.0.1"]')
    assert greeting(port).startswith(b"554 ")
    say("config", "set", "access.office.list", '["192.0.2.0/24"]')
    assert greeting(port).startswith(b"220 ")
    client = smtplib.SMTP("127.0.0.1", port, "c.example", timeout=10)
    client.ehlo()
    client.mail("a@b.example")
    assert client.rcpt("x@elsewhere.example")[0] == 550
    # Relay lists and local domains hold for sessions that are open.
    say("config", "set", "access.us.mode", "only")
    say("config", "set", "access.us.list", '["127.0.0.0/8"]')
    say("config", "set", "smtp.default.relay", "us")
    assert client.rcpt("x@elsewhere.example")[0] == 250
    say("domain", "add", "more.example")
    assert client.rcpt("nobody@more.example")[1].startswith(b"5.1.1")
    client.close()


def test_s097_servers_of_names_and_s132_the_folder_of_bad_mail_change(site: Server, say: Say, tmp_path: Path) -> None:
    told = say("config", "set", "smtp.default.delivery.dns_servers", '["127.0.0.1"]')
    told += say("config", "set", "smtp.default.delivery.badmail", str(tmp_path / "bad"))
    assert "at the next start" not in told and told.count("in effect: smtp.default.delivery") == 2


def test_a_policy_that_is_named_holds_for_new_connections(site: Server, say: Say) -> None:
    say("config", "set", "policy.slow.use", "rates")
    say("config", "set", "policy.slow.connections_per_address", "1")
    say("config", "set", "smtp.default.policies", '["slow"]')
    port = site.port("smtp/default")
    assert greeting(port).startswith(b"220 ")
    assert greeting(port).startswith(b"4")
    # What a policy has counted is not forgotten by a change of something else.
    say("config", "set", "smtp.default.max_hops", "25")
    assert greeting(port).startswith(b"4")


def test_what_waits_for_the_next_start_says_so(site: Server, say: Say) -> None:
    assert "at the next start: site.control" in say("config", "set", "site.control", "data/other.sock")
    assert "wait for the next start:\nsite.control" in say("config", "status")
    say("config", "unset", "site.control")
    assert "is in effect" in say("config", "status")


def test_s179_a_change_is_taken_back_unless_it_is_confirmed(site: Server, say: Say) -> None:
    before = site.config.read_text()
    told = say("config", "set", "smtp.default.max_hops", "99", "--confirm", "5s")
    assert "taken back after 5s" in told and "confirm" in say("config", "set", "limits.quota", "5M", status=1)
    for _ in range(100):
        if site.config.read_text() == before:
            break
        time.sleep(0.1)
    assert site.config.read_text() == before
    say("config", "set", "smtp.default.max_hops", "98", "--confirm", "60s")
    say("config", "confirm")
    assert "max_hops = 98  # loops" in site.config.read_text()
    say("config", "rollback")
    assert site.config.read_text() == before


def test_who_has_read_another_version_may_not_change_it(site: Server, say: Say) -> None:
    facts: dict[str, Any] = json.loads(say("config", "set", "smtp.default.max_hops", "31", "--json"))
    words = "config", "set", "smtp.default.max_hops", "32", "--if-version"
    assert "changed meanwhile" in say(*words, "0" * 16, status=1)
    say(*words, facts["version"])


def test_mistakes_say_what_to_do(site: Server, say: Say) -> None:
    assert "did you mean" in say("config", "set", "smtp.default.max_hop", "30", status=1)
    assert "256" in say("config", "set", "smtp.default.max_hops", "3000", status=1)
    assert "is no key" in say("config", "set", "smtp default", "3", status=1)
    assert "no version 4711" in say("config", "rollback", "4711", status=1)
    assert "not in the file" in say("config", "unset", "smtp.default.max_recipients", status=1)
    assert "stop it, move the folder" in say("config", "set", "site.data", "elsewhere", status=1)
    assert not site.config.with_name("elsewhere").exists() and "is in effect" in say("config", "status")


def test_a_key_is_explained(site: Server, say: Say) -> None:
    told = say("config", "explain", "smtp.default.max_hops")
    assert "S-080" in told and "default: 30" in told and "mailsrv.toml:" in told and "at once" in told
    assert "at the next start" in say("config", "explain", "site.data")


def test_s164_a_format_holds_for_new_log_ins_and_who_is_logged_in_goes_on(site: Server, say: Say) -> None:
    site.command("user", "add", "reader@example.test", given="correct horse\n")
    page = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>one <b>two</b></p>\r\n"
    with smtplib.SMTP("127.0.0.1", site.port("smtp/default"), "c.example", timeout=10) as client:
        client.sendmail("a@b.example", ["reader@example.test"], page)
    say("config", "set", "pop3.default.login_without_tls", "true")
    say("config", "set", "pop3.default.maildrop_lock", "false")

    def opened() -> poplib.POP3:
        made = poplib.POP3("127.0.0.1", site.port("pop3/default"), timeout=10)
        made.user("reader@example.test")
        made.pass_("correct horse")
        return made

    before = opened()
    assert "in effect: pop3.default.format.body" in say("config", "set", "pop3.default.format.body", "text")
    after = opened()
    assert b"<b>" in b"\n".join(before.retr(1)[1])
    shown = b"\n".join(after.retr(1)[1])
    assert b"text/plain" in shown and b"<b>" not in shown
    before.quit()
    after.quit()


def test_s179_a_change_that_nobody_confirmed_is_taken_back_after_a_kill_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Server(tmp_path, CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{free_port()}", 1))
    made.start()
    before = made.config.read_text()
    words = "config", "set", "--config", str(made.config), "smtp.default.max_hops", "77", "--confirm", "5s"
    assert main(words) == 0 and "max_hops = 77" in made.config.read_text()
    made.stop(signal.SIGKILL)
    made.start()
    for _ in range(200):
        if made.config.read_text() == before:
            break
        time.sleep(0.05)
    assert made.config.read_text() == before
    assert main(["audit", "list", "--config", str(made.config)]) == 0
    assert "nobody confirmed" in capsys.readouterr().out
    made.stop()
    assert "Traceback" not in made.log()
