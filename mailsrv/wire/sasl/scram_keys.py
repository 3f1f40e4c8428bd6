"""What SCRAM keeps of a password (RFC 5802 section 3): salt, iterations, StoredKey, ServerKey.

The text that is kept is ``i=ITERATIONS,s=SALT,k=StoredKey,e=ServerKey``, the last three in base64.  The hash follows
from the length of the keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import Error, a2b_base64
from collections.abc import Callable
from typing import NamedTuple

from ...errors import Refused
from .base import encode
from .saslprep import prepared

#: Of a new password.  RFC 7677 section 4 asks for 4096 at least, and for 15,000 or more where clients can.  Only the
#: client pays at a login: 4.4 ms of a core of this century, some times that on a telephone.  More would cost other
#: people's batteries, and would still be no argon2id to whoever steals the keys.
ITERATIONS = 15_000
#: What is taken from elsewhere; a check against more would take seconds.
MAX_ITERATIONS = 10_000_000
SALT_OCTETS = 16
#: hashlib's name -> octets.
SIZES = {"sha1": 20, "sha256": 32}
#: The same names; `hashlib.new` takes twice as long.
HASHES = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
_NAMES = {size: name for name, size in SIZES.items()}

#: Octets of a kept text, and of one of Dovecot's.
KEYS_OCTETS = 1024
_BASE64 = "([A-Za-z0-9+/]+=?=?)"
_KEPT = re.compile(f"i=([1-9][0-9]*),s={_BASE64},k={_BASE64},e={_BASE64}", re.ASCII)
_DOVECOT = re.compile(f"([1-9][0-9]*),{_BASE64},{_BASE64},{_BASE64}", re.ASCII)


class Keys(NamedTuple):
    """`salt` is in base64, as it goes over the wire; the keys are octets."""

    iterations: int
    salt: bytes
    stored: bytes
    server: bytes

    def __repr__(self) -> str:
        return f"Keys(iterations={self.iterations})"


def salted(hash_name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """SaltedPassword of a prepared password; slow on purpose."""
    return hashlib.pbkdf2_hmac(hash_name, password, salt, iterations)


def derive(hash_name: str, salted_password: bytes) -> tuple[bytes, bytes, bytes]:
    """(ClientKey, StoredKey, ServerKey)."""
    client = hmac.digest(salted_password, b"Client Key", hash_name)
    return client, HASHES[hash_name](client).digest(), hmac.digest(salted_password, b"Server Key", hash_name)


def keep(hash_name: str, password: str, random: Callable[[int], bytes], *, iterations: int = ITERATIONS) -> str:
    """What is kept of a password; `hash_name` is "sha1" or "sha256", `random(n)` gives n octets.

    Takes milliseconds: call it in a thread.  Raises Refused for a password that is no Unicode text.
    """
    salt = random(SALT_OCTETS)
    _, stored, server = derive(hash_name, salted(hash_name, prepared(password), salt, iterations))
    return _print(Keys(iterations, encode(salt), stored, server))


def _print(keys: Keys) -> str:
    fields = keys.iterations, keys.salt, encode(keys.stored), encode(keys.server)
    return (b"i=%d,s=%b,k=%b,e=%b" % fields).decode("ascii")


def read(hash_name: str, keys: str) -> Keys | None:
    """The keys of a kept text; None when it is damaged, or of another hash."""
    found = _parse(_KEPT, keys)
    return found[1] if found is not None and found[0] == hash_name else None


def _parse(form: re.Pattern[str], text: str) -> tuple[str, Keys] | None:
    """(hash name, keys) of a text in one of the two forms."""
    found = form.fullmatch(text) if len(text) <= KEYS_OCTETS else None
    if found is None:
        return None
    count, salt, stored, server = found.groups()
    try:
        # The pattern has seen to all that this does not.
        keys = Keys(int(count), salt.encode("ascii"), a2b_base64(stored), a2b_base64(server))
        a2b_base64(salt)
    except Error:
        return None
    hash_name = _NAMES.get(len(keys.stored))
    if hash_name is None or len(keys.server) != len(keys.stored) or keys.iterations > MAX_ITERATIONS:
        return None
    return hash_name, keys


def check(keys: str, password: str) -> bool:
    """Whether the password is that of a kept text, damaged ones are nobody's: for PLAIN where nothing else is kept.

    Takes milliseconds: call it in a thread.
    """
    found = _parse(_KEPT, keys)
    if found is None:
        return False
    hash_name, kept = found
    try:
        octets = prepared(password)
    except Refused:
        return False
    _, stored, _ = derive(hash_name, salted(hash_name, octets, a2b_base64(kept.salt), kept.iterations))
    return hmac.compare_digest(stored, kept.stored)


def import_keys(text: str) -> str | None:
    """The text that is kept for one of Dovecot's, ``ITERATIONS,SALT,StoredKey,ServerKey`` after its ``{SCHEME}``.

    None when it is damaged.
    """
    found = _parse(_DOVECOT, text)
    return _print(found[1]) if found is not None else None


def decoy(hash_name: str, secret: bytes) -> Keys:
    """Keys that nobody has; `secret` are 32 octets that belong to the name tried, so its salt is always the same.

    They look like those of `keep`: accounts with keys from elsewhere, of other iterations, can be told apart from
    nobody until their password is next set.
    """
    size = SIZES[hash_name]
    return Keys(ITERATIONS, encode(secret[:SALT_OCTETS]), secret[:size], secret[:size])
