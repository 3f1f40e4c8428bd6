"""What the SASL mechanisms share: base64, limits, readers of text, what a generator yields (floor 1)."""

from __future__ import annotations

import unicodedata
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Generator
from typing import Any

from ...errors import AuthenticationFailed, Refused
from ...values import AuthContext, Challenge, Credentials, Identity, NeedSecrets, Respond, Verify
from . import names

#: Octets of one name and of one password; RFC 4616 section 2 asks for at least 255 of each.
NAME_OCTETS = 1024
PASSWORD_OCTETS = 1024
#: What an exchange yields (`ISaslMechanism`), and what the client side does (`IClientMechanism`).
Steps = Generator[Challenge | NeedSecrets | Verify, Any, Identity]
Answers = Generator[Respond, bytes, None]


def decode(octets: bytes) -> bytes | None:
    """What base64 text stands for; None when it is malformed: padding, alphabet (RFC 4648 sections 3.2, 3.3)."""
    # The strict mode of CPython still takes padding beyond what is needed.
    if len(octets) % 4 or b"=" in octets[:-2]:
        return None
    try:
        return a2b_base64(octets, strict_mode=True)
    except Error:
        return None


def encode(octets: bytes) -> bytes:
    """Base64 without line ends."""
    return b2a_base64(octets, newline=False)


# ---------------------------------------------------------------- reading


def text(octets: bytes, limit: int) -> str:
    """UTF-8 without NUL, at most `limit` octets.  Raises AuthenticationFailed."""
    if len(octets) > limit or b"\0" in octets:
        raise AuthenticationFailed()
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed() from None


def name(octets: bytes) -> str:
    """A user's name: `text` without control characters (SASLprep and RFC 8265 forbid them)."""
    found = text(octets, NAME_OCTETS)
    if not found.isprintable():
        raise AuthenticationFailed()
    return found


def password(octets: bytes) -> str:
    """A password, never empty.  Raises AuthenticationFailed."""
    if not octets:
        raise AuthenticationFailed()
    return text(octets, PASSWORD_OCTETS)


def verified(mechanism: str, credentials: Credentials) -> Steps:
    """Have `credentials` checked; the identity tells the mechanism."""
    return granted((yield Verify(credentials)), mechanism)


def granted(identity: Identity, mechanism: str) -> Identity:
    """The identity, telling by which mechanism."""
    # Every login goes through here, and attrs.evolve, which asks for each field by name, takes three times as long.
    return Identity(
        identity.account_id, identity.authcid, identity.authzid, mechanism, identity.scopes, identity.tenant_id,
        identity.denied,
    )  # fmt: skip


def spelling(username: str, context: AuthContext) -> bytes:
    """One form for the ways to write a login, for decoys.

    A decoy must be as constant as what is kept of an account, which is found by any spelling that a directory takes
    for its name; else two of them would tell whether there is such an account.  So neither more nor less is one
    name here.  What can be nobody's name stays as it is.
    """
    try:
        local, domain = names.meant(username, context.login_domain, context.domains)
    except AuthenticationFailed:
        return username.encode("utf-8", "surrogatepass")
    return f"{names.fold(local)}@{domain}".encode()


# ---------------------------------------------------------------- saying


def said(value: str) -> bytes:
    """What the client side says of its own: UTF-8 without NUL.  Raises AuthenticationFailed for what has none."""
    try:
        octets = value.encode("utf-8")
    except UnicodeEncodeError:
        raise AuthenticationFailed() from None
    if b"\0" in octets:
        raise AuthenticationFailed()
    return octets


def normal(secret: str) -> bytes:
    """The octets of a password, one form for what looks the same (NFC, RFC 8265 section 4.2).

    Raises Refused for a text that has no UTF-8.
    """
    try:
        return (secret if secret.isascii() else unicodedata.normalize("NFC", secret)).encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("A password must be Unicode text") from None
