"""CRAM-MD5 (RFC 2195), both sides, and MD5 from a state (RFC 1321)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sasl_drive import CLIENT, CONTEXT, drive, fails, script, serve

from mailsrv.errors import AuthenticationFailed, Refused
from mailsrv.values import NeedSecrets
from mailsrv.wire.sasl import CramMd5, cram_md5, md5
from tests.properties import tries

WRONG = "5.7.8 Authentication credentials invalid"
KEPT = {"user": cram_md5.keep("pencil")}


def prove(password: bytes, challenge: bytes) -> bytes:
    return hmac.digest(password, challenge, "md5").hex().encode()


# ---------------------------------------------------------------- MD5


@settings(max_examples=tries(100), deadline=None)
@given(st.binary(max_size=200))
def test_rfc1321_a_digest_is_that_of_hashlib(octets: bytes) -> None:
    assert md5.finish(md5.INITIAL, octets) == hashlib.md5(octets).digest()


def test_rfc1321_section_3_1_padding_at_every_length() -> None:
    for size in range(130):
        assert md5.finish(md5.INITIAL, b"a" * size) == hashlib.md5(b"a" * size).digest()


@settings(max_examples=tries(50), deadline=None)
@given(st.binary(min_size=64, max_size=64), st.binary(max_size=100))
def test_a_digest_can_go_on_from_the_state_of_a_block(block: bytes, rest: bytes) -> None:
    state = md5.compress(md5.INITIAL, block)
    assert md5.finish(state, rest, 64) == hashlib.md5(block + rest).digest()


@settings(max_examples=tries(50), deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_rfc2104_a_proof_by_the_states_is_that_of_hmac(password: bytes, challenge: bytes) -> None:
    assert cram_md5.prove(cram_md5.states(password), challenge) == prove(password, challenge)


# ---------------------------------------------------------------- what is kept


def test_what_is_kept_is_what_dovecot_keeps_and_never_the_password() -> None:
    assert cram_md5.keep("test") == "e02d374fde0dc75a17a557039a3a5338c7743304777dccd376f332bee68d2cf6"
    assert cram_md5.read(cram_md5.keep("pencil")) == cram_md5.states(b"pencil")


def test_passwords_that_look_the_same_are_the_same() -> None:
    assert cram_md5.keep("pa\u0308ss") == cram_md5.keep("p\u00e4ss") != cram_md5.keep("pass")
    with pytest.raises(Refused):
        cram_md5.keep("\ud800")


@pytest.mark.parametrize("text", ["", KEPT["user"][:-1], KEPT["user"] + "0", KEPT["user"].upper(), "é" * 64, "g" * 64])
def test_a_damaged_text_is_like_none(text: str) -> None:
    assert cram_md5.read(text) is None
    assert fails(lambda: drive(CramMd5(), kept={"user": text})) == WRONG


# ---------------------------------------------------------------- the exchange


def test_rfc2195_section_2_tim() -> None:
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    talk = CramMd5().respond(evolve(CLIENT, username="tim", password="tanstaaftanstaaf"))
    assert next(talk).octets is None
    answer = talk.send(challenge)
    assert (answer.octets, answer.final) == (b"tim b913a602c7eda7a495b4e6e7334d3890", True)
    kept = cram_md5.read(cram_md5.keep("tanstaaftanstaaf"))
    assert kept is not None and cram_md5.prove(kept, challenge) == b"b913a602c7eda7a495b4e6e7334d3890"


def test_a_right_password_is_let_in() -> None:
    outcome = drive(CramMd5(), kept=KEPT)
    assert outcome.said == [b"<AAECAwQFBgcICQoL.1234567890@mail.example.org>"]
    assert outcome.needed == [NeedSecrets("cram-md5", "user")]
    (credentials,) = outcome.verified
    assert (credentials.scheme, credentials.username) == ("secret", "user")
    assert credentials.secrets is not None and credentials.secrets.keys == KEPT["user"]
    assert outcome.identity is not None and outcome.identity.mechanism == "CRAM-MD5"


def test_every_challenge_is_another() -> None:
    other = evolve(CONTEXT, random=lambda n: b"\x07" * n)
    assert serve(CramMd5(), None, script()).said != serve(CramMd5(), None, script(), other).said


def test_a_name_may_have_spaces_and_a_password_any_length() -> None:
    password = "p" * 100
    client = evolve(CLIENT, username="two words", password=password)
    assert drive(CramMd5(), client, kept={"two words": cram_md5.keep(password)}).identity is not None


def test_a_wrong_password_and_an_unknown_user_look_the_same() -> None:
    for kept in ({"user": cram_md5.keep("pencils")}, {}):
        assert fails(lambda kept=kept: drive(CramMd5(), kept=kept)) == WRONG


def test_nobody_can_prove_a_decoy() -> None:
    """Not even with the decoy's own states, as there is no account behind it."""
    octets = bytes.fromhex(KEPT["user"])
    context = evolve(CONTEXT, decoy=lambda seed: octets)
    assert fails(lambda: drive(CramMd5(), context=context)) == WRONG


def test_an_answer_to_another_challenge_is_worth_nothing() -> None:
    (answer,) = drive(CramMd5(), kept=KEPT).heard
    later = evolve(CONTEXT, now=lambda: 1234567891.0)
    assert fails(lambda: serve(CramMd5(), None, script(answer), later, kept=KEPT)) == WRONG


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"user",
        b" " + b"0" * 32,
        b"user " + b"0" * 31,
        b"user " + b"0" * 33,
        b"user " + b"A" * 32,
        b"us\0er " + b"0" * 32,
        b"us\ner " + b"0" * 32,
        b"\xff " + b"0" * 32,
        b"u" * 1025 + b" " + b"0" * 32,
        b"user  0" + b"0" * 30,
    ],
)
def test_a_malformed_answer_is_refused(answer: bytes) -> None:
    assert fails(lambda: serve(CramMd5(), None, script(answer), kept=KEPT)) == WRONG


def test_every_truncation_of_a_valid_answer_fails() -> None:
    (answer,) = drive(CramMd5(), kept=KEPT).heard
    for end in range(len(answer)):
        assert fails(lambda end=end: serve(CramMd5(), None, script(answer[:end]), kept=KEPT)) == WRONG


def test_rfc4954_section_4_the_server_speaks_first() -> None:
    for initial in (b"", b"user " + b"0" * 32):
        assert fails(lambda initial=initial: serve(CramMd5(), initial, script(), kept=KEPT)) == WRONG


@settings(max_examples=tries(100), deadline=None)
@given(st.binary(max_size=60) | st.builds(lambda name: name + b" " + b"0" * 32, st.binary(max_size=20)))
def test_a_server_raises_nothing_but_authentication_failed(answer: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        serve(CramMd5(), None, script(answer), kept=KEPT)


@pytest.mark.parametrize(("key", "value"), [("username", "a\0"), ("username", "\ud800"), ("password", "\ud800")])
def test_our_client_does_not_say_what_cannot_be_said(key: str, value: str) -> None:
    changes: dict[str, Any] = {key: value}
    assert fails(lambda: next(CramMd5().respond(evolve(CLIENT, **changes)))) == WRONG


def test_our_client_does_not_work_on_a_challenge_without_end() -> None:
    talk = CramMd5().respond(CLIENT)
    next(talk)
    assert fails(lambda: talk.send(b"<" + b"1" * 2000 + b"@x>")) == WRONG
