"""Operations of administration, run by name on a site with the memory store."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field

from mailsrv.errors import Refused
from mailsrv.host.changes import Changes
from mailsrv.host.config.derive import domain_facts
from mailsrv.host.config.load import load
from mailsrv.host.config.options import SiteOptions
from mailsrv.host.control import run as control
from mailsrv.host.control.table import OPERATIONS, operation
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop

CONFIG = '[site]\nhostname = "mail.example.org"\ndomains = ["example.org"]  # ours\n[store]\nuse = "memory"\n'


@define
class Server:
    """A virtual server as far as operations look at it."""

    state: str = "running"
    reason: str = ""
    bindings: tuple[str, ...] = ("*:143",)
    arrivals: Any = field(factory=lambda: SimpleNamespace(present={"somebody"}, connections=list))
    services: Any = field(factory=lambda: SimpleNamespace(counters={"connections": 2}))

    def addresses(self) -> list[str]:
        """What it listens on."""
        return ["0.0.0.0:143"]


class Hasher:
    """Shows that a hash was made, without the work."""

    async def hash(self, password: str) -> str:
        """Not a hash."""
        return f"$argon2id${password[::-1]}"

    async def run(self, function: Any, *arguments: Any) -> Any:
        """Here and now."""
        return function(*arguments)


class Site:
    """What operations know of a site."""

    def __init__(self, file: Path) -> None:
        self.options: SiteOptions = load(file)
        self.config_path: Path | None = file
        self.store = MemoryStore(domains=domain_facts(self.options))
        self.directory = self.store.directory
        self.hasher = Hasher()
        self.servers = {"imap/default": Server()}
        self.logins = SimpleNamespace(kept=frozenset({"ntlm"}))
        self.metrics = self.remote = SimpleNamespace(addresses=list, trouble="")
        self.monotonic = lambda: 0.0
        self.clock = lambda: 1_800_000_000.0
        self.changes = Changes(self, lambda: False)

    async def aside(self, function: Any, *arguments: Any) -> Any:
        """Here and now."""
        return function(*arguments)

    async def apply_domains(self, domains: Any) -> None:
        """As the real one."""
        await self.directory.set_domains(domains)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a file of its own."""
    (tmp_path / "mailsrv.toml").write_text(CONFIG)
    return Site(tmp_path / "mailsrv.toml")


def ask(site: Site, name: Any, arguments: Any = None, /, **more: Any) -> dict[str, Any]:
    """The whole answer."""
    answer: dict[str, Any] = Loop().run(control.run(site, name, more if arguments is None else arguments))
    return answer


def done(site: Site, name: str, /, **arguments: Any) -> Any:
    """The result."""
    answer = ask(site, name, **arguments)
    assert "error" not in answer, answer
    return answer["result"]


def refused(site: Site, name: Any, arguments: Any = None, /, **more: Any) -> str:
    """Why not."""
    answer = ask(site, name, arguments, **more)
    assert set(answer) == {"error", "status"}
    text: str = answer["error"]
    return text


def test_the_life_of_an_account(site: Site) -> None:
    added = done(site, "user.add", address="Me@EXAMPLE.org", password="secret")
    assert added["address"] == "Me@example.org" and added["enabled"] is True
    assert done(site, "user.list") == [added] == done(site, "user.list", domain="example.org")
    assert done(site, "user.list", domain="other.org") == []
    stored = Loop().run(site.directory.credentials("me@example.org"))
    assert stored.password_hash == "$argon2id$terces"
    done(site, "user.password", address="me@example.org", password="new")
    assert Loop().run(site.directory.credentials("me@example.org")).password_hash == "$argon2id$wen"
    assert done(site, "user.disable", address="ME@example.org")["enabled"] is False
    assert done(site, "user.list")[0]["enabled"] is False
    assert done(site, "user.enable", address="me@example.org")["enabled"] is True
    done(site, "user.remove", address="me@example.org")
    assert done(site, "user.list") == []
    assert refused(site, "user.remove", address="me@example.org") == "there is no account me@example.org"


def test_a_taken_address_is_refused(site: Site) -> None:
    done(site, "user.add", address="me@example.org", password="x")
    answer = ask(site, "user.add", address="ME@example.org", password="x")
    assert answer["status"].startswith("5") and len(done(site, "user.list")) == 1


@pytest.mark.parametrize(("address", "said"), [
    ("me", "is no address"), ("me@", "is no address"), ("@example.org", "is no address"),
    ("a b@example.org", "is no address"),
    ("me@example.org>", "is no address"), ("", "is no address"),
    ("me@other.org", "other.org is no local domain; `mailsrv domain add other.org` makes it one"),
])
def test_what_is_no_address_of_ours_is_refused(site: Site, address: str, said: str) -> None:
    assert said in refused(site, "user.add", address=address, password="x")


@pytest.mark.parametrize(("password", "said"), [
    ("", "empty"), ("x" * 1025, "longer than"), ("a\0b", "NUL"), ("a\nb", "line end"),
])
def test_what_is_no_password_is_refused(site: Site, password: str, said: str) -> None:
    assert said in refused(site, "user.add", address="me@example.org", password=password)


def test_a_subaddress_names_no_account(site: Site) -> None:
    done(site, "user.add", address="me@example.org", password="x")
    assert "there is no account" in refused(site, "user.remove", address="me+news@example.org")
    assert len(done(site, "user.list")) == 1


