"""NTLM parsers against hostile octets (CVE-2020-12673, CVE-2020-12674, CVE-2019-11494, CVE-2019-11499 and their like):
AuthenticationFailed and nothing else, every limit is one."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ntlm import CONTEXT, MODERN, accepted, client, proof_of, refused, serve, with_mic
from test_ntlm_recorded import CURL_NEGOTIATE, CURL_WHOLE, SWAKS, SWAKS_NEGOTIATE

from mailsrv.errors import AuthenticationFailed
from mailsrv.wire.ntlm import Ntlm, messages
from mailsrv.wire.ntlm.messages import Av, Flag
from tests.properties import tries

NEGOTIATE = messages.print_negotiate(MODERN)
BOTH = [Ntlm(v1=True), Ntlm(v1=True, external=True)]
#: NEGOTIATE and AUTHENTICATE that are right.
GOOD = [
    (NEGOTIATE, client()),
    (NEGOTIATE, client(domain="CORP", workstation=b"host", key=b"k" * 16)),
    (NEGOTIATE, with_mic(NEGOTIATE, b"exchanged key 16")(serve(Ntlm(), NEGOTIATE, lambda _: client()).challenges[0])),
    (bytes.fromhex(CURL_NEGOTIATE), bytes.fromhex(CURL_WHOLE)),
    (bytes.fromhex(SWAKS_NEGOTIATE), bytes.fromhex(SWAKS)),
]
NAMES = ["plain", "all fields", "MIC", "curl", "swaks"]
#: Where AUTHENTICATE describes LM, NT, domain, user, workstation and key.
FIELDS = (12, 20, 28, 36, 44, 52)


def outcomes(octets: bytes, negotiate: bytes = NEGOTIATE) -> list[bool]:
    """Whether a login with this AUTHENTICATE succeeds, here and with a verifier elsewhere that says yes to all;
    AuthenticationFailed is the only other end."""
    results = []
    for mechanism in BOTH:
        try:
            results.append(serve(mechanism, negotiate, lambda _: octets).identity is not None)
        except AuthenticationFailed:
            results.append(False)
    return results


@pytest.mark.parametrize("negotiate, octets", GOOD, ids=NAMES)
def test_every_truncation(negotiate: bytes, octets: bytes) -> None:
    assert outcomes(octets, negotiate) == [True, True]
    for length in range(len(octets)):
        assert outcomes(octets[:length], negotiate) == [False, False], length


@pytest.mark.parametrize("negotiate, octets", GOOD, ids=NAMES)
@pytest.mark.parametrize("at", FIELDS)
def test_every_field_at_the_edges(negotiate: bytes, octets: bytes, at: int) -> None:
    size = len(octets)
    lengths = (0, 1, 15, 16, 24, 44, 47, 48, size - 88, size, 0x7FFF, 0x8000, 0xFFFF)
    offsets = (0, 12, 51, 52, 63, 64, 72, 87, 88, size - 1, size, size + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    for length in lengths:
        for offset in offsets:
            spoilt = octets[:at] + pack("<HHI", length, length, offset) + octets[at + 8 :]
            try:
                message = messages.read_authenticate(spoilt)
            except AuthenticationFailed:
                assert length and not 64 <= offset <= size - length
            else:
                contents = message.lm, message.nt, message.domain, message.user, message.workstation, message.key
                assert all(len(content) <= size - 52 for content in contents)
            outcomes(spoilt, negotiate)


def test_an_empty_field_may_point_anywhere() -> None:
    octets = client()
    for offset in (0, 1, 0xFFFFFFFF):
        for at in (28, 44, 52):
            spoilt = octets[:at] + pack("<HHI", 0, 0xFFFF, offset) + octets[at + 8 :]
            accepted(spoilt)


def test_the_room_of_a_field_is_not_looked_at() -> None:
    octets = client()
    for room in (0, 1, 0xFFFF):
        accepted(octets[:22] + pack("<H", room) + octets[24:])


def test_fields_may_share_octets() -> None:
    octets = client(workstation=b"")
    accepted(octets[:44] + octets[36:44] + octets[52:])


@pytest.mark.parametrize("at", FIELDS[:5])
def test_no_field_reaches_into_the_fixed_part(at: int) -> None:
    for offset in (0, 12, 44, 51):
        with pytest.raises(AuthenticationFailed):
            messages.read_authenticate(client()[:at] + pack("<HHI", 4, 4, offset) + client()[at + 8 :])


def test_a_key_where_the_mic_would_be_leaves_no_room_for_one() -> None:
    octets = client(key=b"k" * 16)
    assert messages.read_authenticate(octets).mic is not None
    for offset in (64, 72, 87):
        assert messages.read_authenticate(octets[:52] + pack("<HHI", 16, 16, offset) + octets[60:]).mic is None


def test_messages_have_a_size() -> None:
    assert (messages.NEGOTIATE_OCTETS, messages.AUTHENTICATE_OCTETS) == (2048, 8192)
    accepted(client() + bytes(messages.AUTHENTICATE_OCTETS - len(client())))
    refused(client() + bytes(messages.AUTHENTICATE_OCTETS + 1 - len(client())))
    full = NEGOTIATE + bytes(messages.NEGOTIATE_OCTETS - len(NEGOTIATE))
    assert serve(Ntlm(), full, lambda _: client()).identity
    with pytest.raises(AuthenticationFailed):
        serve(Ntlm(), full + b"\0", lambda _: client())


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"*",
        NEGOTIATE[:8],
        NEGOTIATE[:15],
        b"ntlmssp\0" + NEGOTIATE[8:],
        b"NTLMSSP " + NEGOTIATE[8:],
        NEGOTIATE[:8] + b"\2\0\0\0" + NEGOTIATE[12:],
        NEGOTIATE[:8] + b"\1\0\0\1" + NEGOTIATE[12:],
        client(),
        pack("<8sIIHHIHHI", b"NTLMSSP\0", 1, MODERN | Flag.DOMAIN_SUPPLIED, 5, 5, 32, 0, 0, 0),
        pack("<8sIIHHIHHI", b"NTLMSSP\0", 1, MODERN | Flag.WORKSTATION_SUPPLIED, 0, 0, 0, 1, 1, 0xFFFFFFFF),
        pack("<8sIIHHIHHI", b"NTLMSSP\0", 1, MODERN | Flag.DOMAIN_SUPPLIED, 5, 5, 16, 0, 0, 0),
    ],
)
def test_what_is_no_negotiate_message(octets: bytes) -> None:
    for initial in (True, False):
        with pytest.raises(AuthenticationFailed):
            serve(Ntlm(), octets, lambda _: client(), initial=initial)


@pytest.mark.parametrize(
    "octets",
    [b"", b"*", NEGOTIATE, b"NTLMSSP\0\3\0\0\0", client()[:8] + b"\2" + client()[9:], client()[1:], b"\0" + client()],
)
def test_what_is_no_authenticate_message(octets: bytes) -> None:
    refused(octets)


PAIR = pack("<HH", Av.NB_DOMAIN, 2) + b"D\0"
STAMP = pack("<HH", Av.TIMESTAMP, 8) + bytes(8)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0",
        b"\0\0\0",
        PAIR,
        PAIR + b"\0\0\0",
        pack("<HH", 2, 1),
        pack("<HH", 2, 0xFFFF) + bytes(8),
        PAIR + PAIR + bytes(4),
        b"".join(pack("<HH", kind, 0) for kind in range(1, messages.AV_PAIRS + 2)) + bytes(4),
    ],
    ids=["none", "1", "3", "no end", "half an end", "cut", "longer than all", "twice", "too many"],
)
def test_nlmp_2_2_2_1_a_list_of_pairs_ends_inside_its_field(octets: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        messages.read_pairs(octets)


def test_pairs_that_nobody_knows_are_read_over() -> None:
    octets = b"".join(pack("<HH", kind, 0) for kind in range(1, messages.AV_PAIRS + 1)) + bytes(4) + b"behind the end"
    assert len(messages.read_pairs(octets)) == messages.AV_PAIRS
    assert messages.read_pairs(STAMP + pack("<HH", 0xFFFE, 1) + b"x" + bytes(4)) == {7: bytes(8), 0xFFFE: b"x"}


@pytest.mark.parametrize(
    "nt",
    [
        bytes(23),
        bytes(25),
        proof_of("user1", "")[0][:47],
        proof_of("user1", "")[0][:16] + b"\2" + proof_of("user1", "")[0][17:],
        proof_of("user1", "")[0][:17] + b"\2" + proof_of("user1", "")[0][18:],
        proof_of("user1", "", {Av.FLAGS: b"\2"})[0],
        proof_of("user1", "", {Av.FLAGS: b""})[0],
        proof_of("user1", "", {Av.CHANNEL_BINDINGS: b""})[0],
        proof_of("user1", "", {Av.CHANNEL_BINDINGS: bytes(17)})[0],
    ],
)
def test_nlmp_2_2_2_7_what_is_no_ntlmv2_response(nt: bytes) -> None:
    # Refused before anybody is asked for secrets: it says nothing about the user.
    assert refused(client(nt=nt)).asked == []


@settings(deadline=None, max_examples=tries(150))
@given(st.binary(max_size=200), st.sampled_from(GOOD), st.data())
def test_any_octets_at_any_place(octets: bytes, good: tuple[bytes, bytes], data: Any) -> None:
    negotiate, message = good
    at = data.draw(st.integers(0, len(message)))
    outcomes(octets, negotiate)
    outcomes(message[:at] + octets, negotiate)
    outcomes(message[:at] + octets + message[at + len(octets) :], negotiate)
    for first in (octets, negotiate[:at] + octets):
        try:
            serve(Ntlm(), first, lambda _: message)
        except AuthenticationFailed:
            continue
        assert first.startswith(b"NTLMSSP\0\1\0\0\0")


@settings(deadline=None, max_examples=tries(100))
@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_any_flags(asked: int, sent: int) -> None:
    exchange = Ntlm(v1=True).exchange(CONTEXT, messages.print_negotiate(asked & ~0x3000))
    challenge = next(exchange)
    offer = messages.read_challenge(challenge.octets)
    assert bool(offer.flags & Flag.UNICODE) != bool(offer.flags & Flag.OEM)
    assert not offer.flags & ~(asked | Flag.NTLM | Flag.TARGET_INFO | Flag.UNICODE | 0x30000)
    outcomes(client()[:60] + pack("<I", sent) + client()[64:])


@settings(deadline=None, max_examples=tries(100))
@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=64))
def test_any_fields(lm: bytes, nt: bytes, user: bytes, domain: bytes) -> None:
    for response in (nt, proof_of("user1", "")[0] + nt):
        message = messages.AuthenticateMessage(lm, response, domain, user, flags=Flag.UNICODE)
        outcomes(messages.print_authenticate(message))
