"""Self-signed certificates: names, validity, modes; a file that is there is never replaced."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from mailsrv.net.certificate import VALID_DAYS, ensure, self_signed

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_names_key_and_validity() -> None:
    pem, _ = self_signed(["mail.example.org", "bücher.example", "10.0.0.1", "localhost"], NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert names.get_values_for_type(x509.DNSName) == ["mail.example.org", "xn--bcher-kva.example", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("127.0.0.1")
    ]
    assert certificate.subject.rfc4514_string() == "CN=mail.example.org"
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)  # type: ignore[union-attr]
    assert certificate.not_valid_before_utc < NOW
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == VALID_DAYS
    certificate.verify_directly_issued_by(certificate)


def test_names_beyond_ascii_are_those_of_rfc5891() -> None:
    certificate = x509.load_pem_x509_certificate(self_signed(["Faß.example."])[0])
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert "xn--fa-hia.example" in names.get_values_for_type(x509.DNSName)
    for wrong in ("", "a..b", "a b", "ä" * 64, "x" * 64):
        with pytest.raises(ValueError, match="no host name"):
            self_signed([wrong])


def test_a_long_name_is_no_common_name() -> None:
    long = "a" * 60 + ".example.org"
    certificate = x509.load_pem_x509_certificate(self_signed([long])[0])
    assert certificate.subject.rfc4514_string() == "CN=localhost"
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert long in names.get_values_for_type(x509.DNSName)


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no host name"):
        self_signed(["a..b"])


def test_files_are_made_once_with_their_modes_and_fit_together(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls" / "a.crt", tmp_path / "tls" / "a.key"
    assert ensure(certificate, key, ["mail.example.org"])
    assert (certificate.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o644, 0o600)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    before = certificate.read_bytes(), key.read_bytes()
    assert not ensure(certificate, key, ["mail.example.org"])
    assert (certificate.read_bytes(), key.read_bytes()) == before
    certificate.unlink()
    with pytest.raises(FileExistsError, match=r"a.key is there, .*a.crt is not"):
        ensure(certificate, key, ["mail.example.org"])
    assert key.read_bytes() == before[1]
