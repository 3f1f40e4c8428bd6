"""NTLM, client side: against our own server, against pyspnego, and against servers that make no sense (S-110)."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from spnego import NegotiateOptions, NTLMHash
from spnego import client as spnego_client
from spnego import server as spnego_server
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError
from test_ntlm import CONTEXT, END_POINT, MODERN, NONCE, NOW, NT_HASH, PASSWORD, SECURE, Answer, serve

from mailsrv.errors import AuthenticationFailed, MailError
from mailsrv.values import ClientContext, NeedSecrets
from mailsrv.wire.ntlm import Ntlm, crypto, keep, messages
from mailsrv.wire.ntlm.client import ASKED, authenticate
from mailsrv.wire.ntlm.messages import Av, ChallengeMessage, Flag
from tests.properties import tries

CLIENT = ClientContext(
    "user1@example.test",
    PASSWORD,
    hostname="mail.example.test",
    random=lambda n: b"\xaa" * n,
    now=lambda: NOW,
)
SECURE_CLIENT = evolve(CLIENT, bindings={"tls-server-end-point": END_POINT})


def against_ourselves(client: ClientContext, context: Any = CONTEXT, mechanism: Any = None, **more: Any) -> Any:
    """Our client logs in at our server."""
    steps = Ntlm().respond(client)
    first = next(steps)
    assert first.octets is not None and not first.final

    def answer(challenge: bytes) -> bytes:
        last = steps.send(challenge)
        assert last.octets is not None and last.final
        return last.octets

    return serve(mechanism or Ntlm(), first.octets, answer, context, **more)


@pytest.mark.parametrize(
    "username, domain, login",
    [
        ("user1@example.test", "", "user1@example.test"),
        ("user1@example.test", "CORP", "user1@example.test"),
        ("user1", "", "user1"),
        ("user1", "CORP", "CORP\\user1"),
        ("CORP\\user1", "", "CORP\\user1"),
        ("CORP\\user1", "OTHER", "CORP\\user1"),
        ("jürgen", "bücher.example", "bücher.example\\jürgen"),
        ("straße@example.test", "", "straße@example.test"),
    ],
)
def test_s110_account_and_domain(username: str, domain: str, login: str) -> None:
    outcome = against_ourselves(evolve(CLIENT, username=username, domain=domain))
    assert outcome.asked == [NeedSecrets("ntlm", login)]


def test_a_whole_address_goes_without_a_domain() -> None:
    message, _ = answered(challenge_of(), evolve(CLIENT, domain="CORP"))
    assert (message.domain, message.user) == (b"", "user1@example.test".encode("utf-16-le"))


def test_a_password_beyond_ascii() -> None:
    assert against_ourselves(evolve(CLIENT, password="pässwört €"), kept=keep("pässwört €")).identity


def test_a_wrong_password_fails() -> None:
    with pytest.raises(AuthenticationFailed):
        against_ourselves(evolve(CLIENT, password="password"))


def test_the_conversation_ends_after_two_messages() -> None:
    steps = Ntlm().respond(CLIENT)
    next(steps)
    steps.send(challenge_of())
    with pytest.raises(StopIteration):
        steps.send(b"")


def test_rfc5929_under_tls_the_proof_is_bound_to_the_channel() -> None:
    assert against_ourselves(SECURE_CLIENT, SECURE).identity
    assert against_ourselves(CLIENT, SECURE).identity
    other = evolve(CLIENT, bindings={"tls-server-end-point": b"another certificate"})
    with pytest.raises(AuthenticationFailed):
        against_ourselves(other, SECURE)


# ---------------------------------------------------------------- the messages


def challenge_of(flags: int = ASKED, pairs: dict[int, bytes] | None = None, info: bytes | None = None) -> bytes:
    """A server's challenge."""
    listed = messages.print_pairs({Av.TIMESTAMP: bytes(8)} if pairs is None else pairs)
    return messages.print_challenge(ChallengeMessage(flags, NONCE, b"", listed if info is None else info))


def answered(challenge: bytes, client: ClientContext = CLIENT) -> tuple[messages.AuthenticateMessage, Any]:
    """The AUTHENTICATE message, and its NT response."""
    message = messages.read_authenticate(authenticate(client, messages.print_negotiate(ASKED), challenge))
    return message, messages.read_response(message.nt)


