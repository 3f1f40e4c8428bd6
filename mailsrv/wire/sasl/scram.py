"""SCRAM (RFC 5802, RFC 7677) with and without channel binding (RFC 5929, RFC 9266), both sides (floor 1).

The password never crosses the wire, the server keeps nothing to log in with, and it proves itself too.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from zope.interface import implementer

from ...errors import AuthenticationFailed, Refused
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, NeedSecrets, Respond, Verify
from . import base, gs2, scram_keys, scram_text
from .base import Answers, Steps, encode
from .saslprep import prepared
from .scram_keys import check as check
from .scram_keys import import_keys as import_keys
from .scram_keys import keep as keep

#: The types of channel binding, best first: the certificate alone says which server, the exporter which connection.
BINDINGS = ("tls-exporter", "tls-server-end-point")


def new_nonce(random: Callable[[int], bytes]) -> bytes:
    """One side's nonce: 144 bits."""
    return encode(random(18))


@implementer(ISaslMechanism, IClientMechanism)
class ScramSha256:
    """SCRAM-SHA-256.

    `plus` False: the form with channel binding is not offered beside it, so a client that says that it misses that
    form ("y") is no sign of an attack.
    """

    name = "SCRAM-SHA-256"
    method = "sasl"
    scheme = "secret"
    secret = "scram-sha-256"
    plaintext = False
    channel = "facts"
    hash_name = "sha256"

    def __init__(self, plus: bool = True) -> None:
        self._plus = plus

    # ------------------------------------------------------------ the server

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`.  The identity is asked for after the proof, and given after the client heard ours.

        A proof for nobody is checked against keys that nobody has: same words, same work.  RFC 5802 section 7 lets a
        server say why it fails ("e="), but no protocol here has room for it beside its own refusal.
        Raises AuthenticationFailed.
        """
        opening = scram_text.read_client_first((yield Challenge(b"")) if initial is None else initial)
        binding = encode(opening.header + self._binding(opening.flag, context))
        secrets = yield NeedSecrets(self.secret, opening.username)
        kept = scram_keys.read(self.hash_name, secrets.keys) if secrets is not None else None
        keys = kept or self._decoy(opening.username, context)
        nonce = opening.nonce + new_nonce(context.random)
        challenge = b"r=%b,s=%b,i=%d" % (nonce, keys.salt, keys.iterations)
        final = scram_text.read_client_final((yield Challenge(challenge)))
        if final.nonce != nonce or not hmac.compare_digest(final.binding, binding):
            raise AuthenticationFailed()
        message = b"%b,%b,%b" % (opening.bare, challenge, final.bare)
        right = self._proves(keys.stored, message, final.proof)
        if not right or kept is None:
            raise AuthenticationFailed()
        identity = yield Verify(
            Credentials("secret", opening.username, authzid=opening.authzid, secrets=secrets)
        )
        if (yield Challenge(b"v=" + encode(hmac.digest(keys.server, message, self.hash_name)))):
            raise AuthenticationFailed()
        return base.granted(identity, self.name)

    def _binding(self, flag: bytes, context: AuthContext) -> bytes:
        """The channel's octets that the client must have seen too.  Raises AuthenticationFailed.

        "y" says: I could bind, but you do not offer it.  We do wherever the connection has bindings, as both forms
        need the same secrets; so somebody between us has taken it out of our offer (RFC 5802 section 6).
        """
        tls = context.peer.tls
        if flag.startswith(b"p=") or (flag == b"y" and self._plus and tls is not None and tls.bindings):
            raise AuthenticationFailed()
        return b""

    def _decoy(self, username: str, context: AuthContext) -> scram_keys.Keys:
        """What is shown for a name that has no keys."""
        owner = self.secret.encode("ascii") + b"\0" + base.spelling(username, context)
        return scram_keys.decoy(self.hash_name, context.decoy(owner))

    def _proves(self, stored: bytes, message: bytes, proof: bytes) -> bool:
        """Whether the proof is that of the client whose StoredKey this is (RFC 5802 section 3)."""
        if len(proof) != len(stored):
            return False
        signature = hmac.digest(stored, message, self.hash_name)
        return hmac.compare_digest(scram_keys.HASHES[self.hash_name](_xor(proof, signature)).digest(), stored)

    # ------------------------------------------------------------ the client

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`.  The step after the server's challenge takes milliseconds, 0.2 s at most.

        `bindings` given to a form without "-PLUS" say that the server offers none with it; leave them empty where
        that form is used although it does.  Raises AuthenticationFailed.
        """
        flag, octets = self._bind(context.bindings)
        header = gs2.print_header(flag, context.authzid)
        try:
            password = prepared(context.password)
        except Refused:
            raise AuthenticationFailed() from None
        nonce = new_nonce(context.random)
        bare = b"n=%b,r=%b" % (gs2.print_name(context.username), nonce)
        challenge = yield Respond(header + bare, final=False)
        offer = scram_text.read_server_first(challenge, nonce)
        salted = scram_keys.salted(self.hash_name, password, offer.salt, offer.iterations)
        client, stored, server = scram_keys.derive(self.hash_name, salted)
        final = b"c=%b,r=%b" % (encode(header + octets), offer.nonce)
        message = b"%b,%b,%b" % (bare, challenge, final)
        proof = _xor(client, hmac.digest(stored, message, self.hash_name))
        signature = scram_text.read_server_final((yield Respond(b"%b,p=%b" % (final, encode(proof)), final=False)))
        if not hmac.compare_digest(signature, hmac.digest(server, message, self.hash_name)):
            raise AuthenticationFailed("The server did not prove itself")
        yield Respond(b"")

    def _bind(self, bindings: Mapping[str, bytes]) -> tuple[bytes, bytes]:
        """The flag of the GS2 header, and the channel's octets."""
        return b"y" if bindings else b"n", b""


class ScramSha256Plus(ScramSha256):
    """SCRAM-SHA-256-PLUS: both sides must have seen the same TLS channel."""

    name = "SCRAM-SHA-256-PLUS"
    channel = "binding"

    def _binding(self, flag: bytes, context: AuthContext) -> bytes:
        """See `ScramSha256._binding`: here a client must bind, by a type that this connection has."""
        tls = context.peer.tls
        if not flag.startswith(b"p=") or tls is None:
            raise AuthenticationFailed()
        kind = flag[2:].decode("ascii", "replace")
        octets = tls.bindings.get(kind) if kind in BINDINGS else None
        if not octets:
            raise AuthenticationFailed()
        return octets

    def _bind(self, bindings: Mapping[str, bytes]) -> tuple[bytes, bytes]:
        for kind in BINDINGS:
            if bindings.get(kind):
                return b"p=" + kind.encode("ascii"), bindings[kind]
        raise AuthenticationFailed("There is no channel to bind to")


class ScramSha1(ScramSha256):
    """SCRAM-SHA-1, what older clients know."""

    name = "SCRAM-SHA-1"
    secret = "scram-sha-1"
    hash_name = "sha1"


class ScramSha1Plus(ScramSha256Plus):
    """SCRAM-SHA-1-PLUS."""

    name = "SCRAM-SHA-1-PLUS"
    secret = "scram-sha-1"
    hash_name = "sha1"


def _xor(one: bytes, other: bytes) -> bytes:
    """Both of the same length."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")
