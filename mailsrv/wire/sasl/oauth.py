"""What OAUTHBEARER and XOAUTH2 share: bearer tokens (RFC 6750) among pairs, and failure in two steps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ...errors import AuthenticationFailed
from ...values import Challenge, Credentials, Verify
from .base import Steps, granted

#: Between and after the pairs.
SEPARATOR = b"\x01"
#: Octets of a token, of a whole message, and how many pairs it may have.  Tokens that are signed documents have some
#: thousand octets.
TOKEN_OCTETS = 8192
MESSAGE_OCTETS = TOKEN_OCTETS + 4096
PAIRS = 16

#: RFC 7628 section 3.1: `key "=" value`.
_PAIR = re.compile(rb"([A-Za-z]+)=([\x21-\x7e \t\r\n]*)")
#: RFC 6750 section 2.1; the scheme is compared without case (RFC 9110 section 11.1).
_BEARER = re.compile(rb"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)


def read_pairs(octets: bytes) -> dict[bytes, bytes]:
    """``key=value^Akey=value^A^A`` as key (lower case) -> value; a key twice is malformed.

    Raises AuthenticationFailed.
    """
    # Each pair ends with the separator, and one more ends them all.
    if octets == SEPARATOR:
        return {}
    if not octets.endswith(SEPARATOR * 2):
        raise AuthenticationFailed()
    parts = octets[:-2].split(SEPARATOR)
    if len(parts) > PAIRS:
        raise AuthenticationFailed()
    pairs: dict[bytes, bytes] = {}
    for part in parts:
        found = _PAIR.fullmatch(part)
        if found is None or found[1].lower() in pairs:
            raise AuthenticationFailed()
        pairs[found[1].lower()] = found[2]
    return pairs


def read_token(value: bytes) -> str:
    """The token of ``Bearer TOKEN``, "" for an empty value.  Raises AuthenticationFailed."""
    if not value:
        return ""
    found = _BEARER.fullmatch(value)
    if found is None or len(found[1]) > TOKEN_OCTETS:
        raise AuthenticationFailed()
    return found[1].decode("ascii")


def print_token(token: str) -> bytes:
    """``auth=Bearer TOKEN``.  Raises AuthenticationFailed for what is no token."""
    value = b"Bearer " + token.encode("utf-8", "replace")
    read_token(value)
    return b"auth=" + value


def decide(mechanism: str, username: str, token: str, error: Mapping[str, str]) -> Steps:
    """Have the token checked; a failure is told in JSON, answered by the client with anything, and then final.

    RFC 7628 section 3.2.2 and 3.2.3.  TryLater passes through, as nothing is wrong with the token.
    """
    try:
        if not token:
            # A client that asks what it would need (RFC 7628 section 4.3).
            raise AuthenticationFailed()
        identity = yield Verify(Credentials("token", username, token=token))
    except AuthenticationFailed as failure:
        refused = failure
    else:
        return granted(identity, mechanism)
    yield Challenge(json.dumps(error, separators=(",", ":")).encode("ascii"))
    raise refused
