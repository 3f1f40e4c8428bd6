"""Starting, stopping, pausing servers and services by command (rows S-012 to S-033 of the Exchange 2003 model)."""

from __future__ import annotations

import imaplib
import io
import json
import poplib
import smtplib
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli.main import main
from tests.ports import free_ports

from .conftest import Server
from .messages import REAL, without_trace
from .postfix import until

pytestmark = pytest.mark.live

#: Every name uN has a mailbox, and one password opens all.  Mail for far.test goes to smtp/far: a site sends no mail to
#: itself, so smtp/far belongs to another site.
CONFIG = """
[site]
hostname = "mx.near.test"
domains = ["near.test"]
[auth]
use = ["any", "directory"]
[auth.any]
password_file = "password"
[access.here]
mode = "only"
list = ["127.0.0.1", "127.0.0.2"]
[routes."far.test"]
host = ["127.0.0.1"]
port = {far}
[service.imap]
startup = "manual"
[smtp.one]
listen = ["127.0.0.1:{one}"]
relay = "here"
[smtp.one.delivery]
retry = ["1s"]
[smtp.two]
listen = ["127.0.0.2:{shared}"]
[smtp.three]
listen = ["*:{shared}", "unix:three"]
[smtp.hand]
startup = "manual"
listen = ["127.0.0.1:0"]
[imap.default]
startup = "automatic"
login_without_tls = true
listen = ["127.0.0.1:{imap}"]
[imap.hand]
listen = ["127.0.0.1:0"]
[pop3.default]
login_without_tls = true
listen = ["127.0.0.1:{pop3}"]
"""
FAR = """
[site]
hostname = "mx.far.test"
domains = ["far.test"]
[auth]
use = ["any", "directory"]
[auth.any]
password_file = "password"
[smtp.default]
listen = ["127.0.0.1:{far}"]
[imap.default]
login_without_tls = true
listen = ["127.0.0.1:0"]
"""
REFUSED = "refused"


