"""The authenticator `directory`: secrets by kind, and passwords that are kept anew after a login."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from mailsrv.auth.directory import PAUSE_SECONDS, RENEWALS, DirectoryAuthenticator, Options, build
from mailsrv.auth.hashing import PasswordHasher
from mailsrv.auth.secrets import KINDS, make_secrets
from mailsrv.errors import AuthenticationFailed, ConfigError, StoreFull, TryLater
from mailsrv.parts import Place, read_table
from mailsrv.testing.authenticator_suite import CONTEXT
from mailsrv.values import Credentials
from mailsrv.wire import ntlm

from .beds import Site

LOGIN, PASSWORD = "anna@example.org", "correct horse"


class Bed(Site):
    """An account with a hash of today and no secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.account = self.add("anna", PASSWORD).account_id

    def part(self, *keep: str, directory: Any = None) -> DirectoryAuthenticator:
        """The authenticator."""
        return DirectoryAuthenticator(directory or self.directory, self.hasher, keep, monotonic=self.monotonic)

    def kept(self) -> dict[str, str]:
        """What is kept besides the hash."""
        return dict(self.stored(LOGIN).secrets)

    def enter(self, part: Any, password: str = PASSWORD) -> Any:
        """Log in, and wait for what follows."""
        identity = self.login(part, "anna", password)
        self.loop.run(part.idle())
        return identity

    def secrets(self, part: Any, kind: str) -> Any:
        """What is handed out."""
        return self.loop.run(part.secrets(kind, "anna", CONTEXT))


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.hasher.close()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    texts: list[str] = []

    def keep(event: Any) -> None:
        texts.append(str(event.get("log_format")) + repr({k: v for k, v in event.items() if not k.startswith("log_")}))

    globalLogPublisher.addObserver(keep)
    yield texts
    globalLogPublisher.removeObserver(keep)


# ---------------------------------------------------------------- kinds


def test_nothing_is_kept_by_default(bed: Bed) -> None:
    part = build(read_table(Options, {}, Place()), bed)
    assert part.schemes == {"password"} and part.kinds == frozenset()
    bed.enter(part)
    assert bed.kept() == {}


@pytest.mark.parametrize("value", ["ntlm", ["NTLM"], ["md5"], [1], {"ntlm": True}])
def test_unknown_kinds_are_mistakes_of_the_configuration(value: Any) -> None:
    with pytest.raises(ConfigError):
        read_table(Options, {"keep": value}, Place())
    assert read_table(Options, {"keep": ["ntlm", "ntlm"]}, Place()).keep == ("ntlm",)


def test_a_login_makes_the_secrets_that_are_wanted(bed: Bed) -> None:
    part = bed.part(*KINDS)
    assert part.schemes == {"password", "secret"} and part.kinds == frozenset(KINDS)
    was = bed.stored(LOGIN).password_hash
    assert bed.secrets(part, "ntlm") is None
    assert bed.enter(part).authcid == LOGIN
    kept = bed.kept()
    assert kept.keys() == set(KINDS) and kept["ntlm"] == ntlm.keep(PASSWORD)
    assert bed.stored(LOGIN).password_hash == was
    for kind in KINDS:
        given = bed.secrets(part, kind)
        assert (given.kind, given.login, given.keys) == (kind, LOGIN, kept[kind])
    bed.enter(part)
    assert bed.kept() == kept, "what is there is not made again"


def test_an_account_may_want_fewer_kinds_never_more(bed: Bed) -> None:
    part = bed.part("ntlm", "cram-md5")
    bed.loop.run(bed.directory.set_keep(bed.account, frozenset({"ntlm", "scram-sha-256"})))
    bed.enter(part)
    assert bed.kept().keys() == {"ntlm"} and bed.secrets(part, "cram-md5") is None
    bed.loop.run(bed.directory.set_keep(bed.account, frozenset()))
    bed.enter(part)
    assert bed.kept() == {}


