"""One attempt to log in: authenticators in order, permission (S-104), proxies, and what the guard hears."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from zope.interface import implementer

from mailsrv.auth.attempt import Attempt, Door
from mailsrv.errors import AuthenticationFailed, TryLater
from mailsrv.interfaces import IAuthenticator, ISecrets
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.values import (
    ACCEPT,
    Address,
    AuthContext,
    Challenge,
    Credentials,
    DomainFacts,
    Identity,
    NeedSecrets,
    Peer,
    Secrets,
    Verdict,
    Verify,
)
from mailsrv.wire.sasl import Plain

ME, YOU = "me@example.org", "you@example.org"
DENIED = Verdict("reject", "Access denied", "5.7.1")


@implementer(IAuthenticator, ISecrets)
class Known:
    """Knows these names; "right" is the password of all; hands out secrets and takes them back."""

    schemes = frozenset({"password", "secret"})
    kinds = frozenset({"ntlm"})

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[str] = []

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """By name."""
        self.asked.append(credentials.username)
        if credentials.username not in self.names:
            return None
        if credentials.scheme == "password" and credentials.password != "right":
            raise AuthenticationFailed()
        return Identity(self.names.index(credentials.username) + 1, credentials.username, credentials.authzid)

    async def secrets(self, kind: str, username: str, context: AuthContext) -> Secrets | None:
        """One object for each asking."""
        return Secrets(kind, username, "keys") if username in self.names else None


class Guard:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def admit(self, address: str) -> None:
        """Everybody."""

    async def account(self, login: str, address: str, sleep: Any) -> None:
        """At once."""
        self.heard.append(("account", login))

    def failed(self, address: str, login: str, guess: bytes) -> None:
        """Note it."""
        self.heard.append(("failed", address, login, guess))

    def succeeded(self, address: str, login: str) -> None:
        """Note it."""
        self.heard.append(("succeeded", address, login))


class Room:
    """A door with everything behind it; `rules` maps (action, resource) to a verdict."""

    def __init__(self, *authenticators: Any) -> None:
        self.loop = Loop()
        self.directory = MemoryStore(lambda: 0.0, [DomainFacts("example.org")]).directory
        for name in ("me", "you"):
            self.loop.run(self.directory.add_account(Address(name, "example.org"), ""))
        self.rules: dict[tuple[str, str], Verdict] = {("server.use", "imap/default"): ACCEPT}
        self.guard, self.decoys = Guard(), [""][:0]
        self.door = Door(
            server="imap/default",
            authenticators=authenticators or (Known(ME, YOU),),
            authorizer=SimpleNamespace(permits=self.permits),  # type: ignore[arg-type]
            directory=self.directory,
            sleep=self.sleep,
            decoy=self.decoy,
            guard=self.guard,
        )

    async def permits(self, identity: Identity, action: str, resource: str) -> Verdict:
        return self.rules.get((action, resource), DENIED)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody has to wait here")

    async def decoy(self, password: str, source: str, login: str) -> None:
        assert source == "192.0.2.1" and login
        self.decoys.append(password)

    def attempt(self) -> Attempt:
        return Attempt(self.door, AuthContext("imap", "imap/default", Peer("192.0.2.1"), login_domain="example.org"))

    def check(self, name: str = ME, password: str = "right", authzid: str = "") -> Identity:
        found: Identity = self.loop.run(self.attempt().check(Credentials("password", name, password, authzid)))
        return found

    def refused(self, *arguments: str) -> str:
        """The status with which it fails."""
        with pytest.raises(AuthenticationFailed) as caught:
            self.check(*arguments)
        return caught.value.status


def test_several_authenticators_are_asked_in_order_until_one_knows() -> None:
    first, second, third = Known("a@x"), Known(ME), Known(ME)
    room = Room(first, second, third)
    assert room.check() == Identity(1, ME)
    assert (first.asked, second.asked, third.asked) == ([ME], [ME], [])


def test_a_wrong_password_is_the_end_although_another_would_know_it() -> None:
    other = Known(ME)
    room = Room(Known(ME), other)
    assert room.refused(ME, "wrong") == "5.7.8"
    assert other.asked == [] and room.decoys == []


def test_an_unknown_name_costs_one_hash_whatever_the_number_of_authenticators() -> None:
    room = Room(Known(), Known(), Known())
    assert room.refused("nobody@example.org", "guess") == "5.7.8"
    assert room.decoys == ["guess"]


def test_an_authenticator_that_cannot_check_passwords_is_not_asked() -> None:
    tokens = Known(ME)
    tokens.schemes = frozenset({"token"})
    assert Room(tokens, Known(ME)).check() == Identity(1, ME)
    assert tokens.asked == []


def test_s104_right_credentials_without_permission_are_refused() -> None:
    room = Room()
    room.rules["server.use", "imap/default"] = DENIED
    assert room.refused() == "5.7.1"
    room.rules["server.use", "imap/default"] = Verdict("tempfail", "wait")
    with pytest.raises(TryLater):
        room.check()


# ---------------------------------------------------------------- proxies (RFC 4422 section 2)


def test_authzid_of_oneself_changes_nothing() -> None:
    assert Room().check(ME, "right", ME).account_id == 1
    assert Room().check(ME, "right", "ME@Example.ORG").account_id == 1


def test_authzid_of_another_is_for_those_whom_the_authorizer_lets() -> None:
    room = Room()
    assert room.refused(ME, "right", YOU) == "5.7.1"
    room.rules["login.as", YOU] = ACCEPT
    assert room.check(ME, "right", YOU) == Identity(2, ME, YOU)


def test_authzid_of_nobody_or_of_a_disabled_account_is_refused_like_one_without_leave() -> None:
    room = Room()
    room.rules["login.as", "nobody@example.org"] = room.rules["login.as", YOU] = ACCEPT
    assert room.refused(ME, "right", "nobody@example.org") == "5.7.1"
    room.loop.run(room.directory.set_enabled(2, False))
    assert room.refused(ME, "right", YOU) == "5.7.1"


def test_a_proxy_may_use_what_both_may_use() -> None:
    room = Room()
    room.rules["login.as", YOU] = ACCEPT
    room.loop.run(room.directory.set_denied(2, frozenset({"pop3"})))
    assert room.check(ME, "right", YOU).denied == {"pop3"}


# ---------------------------------------------------------------- mechanisms


class Proof:
    """A mechanism made of a function that gives its generator."""

    def __init__(self, steps: Callable[[], Any]) -> None:
        self._steps = steps

    def exchange(self, context: AuthContext, initial: bytes | None) -> Any:
        """The generator."""
        return self._steps()


def run(room: Room, mechanism: Any, *answers: bytes | None, initial: bytes | None = None) -> Any:
    said = list(answers)

    async def ask(challenge: bytes) -> bytes | None:
        return said.pop(0)

    return room.loop.run(room.attempt().run(mechanism, initial, ask))


def test_secrets_come_from_the_first_that_has_them_and_the_proof_goes_back_there() -> None:
    def steps() -> Any:
        secrets = yield NeedSecrets("ntlm", YOU)
        identity = yield Verify(Credentials("secret", YOU, secrets=secrets))
        return identity

    first, second = Known(ME), Known(ME, YOU)
    assert run(Room(first, second), Proof(steps)) == Identity(2, YOU)
    assert first.asked == []


def test_secrets_that_were_not_handed_out_in_this_attempt_prove_nothing() -> None:
    def steps() -> Any:
        yield NeedSecrets("ntlm", ME)
        return (yield Verify(Credentials("secret", ME, secrets=Secrets("ntlm", ME, "keys"))))

    def twice() -> Any:
        secrets = yield NeedSecrets("ntlm", ME)
        yield Verify(Credentials("secret", ME, secrets=secrets))
        return (yield Verify(Credentials("secret", ME, secrets=secrets)))

    def never() -> Any:
        return (yield Verify(Credentials("secret", ME)))

    for wrong in (steps, twice, never):
        with pytest.raises(AuthenticationFailed):
            run(Room(), Proof(wrong))


def test_nobody_has_secrets_of_that_kind() -> None:
    def steps() -> Any:
        secrets = yield NeedSecrets("cram-md5", ME)
        assert secrets is None
        raise AuthenticationFailed()

    with pytest.raises(AuthenticationFailed):
        run(Room(), Proof(steps))


def test_rfc7628_a_mechanism_may_have_a_last_word_about_a_refusal() -> None:
    def steps() -> Any:
        try:
            return (yield Verify(Credentials("password", ME, "wrong")))
        except AuthenticationFailed:
            yield Challenge(b'{"status":"invalid_token"}')
            raise

    with pytest.raises(AuthenticationFailed):
        run(Room(), Proof(steps), b"\x01")


def test_an_abort_is_no_failed_guess() -> None:
    room = Room()
    assert run(room, Plain(), None) is None
    assert room.guard.heard == []


# ---------------------------------------------------------------- the guard


def test_the_guard_hears_canonical_names_before_anybody_is_asked() -> None:
    known = Known(ME)
    room = Room(known)
    attempt = room.attempt()
    with pytest.raises(AuthenticationFailed) as caught:
        room.loop.run(attempt.check(Credentials("password", "ME", "wrong")))
    attempt.failed(caught.value)
    assert room.guard.heard == [("account", ME), ("failed", "192.0.2.1", ME, b"wrong")]


def test_what_is_no_guess_is_not_told_to_the_guard() -> None:
    room = Room()
    room.attempt().failed(AuthenticationFailed("Not base64", "5.5.2"))
    room.attempt().failed(AuthenticationFailed("Access denied", "5.7.1"))
    assert room.guard.heard == []


def test_a_guess_is_what_was_checked_and_not_the_dummy_after_it() -> None:
    def token() -> Any:
        try:
            return (yield Verify(Credentials("token", ME, token="guess")))
        except AuthenticationFailed:
            yield Challenge(b"{}")
            raise

    def proof() -> Any:
        yield Challenge(b"nonce")
        yield NeedSecrets("ntlm", ME)
        raise AuthenticationFailed()

    for mechanism, said, guess in ((Proof(token), b"\x01", b"guess"), (Proof(proof), b"proof", b"proof")):
        room = Room()
        attempt = room.attempt()

        async def ask(challenge: bytes, said: bytes = said) -> bytes | None:
            return said

        with pytest.raises(AuthenticationFailed) as caught:
            room.loop.run(attempt.run(mechanism, None, ask))
        attempt.failed(caught.value)
        assert room.guard.heard[-1] == ("failed", "192.0.2.1", ME, guess)


def test_who_gives_up_after_a_refusal_has_guessed_all_the_same() -> None:
    def steps() -> Any:
        try:
            return (yield Verify(Credentials("token", ME, token="guess")))
        except AuthenticationFailed:
            yield Challenge(b"{}")
            raise

    room = Room()
    with pytest.raises(AuthenticationFailed):
        run(room, Proof(steps), None)
    assert room.guard.heard[-1] == ("failed", "192.0.2.1", ME, b"guess")


def test_a_success_is_told() -> None:
    room = Room()
    attempt = room.attempt()
    room.loop.run(attempt.check(Credentials("password", ME, "right")))
    attempt.succeeded()
    assert room.guard.heard[-1] == ("succeeded", "192.0.2.1", ME)


@pytest.mark.parametrize("name", ["\0", "x" * 400, "@", "me@"])
def test_what_can_be_nobodys_name_is_refused_before_anybody_is_asked(name: str) -> None:
    known = Known(ME)
    room = Room(known)
    assert room.refused(name) == "5.7.8"
    assert known.asked == [] and room.guard.heard == []
