"""TLS of servers (floor 2a): contexts from certificate files, kept until the files change.

TLS 1.2 and 1.3 only, with Twisted's cipher list: forward secrecy is preferred, RSA key exchange and CBC come last, for
old clients.  Session tickets are on: Twisted leaves them off, and a resumed handshake costs half.

Certificates of clients (`client_ca`) are asked for, never demanded.  One that does not verify ends no handshake: it
counts as not shown.  Mail programs show whatever they have when a server asks, and those that log in with a password
must go on working.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ConfigError
from .bindings import bindings_of, server_end_point

log = Logger()

#: How long a context is used before the files are looked at again (seconds).
_RECHECK = 5.0
#: Octets of a file of authorities, and how many it may hold.
MAX_FILE, MAX_AUTHORITIES = 2**20, 200
#: Octets of all their names: they are told to every client, and Twisted sends no more than 32 KiB of a server's first
#: words, in which the server's own certificates must fit too; the rest would wait for ever.
MAX_NAMES = 2**14
#: Certificates that were good, remembered for resumed sessions.
MAX_KNOWN = 10_000
#: OpenSSL's number for a fault without one.
X509_V_ERR_UNSPECIFIED = 1
_MARK = b"-----BEGIN CERTIFICATE-----"


class Clients:
    """Judges the certificates of clients, for one context.

    OpenSSL judges in a full handshake (chain, dates, purpose clientAuth, strength).  A resumed session brings the
    certificate out of the ticket without a judgement and without its chain: then what was good before is good, until
    it expires.  A new context makes new tickets, so a judgement never outlives its authorities.
    """

    def __init__(self, authorities: Sequence[x509.Certificate]) -> None:
        self.authorities = tuple(authorities)
        self._good: dict[bytes, None] = {}

    def seen(self, connection: Any, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """OpenSSL's question, for each certificate of the chain and each fault: always go on."""
        connection.judged = True
        if not ok:
            connection.fault = error or X509_V_ERR_UNSPECIFIED
        return True

    def shown(self, connection: TlsConnection) -> bytes | None:
        """The client's certificate in DER if there is one and it is good; after the handshake."""
        certificate = connection.get_peer_certificate(as_cryptography=False)
        if certificate is None:
            return None
        octets = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        digest = sha256(octets).digest()
        if connection.judged and not connection.fault:
            self._good.pop(digest, None)
            while len(self._good) >= MAX_KNOWN:
                del self._good[next(iter(self._good))]
            self._good[digest] = None
            return octets
        if connection.judged or digest not in self._good or certificate.has_expired():
            return None
        return octets


class TlsConnection(SSL.Connection):
    """The server's end of one TLS connection.  `judged`, `fault`: what OpenSSL said of the client's certificate."""

    end_point = b""
    clients: Clients | None = None
    judged = False
    fault = 0

    def client_certificate(self) -> bytes | None:
        """DER of the certificate that the client showed, if it verified.  After the handshake only."""
        return None if self.clients is None else self.clients.shown(self)

    def bindings(self) -> dict[str, bytes]:
        """As in TlsFacts.  After the handshake only."""
        return bindings_of(self, self.end_point)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the TLS connections that show one certificate.  `options` is Twisted's, `end_point` RFC 5929's."""

    def __init__(self, options: CertificateOptions, end_point: bytes, clients: Clients | None) -> None:
        self.end_point, self.clients = end_point, clients
        self._context = options.getContext()

    def serverConnectionForTLS(self, protocol: Any) -> TlsConnection:
        """Twisted: a connection for a new TLS protocol."""
        made = TlsConnection(self._context, None)
        made.end_point, made.clients = self.end_point, self.clients
        if self.clients is not None:
            made.set_verify(SSL.VERIFY_PEER, self.clients.seen)
        return made


@implementer(IOpenSSLTrustRoot)
class _Authorities:
    """Authorities for Twisted's options.

    Twisted wants nobody else to make one, but its own names them to no client, and it closes the context before
    others see it.
    """

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self._certificates = certificates

    def _addCACertsToContext(self, context: Any) -> None:
        store = context.get_cert_store()
        for certificate in self._certificates:
            store.add_cert(crypto.X509.from_cryptography(certificate))
            context.add_client_ca(certificate)


def _reason(error: Exception) -> str:
    """What is wrong with the files, in words; OpenSSL gives lists of its own."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError):
        return str(error)
    return "the key does not belong to the certificate" if "mismatch" in str(error) else "they are not in PEM form"


