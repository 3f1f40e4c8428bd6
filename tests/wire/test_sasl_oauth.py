"""OAUTHBEARER (RFC 7628) and XOAUTH2, both sides."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sasl_drive import CLIENT, CONTEXT, drive, fails, script, serve

from mailsrv.errors import AuthenticationFailed, TryLater
from mailsrv.values import Credentials
from mailsrv.wire.sasl import OAuthBearer, XOAuth2
from mailsrv.wire.sasl.oauth import PAIRS, TOKEN_OCTETS
from tests.properties import tries

WRONG = "5.7.8 Authentication credentials invalid"
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
PUBLISHED = b64decode(
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNS"
    "bGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
GOOGLES = b64decode(
    "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cB"
    "AQ=="
)
EVERY = pytest.mark.parametrize("mechanism", [OAuthBearer(), XOAuth2()], ids=lambda m: m.name)


def verified(mechanism: Any, message: bytes) -> Credentials:
    (credentials,) = serve(mechanism, message, script()).verified
    return credentials


# ---------------------------------------------------------------- the published messages


def test_rfc7628_section_4_1_a_bearer_token() -> None:
    assert verified(OAuthBearer(), PUBLISHED) == Credentials("token", "user@example.com", token=TOKEN)
    client = evolve(CLIENT, username="user@example.com", token=TOKEN, hostname="server.example.com", port=143)
    assert next(OAuthBearer().respond(client)).octets == PUBLISHED


def test_rfc7628_section_4_3_a_failed_exchange_is_told_in_json_and_ends_after_the_clients_dummy() -> None:
    url = "https://example.com/.well-known/openid-configuration"
    mechanism = OAuthBearer("example_scope", url)
    refused = AuthenticationFailed()
    client = evolve(CLIENT, username="user@example.com")
    spoken: list[bytes] = []

    def answer(challenge: bytes) -> bytes:
        spoken.append(challenge)
        return b"\x01"

    with pytest.raises(AuthenticationFailed) as caught:
        serve(mechanism, next(mechanism.respond(client)).octets, answer, refuse=refused)
    assert caught.value is refused
    assert [json.loads(octets) for octets in spoken] == [
        {"status": "invalid_token", "scope": "example_scope", "openid-configuration": url}
    ]


def test_googles_example_of_xoauth2() -> None:
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    assert verified(XOAuth2(), GOOGLES) == Credentials("token", "someuser@example.com", token=token)
    client = evolve(CLIENT, username="someuser@example.com", token=token)
    assert next(XOAuth2().respond(client)).octets == GOOGLES


def test_googles_form_of_an_error() -> None:
    outcome = serve(XOAuth2("https://mail.example.org/"), GOOGLES, script(), refuse=AuthenticationFailed())
    assert json.loads(outcome.said[0]) == {"status": "401", "schemes": "bearer", "scope": "https://mail.example.org/"}


# ---------------------------------------------------------------- both


@EVERY
@pytest.mark.parametrize("use_initial", [True, False])
def test_a_token_that_holds_is_let_in(mechanism: Any, use_initial: bool) -> None:
    outcome = drive(mechanism, use_initial=use_initial)
    assert outcome.verified == [Credentials("token", "user", token=CLIENT.token)]
    assert outcome.identity is not None and outcome.identity.mechanism == mechanism.name
    assert outcome.said == ([] if use_initial else [b""])


@EVERY
@pytest.mark.parametrize("answer", [b"", b"\x01", b"whatever"])
def test_a_refused_token_fails_whatever_the_client_says_to_it(mechanism: Any, answer: bytes) -> None:
    message = next(mechanism.respond(CLIENT)).octets
    outcome = serve(mechanism, message, script(), refuse=AuthenticationFailed())
    assert outcome.identity is None and len(outcome.said) == 1
    words = AuthenticationFailed("Access denied", "5.7.1")
    assert fails(lambda: serve(mechanism, message, script(answer), refuse=words)) == "5.7.1 Access denied"


@EVERY
def test_our_client_answers_an_error_as_it_must_and_does_not_take_it_for_success(mechanism: Any) -> None:
    assert fails(lambda: drive(mechanism, refuse=AuthenticationFailed())) == WRONG
    talk = mechanism.respond(CLIENT)
    assert next(talk).final
    last = talk.send(b"{}")
    assert (last.octets, last.final) == (b"\x01" if mechanism.name == "OAUTHBEARER" else b"", False)


@EVERY
def test_when_the_token_cannot_be_checked_now_nothing_is_said_of_it(mechanism: Any) -> None:
    with pytest.raises(TryLater):
        serve(mechanism, next(mechanism.respond(CLIENT)).octets, script(), refuse=TryLater())


@EVERY
def test_rfc7628_section_4_3_a_client_without_a_token_learns_what_it_needs(mechanism: Any) -> None:
    start = b"user=user" if mechanism.name == "XOAUTH2" else b"n,a=user,"
    for pairs in (b"\x01auth=\x01\x01", b"\x01\x01"):
        outcome = serve(mechanism, start + pairs, script())
        assert json.loads(outcome.said[0])["status"] in ("invalid_token", "401") and not outcome.verified
        assert fails(lambda pairs=pairs: serve(mechanism, start + pairs, script(b"\x01"))) == WRONG


@EVERY
def test_every_truncation_of_a_valid_message_is_refused(mechanism: Any) -> None:
    message = next(mechanism.respond(CLIENT)).octets
    for end in range(len(message)):
        assert fails(lambda end=end: serve(mechanism, message[:end], script())) == WRONG


AUTH = b"\x01auth=Bearer abc\x01\x01"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"n,a=user" + AUTH,
        b"n,a=user,x" + AUTH,
        b"p=tls-exporter,a=user," + AUTH,
        b"n,user," + AUTH,
        b"n,a=," + AUTH,
        b"n,a=us=er," + AUTH,
        b"n,a=us\0er," + AUTH,
        b"n,," + AUTH[:-1],
        b"n,," + AUTH + b"\x01",
        b"n,," + AUTH + b"x",
        b"n,,\x01port=x" + AUTH,
        b"n,,\x01port=" + AUTH,
        b"n,,\x01port=123456" + AUTH,
        b"n,,\x01x1=x" + AUTH,
        b"n,,\x01=x" + AUTH,
        b"n,,\x01x" + AUTH,
        b"n,,\x01host=\xc3\xa4" + AUTH,
        b"n,,\x01auth=Bearer abd" + AUTH,
        b"n,,\x01AUTH=Bearer abd" + AUTH,
        b"n,,\x01auth=Basic abc\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearerabc\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a=b\x01\x01",
        b"n,," + b"".join(b"\x01x%b=y" % (b"y" * n) for n in range(PAIRS)) + AUTH,
        b"n,,\x01auth=Bearer " + b"a" * (TOKEN_OCTETS + 1) + b"\x01\x01",
        b"n,,\x01host=" + b"a" * 2 * TOKEN_OCTETS + AUTH,
    ],
)
def test_rfc7628_section_3_1_a_malformed_message_is_refused(message: bytes) -> None:
    assert fails(lambda: serve(OAuthBearer(), message, script())) == WRONG


def test_rfc7628_section_3_1_what_may_be_said_otherwise() -> None:
    assert verified(OAuthBearer(), b"y,," + AUTH).username == ""
    assert verified(OAuthBearer(), b"n,a=a=2Cb=3D," + AUTH).username == "a,b="
    assert verified(OAuthBearer(), b"n,,\x01auth=bearer   abc\x01host=\x01mail=x y\x01\x01").token == "abc"
    longest = b"a" * TOKEN_OCTETS
    assert len(verified(OAuthBearer(), b"n,,\x01auth=Bearer " + longest + b"\x01\x01").token) == TOKEN_OCTETS


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"user=",
        b"user=" + AUTH,
        b"user=me",
        b"me" + AUTH,
        b"auth=Bearer abc\x01user=me\x01\x01",
        b"user=m\0e" + AUTH,
        b"user=\xff" + AUTH,
        b"user=" + b"m" * 1025 + AUTH,
        b"user=me\x01auth=Bearer\x01\x01",
        b"user=me\x01host=" + b"a" * 2 * TOKEN_OCTETS + AUTH,
        b"user=me\x01auth=Bearer " + b"a" * 3 * TOKEN_OCTETS + b"\x01\x01",
    ],
)
def test_xoauth2_refuses_a_malformed_message(message: bytes) -> None:
    assert fails(lambda: serve(XOAuth2(), message, script())) == WRONG


def test_xoauth2_takes_names_in_utf8() -> None:
    assert verified(XOAuth2(), "user=jürgen@example.org".encode() + AUTH).username == "jürgen@example.org"


PIECES = [b"n,,", b"n,a=x,", b"user=x", b"\x01", b"\x01\x01", b"auth=Bearer abc", b"auth=", b"host=x", b"port=1", b"\0"]


@settings(max_examples=tries(200), deadline=None)
@given(
    st.sampled_from([OAuthBearer(), XOAuth2()]),
    st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
)
def test_a_server_raises_nothing_but_authentication_failed(mechanism: Any, message: bytes) -> None:
    try:
        assert serve(mechanism, message, script(b""), CONTEXT).identity is not None
    except AuthenticationFailed:
        pass


@EVERY
@pytest.mark.parametrize("token", ["", "a b", "ä", "a\x01", "\ud800", "x" * (TOKEN_OCTETS + 1)])
def test_our_client_does_not_say_what_is_no_token(mechanism: Any, token: str) -> None:
    assert fails(lambda: next(mechanism.respond(evolve(CLIENT, token=token)))) == WRONG


def test_our_client_names_the_account_or_leaves_it_to_the_token() -> None:
    plain = evolve(CLIENT, hostname="", port=0)
    assert next(OAuthBearer().respond(plain)).octets == b"n,a=user,\x01auth=Bearer mF_9.B5f-4.1JqM\x01\x01"
    assert next(OAuthBearer().respond(evolve(plain, authzid="boss"))).octets.startswith(b"n,a=boss,\x01")
    assert next(OAuthBearer().respond(evolve(plain, username=""))).octets.startswith(b"n,,\x01")
    assert fails(lambda: next(XOAuth2().respond(evolve(plain, username="a\x01auth=x")))) == WRONG
