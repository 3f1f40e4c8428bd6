"""Encoded passwords other than argon2 (floor 2b): those of htpasswd, Dovecot, LDAP and crypt(3).

An encoded password is ``{SCHEME}text``, where SCHEME may end in ``.HEX`` or ``.B64``, or a bare crypt(3) text such as
``$6$salt$digest``.  Why which library does which: docs/decisions/0011.  All functions are pure and slow on purpose:
call `check` in the hash pool.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ..wire.ntlm import keep as nt_keep
from ..wire.sasl import cram_md5, scram_keys

#: Rounds above these are a mistake or a trap: a check would take minutes.
MAX_ROUNDS, MAX_BCRYPT_COST = 10_000_000, 16
#: Octets of one encoded password.
MAX_ENCODED = 4096
#: bcrypt looks at no more.
BCRYPT_OCTETS = 72
#: Octets of an NT hash.
NT_OCTETS = 16
#: Octets of the two states that are kept for CRAM-MD5.
CRAM_OCTETS = 32

_PREFIX = re.compile(r"\{([A-Za-z0-9-]{1,32})(?:\.(hex|b64|base64))?\}", re.ASCII | re.IGNORECASE)
_ROUNDS = re.compile(r"\$[56]\$rounds=([0-9]{1,10})\$", re.ASCII)
#: How crypt(3) texts begin, and the class of libpass (package passlib) that checks them.
_CRYPT = {
    "$1$": "md5_crypt",
    "$apr1$": "apr_md5_crypt",
    "$5$": "sha256_crypt",
    "$6$": "sha512_crypt",
}
_BCRYPT = ("$2a$", "$2b$", "$2y$")
_PBKDF2 = re.compile(r"\$1\$[^$]*\$[0-9]{1,10}\$[0-9A-Fa-f]+", re.ASCII)
_DES = re.compile(r"[./0-9A-Za-z]{13}", re.ASCII)
#: SCHEME -> digest, whether salt follows the digest, and the encoding without a suffix.
_DIGESTS = {
    "SHA": ("sha1", False, "B64"),
    "SHA1": ("sha1", False, "B64"),
    "SHA256": ("sha256", False, "B64"),
    "SHA512": ("sha512", False, "B64"),
    "SSHA": ("sha1", True, "B64"),
    "SSHA256": ("sha256", True, "B64"),
    "SSHA512": ("sha512", True, "B64"),
    "SMD5": ("md5", True, "B64"),
    "LDAP-MD5": ("md5", False, "B64"),
    "PLAIN-MD5": ("md5", False, "HEX"),
}
_SCRAM = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
_CRAM = frozenset({"CRAM-MD5", "HMAC-MD5"})
_PLAIN = frozenset({"PLAIN", "CLEAR", "CLEARTEXT"})
_AS_CRYPT = frozenset({"CRYPT", "MD5-CRYPT", "MD5", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "DES-CRYPT"})
_ARGON2 = frozenset({"ARGON2", "ARGON2I", "ARGON2ID", "CRYPT"})


class Unusable(ValueError):
    """An encoded password that nothing here can check; the text says why, without any of it."""


def split(encoded: str) -> tuple[str, str, str]:
    """(SCHEME, "HEX" | "B64" | "", text) in upper case; a text without {SCHEME} is of CRYPT."""
    match = _PREFIX.match(encoded)
    if match is None:
        return "CRYPT", "", encoded
    encoding = (match[2] or "").upper().replace("BASE64", "B64")
    return match[1].upper(), encoding, encoded[match.end() :]


def with_scheme(encoded: str, default: str) -> str:
    """The encoded password with `default` in front when it names no scheme and does not look like crypt(3)."""
    if not encoded or encoded.startswith("$") or _PREFIX.match(encoded):
        return encoded
    return f"{{{default}}}{encoded}"


def argon2_text(encoded: str) -> str:
    """The ``$argon2..$`` text inside, or ""."""
    if encoded.startswith("$argon2"):
        return encoded
    scheme, _, text = split(encoded)
    return text if scheme in _ARGON2 and text.startswith("$argon2") else ""


def known(scheme: str) -> bool:
    """Whether `check`, or argon2, understands ``{SCHEME}``; suffixes are not looked at."""
    return scheme in _CHECKS or scheme in _ARGON2


def checkable(encoded: str) -> bool:
    """Whether the beginning of an encoded password is of a kind that can be checked here."""
    scheme, _, text = split(encoded)
    if len(encoded) > MAX_ENCODED or not text or not known(scheme):
        return False
    if argon2_text(encoded) or scheme not in _AS_CRYPT:
        return True
    return text.startswith((*_CRYPT, *_BCRYPT)) or _DES.fullmatch(text) is not None


def check(encoded: str, secret: bytes) -> bool:
    """Whether the octets are the password.  Raises Unusable for an unknown, damaged or excessive text."""
    if len(encoded) > MAX_ENCODED:
        raise Unusable("too long")
    scheme, encoding, text = split(encoded)
    function = _CHECKS.get(scheme)
    if function is None:
        raise Unusable("unknown scheme")
    try:
        return function(scheme, encoding, text, secret)
    except ValueError as error:
        # What the libraries raise may cite the text.
        raise error if isinstance(error, Unusable) else Unusable(f"damaged {scheme}") from None


def cost_of(encoded: str) -> str:
    """What two encoded passwords that take equally long to check have in common; "" for those that take no time."""
    text = split(encoded)[2]
    if text.startswith(_BCRYPT):
        return text[4:7]
    if text.startswith("$argon2"):
        return text.rsplit("$", 2)[0]
    if text.startswith(("$5$", "$6$")):
        rounds = _ROUNDS.match(text)
        return rounds[0] if rounds else text[:3]
    return "PBKDF2" + text.split("$")[3][:10] if _PBKDF2.match(text) else ""


def keys_of(encoded: str, kind: str) -> str:
    """What is kept for proofs of that kind (`mailsrv.auth.secrets`), if the password is encoded so; else ""."""
    scheme, encoding, text = split(encoded)
    try:
        if kind == "ntlm" and scheme == "NTLM":
            key = octets_of(text, encoding or "HEX")
            return key.hex() if len(key) == NT_OCTETS else ""
        if kind == "cram-md5" and scheme in _CRAM:
            return _cram_md5_keys(encoding, text)
        if kind == "plain" and scheme in _PLAIN:
            return octets_of(text, encoding).decode("utf-8") if encoding else unicodedata.normalize("NFC", text)
        if kind == scheme.lower() and scheme in _SCRAM:
            return _scram_keys(scheme, text)
    except ValueError:
        pass
    return ""


def octets_of(text: str, encoding: str) -> bytes:
    """Hexadecimal or base64 (its padding may be missing) to octets.  Raises ValueError."""
    if encoding == "HEX":
        return bytes.fromhex(text)
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except Base64Error as error:
        raise ValueError("not base64") from error


def rounds_of(text: str) -> int:
    """A number of rounds from 1 to MAX_ROUNDS.  Raises Unusable."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= MAX_ROUNDS):
        raise Unusable("rounds out of bounds")
    return int(text)


