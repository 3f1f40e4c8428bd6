"""What administrators do about logins: auth list and test, app passwords, secrets kept, what is denied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailsrv.host.config.load import loads
from mailsrv.host.control.run import run
from mailsrv.host.site import Site
from mailsrv.testing.loop import Loop

CONFIG = """
[site]
hostname = "mx.example.org"
domains = ["example.org"]
[store]
use = "memory"
[auth.directory]
keep = ["scram-sha-256", "ntlm"]
[smtp.default]
authentication = ["anonymous", "basic"]
[imap.default]
authentication = ["basic", "ntlm", "sasl"]
users = ["*", "!other@example.org"]
[pop3.default]
require_tls = true
"""
MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "NTLM")


class Room:
    """An open site without servers that run, and two accounts with the password "secret"."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        reactor = SimpleNamespace(callFromThread=self.loop.call_from_thread, callLater=None)
        self.site = Site(loads(CONFIG, folder / "mailsrv.toml"), reactor)
        self.loop.run(self.site.open())
        for name in ("me", "other"):
            self.done("user.add", address=f"{name}@example.org", password="secret")

    def ask(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.loop.run(run(self.site, name, arguments))
        return answer

    def done(self, name: str, /, **arguments: Any) -> Any:
        answer = self.ask(name, **arguments)
        assert "error" not in answer, answer
        return answer["result"]

    def refused(self, name: str, /, **arguments: Any) -> str:
        return str(self.ask(name, **arguments)["error"])

    def test(self, server: str = "imap/default", mechanism: str = "PLAIN", **more: Any) -> Any:
        arguments = {"address": "me", "password": "secret", **more}
        return self.ask("auth.test", server=server, mechanism=mechanism, **arguments)

    def stored(self, name: str = "me") -> Any:
        return self.loop.run(self.site.directory.credentials(f"{name}@example.org"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    made = Room(tmp_path_factory.mktemp("site"))
    yield made
    made.loop.run(made.site.close())


@pytest.fixture
def room(opened: Room) -> Iterator[Room]:
    """The account `me` is as it was afterwards."""
    yield opened
    opened.done("user.enable", address="me@example.org")
    opened.done("user.keep", address="me@example.org", kinds=[], default=True)
    opened.done("user.allow", address="me@example.org", what=["imap", "smtp/default"])
    for one in opened.done("app_password.list", address="me@example.org"):
        opened.done("app_password.remove", address="me@example.org", name=one["name"])


def test_what_each_server_offers_and_why_not_the_rest(room: Room) -> None:
    found = room.done("auth.list")
    assert found["authenticators"] == [
        {"name": "directory", "schemes": ["password", "secret"], "secrets": ["ntlm", "scram-sha-256"]}
    ]
    smtp, imap, pop3 = found["servers"]
    assert (smtp["server"], smtp["without_tls"], smtp["with_tls"]) == ("smtp/default", [], ["PLAIN", "LOGIN"])
    assert smtp["not_offered"]["NTLM"] == "switched off by this server's authentication setting"
    assert imap["without_tls"] == ["SCRAM-SHA-256", "NTLM"]
    assert imap["with_tls"] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "NTLM", "PLAIN", "LOGIN"]
    assert imap["not_offered"]["EXTERNAL"] == "no authenticator can check it"
    assert pop3["without_tls"] == []


def test_an_authenticator_has_the_name_of_its_table(tmp_path: Path) -> None:
    """There may be two of one part."""
    loop = Loop()
    text = '[store]\nuse = "memory"\n[auth]\nuse = ["people"]\n[auth.people]\nuse = "directory"\n'
    reactor = SimpleNamespace(callFromThread=loop.call_from_thread, callLater=None)
    site = Site(loads(text, tmp_path / "mailsrv.toml"), reactor)
    loop.run(site.open())
    answer: Any = loop.run(run(site, "auth.list", {}))
    assert [one["name"] for one in answer["result"]["authenticators"]] == ["people"]
    loop.run(site.close())


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_login_is_rehearsed_by_every_mechanism(room: Room, mechanism: str) -> None:
    expected = {"login": "me@example.org", "account": 1, "mechanism": mechanism, "server": "imap/default"}
    assert room.test(mechanism=mechanism.lower())["result"] == expected
    assert room.test(mechanism=mechanism, password="wrong")["error"] == "wrong password for me@example.org"


@pytest.mark.parametrize(("change", "said"), [
    ({"server": "imap/nope"}, 'no virtual server "imap/nope"'),
    ({"mechanism": "GSSAPI"}, "no such mechanism; known:"),
    ({"tls": False}, "does not offer PLAIN without TLS: not without TLS"),
    ({"server": "smtp/default", "mechanism": "NTLM"}, "does not offer NTLM with TLS: switched off"),
    ({"address": "nobody"}, "no account of the directory has the name nobody@example.org"),
    ({"address": "\0"}, "can be nobody's login name"),
    ({"address": "other"}, "the credentials are right, but imap/default is not for other@example.org: users"),
    ({"password": ""}, "the password is empty"),
])
def test_a_login_that_would_fail_says_why(room: Room, change: dict[str, Any], said: str) -> None:
    assert said in room.test(**change)["error"]


def test_a_disabled_account_is_told_with_the_way_out(room: Room) -> None:
    room.done("user.disable", address="me@example.org")
    assert room.test()["error"] == "me@example.org is disabled; `mailsrv user enable me@example.org` undoes it"


def test_rehearsals_are_no_guesses(room: Room) -> None:
    for _ in range(60):
        room.test(mechanism="NTLM", password="wrong")
    assert room.site.guard.bans() == [] and "result" in room.test()


def test_an_app_password_is_shown_once_and_good_for_what_it_was_made_for(room: Room) -> None:
    made = room.done("app_password.add", address="me@example.org", name="Phone", scopes=["imap"])
    assert room.done("app_password.list", address="me@example.org") == [
        {"name": "Phone", "scopes": ["imap"], "created_at": made["created_at"]}
    ]
    assert room.test(password=made["password"])["result"]["login"] == "me@example.org"
    assert "scopes of the credentials" in room.test("smtp/default", password=made["password"])["error"]
    room.done("app_password.remove", address="me@example.org", name="Phone")
    assert "wrong password" in room.test(password=made["password"])["error"]


@pytest.mark.parametrize(("name", "scopes", "said"), [
    ("", [], "name"), ("Phone", ["http"], "smtp"), ("x" * 101, [], "name"),
])
def test_an_app_password_that_cannot_be(room: Room, name: str, scopes: list[str], said: str) -> None:
    assert said in room.refused("app_password.add", address="me@example.org", name=name, scopes=scopes)


def test_secrets_are_kept_as_the_site_or_the_account_says(room: Room) -> None:
    assert set(room.stored().secrets) == {"scram-sha-256", "ntlm"}
    assert room.done("user.keep", address="me@example.org", kinds=["ntlm"])["keep"] == ["ntlm"]
    assert set(room.stored().secrets) == {"ntlm"}
    assert "has no scram-sha-256 secrets" in room.test(mechanism="SCRAM-SHA-256")["error"]
    room.done("user.keep", address="me@example.org", kinds=[])
    assert room.stored().secrets == {}
    room.done("user.password", address="me@example.org", password="secret")
    assert room.stored().secrets == {}
    room.done("user.keep", address="me@example.org", kinds=[], default=True)
    room.done("user.password", address="me@example.org", password="secret")
    assert set(room.stored().secrets) == {"scram-sha-256", "ntlm"}
    assert '"des": the kinds of secrets are' in room.refused("user.keep", address="me@example.org", kinds=["des"])


def test_s104_what_is_denied_to_an_account(room: Room) -> None:
    denied = room.done("user.deny", address="me@example.org", what=["imap", "smtp/default"])["denied"]
    assert denied == ["imap", "smtp/default"]
    assert "denied to the account" in room.test()["error"]
    assert room.done("user.allow", address="me@example.org", what=["imap"])["denied"] == ["smtp/default"]
    assert "result" in room.test() and "error" in room.test("smtp/default")
    assert "did you mean" in room.refused("user.deny", address="me@example.org", what=["imap/defualt"])


def test_s120_limits_of_an_account(room: Room) -> None:
    told = room.done("user.limits", address="me@example.org", quota="2M", max_in="unlimited")
    assert (told["quota"], told["max_in"], told["max_out"]) == (2 * 2**20, "unlimited", None)
    told = room.done("user.limits", address="me@example.org", max_in="default", max_out="10K")
    assert (told["quota"], told["max_in"], told["max_out"]) == (2 * 2**20, None, 10240)
    shown = room.done("user.show", address="me@example.org")
    assert (shown["quota"], shown["octets"], shown["messages"]) == (2 * 2**20, 0, 0)
    assert 'or "default", or "unlimited"' in room.refused("user.limits", address="me@example.org", quota="much")
    room.done("user.limits", address="me@example.org", quota="default", max_out="default")


def test_hashes_of_other_servers_are_imported(room: Room) -> None:
    accounts = [
        {"address": "sha@example.org", "password_hash": "{SSHA256}ThIsIsNoHaSh"},
        {"address": "des@example.org", "password_hash": "{ROT13}frperg"},
        {"address": "raw@example.org", "password_hash": "frperg"},
        {"address": "yes@example.org", "password_hash": "$y$j9T$salt$digest"},
    ]
    found = room.done("user.import", accounts=accounts)
    assert found["added"] == 1
    assert [one["address"] for one in found["failed"]] == ["des@example.org", "raw@example.org", "yes@example.org"]
    room.done("user.remove", address="sha@example.org")
