"""SASL mechanisms of passwords, server side (floor 1): PLAIN (RFC 4616) and LOGIN.

A mechanism is a generator (`ISaslMechanism`): it yields `Challenge` and is resumed with the client's octets, yields
`Verify` and is resumed with the Identity that an authenticator made.  Base64 is the business of the protocol that
carries the exchange; `decode` is the strict reader for all of them.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Generator
from typing import Any

from attrs import evolve
from zope.interface import implementer

from ..errors import AuthenticationFailed
from ..interfaces import ISaslMechanism
from ..values import AuthContext, Challenge, Credentials, Identity, Verify

#: Octets of one name and of one password; RFC 4616 section 2 asks for at least 255 of each.
NAME_OCTETS = 1024
PASSWORD_OCTETS = 1024
#: What an exchange yields.
Steps = Generator[Challenge | Verify, Any, Identity]


def decode(octets: bytes) -> bytes | None:
    """What base64 text stands for; None when it is malformed: padding, alphabet (RFC 4648 sections 3.2, 3.3)."""
    # The strict mode of CPython still takes padding beyond what is needed.
    if len(octets) % 4 or b"=" in octets[:-2]:
        return None
    try:
        return a2b_base64(octets, strict_mode=True)
    except Error:
        return None


def _text(octets: bytes, limit: int) -> str:
    """UTF-8 without NUL, at most `limit` octets.  Raises AuthenticationFailed."""
    if len(octets) > limit or b"\0" in octets:
        raise AuthenticationFailed()
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed() from None


def _name(octets: bytes) -> str:
    """A user's name: `_text` without control characters (SASLprep and RFC 8265 forbid them)."""
    text = _text(octets, NAME_OCTETS)
    if not text.isprintable():
        raise AuthenticationFailed()
    return text


def _password(octets: bytes) -> str:
    """A password, never empty.  Raises AuthenticationFailed."""
    if not octets:
        raise AuthenticationFailed()
    return _text(octets, PASSWORD_OCTETS)


def _verified(mechanism: str, credentials: Credentials) -> Steps:
    """Have `credentials` checked; the identity tells the mechanism."""
    identity: Identity = yield Verify(credentials)
    return evolve(identity, mechanism=mechanism)


@implementer(ISaslMechanism)
class Plain:
    """PLAIN: one message of authorization identity, NUL, name, NUL, password."""

    name = "PLAIN"
    method = "basic"
    scheme = "password"
    secret = ""
    plaintext = True
    channel = ""

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`.  Raises AuthenticationFailed on a malformed message."""
        message = (yield Challenge(b"")) if initial is None else initial
        if len(message) > 2 * NAME_OCTETS + PASSWORD_OCTETS + 2 or message.count(b"\0") != 2:
            raise AuthenticationFailed()
        authzid, authcid, password = message.split(b"\0")
        if not authcid:
            raise AuthenticationFailed()
        credentials = Credentials("password", _name(authcid), _password(password), _name(authzid))
        return (yield from _verified(self.name, credentials))


@implementer(ISaslMechanism)
class Login:
    """LOGIN: name, then password, each asked for; never standardised, still the only one some clients speak."""

    name = "LOGIN"
    method = "basic"
    scheme = "password"
    secret = ""
    plaintext = True
    channel = ""

    def exchange(self, context: AuthContext, initial: bytes | None) -> Steps:
        """See `ISaslMechanism`; an initial response is the name.  Raises AuthenticationFailed when malformed."""
        octets = initial
        if octets is None:
            # The prompts are these words with these colons: some clients compare them.
            octets = yield Challenge(b"Username:")
        username = _name(octets)
        if not username:
            raise AuthenticationFailed()
        password = _password((yield Challenge(b"Password:")))
        return (yield from _verified(self.name, Credentials("password", username, password)))


def mechanisms() -> dict[str, ISaslMechanism]:
    """The mechanisms of this module by name, in the order they are offered."""
    return {mechanism.name: mechanism for mechanism in (Plain(), Login())}
