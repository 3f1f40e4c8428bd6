"""Certificates and keys as authorities and other programs hand them out (floor 3): PEM, DER, PKCS #7, PKCS #12."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key, pkcs7, pkcs12

from ..errors import Refused
from .certificate_facts import MAX_CERTIFICATES, MAX_FILE
from .tls import fit

_KEYS = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
_PEM = b"-----BEGIN "
#: What the first line of an encrypted key says: PKCS #8, and the older form of OpenSSL.
_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


@frozen
class Bundle:
    """What was found in files: certificates in their order, and a private key or None."""

    certificates: tuple[x509.Certificate, ...]
    key: Any = field(default=None, repr=False)


def read_certificates(octets: bytes) -> tuple[x509.Certificate, ...]:
    """Those of one file: PEM, DER or PKCS #7.  Raises Refused."""
    _bounded(octets)
    readers = (
        (x509.load_pem_x509_certificates, pkcs7.load_pem_pkcs7_certificates)
        if _PEM in octets
        else (lambda der: [x509.load_der_x509_certificate(der)], pkcs7.load_der_pkcs7_certificates)
    )
    for read in readers:
        try:
            found = tuple(read(octets))
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
            continue
        if found:
            break
    else:
        raise Refused("no certificate is in the file, or it is damaged; PEM, DER and PKCS #7 are read")
    # One that is cut off is passed over in silence.
    if octets.count(b"-----BEGIN CERTIFICATE-----") > len(found) or len(found) > MAX_CERTIFICATES:
        raise Refused(f"one of the certificates is damaged, or there are more than {MAX_CERTIFICATES}")
    return found


def locked(octets: bytes) -> bool:
    """Whether a password is needed to read a file with a key."""
    if len(octets) > MAX_FILE:
        return False
    if _PEM in octets:
        return any(mark in octets for mark in _ENCRYPTED)
    return not any(_unlocks(octets, password) for password in (None, b""))


def _unlocks(octets: bytes, password: bytes | None) -> bool:
    """Whether PKCS #12 or a key in DER opens so; what is neither needs no password."""
    for load in (pkcs12.load_key_and_certificates, load_der_private_key):
        try:
            load(octets, password)
        except TypeError:
            return False
        except ValueError as error:
            if "assword" in str(error):
                return False
            continue
        except UnsupportedAlgorithm:
            continue
        return True
    return True


def read_bundle(octets: bytes, password: str) -> Bundle:
    """Certificates and key of one file: PEM with any of both, PKCS #12, or either of them in DER.  Raises Refused."""
    _bounded(octets)
    secret = password.encode("utf-8") or None
    if _PEM not in octets:
        return _read_binary(octets, secret)
    key = None
    if b"PRIVATE KEY-----" in octets:
        key = _checked(_read_key(load_pem_private_key, octets, secret))
    certificates = read_certificates(octets) if b"CERTIFICATE-----" in octets or b"PKCS7-----" in octets else ()
    if key is None and not certificates:
        raise Refused("neither a certificate nor a key is in the file")
    return Bundle(certificates, key)


def _read_binary(octets: bytes, secret: bytes | None) -> Bundle:
    wrong = False
    # A file without encryption may have been made with an empty password, with none, or with the one that was given.
    for attempt in dict.fromkeys((secret, None, b"")):
        try:
            key, leaf, others = pkcs12.load_key_and_certificates(octets, attempt)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            wrong = wrong or "assword" in str(error)
            continue
        found = ([leaf] if leaf is not None else []) + list(others)
        if len(found) > MAX_CERTIFICATES:
            raise Refused(f"more than {MAX_CERTIFICATES} certificates")
        return Bundle(tuple(found), None if key is None else _checked(key))
    if wrong:
        raise Refused(_wrong(secret))
    try:
        return Bundle((), _checked(load_der_private_key(octets, secret)))
    except TypeError:
        # Either a password is missing, or there is nothing to use it for.
        raise Refused(_wrong(None) if secret is None else "the key is not encrypted: leave the password out") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if "assword" in str(error):
            raise Refused(_wrong(secret)) from None
        return Bundle(read_certificates(octets))


def _read_key(load: Any, octets: bytes, secret: bytes | None) -> Any:
    encrypted = any(mark in octets for mark in _ENCRYPTED)
    try:
        return load(octets, secret if encrypted else None)
    except TypeError:
        raise Refused(_wrong(None)) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Refused(_wrong(secret) if encrypted else "the key is damaged, or of a kind that is not known") from None


def _wrong(secret: bytes | None) -> str:
    return "the password is wrong" if secret else "the key is encrypted: give its password"


def _bounded(octets: bytes) -> None:
    if len(octets) > MAX_FILE:
        raise Refused(f"the file is larger than {MAX_FILE} octets")


def _checked(key: Any) -> Any:
    """A kind of key that TLS has, and that is long enough.  Raises Refused."""
    if not isinstance(key, _KEYS):
        raise Refused("the key must be RSA, EC or Ed25519")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
        raise Refused(f"the RSA key has {key.key_size} bits; at least 2048 are wanted")
    return key


def leaf_of(certificates: Iterable[x509.Certificate], key: Any) -> x509.Certificate | None:
    """The certificate that belongs to a key (private or public)."""
    return next((one for one in certificates if fit(one, key)), None)


def chain_of(
    leaf: x509.Certificate, others: Sequence[x509.Certificate]
) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """(the chain from the leaf upwards, what belongs to no place in it), whatever the order was (RFC 8446 section
    4.4.2: each certifies the one before it)."""
    chain, left = [leaf], [one for one in dict.fromkeys(others) if one != leaf]
    while chain[-1].subject != chain[-1].issuer:
        above = next((one for one in left if _issued(chain[-1], one)), None)
        if above is None:
            break
        chain.append(above)
        left.remove(above)
    return chain, left


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
