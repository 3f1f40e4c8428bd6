"""The command line in this process: configuration, usage, exit statuses, and a running server's answers."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsrv.cli.common import DONE, NO, UNREACHABLE, USAGE, table
from mailsrv.cli.config import few
from mailsrv.cli.main import main
from mailsrv.host.changes import Changes
from mailsrv.host.config.derive import domain_facts
from mailsrv.host.config.load import load
from mailsrv.host.control.run import run
from mailsrv.net.certificate import ensure, self_signed
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop

CONFIG = """\
[site]
hostname = "mail.example.org"
domains = ["example.org"]

[store]
use = "memory"

[smtp.in]
max_hops = 40
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder with a site's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mailsrv.toml").write_text(CONFIG)
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a text to standard input."""

    def give(text: str) -> None:
        """The next command reads this."""
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return give


class Running:
    """A site that answers at the control socket, as far as commands look at it."""

    def __init__(self, file: Path) -> None:
        self.options = load(file)
        self.config_path = file
        self.store = MemoryStore(domains=domain_facts(self.options))
        self.directory = self.store.directory
        self.hasher = self
        self.logins = self
        self.kept: frozenset[str] = frozenset()
        self.servers: dict[str, Any] = {"smtp/in": self}
        self.state, self.reason, self.bindings = "running", "", ["*:25"]
        self.arrivals, self.present = self, ()
        self.metrics = self.remote = self
        self.services, self.counters = self, {"connections": 3}
        self.clock = lambda: 1_800_000_000.0
        self.changes = Changes(self, lambda: False)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.options.control))
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    async def hash(self, password: str) -> str:
        """As a hasher."""
        return f"$argon2id${password}"

    async def aside(self, function: Any, *arguments: Any) -> Any:
        """Here and now."""
        return function(*arguments)

    async def apply_domains(self, domains: Any) -> None:
        """As a site."""
        await self.directory.set_domains(domains)

    def connections(self) -> list[Any]:
        """As those who have come to a server."""
        return []

    def monotonic(self) -> float:
        """As a site."""
        return 0.0

    def addresses(self) -> list[str]:
        """As a server."""
        return ["0.0.0.0:25"]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                for line in stream:
                    asked = json.loads(line)
                    answer = Loop().run(run(self, asked["operation"], asked["arguments"], send=_nobody))
                    stream.write(json.dumps({"id": asked["id"], **answer}).encode() + b"\n")
                    stream.flush()

    def close(self) -> None:
        """No more commands."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


async def _nobody(item: Any) -> None:
    """Streams have no items here."""
    raise AssertionError(item)


@pytest.fixture
def running(folder: Path) -> Iterator[Running]:
    """A running server of the folder's site."""
    site = Running(folder / "mailsrv.toml")
    yield site
    site.close()


def out(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = DONE) -> str:
    """What a command writes to standard output, and its status."""
    assert main(arguments) == status
    text: str = capsys.readouterr().out
    return text


def test_check_tells_errors_with_file_line_and_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate, key = (folder / "data" / "tls" / f"default.{name}" for name in ("crt", "key"))
    ensure(certificate, key, ["example.org"])
    assert out(capsys, "check") == "mailsrv.toml: no errors\n"
    key.write_bytes(self_signed(["other.example"])[1])
    assert "the key does not belong to the certificate" in out(capsys, "check")
    certificate.write_text("")
    assert "it holds no certificate" in out(capsys, "check")
    (folder / "data" / "tls" / "default.key").unlink()
    (folder / "bad.toml").write_text("[site]\n\nhostnam = 1\n")
    assert out(capsys, "check", "bad.toml", status=NO) == (
        'error: bad.toml:3: site.hostnam: unknown key (did you mean "hostname"?)\n'
    )
    told = json.loads(out(capsys, "check", "bad.toml", "--json", status=NO))
    assert told["errors"] == [{
        "file": "bad.toml", "line": 3, "key": "site.hostnam", "text": 'unknown key (did you mean "hostname"?)',
    }]
    (folder / "warn.toml").write_text("[imap.a]\nidle_timeout = '5m'\n")
    text = out(capsys, "--config", "warn.toml", "check")
    assert "warning: warn.toml:2: imap.a.idle_timeout: " in text
    assert f"tls.default.key: {folder}/data/tls/default.key is not there" in text and "2 warnings" in text


