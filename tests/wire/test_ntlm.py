"""NTLM, server side: who is meant, what is accepted and what never, MIC and channel bindings ([MS-NLMP] 3.2.5)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from attrs import define, evolve, field
from zope.interface.verify import verifyObject

from mailsrv.errors import AuthenticationFailed
from mailsrv.interfaces import IClientMechanism, ISaslMechanism
from mailsrv.values import AuthContext, Challenge, Credentials, Identity, NeedSecrets, Peer, Secrets, TlsFacts, Verify
from mailsrv.wire.ntlm import Ntlm, crypto, keep, messages
from mailsrv.wire.ntlm.messages import AuthenticateMessage, Av, Flag

NONCE = bytes.fromhex("0123456789abcdef")
NOW = 1_700_000_000.0
PASSWORD = "Password"
NT_HASH = crypto.nt_hash(PASSWORD)
END_POINT = sha256(b"certificate").digest()
TLS = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", bindings={"tls-server-end-point": END_POINT})

CONTEXT = AuthContext(
    "imap",
    "imap/default",
    Peer("192.0.2.1"),
    hostname="mail.example.test",
    login_domain="example.test",
    random=lambda n: NONCE[:n],
    now=lambda: NOW,
    decoy=lambda octets: sha256(b"key" + octets).digest(),
)
#: What an up-to-date Windows asks for.
MODERN = 0xE208_82B7


@define
class Outcome:
    """What an exchange showed."""

    challenges: list[bytes] = field(factory=list)
    asked: list[NeedSecrets] = field(factory=list)
    verified: list[Credentials] = field(factory=list)
    identity: Identity | None = None


Answer = Callable[[bytes], bytes]


def serve(
    mechanism: Any,
    negotiate: bytes,
    answer: Answer,
    context: AuthContext = CONTEXT,
    kept: str | None = keep(PASSWORD),
    outcome: Outcome | None = None,
    initial: bool = True,
) -> Outcome:
    """One exchange: `answer` makes AUTHENTICATE of the challenge, `kept` is what every login has."""
    seen = Outcome() if outcome is None else outcome
    exchange = mechanism.exchange(context, negotiate if initial else None)
    answers = [answer] if initial else [lambda _: negotiate, answer]
    reply = None
    try:
        while True:
            wish = exchange.send(reply)
            if isinstance(wish, Challenge):
                seen.challenges.append(wish.octets)
                reply = answers.pop(0)(wish.octets)
            elif isinstance(wish, NeedSecrets):
                seen.asked.append(wish)
                reply = None if kept is None else Secrets("ntlm", "user1@example.test", kept)
            else:
                assert isinstance(wish, Verify)
                seen.verified.append(wish.credentials)
                reply = Identity(7, "user1@example.test")
    except StopIteration as end:
        assert not answers
        seen.identity = end.value
    return seen


def proof_of(
    user: str,
    domain: str,
    pairs: dict[int, bytes] | None = None,
    key: bytes = NT_HASH,
    challenge: bytes = NONCE,
) -> tuple[bytes, bytes]:
    """An NT response of NTLMv2 with these pairs, and its session base key."""
    temp = b"\1\1" + bytes(14) + b"\xaa" * 8 + bytes(4) + messages.print_pairs(pairs or {}) + bytes(4)
    owf = crypto.ntowfv2(key, crypto.upper(user), domain)
    proof = crypto.nt_proof(owf, challenge, temp)
    return proof + temp, crypto.session_base_key(owf, proof)


def client(
    user: str = "user1",
    domain: str = "",
    pairs: dict[int, bytes] | None = None,
    flags: int = Flag.UNICODE,
    **changes: Any,
) -> bytes:
    """An AUTHENTICATE message of NTLMv2, right for `NONCE`; `changes` replace fields."""
    charset = "utf-16-le" if flags & Flag.UNICODE else "utf-8"
    response, _ = proof_of(user, domain, pairs)
    message = AuthenticateMessage(bytes(24), response, domain.encode(charset), user.encode(charset), flags=flags)
    return messages.print_authenticate(evolve(message, **changes))


def accepted(octets: bytes, mechanism: Any = None, flags: int = MODERN, **more: Any) -> Outcome:
    """The outcome of an exchange that ends well."""
    outcome = serve(mechanism or Ntlm(), messages.print_negotiate(flags), lambda _: octets, **more)
    assert outcome.identity is not None and outcome.identity.mechanism == "NTLM"
    return outcome


def refused(octets: bytes, mechanism: Any = None, flags: int = MODERN, **more: Any) -> Outcome:
    """What was seen of an exchange that ends in the words of every failed login."""
    seen = Outcome()
    with pytest.raises(AuthenticationFailed) as caught:
        serve(mechanism or Ntlm(), messages.print_negotiate(flags), lambda _: octets, outcome=seen, **more)
    assert str(caught.value) == AuthenticationFailed.text
    assert not seen.verified
    return seen


# ---------------------------------------------------------------- the mechanism


def test_it_is_a_mechanism_of_both_sides() -> None:
    assert verifyObject(ISaslMechanism, Ntlm()) and verifyObject(IClientMechanism, Ntlm())
    shown = Ntlm()
    assert (shown.name, shown.method, shown.scheme, shown.secret, shown.plaintext, shown.channel) == (
        "NTLM", "ntlm", "secret", "ntlm", False, "facts",
    )  # fmt: skip
    assert (Ntlm(external=True).scheme, Ntlm(external=True).secret) == ("response", "")


def test_s102_the_right_password_logs_in_and_is_never_shown() -> None:
    outcome = accepted(client())
    assert outcome.asked == [NeedSecrets("ntlm", "user1")]
    assert outcome.verified == [
        Credentials("secret", "user1", secrets=Secrets("ntlm", "user1@example.test", keep(PASSWORD)))
    ]
    assert keep(PASSWORD) not in repr(outcome.verified)


@pytest.mark.parametrize("initial", [True, False])
def test_rfc4422_an_initial_response_saves_the_empty_challenge(initial: bool) -> None:
    outcome = accepted(client(), initial=initial)
    assert outcome.challenges[:-1] == ([] if initial else [b""])


def test_an_empty_initial_response_is_no_message() -> None:
    with pytest.raises(AuthenticationFailed):
        Ntlm().exchange(CONTEXT, b"").send(None)


@pytest.mark.parametrize("kept", [None, "", "nonsense", keep("password"), keep(PASSWORD)[:-1]])
def test_nobody_nothing_kept_damaged_and_wrong_look_the_same(kept: str | None) -> None:
    assert refused(client(), kept=kept).asked == [NeedSecrets("ntlm", "user1")]


@pytest.mark.parametrize("kept", [None, "damaged"])
def test_knowing_the_decoy_would_not_help(kept: str | None) -> None:
    decoy = CONTEXT.decoy(b"ntlm\0user1")[:16]
    refused(client(nt=proof_of("user1", "", key=decoy)[0]), kept=kept)


def test_a_proof_is_good_for_one_challenge() -> None:
    refused(client(), context=evolve(CONTEXT, random=lambda n: b"87654321"[:n]))


def test_nlmp_3_1_5_1_2_the_clients_clock_may_be_wrong() -> None:
    temp = messages.read_response(messages.read_authenticate(client()).nt).temp
    assert temp[8:16] == bytes(8) != messages.file_time(NOW)  # the year 1601
    accepted(client())


# ---------------------------------------------------------------- the challenge


def offered(flags: int, context: AuthContext = CONTEXT) -> messages.ChallengeMessage:
    challenge = Ntlm().exchange(context, messages.print_negotiate(flags)).send(None)
    assert isinstance(challenge, Challenge)
    return messages.read_challenge(challenge.octets)


def test_nlmp_2_2_1_2_the_challenge_tells_names_and_time() -> None:
    offer = offered(MODERN)
    assert offer.challenge == NONCE
    assert offer.target.decode("utf-16-le") == "EXAMPLE"
    pairs = messages.read_pairs(offer.info)
    assert pairs.pop(Av.TIMESTAMP) == messages.file_time(NOW)
    assert {kind: value.decode("utf-16-le") for kind, value in pairs.items()} == {
        Av.NB_DOMAIN: "EXAMPLE",
        Av.NB_COMPUTER: "MAIL",
        Av.DNS_DOMAIN: "example.test",
        Av.DNS_COMPUTER: "mail.example.test",
    }


def test_without_a_login_domain_the_host_is_the_target() -> None:
    offer = offered(MODERN, evolve(CONTEXT, login_domain="", hostname="a-very-long-name-indeed.example.test"))
    assert offer.target.decode("utf-16-le") == "A-VERY-LONG-NAM"
    assert offer.flags & Flag.TARGET_TYPE_SERVER and not offer.flags & Flag.TARGET_TYPE_DOMAIN


@pytest.mark.parametrize(
    "asked, granted",
    [
        (0, Flag.UNICODE),
        (Flag.OEM, Flag.OEM),
        (Flag.UNICODE | Flag.OEM, Flag.UNICODE),
        (0x0000_0070, Flag.UNICODE | Flag.SIGN),  # SEAL and DATAGRAM are not to be had
        (0x0000_0880, Flag.UNICODE),  # LM_KEY, anonymous
        (Flag.REQUEST_TARGET, Flag.UNICODE | Flag.REQUEST_TARGET | Flag.TARGET_TYPE_DOMAIN),
        (Flag.KEY_128 | Flag.KEY_EXCH | Flag.KEY_56, Flag.UNICODE | Flag.KEY_128 | Flag.KEY_EXCH | Flag.KEY_56),
        (
            Flag.VERSION | Flag.EXTENDED_SESSIONSECURITY | Flag.ALWAYS_SIGN,
            Flag.UNICODE | Flag.VERSION | Flag.EXTENDED_SESSIONSECURITY | Flag.ALWAYS_SIGN,
        ),
    ],
)
def test_nlmp_2_2_2_5_only_what_was_asked_for_is_granted(asked: int, granted: int) -> None:
    assert offered(asked).flags == granted | Flag.NTLM | Flag.TARGET_INFO


def test_a_target_that_nobody_asked_for_is_not_named() -> None:
    assert offered(Flag.UNICODE).target == b""


def test_an_oem_client_gets_an_oem_target() -> None:
    assert offered(Flag.OEM | Flag.REQUEST_TARGET).target == b"EXAMPLE"


@pytest.mark.parametrize("length", [16, 32, 40])
def test_a_negotiate_message_may_end_early(length: int) -> None:
    negotiate = messages.print_negotiate(MODERN | Flag.DOMAIN_SUPPLIED | Flag.WORKSTATION_SUPPLIED)[:length]
    assert serve(Ntlm(), negotiate, lambda _: client()).identity is not None


# ---------------------------------------------------------------- who is meant (decision 33)


@pytest.mark.parametrize(
    "user, domain, login",
    [
        ("user1", "", "user1"),
        ("user1@example.test", "", "user1@example.test"),
        ("user1@example.test", "EXAMPLE", "user1@example.test"),  # swaks, Mail::IMAPClient, mbsync
        ("user1@example.test", "elsewhere", "user1@example.test"),
        ("user1", "EXAMPLE", "user1"),
        ("user1", "example", "user1"),
        ("user1", "Example.Test", "user1"),  # GNU SASL, fetchmail: of the login domain
        ("user1", "MAIL", "user1"),
        ("user1", "mail.example.test", "user1"),
        ("user1", "example.org", "example.org\\user1"),  # GNU SASL, fetchmail: of another
        ("user1", "CORP", "CORP\\user1"),
        ("CORP\\user1", "", "CORP\\user1"),  # what a client does not split
        ("CORP\\user1", "EXAMPLE", "CORP\\user1"),
        ("jürgen", "Bücher", "Bücher\\jürgen"),
        ("jürgen", "", "jürgen"),
        ("ju\u0308rgen", "", "ju\u0308rgen"),
    ],
)
@pytest.mark.parametrize("flags", [Flag.UNICODE, Flag.OEM])
def test_decision33_the_login(user: str, domain: str, login: str, flags: int) -> None:
    assert accepted(client(user, domain, flags=flags)).asked == [NeedSecrets("ntlm", login)]


def test_without_a_login_domain_the_table_of_domains_may_know_the_hosts_name() -> None:
    context = evolve(CONTEXT, login_domain="", hostname="example.test", domains={"example": "example.test"})
    assert accepted(client("user1", "EXAMPLE"), context=context).asked == [NeedSecrets("ntlm", "EXAMPLE\\user1")]
    assert accepted(client("user1", "example.test"), context=context).asked == [NeedSecrets("ntlm", "user1")]


def test_nlmp_3_3_2_the_users_case_does_not_matter_the_domains_does() -> None:
    nt = proof_of("USER1", "Corp")[0]
    accepted(client("uSeR1", "Corp", nt=nt))
    refused(client("uSeR1", "CORP", nt=nt))


@pytest.mark.parametrize(
    "user, domain",
    [("", ""), ("", "CORP"), ("a\0", ""), ("a\r\nb", ""), ("a", "\x7f"), ("u" * 1025, ""), ("u", "d" * 1025)],
    ids=["empty", "domain alone", "NUL", "line end", "control", "long user", "long domain"],
)
def test_what_can_be_nobodys_name(user: str, domain: str) -> None:
    assert refused(client(user, domain)).asked == []


def test_names_are_unicode_text() -> None:
    message = messages.read_authenticate(client())
    for name in (b"\x00\xd8", b"a", b"\xff\xff\xff"):
        assert refused(messages.print_authenticate(evolve(message, user=name))).asked == []


# ---------------------------------------------------------------- what is older than NTLMv2


LM = bytes.fromhex("98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13")
V1 = crypto.ntlmv1(NT_HASH, NONCE)
SESSION = crypto.ntlmv1(NT_HASH, crypto.session_challenge(NONCE, b"\xaa" * 8))
ESS = Flag.UNICODE | Flag.EXTENDED_SESSIONSECURITY


@pytest.mark.parametrize(
    "lm, nt, flags",
    [
        (LM, V1, Flag.UNICODE),
        (b"", V1, Flag.UNICODE),  # mbsync
        (V1, V1, Flag.UNICODE),  # a client that does not want to show LM
        (LM, V1, ESS),  # the flag is repeated by a client that does not know it
        (b"\xaa" * 8 + bytes(16), SESSION, ESS),
    ],
)
def test_ntlmv1_is_accepted_only_where_it_is_switched_on(lm: bytes, nt: bytes, flags: int) -> None:
    octets = client(lm=lm, nt=nt, flags=flags)
    assert accepted(octets, Ntlm(v1=True)).asked == [NeedSecrets("ntlm", "user1")]
    assert refused(octets, Ntlm()).asked == []
    assert refused(octets, Ntlm(v1=True), kept=keep("other")).asked == [NeedSecrets("ntlm", "user1")]
    assert refused(octets, Ntlm(v1=True), kept=None).asked == [NeedSecrets("ntlm", "user1")]


def test_ntlmv2_is_accepted_where_ntlmv1_is_too() -> None:
    accepted(client(), Ntlm(v1=True))


def test_ntlm2_session_answers_both_challenges() -> None:
    refused(client(lm=b"\xab" * 8 + bytes(16), nt=SESSION, flags=ESS), Ntlm(v1=True))
    refused(client(lm=b"\xaa" * 8 + bytes(16), nt=V1, flags=ESS), Ntlm(v1=True))
    refused(client(lm=b"\xaa" * 8 + bytes(16), nt=SESSION), Ntlm(v1=True))


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize(
    "lm, nt, user",
    [
        (LM, b"", "user1"),  # LM alone
        (LM, LM, "user1"),
        (b"", b"", "user1"),
        (b"\0", b"", ""),  # anonymous (section 3.2.5.1.2)
        (b"", V1[:-1], "user1"),
        (b"", bytes(24), "user1"),
    ],
)
def test_lm_and_anonymous_never(lm: bytes, nt: bytes, user: str, v1: bool) -> None:
    refused(client(user, lm=lm, nt=nt), Ntlm(v1=v1))


@pytest.mark.parametrize("flags, charset", [(Flag.OEM, "utf-8"), (Flag.UNICODE, "utf-16-le")])
def test_the_oldest_form_has_no_flags_and_follows_the_challenge(flags: int, charset: str) -> None:
    fields, payload = b"", b""
    for content in (LM, V1, b"", "user1".encode(charset), b"host"):
        fields += len(content).to_bytes(2, "little") * 2 + (52 + len(payload)).to_bytes(4, "little")
        payload += content
    octets = messages.SIGNATURE + b"\3\0\0\0" + fields + payload
    assert messages.read_authenticate(octets).flags is None
    assert accepted(octets, Ntlm(v1=True), flags=flags).asked == [NeedSecrets("ntlm", "user1")]


# ---------------------------------------------------------------- MIC


def with_mic(negotiate: bytes, key: bytes | None = None, spoil: int | None = None) -> Answer:
    """A client that sends a MIC; `key` is the session key it exchanges."""

    def answer(challenge: bytes) -> bytes:
        response, base = proof_of("user1", "", {Av.FLAGS: Av.MIC_PRESENT.to_bytes(4, "little")})
        flags = Flag.UNICODE | (Flag.KEY_EXCH if key else 0)
        wrapped = crypto.rc4(base, key) if key else b""
        plain = messages.print_authenticate(
            AuthenticateMessage(bytes(24), response, b"", "user1".encode("utf-16-le"), b"host", wrapped, flags)
        )
        mic = crypto.message_integrity(key or base, negotiate, challenge, plain)
        octets = bytearray(messages.with_mic(plain, mic))
        if spoil is not None:
            octets[spoil] ^= 1
        return bytes(octets)

    return answer


@pytest.mark.parametrize("key", [None, b"exchanged key 16"])
def test_nlmp_3_2_5_1_2_a_mic_must_be_right(key: bytes | None) -> None:
    negotiate = messages.print_negotiate(MODERN)
    assert serve(Ntlm(), negotiate, with_mic(negotiate, key)).identity is not None
    # The MIC itself, the Version, a flag, the name of the workstation: all are covered.
    size = len(with_mic(negotiate, key)(b""))
    workstation = size - (20 if key else 4)
    for spoil in (72, 87, 64, 63, workstation):
        with pytest.raises(AuthenticationFailed):
            serve(Ntlm(), negotiate, with_mic(negotiate, key, spoil=spoil))


def test_a_negotiate_message_changed_on_the_way_breaks_the_mic() -> None:
    asked, arrived = messages.print_negotiate(MODERN), messages.print_negotiate(MODERN & ~Flag.KEY_128)
    with pytest.raises(AuthenticationFailed):
        serve(Ntlm(), arrived, with_mic(asked))


def test_the_claim_of_a_mic_cannot_be_taken_back() -> None:
    # The claim is under the proof: zeros instead of a MIC are a wrong one, and a message without room has none.
    negotiate = messages.print_negotiate(MODERN)
    with pytest.raises(AuthenticationFailed):
        serve(Ntlm(), negotiate, lambda c: messages.without_mic(with_mic(negotiate)(c)))
    response, _ = proof_of("user1", "", {Av.FLAGS: b"\2\0\0\0"})
    refused(old_form(response))


def old_form(response: bytes) -> bytes:
    """AUTHENTICATE as curl prints it: the payload begins where newer clients have the Version."""
    new = messages.print_authenticate(AuthenticateMessage(b"", b"", b"", b"", flags=Flag.UNICODE))
    fields = bytearray(new[:64])
    name = "user1".encode("utf-16-le")
    fields[20:28] = len(response).to_bytes(2, "little") * 2 + (64).to_bytes(4, "little")
    fields[36:44] = len(name).to_bytes(2, "little") * 2 + (64 + len(response)).to_bytes(4, "little")
    return bytes(fields) + response + name


def test_no_mic_is_asked_of_a_client_that_claims_none() -> None:
    accepted(old_form(proof_of("user1", "")[0]))
    accepted(client(pairs={Av.FLAGS: bytes(4)}))
    accepted(client(pairs={Av.FLAGS: b"\1\0\0\0"}))


@pytest.mark.parametrize("length", [1, 15, 17])
def test_an_exchanged_key_has_16_octets(length: int) -> None:
    negotiate = messages.print_negotiate(MODERN)
    with pytest.raises(AuthenticationFailed):
        serve(Ntlm(), negotiate, with_mic(negotiate, b"k" * length))


# ---------------------------------------------------------------- channel bindings (RFC 5929)


SECURE = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=TLS))
BARE_TLS = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=evolve(TLS, bindings={})))
RIGHT, WRONG = crypto.channel_bindings(END_POINT), crypto.channel_bindings(b"another")


@pytest.mark.parametrize("context", [CONTEXT, BARE_TLS, SECURE])
@pytest.mark.parametrize("pairs", [{}, {Av.CHANNEL_BINDINGS: bytes(16)}])
def test_a_client_that_does_not_bind_is_let_in(context: AuthContext, pairs: dict[int, bytes]) -> None:
    accepted(client(pairs=pairs), context=context)


def test_rfc5929_a_binding_is_to_this_connection() -> None:
    accepted(client(pairs={Av.CHANNEL_BINDINGS: RIGHT}), context=SECURE)
    refused(client(pairs={Av.CHANNEL_BINDINGS: WRONG}), context=SECURE)


@pytest.mark.parametrize("context", [CONTEXT, BARE_TLS])
def test_a_binding_to_another_connection_than_ours_is_a_relay(context: AuthContext) -> None:
    refused(client(pairs={Av.CHANNEL_BINDINGS: RIGHT}), context=context)


# ---------------------------------------------------------------- somebody else checks


@pytest.mark.parametrize(
    "user, domain, username",
    [("user1", "", "user1"), ("User1", "CORP", "CORP\\User1"), ("u@example.org", "CORP", "CORP\\u@example.org")],
)
def test_an_external_verifier_gets_all_as_sent(user: str, domain: str, username: str) -> None:
    octets = client(user, domain)
    outcome = accepted(octets, Ntlm(external=True), kept=None)
    nt = messages.read_authenticate(octets).nt
    assert outcome.asked == []
    assert outcome.verified == [Credentials("response", username, challenge=NONCE, response=nt)]


def test_an_external_verifier_of_ntlm2_session_gets_the_challenge_that_was_answered() -> None:
    octets = client(lm=b"\xaa" * 8 + bytes(16), nt=SESSION, flags=ESS)
    outcome = accepted(octets, Ntlm(v1=True, external=True))
    challenge = crypto.session_challenge(NONCE, b"\xaa" * 8)
    assert outcome.verified == [Credentials("response", "user1", challenge=challenge, response=SESSION)]
    refused(octets, Ntlm(external=True))


def test_bindings_are_checked_for_an_external_verifier_too() -> None:
    refused(client(pairs={Av.CHANNEL_BINDINGS: WRONG}), Ntlm(external=True), context=SECURE)
