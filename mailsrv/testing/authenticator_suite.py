"""The contract suite of authenticators: subclass `AuthenticatorContract`, give it `make`, and let pytest run it.

    class TestMine(AuthenticatorContract):
        def make(self, tmp_path):
            loop = Loop()
            directory = MemoryStore(time.time, [DomainFacts("example.org")]).directory
            return Subject(
                MyAuthenticator(directory),
                loop,
                right=Credentials("password", "anna@example.org", password="correct horse"),
                wrong=[Credentials("password", "anna@example.org", password="wrong")],
                foreign=[Credentials("password", "stranger@example.org", password="correct horse")],
            )

One that keeps secrets also subclasses `SecretsContract`.  What the suite asks is written in `mailsrv/interfaces.py`
(IAuthenticator, ISecrets).
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface.verify import verifyObject

from ..errors import AuthenticationFailed, MailError, TryLater
from ..interfaces import IAuthenticator, ISecrets
from ..values import AuthContext, Credentials, Identity, Peer, Secrets
from .loop import Loop

SCHEMES = frozenset({"password", "secret", "token", "certificate", "response", "anonymous"})
KINDS = frozenset({"scram-sha-1", "scram-sha-256", "cram-md5", "ntlm", "plain"})
CONTEXT = AuthContext("imap", "imap/default", Peer("192.0.2.1"), login_domain="example.org")

#: What can be nobody's name, and what looks like an attack on what is behind.
NAMES = (
    "", " ", "@", "@example.org", "a\0b", "a\nb", "a\x1b[2J", "\\", "\\\\", "x" * 400, "x" * 100_000, "\ud800", "*",
    "%", "../../etc/passwd", "' OR 1=1 --", ":login", "a:b", "a=b,c=d", "a)(uid=*", "DOMAIN\\", "\u202ea@example.org",
)  # fmt: skip
PASSWORDS = ("", "\0", "x" * 100_000, "\ud800", "' OR 1=1 --", "%s", "\n")


async def _nothing() -> None:
    """Nothing is to be done."""


@frozen
class Subject:
    """An authenticator to be examined, and what is known of it.

    `right` are credentials of somebody; `wrong` such of his that must be refused; `foreign` such that are another
    authenticator's business.  `disable()` forbids that somebody to log in, None where nothing can do that.
    `close()` lets go of threads.  An authenticator that gives out the identity of nobody says so by `anonymous`.
    """

    part: Any
    loop: Loop
    right: Credentials
    wrong: Sequence[Credentials] = ()
    foreign: Sequence[Credentials] = ()
    context: AuthContext = CONTEXT
    disable: Callable[[], Awaitable[Any]] | None = None
    close: Callable[[], Awaitable[Any]] = _nothing
    anonymous: bool = False
    #: Kinds of secrets that somebody certainly has.
    kinds: frozenset[str] = field(default=frozenset())


class AuthenticatorCase:
    """Base of all subjects.  A subclass gives `make`; every test has a subject of its own."""

    subject: Subject

    def make(self, tmp_path: Path) -> Subject:
        """A new subject."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _fresh_subject(self, tmp_path: Path) -> Iterator[None]:
        self.subject = self.make(tmp_path)
        yield
        self.subject.loop.run(_awaited(self.subject.close()))

    def ask(self, credentials: Credentials, **changed: Any) -> Any:
        """What the authenticator says."""
        shown = evolve(credentials, **changed)
        return self.subject.loop.run(self.subject.part.authenticate(shown, self.subject.context))

    def outcome(self, credentials: Credentials, **changed: Any) -> str:
        """ "identity", "none", "failed", "refused" or "later"; any other exception is the test's failure."""
        try:
            found = self.ask(credentials, **changed)
        except AuthenticationFailed:
            return "failed"
        except TryLater:
            return "later"
        except MailError as error:
            return "refused" if error.permanent else "later"
        assert found is None or isinstance(found, Identity)
        return "none" if found is None else "identity"



