"""The arithmetic of NTLM ([MS-NLMP] section 3.3 and 3.4): hashes, responses, keys (floor 1).

Names are those of the specification in small letters.  All keys and digests have 16 octets, challenges 8.
"""

from __future__ import annotations

import unicodedata
from hashlib import md5
from hmac import digest
from string import hexdigits
from struct import pack

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB

from ...errors import Refused
from .md4 import md4

KEY_OCTETS = 16
CHALLENGE_OCTETS = 8
#: A response of LM, NTLMv1 and NTLM2 session; one of NTLMv2 is longer.
V1_OCTETS = 24


def keep(password: str) -> str:
    """What is kept of a password to check NTLM: its NT hash in 32 hexadecimal digits.

    The NT hash is as good as the password to whoever speaks NTLM ("pass the hash"), and it is quickly searched for
    weak passwords: no salt, one MD4.  Keep it only where NTLM is wanted.  The password is taken in the form NFC, as
    in `mailsrv.auth.hashing`; curl and libntlm hash letters beyond ASCII in a way of their own, and so fail.
    Raises Refused for a text that has no UTF-16.
    """
    try:
        return nt_hash(unicodedata.normalize("NFC", password)).hex()
    except UnicodeEncodeError:
        raise Refused("A password must be Unicode text") from None


def kept(text: str) -> bytes | None:
    """The NT hash in a text made by `keep`; None for a damaged one."""
    if len(text) != 2 * KEY_OCTETS or not set(text) <= set(hexdigits):
        return None
    return bytes.fromhex(text)


def nt_hash(password: str) -> bytes:
    """NTOWFv1 (section 3.3.1).  Raises UnicodeEncodeError for half a surrogate pair."""
    return md4(password.encode("utf-16-le"))


def ntowfv2(key: bytes, user: str, domain: str) -> bytes:
    """NTOWFv2 (section 3.3.2) of an NT hash; `user` in upper case already, `domain` as the client sent it."""
    return digest(key, (user + domain).encode("utf-16-le"), "md5")


def upper(text: str) -> str:
    """Upper case as Windows has it: one letter becomes one letter ("ß" stays)."""
    if text.isascii():
        return text.upper()
    return "".join(big if len(big := letter.upper()) == 1 else letter for letter in text)


def ascii_upper(text: str) -> str:
    """Upper case of a to z alone."""
    return "".join(letter.upper() if letter.isascii() else letter for letter in text)


def nt_proof(key: bytes, challenge: bytes, temp: bytes) -> bytes:
    """NTProofStr (section 3.3.2); `key` is NTOWFv2, `temp` the client's structure that follows the proof."""
    return digest(key, challenge + temp, "md5")


def session_base_key(key: bytes, proof: bytes) -> bytes:
    """SessionBaseKey of NTLMv2 (section 3.3.2), which is its KeyExchangeKey too (section 3.4.5.1)."""
    return digest(key, proof, "md5")


def message_integrity(key: bytes, negotiate: bytes, challenge: bytes, authenticate: bytes) -> bytes:
    """The MIC (section 3.1.5.1.2); `key` is ExportedSessionKey, `authenticate` has zeros where its MIC belongs."""
    return digest(key, negotiate + challenge + authenticate, "md5")


def session_challenge(challenge: bytes, client: bytes) -> bytes:
    """What the NTLM2 session response answers instead of `challenge` (section 3.3.1); `client` has 8 octets."""
    return md5(challenge + client, usedforsecurity=False).digest()[:CHALLENGE_OCTETS]


def ntlmv1(key: bytes, challenge: bytes) -> bytes:
    """DESL (section 6) of an NT hash: the 24 octets of NTLMv1, and of NTLM2 session with `session_challenge`."""
    padded = key + bytes(5)
    return b"".join(_des(padded[at : at + 7], challenge) for at in (0, 7, 14))


def channel_bindings(end_point: bytes) -> bytes:
    """MsvAvChannelBindings of ``tls-server-end-point`` octets (RFC 5929 section 4): MD5 of the structure
    gss_channel_bindings_struct (RFC 2744 section 3.11) without addresses, numbers of 32 bits, little endian."""
    data = b"tls-server-end-point:" + end_point
    return md5(bytes(16) + pack("<I", len(data)) + data, usedforsecurity=False).digest()


def rc4(key: bytes, octets: bytes) -> bytes:
    """RC4, both ways: it wraps ExportedSessionKey (section 3.1.5.1.2), 16 octets, and nothing else.

    `key` has `KEY_OCTETS`.  Not that of `cryptography`: OpenSSL has it only in its legacy provider, which may be away.
    """
    box, j = list(range(256)), 0
    for i, k in enumerate(key * (256 // len(key))):
        swapped = box[i]
        j = (j + swapped + k) & 255
        box[i], box[j] = box[j], swapped
    out, j = bytearray(octets), 0
    for at in range(len(out)):
        i = (at + 1) & 255
        swapped = box[i]
        j = (j + swapped) & 255
        box[i], box[j] = box[j], swapped
        out[at] ^= box[(box[i] + swapped) & 255]
    return bytes(out)


def _des(key: bytes, block: bytes) -> bytes:
    """DES of one block with a key of 7 octets: spread over 8 (the parity bits are not looked at), then three times
    the same, which makes one DES of 3DES."""
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
    encryptor = Cipher(TripleDES(3 * spread), ECB()).encryptor()
    return encryptor.update(block)