# ---------------------------------------------------------------- one function for each family


def _plain(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    kept = octets_of(text, encoding) if encoding else unicodedata.normalize("NFC", text).encode("utf-8")
    return hmac.compare_digest(kept, secret)


def _digest(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    name, salted, default = _DIGESTS[scheme]
    kept = octets_of(text, encoding or default)
    size = hashlib.new(name, usedforsecurity=False).digest_size
    if len(kept) < size or (len(kept) > size and not salted):
        raise Unusable(f"damaged {scheme}")
    made = hashlib.new(name, secret + kept[size:], usedforsecurity=False).digest()
    return hmac.compare_digest(made, kept[:size])


def _crypt(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    if b"\0" in secret:
        # crypt(3) would stop there, so "a" NUL anything would be as good as "a".
        return False
    if text.startswith(("!", "*")):
        # How an account is locked.
        return False
    if text.startswith(_BCRYPT):
        return _bcrypt(text, secret)
    prefix = next((start for start in _CRYPT if text.startswith(start)), "")
    if not prefix and not _DES.fullmatch(text):
        raise Unusable("unknown crypt(3) text")
    if rounds := _ROUNDS.match(text):
        rounds_of(rounds[1])
    hashes = _library("passlib.hash")
    return bool(getattr(hashes, _CRYPT.get(prefix, "des_crypt")).verify(secret, text))


def _bcrypt(text: str, secret: bytes) -> bool:
    cost = text[4:6]
    if not (cost.isascii() and cost.isdigit() and int(cost) <= MAX_BCRYPT_COST):
        raise Unusable("bcrypt cost out of bounds")
    return bool(_library("bcrypt").checkpw(secret[:BCRYPT_OCTETS], text.encode("ascii")))


def _library(name: str) -> Any:
    """A module that only those need who have such hashes.  Raises Unusable."""
    try:
        return import_module(name)
    except ImportError:
        raise Unusable('old hashes need: pip install "mailsrv[passwords]"') from None


def _pbkdf2(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    """Dovecot's: ``$1$salt$rounds$hex``, SHA-1."""
    if not _PBKDF2.fullmatch(text):
        raise Unusable(f"damaged {scheme}")
    salt, rounds, hexadecimal = text.split("$")[2:]
    kept = bytes.fromhex(hexadecimal)
    made = hashlib.pbkdf2_hmac("sha1", secret, salt.encode("utf-8"), rounds_of(rounds), len(kept))
    return hmac.compare_digest(made, kept)


def _scram(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    keys = _scram_keys(scheme, text)
    if not keys:
        raise Unusable(f"damaged {scheme}")
    return scram_keys.check(keys, secret.decode("utf-8"))


def _scram_keys(scheme: str, text: str) -> str:
    """Our text for Dovecot's ``rounds,salt,StoredKey,ServerKey``; "" when it is damaged, or of another hash."""
    keys = scram_keys.import_keys(text) or ""
    return keys if keys and scram_keys.read(_SCRAM[scheme], keys) is not None else ""


def _cram_md5(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    kept = _cram_md5_keys(encoding, text)
    if not kept:
        raise Unusable(f"damaged {scheme}")
    return hmac.compare_digest(cram_md5.keep(secret.decode("utf-8")), kept)


def _cram_md5_keys(encoding: str, text: str) -> str:
    states = octets_of(text, encoding or "HEX")
    return states.hex() if len(states) == CRAM_OCTETS else ""


def _ntlm(scheme: str, encoding: str, text: str, secret: bytes) -> bool:
    kept = octets_of(text, encoding or "HEX")
    if len(kept) != NT_OCTETS:
        raise Unusable(f"damaged {scheme}")
    return hmac.compare_digest(nt_keep(secret.decode("utf-8")), kept.hex())


_CHECKS: Mapping[str, Callable[[str, str, str, bytes], bool]] = {
    **dict.fromkeys(_PLAIN, _plain),
    **dict.fromkeys(_DIGESTS, _digest),
    **dict.fromkeys(_AS_CRYPT, _crypt),
    **dict.fromkeys(_SCRAM, _scram),
    **dict.fromkeys(_CRAM, _cram_md5),
    "PBKDF2": _pbkdf2,
    "NTLM": _ntlm,
}
