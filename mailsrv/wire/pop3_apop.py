"""APOP (RFC 1939 section 7, floor 1): the greeting's timestamp and the password, hashed together.

MD5 says little about who knows the password to somebody who can choose the timestamp, and the server must keep the
password itself.  So it is offered where an authenticator keeps it anyway, and an administrator wants it.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest

from ..errors import AuthenticationFailed
from ..values import AuthContext, Credentials, NeedSecrets, Secrets
from .sasl import base

#: The kind of secrets it needs: `Secrets.keys` is the password.
PLAIN = "plain"


def timestamp(context: AuthContext) -> bytes:
    """What the greeting shows, a message id that never comes again."""
    unique = base.encode(context.random(12)).rstrip(b"=").replace(b"/", b"-")
    return b"<%b.%d@%b>" % (unique, int(context.now()), context.hostname.encode("ascii", "replace"))


def digest_of(stamp: bytes, password: bytes) -> bytes:
    """What the client says: 32 hexadecimal digits in lower case."""
    return hashlib.md5(stamp + password, usedforsecurity=False).hexdigest().encode("ascii")


def exchange(context: AuthContext, username: str, stamp: bytes, digest: bytes) -> base.Steps:
    """As that of an `ISaslMechanism`: the same work whether there is such a user or not.

    Raises AuthenticationFailed.
    """
    if not username.isprintable() or len(username.encode("utf-8")) > base.NAME_OCTETS:
        raise AuthenticationFailed()
    secrets: Secrets | None = yield NeedSecrets(PLAIN, username)
    password = secrets.keys.encode("utf-8") if secrets is not None else b""
    used = password or context.decoy(b"apop\0" + base.spelling(username, context))
    if not compare_digest(digest_of(stamp, used), digest) or not password:
        raise AuthenticationFailed()
    return (yield from base.verified("APOP", Credentials("secret", username, secrets=secrets)))
