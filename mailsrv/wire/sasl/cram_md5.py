"""CRAM-MD5 (RFC 2195), both sides, by the two inner states of HMAC instead of the password (floor 1).

Those states are as good as the password to whoever steals them, for this mechanism alone; the password itself does
not follow from them but by guessing.
"""

from __future__ import annotations

import re
from binascii import hexlify
from collections.abc import Generator
from hmac import compare_digest
from struct import Struct
from typing import Any

from zope.interface import implementer

from ...errors import AuthenticationFailed, Refused
from ...interfaces import IClientMechanism, ISaslMechanism
from ...values import AuthContext, Challenge, ClientContext, Credentials, Identity, NeedSecrets, Respond, Secrets
from . import base, md5
from .base import NAME_OCTETS, Answers, Steps

#: Octets of a challenge that the client side takes.
CHALLENGE_OCTETS = 1024

_DIGEST = re.compile(rb"[0-9a-f]{32}")
_KEPT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STATES = Struct("<8I")
_INNER, _OUTER = bytes(i ^ 0x36 for i in range(256)), bytes(i ^ 0x5C for i in range(256))

#: The states of HMAC after its first blocks: outer, inner (RFC 2104 section 4).
States = tuple[md5.State, md5.State]


def states(password: bytes) -> States:
    """The states for a password."""
    key = password if len(password) <= md5.BLOCK else md5.finish(md5.INITIAL, password)
    key = key.ljust(md5.BLOCK, b"\0")
    return md5.compress(md5.INITIAL, key.translate(_OUTER)), md5.compress(md5.INITIAL, key.translate(_INNER))


def prove(kept: States, challenge: bytes) -> bytes:
    """HMAC-MD5 of the challenge, in lower-case hexadecimal."""
    outer, inner = kept
    return hexlify(md5.finish(outer, md5.finish(inner, challenge, md5.BLOCK), md5.BLOCK))


def keep(password: str) -> str:
    """What is kept of a password: 64 hexadecimal digits, words with the low octet first, the outer state first.

    That is the text after Dovecot's ``{CRAM-MD5}``.  Passwords are NFC, the form of `auth.hashing`: RFC 2195 names
    none, and clients send octets as typed.  Raises Refused for a password that is no Unicode text.
    """
    outer, inner = states(base.normal(password))
    return _STATES.pack(*outer, *inner).hex()


def read(keys: str) -> States | None:
    """The states of a kept text; None when it is damaged."""
    return _split(bytes.fromhex(keys)) if _KEPT.fullmatch(keys) else None


def _split(octets: bytes) -> States:
    a, b, c, d, e, f, g, h = _STATES.unpack(octets)
    return (a, b, c, d), (e, f, g, h)


@implementer(ISaslMechanism, IClientMechanism)
class CramMd5:
    """CRAM-MD5: a challenge that never comes again, answered by name, space, and digest."""

    name = "CRAM-MD5"
    method = "sasl"
    scheme = "secret"
    secret = "cram-md5"
    plaintext = False
    channel = ""

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; the server speaks first, so an initial response is malformed (RFC 4954 section 4).

        Raises AuthenticationFailed.
        """
        if initial is not None:
            raise AuthenticationFailed()
        challenge = _challenge(context)
        answer = yield Challenge(challenge)
        # The name may have spaces, the digest has none.
        username, _, digest = answer.rpartition(b" ")
        if len(answer) > NAME_OCTETS + 33 or not username or not _DIGEST.fullmatch(digest):
            raise AuthenticationFailed()
        return (yield from self._check(base.name(username), challenge, digest, context))

    def _check(
        self, username: str, challenge: bytes, digest: bytes, context: AuthContext
    ) -> Generator[Any, Any, Identity]:
        """The same work whether there is such a user or not."""
        secrets: Secrets | None = yield NeedSecrets(self.secret, username)
        kept = read(secrets.keys) if secrets is not None else None
        used = kept or _split(context.decoy(b"cram-md5\0" + base.spelling(username, context)))
        if not compare_digest(prove(used, challenge), digest) or kept is None:
            raise AuthenticationFailed()
        return (yield from base.verified(self.name, Credentials("secret", username, secrets=secrets)))

    def respond(self, context: ClientContext) -> Answers:
        """See `IClientMechanism`.  Raises AuthenticationFailed for a challenge that is too long."""
        username = base.said(context.username)
        try:
            kept = states(base.normal(context.password))
        except Refused:
            raise AuthenticationFailed() from None
        challenge = yield Respond(None, final=False)
        if len(challenge) > CHALLENGE_OCTETS:
            raise AuthenticationFailed()
        yield Respond(username + b" " + prove(kept, challenge))


def _challenge(context: AuthContext) -> bytes:
    """A message id (RFC 2195 section 2).  With a host name of up to 26 octets it fits one block of MD5."""
    unique = base.encode(context.random(12))
    return b"<%b.%d@%b>" % (unique, int(context.now()), context.hostname.encode("ascii", "replace"))
