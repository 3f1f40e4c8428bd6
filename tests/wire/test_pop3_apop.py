"""APOP (RFC 1939 section 7)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from sasl_drive import CONTEXT

from mailsrv.errors import AuthenticationFailed
from mailsrv.values import Identity, NeedSecrets, Secrets, Verify
from mailsrv.wire import pop3_apop

STAMP = b"<1896.697170952@dbc.mtview.ca.us>"
WHO = Identity(7, "mrose@example.org")


def attempt(digest: bytes, password: str | None, name: str = "mrose") -> tuple[Identity | None, list[Any]]:
    """The identity, None when it was refused; and what was asked for."""
    steps = pop3_apop.exchange(CONTEXT, name, STAMP, digest)
    asked: list[Any] = []
    try:
        asked.append(next(steps))
        kept = None if password is None else Secrets("plain", "mrose@example.org", password)
        asked.append(steps.send(kept))
        steps.send(WHO)
    except StopIteration as end:
        return end.value, asked
    except AuthenticationFailed:
        return None, asked
    raise AssertionError("it goes on")


def test_the_example_of_the_rfc() -> None:
    digest = b"c4c9334bac560ecc979e58001b3e22fb"
    assert pop3_apop.digest_of(STAMP, b"tanstaaf") == digest
    identity, asked = attempt(digest, "tanstaaf")
    assert identity == evolve(WHO, mechanism="APOP")
    assert asked[0] == NeedSecrets("plain", "mrose") and isinstance(asked[1], Verify)
    assert asked[1].credentials.scheme == "secret" and "tanstaaf" not in repr(asked[1])


@pytest.mark.parametrize("password", [None, "", "other", "tanstaaf "])
def test_wrong_and_unknown_are_refused_alike_after_the_same_question(password: str | None) -> None:
    identity, asked = attempt(b"c4c9334bac560ecc979e58001b3e22fb", password)
    assert identity is None and asked == [NeedSecrets("plain", "mrose")]


def test_the_decoy_of_a_name_that_nobody_has_is_no_password() -> None:
    decoy = CONTEXT.decoy(b"apop\0" + b"mrose@example.org")
    assert attempt(pop3_apop.digest_of(STAMP, decoy), None)[0] is None
    assert attempt(pop3_apop.digest_of(STAMP, b""), "")[0] is None


@pytest.mark.parametrize("name", ["a\tb", "x" * 2000, "a\0"])
def test_what_can_be_nobodys_name_is_refused_at_once(name: str) -> None:
    assert attempt(b"0" * 32, "x", name) == (None, [])


def test_a_timestamp_is_a_message_id_of_this_host_that_never_comes_again() -> None:
    stamp = pop3_apop.timestamp(CONTEXT)
    assert stamp == b"<AAECAwQFBgcICQoL.1234567890@mail.example.org>"
    other = evolve(CONTEXT, random=lambda n: b"\xff" * n)
    assert pop3_apop.timestamp(other) != stamp and b"/" not in pop3_apop.timestamp(other)[1:17]
