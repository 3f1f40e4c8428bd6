"""Making keys, requests and self-signed certificates, and putting a pair of files in place (floor 2a; RFC 5280, RFC
2986, RFC 6125)."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..message.domains import a_labels
from .tls import fit, next_key, read_key

#: Clients refuse certificates that are valid for much longer.
VALID_DAYS = 825
#: A common name holds at most this many characters (RFC 5280, ub-common-name).
MAX_COMMON_NAME = 64
#: Bits of an RSA key: what authorities ask for; longer ones cost each handshake more.
RSA_BITS = 2048
_HOST = re.compile(r"[a-z0-9_*-]{1,63}(?:\.[a-z0-9_*-]{1,63})*")


def make_key(kind: str = "ec") -> Any:
    """A new private key: "ec" is P-256, "rsa" 2048 bits.  RSA takes a part of a second and keeps no other thread
    waiting."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any) -> bytes:
    """A private key as PEM, PKCS #8, without a password."""
    octets: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return octets


def self_signed(names: Iterable[str], now: datetime | None = None, key: Any = None) -> tuple[bytes, bytes]:
    """(certificate, key) in PEM: a new EC key (or `key`) for these host names and addresses, localhost and 127.0.0.1.

    The first name is the subject's, where it fits.  Raises ValueError for a name that is no host name.
    """
    wanted = list(dict.fromkeys([*names, "localhost", "127.0.0.1"]))
    key = key or make_key()
    subject = _subject(wanted)
    start = (now or datetime.now(UTC)) - timedelta(hours=1)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=VALID_DAYS))
        .add_extension(_alternatives(wanted), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


def request(key: Any, names: Iterable[str], organization: str = "", country: str = "") -> bytes:
    """A certificate request (CSR) in PEM: RFC 2986, with all names as subject alternative names (RFC 5280 section
    4.2.1.6), the first one as common name where it fits.

    Raises ValueError for a name that is no host name, an organization or country that cannot be.
    """
    wanted = list(dict.fromkeys(names))
    subject = _subject(wanted, organization, country)
    builder = (
        x509.CertificateSigningRequestBuilder(subject)
        .add_extension(_alternatives(wanted), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _subject(names: list[str], organization: str = "", country: str = "") -> x509.Name:
    common = next((name for name in names if len(_common(name)) <= MAX_COMMON_NAME), "localhost")
    parts = [(NameOID.COUNTRY_NAME, country), (NameOID.ORGANIZATION_NAME, organization)]
    parts.append((NameOID.COMMON_NAME, _common(common)))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text])


def canonical_names(names: Iterable[str]) -> list[str]:
    """Host names and addresses as certificates have them, none twice.  Raises ValueError for what is neither."""
    return list(dict.fromkeys(str(_general_name(name).value) for name in names))


def _common(name: str) -> str:
    """A host name or address as a common name."""
    return str(_general_name(name).value)


def _alternatives(names: list[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def ensure(certificate: Path, key: Path, names: Iterable[str]) -> bool:
    """Make both files (0644, 0600) when neither is there; True when they were made.

    A file that is there is never replaced: with one of the two missing it raises FileExistsError.  Raises OSError.
    """
    if certificate.exists() and key.exists():
        return False
    if certificate.exists() or key.exists():
        there, missing = (certificate, key) if certificate.exists() else (key, certificate)
        raise FileExistsError(f"{there} is there, {missing} is not; put it back or move the other away")
    pem, made = self_signed(names)
    for path, octets, mode in ((key, made, 0o600), (certificate, pem, 0o644)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new(path, octets, mode)
    return True


def replace_pair(certificate: Path, key: Path, pem: bytes, made: bytes) -> None:
    """Put a new certificate and its key where others may be.  Raises OSError.

    Who reads meanwhile, or after a crash in the middle, always finds a pair that fits: the new key lies beside the
    old one (`next_key`) before the new certificate is in place, and takes its place after it.  Links are followed.
    """
    certificate, key = Path(os.path.realpath(certificate)), Path(os.path.realpath(key))
    for path in (certificate, key):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    following, beside = next_key(key), certificate.with_name(f".{certificate.name}.new")
    for path, octets, mode in ((following, made, 0o600), (beside, pem, 0o644)):
        path.unlink(missing_ok=True)
        write_new(path, octets, mode)
        _sync_folder(path)
    os.replace(beside, certificate)
    _sync_folder(certificate)
    os.replace(following, key)
    _sync_folder(key)


def finish_replacing(certificate: Path, key: Path) -> None:
    """After a crash: put the key in place that belongs to the certificate, if `replace_pair` was cut off between.

    Raises OSError."""
    key = Path(os.path.realpath(key))
    following = next_key(key)
    if not following.exists():
        return
    try:
        leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
        fits = fit(leaf, read_key(following))
    except ValueError:
        fits = False
    if fits:
        os.replace(following, key)
    else:
        following.unlink()
    _sync_folder(key)


def _sync_folder(path: Path) -> None:
    """Make the entry of a file durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_new(path: Path, octets: bytes, mode: int) -> None:
    """A new file with that mode from its first moment, durable.  Raises OSError, also when there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(out.fileno(), mode)
        out.write(octets)
        out.flush()
        os.fsync(out.fileno())


def _ascii(name: str) -> str:
    """A host name with A-labels."""
    found = a_labels(normalize("NFC", name.lower()).removesuffix("."))
    if not _HOST.fullmatch(found):
        raise ValueError(f"{name!r} is no host name")
    return found


def _general_name(name: str) -> x509.GeneralName:
    """A subject alternative name: an address or a host name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(_ascii(name))
