"""Channel bindings of a TLS connection, for both ends (floor 2a; RFC 5056, RFC 5929, RFC 9266)."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

#: RFC 9266 section 4.1: label and octets of "tls-exporter"; its context is empty.
LABEL = b"EXPORTER-Channel-Binding"
EXPORTED = 32


def server_end_point(certificate: x509.Certificate | bytes) -> bytes:
    """ "tls-server-end-point" (RFC 5929 section 4.1): the hash of the server's certificate (bytes: DER).

    Empty when there is none: a signature without one hash function (Ed25519), or octets that are no certificate.
    """
    try:
        made = x509.load_der_x509_certificate(certificate) if isinstance(certificate, bytes) else certificate
        algorithm = made.signature_hash_algorithm
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return b""
    if algorithm is None:
        return b""
    digest = hashes.Hash(hashes.SHA256() if algorithm.name in ("md5", "sha1") else algorithm)
    digest.update(made.public_bytes(Encoding.DER))
    return digest.finalize()


def bindings_of(connection: SSL.Connection, end_point: bytes) -> dict[str, bytes]:
    """What can be told of a connection after its handshake; `end_point` as `server_end_point` gives it.

    "tls-exporter" under TLS 1.3 alone: TLS 1.2 needs the extended master secret for it (RFC 9266 section 4.2), and
    pyOpenSSL does not tell whether there is one.
    """
    found = {"tls-server-end-point": end_point} if end_point else {}
    if connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
        # OpenSSL takes no context for an empty one in TLS 1.3 (RFC 8446 section 7.5).
        found["tls-exporter"] = connection.export_keying_material(LABEL, EXPORTED)
    return found
