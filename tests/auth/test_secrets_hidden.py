"""Nothing secret is in the repr of any object, so that none gets into a log, a transcript or the text of an exception.

The live side of this is `tests/live/test_logins_secrets.py`.
"""

from __future__ import annotations

import inspect
import pkgutil
import traceback
from base64 import b64encode
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import attrs
import pytest

import mailsrv.auth
import mailsrv.wire.ntlm
import mailsrv.wire.sasl
from mailsrv.auth import jwt, pool
from mailsrv.auth.app_passwords import new_app_password
from mailsrv.auth.attempt import Attempt, Door
from mailsrv.auth.directory import DirectoryAuthenticator
from mailsrv.auth.offers import Offers
from mailsrv.auth.outbound import OutboundLogin, rehearse
from mailsrv.auth.passwd_file import User
from mailsrv.auth.secrets import KINDS, make_secrets
from mailsrv.errors import AuthenticationFailed, MailError
from mailsrv.values import (
    ACCEPT,
    AppPassword,
    AuthContext,
    Challenge,
    ClientContext,
    Credentials,
    NeedSecrets,
    Peer,
    Respond,
    Secrets,
    StoredCredentials,
    TlsFacts,
    Verify,
)
from mailsrv.wire import imap_requests, pop3_events, smtp_server
from mailsrv.wire.ntlm import Ntlm
from mailsrv.wire.ntlm import keep as ntlm_keep
from mailsrv.wire.ntlm.mechanism import _Exchange
from mailsrv.wire.ntlm.messages import AuthenticateMessage, NtlmV2Response
from mailsrv.wire.sasl import mechanisms, scram_keys

from .beds import Site

SECRET = "Jolly-Walrus-7319"
OCTETS = SECRET.encode()
#: What field names mean a secret, wherever they are.
WORDS = frozenset({
    "password", "password_hash", "encoded", "keys", "secrets", "token", "digest", "proof", "response", "initial", "key",
    "octets", "material", "nt", "lm", "stored", "server_key", "work",
})  # fmt: skip
#: Fields with such a name that hold none.
HARMLESS = {
    # What the server says, names of files and options, a digest whose key nobody has.
    (Challenge, "octets"), (jwt.Options, "keys"), (pool.Job, "key"),
}  # fmt: skip


def forms(secret: str) -> set[str]:
    """How a secret would look in a text."""
    octets, wide = secret.encode(), secret.encode("utf-16-le")
    plain = {secret, ntlm_keep(secret), ntlm_keep(secret).upper()}
    shown = {repr(bytes.fromhex(ntlm_keep(secret)))[2:-1]}
    encoded = {b64encode(one).decode().rstrip("=") for one in (octets, b"\0me\0" + octets, wide)}
    return plain | shown | encoded | {octets.hex(), wide.hex(), repr(wide)[2:-1]}


HIDDEN = forms(SECRET)


def shows(text: str) -> list[str]:
    """Which of them a text shows."""
    return [form for form in HIDDEN if form in text]


KEPT = scram_keys.read("sha256", scram_keys.keep("sha256", SECRET, bytes, iterations=4096))
TLS = TlsFacts("TLSv1.3", "")
PEER = Peer("192.0.2.1", tls=TLS)


