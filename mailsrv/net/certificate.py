"""Self-signed certificates, so that TLS works from the first start (floor 2a; RFC 5280, RFC 6125)."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unicodedata import normalize

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..message.domains import a_labels

#: Clients refuse certificates that are valid for much longer.
VALID_DAYS = 825
#: A common name holds at most this many characters (RFC 5280, ub-common-name).
MAX_COMMON_NAME = 64
_HOST = re.compile(r"[a-z0-9_*-]{1,63}(?:\.[a-z0-9_*-]{1,63})*")


def self_signed(names: Iterable[str], now: datetime | None = None) -> tuple[bytes, bytes]:
    """(certificate, key) in PEM: EC P-256 for these host names and addresses, localhost and 127.0.0.1.

    The first name is the subject's, where it fits.  Raises ValueError for a name that is no host name.
    """
    wanted = list(dict.fromkeys([*names, "localhost", "127.0.0.1"]))
    key = ec.generate_private_key(ec.SECP256R1())
    common = next((name for name in wanted if len(_ascii(name)) <= MAX_COMMON_NAME), "localhost")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ascii(common))])
    start = (now or datetime.now(UTC)) - timedelta(hours=1)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in wanted]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def ensure(certificate: Path, key: Path, names: Iterable[str]) -> bool:
    """Make both files (0644, 0600) when neither is there; True when they were made.

    A file that is there is never replaced: with one of the two missing it raises FileExistsError.  Raises OSError.
    """
    if certificate.exists() and key.exists():
        return False
    if certificate.exists() or key.exists():
        there, missing = (certificate, key) if certificate.exists() else (key, certificate)
        raise FileExistsError(f"{there} is there, {missing} is not; put it back or move the other away")
    pem, key_pem = self_signed(names)
    for path, octets, mode in ((key, key_pem, 0o600), (certificate, pem, 0o644)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, octets, mode)
    return True


def _write(path: Path, octets: bytes, mode: int) -> None:
    """A new file with that mode from its first moment, durable."""
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