def read_authorities(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file of at most 1 MiB.  Raises ValueError in words, OSError."""
    with path.open("rb") as file:
        octets = file.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE or octets.count(_MARK) > MAX_AUTHORITIES:
        raise ValueError(f"more than {MAX_FILE} octets or {MAX_AUTHORITIES} certificates")
    if _MARK not in octets:
        raise ValueError("it holds no certificate in PEM form")
    try:
        found = x509.load_pem_x509_certificates(octets)
    except (ValueError, x509.InvalidVersion):
        found = []
    # A file that is being written ends in the middle of one, which is passed over in silence.
    if len(found) != octets.count(_MARK):
        raise ValueError("one of its certificates is damaged")
    if sum(len(one.subject.public_bytes()) for one in found) > MAX_NAMES:
        raise ValueError(f"the names in it have more than {MAX_NAMES} octets")
    return found


class Certificate:
    """One certificate with its key, in PEM files; replaced files are taken up by new connections.

    `client_ca` holds the authorities whose clients may log in with a certificate; `name` is that of the table
    [tls.NAME], for messages.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        monotonic: Callable[[], float],
        client_ca: Path | None = None,
        name: str = "default",
    ) -> None:
        self._certificate, self._key, self._client_ca, self._name = certificate, key, client_ca, name
        self._monotonic = monotonic
        self._context: ServerTls | None = None
        self._stamp: tuple[int, ...] = ()
        self._checked = float("-inf")
        self._refused = ""

    def context(self) -> ServerTls:
        """What makes TLS connections.  Raises ConfigError when the files cannot be used."""
        now = self._monotonic()
        context = self._context
        if context is None or now - self._checked > _RECHECK:
            self._checked = now
            context = self._refresh()
        return context

    def check(self) -> None:
        """Read all files now.  Raises ConfigError when they cannot be used."""
        self._context = None
        self._refresh()

    def _refresh(self) -> ServerTls:
        try:
            stamp = self._stamps()
            if self._context is None or stamp != self._stamp:
                self._context, self._stamp = self._load(), stamp
            self._refused = ""
        except ConfigError as error:
            # A half-replaced pair must not stop a running server: the old one serves until the files fit.
            if self._context is None:
                raise
            if str(error) != self._refused:
                self._refused = str(error)
                log.error("the old certificates stay in use: {reason}", reason=self._refused)
        return self._context

    def _stamps(self) -> tuple[int, ...]:
        try:
            stamps = self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns
        except OSError as error:
            raise self._unusable(error) from error
        if self._client_ca is None:
            return stamps
        try:
            return (*stamps, self._client_ca.stat().st_mtime_ns)
        except OSError as error:
            raise self._unusable_ca(error) from error

    def _load(self) -> ServerTls:
        clients = self._load_clients()
        try:
            pem = self._certificate.read_bytes()
            chain = [crypto.load_certificate(crypto.FILETYPE_PEM, _MARK + piece) for piece in pem.split(_MARK)[1:]]
            if not chain:
                raise ValueError("it holds no certificate")
            options = CertificateOptions(
                privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, self._key.read_bytes()),
                certificate=chain[0],
                extraCertChain=chain[1:] or None,
                enableSessionTickets=True,
                raiseMinimumTo=TLSVersion.TLSv1_2,
                trustRoot=_Authorities(clients.authorities) if clients is not None else None,
            )
            # The context is made now, so that a key that does not fit is found here and not at the first handshake.
            end_point = server_end_point(crypto.dump_certificate(crypto.FILETYPE_ASN1, chain[0]))
            return ServerTls(options, end_point, clients)
        except (OSError, SSL.Error, crypto.Error, ValueError) as error:
            raise self._unusable(error) from error

    def _load_clients(self) -> Clients | None:
        if self._client_ca is None:
            return None
        try:
            return Clients(read_authorities(self._client_ca))
        except (OSError, ValueError) as error:
            raise self._unusable_ca(error) from error

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"certificate or key cannot be used: {_reason(error)}; put a pair there that fits (without "
            "[tls.default] and without files in data/tls a self-signed pair is made at the start)",
            file=str(self._certificate),
        )

    def _unusable_ca(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"the authorities of clients cannot be used: {_reason(error)}; put their certificates there in PEM form, "
            "or leave the key out",
            file=str(self._client_ca),
            key=f"tls.{self._name}.client_ca",
        )
