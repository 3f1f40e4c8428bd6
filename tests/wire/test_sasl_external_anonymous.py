"""EXTERNAL (RFC 4422 appendix A) and ANONYMOUS (RFC 4505), both sides."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sasl_drive import CLIENT, CONTEXT, SECURE, TLS, drive, fails, script, serve

from mailsrv.errors import AuthenticationFailed
from mailsrv.values import Credentials, Peer
from mailsrv.wire.sasl import Anonymous, External
from tests.properties import tries

WRONG = "5.7.8 Authentication credentials invalid"


@pytest.mark.parametrize("use_initial", [True, False])
def test_rfc4422_appendix_a_the_certificate_says_who_it_is(use_initial: bool) -> None:
    outcome = drive(External(), context=SECURE, use_initial=use_initial)
    assert outcome.verified == [Credentials("certificate", "", certificate=b"DER")]
    assert outcome.identity is not None and outcome.identity.mechanism == "EXTERNAL"


def test_rfc4422_appendix_a_an_authorization_identity_is_the_name_that_is_tried() -> None:
    outcome = drive(External(), evolve(CLIENT, authzid="fred@example.com"), SECURE)
    assert outcome.heard == [b"fred@example.com"]
    assert outcome.verified == [Credentials("certificate", "fred@example.com", certificate=b"DER")]


@pytest.mark.parametrize("tls", [None, evolve(TLS, peer_certificate=None), evolve(TLS, peer_certificate=b"")])
def test_without_a_certificate_nobody_is_let_in(tls: Any) -> None:
    context = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=tls))
    assert fails(lambda: drive(External(), context=context)) == WRONG


@pytest.mark.parametrize("message", [b"a\0b", b"\xff", b"a\nb", b"a" * 1025])
def test_a_malformed_authorization_identity_is_refused(message: bytes) -> None:
    assert fails(lambda: serve(External(), message, script(), SECURE)) == WRONG


@pytest.mark.parametrize("trace", ["sirhc@example.org", "sirhc", "", "Ünïcode", "IEUser@", "x" * 255, "ü" * 255])
def test_rfc4505_section_2_a_trace_is_an_address_a_token_or_nothing(trace: str) -> None:
    for use_initial in (True, False):
        outcome = drive(Anonymous(), evolve(CLIENT, username=trace), use_initial=use_initial)
        assert outcome.verified == [Credentials("anonymous", trace)]
        assert outcome.identity is not None and outcome.identity.mechanism == "ANONYMOUS"


@pytest.mark.parametrize("message", [b"x" * 256, "ü".encode() * 256, b"a\0b", b"a\nb", b"\xff", b"x" * 100_000])
def test_rfc4505_section_2_a_trace_that_is_too_long_or_no_text_is_refused(message: bytes) -> None:
    assert fails(lambda: serve(Anonymous(), message, script())) == WRONG


def test_our_client_says_no_longer_trace_than_may_be() -> None:
    assert next(Anonymous().respond(evolve(CLIENT, username="x" * 300))).octets == b"x" * 255
    for mechanism in (Anonymous(), External()):
        client = evolve(CLIENT, username="a\0", authzid="a\0")
        assert fails(lambda mechanism=mechanism, client=client: next(mechanism.respond(client))) == WRONG


@settings(max_examples=tries(100), deadline=None)
@given(st.sampled_from([Anonymous(), External()]), st.binary(max_size=300))
def test_nothing_but_authentication_failed_is_raised(mechanism: Any, message: bytes) -> None:
    try:
        assert serve(mechanism, message, script(), SECURE).identity is not None
    except AuthenticationFailed:
        pass
