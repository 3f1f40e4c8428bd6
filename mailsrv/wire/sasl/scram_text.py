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

#: printable: no space, no comma.
_NONCE = re.compile(rb"r=([\x21-\x2b\x2d-\x7e]{1,%d})" % NONCE_OCTETS)
#: An attribute that may be ignored; "m" is what may not.
_EXTENSION = re.compile(rb"[A-Za-ln-z]=[^\0]+")
_ITERATIONS = re.compile(rb"i=([1-9][0-9]{0,7})")


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


def _fields(message: bytes, count: int) -> list[bytes]:
    """The first `count` attributes; those after them may be ignored.  Raises AuthenticationFailed."""
    if len(message) > MESSAGE_OCTETS:
        raise AuthenticationFailed()
    fields = message.split(b",")
    if len(fields) != count:
        extensions = fields[count:]
        if not 0 < len(extensions) <= EXTENSIONS or not all(map(_EXTENSION.fullmatch, extensions)):
            raise AuthenticationFailed()
        del fields[count:]
    return fields


def _nonce(field: bytes) -> bytes:
    found = _NONCE.fullmatch(field)
    if found is None:
        raise AuthenticationFailed()
    return found[1]


def _base64(field: bytes, name: bytes) -> bytes:
    """The octets of an attribute, at least one."""
    octets = decode(field[2:]) if field.startswith(name) else None
    if not octets:
        raise AuthenticationFailed()
    return octets


def read_client_first(message: bytes) -> ClientFirst:
    """``FLAG,[a=NAME],n=NAME,r=NONCE``.  Raises AuthenticationFailed; so does "m=" before the name."""
    flag, authzid, username, nonce = _fields(message, 4)
    # A type of channel binding is looked up, so whatever stands after "p=" is as good as any other.
    if not (flag in (b"n", b"y") or flag.startswith(b"p=")) or not username.startswith(b"n="):
        raise AuthenticationFailed()
    start = len(flag) + len(authzid) + 2
    return ClientFirst(
        flag, gs2.read_authzid(authzid), gs2.read_name(username[2:]), _nonce(nonce), message[:start], message[start:]
    )


def read_client_final(message: bytes) -> ClientFinal:
    """``c=BINDING,r=NONCE,p=PROOF``.  Raises AuthenticationFailed."""
    bare, _, proof = message.rpartition(b",")
    binding, nonce = _fields(bare, 2)
    if not binding.startswith(b"c="):
        raise AuthenticationFailed()
    return ClientFinal(binding[2:], _nonce(nonce), _base64(proof, b"p="), bare)


def read_server_first(message: bytes, nonce: bytes) -> ServerFirst:
    """``r=NONCE,s=SALT,i=COUNT`` for our nonce, which the server's must follow.  Raises AuthenticationFailed."""
    both, salt, count = _fields(message, 3)
    found, iterations = _nonce(both), _ITERATIONS.fullmatch(count)
    if not found.startswith(nonce) or len(found) == len(nonce) or iterations is None:
        raise AuthenticationFailed("The server's challenge makes no sense")
    octets = _base64(salt, b"s=")
    if len(octets) > SALT_OCTETS or not MIN_ITERATIONS <= int(iterations[1]) <= MAX_ITERATIONS:
        raise AuthenticationFailed("The server asks for too little work, or for too much")
    return ServerFirst(found, octets, int(iterations[1]))


def read_server_final(message: bytes) -> bytes:
    """The octets of ``v=SIGNATURE``.  Raises AuthenticationFailed; so does the server's own ``e=``."""
    (signature,) = _fields(message, 1)
    return _base64(signature, b"v=")