def test_config_show_and_get(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "config", "show").splitlines()
    assert "smtp.in.max_hops = 40" in lines and "smtp.in.max_recipients = 1000  # default" in lines
    assert 'domain."example.org".subaddress = "+"  # default' in lines
    shown = {one["key"]: one for one in json.loads(out(capsys, "config", "show", "--json"))}
    assert shown["smtp.in.listen"] == {
        "key": "smtp.in.listen", "value": ["*:25"], "given": False, "page": "General", "group": "Bindings",
    }
    assert out(capsys, "config", "get", "smtp.in.max_hops") == "40\n"
    assert out(capsys, "config", "get", "site.hostname") == "mail.example.org\n"
    assert json.loads(out(capsys, "--json", "config", "get", "site.domains")) == ["example.org"]
    assert main(["config", "get", "smtp.in.max_hop"]) == NO
    assert capsys.readouterr().err == 'mailsrv: no key "smtp.in.max_hop" (did you mean "smtp.in.max_hops"?)\n'


#: Keys of an SMTP server by the group that an administrator of Exchange looks for: as they are, and another value.
DELIVERY = {
    "retry intervals": {"delivery.retry": (["5m", "15m", "30m", "1h"], ["1m", "2m", "3m", "4m"])},
    "delay notification": {"delivery.delay_notification": ("4h", {"local": "12h", "outbound": "6h"})},
    "expiration": {"delivery.expiration": ("5d", {"local": "2d", "outbound": "3d"})},
    "hop count": {"max_hops": (30, 15)},
    "domain names": {
        "delivery.masquerade_domain": ("", "branch.example"), "hostname": ("mail.example.org", "mx2.example.org"),
    },
    "reverse and external DNS": {"reverse_lookup": (False, True), "delivery.dns_servers": ([], ["192.0.2.53"])},
}  # fmt: skip


def test_s_079_each_smtp_server_shows_its_six_groups_of_delivery_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['smtp.other.listen = ["*:2525"]']
    for keys in DELIVERY.values():
        for key, (_, value) in keys.items():
            text = ", ".join(f'{k} = "{v}"' for k, v in value.items()) if isinstance(value, dict) else ""
            lines.append(f"smtp.other.{key} = " + (f"{{{text}}}" if text else json.dumps(value)))
    # Dotted keys belong to the top of the file.
    (folder / "mailsrv.toml").write_text("\n".join([*lines, CONFIG.replace("max_hops = 40", "")]))
    shown = {one["key"]: (one["value"], one["given"]) for one in json.loads(out(capsys, "config", "show", "--json"))}
    for group, keys in DELIVERY.items():
        for key, (usual, other) in keys.items():
            assert shown[f"smtp.in.{key}"] == (usual, False), group
            assert shown[f"smtp.other.{key}"] == (other, True), group


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["user"], ["user", "ad"], ["user", "list", "--nonsense"], ["alias", "add", "x@example.org"],
])
def test_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == USAGE


def test_usage_that_no_parser_sees_is_status_2_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["user", "add"]) == USAGE
    assert main(["user", "add", "x@example.org", "--from", "f"]) == USAGE
    assert main(["init", "new", "--port-base", "70000"]) == USAGE
    assert main(["init", "new", "--port-base", "1000", "--high-ports"]) == USAGE
    assert main(["init", "new", "--domain", "a b"]) == USAGE
    assert main(["init", "new", "--profile", "test"]) == USAGE
    assert not (folder / "new").exists()
    (folder / "mailsrv.toml").unlink()
    capsys.readouterr()
    assert main(["user", "list"]) == USAGE
    told = capsys.readouterr().err
    assert "nor ./mailsrv-data/mailsrv.toml" in told and "`mailsrv init DIR` makes one" in told