class Near(Server):
    """The site under test; `ports` by name."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        super().__init__(folder, CONFIG.format(**ports))
        self.ports = ports

    def order(self, *words: str) -> str:
        """What a command says."""
        return order(self, *words)

    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.all().items()}

    def all(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads(self.order("server", "list", "--json"))}

    def refusal(self, *words: str) -> str:
        """What a command says that is not obeyed."""
        status, said, why = command(self, *words)
        assert status == 1, (words, said)
        return why


def command(site: Server, *words: str) -> tuple[int, str, str]:
    """Run a command of `mailsrv` in this process, which is much quicker than in one of its own."""
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        status = main([*words, "--config", str(site.config)])
    return status, out.getvalue(), errors.getvalue()


def order(site: Server, *words: str) -> str:
    """What a command of any site says."""
    status, said, why = command(site, *words)
    assert status == 0, (words, said, why)
    return said


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("far")
    (folder / "password").write_text("secret\n")
    made = Server(folder, FAR.format(far=free_ports(1)[0]))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, far: Server) -> Iterator[Near]:
    folder = tmp_path_factory.mktemp("near")
    (folder / "password").write_text("secret\n")
    ports = dict(zip(("one", "shared", "imap", "pop3"), free_ports(4), strict=True))
    made = Near(folder, {**ports, "far": far.port("smtp/default")})
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log(), made.log()


@pytest.fixture
def site(started: Near) -> Iterator[Near]:
    """As it begins: all that is automatic runs."""
    yield started
    for name, state in started.states().items():
        wanted = "stopped" if name.endswith("/hand") else "running"
        if state != wanted:
            started.order("service", "start", name.partition("/")[0])
            started.order("server", "stop" if wanted == "stopped" else "start", name)


def greeting(host: str, port: int) -> str:
    """The first line of a server; "" when it closes at once, REFUSED when it is not there."""
    try:
        with socket.create_connection((host, port), timeout=20) as client:
            return client.makefile("rb").readline().decode()
    except ConnectionRefusedError:
        return REFUSED
    except ConnectionResetError:
        return ""


def squeezed(text: str) -> list[str]:
    """The lines that say something."""
    return [line for line in text.splitlines() if line]


def send(client: smtplib.SMTP, recipient: str) -> None:
    assert client.sendmail("you@near.test", [recipient], REAL, ["BODY=8BITMIME"]) == {}


def queued(site: Near) -> int:
    return len(json.loads(site.order("queue", "list", "--json"))["rows"])


def arrived(far: Server, user: str) -> list[bytes]:
    """What there is for somebody at the other site."""
    with imaplib.IMAP4("127.0.0.1", far.port("imap/default"), timeout=20) as client:
        client.login(f"{user}@far.test", "secret")
        count = int(client.select()[1][0] or 0)
        return [client.fetch(str(at + 1), "(RFC822)")[1][0][1] for at in range(count)]  # type: ignore[index, misc]


# ---------------------------------------------------------------- one server


def test_s_017_s_018_each_server_is_stopped_and_started_alone(site: Near) -> None:
    said = site.order("server", "stop", "smtp/one")
    assert said == "smtp/one is stopped (by hand)\n"
    assert greeting("127.0.0.1", site.ports["one"]) == REFUSED
    assert greeting("127.0.0.2", site.ports["shared"]).startswith("220 ")
    assert greeting("127.0.0.1", site.ports["imap"]).startswith("* OK")
    assert site.order("server", "start", "smtp/one") == f"smtp/one is running: 127.0.0.1:{site.ports['one']}\n"
    assert greeting("127.0.0.1", site.ports["one"]).startswith("220 ")


def test_s_018_a_stopped_server_ends_its_sessions_and_sends_nothing_of_its_queue(site: Near, far: Server) -> None:
    with smtplib.SMTP("127.0.0.1", site.ports["one"], timeout=20) as client:
        client.ehlo()
        order(far, "server", "stop", "smtp/default")
        send(client, "u18@far.test")
        site.order("server", "stop", "smtp/one")
        assert client.sock.recv(100).startswith(b"421 ") and client.sock.recv(100) == b""
        client.close()
    order(far, "server", "start", "smtp/default")
    site.order("queue", "retry", "--all")
    assert "smtp/one does not run: its mail waits until it is started" in site.order("queue", "list")
    time.sleep(1.5)  # it is due now, and would be gone
    assert queued(site) == 1 and arrived(far, "u18") == []
    site.order("server", "start", "smtp/one")
    until(lambda: arrived(far, "u18"), site.log)
    until(lambda: not queued(site), site.log)


def test_s_019_s_021_s_022_a_paused_smtp_server(site: Near, far: Server) -> None:
    order(far, "server", "stop", "smtp/default")
    with smtplib.SMTP("127.0.0.1", site.ports["one"], timeout=20) as client:
        client.ehlo()
        send(client, "u22@far.test")
        said = site.order("server", "pause", "smtp/one")
        assert said == f"smtp/one is paused (by hand): 127.0.0.1:{site.ports['one']}\n"
        assert greeting("127.0.0.1", site.ports["one"]) == REFUSED
        # What is queued is delivered (S-022), and a session that was there goes on submitting (S-021).
        assert queued(site) == 1
        order(far, "server", "start", "smtp/default")
        site.order("queue", "retry", "--all")
        until(lambda: len(arrived(far, "u22")) == 1, site.log)
        send(client, "u22@far.test")
        until(lambda: len(arrived(far, "u22")) == 2, site.log)
        assert without_trace(arrived(far, "u22")[1]).endswith(REAL[-200:])
        assert site.states()["smtp/one"] == "paused" and site.all()["smtp/one"]["connections"] == 1
        site.order("server", "resume", "smtp/one")
        assert greeting("127.0.0.1", site.ports["one"]).startswith("220 ")
        assert client.noop()[0] == 250


def test_s_019_s_020_paused_imap_and_pop3_servers_keep_their_sessions(site: Near) -> None:
    with smtplib.SMTP("127.0.0.1", site.ports["one"], timeout=20) as client:
        send(client, "u20@near.test")
    with imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=20) as reader:
        reader.login("u20@near.test", "secret")
        maildrop = poplib.POP3("127.0.0.1", site.ports["pop3"], timeout=20)
        maildrop.user("u20@near.test")
        maildrop.pass_("secret")
        for name in ("imap", "pop3"):
            site.order("server", "pause", f"{name}/default")
            assert greeting("127.0.0.1", site.ports[name]) == REFUSED
        reader.select()
        body = reader.fetch("1", "(RFC822)")[1][0][1]  # type: ignore[index]
        assert without_trace(body) == REAL  # type: ignore[arg-type]
        assert b"\r\n".join(maildrop.retr(1)[1]) + b"\r\n" == body
        maildrop.quit()
    for name in ("imap", "pop3"):
        site.order("server", "resume", f"{name}/default")
    assert greeting("127.0.0.1", site.ports["imap"]).startswith("* OK")


def test_s_013_servers_started_by_hand_wait_for_it(site: Near) -> None:
    found = site.all()
    for name in ("smtp/hand", "imap/hand"):
        assert found[name]["state"] == "stopped" and found[name]["reason"] in ('startup = "manual"', "by hand")
    assert found["imap/default"]["state"] == "running"
    site.order("server", "start", "imap/hand")
    (address,) = site.all()["imap/hand"]["addresses"]
    assert greeting("127.0.0.1", int(address.rpartition(":")[2])).startswith("* OK")


def test_s_014_s_033_a_server_whose_address_is_taken_starts_when_it_is_free(site: Near) -> None:
    site.order("server", "stop", "smtp/one")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", site.ports["one"]))
        other.listen()
        said = site.refusal("server", "start", "smtp/one")
        assert "smtp/one stays stopped: cannot listen on" in said and "another process has this port" in said
        assert "another process has this port" in site.all()["smtp/one"]["reason"]
    assert site.order("server", "start", "smtp/one").startswith("smtp/one is running")


def test_orders_that_make_no_sense_say_what_to_do(site: Near) -> None:
    assert '(did you mean "smtp/one"?)' in site.refusal("server", "stop", "smtp/on")
    site.order("server", "stop", "smtp/one")
    for word in ("pause", "resume"):
        assert "`mailsrv server start smtp/one` starts it" in site.refusal("server", word, "smtp/one")
    assert 'there is no service smpt (did you mean "smtp"?)' in site.refusal("service", "stop", "smpt")


def test_s_026_restart_is_stop_a_short_pause_and_start(site: Near) -> None:
    with smtplib.SMTP("127.0.0.1", site.ports["one"], timeout=20) as client:
        client.ehlo()
        began = time.monotonic()
        assert site.order("server", "restart", "smtp/one").startswith("smtp/one is running")
        assert time.monotonic() - began > 0.5
        assert client.sock.recv(100).startswith(b"421 ")
        client.close()
    assert greeting("127.0.0.1", site.ports["one"]).startswith("220 ")


# ---------------------------------------------------------------- making and removing


def test_s_012_s_013_a_server_is_made_from_name_and_address_and_starts(site: Near) -> None:
    before = site.config.read_text()
    (port,) = free_ports(1)
    said = site.order("server", "create", "smtp/new", "--title", "A new one", "--listen", f"127.0.0.1:{port}")
    assert said == f"smtp/new is running: 127.0.0.1:{port}\n"
    assert greeting("127.0.0.1", port).startswith("220 mx.near.test ")
    table = f'[smtp.new]\ntitle = "A new one"\nlisten = ["127.0.0.1:{port}"]\n'
    assert squeezed(site.config.read_text().replace(table, "")) == squeezed(before)
    assert site.all()["smtp/new"]["title"] == "A new one"
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        send(client, "u12@near.test")
        assert site.order("server", "delete", "smtp/new") == "smtp/new is deleted\n"
        assert client.sock.recv(100).startswith(b"421 ")
        client.close()
    assert greeting("127.0.0.1", port) == REFUSED and "smtp/new" not in site.states()
    assert squeezed(site.config.read_text()) == squeezed(before)
    # By its service it is started by hand.
    said = site.order("server", "create", "imap/new", "--listen", "127.0.0.1:0")
    assert said == 'imap/new is stopped (startup = "manual")\n'
    site.order("server", "delete", "imap/new")


@pytest.mark.parametrize("name, role, port", [
    ("smtp/new", "", 25), ("smtp/new", "submission", 587), ("smtp/new", "lmtp", 24), ("imap/new", "", 143),
    ("pop3/new", "", 110),
])
def test_s_007_s_012_s_149_s_153_an_address_alone_gets_the_usual_port(
    site: Near, name: str, role: str, port: int
) -> None:
    site.order("service", "stop", name.partition("/")[0])  # nobody needs the right to this port
    more = ["--role", role] if role else []
    site.order("server", "create", name, "--listen", "127.0.0.9", "--listen", "::1", *more)
    assert site.all()[name]["bindings"] == [f"127.0.0.9:{port}", f"[::1]:{port}"]
    site.order("server", "delete", name)


def test_s_014_a_new_server_whose_port_is_taken_exists_and_is_started_elsewhere(site: Near) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        said = site.order("server", "create", "pop3/new", "--listen", f"127.0.0.1:{taken}")
        assert said.startswith("pop3/new is stopped (cannot listen on") and "another process has this port" in said
        (free,) = free_ports(1)
        site.order("config", "set", "pop3.new.listen", f'["127.0.0.1:{free}"]')
        assert site.order("server", "start", "pop3/new") == f"pop3/new is running: 127.0.0.1:{free}\n"
        assert greeting("127.0.0.1", free).startswith("+OK")
    site.order("server", "delete", "pop3/new")


def test_s_032_a_pair_of_another_server_is_refused_with_its_name(site: Near) -> None:
    before, port = site.config.read_text(), site.ports["one"]
    said = site.refusal("server", "create", "pop3/new", "--listen", f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port} is a binding of smtp/one already" in said
    # The same port at another address is free.
    assert "running" in site.order("server", "create", "pop3/new", "--listen", f"127.0.0.5:{port}")
    assert "there is a server pop3/new already" in site.refusal("server", "create", "pop3/new")
    site.order("server", "delete", "pop3/new")
    assert squeezed(site.config.read_text()) == squeezed(before)
    assert "no name of a server" in site.refusal("server", "create", "nntp/new")
    assert "is no role" in site.refusal("server", "create", "imap/new", "--role", "lmtp")


def test_s_033_an_address_of_another_machine_is_told_and_harms_nobody(site: Near) -> None:
    said = site.order("server", "create", "smtp/new", "--listen", "192.0.2.1:0")
    assert "is stopped (cannot listen on 192.0.2.1:0: this machine has no such address" in said
    assert greeting("127.0.0.1", site.ports["one"]).startswith("220 ")
    site.order("server", "delete", "smtp/new")


def test_a_server_with_mail_in_the_queue_is_removed_by_force_alone(site: Near, far: Server) -> None:
    (port,) = free_ports(1)
    site.order("server", "create", "smtp/new", "--listen", f"127.0.0.1:{port}")
    site.order("config", "set", "smtp.new.relay", "here")
    order(far, "server", "stop", "smtp/default")
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        send(client, "u9@far.test")
    until(lambda: queued(site), site.log)
    said = site.refusal("server", "delete", "smtp/new")
    assert "1 rows of the queue are mail that smtp/new has accepted" in said and "by the rules of smtp/one" in said
    assert "by the rules of the first SMTP server" in site.order("server", "delete", "smtp/new", "--force")
    order(far, "server", "start", "smtp/default")
    site.order("queue", "retry", "--all")
    until(lambda: arrived(far, "u9"), site.log)
    until(lambda: not queued(site), site.log)


def test_s_016_s_031_address_and_port_are_changed_while_it_runs(site: Near) -> None:
    first, second = site.ports["one"], free_ports(1)[0]
    with smtplib.SMTP("127.0.0.1", first, timeout=20) as client:
        site.order("config", "set", "smtp.one.listen", f'["127.0.0.1:{first}", "127.0.0.1:{second}"]')
        assert all(greeting("127.0.0.1", port).startswith("220 ") for port in (first, second))
        site.order("config", "set", "smtp.one.listen", f'["127.0.0.1:{second}"]')
        assert greeting("127.0.0.1", first) == REFUSED and greeting("127.0.0.1", second).startswith("220 ")
        # While paused too.
        site.order("server", "pause", "smtp/one")
        site.order("config", "set", "smtp.one.listen", f'["127.0.0.1:{first}"]')
        assert greeting("127.0.0.1", first) == greeting("127.0.0.1", second) == REFUSED
        site.order("server", "resume", "smtp/one")
        assert greeting("127.0.0.1", first).startswith("220 ")
        assert client.noop()[0] == 250
    with socket.socket() as other:
        other.bind(("127.0.0.1", second))
        other.listen()
        said = site.refusal("config", "set", "smtp.one.listen", f'["127.0.0.1:{second}"]')
        assert "another process has this port" in said
        assert greeting("127.0.0.1", first).startswith("220 ")


def test_s_016_two_servers_change_places(site: Near) -> None:
    one, two = site.ports["one"], site.ports["pop3"]
    before = site.config.read_text()
    for first, second in ((two, one), (one, two)):
        text = site.config.read_text().replace(f"127.0.0.1:{second}", "FIRST").replace(f"127.0.0.1:{first}", "SECOND")
        site.config.write_text(text.replace("FIRST", f"127.0.0.1:{first}").replace("SECOND", f"127.0.0.1:{second}"))
        site.order("config", "apply")
        assert greeting("127.0.0.1", first).startswith("220 ") and greeting("127.0.0.1", second).startswith("+OK")
    assert site.config.read_text() == before


# ---------------------------------------------------------------- addresses


def test_s_029_s_030_a_server_of_all_addresses_leaves_others_theirs(site: Near) -> None:
    port = site.ports["shared"]

    def rows(host: str) -> list[str]:
        """The server at which a client is."""
        with smtplib.SMTP(host, port, timeout=20):
            return [one["server"] for one in json.loads(site.order("session", "list", "--json"))]

    assert rows("127.0.0.2") == ["smtp/two"]
    assert rows("127.0.0.1") == rows("127.0.0.3") == ["smtp/three"]
    for word in ("pause", "stop"):
        site.order("server", word, "smtp/two")
        assert greeting("127.0.0.2", port) in ("", REFUSED)
        assert rows("127.0.0.1") == ["smtp/three"]
    site.order("server", "start", "smtp/two")
    for word in ("pause", "stop"):
        site.order("server", word, "smtp/three")
        assert greeting("127.0.0.1", port) in ("", REFUSED)
        assert rows("127.0.0.2") == ["smtp/two"]
    site.order("server", "start", "smtp/three")
    assert rows("127.0.0.1") == ["smtp/three"]


def test_a_unix_socket_is_paused_by_closing_what_comes(site: Near) -> None:
    def said() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(site.folder / "three"))
            return client.makefile("rb").readline()

    assert said().startswith(b"220 ")
    site.order("server", "pause", "smtp/three")
    assert said() == b""
    site.order("server", "stop", "smtp/three")
    assert not (site.folder / "three").exists()
    site.order("server", "restart", "smtp/three")
    assert said().startswith(b"220 ")


# ---------------------------------------------------------------- services


def smtp_states(site: Near) -> list[str]:
    found = site.states()
    return [found[f"smtp/{name}"] for name in ("one", "two", "three", "hand")]


def test_s_023_s_024_s_025_a_service_stops_all_its_servers_and_starts_those_that_ran(site: Near) -> None:
    site.order("server", "stop", "smtp/two")
    site.order("server", "pause", "smtp/three")
    said = site.order("service", "stop", "smtp")
    assert "smtp          stopped\n" in said and "smtp/one    stopped  the smtp service is stopped\n" in said
    assert smtp_states(site) == ["stopped"] * 4
    assert greeting("127.0.0.1", site.ports["one"]) == REFUSED
    assert greeting("127.0.0.1", site.ports["imap"]).startswith("* OK")
    # While the service is stopped no server of it starts.
    assert "`mailsrv service start smtp` starts it" in site.refusal("server", "start", "smtp/one")
    site.order("service", "start", "smtp")
    assert smtp_states(site) == ["running", "stopped", "paused", "stopped"]
    assert site.all()["smtp/two"]["reason"] == "by hand"


def test_s_024_a_stopped_service_delivers_nothing(site: Near, far: Server) -> None:
    order(far, "server", "stop", "smtp/default")
    with smtplib.SMTP("127.0.0.1", site.ports["one"], timeout=20) as client:
        send(client, "u24@far.test")
    until(lambda: queued(site), site.log)
    site.order("service", "stop", "smtp")
    order(far, "server", "start", "smtp/default")
    site.order("queue", "retry", "--all")
    time.sleep(1.5)  # it is due now, and would be gone
    assert queued(site) == 1 and arrived(far, "u24") == []
    site.order("service", "start", "smtp")
    until(lambda: arrived(far, "u24"), site.log)
    until(lambda: not queued(site), site.log)


def test_s_023_s_027_resume_of_a_service_lets_go_on_what_the_service_has_paused(site: Near) -> None:
    site.order("server", "pause", "smtp/two")
    with smtplib.SMTP("127.0.0.1", site.ports["one"], timeout=20) as client:
        site.order("service", "pause", "smtp")
        assert smtp_states(site) == ["paused", "paused", "paused", "stopped"]
        assert client.noop()[0] == 250
        assert greeting("127.0.0.1", site.ports["one"]) == REFUSED
        site.order("service", "resume", "smtp")
        assert smtp_states(site) == ["running", "paused", "running", "stopped"]
    assert greeting("127.0.0.1", site.ports["one"]).startswith("220 ")
    # A stop in a pause remembers what ran before it.
    for word in ("pause", "stop", "start"):
        site.order("service", word, "smtp")
    assert smtp_states(site) == ["running", "paused", "running", "stopped"]
    assert [one["state"] for one in json.loads(site.order("service", "status", "--json"))] == ["running"] * 3


def test_s_026_restart_of_a_service(site: Near) -> None:
    site.order("server", "stop", "smtp/two")
    assert "smtp/one    running" in site.order("service", "restart", "smtp")
    assert smtp_states(site) == ["running", "stopped", "running", "stopped"]


def test_s_017_s_025_what_was_said_by_hand_outlasts_the_process(site: Near) -> None:
    site.order("server", "stop", "smtp/two")
    site.order("server", "start", "smtp/hand")
    site.order("service", "pause", "smtp")
    site.order("service", "stop", "pop3")
    site.stop()
    site.start()
    assert smtp_states(site) == ["paused", "stopped", "paused", "paused"]
    found = site.all()
    assert found["smtp/one"]["reason"] == "the smtp service is paused" and found["smtp/two"]["reason"] == "by hand"
    assert found["pop3/default"]["reason"] == "the pop3 service is stopped"
    assert greeting("127.0.0.1", site.ports["one"]) == greeting("127.0.0.1", site.ports["pop3"]) == REFUSED
    site.order("service", "start")
    assert smtp_states(site) == ["running", "stopped", "running", "running"]
    assert greeting("127.0.0.1", site.ports["pop3"]).startswith("+OK")
    # A file that cannot be read keeps nobody from his mail.
    site.stop()
    (site.data / "states.json").write_text("{")
    site.start()
    assert smtp_states(site) == ["running", "running", "running", "stopped"]
    assert "states of servers are forgotten" in site.log()


# ---------------------------------------------------------------- systemd

#: What systemd does with a socket unit: a listening socket as descriptor 3, and three variables.
PASS_ON = """
import os, socket, sys
one = socket.socket()
one.bind(("127.0.0.1", int(sys.argv[1])))
one.listen()
os.dup2(one.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_of_systemd_is_served_paused_and_outlives_a_stop(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    made = Server(tmp_path, '[site]\nhostname = "mx.near.test"\n[smtp.a]\nlisten = ["systemd:domain=INET:name=smtp"]\n')
    made.program = [sys.executable, "-c", PASS_ON, str(port), *made.program]
    made.start()
    try:
        assert greeting("127.0.0.1", port).startswith("220 ")
        (one,) = json.loads(order(made, "server", "list", "--json"))
        assert one["addresses"] == [f"127.0.0.1:{port}"] and one["bindings"] == ["systemd:domain=INET:name=smtp"]
        for word in ("pause", "stop"):
            order(made, "server", word, "smtp/a")
            assert greeting("127.0.0.1", port) == ""
        order(made, "server", "start", "smtp/a")
        assert greeting("127.0.0.1", port).startswith("220 ")
    finally:
        made.stop()
    assert greeting("127.0.0.1", port) == REFUSED
    assert "Traceback" not in made.log(), made.log()
