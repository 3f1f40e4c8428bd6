"""Attacks on the login that crossed the seams between its parts: who is meant, who is counted, what is stale."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.auth import certificates
from mailsrv.auth.accounts import Accounts
from mailsrv.auth.anonymous import AnonymousAuthenticator
from mailsrv.auth.attempt import Attempt, Door
from mailsrv.auth.authorizer import AccountsAuthorizer, ServerRules
from mailsrv.auth.certificates import CertificateAuthenticator
from mailsrv.auth.directory import DirectoryAuthenticator
from mailsrv.auth.guard import Guard, GuardSettings
from mailsrv.auth.roles import Role
from mailsrv.auth.secrets import make_secrets
from mailsrv.errors import AuthenticationFailed, NotPermitted, TryLater
from mailsrv.values import Address, AuthContext, Credentials, DomainFacts, Identity, Peer
from mailsrv.wire.sasl import Anonymous, ScramSha256

from .beds import Site

VICTIM = "victim@example.org"


class Room:
    """A site with its door, a guard and an authorizer with roles; anna, victim and boss have accounts."""

    def __init__(self, *roles: Role, keep: tuple[str, ...] = (), **guard: Any) -> None:
        domains = (DomainFacts("example.org"), DomainFacts("sales.example"), DomainFacts("bücher.example"))
        self.site = Site(domains=domains)
        self.loop, self.directory = self.site.loop, self.site.directory
        for name in ("anna", "victim", "boss"):
            secrets = self.loop.run(make_secrets(self.site.hasher, keep, f"{name}'s", bytes))
            self.site.add(name, f"{name}'s", secrets=secrets)
        settings = GuardSettings(**{"per_address": 5, "per_account": 5, **guard})
        self.guard = Guard(settings, monotonic=self.site.monotonic, wall=lambda: 0.0, random=bytes)
        self.part = DirectoryAuthenticator(self.directory, self.site.hasher, keep)
        rules = {"smtp/default": ServerRules("smtp"), "imap/default": ServerRules("imap")}
        self.door = Door(
            server="smtp/default", authenticators=[self.part, AnonymousAuthenticator()],
            authorizer=AccountsAuthorizer(self.directory, rules, roles), directory=self.directory,
            sleep=self.sleep, decoy=self.site.hasher.decoy, guard=self.guard,
        )  # fmt: skip
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)

    def attempt(self, host: str = "192.0.2.1") -> Attempt:
        """A new one."""
        context = AuthContext(
            "smtp", "smtp/default", Peer(host), login_domain="example.org",
            decoy=lambda octets: hashlib.sha256(octets).digest(),
        )  # fmt: skip
        return Attempt(self.door, context)

    def login(self, name: str, password: str, authzid: str = "", host: str = "192.0.2.1") -> Identity:
        """By name and password, with all that a session tells the guard."""
        attempt = self.attempt(host)
        self.guard.admit(host)
        try:
            found: Identity = self.loop.run(attempt.check(Credentials("password", name, password, authzid)))
        except AuthenticationFailed as error:
            attempt.failed(error)
            raise
        attempt.succeeded()
        return found

    def guess(self, name: str, password: str, host: str = "192.0.2.1") -> None:
        """A wrong one."""
        with pytest.raises(AuthenticationFailed):
            self.login(name, password, host=host)

    def anonymous(self, trace: bytes, host: str = "192.0.2.1") -> None:
        """A login as nobody."""
        attempt = self.attempt(host)
        found = self.loop.run(attempt.run(Anonymous(), trace, nothing))
        assert found is not None and found.anonymous
        attempt.succeeded()


async def nothing(challenge: bytes) -> bytes | None:
    """Gives up."""
    return None


@pytest.fixture
def make() -> Iterator[Callable[..., Room]]:
    """Rooms that are cleared away."""
    rooms: list[Room] = []

    def made(*roles: Role, **settings: Any) -> Room:
        rooms.append(Room(*roles, **settings))
        return rooms[-1]

    yield made
    for room in rooms:
        room.loop.run(room.site.close())


# ---------------------------------------------------------------- who is meant


def test_login_as_is_judged_by_whose_account_it_is_not_by_the_alias_that_leads_there(make: Any) -> None:
    """Who looks after one domain can make aliases in it; one that leads to another domain opens no account there."""
    room = make(Role("sales", ["anna@example.org"], ["login.as"], ["domain/sales.example"]))
    room.loop.run(room.directory.add_account(Address("bob", "sales.example"), ""))
    for alias, target in (("sneak", Address("boss", "example.org")), ("desk", Address("bob", "sales.example"))):
        room.loop.run(room.directory.add_alias(Address(alias, "sales.example"), [target]))
    assert room.login("anna", "anna's", "bob@sales.example").authzid == "bob@sales.example"
    assert room.login("anna", "anna's", "desk@sales.example").authzid == "bob@sales.example"
    for other in ("boss@example.org", "sneak@sales.example", "nobody@example.org"):
        with pytest.raises(NotPermitted):
            room.login("anna", "anna's", other)


# ---------------------------------------------------------------- who is counted


def test_a_trace_of_an_anonymous_login_is_nobodys_login_for_the_guard(make: Any) -> None:
    """RFC 4505: it is whatever a guest says, so it neither makes an address familiar nor forgives its guesses."""
    room = make(per_address=None)
    for number in range(5):
        room.guess("victim", str(number), f"198.51.100.{number}")
    room.anonymous(VICTIM.encode())
    assert room.slept == []
    room.loop.run(room.guard.account(VICTIM, "198.51.100.77", room.sleep))
    room.slept.clear()
    room.loop.run(room.guard.account(VICTIM, "192.0.2.1", room.sleep))
    assert room.slept, "the guest has to wait like any stranger"


def test_an_anonymous_login_forgives_no_guesses(make: Any) -> None:
    room = make(per_account=None)
    for number in range(4):
        room.guess("victim", str(number))
    room.anonymous(VICTIM.encode())
    room.guess("victim", "4")
    with pytest.raises(TryLater):
        room.guard.admit("192.0.2.1")


def test_a_right_token_with_another_name_beside_it_forgives_no_guesses_at_that_name(make: Any) -> None:
    """RFC 7628 section 3.1: the user is a hint; an authenticator that does not look at it is no way round the guard."""
    room = make(per_account=None)

    async def mine(credentials: Credentials, context: AuthContext) -> Identity:
        return Identity(1, "anna@example.org")

    for number in range(4):
        room.guess("victim", str(number))
    room.door.authenticators = [SimpleNamespace(schemes=frozenset({"token"}), authenticate=mine), room.part]
    attempt = room.attempt()
    assert room.loop.run(attempt.check(Credentials("token", "victim", token="anna's"))).account_id == 1
    attempt.succeeded()
    room.guess("victim", "4")
    with pytest.raises(TryLater):
        room.guard.admit("192.0.2.1")


@pytest.mark.parametrize("trace", [b"guest@", b"@", b"DOMAIN\\", b"x" * 200])
def test_any_token_is_a_trace_rfc4505_2(make: Any, trace: bytes) -> None:
    make().anonymous(trace)


def test_spellings_of_one_name_are_one_account_for_the_guard(make: Any) -> None:
    """The directory compares without case, which knows more than small letters: the guard must not know less."""
    room = make(per_address=None)
    room.loop.run(room.directory.add_account(Address("jessica", "example.org"), ""))
    for spelling in ("jessica", "jeſsica", "jesſica", "jeſſica", "JESSICA"):
        room.guess(spelling, spelling)
    assert [(ban.kind, ban.subject) for ban in room.guard.bans()] == [("account", "jessica@example.org")]


def test_a_proof_is_not_looked_at_when_its_address_was_banned_meanwhile(make: Any) -> None:
    """SCRAM asks for secrets first: who opens a hundred exchanges has not a hundred guesses."""
    room = make(keep=("scram-sha-256",), per_account=None)
    mechanism, answered, late = ScramSha256(), [], []
    asked: list[Deferred[bytes]] = []

    async def ask(challenge: bytes) -> bytes:
        asked.append(Deferred())
        proof = base64.b64encode(len(asked).to_bytes(32, "big"))
        nonce = challenge.partition(b",")[0]
        await asked[-1]
        return b"c=biws,%b,p=%b" % (nonce, proof)

    async def one() -> None:
        attempt = room.attempt()
        room.guard.admit("192.0.2.1")
        try:
            await attempt.run(mechanism, b"n,,n=victim,r=abc", ask)
        except AuthenticationFailed as error:
            attempt.failed(error)
            answered.append(error)
        except TryLater as error:
            late.append(error)

    tasks = [Deferred.fromCoroutine(one()) for _ in range(20)]
    assert len(asked) == 20
    for waiting in asked:
        waiting.callback(b"")
    assert len(tasks) == 20 and (len(answered), len(late)) == (5, 15)


def test_a_burst_of_guesses_has_no_more_answers_than_one_after_the_other(make: Any) -> None:
    """All are admitted before the first has failed, and stand in the queue of the pool."""
    room, heard = make(per_account=None), []

    async def guess(number: int) -> None:
        attempt = room.attempt()
        room.guard.admit("192.0.2.1")
        try:
            await attempt.check(Credentials("password", "victim", "victim's" if number == 19 else str(number)))
        except AuthenticationFailed as error:
            attempt.failed(error)
            heard.append("wrong")
        except TryLater:
            heard.append("later")

    room.loop.gather([guess(number) for number in range(20)])
    assert heard == ["wrong"] * 5 + ["later"] * 15


def test_a_login_without_a_password_asks_no_authenticator(make: Any) -> None:
    """RFC 4513 section 5.1.2: many a directory takes an empty password for an anonymous bind, and says yes.

    AUTH PLAIN has none (RFC 4616), but LOGIN "" of IMAP has.
    """
    room = make()
    room.door.authenticators = [SimpleNamespace(schemes=frozenset({"password"}), authenticate=yes)]
    with pytest.raises(AuthenticationFailed):
        room.login("victim", "")
    assert room.login("victim", "anything").account_id == 2


async def yes(credentials: Credentials, context: AuthContext) -> Identity:
    """Everybody is the victim."""
    return Identity(2, VICTIM)


# ---------------------------------------------------------------- what is stale


def test_who_is_disabled_while_the_password_is_checked_does_not_get_in(make: Any) -> None:
    """The pool may have a queue of seconds."""
    room = make()
    before, real = [room.site.disable(VICTIM)], room.site.hasher.verify

    async def verify(*given: Any) -> bool:
        right: bool = await real(*given)
        while before:
            await before.pop()
        return right

    room.site.hasher.verify = verify
    room.guess("victim", "victim's")
    room.loop.run(room.directory.set_enabled(2, True))
    assert room.login("victim", "victim's").account_id == 2
    before.append(room.directory.set_password(2, ""))
    room.guess("victim", "victim's")


# ---------------------------------------------------------------- who can be told from nobody


def salts(room: Room, *names: str) -> list[bytes]:
    """What SCRAM shows to those who ask."""
    heard: list[bytes] = []

    async def ask(challenge: bytes) -> bytes | None:
        heard.append(challenge.split(b",")[1])
        return None

    for name in names:
        room.loop.run(room.attempt().run(ScramSha256(), b"n,,n=%b,r=abc" % name.encode(), ask))
    return heard


SPELLINGS = [
    ("{}essica", "{}eſſica", "{}ESSICA", "{}essica@example.org", "EXAMPLE\\{}essica", "{}ES\u017fICA@Example.ORG"),
    ("{}straße", "{}strasse", "{}STRASSE", "{}stra\u1e9ee"),
    ("{}x@bücher.example", "{}x@xn--bcher-kva.example", "{}x@BÜCHER.example", "{}X@bu\u0308cher.example"),
    ("{}\ufb01n", "{}fin"),
]


@pytest.mark.parametrize("names", SPELLINGS)
def test_salts_are_as_constant_for_nobody_as_for_an_account(make: Any, names: tuple[str, ...]) -> None:
    """Else two spellings of one name tell whether there is such an account (RFC 5802 section 9)."""
    room = make(keep=("scram-sha-256",))
    local, _, domain = names[0].format("j").partition("@")
    secrets = room.loop.run(make_secrets(room.site.hasher, ("scram-sha-256",), "secret", bytes))
    room.loop.run(room.directory.add_account(Address(local, domain or "example.org"), "", secrets))
    assert len(set(salts(room, *(name.format("j") for name in names)))) == 1
    assert len(set(salts(room, *(name.format("n") for name in names)))) == 1
    # Another domain is another name.
    assert len(set(salts(room, "n@straße.example", "n@strasse.example"))) == 2


def test_checks_for_nobody_run_as_often_as_those_for_accounts(make: Any) -> None:
    """Equal checks share one run.  If those for all names that nobody has were equal, a spray of one password would
    be answered sooner for them."""
    room, runs = make(), []
    submit = room.site.hasher._submit

    def counted(job: Any, source: str = "") -> Any:
        runs.append(job)
        return submit(job, source)

    room.site.hasher._submit = counted
    credentials = [Credentials("password", name, "Summer2026!") for name in ("n1", "n2", "n3", "n1", "N1")]

    async def fail(shown: Credentials) -> None:
        with pytest.raises(AuthenticationFailed):
            await room.attempt().check(shown)

    room.loop.gather([fail(one) for one in credentials])
    assert len(runs) == 3


def test_a_connection_of_an_authenticator_that_breaks_is_not_the_clients(make: Any) -> None:
    """A reset of the directory's own connection must not look as if the client had gone: that ends it in silence."""
    room = make()

    async def broken(credentials: Credentials, context: AuthContext) -> Identity:
        raise ConnectionResetError("of the directory")

    room.door.authenticators = [SimpleNamespace(schemes=frozenset({"password"}), authenticate=broken)]
    with pytest.raises(TryLater):
        room.login("victim", "victim's")


