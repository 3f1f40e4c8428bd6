"""SCRAM (RFC 5802, RFC 7677) and its forms with channel binding (RFC 5929, RFC 9266), both sides."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sasl_drive import BINDINGS, CLIENT, CONTEXT, SECURE, TLS, drive, fails, script, serve

from mailsrv.errors import AuthenticationFailed, TryLater
from mailsrv.values import NeedSecrets, Peer, TlsFacts
from mailsrv.wire.sasl import ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus, scram
from mailsrv.wire.sasl.scram_text import EXTENSIONS, MAX_ITERATIONS, MESSAGE_OCTETS, MIN_ITERATIONS, NONCE_OCTETS
from tests.properties import tries

EVERY = (ScramSha256Plus(), ScramSha1Plus(), ScramSha256(), ScramSha1())
WRONG = "5.7.8 Authentication credentials invalid"


def kept(mechanism: Any, password: str = "pencil", user: str = "user") -> dict[str, str]:
    """Keys for one user, of few iterations, so that the tests are quick."""
    return {user: scram.keep(mechanism.hash_name, password, lambda n: b"s" * n, iterations=MIN_ITERATIONS)}


KEPT = {mechanism.name: kept(mechanism) for mechanism in EVERY}


def client_of(mechanism: Any, **changes: Any) -> Any:
    """A client context with the bindings that the mechanism needs."""
    return evolve(CLIENT, **{"bindings": BINDINGS if mechanism.channel == "binding" else {}, **changes})


def as_published(monkeypatch: pytest.MonkeyPatch, client: bytes, server: bytes) -> None:
    """The nonces of the RFC, the client's first, then the server's."""
    nonces = [client, server]
    monkeypatch.setattr(scram, "new_nonce", lambda random: nonces.pop(0))


# ---------------------------------------------------------------- the published exchanges


def test_rfc5802_section_5_user_and_pencil(monkeypatch: pytest.MonkeyPatch) -> None:
    as_published(monkeypatch, b"fyko+d2lbbFgONRv9qkxdawL", b"3rfcNHYJY1ZVvWVs7j")
    keys = scram.keep("sha1", "pencil", lambda n: b64decode("QSXCR+Q6sek8bf92"), iterations=4096)
    outcome = drive(ScramSha1(), kept={"user": keys})
    assert outcome.heard == [
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"",
    ]
    assert outcome.said == [
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ]


def test_rfc7677_section_3_user_and_pencil(monkeypatch: pytest.MonkeyPatch) -> None:
    as_published(monkeypatch, b"rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    keys = scram.keep("sha256", "pencil", lambda n: b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096)
    outcome = drive(ScramSha256(), kept={"user": keys})
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    assert outcome.heard == [
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"",
    ]
    assert outcome.said == [
        b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ]


# ---------------------------------------------------------------- our client, our server


@pytest.mark.parametrize("use_initial", [True, False])
@pytest.mark.parametrize("mechanism", EVERY, ids=lambda m: m.name)
def test_a_right_password_is_let_in(mechanism: Any, use_initial: bool) -> None:
    client = client_of(mechanism, authzid="boss@example.org")
    outcome = drive(mechanism, client, SECURE, kept=KEPT[mechanism.name], use_initial=use_initial)
    assert outcome.needed == [NeedSecrets(mechanism.secret, "user")]
    (credentials,) = outcome.verified
    assert (credentials.scheme, credentials.username, credentials.authzid) == ("secret", "user", "boss@example.org")
    assert credentials.secrets is not None and credentials.secrets.keys == KEPT[mechanism.name]["user"]
    assert outcome.identity is not None and outcome.identity.mechanism == mechanism.name
    assert (outcome.said[0] == b"") is not use_initial


@pytest.mark.parametrize("mechanism", EVERY, ids=lambda m: m.name)
def test_a_wrong_password_an_unknown_user_and_damaged_keys_look_the_same(mechanism: Any) -> None:
    client = client_of(mechanism)
    for keys in (kept(mechanism, "pencil!"), {}, {"user": "i=4096,s=,k=,e="}, {"user": ""}):
        assert fails(lambda keys=keys: drive(mechanism, client, SECURE, kept=keys)) == WRONG


@pytest.mark.parametrize("mechanism", EVERY, ids=lambda m: m.name)
def test_nothing_is_verified_before_the_proof_holds(mechanism: Any) -> None:
    exchange = mechanism.exchange(SECURE, next(mechanism.respond(client_of(mechanism))).octets)
    assert isinstance(next(exchange), NeedSecrets)
    challenge = exchange.send(None).octets
    nonce = challenge[2:].split(b",")[0]
    with pytest.raises(AuthenticationFailed):
        exchange.send(b"c=biws,r=" + nonce + b",p=" + b64encode(bytes(32)))


def test_an_account_that_may_not_log_in_is_refused_after_the_proof() -> None:
    refused = AuthenticationFailed()
    with pytest.raises(AuthenticationFailed) as caught:
        drive(ScramSha256(), kept=KEPT["SCRAM-SHA-256"], refuse=refused)
    assert caught.value is refused
    with pytest.raises(TryLater):
        drive(ScramSha256(), kept=KEPT["SCRAM-SHA-256"], refuse=TryLater())


def test_rfc5802_section_5_the_identity_is_given_when_the_client_has_heard_our_proof() -> None:
    heard = drive(ScramSha256(), kept=KEPT["SCRAM-SHA-256"]).heard
    assert serve(ScramSha256(), heard[0], script(heard[1]), kept=KEPT["SCRAM-SHA-256"]).identity is None
    assert serve(ScramSha256(), heard[0], script(heard[1], b""), kept=KEPT["SCRAM-SHA-256"]).identity is not None
    last = script(heard[1], b"v=x")
    assert fails(lambda: serve(ScramSha256(), heard[0], last, kept=KEPT["SCRAM-SHA-256"])) == WRONG


def test_a_recorded_exchange_is_worth_nothing_for_another_nonce() -> None:
    heard = drive(ScramSha256(), kept=KEPT["SCRAM-SHA-256"]).heard
    later = evolve(CONTEXT, random=lambda n: b"\x07" * n)
    replay = script(*heard[1:])
    assert fails(lambda: serve(ScramSha256(), heard[0], replay, later, kept=KEPT["SCRAM-SHA-256"])) == WRONG


def test_names_with_comma_and_equals_sign_arrive() -> None:
    name = "a,b=c=2C,"
    client = client_of(ScramSha256(), username=name, authzid="=,x")
    outcome = drive(ScramSha256(), client, kept=kept(EVERY[2], user=name))
    assert outcome.heard[0].startswith(b"n,a==3D=2Cx,n=a=2Cb=3Dc=3D2C=2C,r=")
    assert (outcome.verified[0].username, outcome.verified[0].authzid) == (name, "=,x")


# ---------------------------------------------------------------- decoys


def shown(username: bytes, context: Any = CONTEXT, mechanism: Any = EVERY[2], **rest: Any) -> bytes:
    """Salt and iterations that a client is shown for a name."""
    outcome = serve(mechanism, b"n,,n=" + username + b",r=abc", script(), context, **rest)
    return outcome.said[0].partition(b",")[2]


def test_a_name_that_nobody_has_always_gets_the_same_salt() -> None:
    assert shown(b"nobody") == shown(b"nobody", evolve(CONTEXT, random=lambda n: b"\x09" * n))
    assert len({shown(b"nobody"), shown(b"somebody"), shown(b"nobody", mechanism=EVERY[3])}) == 3
    assert shown(b"nobody") != shown(b"nobody", evolve(CONTEXT, decoy=lambda octets: bytes(32)))


def test_spellings_of_a_name_that_nobody_has_get_one_salt_as_an_account_would() -> None:
    context = evolve(CONTEXT, domains={"corp": "corp.example"})
    spelt = [b"nobody", b"NoBody", b"nobody@example.org", b"EXAMPLE\\nobody", b"nobody@Example.Org"]
    assert len({shown(name, context) for name in spelt}) == 1
    assert shown(b"CORP\\nobody", context) == shown(b"nobody@corp.example", context) != shown(b"nobody", context)
    assert shown(b"other\\nobody", context) == shown(b"nobody@other", context)


def test_a_decoy_has_the_form_of_true_keys() -> None:
    true = scram.keep("sha256", "pencil", lambda n: b"r" * n)
    decoy, real = shown(b"nobody"), shown(b"user", kept={"user": true})
    assert len(decoy) == len(real) and decoy.partition(b",i=")[2] == real.partition(b",i=")[2] == b"15000"


def proof(client_key: bytes, change: Callable[[bytes], bytes] = lambda final: final) -> Callable[[bytes], bytes]:
    """A client of SCRAM-SHA-256 that knows a ClientKey; `change` alters its last message before it is proved."""

    def answer(challenge: bytes) -> bytes:
        if challenge.startswith(b"v="):
            return b""
        final = change(b"c=biws," + challenge.partition(b",")[0])
        stored = hashlib.sha256(client_key).digest()
        signature = hmac.digest(stored, b",".join((b"n=user,r=abc", challenge, final)), "sha256")
        return final + b",p=" + b64encode(bytes(a ^ b for a, b in zip(client_key, signature)))

    return answer


def test_a_decoy_cannot_be_proved_even_with_its_own_key() -> None:
    context = evolve(CONTEXT, decoy=lambda octets: hashlib.sha256(b"c" * 32).digest())
    assert fails(lambda: serve(ScramSha256(), b"n,,n=user,r=abc", proof(b"c" * 32), context)) == WRONG


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (lambda final: final, True),
        (lambda final: final + b",x=y", True),
        (lambda final: final + b"x", False),
        (lambda final: final[:-1], False),
        (lambda final: b"c=eSws" + final[6:], False),
        (lambda final: final + b",m=x", False),
    ],
)
def test_rfc5802_section_5_1_a_right_proof_for_another_nonce_or_header_is_wrong(
    change: Callable[[bytes], bytes], good: bool
) -> None:
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b"s" * 16, MIN_ITERATIONS)
    client = proof(hmac.digest(salted, b"Client Key", "sha256"), change)
    talk = lambda: serve(ScramSha256(), b"n,,n=user,r=abc", client, kept=KEPT["SCRAM-SHA-256"])
    if good:
        assert talk().identity is not None
    else:
        assert fails(talk) == WRONG


# ---------------------------------------------------------------- channel binding


PLUS = pytest.mark.parametrize("mechanism", EVERY[:2], ids=lambda m: m.name)


@PLUS
def test_rfc9266_the_exporter_is_preferred_and_rfc5929_the_end_point_will_do(mechanism: Any) -> None:
    outcome = drive(mechanism, client_of(mechanism), SECURE, kept=KEPT[mechanism.name])
    assert outcome.heard[0].startswith(b"p=tls-exporter,,")
    assert b64decode(outcome.heard[1][2:].split(b",")[0]) == b"p=tls-exporter,," + BINDINGS["tls-exporter"]
    end_point = {"tls-exporter": b"", "tls-server-end-point": BINDINGS["tls-server-end-point"]}
    outcome = drive(mechanism, client_of(mechanism, bindings=end_point), SECURE, kept=KEPT[mechanism.name])
    assert outcome.heard[0].startswith(b"p=tls-server-end-point,,") and outcome.identity is not None


@PLUS
def test_rfc5802_section_6_a_man_in_the_middle_has_another_channel(mechanism: Any) -> None:
    for name in BINDINGS:
        client = client_of(mechanism, bindings={name: b"\x03" * 32})
        assert fails(lambda client=client: drive(mechanism, client, SECURE, kept=KEPT[mechanism.name])) == WRONG


@PLUS
def test_a_type_of_binding_that_is_unknown_or_not_there_is_refused(mechanism: Any) -> None:
    # Of TLS before 1.3, and broken there without the extended master secret (RFC 7627).
    unique = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=evolve(TLS, bindings={"tls-unique": b"\x04" * 12})))
    assert fails(lambda: serve(mechanism, b"p=tls-unique,,n=user,r=abc", script(), unique)) == WRONG
    for flag in (b"p=tls-unique", b"p=", b"p=\xff", b"p=TLS-EXPORTER", b"n", b"y"):
        assert fails(lambda flag=flag: serve(mechanism, flag + b",,n=user,r=abc", script(), SECURE)) == WRONG
    without = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=TlsFacts("TLSv1.2", "x", bindings={"tls-exporter": b""})))
    for context in (CONTEXT, without):
        assert fails(lambda c=context: serve(mechanism, b"p=tls-exporter,,n=user,r=abc", script(), c)) == WRONG


@PLUS
def test_our_client_does_not_bind_to_nothing(mechanism: Any) -> None:
    assert fails(lambda: next(mechanism.respond(CLIENT))) == "5.7.8 There is no channel to bind to"


def test_a_binding_that_another_type_has_is_none() -> None:
    def swapped(challenge: bytes) -> bytes:
        nonce = challenge[2:].partition(b",")[0]
        binding = b64encode(b"p=tls-exporter,," + BINDINGS["tls-server-end-point"])
        return b"c=" + binding + b",r=" + nonce + b",p=" + b64encode(bytes(32))

    assert fails(lambda: serve(EVERY[0], b"p=tls-exporter,,n=user,r=abc", swapped, SECURE)) == WRONG


def test_rfc5802_section_6_y_is_a_downgrade_where_the_plus_form_is_offered() -> None:
    message = b"y,,n=user,r=abc"
    assert fails(lambda: serve(ScramSha256(), message, script(), SECURE)) == WRONG
    # Without TLS, or without anything to bind to, that form is not offered, and the client is right.
    unbound = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=evolve(TLS, bindings={})))
    for context in (CONTEXT, unbound):
        assert serve(ScramSha256(), message, script(), context).said
    assert serve(ScramSha256(plus=False), message, script(), SECURE).said
    # "n" is what the many clients say that know nothing of channel binding.
    assert serve(ScramSha256(), b"n,,n=user,r=abc", script(), SECURE).said


def test_our_client_says_y_when_it_could_bind_and_its_flag_is_part_of_the_proof() -> None:
    client = client_of(ScramSha256(), bindings=BINDINGS)
    outcome = drive(ScramSha256(), client, CONTEXT, kept=KEPT["SCRAM-SHA-256"])
    assert outcome.heard[0].startswith(b"y,,") and outcome.heard[1].startswith(b"c=" + b64encode(b"y,,"))
    # Whoever changes "y" to "n" on the way is found out by the client's "c=".
    changed = b"n" + outcome.heard[0][1:]
    replay = script(*outcome.heard[1:])
    assert fails(lambda: serve(ScramSha256(), changed, replay, CONTEXT, kept=KEPT["SCRAM-SHA-256"])) == WRONG


def test_rfc5801_section_5_a_binding_under_the_plain_name_is_refused() -> None:
    assert fails(lambda: serve(ScramSha256(), b"p=tls-exporter,,n=user,r=abc", script(), SECURE)) == WRONG


# ---------------------------------------------------------------- malformed messages


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,n=user",
        b"n,,r=abc,n=user",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=a\x7f",
        b"n,,n=user,r=\xc3\xa4",
        b"n,,n=us\0er,r=abc",
        b"n,,n=us\ner,r=abc",
        b"n,,n=us\xffer,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=user=,r=abc",
        b"n,a=,n=user,r=abc",
        b"n,b=x,n=user,r=abc",
        b"n,a=x=,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"N,,n=user,r=abc",
        b",,n=user,r=abc",
        b"n,,m=ext,n=user,r=abc",
        b"n,,n=user,r=abc,m=ext",
        b"n,,n=user,r=abc,x",
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,x=",
        b"n,,n=user,r=abc,x=\0",
        b"n,,n=user,r=abc" + b",x=y" * (EXTENSIONS + 1),
        b"n,,n=user,r=" + b"a" * (NONCE_OCTETS + 1),
        b"n,,n=" + b"u" * 1025 + b",r=abc",
        b"n,a=" + b"u" * 1025 + b",n=user,r=abc",
        b"n,,n=user,r=abc,x=" + b"y" * MESSAGE_OCTETS,
    ],
)
def test_rfc5802_section_7_a_malformed_first_message_is_refused(message: bytes) -> None:
    assert fails(lambda: serve(ScramSha256(), message, script())) == WRONG


def test_rfc5802_section_5_1_unknown_extensions_that_are_optional_are_ignored() -> None:
    assert serve(ScramSha256(), b"n,,n=user,r=abc,x=y=z,Z=1", script()).said[0].startswith(b"r=abc")


@pytest.mark.parametrize(
    "change",
    [
        lambda nonce: b"",
        lambda nonce: b"c=biws,r=" + nonce,
        lambda nonce: b"r=" + nonce + b",c=biws,p=AAAA",
        lambda nonce: b"c=biws,r=" + nonce + b",p=AAA",
        lambda nonce: b"c=biws,r=" + nonce + b",p=",
        lambda nonce: b"c=biws,r=" + nonce + b",p=AAAA",
        lambda nonce: b"c=biws,r=" + nonce + b",p=" + b64encode(bytes(33)),
        lambda nonce: b"c=biws,r=" + nonce + b",p=" + b64encode(bytes(32)) + b",x=y",
        lambda nonce: b"c=biws,r=" + nonce + b",m=x,p=" + b64encode(bytes(32)),
        lambda nonce: b"c=biws,r=" + nonce[:-1] + b",p=" + b64encode(bytes(32)),
        lambda nonce: b"c=biws,r=" + nonce + b"x,p=" + b64encode(bytes(32)),
        lambda nonce: b"c=eSws,r=" + nonce + b",p=" + b64encode(bytes(32)),
        lambda nonce: b"c=biw=,r=" + nonce + b",p=" + b64encode(bytes(32)),
        lambda nonce: b"c=,r=" + nonce + b",p=" + b64encode(bytes(32)),
        lambda nonce: b"c=biws,r=" + nonce + b",x=" + b"y" * MESSAGE_OCTETS + b",p=" + b64encode(bytes(32)),
    ],
)
def test_rfc5802_section_7_a_malformed_final_message_is_refused(change: Callable[[bytes], bytes]) -> None:
    def answer(challenge: bytes) -> bytes:
        return change(challenge[2:].partition(b",")[0])

    assert fails(lambda: serve(ScramSha256(), b"n,,n=user,r=abc", answer, kept=KEPT["SCRAM-SHA-256"])) == WRONG


def test_every_truncation_of_a_valid_exchange_fails() -> None:
    heard = drive(ScramSha256(), kept=KEPT["SCRAM-SHA-256"]).heard
    for end in range(len(heard[0]) - 24):
        assert fails(lambda e=end: serve(ScramSha256(), heard[0][:e], script(), kept=KEPT["SCRAM-SHA-256"])) == WRONG
    for end in range(len(heard[1])):
        cut = script(heard[1][:end])
        assert fails(lambda cut=cut: serve(ScramSha256(), heard[0], cut, kept=KEPT["SCRAM-SHA-256"])) == WRONG


def test_every_changed_octet_of_a_valid_exchange_fails() -> None:
    heard = drive(ScramSha256(), kept=KEPT["SCRAM-SHA-256"]).heard
    for at in range(len(heard[1])):
        octets = bytearray(heard[1])
        octets[at] ^= 1
        changed = script(bytes(octets))
        assert fails(lambda c=changed: serve(ScramSha256(), heard[0], c, kept=KEPT["SCRAM-SHA-256"])) == WRONG


# ---------------------------------------------------------------- the client's distrust


def told(first: Callable[[bytes], bytes], final: bytes | None = None, mechanism: Any = EVERY[2], **changes: Any) -> str:
    """What our client says to a server that says this."""

    def talk() -> None:
        steps = mechanism.respond(client_of(mechanism, **changes))
        nonce = next(steps).octets.rpartition(b"r=")[2]
        said = steps.send(first(nonce))
        assert not said.final
        if final is not None:
            steps.send(final)

    return fails(talk)


@pytest.mark.parametrize(
    "first",
    [
        lambda nonce: b"",
        lambda nonce: b"r=" + nonce + b",s=AAAA,i=4096",
        lambda nonce: b"r=x" + nonce + b"y,s=AAAA,i=4096",
        lambda nonce: b"r=" + nonce + b"y,s=,i=4096",
        lambda nonce: b"r=" + nonce + b"y,s=AAA,i=4096",
        lambda nonce: b"r=" + nonce + b"y,i=4096,s=AAAA",
        lambda nonce: b"r=" + nonce + b"y,s=AAAA,i=04096",
        lambda nonce: b"r=" + nonce + b"y,s=AAAA,i=-1",
        lambda nonce: b"m=x,r=" + nonce + b"y,s=AAAA,i=4096",
        lambda nonce: b"r=" + nonce + b"y,s=AAAA,i=4096,m=x",
        lambda nonce: b"e=unknown-user",
        lambda nonce: b"r=" + nonce + b"y,s=" + b64encode(bytes(1025)) + b",i=4096",
        lambda nonce: b"r=" + nonce + b"y" * NONCE_OCTETS + b",s=AAAA,i=4096",
    ],
)
def test_rfc5802_section_5_1_a_challenge_that_makes_no_sense_is_not_answered(first: Callable[[bytes], bytes]) -> None:
    assert told(first).startswith("5.7.8 ")


@pytest.mark.parametrize("count", [1, MIN_ITERATIONS - 1, MAX_ITERATIONS + 1, 99_999_999])
def test_rfc7677_section_4_too_few_iterations_and_too_many_are_refused(count: int) -> None:
    words = told(lambda nonce: b"r=" + nonce + b"y,s=AAAA,i=%d" % count)
    assert words == "5.7.8 The server asks for too little work, or for too much"


FINALS = [b"", b"v=", b"v=AAAA", b"v=" + b64encode(bytes(32)), b"v=!", b"e=invalid-proof", b"x"]


@pytest.mark.parametrize("final", FINALS)
def test_rfc5802_section_5_a_server_that_does_not_prove_itself_is_not_believed(final: bytes) -> None:
    assert told(lambda nonce: b"r=" + nonce + b"y,s=AAAA,i=4096", final).startswith("5.7.8 ")


def test_our_client_believes_in_success_only_after_the_server_proved_itself() -> None:
    steps = ScramSha256().respond(CLIENT)
    assert not next(steps).final
    assert not steps.send(b"r=" + bytes(b"A" * 24) + b"y,s=AAAA,i=4096").final


@pytest.mark.parametrize(
    ("key", "value"),
    [("username", ""), ("username", "a\0"), ("username", "\ud800"), ("password", "\ud800"), ("authzid", "\0")],
)
def test_our_client_does_not_say_what_cannot_be_said(key: str, value: str) -> None:
    changes = {key: value}
    assert fails(lambda: next(ScramSha256().respond(client_of(EVERY[2], **changes)))) == WRONG


# ---------------------------------------------------------------- anything at all

FIELDS = [b"n", b"y", b"p=tls-exporter", b"", b"a=x", b"n=user", b"r=abc", b"c=biws", b"s=AAAA", b"p=AAAA", b"m=x"]
MESSAGES = st.binary(max_size=80) | st.lists(st.sampled_from(FIELDS), max_size=7).map(b",".join)


@settings(max_examples=tries(150), deadline=None)
@given(st.sampled_from(EVERY), MESSAGES, MESSAGES, st.sampled_from([CONTEXT, SECURE]))
def test_a_server_raises_nothing_but_authentication_failed(mechanism: Any, one: bytes, two: bytes, where: Any) -> None:
    try:
        assert serve(mechanism, one, script(two), where, kept=KEPT[mechanism.name]).identity is None
    except AuthenticationFailed:
        pass


@settings(max_examples=tries(100), deadline=None)
@given(st.sampled_from(EVERY), MESSAGES, MESSAGES)
def test_a_client_raises_nothing_but_authentication_failed(mechanism: Any, one: bytes, two: bytes) -> None:
    steps = mechanism.respond(client_of(mechanism))
    next(steps)
    with pytest.raises(AuthenticationFailed):
        steps.send(one)
        steps.send(two)
