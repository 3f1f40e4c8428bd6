"""A small authority for tests: a root, one certificate between, and what it signs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: Any) -> bytes:
    octets: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return octets


def subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(
    name: str,
    public: Any,
    issuer: str,
    issuer_key: Any,
    *,
    days: tuple[float, float],
    ca: bool = False,
    hosts: Sequence[str] = (),
    usage: Any = None,
) -> x509.Certificate:
    """Signed by `issuer_key`, good from and to so many days from now."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(subject(issuer), subject(name), public, x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """`root` and `between` are its certificates."""

    def __init__(self, name: str = "Test authority") -> None:
        self.name = name
        self._root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = certificate(
            f"{name} root", self._root_key.public_key(), f"{name} root", self._root_key, days=(-100, 1000), ca=True
        )
        self.between = certificate(
            name, self._key.public_key(), f"{name} root", self._root_key, days=(-100, 1000), ca=True
        )

    def certify(
        self, public: Any, hosts: Sequence[str], days: tuple[float, float] = (-1, 90), usage: Any = None
    ) -> x509.Certificate:
        """A certificate for a public key."""
        usage = usage or ExtendedKeyUsageOID.SERVER_AUTH
        return certificate(hosts[0], public, self.name, self._key, days=days, hosts=hosts, usage=usage)

    def sign(
        self, request: bytes, days: tuple[float, float] = (-1, 90), hosts: Sequence[str] | None = None
    ) -> x509.Certificate:
        """What an authority sends back for a request in PEM."""
        asked = x509.load_pem_x509_csr(request)
        assert asked.is_signature_valid
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self.certify(asked.public_key(), hosts or names.get_values_for_type(x509.DNSName), days)

    def issue(self, *hosts: str, days: tuple[float, float] = (-1, 90)) -> tuple[bytes, bytes]:
        """(certificate with the one between, key) in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        return pem(self.certify(key.public_key(), hosts, days)) + pem(self.between), key_pem(key)
