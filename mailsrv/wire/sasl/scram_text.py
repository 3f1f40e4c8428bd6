"""The messages of SCRAM (RFC 5802 section 7), read strictly: attributes in their order, every field with a limit."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import AuthenticationFailed
from . import gs2
from .base import NAME_OCTETS, decode

#: Octets of a whole message, of both nonces together, and how many extensions it may have.
MESSAGE_OCTETS = 8 * NAME_OCTETS
NONCE_OCTETS = 512
EXTENSIONS = 8
#: What the client side lets a server ask for: fewer iterations than RFC 7677 section 4 has are a way to a weak proof,
#: more (600,000 take 0.2 s of a core) a way to keep us busy.
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 600_000
SALT_OCTETS = 1024

# The grammar of section 7.  A nonce is printable without comma and space; base64 is looked at by `decode`; attributes
# at the end may be ignored, but for "m", which must not, and "p", which is the proof.
_NONCE = rb"r=([\x21-\x2b\x2d-\x7e]{1,%d})" % NONCE_OCTETS
_BASE64 = rb"([A-Za-z0-9+/]+={0,2})"
_EXTENSIONS = rb"(?:,[A-Za-lnoq-z]=[^\0,]+){0,%d}" % EXTENSIONS
# A type of channel binding is looked up, so whatever stands after "p=" is as good as any other.
_CLIENT_FIRST = re.compile(rb"((n|y|p=[^,]+),(?:a=([^,]+))?,)(n=([^,]+),%b%b)" % (_NONCE, _EXTENSIONS))
_CLIENT_FINAL = re.compile(rb"(c=%b,%b%b),p=%b" % (_BASE64, _NONCE, _EXTENSIONS, _BASE64))
_SERVER_FIRST = re.compile(rb"%b,s=%b,i=([1-9][0-9]{0,7})%b" % (_NONCE, _BASE64, _EXTENSIONS))
_SERVER_FINAL = re.compile(rb"v=%b%b" % (_BASE64, _EXTENSIONS))


class ClientFirst(NamedTuple):
    """`flag` is n, y or p=TYPE; `header` the GS2 header with its commas, `bare` what comes after it."""

    flag: bytes
    authzid: str
    username: str
    nonce: bytes
    header: bytes
    bare: bytes


class ServerFirst(NamedTuple):
    """`nonce` is that of both sides; `salt` octets."""

    nonce: bytes
    salt: bytes
    iterations: int


class ClientFinal(NamedTuple):
    """`binding` is base64; `bare` the message without its proof."""

    binding: bytes
    nonce: bytes
    proof: bytes
    bare: bytes


def _read(form: re.Pattern[bytes], message: bytes) -> re.Match[bytes]:
    """The fields of a whole message.  Raises AuthenticationFailed."""
    found = form.fullmatch(message) if len(message) <= MESSAGE_OCTETS else None
    if found is None:
        raise AuthenticationFailed()
    return found


def _octets(field: bytes) -> bytes:
    """What base64 stands for.  Raises AuthenticationFailed."""
    octets = decode(field)
    if octets is None:
        raise AuthenticationFailed()
    return octets


def read_client_first(message: bytes) -> ClientFirst:
    """``FLAG,[a=NAME],n=NAME,r=NONCE``.  Raises AuthenticationFailed; so does "m=" before the name."""
    header, flag, authzid, bare, username, nonce = _read(_CLIENT_FIRST, message).groups()
    asked = "" if authzid is None else gs2.read_name(authzid)
    return ClientFirst(flag, asked, gs2.read_name(username), nonce, header, bare)


def read_client_final(message: bytes) -> ClientFinal:
    """``c=BINDING,r=NONCE,p=PROOF``.  Raises AuthenticationFailed."""
    bare, binding, nonce, proof = _read(_CLIENT_FINAL, message).groups()
    return ClientFinal(binding, nonce, _octets(proof), bare)


def read_server_first(message: bytes, nonce: bytes) -> ServerFirst:
    """``r=NONCE,s=SALT,i=COUNT`` for our nonce, which the server's must follow.  Raises AuthenticationFailed."""
    both, salt, count = _read(_SERVER_FIRST, message).groups()
    octets, iterations = _octets(salt), int(count)
    if not both.startswith(nonce) or len(both) == len(nonce) or len(octets) > SALT_OCTETS:
        raise AuthenticationFailed("The server's challenge makes no sense")
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise AuthenticationFailed("The server asks for too little work, or for too much")
    return ServerFirst(both, octets, iterations)


def read_server_final(message: bytes) -> bytes:
    """The octets of ``v=SIGNATURE``.  Raises AuthenticationFailed; so does the server's own ``e=``."""
    return _octets(_read(_SERVER_FINAL, message)[1])