class AnswersContract(AuthenticatorCase):
    """Who is let in, who is refused, who is left to others."""

    def test_it_keeps_its_contract(self) -> None:
        """The interface, and which schemes and kinds there are."""
        part = self.subject.part
        assert verifyObject(IAuthenticator, part)
        assert isinstance(part.schemes, frozenset) and part.schemes and part.schemes <= SCHEMES
        assert self.subject.right.scheme in part.schemes
        if "secret" in part.schemes:
            assert verifyObject(ISecrets, part)
        if ISecrets.providedBy(part):
            assert part.kinds <= KINDS and bool(part.kinds) == ("secret" in part.schemes)

    def test_right_credentials_give_the_same_identity_each_time(self) -> None:
        """Mine, and right."""
        identity = self.ask(self.subject.right)
        assert isinstance(identity, Identity) and identity.authcid
        assert (identity.account_id == 0) is self.subject.anonymous
        assert self.ask(self.subject.right) == identity

    def test_an_authzid_is_passed_on_unchanged_for_the_caller_to_judge(self) -> None:
        """RFC 4422 section 2."""
        plain = self.ask(self.subject.right)
        for authzid in ("", "Somebody.Else@example.org", "dn:uid=1"):
            assert self.ask(self.subject.right, authzid=authzid) == evolve(plain, authzid=authzid)

    def test_wrong_credentials_are_refused_in_the_same_words(self) -> None:
        """Mine, and wrong (RFC 4954 section 6)."""
        for wrong in self.subject.wrong:
            with pytest.raises(AuthenticationFailed) as refused:
                self.ask(wrong)
            assert (refused.value.text, refused.value.status) == (AuthenticationFailed.text, "5.7.8")

    def test_a_right_login_does_not_make_wrong_ones_right(self) -> None:
        """What is remembered is remembered of the right ones."""
        assert self.outcome(self.subject.right) == "identity"
        assert [self.outcome(wrong) for wrong in self.subject.wrong] == ["failed"] * len(self.subject.wrong)
        assert self.outcome(self.subject.right) == "identity"

    def test_what_is_not_its_own_is_left_to_others(self) -> None:
        """None: ask the next."""
        assert [self.outcome(foreign) for foreign in self.subject.foreign] == ["none"] * len(self.subject.foreign)

    def test_whoever_is_disabled_is_refused_like_a_wrong_password(self) -> None:
        """Nobody learns that there is such an account."""
        if self.subject.disable is None:
            return
        assert self.outcome(self.subject.right) == "identity"
        self.subject.loop.run(_awaited(self.subject.disable()))
        with pytest.raises(AuthenticationFailed) as refused:
            self.ask(self.subject.right)
        assert refused.value.text == AuthenticationFailed.text

    def test_logins_at_one_time_give_one_identity(self) -> None:
        """Also at the first login ever."""
        part, right, context = self.subject.part, self.subject.right, self.subject.context
        found = self.subject.loop.gather([part.authenticate(right, context) for _ in range(10)])
        assert len(set(found)) == 1 and found[0] == self.ask(right)


class HostileContract(AuthenticatorCase):
    """What clients may send, and where their passwords may not turn up."""

    def test_no_name_makes_anything_but_an_answer(self) -> None:
        """No exception that is none of `mailsrv.errors`."""
        for name in () if self.subject.anonymous else NAMES:
            answer = self.outcome(self.subject.right, username=name)
            # A token or a certificate may be enough without a name.
            assert answer in ("none", "failed", "refused") or (not name and answer == "identity"), name[:30]

    def test_no_password_makes_anything_but_an_answer(self) -> None:
        """Likewise."""
        for password in PASSWORDS if self.subject.right.scheme == "password" else ():
            assert self.outcome(self.subject.right, password=password) in ("failed", "refused", "none")

    def test_nothing_secret_is_logged_or_told(self) -> None:
        """Not in logs, exceptions, or their causes."""
        secret = "S3cr3t-marker-7f1c"
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        told = []
        try:
            for field_name in ("password", "token"):
                try:
                    self.ask(self.subject.right, **{field_name: secret})
                except MailError as error:
                    told += traceback.format_exception(error)
        finally:
            globalLogPublisher.removeObserver(events.append)
        assert secret not in repr(events) and secret not in "".join(told)
        shown = evolve(self.subject.right, password=secret, token=secret, challenge=b"", response=secret.encode())
        assert secret not in repr(shown)


class SecretsContract(AuthenticatorCase):
    """ISecrets: what is kept leads to whom it belongs, and nothing else does.  `Subject.kinds` are what he has."""

    def _secrets(self, kind: str, username: str) -> Any:
        return self.subject.loop.run(self.subject.part.secrets(kind, username, self.subject.context))

    def test_secrets_lead_to_the_identity_of_the_password(self) -> None:
        """A proof is as good as the password."""
        name, plain = self.subject.right.username, self.ask(self.subject.right)
        assert self.subject.kinds <= self.subject.part.kinds
        for kind in sorted(self.subject.kinds):
            kept = self._secrets(kind, name)
            assert isinstance(kept, Secrets) and kept.kind == kind and kept.keys and kept.keys not in repr(kept)
            assert self.ask(Credentials("secret", name, secrets=kept)) == plain

    def test_secrets_that_are_not_kept_prove_nothing(self) -> None:
        """Those of somebody else, forged or changed since."""
        name = self.subject.right.username
        for kind in sorted(self.subject.part.kinds):
            forged = [None, Secrets(kind, name, ""), Secrets(kind, name, "forged"), Secrets("unknown", name, "forged")]
            if kept := self._secrets(kind, name):
                forged += [evolve(kept, login="other@example.org"), evolve(kept, keys=kept.keys + "0")]
            for shown in forged:
                with pytest.raises(AuthenticationFailed):
                    self.ask(Credentials("secret", name, secrets=shown))

    def test_nobody_and_unknown_kinds_have_no_secrets(self) -> None:
        """None, so that the mechanism can pretend."""
        assert self._secrets("unknown", self.subject.right.username) is None
        for kind in sorted(self.subject.part.kinds):
            for name in ("nobody-at-all@example.org", *NAMES):
                try:
                    assert self._secrets(kind, name) is None
                except AuthenticationFailed:
                    assert name in NAMES

    def test_whoever_is_disabled_proves_nothing(self) -> None:
        """As with the password."""
        name = self.subject.right.username
        assert self.outcome(self.subject.right) == "identity"
        kept = [self._secrets(kind, name) for kind in sorted(self.subject.kinds)]
        if self.subject.disable is None:
            return
        self.subject.loop.run(_awaited(self.subject.disable()))
        for shown in kept:
            with pytest.raises(AuthenticationFailed):
                self.ask(Credentials("secret", name, secrets=shown))


class AuthenticatorContract(AnswersContract, HostileContract):
    """What every authenticator keeps to."""


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
