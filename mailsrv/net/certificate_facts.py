"""What a certificate says of itself (floor 3; RFC 5280), and for which hosts it is good (RFC 9525)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

#: Octets of a file with a certificate and its chain, and certificates in it.
MAX_FILE, MAX_CERTIFICATES = 2**20, 50
#: Names of one certificate that are looked at.
MAX_NAMES = 1000
#: Characters of a subject or issuer that are shown.
MAX_SHOWN = 200
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


@frozen
class Facts:
    """One certificate.  `names` are host names (A-labels, lower case, "*." first for a wildcard) and addresses;
    `key` tells the kind, "EC secp256r1" or "RSA 2048"; `problems` what clients will not like of it."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    starts: datetime
    ends: datetime
    key: str
    self_signed: bool
    problems: tuple[str, ...] = ()

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires; negative when it has."""
        return (self.ends - now) // timedelta(days=1)

    def trouble(self, now: datetime) -> list[str]:
        """What is wrong with it at that moment, in words."""
        found = list(self.problems)
        if now >= self.ends:
            found.insert(0, f"expired on {self.ends:%Y-%m-%d}")
        elif now < self.starts:
            found.insert(0, f"not valid before {self.starts:%Y-%m-%d %H:%M} UTC")
        return found


def facts_of(certificate: x509.Certificate) -> Facts:
    """Raises ValueError for one that cannot be read whole."""
    try:
        names = tuple(names_of(certificate))
        return Facts(
            subject=_name(certificate.subject),
            issuer=_name(certificate.issuer),
            names=names,
            starts=certificate.not_valid_before_utc,
            ends=certificate.not_valid_after_utc,
            key=_key(certificate),
            self_signed=certificate.subject == certificate.issuer,
            problems=tuple(_problems(certificate, names)),
        )
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"the certificate is damaged: {error}") from None


def read_facts(path: Path) -> Facts:
    """Those of the first certificate of a PEM file.  Raises ValueError in words, OSError."""
    with path.open("rb") as file:
        octets = file.read(MAX_FILE)
    start = octets.find(_BEGIN)
    end = octets.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("it holds no certificate in PEM form")
    try:
        certificate = x509.load_pem_x509_certificate(octets[start : end + len(_END)] + b"\n")
    except (ValueError, x509.InvalidVersion):
        raise ValueError("its certificate is damaged") from None
    return facts_of(certificate)


def names_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """Host names and addresses of its subjectAltName; without any, its common name if that looks like a host.

    QUIRK: common names are no longer looked at by clients (RFC 9525 section 2), but old private authorities make
    certificates without anything else, and an administrator looks for them by that name.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [str(one.value).lower() for one in common[:1] if "." in str(one.value) and " " not in str(one.value)]
    names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    return [*names[:MAX_NAMES], *(str(address) for address in found.get_values_for_type(x509.IPAddress)[:MAX_NAMES])]


def patterns_for(host: str) -> tuple[str, str]:
    """Which names of a certificate are good for a host: its own, and the wildcard of the same depth (RFC 9525 section
    6.3: "*" stands for the whole leftmost label and for nothing else)."""
    _, dot, above = host.partition(".")
    return host, f"*.{above}" if dot and "." in above else ""


def missing(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Those of the wanted hosts for which a certificate with these names is not good."""
    has = set(names)
    return [host for host in wanted if host not in has and patterns_for(host)[1] not in has]


def _name(name: x509.Name) -> str:
    """A subject or issuer as people know it."""
    text = name.rfc4514_string()
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def _problems(certificate: x509.Certificate, names: tuple[str, ...]) -> Iterable[str]:
    key = certificate.public_key()
    if not names:
        yield "it names no host: clients that look will refuse it"
    elif not any(isinstance(one.value, x509.SubjectAlternativeName) for one in certificate.extensions):
        yield "its host is the common name alone, which clients do not look at; it needs a subjectAltName"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        yield f"its RSA key has {key.key_size} bits; clients want 2048"
    digest = certificate.signature_hash_algorithm
    if digest is not None and digest.name in ("md5", "sha1") and certificate.subject != certificate.issuer:
        yield f"it is signed with {digest.name.upper()}, which clients refuse"
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in uses and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in uses:
        yield "it was not made for servers (its extendedKeyUsage has no serverAuth)"
