"""The authenticator `cred`: checkers of twisted.cred."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ANONYMOUS, AllowAnonymousAccess
from twisted.cred.credentials import ICredentials, IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from twisted.logger import globalLogPublisher

from mailsrv.auth.accounts import Accounts
from mailsrv.auth.cred import CredAuthenticator, Options, build
from mailsrv.errors import AuthenticationFailed, ConfigError, TryLater
from mailsrv.parts import Place, read_table
from mailsrv.testing.authenticator_suite import CONTEXT
from mailsrv.values import Credentials

from .beds import Site


class Checker:
    """Answers what the test says, and notes what it was asked."""

    def __init__(self, answer: Any, *kinds: Any) -> None:
        self.answer, self.credentialInterfaces = answer, kinds or (IUsernamePassword,)
        self.asked: list[Any] = []

    def requestAvatarId(self, credentials: Any) -> Any:
        """ICredentialsChecker."""
        self.asked.append((credentials.username, credentials.password))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.hasher.close()


def make(site: Site, answer: Any, **options: Any) -> tuple[CredAuthenticator, Checker]:
    checker = Checker(answer)
    return CredAuthenticator(checker, Accounts(site.directory, True), reactor=site.reactor, **options), checker


def test_a_checker_named_like_in_twistd_lets_its_users_in(site: Site, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("anna:correct horse\n")
    part = build(read_table(Options, {"checker": f"file:{tmp_path}/users", "domain": "Example.org"}, Place()), site)
    assert site.login(part, "anna", "correct horse").authcid == "anna@example.org"
    for name, password in (("anna", "wrong"), ("bo", "correct horse")):
        with pytest.raises(AuthenticationFailed):
            site.login(part, name, password)
    assert site.login(part, "anna@example.net", "correct horse") is None
    part = build(read_table(Options, {"checker": "memory:bo@example.net:x"}, Place()), site)
    assert site.login(part, "bo@example.net", "x").authcid == "bo@example.net"


def test_it_is_given_octets_of_a_whole_address_or_of_a_local_part(site: Site) -> None:
    part, checker = make(site, b"anna")
    site.login(part, "Änna", "pa\u0308ss")
    assert checker.asked == [("änna@example.org".encode(), "päss".encode())]
    part, checker = make(site, b"anna", domain="example.org")
    site.login(part, "Anna", "x")
    assert checker.asked == [(b"anna", b"x")]


@pytest.mark.parametrize("avatar", [b"bo", "bo", "BO@example.org", b"bo@example.org"])
def test_the_avatar_id_is_the_login(site: Site, avatar: Any) -> None:
    assert site.login(make(site, avatar)[0], "alias", "x").authcid == "bo@example.org"


@pytest.mark.parametrize(
    "answer", [UnauthorizedLogin("no"), LoginFailed(), "fail", ANONYMOUS, "", b"", 17, b"\xff\0", None]
)
def test_whatever_is_nobody_is_a_refusal(site: Site, answer: Any) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        site.login(make(site, fail(UnauthorizedLogin()) if answer == "fail" else answer)[0], "anna", "x")
    assert refused.value.text == AuthenticationFailed.text and site.accounts() == []


def test_names_of_other_domains_are_not_even_asked_for(site: Site) -> None:
    part, checker = make(site, b"anna")
    for name in ("anna@foreign.example", "anna@relayed.example"):
        assert site.login(part, name, "x") is None
    assert checker.asked == []


def test_a_checker_that_is_broken_or_slow_is_a_temporary_failure(site: Site) -> None:
    texts: list[Any] = []
    globalLogPublisher.addObserver(texts.append)
    with pytest.raises(TryLater):
        site.login(make(site, OSError("secret-marker"))[0], "anna", "x")
    part, _ = make(site, Deferred(), timeout=5.0)
    attempt = Deferred.fromCoroutine(part.authenticate(Credentials("password", "anna", "x"), CONTEXT))
    site.reactor.advance(5.0)
    failures: list[Any] = []
    attempt.addErrback(failures.append)
    globalLogPublisher.removeObserver(texts.append)
    assert failures[0].type is TryLater
    assert len(texts) == 2 and "secret-marker" not in repr(texts)


def test_only_checkers_of_names_and_passwords_will_do(site: Site) -> None:
    accounts = Accounts(site.directory, True)
    others = (Checker("x", IUsernameHashedPassword), Checker("x", ICredentials))
    for checker in (AllowAnonymousAccess(), *others, object()):
        with pytest.raises(ConfigError):
            CredAuthenticator(checker, accounts)
    CredAuthenticator(Checker("x", IUsernameHashedPassword, IUsernamePassword), accounts)


@pytest.mark.filterwarnings("ignore:'spwd'")
@pytest.mark.parametrize("text", ["nosuch:kind", "memory:secret-marker", "", "anonymous"])
def test_a_checker_that_cannot_be_made_is_a_mistake_of_the_configuration(site: Site, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(read_table(Options, {"checker": text}, Place()), site)
    assert error.value.key == "auth.cred.checker" and "secret-marker" not in str(error.value)
