"""Administration from other machines (S-028): tokens, roles, and what is bounded before a token was shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mailsrv.auth.authorizer import build
from mailsrv.auth.roles import Role
from mailsrv.errors import ConfigError, Refused
from mailsrv.host.config.load import loads
from mailsrv.host.control import remote
from mailsrv.host.control.remote import BadTokens, RemoteControl, RemoteFactory
from mailsrv.host.control.roles import BUILT_IN, built_in_roles
from mailsrv.host.control.run import run
from mailsrv.host.control.table import OPERATIONS
from mailsrv.host.events import Events
from mailsrv.host.tokens import MAX_TOKENS, PREFIX, Tokens
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import DomainFacts, Identity

ROLE = '[role.helpdesk]\nactions = ["user.list"]\nscope = ["domain/example.org"]\n'


class Site:
    """What the listener and the operations about tokens know of a site."""

    def __init__(self, folder: Path, text: str = ROLE) -> None:
        self.reactor = Clock()
        self.clock = lambda: 1_800_000_000.0 + self.reactor.seconds()
        self.monotonic = self.reactor.seconds
        self.options = loads(text)
        self.directory = MemoryStore(domains=[DomainFacts("example.org")]).directory
        self.roles = built_in_roles()
        self.authorizer = build(None, self)
        self.events = Events(self.clock)
        self.tokens = Tokens(folder / "tokens.json", self.clock)
        self.servers: dict[str, Any] = {}

    def ask(self, name: str, identity: Identity | None = None, /, **arguments: Any) -> dict[str, Any]:
        """The answer to one operation."""
        who = {} if identity is None else {"identity": identity}
        answer: dict[str, Any] = Loop().run(run(self, name, arguments, **who))
        return answer


class Transport(StringTransport):
    """A TCP connection whose TLS is imagined."""

    started: Any = None
    keepalive = False

    def startTLS(self, context: Any) -> None:
        """Twisted: begin."""
        self.started = context

    def setTcpKeepAlive(self, on: bool) -> None:
        """Twisted."""
        self.keepalive = on


class Wire:
    """One connection from an address; `protocol` None: it was turned away at once."""

    def __init__(self, factory: RemoteFactory, host: str = "192.0.2.7") -> None:
        self.factory = factory
        self.protocol = factory.buildProtocol(IPv4Address("TCP", host, 4711))
        self.transport = Transport(peerAddress=IPv4Address("TCP", host, 4711))
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def send(self, octets: bytes) -> list[dict[str, Any]]:
        """The answers to these octets."""
        self.protocol.dataReceived(octets)
        return self.answers()

    def answers(self) -> list[dict[str, Any]]:
        """What has come since the last time."""
        self.factory.reactor.advance(0)
        octets = self.transport.value()
        self.transport.clear()
        return [json.loads(line) for line in octets.splitlines()]

    def show(self, token: str) -> list[dict[str, Any]]:
        """The first line."""
        return self.send(json.dumps({"id": 0, "token": token}).encode() + b"\n")

    def ask(self, name: str, /, **arguments: Any) -> list[dict[str, Any]]:
        """One operation, with the id 1."""
        return self.send(json.dumps({"id": 1, "operation": name, "arguments": arguments}).encode() + b"\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site without tokens."""
    return Site(tmp_path)


@pytest.fixture
def factory(site: Site) -> RemoteFactory:
    """Its listener."""
    made = RemoteFactory(site, site.reactor, lambda: "context")
    site.tokens.revoked = made.dismiss
    return made


# ---------------------------------------------------------------- tokens


def test_s028_a_token_is_told_once_and_kept_as_a_hash(site: Site, tmp_path: Path) -> None:
    made = site.ask("token.create", name="ci", role="operator", expires="90d")["result"]
    text = made.pop("token")
    assert text.startswith(PREFIX) and len(text) >= len(PREFIX) + 43
    assert site.ask("token.list")["result"] == [made] and made["good"]
    assert (made["role"], made["by"], made["expires"][:10]) == ("operator", "this process", "2027-04-15")
    file = tmp_path / "tokens.json"
    assert text not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    assert "digest" not in repr(site.tokens.all()[0])
    # A restart knows it.
    again = Tokens(file, site.clock)
    assert again.find(text) == site.tokens.find(text) is not None
    assert again.find(text[:-1]) is None and again.find("") is None


