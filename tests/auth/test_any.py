"""The authenticator `any` of test beds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from mailsrv.auth.any import MAX_FILE, AnyAuthenticator, Options, build
from mailsrv.errors import AuthenticationFailed, ConfigError
from mailsrv.interfaces import IAuthenticator
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, AuthContext, Credentials, DomainFacts, Owner, Peer, Unknown

DOMAINS = [
    DomainFacts("example.org"),
    DomainFacts("relayed.example", kind="relay"),
    DomainFacts("plain.example", subaddress=""),
]
CONTEXT = AuthContext("imap", "imap/default", Peer("127.0.0.1"), login_domain="example.org")


class Bed:
    """A memory store without accounts."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.directory: Any = MemoryStore(lambda: 0.0, DOMAINS).directory
        self.part = AnyAuthenticator(self.directory, "secret")

    def attempt(self, name: str, password: str = "secret", authzid: str = "") -> Any:
        """The coroutine of one login."""
        return self.part.authenticate(Credentials("password", name, password, authzid), CONTEXT)

    def login(self, *arguments: str) -> Any:
        """The identity or None."""
        return self.loop.run(self.attempt(*arguments))

    def accounts(self) -> list[str]:
        """Addresses of all accounts."""
        return [str(facts.address) for facts in self.loop.run(self.directory.accounts())]

    def seen(self, local: str, domain: str = "example.org") -> bool:
        """The router's question."""
        answer: bool = self.loop.run(self.part.seen(Address(local, domain)))
        return answer


@pytest.fixture
def bed() -> Bed:
    return Bed()


def test_it_keeps_its_contract(bed: Bed) -> None:
    assert verifyObject(IAuthenticator, bed.part)


def test_every_name_of_a_local_domain_gets_an_account_at_first_sight(bed: Bed) -> None:
    first = bed.login("Alice")
    assert first.authcid == "alice@example.org" and bed.accounts() == ["alice@example.org"]
    assert bed.login("alice@EXAMPLE.org") == first
    assert bed.login("bob@plain.example").account_id != first.account_id
    assert bed.accounts() == ["alice@example.org", "bob@plain.example"]


def test_a_wrong_password_makes_no_account(bed: Bed) -> None:
    for password in ("", "Secret", "secret ", "sécret"):
        with pytest.raises(AuthenticationFailed):
            bed.login("alice", password)
    assert bed.accounts() == []


@pytest.mark.parametrize("name", ["me@elsewhere.example", "me@relayed.example", "CORP\\me"])
def test_names_outside_the_local_domains_are_not_its_business(bed: Bed, name: str) -> None:
    assert bed.login(name) is None and bed.accounts() == []


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "a\x1b[2J", "@example.org", "x" * 65])
def test_what_can_be_nobodys_name_makes_no_account(bed: Bed, name: str) -> None:
    with pytest.raises(AuthenticationFailed):
        bed.login(name)
    assert bed.accounts() == []


class SlowDirectory:
    """A directory whose look-ups all wait for each other, so that everybody finds nobody first."""

    def __init__(self, directory: Any, loop: Loop) -> None:
        self._directory, self._loop = directory, loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._directory, name)

    async def credentials(self, login: str) -> Any:
        from twisted.internet.defer import Deferred

        found = await self._directory.credentials(login)
        later: Deferred[None] = Deferred()
        self._loop.call_from_thread(later.callback, None)
        await later
        return found


def test_concurrent_first_logins_share_one_account(bed: Bed) -> None:
    bed.part = AnyAuthenticator(SlowDirectory(bed.directory, bed.loop), "secret")
    identities = bed.loop.gather([bed.attempt("new") for _ in range(10)])
    assert bed.accounts() == ["new@example.org"]
    assert {identity.account_id for identity in identities} == {identities[0].account_id}


def test_a_disabled_account_is_refused_and_an_authzid_passed_on(bed: Bed) -> None:
    identity = bed.login("alice", "secret", "bob")
    assert (identity.authcid, identity.authzid) == ("alice@example.org", "bob")
    bed.loop.run(bed.directory.set_enabled(identity.account_id, False))
    with pytest.raises(AuthenticationFailed):
        bed.login("alice")


def test_a_name_that_is_an_alias_of_several_is_refused(bed: Bed) -> None:
    targets = [Address("a", "example.org"), Address("b", "example.org")]
    bed.loop.run(bed.directory.add_alias(Address("all", "example.org"), targets))
    with pytest.raises(AuthenticationFailed):
        bed.login("all")


def test_numbered_users_are_somebody_at_rcpt_before_any_login(bed: Bed) -> None:
    assert bed.seen("U17") and bed.seen("u17") and bed.accounts() == ["u17@example.org"]
    assert isinstance(bed.loop.run(bed.directory.resolve(Address("u17", "example.org"))), Owner)
    assert bed.seen("u5+tag") and bed.accounts() == ["u17@example.org", "u5@example.org"]
    assert not bed.seen("u6+tag", "plain.example")


@pytest.mark.parametrize("local", ["u", "ux", "u1x", "xu1", "u-1", "u 1", "u1234567890", "u١", "nobody", "u1\n"])
def test_other_unknown_names_stay_unknown_at_rcpt(bed: Bed, local: str) -> None:
    assert not bed.seen(local) and bed.accounts() == []
    assert isinstance(bed.loop.run(bed.directory.resolve(Address(local, "example.org"))), Unknown)


def test_names_that_logged_in_are_known_at_rcpt(bed: Bed) -> None:
    bed.login("alice")
    assert bed.seen("alice") and bed.seen("alice+tag") and not bed.seen("bob")
    assert not bed.seen("u1", "elsewhere.example") and not bed.seen("u1", "relayed.example") and not bed.seen("u1", "")


def test_numbered_users_wanted_at_once_are_made_once(bed: Bed) -> None:
    part = AnyAuthenticator(SlowDirectory(bed.directory, bed.loop), "secret")
    assert bed.loop.gather([part.seen(Address("u1", "example.org")) for _ in range(10)]) == [True] * 10
    assert bed.accounts() == ["u1@example.org"]


def test_the_password_is_the_first_line_of_a_file_beside_the_configuration(bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pä ss\r\nmore\n", encoding="utf-8")
    bed.part = build(Options("password"), SimpleNamespace(directory=bed.directory, base=tmp_path))
    assert bed.login("alice", "pä ss").authcid == "alice@example.org"
    assert bed.login("alice", "pa\u0308 ss") is not None


@pytest.mark.parametrize("octets", [None, b"", b"\nsecret\n", b"\xff\xfe", b"x" * (MAX_FILE + 1)])
def test_a_file_without_a_password_is_an_error_of_the_configuration(
    bed: Bed, tmp_path: Path, octets: bytes | None
) -> None:
    if octets is not None:
        (tmp_path / "password").write_bytes(octets)
    with pytest.raises(ConfigError) as error:
        build(Options("password"), SimpleNamespace(directory=bed.directory, base=tmp_path))
    assert error.value.key == "auth.any.password_file"


def test_a_directory_that_cannot_be_administered_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        build(Options("password"), SimpleNamespace(directory=object(), base=tmp_path))
