"""What the tests of SASL mechanisms share: contexts, and both sides of a mechanism against one another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from mailsrv.errors import AuthenticationFailed
from mailsrv.values import (
    AuthContext,
    Challenge,
    ClientContext,
    Credentials,
    Identity,
    NeedSecrets,
    Peer,
    Secrets,
    TlsFacts,
    Verify,
)

BINDINGS = {"tls-exporter": b"\x01" * 32, "tls-server-end-point": b"\x02" * 32}
TLS = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", peer_certificate=b"DER", bindings=BINDINGS)


def _decoy(octets: bytes) -> bytes:
    return hashlib.sha256(b"of this site" + octets).digest()


CONTEXT = AuthContext(
    "imap", "imap/default", Peer("192.0.2.1"), hostname="mail.example.org", login_domain="example.org",
    random=lambda n: bytes(range(n)), now=lambda: 1234567890.5, decoy=_decoy,
)  # fmt: skip
SECURE = evolve(CONTEXT, peer=Peer("192.0.2.1", tls=TLS))
CLIENT = ClientContext(
    "user", "pencil", service="imap", hostname="mail.example.org", port=143, token="mF_9.B5f-4.1JqM",
    random=lambda n: bytes(n),
)  # fmt: skip


@frozen
class Outcome:
    """What happened: messages in order (of both sides), what was asked for and verified, and the identity."""

    identity: Identity | None
    needed: list[NeedSecrets] = field(factory=list)
    verified: list[Credentials] = field(factory=list)
    said: list[bytes] = field(factory=list)
    heard: list[bytes] = field(factory=list)


Answer = Callable[[bytes], bytes | None]


def serve(
    mechanism: Any, initial: bytes | None, answer: Answer, context: AuthContext = CONTEXT,
    kept: Mapping[str, str] | None = None, refuse: Exception | None = None,
) -> Outcome:  # fmt: skip
    """Be the server's other parts: `answer(challenge)` is the client (None: it gives up), `kept` maps a user's name
    to encoded keys, `refuse` is what checking credentials raises.  Raises what the mechanism raises."""
    exchange = mechanism.exchange(context, initial)
    outcome = Outcome(None, heard=[] if initial is None else [initial])
    resume: Callable[[], Any] = lambda: next(exchange)
    try:
        while True:
            wish = resume()
            if isinstance(wish, Challenge):
                outcome.said.append(wish.octets)
                octets = answer(wish.octets)
                if octets is None:
                    exchange.close()
                    return outcome
                outcome.heard.append(octets)
                value: Any = octets
            elif isinstance(wish, NeedSecrets):
                outcome.needed.append(wish)
                keys = (kept or {}).get(wish.username)
                value = None if keys is None else Secrets(wish.kind, wish.username, keys)
            else:
                assert isinstance(wish, Verify)
                outcome.verified.append(wish.credentials)
                if refuse is not None:
                    resume = lambda: exchange.throw(refuse)
                    continue
                value = Identity(7, wish.credentials.username, wish.credentials.authzid)
            resume = lambda value=value: exchange.send(value)
    except StopIteration as end:
        return evolve(outcome, identity=end.value)


def script(*answers: bytes) -> Answer:
    """A client that says just this, and then gives up."""
    left = list(answers)
    return lambda challenge: left.pop(0) if left else None


def drive(
    mechanism: Any, client: ClientContext = CLIENT, context: AuthContext = CONTEXT, *,
    use_initial: bool = True, **rest: Any,
) -> Outcome:  # fmt: skip
    """Our client against our server.  The client must be through, and believe in the server, when it is let in."""
    talk = mechanism.respond(client)
    said = next(talk)
    first = said.octets

    def answer(challenge: bytes) -> bytes | None:
        nonlocal said, first
        if first is not None and not use_initial:
            assert challenge == b""
            octets, first = first, None
            return octets
        try:
            said = talk.send(challenge)
        except StopIteration:
            return None
        assert said.octets is not None
        return said.octets

    outcome = serve(mechanism, first if use_initial else None, answer, context, **rest)
    assert outcome.identity is None or said.final
    return outcome


def fails(call: Callable[[], Any]) -> str:
    """The words of the refusal that must come."""
    try:
        call()
    except AuthenticationFailed as error:
        return f"{error.status} {error.text}"
    raise AssertionError("no refusal")