def test_s028_a_token_ends_by_time_or_by_hand(site: Site) -> None:
    short = site.ask("token.create", name="short", role="auditor", expires="1h")["result"]["token"]
    long = site.ask("token.create", name="long", role="auditor")["result"]["token"]
    assert site.tokens.find(short) and site.tokens.find(long)
    site.reactor.advance(3600)
    assert site.tokens.find(short) is None and site.tokens.find(long)
    assert [one["good"] for one in site.ask("token.list")["result"]] == [False, True]
    site.ask("token.revoke", name="long")
    assert site.tokens.find(long) is None
    # A name that is used again is another token.
    site.ask("token.create", name="long", role="auditor")
    assert site.tokens.find(long) is None


@pytest.mark.parametrize(("arguments", "why"), [
    ({"name": "a b", "role": "operator"}, "the name of a token is letters"),
    ({"name": "", "role": "operator"}, "the name of a token is letters"),
    ({"name": "one", "role": "operator"}, "there is a token one"),
    ({"name": "x", "role": "oprator"}, 'there is no role oprator (did you mean "operator"?)'),
    ({"name": "x", "role": "operator", "expires": "soon"}, "expires: "),
])
def test_what_is_no_token(site: Site, arguments: dict[str, str], why: str) -> None:
    site.ask("token.create", name="one", role="helpdesk")
    assert site.ask("token.create", **arguments)["error"].startswith(why)
    assert "there is no token two" in site.ask("token.revoke", name="two")["error"]