def test_many_accounts_at_once(site: Site) -> None:
    accounts = [{"address": f"u{n}@example.org", "password": "x"} for n in range(20)]
    accounts += [
        {"address": "hashed@example.org", "password_hash": "$argon2id$v=19$abc"},
        {"address": "u3@example.org", "password": "x"},
        {"address": "x@other.org", "password": "x"},
        {"address": "both@example.org", "password": "x", "password_hash": "$argon2id$"},
        {"address": "plain@example.org", "password_hash": "secret"},
        {"password": "x"},
        {"address": "empty@example.org", "password": ""},
    ]
    result = done(site, "user.import", accounts=accounts)
    assert result["added"] == 21 == len(done(site, "user.list"))
    assert [one["address"] for one in result["failed"]] == [
        "u3@example.org", "x@other.org", "both@example.org", "plain@example.org", "", "empty@example.org",
    ]
    assert Loop().run(site.directory.credentials("hashed@example.org")).password_hash == "$argon2id$v=19$abc"
    assert "at most 500" in refused(site, "user.import", accounts=accounts * 20)


def test_aliases(site: Site) -> None:
    added = done(site, "alias.add", address="info@example.org", targets=["me@example.org", "you@other.org"])
    assert done(site, "alias.list") == [added]
    assert "1 to 10000 targets" in refused(site, "alias.add", address="x@example.org", targets=[])
    assert "no address" in refused(site, "alias.add", address="x@example.org", targets=["nobody"])
    done(site, "alias.remove", address="INFO@example.org")
    assert done(site, "alias.list") == []
    refused(site, "alias.remove", address="info@example.org")


def test_domains_change_the_file_and_the_site(site: Site) -> None:
    done(site, "user.add", address="me@example.org", password="x")
    assert done(site, "domain.list") == [{"domain": "example.org", "kind": "local", "accounts": 1}]
    assert done(site, "domain.add", domain="Second.example.")["domains"] == ["example.org", "second.example"]
    assert "# ours" in site.config_path.read_text()  # type: ignore[union-attr]
    assert Loop().run(site.directory.domain("second.example")) is not None
    assert refused(site, "domain.add", domain="second.example") == "second.example is a local domain already"
    assert done(site, "domain.remove", domain="example.org")["unreachable_accounts"] == 1
    assert Loop().run(site.directory.domain("example.org")) is None
    # Its account is still there and can be administered.
    assert done(site, "user.disable", address="me@example.org")["enabled"] is False
    assert "the last domain" in refused(site, "domain.remove", domain="second.example")
    assert "no local domain" in refused(site, "domain.remove", domain="third.example")
    assert "must be a host or domain name" in refused(site, "domain.add", domain="a b")


def test_a_site_without_a_file_keeps_its_domains(site: Site) -> None:
    site.config_path = None
    assert "no configuration file" in refused(site, "domain.add", domain="x.org")
    assert [one["domain"] for one in done(site, "domain.list")] == ["example.org"]


def test_servers(site: Site) -> None:
    listed = done(site, "server.list")
    assert listed == [{
        "name": "imap/default", "title": "", "state": "running", "reason": "", "bindings": ["*:143"],
        "addresses": ["0.0.0.0:143"], "connections": 1,
    }]
    shown = done(site, "server.show", name="imap/default")
    assert shown["limits"]["idle_timeout"] == 1800.0 and shown["hostname"] == "mail.example.org"
    assert refused(site, "server.show", name="imap/defalt") == (
        'there is no server imap/defalt (did you mean "imap/default"?)'
    )
    status = done(site, "site.status")
    assert status["servers"] == {"imap/default": "running"} and status["sessions"] == 1


def test_the_store_of_memory_has_no_files(site: Site) -> None:
    assert refused(site, "store.check") == refused(site, "store.compact")
    assert "'memory' has no files" in refused(site, "store.check")


def test_parts_are_listed(site: Site) -> None:
    found = {(one["contract"], one["name"]): one for one in done(site, "part.list")}
    assert found["IMessageStore", "sqlite"]["options"] == {"purge_after": "duration"}


@pytest.mark.parametrize(("name", "arguments", "said"), [
    ("user.ad", {}, 'no operation "user.ad" (did you mean "user.add"?)'),
    (None, {}, "an operation has a name"), (["user.add"], {}, "an operation has a name"),
    ("user.list", [1], "an operation has a name and an object"), ("user.list", "x", "an object of arguments"),
    ("user.add", {"address": "me@example.org"}, 'user.add: "password" must be given'),
    ("user.add", {"address": 5, "password": "x"}, 'user.add: "address" must be text'),
    ("user.list", {"domian": "x"}, 'no parameter "domian" (did you mean "domain"?)'),
    ("alias.add", {"address": "x", "targets": "y"}, '"targets" must be a list of texts'),
    ("user.import", {"accounts": [{"address": 1}]}, "a list of objects with texts"),
])
def test_a_request_that_makes_no_sense_is_refused(site: Site, name: Any, arguments: Any, said: str) -> None:
    assert said in refused(site, name, arguments)


def test_a_bug_is_an_incident_and_no_exception(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "servers", None)
    assert refused(site, "server.list").startswith("internal error, incident ")


def test_secrets_are_not_logged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(control.log, "info", lambda text, **fields: events.append(text.format(**fields)))
    done(site, "user.add", address="me@example.org", password="hunter2")
    done(site, "user.import", accounts=[{"address": "u@example.org", "password": "hunter2"}])
    assert len(events) == 2 and "me@example.org" in events[0] and "hunter2" not in "".join(events)


def test_every_operation_is_documented_and_takes_json() -> None:
    assert {"user.add", "alias.add", "domain.add", "server.list", "session.list", "store.check"} <= set(OPERATIONS)
    for name, found in OPERATIONS.items():
        assert found.text and found.name == name
    with pytest.raises(TypeError, match="registered twice"):
        operation("user.add")(OPERATIONS["user.add"].function)
    with pytest.raises(Refused):
        OPERATIONS["user.add"].check({"address": "x"})