def test_nlmp_3_1_5_1_2_with_a_timestamp_there_is_a_mic_and_no_lm_response() -> None:
    stamp = messages.file_time(1.0)
    message, response = answered(challenge_of(pairs={Av.NB_DOMAIN: b"D\0", Av.TIMESTAMP: stamp}))
    assert response.says_mic and message.mic not in (None, bytes(16))
    assert message.lm == bytes(24)
    assert response.temp[8:16] == stamp
    assert response.pairs == {
        Av.NB_DOMAIN: b"D\0",
        Av.TIMESTAMP: stamp,
        Av.FLAGS: b"\2\0\0\0",
        Av.CHANNEL_BINDINGS: bytes(16),
    }


def test_without_a_timestamp_the_own_clock_and_no_mic() -> None:
    message, response = answered(challenge_of(pairs={}))
    assert not response.says_mic and message.mic == bytes(16)
    assert response.temp[8:16] == messages.file_time(NOW)


def test_the_servers_own_bits_of_flags_stay() -> None:
    _, response = answered(challenge_of(pairs={Av.TIMESTAMP: bytes(8), Av.FLAGS: b"\1\0\0\0"}))
    assert response.pairs[Av.FLAGS] == b"\3\0\0\0"


@pytest.mark.parametrize("flags", [ASKED & ~Flag.TARGET_INFO, ASKED])
def test_a_server_without_pairs_gets_ntlmv2_too(flags: int) -> None:
    _, response = answered(challenge_of(flags, info=b""))
    assert set(response.pairs) == {Av.CHANNEL_BINDINGS}


def test_the_client_claims_nothing_that_was_not_granted() -> None:
    message, _ = answered(challenge_of(ASKED & ~Flag.KEY_128 | Flag.SIGN | Flag.KEY_EXCH))
    assert message.flags == ASKED & ~Flag.KEY_128


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"NTLMSSP\0",
        b"ntlm supported",
        challenge_of()[:47],
        challenge_of()[:31],
        messages.print_negotiate(ASKED),
        challenge_of(ASKED & ~Flag.UNICODE),
        challenge_of(info=b"\1\0\5\0abc"),
        challenge_of(info=b"\1\0\0\0" * 2 + bytes(4)),
        challenge_of(info=b"\1\0\0\0"),
        challenge_of(pairs={Av.TIMESTAMP: bytes(7)}),
        challenge_of() + bytes(messages.CHALLENGE_OCTETS),
    ],
)
def test_a_challenge_that_makes_no_sense_ends_it(challenge: bytes) -> None:
    steps = Ntlm().respond(CLIENT)
    next(steps)
    with pytest.raises(AuthenticationFailed):
        steps.send(challenge)


@pytest.mark.parametrize("username", ["", "CORP\\", "\ud800", "u" * 1025])
def test_a_name_that_cannot_be_sent(username: str) -> None:
    with pytest.raises(AuthenticationFailed):
        authenticate(evolve(CLIENT, username=username), b"", challenge_of())


@settings(deadline=None, max_examples=tries(100))
@given(st.binary(max_size=120), st.integers(0, len(challenge_of())))
def test_any_challenge_is_answered_or_refused(octets: bytes, at: int) -> None:
    for challenge in (octets, challenge_of()[:at] + octets, challenge_of()[:at] + octets + challenge_of()[at:]):
        try:
            made = authenticate(CLIENT, b"", challenge)
        except MailError:
            continue
        assert messages.read_authenticate(made).user


# ---------------------------------------------------------------- all flags


OPTIONAL = (
    Flag.REQUEST_TARGET,
    Flag.ALWAYS_SIGN,
    Flag.EXTENDED_SESSIONSECURITY,
    Flag.VERSION,
    Flag.KEY_128,
    Flag.KEY_56,
)


def test_any_set_of_flags_the_client_may_ask_with() -> None:
    for count in range(len(OPTIONAL) + 1):
        for chosen in combinations(OPTIONAL, count):
            negotiate = messages.print_negotiate(Flag.UNICODE | Flag.NTLM | sum(chosen))
            outcome = serve(Ntlm(), negotiate, _completes(negotiate), SECURE)
            assert outcome.identity is not None


def _completes(negotiate: bytes) -> Answer:
    return lambda challenge: authenticate(SECURE_CLIENT, negotiate, challenge)


# ---------------------------------------------------------------- pyspnego, an independent NTLM