def test_a_file_with_a_mistake_is_told_and_nothing_is_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mailsrv.toml").write_text("[smtp.a]\nmax_hops = 5\n")
    assert main(["user", "list"]) == NO
    assert capsys.readouterr().err == "mailsrv: mailsrv.toml:2: smtp.a.max_hops: must be 10 to 256, not 5\n"
    assert main(["user", "list", "--json"]) == NO
    assert "must be 10 to 256" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize(
    "arguments", [["server", "list"], ["server", "show", "smtp/in"], ["session", "list"], ["status"]]
)
def test_a_server_that_does_not_run_is_status_3(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == UNREACHABLE
    assert "no server at" in capsys.readouterr().err


def test_part_list_needs_neither_server_nor_site(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mailsrv.toml").unlink()
    assert "IMessageStore" in out(capsys, "part", "list")
    assert {"sqlite", "memory"} <= {one["name"] for one in json.loads(out(capsys, "part", "list", "--json"))}


def test_accounts_of_a_running_server(
    running: Running, folder: Path, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert out(capsys, "user", "list") == "(none)\n"
    typed("secret\n")
    assert out(capsys, "user", "add", "me@example.org") == "added me@example.org\n"
    (folder / "pw").write_text("from file\nsecond line\n")
    added = json.loads(out(capsys, "user", "add", "you@example.org", "--password-file", "pw", "--json"))
    assert added["address"] == "you@example.org"
    hashes = [Loop().run(running.directory.credentials(f"{name}@example.org")).password_hash for name in ("me", "you")]
    assert hashes == ["$argon2id$secret", "$argon2id$from file"]
    text = out(capsys, "user", "list")
    assert text.splitlines()[0].split() == ["ADDRESS", "STATE", "CREATED"] and "you@example.org" in text
    typed("new\n")
    assert out(capsys, "user", "password", "me@example.org") == "changed the password of me@example.org\n"
    assert Loop().run(running.directory.credentials("me@example.org")).password_hash == "$argon2id$new"
    assert out(capsys, "user", "disable", "me@example.org") == "disabled me@example.org\n"
    assert out(capsys, "user", "enable", "me@example.org") == "enabled me@example.org\n"
    assert out(capsys, "user", "remove", "me@example.org") == "removed me@example.org\n"
    assert main(["user", "remove", "me@example.org"]) == NO
    assert capsys.readouterr().err == "mailsrv: there is no account me@example.org\n"
    assert json.loads(out(capsys, "user", "remove", "me@example.org", "--json", status=NO))["status"] == "5.1.1"


def test_no_password_no_account(
    running: Running, folder: Path, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    typed("")
    assert main(["user", "add", "me@example.org"]) == NO
    assert "the password is empty" in capsys.readouterr().err
    (folder / "empty").write_text("\nx")
    for name, said in (("empty", "empty:1: no password"), ("missing", "missing: No such file")):
        assert main(["user", "add", "me@example.org", "--password-file", name]) == NO
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        # A password is never an argument.
        main(["user", "add", "me@example.org", "secret"])


def test_many_accounts_from_a_file(
    running: Running, folder: Path, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps({"address": f"u{n}@example.org", "password": "x"}) for n in range(1200)]
    (folder / "users").write_text("\n".join(lines) + "\n\n")
    assert out(capsys, "user", "add", "--from", "users") == "added 1200 accounts\n"
    typed(lines[0] + "\n" + json.dumps({"address": "new@example.org", "password": "x"}) + "\n")
    told = json.loads(out(capsys, "user", "add", "--from", "-", "--json", status=NO))
    assert told["added"] == 1 and [one["address"] for one in told["failed"]] == ["u0@example.org"]
    for text in ("{", "[]", '{"address": 1}', "x" * 70000):
        (folder / "bad").write_text(lines[0] + "\n" + text)
        assert main(["user", "add", "--from", "bad"]) == NO
        assert "bad:2: must be one JSON object" in capsys.readouterr().err
    assert len(json.loads(out(capsys, "user", "list", "--json", "--domain", "example.org"))) == 1201


def test_aliases_domains_servers(running: Running, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "alias", "add", "info@example.org", "me@example.org", "you@other.org") == (
        "info@example.org -> me@example.org, you@other.org\n"
    )
    assert "info@example.org  me@example.org, you@other.org\n" in out(capsys, "alias", "list")
    assert out(capsys, "alias", "remove", "info@example.org") == "removed info@example.org\n"
    assert out(capsys, "domain", "add", "second.org") == "local domains: example.org, second.org\n"
    assert load(folder / "mailsrv.toml").site.domains == ("example.org", "second.org")
    assert "second.org   local  0" in out(capsys, "domain", "list")
    assert out(capsys, "domain", "remove", "second.org") == "local domains: example.org\n"
    assert "smtp/in  running  0.0.0.0:25  0" in out(capsys, "server", "list")
    assert "limits.hops: 40" in out(capsys, "server", "show", "smtp/in")
    assert out(capsys, "session", "list") == "(none)\n"
    assert "smtp/in: running" in out(capsys, "status")
    assert main(["store", "check"]) == NO


def test_a_table_has_columns() -> None:
    assert table([["a", "bb"], ["cccc", ""]], ("X", "YY")) == ["X     YY", "a     bb", "cccc"]
    assert table([], ("X",)) == ["(none)"]


def test_a_table_that_has_come_is_one_line() -> None:
    keys = [f'domain."a.b".k{number}' for number in range(11)] + ["limits.quota"] + ["smtp.a.x", "smtp.a.delivery.y"]
    assert few(keys) == ['domain."a.b" (11 keys)', "limits.quota", "smtp.a.x", "smtp.a.delivery.y"]
