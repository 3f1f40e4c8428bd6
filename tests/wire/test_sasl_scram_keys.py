"""What SCRAM keeps of a password (RFC 5802 section 3), and the form of a password (RFC 4013)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.errors import Refused
from mailsrv.wire.sasl import scram, scram_keys
from mailsrv.wire.sasl.saslprep import prepared
from tests.properties import tries

# RFC 7677 section 3.
KEYS = (
    "i=4096,s=W22ZaJ0SNY7soEsUEjb6gQ==,k=WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
    "e=wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
DOVECOT = (
    "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_keys_of_a_new_password_are_salted_and_of_the_usual_iterations() -> None:
    one, two = (scram.keep("sha256", "pencil", os.urandom) for _ in "ab")
    assert one != two and one.startswith("i=15000,s=")
    assert scram.check(one, "pencil") and not scram.check(one, "pencils")


def test_keys_are_read_as_they_were_kept() -> None:
    kept = scram_keys.read("sha256", KEYS)
    assert kept is not None and (kept.iterations, kept.salt) == (4096, b"W22ZaJ0SNY7soEsUEjb6gQ==")
    assert len(kept.stored) == len(kept.server) == 32
    assert scram.check(KEYS, "pencil")


def test_dovecots_keys_are_taken_over() -> None:
    assert scram.import_keys(DOVECOT) == KEYS
    for damaged in ("", DOVECOT[:-1], DOVECOT + ",", DOVECOT.replace("4096", "x"), KEYS, DOVECOT.replace(",W", ",é")):
        assert scram.import_keys(damaged) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        KEYS.replace("i=4096", "i=0"),
        KEYS.replace("i=4096", "i=10000001"),
        KEYS.replace("i=4096", "i=" + "9" * 900),
        KEYS.replace("i=4096", "i=٤"),
        KEYS.replace("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s="),
        KEYS.replace("gQ==", "gQ="),
        KEYS.replace("qY=", "qYA="),
        KEYS.replace(",e=", ",e=AAAA"),
        KEYS.replace("k=WG5d", "k="),
        KEYS + ",x=y",
        KEYS + "\n",
        KEYS.replace("s=", "s=" + "A" * 1024),
    ],
)
def test_damaged_keys_are_like_none(text: str) -> None:
    assert scram_keys.read("sha256", text) is None
    assert not scram.check(text, "pencil")


def test_every_truncation_of_kept_keys_is_damaged() -> None:
    assert not any(scram_keys.read("sha256", KEYS[:end]) for end in range(len(KEYS)))


def test_keys_of_another_hash_are_none() -> None:
    assert scram_keys.read("sha1", KEYS) is None
    one = scram.keep("sha1", "pencil", bytes, iterations=4096)
    assert scram_keys.read("sha1", one) and not scram_keys.read("sha256", one)
    assert scram.check(one, "pencil")


@settings(max_examples=tries(100), deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from("i=1,s=k=e=A+/"), max_size=60).map("".join))
def test_anything_may_stand_where_keys_should(text: str) -> None:
    assert scram_keys.read("sha1", text) is scram.import_keys(text) is None
    assert not scram.check(text, "pencil")


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    ("password", "octets"),
    [
        ("I\u00adX", b"IX"),
        ("user", b"user"),
        ("USER", b"USER"),
        ("\u00aa", b"a"),
        ("\u2168", b"IX"),
        ("a\u00a0b\u3000c", b"a b c"),
        ("pa\u0308ss", "p\u00e4ss".encode()),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628".encode()),
    ],
)
def test_rfc4013_section_3_a_password_is_mapped_and_normalised(password: str, octets: bytes) -> None:
    assert prepared(password) == octets


@pytest.mark.parametrize(
    "password",
    ["\u0007é", "é\ue000", "\u0627\u0031", "\u0627a\u0628", "\u0627\u2168\u0628", "\u00ad", "\U0001f600", "x\u0007"],
)
def test_rfc4013_section_2_3_what_is_prohibited_or_unknown_is_taken_as_it_is(password: str) -> None:
    assert prepared(password) == password.encode()


def test_a_password_that_is_no_unicode_text_is_refused() -> None:
    with pytest.raises(Refused):
        scram.keep("sha256", "a\ud800", bytes)
    assert not scram.check(KEYS, "a\ud800")


@settings(max_examples=tries(100), deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=10))
def test_every_text_has_a_form_or_is_refused(password: str) -> None:
    try:
        assert prepared(password) == prepared(password) != b"" or not password
    except Refused:
        assert any("\ud800" <= sign <= "\udfff" for sign in password)