def test_kinds_that_are_not_wanted_any_more_are_not_served_and_forgotten(bed: Bed) -> None:
    bed.enter(bed.part("ntlm", "cram-md5"))
    part = bed.part("cram-md5")
    given = bed.secrets(bed.part("ntlm"), "ntlm")
    assert bed.secrets(part, "ntlm") is None
    with pytest.raises(AuthenticationFailed):
        bed.loop.run(part.authenticate(Credentials("secret", "anna", secrets=given), CONTEXT))
    bed.enter(part)
    assert bed.kept().keys() == {"cram-md5"}


def test_secrets_of_before_a_new_password_prove_nothing(bed: Bed) -> None:
    part = bed.part("ntlm")
    bed.enter(part)
    given = bed.secrets(part, "ntlm")
    shown = Credentials("secret", "anna", secrets=given)
    assert bed.loop.run(part.authenticate(shown, CONTEXT)).account_id == bed.account
    new = bed.loop.run(make_secrets(bed.hasher, ["ntlm"], "new", bytes))
    bed.loop.run(bed.directory.set_password(bed.account, bed.loop.run(bed.hasher.hash("new")), new))
    with pytest.raises(AuthenticationFailed):
        bed.loop.run(part.authenticate(shown, CONTEXT))
    bed.loop.run(bed.directory.remove_account(bed.account))
    with pytest.raises(AuthenticationFailed):
        bed.loop.run(part.authenticate(shown, CONTEXT))


def test_what_an_account_is_denied_comes_with_the_identity(bed: Bed) -> None:
    part = bed.part("ntlm")
    bed.loop.run(bed.directory.set_denied(bed.account, frozenset({"pop3"})))
    assert bed.enter(part).denied == {"pop3"}
    shown = Credentials("secret", "anna", "", "bo@example.org", secrets=bed.secrets(part, "ntlm"))
    identity = bed.loop.run(part.authenticate(shown, CONTEXT))
    assert (identity.denied, identity.authzid) == ({"pop3"}, "bo@example.org")


# ---------------------------------------------------------------- hashes


@pytest.mark.parametrize("old", ["{SSHA.HEX}5fa2b1d4", "{PLAIN}" + PASSWORD])
def test_a_hash_of_an_older_kind_is_made_anew_by_the_first_login(bed: Bed, old: str) -> None:
    import hashlib

    if old.startswith("{SSHA"):
        old = "{SSHA.HEX}" + hashlib.sha1(PASSWORD.encode() + b"salt").hexdigest() + b"salt".hex()
    bed.loop.run(bed.directory.set_password(bed.account, old))
    part = bed.part("ntlm")
    with pytest.raises(AuthenticationFailed):
        bed.enter(part, "wrong")
    assert bed.stored(LOGIN).password_hash == old, "a wrong password changes nothing"
    bed.enter(part)
    new = bed.stored(LOGIN)
    assert new.password_hash.startswith("$argon2id$") and new.secrets.keys() == {"ntlm"}
    assert bed.enter(part) is not None and bed.stored(LOGIN).password_hash == new.password_hash


def test_a_hash_of_another_cost_is_made_anew(bed: Bed) -> None:
    bed.hasher.close()
    bed.hasher = PasswordHasher(bed.loop.call_from_thread, memory_kib=16)
    assert ",t=2,p=1$" in bed.stored(LOGIN).password_hash
    bed.enter(bed.part())
    assert "m=16," in bed.stored(LOGIN).password_hash
    bed.enter(bed.part())


def test_a_password_changed_meanwhile_stays(bed: Bed) -> None:
    class Slow:
        """A directory whose password is changed before the new form of the old one arrives."""

        def __getattr__(self, name: str) -> Any:
            return getattr(bed.directory, name)

        async def refresh(self, account: int, was: str, encoded: str, secrets: Any) -> bool:
            await bed.directory.set_password(account, "{PLAIN}new")
            done: bool = await bed.directory.refresh(account, was, encoded, secrets)
            refreshed.append(done)
            return done

    refreshed: list[bool] = []
    from zope.interface import alsoProvides

    from mailsrv.interfaces import IAccountAdmin, IDirectory

    slow = Slow()
    alsoProvides(slow, IDirectory, IAccountAdmin)
    bed.enter(bed.part("ntlm", directory=slow))
    assert refreshed == [False]
    assert bed.stored(LOGIN).password_hash == "{PLAIN}new" and bed.kept() == {}


