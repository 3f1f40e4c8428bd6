"""The authenticator `directory`: who is let in, and what time tells."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from mailsrv.auth.directory import Options, build
from mailsrv.auth.hashing import PasswordHasher
from mailsrv.auth.names import login_address
from mailsrv.errors import AuthenticationFailed
from mailsrv.interfaces import IAuthenticator
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import Address, AuthContext, Credentials, DomainFacts, Identity, Peer


class Bed:
    """One account me@example.org, password "secret"; `checks` are the hashes checked."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.directory: Any = MemoryStore(
            lambda: 0.0, [DomainFacts("example.org"), DomainFacts("bücher.example")]
        ).directory
        self.hasher = PasswordHasher(self.loop.call_from_thread)
        self.checks: list[str] = []
        real = self.hasher._check

        def check(encoded: str, secret: bytes) -> bool | None:
            self.checks.append(encoded)
            return real(encoded, secret)

        self.hasher._check = check  # type: ignore[method-assign]
        self.part = build(Options(), SimpleNamespace(directory=self.directory, hasher=self.hasher))
        encoded = self.loop.run(self.hasher.hash("secret"))
        self.account = self.loop.run(self.directory.add_account(Address("me", "example.org"), encoded))

    def login(self, name: str, password: str = "secret", authzid: str = "", domain: str = "example.org") -> Any:
        """The identity or None."""
        context = AuthContext("imap", "imap/default", Peer("192.0.2.1"), login_domain=domain)
        return self.loop.run(self.part.authenticate(Credentials("password", name, password, authzid), context))


@pytest.fixture(scope="module")
def shared() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.hasher.close()


@pytest.fixture
def bed(shared: Bed) -> Iterator[Bed]:
    shared.checks.clear()
    yield shared
    shared.loop.run(shared.directory.set_enabled(shared.account.account_id, True))


def test_it_keeps_its_contract(bed: Bed) -> None:
    assert verifyObject(IAuthenticator, bed.part)
    assert bed.part.schemes == {"password"}


@pytest.mark.parametrize("name", ["me", "ME", "me@example.org", "Me@EXAMPLE.org", "EXAMPLE\\me", "example.org\\Me"])
def test_s106_every_way_to_write_a_login(bed: Bed, name: str) -> None:
    assert bed.login(name) == Identity(bed.account.account_id, "me@example.org")


def test_s106_without_a_login_domain_a_bare_name_is_nobodys(bed: Bed) -> None:
    assert bed.login("me", domain="") is None
    assert bed.login("EXAMPLE\\me", domain="") is None


def test_an_unknown_user_is_not_its_own_and_costs_nothing_here(bed: Bed) -> None:
    assert bed.login("nobody") is None
    assert bed.checks == [], "whoever asked all authenticators in vain runs one decoy"


def test_a_disabled_account_is_refused_after_the_same_check(bed: Bed) -> None:
    bed.loop.run(bed.directory.set_enabled(bed.account.account_id, False))
    for password in ("secret for a first time", "secret"):
        with pytest.raises(AuthenticationFailed) as refused:
            bed.login("me", password)
        assert refused.value.text == AuthenticationFailed.text


def test_an_account_without_a_hash_may_have_its_password_elsewhere(bed: Bed) -> None:
    address = Address("hashless", "example.org")
    bed.loop.run(bed.directory.add_account(address, ""))
    for password in ("", "secret"):
        assert bed.login("hashless", password) is None
    assert bed.checks == [], "whoever asked all authenticators in vain runs one decoy"


def test_a_changed_password_holds_at_once(bed: Bed) -> None:
    address = Address("changing", "example.org")
    facts = bed.loop.run(bed.directory.add_account(address, bed.loop.run(bed.hasher.hash("old"))))
    assert bed.login("changing", "old") is not None and bed.login("changing", "old") is not None
    bed.loop.run(bed.directory.set_password(facts.account_id, bed.loop.run(bed.hasher.hash("new"))))
    with pytest.raises(AuthenticationFailed):
        bed.login("changing", "old")
    assert bed.login("changing", "new") is not None


def test_an_alias_of_one_account_logs_in_as_the_account(bed: Bed) -> None:
    bed.loop.run(bed.directory.add_alias(Address("boss", "example.org"), [Address("me", "example.org")]))
    assert bed.login("boss@example.org").authcid == "me@example.org"


def test_rfc4616_an_authzid_is_passed_on_unchanged_for_the_caller_to_judge(bed: Bed) -> None:
    for authzid in ("", "ME@example.org", "you", "root@elsewhere.example"):
        assert bed.login("me", authzid=authzid).authzid == authzid


@pytest.mark.parametrize(
    "name", ["", "@", "@example.org", "me@", "a\0b", "a\nb", "\\", "EXAMPLE\\", "x" * 321, "me\x7f"]
)
def test_what_can_be_nobodys_name_is_refused(bed: Bed, name: str) -> None:
    with pytest.raises(AuthenticationFailed):
        bed.login(name)


@pytest.mark.parametrize(
    ("login", "domain", "address"),
    [
        ("Bob", "Example.ORG", Address("bob", "example.org")),
        ("bob", "", Address("bob", "")),
        ("a@b@c.example", "", Address("a@b", "c.example")),
        ("CORP\\bob", "example.org", Address("bob", "corp")),
        ("CORP\\bob", "corp.example.org", Address("bob", "corp.example.org")),
        ("x@XN--BCHER-KVA.example", "", Address("x", "bücher.example")),
        ("x@xn--.example", "", Address("x", "xn--.example")),
        ("x@XN--fa-hia.example", "", Address("x", "faß.example")), ("x@FAß.example", "", Address("x", "faß.example")),
        ("x@xn--fa-hia.xn--abc-", "", Address("x", "xn--fa-hia.xn--abc-")),
        ("ju\u0308rgen@b\u00fccher.example", "", Address("j\u00fcrgen", "b\u00fccher.example")),
    ],
)
def test_decisions_33_login_names_have_one_form(login: str, domain: str, address: Address) -> None:
    assert login_address(login, domain) == address


DOMAINS = {"corp": "bücher.example", "both": "", "example": "example.net"}


@pytest.mark.parametrize(
    ("login", "domain", "address"),
    [
        ("CORP\\bob", "example.org", Address("bob", "bücher.example")),
        ("corp\\Bob", "", Address("bob", "bücher.example")),
        ("EXAMPLE\\bob", "example.org", Address("bob", "example.net")),
        ("OTHER\\bob", "other.example", Address("bob", "other.example")),
        ("OTHER\\bob", "example.org", Address("bob", "other")),
        ("bob", "example.org", Address("bob", "example.org")),
        ("bob@corp", "example.org", Address("bob", "corp")),
    ],
)
def test_decisions_33_a_windows_domain_is_looked_up_first(login: str, domain: str, address: Address) -> None:
    assert login_address(login, domain, DOMAINS) == address


@pytest.mark.parametrize("login", ["BOTH\\bob", "both\\bob", "CORP\\"])
def test_decisions_33_a_windows_domain_that_could_mean_several_is_refused(login: str) -> None:
    with pytest.raises(AuthenticationFailed):
        login_address(login, "both.example", DOMAINS)
