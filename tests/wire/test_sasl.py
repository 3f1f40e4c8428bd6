"""SASL PLAIN (RFC 4616) and LOGIN, and what holds for every mechanism."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import asdict, evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sasl_drive import CLIENT, drive, fails
from zope.interface.verify import verifyObject

from mailsrv.errors import AuthenticationFailed
from mailsrv.interfaces import IClientMechanism, ISaslMechanism
from mailsrv.values import AuthContext, Challenge, Credentials, Identity, Peer, Verify
from mailsrv.wire.sasl import NAME_OCTETS, PASSWORD_OCTETS, Login, Plain, decode, mechanisms
from mailsrv.wire.sasl.base import granted
from tests.properties import tries

CONTEXT = AuthContext("pop3", "pop3/default", Peer("192.0.2.1"))


def converse(mechanism: Any, initial: bytes | None, *answers: bytes) -> tuple[list[bytes], Credentials, Identity]:
    """The challenges, what was to be verified, and the outcome; every answer must have been asked for."""
    exchange = mechanism.exchange(CONTEXT, initial)
    challenges, left, answer, credentials = [], list(answers), None, None
    try:
        while True:
            wish = exchange.send(answer)
            if isinstance(wish, Challenge):
                challenges.append(wish.octets)
                answer = left.pop(0)
            else:
                assert isinstance(wish, Verify) and credentials is None
                credentials = wish.credentials
                answer = Identity(7, credentials.username, credentials.authzid)
    except StopIteration as end:
        assert not left and credentials is not None
        return challenges, credentials, end.value


def test_rfc4616_section_4_tim() -> None:
    challenges, credentials, identity = converse(Plain(), b"\0tim\0tanstaaftanstaaf")
    assert challenges == []
    assert credentials == Credentials("password", "tim", "tanstaaftanstaaf")
    assert (identity.account_id, identity.authcid, identity.mechanism) == (7, "tim", "PLAIN")


def test_rfc4616_section_4_kurt_asks_to_act_as_ursel() -> None:
    challenges, credentials, identity = converse(Plain(), None, b"Ursel\0Kurt\0xipj3plmq")
    assert challenges == [b""]
    assert credentials == Credentials("password", "Kurt", "xipj3plmq", "Ursel")
    assert identity.authzid == "Ursel"


def test_plain_takes_names_and_passwords_in_utf8() -> None:
    message = "\0jürgen@bücher.example\0pässwört €".encode()
    assert converse(Plain(), message)[1] == Credentials("password", "jürgen@bücher.example", "pässwört €")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0",
        b"tim\0tanstaaf",
        b"\0tim\0",
        b"\0\0secret",
        b"\0tim\0sec\0ret",
        b"\0tim\0\xff",
        b"\0\xc3\0secret",
        b"\0t\nim\0secret",
        b"a\x7fb\0tim\0secret",
        b"\0" + b"n" * (NAME_OCTETS + 1) + b"\0secret",
        b"n" * (NAME_OCTETS + 1) + b"\0tim\0secret",
        b"\0tim\0" + b"p" * (PASSWORD_OCTETS + 1),
        b"x" * 100_000,
    ],
)
def test_plain_refuses_malformed_messages(message: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        converse(Plain(), message)


def test_plain_takes_the_longest_it_promises() -> None:
    message = b"a" * NAME_OCTETS + b"\0" + b"b" * NAME_OCTETS + b"\0" + b"c" * PASSWORD_OCTETS
    assert len(converse(Plain(), message)[1].password) == PASSWORD_OCTETS


def test_login_asks_for_name_then_password() -> None:
    challenges, credentials, identity = converse(Login(), None, b"me@example.org", b"secret")
    assert challenges == [b"Username:", b"Password:"]
    assert credentials == Credentials("password", "me@example.org", "secret")
    assert identity.mechanism == "LOGIN"


def test_login_takes_the_name_as_initial_response() -> None:
    assert converse(Login(), b"me", b"secret")[0] == [b"Password:"]


@pytest.mark.parametrize("answers", [(b"", b"x"), (b"me", b""), (b"m\0e", b"x"), (b"me", b"a\0b"), (b"me", b"\xfe")])
def test_login_refuses_malformed_answers(answers: tuple[bytes, bytes]) -> None:
    with pytest.raises(AuthenticationFailed):
        converse(Login(), None, *answers)


@settings(max_examples=tries(200), deadline=None)
@given(st.sampled_from([Plain(), Login()]), st.none() | st.binary(max_size=60), st.lists(st.binary(max_size=60)))
def test_nothing_but_authentication_failed_is_raised(
    mechanism: Any, initial: bytes | None, answers: list[bytes]
) -> None:
    exchange = mechanism.exchange(CONTEXT, initial)
    left, answer = list(answers), None
    try:
        for _ in range(4):
            wish = exchange.send(answer)
            answer = Identity(1, "x") if isinstance(wish, Verify) else left.pop(0) if left else b""
        raise AssertionError("more than two challenges and a check")
    except (AuthenticationFailed, StopIteration):
        pass


@pytest.mark.parametrize(
    "text", [b"A", b"AA", b"AAA", b"AAAA=", b"AAA=====", b"A A=", b"AA==AA==", b"!!!!", b"AAAA\n", b"=", b"\xff"]
)
def test_rfc4648_section_3_malformed_base64_is_none(text: bytes) -> None:
    assert decode(text) is None


def test_decode_reads_what_is_well_formed() -> None:
    assert (decode(b""), decode(b"AA=="), decode(b"+/+/")) == (b"", b"\0", b"\xfb\xff\xbf")


def test_mechanisms_keep_their_contract_and_the_strongest_is_first() -> None:
    found = mechanisms()
    assert list(found) == [
        "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER", "XOAUTH2",
        "CRAM-MD5", "PLAIN", "LOGIN", "ANONYMOUS",
    ]  # fmt: skip
    for name, mechanism in found.items():
        assert verifyObject(ISaslMechanism, mechanism)
        assert verifyObject(IClientMechanism, mechanism)
        assert mechanism.name == name
        assert mechanism.plaintext is (mechanism.scheme in ("password", "token"))
        assert mechanism.method == {"PLAIN": "basic", "LOGIN": "basic", "ANONYMOUS": "anonymous"}.get(name, "sasl")
        assert (mechanism.scheme == "secret") is bool(mechanism.secret)


def test_an_identity_stays_as_the_authenticator_made_it_but_for_the_mechanism() -> None:
    made = Identity(7, "me", "boss", "", frozenset({"smtp"}), 3, frozenset({"pop3"}))
    assert granted(made, "PLAIN") == evolve(made, mechanism="PLAIN")
    assert all(value for value in asdict(granted(made, "PLAIN")).values())


@pytest.mark.parametrize("use_initial", [True, False])
def test_our_client_logs_in_by_plain(use_initial: bool) -> None:
    outcome = drive(Plain(), evolve(CLIENT, authzid="boss"), use_initial=use_initial)
    assert outcome.verified == [Credentials("password", "user", "pencil", "boss")]


def test_our_client_logs_in_by_login_whatever_the_prompts_say() -> None:
    assert drive(Login()).verified == [Credentials("password", "user", "pencil")]
    talk = Login().respond(CLIENT)
    said = [next(talk), talk.send(b"User Name\0"), talk.send(b"Kennwort?")]
    assert [(answer.octets, answer.final) for answer in said] == [(None, False), (b"user", False), (b"pencil", True)]


@pytest.mark.parametrize("mechanism", [Plain(), Login()], ids=lambda m: m.name)
@pytest.mark.parametrize(("key", "value"), [("username", "a\0b"), ("password", "a\0b"), ("password", "\ud800")])
def test_our_client_does_not_say_what_cannot_be_said(mechanism: Any, key: str, value: str) -> None:
    client: Any = evolve(CLIENT, **{key: value})
    assert fails(lambda: next(mechanism.respond(client)))


def test_passwords_are_not_in_the_text_of_values() -> None:
    assert "xipj3plmq" not in repr(converse(Plain(), b"\0Kurt\0xipj3plmq")[1])