def spnego_bindings(end_point: bytes) -> GssChannelBindings:
    return GssChannelBindings(application_data=b"tls-server-end-point:" + end_point)


def spnego_logs_in(username: str, context: Any = CONTEXT, mechanism: Any = None, **more: Any) -> Any:
    """pyspnego as client of our server."""
    peer = spnego_client(
        username, PASSWORD, "mail.example.test", "smtp", protocol="ntlm", options=NegotiateOptions.use_ntlm, **more
    )
    negotiate = peer.step()
    assert negotiate is not None

    def answer(challenge: bytes) -> bytes:
        octets = peer.step(challenge)
        assert octets is not None
        assert messages.read_authenticate(octets).mic is not None
        return octets

    outcome = serve(mechanism or Ntlm(), negotiate, answer, context)
    assert peer.complete
    return outcome


@pytest.mark.parametrize(
    "username, login",
    [
        ("user1@example.test", "user1@example.test"),
        ("user1", "user1"),
        ("EXAMPLE\\user1", "user1"),
        ("CORP\\user1", "CORP\\user1"),
        ("CORP\\jürgen", "CORP\\jürgen"),
    ],
)
def test_pyspnego_logs_in_here_with_a_mic_and_an_exchanged_key(username: str, login: str) -> None:
    outcome = spnego_logs_in(username)
    assert outcome.identity and outcome.asked == [NeedSecrets("ntlm", login)]
    offer = messages.read_challenge(outcome.challenges[0])
    assert offer.flags & Flag.KEY_EXCH and offer.flags & Flag.SIGN and not MODERN & 0x20 & offer.flags


def test_pyspnego_binds_to_the_channel() -> None:
    assert spnego_logs_in("user1", SECURE, channel_bindings=spnego_bindings(END_POINT)).identity
    with pytest.raises(AuthenticationFailed):
        spnego_logs_in("user1", SECURE, channel_bindings=spnego_bindings(b"another"))


def test_rfc2744_the_binding_is_the_md5_of_the_structure() -> None:
    assert crypto.channel_bindings(END_POINT) == crypto.md5(spnego_bindings(END_POINT).pack()).digest()


def log_in_at_spnego(client: ClientContext, monkeypatch: Any, tmp_path: Path, **more: Any) -> Any:
    """Our client at a server of pyspnego, whose one user is CORP\\user1."""
    users = tmp_path / "users"
    users.write_text(f"CORP:user1:{PASSWORD}\n:user1@example.test:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    server = spnego_server("mail.example.test", "smtp", protocol="ntlm", options=NegotiateOptions.use_ntlm, **more)
    steps = Ntlm().respond(client)
    challenge = server.step(next(steps).octets)
    assert challenge is not None
    server.step(steps.send(challenge).octets)
    return server


@pytest.mark.parametrize("username, domain", [("user1", "CORP"), ("CORP\\user1", ""), ("user1@example.test", "")])
def test_our_client_logs_in_at_pyspnego(username: str, domain: str, monkeypatch: Any, tmp_path: Path) -> None:
    client = evolve(CLIENT, username=username, domain=domain, bindings={"tls-server-end-point": END_POINT})
    bound = {"channel_bindings": spnego_bindings(END_POINT)}
    server = log_in_at_spnego(client, monkeypatch, tmp_path, **bound)
    assert server.complete and server.client_principal.rpartition("\\")[2].lower() == username.rpartition("\\")[2]
    with pytest.raises(SpnegoError):
        log_in_at_spnego(evolve(client, password="wrong"), monkeypatch, tmp_path, **bound)
    with pytest.raises(SpnegoError):
        log_in_at_spnego(evolve(client, bindings={"tls-server-end-point": b"x"}), monkeypatch, tmp_path, **bound)


def test_the_kept_hash_is_as_good_as_the_password() -> None:
    # Why `keep` warns: pyspnego needs nothing but what the server keeps.
    thief = NTLMHash("user1", nt_hash=keep(PASSWORD))
    peer = spnego_client(thief, None, "mail.example.test", protocol="ntlm", options=NegotiateOptions.use_ntlm)
    negotiate = peer.step()
    assert negotiate is not None and NT_HASH.hex() == keep(PASSWORD)
    assert serve(Ntlm(), negotiate, lambda challenge: peer.step(challenge) or b"").identity