# ---------------------------------------------------------------- in the background


class Held:
    """A directory that answers a refresh when the test says so, or fails it."""

    def __init__(self, bed: Bed, failure: Exception | None = None) -> None:
        from zope.interface import alsoProvides

        from mailsrv.interfaces import IAccountAdmin, IDirectory

        self.bed, self.failure, self.gate = bed, failure, Deferred[None]()
        self.calls: list[int] = []
        alsoProvides(self, IDirectory, IAccountAdmin)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bed.directory, name)

    async def refresh(self, account: int, was: str, encoded: str, secrets: Any) -> bool:
        self.calls.append(account)
        if self.failure is not None:
            raise self.failure
        waiter: Deferred[None] = Deferred()
        self.gate.addCallback(lambda _: waiter.callback(None))
        await waiter
        return True


def test_no_login_waits_one_account_is_worked_on_once_and_few_at_a_time(bed: Bed) -> None:
    held = Held(bed)
    part = bed.part("ntlm", directory=held)
    for number in range(RENEWALS + 2):
        bed.add(f"u{number}", PASSWORD)
    for _ in range(2):
        for number in range(RENEWALS + 2):
            assert bed.login(part, f"u{number}", PASSWORD) is not None
    # A second round of hashing behind what is under way: by then all of it has come to the directory.
    bed.loop.run(bed.hasher.hash("x"))
    bed.loop.run(bed.hasher.hash("x"))
    assert len(held.calls) == len(set(held.calls)) == RENEWALS
    closing = Deferred.fromCoroutine(part.close())
    assert not closing.called, "a site that closes waits"
    held.gate.callback(None)
    assert closing.called
    assert bed.login(part, "anna", PASSWORD) is not None
    assert len(held.calls) == RENEWALS, "nothing is begun after close"


def test_a_failure_is_logged_once_without_secrets_and_tried_again_later(bed: Bed, logged: list[str]) -> None:
    held = Held(bed, StoreFull())
    part = bed.part("ntlm", directory=held)
    for _ in range(3):
        assert bed.enter(part) is not None
    assert len(held.calls) == 1
    (line,) = [text for text in logged if "could not be kept anew" in text]
    assert LOGIN in line and PASSWORD not in line and ntlm.keep(PASSWORD) not in line
    bed.now += PAUSE_SECONDS
    bed.enter(part)
    assert len(held.calls) == 2


def test_a_bug_in_the_background_is_logged_and_harms_no_login(bed: Bed, logged: list[str]) -> None:
    part = bed.part("ntlm", directory=Held(bed, ZeroDivisionError("a bug")))
    assert bed.enter(part) is not None and bed.enter(part) is not None
    assert any("could not be kept anew" in text for text in logged)
    bed.loop.run(part.close())


def test_a_full_pool_keeps_nobody_from_logging_in(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    part = bed.part("ntlm")
    bed.enter(bed.part())

    async def full(*arguments: Any) -> Any:
        raise TryLater()

    monkeypatch.setattr(bed.hasher, "run", full)
    assert bed.enter(part) is not None and bed.kept() == {}


def test_a_directory_that_cannot_be_changed_is_left_as_it_is(bed: Bed) -> None:
    class Readable:
        """IDirectory alone."""

        async def credentials(self, login: str) -> Any:
            return await bed.directory.credentials(login)

    part = bed.part("ntlm", directory=Readable())
    assert bed.enter(part) is not None and bed.kept() == {}
    bed.loop.run(part.close())


def test_secrets_of_a_password_by_an_administrator(bed: Bed) -> None:
    assert bed.loop.run(make_secrets(bed.hasher, (), PASSWORD, bytes)) == {}
    made = bed.loop.run(make_secrets(bed.hasher, KINDS, PASSWORD, bytes))
    assert made.keys() == set(KINDS) and all(text.isascii() and PASSWORD not in text for text in made.values())