@pytest.mark.parametrize(
    "thing",
    [
        Credentials("password", "me", SECRET, token=SECRET, certificate=OCTETS, challenge=OCTETS, response=OCTETS),
        Credentials("secret", "me", secrets=Secrets("ntlm", "me", SECRET)),
        Verify(Credentials("password", "me", SECRET)),
        Secrets("ntlm", "me@example.org", SECRET),
        Respond(b"\0me\0" + OCTETS),
        ClientContext("me", SECRET, token=SECRET),
        AppPassword(1, "Phone", SECRET),
        StoredCredentials(1, 0, True, "me", SECRET, {"ntlm": SECRET}, (AppPassword(1, "Phone", SECRET),)),
        OutboundLogin("sasl", "me", SECRET, SECRET),
        imap_requests.Login(b"a", "LOGIN", "me", SECRET),
        imap_requests.Authenticate(b"a", "AUTHENTICATE", "PLAIN", OCTETS),
        imap_requests.AuthResponse(OCTETS),
        pop3_events.Pass(SECRET),
        pop3_events.Auth("PLAIN", OCTETS),
        pop3_events.Response(OCTETS),
        smtp_server.Auth("PLAIN", OCTETS),
        smtp_server.AuthResponse(OCTETS),
        AuthenticateMessage(OCTETS, OCTETS, b"", b""),
        NtlmV2Response(OCTETS, OCTETS, {}),
        User(SECRET),
        jwt.Key("", frozenset(), SECRET),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_values_with_secrets_do_not_show_them(thing: object) -> None:
    assert shows(repr(thing)) == [] and shows(str(thing)) == []


def test_scram_keys_show_neither_of_them() -> None:
    assert KEPT is not None and repr(KEPT) == f"Keys(iterations={4096})"
    assert KEPT.stored.hex() not in f"{KEPT}" and repr(KEPT.server) not in f"{KEPT!s}"


def modules() -> Iterator[Any]:
    """Whatever works on logins."""
    for package in (mailsrv.auth, mailsrv.wire.sasl, mailsrv.wire.ntlm):
        for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            yield import_module(found.name)
    yield from (import_module("mailsrv.identity"), imap_requests, pop3_events, smtp_server)


def test_no_field_that_is_called_like_a_secret_is_in_a_repr() -> None:
    """Also of the classes to come."""
    seen, told = 0, []
    for module in modules():
        for one in vars(module).values():
            if inspect.isclass(one) and one.__module__ == module.__name__ and attrs.has(one):
                for named in attrs.fields(one):
                    if named.name in WORDS and (one, named.name) not in HARMLESS:
                        seen += 1
                        told += [f"{one.__qualname__}.{named.name}"] if named.repr else []
    assert set(told) <= {"AppendOctets.octets", "Body.octets", "Sort.keys"}, told
    assert seen > 20 and attrs.fields_dict(_Exchange)["answer"].repr is False


# ---------------------------------------------------------------- whole logins


class Leave:
    """An authorizer that lets everybody."""

    async def permits(self, *_: object) -> object:
        """Yes."""
        return ACCEPT


class Room:
    """The directory's authenticator with all that it can keep, and every mechanism."""

    def __init__(self) -> None:
        self.site = Site()
        secrets = self.site.loop.run(make_secrets(self.site.hasher, KINDS, SECRET, bytes))
        self.site.add("me", SECRET, secrets=secrets)
        self.part = DirectoryAuthenticator(self.site.directory, self.site.hasher, KINDS)
        self.door = Door(
            server="imap/default", authenticators=[self.part], authorizer=Leave(),  # type: ignore[arg-type]
            directory=self.site.directory, sleep=self._sleep,
        )  # fmt: skip
        self.context = AuthContext("imap", "imap/default", PEER, login_domain="example.org", random=bytes)

    async def _sleep(self, seconds: float) -> None:
        """No time here."""

    def attempt(self, mechanism: Any, password: str) -> Any:
        """One rehearsal."""
        client = ClientContext("me", password, token=password, random=bytes, domain="EXAMPLE")
        return self.site.loop.run(rehearse(Attempt(self.door, self.context), mechanism, client))

    def objects(self) -> list[object]:
        """What stays after a login."""
        return [self.part, self.door, self.site.hasher, self.site.directory, Attempt(self.door, self.context)]


@pytest.fixture
def room() -> Iterator[Room]:
    """A room; its threads end."""
    made = Room()
    yield made
    made.site.hasher.close()


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "NTLM"])
def test_neither_objects_nor_errors_of_a_login_show_the_password_or_what_is_kept(room: Room, name: str) -> None:
    mechanism: Any = Ntlm() if name == "NTLM" else mechanisms()[name]
    identity = room.attempt(mechanism, SECRET)
    assert identity.authcid == "me@example.org"
    stored = room.site.stored("me@example.org")
    kept = [stored.password_hash, *stored.secrets.values()]
    assert len(kept) == 1 + len(KINDS)
    offers = Offers([mechanism], [room.part], frozenset({"basic", "ntlm", "sasl"}))
    for thing in (identity, stored, mechanism, offers, *room.objects()):
        text = repr(thing)
        assert shows(text) == [] and not any(one in text for one in kept), thing
    # A wrong password is as secret as a right one: it is often that of another account.
    room.site.loop.run(room.site.directory.set_password(stored.account_id, "", {}))
    with pytest.raises(AuthenticationFailed) as caught:
        room.attempt(mechanism, SECRET)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert shows(told) == []


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_a_token_that_nobody_takes_is_told_to_nobody(room: Room, name: str) -> None:
    with pytest.raises(MailError) as caught:
        room.attempt(mechanisms()[name], SECRET)
    assert shows("".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))) == []


def test_what_an_exchange_yields_shows_nothing() -> None:
    context = AuthContext("imap", "imap/default", PEER)
    exchange = mechanisms()["PLAIN"].exchange(context, b"\0me\0" + OCTETS)
    wish = next(exchange)
    assert isinstance(wish, Verify) and wish.credentials.password == SECRET and shows(repr(wish)) == []
    assert shows(repr(exchange)) == [] and shows(repr(NeedSecrets("ntlm", "me"))) == []


def test_an_app_password_is_kept_as_a_digest_that_does_not_show_it() -> None:
    shown, digest = new_app_password(lambda count: bytes(range(count)))
    assert shown not in digest and shown.replace("-", "") not in digest
    assert digest not in repr(AppPassword(1, "Phone", digest))