# ---------------------------------------------------------------- mail for those who are known elsewhere


def test_what_makes_no_sense_in_a_database_is_no_refusal_of_mail(make: Any) -> None:
    """RCPT was answered with "Authentication credentials invalid", for good."""
    room = make()

    async def known(address: Address) -> bool:
        raise AuthenticationFailed()

    with pytest.raises(TryLater):
        room.loop.run(Accounts(room.directory, True).seen(Address("new", "example.org"), known))


# ---------------------------------------------------------------- who is known elsewhere


def test_who_looks_like_somebody_elsewhere_does_not_get_his_account(make: Any) -> None:
    """A database may have both "sam" and "ſam", whoever chose that name; here they are one name (decisions 33)."""
    room = make()
    accounts, shown = Accounts(room.directory, True), Credentials("password", "", "secret")
    for name in ("sam", "straße"):
        room.loop.run(room.directory.add_account(Address(name, "example.org"), ""))
    room.loop.run(room.directory.add_alias(Address("sales", "example.org"), [Address("sam", "example.org")]))
    for name, owner in (("sam", "sam"), ("straße", "straße"), ("sales", "sam")):
        found = room.loop.run(accounts.identity(Address(name, "example.org"), shown))
        assert found.authcid == f"{owner}@example.org"
    for name in ("ſam", "straſse", "ſales"):
        with pytest.raises(AuthenticationFailed):
            room.loop.run(accounts.identity(Address(name, "example.org"), shown))
    assert room.loop.run(accounts.identity(Address("ﬁſh", "example.org"), shown)).authcid == "ﬁſh@example.org"
    with pytest.raises(AuthenticationFailed):
        room.loop.run(accounts.identity(Address("fish", "example.org"), shown))


def test_a_certificate_for_a_name_that_looks_like_an_account_is_not_its(make: Any, monkeypatch: Any) -> None:
    """RFC 8398: an authority may well certify a mailbox "ſam"."""
    room = make()
    room.loop.run(room.directory.add_account(Address("sam", "example.org"), ""))
    context = AuthContext("imap", "imap/default", Peer("192.0.2.1"), login_domain="example.org")
    part, shown = CertificateAuthenticator(room.directory), Credentials("certificate", "", certificate=b"DER")
    monkeypatch.setattr(certificates, "names_of", lambda octets: ("Sam@example.org",))
    assert room.loop.run(part.authenticate(shown, context)).authcid == "sam@example.org"
    monkeypatch.setattr(certificates, "names_of", lambda octets: ("\u017fam@example.org",))
    with pytest.raises(AuthenticationFailed):
        room.loop.run(part.authenticate(shown, context))