def test_there_is_an_end_of_tokens(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsrv.host.tokens.MAX_TOKENS", 1)
    site.tokens.create("one", "operator")
    with pytest.raises(Refused, match="there are 1 tokens"):
        site.tokens.create("two", "operator")
    assert MAX_TOKENS == 1000


@pytest.mark.parametrize("octets", [
    b"{", b"[]", b'{"version": 2}', b'{"version": 1, "tokens": [{"name": 5}]}', b"\xff",
])
def test_a_damaged_file_lets_nobody_in_and_is_left_as_it_is(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "tokens.json").write_bytes(octets)
    tokens = Tokens(tmp_path / "tokens.json", lambda: 0.0)
    assert tokens.all() == []
    with pytest.raises(Refused, match="mend it"):
        tokens.create("one", "operator")
    assert (tmp_path / "tokens.json").read_bytes() == octets


def test_a_token_that_cannot_be_kept_is_none(site: Site, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "tokens.json").mkdir()
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(ConfigError):
        site.tokens.create("one", "operator")
    assert site.tokens.all() == []


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize(("role", "may", "may_not"), [
    ("administrator", ["config.set", "token.create", "user.password", "server.stop"], []),
    ("operator", ["server.stop", "service.pause", "session.terminate", "queue.delete", "user.disable", "access.test",
                  "config.show", "audit.list"],
     ["config.set", "config.apply", "domain.add", "access.add", "token.create", "user.password", "app_password.add",
      "mailbox.read", "server.create", "session.transcript"]),
    ("auditor", ["server.list", "session.list", "queue.show", "audit.list", "event.follow", "token.list"],
     ["server.stop", "queue.retry", "user.add", "mailbox.messages", "auth.test", "store.check", "session.transcript"]),
])  # fmt: skip
def test_s028_the_roles_that_every_site_has(role: str, may: list[str], may_not: list[str]) -> None:
    found = next(one for one in built_in_roles() if one.name == role)
    assert [name for name in may if not found.allows(name)] == []
    assert [name for name in may_not if found.allows(name)] == []
    assert not found.allows("login.as") and not found.allows("send.as")
    assert role in BUILT_IN and all(name in OPERATIONS for name in (*may, *may_not))


def test_s028_a_token_has_the_role_it_was_made_for(site: Site) -> None:
    for role in ("auditor", "helpdesk"):
        site.tokens.create(role, role)
    auditor, helpdesk = (token.identity for token in site.tokens.all())
    assert "result" in site.ask("token.list", auditor)
    refused = site.ask("token.revoke", auditor, name="helpdesk")
    assert refused["error"] == "token:auditor may not token.revoke on the whole site: no role grants it"
    # A role of the configuration, with its scope.
    assert "result" in site.ask("user.list", helpdesk, domain="example.org")
    assert "may not" in site.ask("user.list", helpdesk)["error"]
    assert "may not" in site.ask("token.list", helpdesk)["error"]


def test_a_role_of_the_configuration_takes_the_place_of_the_one_that_is_built_in(tmp_path: Path) -> None:
    site = Site(tmp_path, '[role.auditor]\nactions = ["site.status"]\n')
    site.tokens.create("a", "auditor")
    (token,) = site.tokens.all()
    assert "may not" in site.ask("token.list", token.identity)["error"]


def test_nobody_is_a_token_by_name() -> None:
    """Neither an account nor a pattern of a role is one."""
    anybody = Role("helpdesk", ["*"], ["*"])
    assert not anybody.has(Identity(0, "token:x", mechanism="TOKEN", scopes=frozenset({"role:other"})))
    assert not anybody.has(Identity(0, "token:x", mechanism="TOKEN"))
    named = Identity(1, "token:x", mechanism="PLAIN", scopes=frozenset({"role:operator"}))
    assert not Role("operator", [], ["*"]).has(named)


# ---------------------------------------------------------------- the wire


def test_s028_the_token_comes_first_and_then_all_is_as_on_the_socket(site: Site, factory: RemoteFactory) -> None:
    text = site.tokens.create("ci", "auditor")
    connection = Wire(factory)
    assert connection.transport.started == "context" and connection.transport.keepalive
    assert connection.show(text) == [{"id": 0, "result": {"name": "ci", "role": "auditor"}}]
    assert [one["name"] for one in connection.ask("token.list")[0]["result"]] == ["ci"]
    assert "token:ci may not" in connection.ask("token.revoke", name="ci")[0]["error"]
    # What is large is taken now.
    assert "must be given" in connection.ask("token.revoke")[0]["error"]
    assert connection.send(b" " * 100_000 + b"\n")[0]["error"] == "a request is one JSON object on a line"


@pytest.mark.parametrize("line", [
    b'{"id": 0, "token": "mailsrv_x"}', b'{"id": 0}', b'{"id": 0, "token": 5}', b'{"id": 0, "token": null}',
    b'{"id": 1, "operation": "site.status"}', b'{"token": "' + b"x" * 4000 + b'"}',
])
def test_s028_without_a_token_nothing_is_done(site: Site, factory: RemoteFactory, line: bytes) -> None:
    connection = Wire(factory)
    followed = site.events.follow(["login.failed"])
    (answer,) = connection.send(line + b"\n")
    assert (answer["error"], answer["status"]) == ("the token is not good here", "5.7.8")
    assert connection.transport.disconnecting and len(followed._items) == 1


def test_what_is_no_request_shows_no_token(factory: RemoteFactory) -> None:
    connection = Wire(factory)
    assert connection.send(b"GET / HTTP/1.1\r\n")[0]["error"] == "a request is one JSON object on a line"
    assert connection.protocol.token is None


def test_before_the_token_there_is_little_room_and_little_time(site: Site, factory: RemoteFactory) -> None:
    large, slow = Wire(factory), Wire(factory)
    assert large.send(b"x" * remote.MAX_FIRST) == []
    assert large.send(b"x")[0]["error"] == "the request is too long" and large.transport.disconnecting
    # Who does not end its half is cut off.
    site.reactor.advance(remote.FAREWELL)
    assert large.transport.disconnected
    site.reactor.advance(remote.TOKEN_SECONDS - remote.FAREWELL)
    assert slow.transport.disconnected and slow.transport.value() == b""


def test_places_for_those_without_a_token_are_few_and_take_none_from_the_others(
    site: Site, factory: RemoteFactory
) -> None:
    text = site.tokens.create("ci", "auditor")
    known = Wire(factory)
    known.show(text)
    of_one = [Wire(factory, "192.0.2.8") for _ in range(remote.MAX_OF_ONE)]
    assert Wire(factory, "192.0.2.8").protocol is None
    others = [Wire(factory, f"198.51.100.{n}") for n in range(remote.MAX_UNKNOWN - remote.MAX_OF_ONE)]
    assert Wire(factory, "203.0.113.1").protocol is None
    assert "result" in known.ask("token.list")[0]
    for one in (*of_one, *others):
        one.protocol.connectionLost()
    assert Wire(factory, "192.0.2.8").protocol is not None


def test_bad_tokens_turn_an_address_away_for_a_while(site: Site, factory: RemoteFactory) -> None:
    for _ in range(remote.MAX_BAD):
        connection = Wire(factory)
        connection.show("mailsrv_guess")
        connection.protocol.connectionLost()
    assert Wire(factory).protocol is None and Wire(factory, "192.0.2.8").protocol is not None
    site.reactor.advance(remote.BAD_SECONDS + 1)
    assert Wire(factory).protocol is not None


def test_addresses_of_bad_tokens_are_bounded() -> None:
    bad = BadTokens(lambda: 0.0)
    for number in range(remote.MAX_SUBJECTS * 2):
        bad.add(f"10.0.{number >> 8}.{number & 255}")
    assert len(bad._counts) == remote.MAX_SUBJECTS
    for _ in range(remote.MAX_BAD):
        bad.add("2001:db8::1")
    assert bad.too_many("2001:db8::2") and not bad.too_many("2001:db8:0:1::1")


def test_s028_a_token_that_is_revoked_or_expires_ends_its_connections(site: Site, factory: RemoteFactory) -> None:
    revoked, expired = Wire(factory), Wire(factory)
    revoked.show(site.tokens.create("one", "auditor"))
    expired.show(site.tokens.create("two", "auditor", 60.0))
    site.tokens.revoke("one")
    assert revoked.transport.disconnecting and not expired.transport.disconnecting
    site.reactor.advance(61)
    assert "has expired" in expired.ask("token.list")[0]["error"] and expired.transport.disconnecting


def test_a_stream_ends_with_its_token(site: Site, factory: RemoteFactory) -> None:
    following = Wire(factory)
    following.show(site.tokens.create("two", "auditor", 30.0))
    following.ask("event.follow")
    site.events.publish("server.state", server="smtp/default", state="paused", reason="")
    assert following.answers()[0]["item"]["state"] == "paused"
    site.reactor.advance(60)
    assert "cut off" in following.answers()[-1]["error"] and following.transport.disconnecting


def test_a_certificate_that_cannot_be_used_ends_the_connection(site: Site) -> None:
    def broken() -> Any:
        """No TLS."""
        raise ConfigError("certificate or key cannot be used")

    connection = Wire(RemoteFactory(site, site.reactor, broken))
    assert connection.transport.disconnected and connection.transport.value() == b""


# ---------------------------------------------------------------- its ports


class Port:
    """One of Twisted's."""

    def __init__(self, number: int) -> None:
        self.number, self.open, self.reading = number, True, True

    def stopReading(self) -> None:
        """Twisted."""
        self.reading = False

    def startReading(self) -> None:
        """Twisted."""
        self.reading = True

    def stopListening(self) -> None:
        """Twisted."""
        self.open = False


def test_ports_are_taken_while_the_process_may_and_those_that_stay_are_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """decisions 22: where rights are given up, a port below 1024 could not be had again."""
    ports: list[Port] = []

    def listen(_: Any, host: str, port: int, factory: Any) -> Port:
        if port == 1:
            raise ConfigError("another process has this port")
        ports.append(Port(port))
        return ports[-1]

    def options(*numbers: int, certificate: str = "default") -> Any:
        listening = [f"192.0.2.1:{number}" for number in numbers]
        return loads(f"[control]\nlisten = {listening}\ncertificate = '{certificate}'\n[tls.other]\n")

    monkeypatch.setattr(remote, "listen", listen)
    site.ready = SimpleNamespace(tell=lambda: None)  # type: ignore[attr-defined]
    control = RemoteControl(site)
    monkeypatch.setattr(control, "_context", lambda: None)
    site.options = options(26)
    control.take()
    assert [(one.number, one.reading) for one in ports] == [(26, False)]
    for step in ((26,), (26, 27)):
        site.options = options(*step)
        Loop().run(control.apply())
    site.options = options(26, 27, certificate="other")
    Loop().run(control.apply())
    assert [(one.number, one.open, one.reading) for one in ports] == [(26, True, True), (27, True, True)]
    site.options = options(27, 1)
    Loop().run(control.apply())
    assert [one.open for one in ports] == [False, True] and control.trouble == "another process has this port"
    Loop().run(control.stop())
    assert not any(one.open for one in ports) and control.trouble == ""


# ---------------------------------------------------------------- the configuration


def test_control_is_a_table_of_the_configuration() -> None:
    options = loads('[control]\nlisten = ["192.0.2.1:8026", "*:8027"]\ncertificate = "default"\n')
    assert [str(one) for one in options.remote.listen] == ["192.0.2.1:8026", "*:8027"]
    assert loads("").remote.listen == ()
    for wrong, why in (
        ('listen = ["unix:x"]', "it always has TLS"),
        ('certificate = "other"', r"there is no \[tls.other\]"),
    ):
        with pytest.raises(ConfigError, match=why):
            loads(f"[control]\n{wrong}\n")
