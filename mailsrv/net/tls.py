"""TLS of servers (floor 2a): contexts from certificate files, kept until the files change.

TLS 1.2 and 1.3 only, and nothing without forward secrecy: whoever gets the key one day reads nothing of the past.
Session tickets are on: a resumed handshake costs half.

A client may ask for a host by name (RFC 6066 section 3): `Named` shows it another certificate.

Certificates of clients (`client_ca`) are asked for, never demanded.  One that does not verify ends no handshake: it
counts as not shown.  Mail programs show whatever they have when a server asks, and those that log in with a password
must go on working.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
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
#: Suites of TLS 1.2; those of TLS 1.3 are all authenticated encryption with forward secrecy.
STRONG = b"ECDHE+AESGCM:ECDHE+CHACHA20"
#: CBC comes last: mail servers and programs of the years around 2012 have nothing else with forward secrecy, and one
#: that finds no suite sends in the clear instead.  Both ends that know encrypt-then-MAC (RFC 7366) use it.
#: CCM, some of it with short tags, is for small devices that send no mail.
USUAL = STRONG + b":ECDHE+AES:!AESCCM"
#: Tickets of one context are good at another: the first that a connection has makes and reads them, whatever
#: certificate is shown in the end.
_SESSIONS = b"mailsrv"


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
    """The server's end of one TLS connection.  `judged`, `fault`: what OpenSSL said of the client's certificate;
    `choose` gives what to show to who asks for a host by name, or None."""

    end_point = b""
    clients: Clients | None = None
    choose: Callable[[str], ServerTls | None] | None = None
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
    """Makes the TLS connections that show one certificate.  `end_point` is RFC 5929's."""

    def __init__(self, context: SSL.Context, end_point: bytes, clients: Clients | None) -> None:
        self.end_point, self.clients = end_point, clients
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> TlsConnection:
        """Twisted: a connection for a new TLS protocol."""
        made = TlsConnection(self._context, None)
        made.end_point, made.clients = self.end_point, self.clients
        if self.clients is not None:
            made.set_verify(SSL.VERIFY_PEER, self.clients.seen)
        return made

    def take(self, connection: TlsConnection) -> None:
        """Have a connection that is in the middle of its handshake show this one, and ask for its clients."""
        connection.set_context(self._context)
        connection.end_point, connection.clients = self.end_point, self.clients
        if self.clients is not None:
            connection.set_verify(SSL.VERIFY_PEER, self.clients.seen)
        else:
            connection.set_verify(SSL.VERIFY_NONE)


@implementer(IOpenSSLServerConnectionCreator)
class Named:
    """As `default`, but who asks for a host by name is shown what `choose` gives for it (lower case, ASCII).

    `choose` must not raise; None: the default.
    """

    def __init__(self, default: ServerTls, choose: Callable[[str], ServerTls | None]) -> None:
        self.default, self._choose = default, choose

    def serverConnectionForTLS(self, protocol: Any) -> TlsConnection:
        """Twisted: a connection for a new TLS protocol."""
        made = self.default.serverConnectionForTLS(protocol)
        made.choose = self._choose
        return made


def _asked(connection: Any) -> None:
    """OpenSSL: the client has said for which host it comes (RFC 6066 section 3)."""
    choose, name = connection.choose, connection.get_servername()
    if choose is None or not name:
        return
    found = choose(name.decode("ascii", "replace").lower())
    if found is not None:
        found.take(connection)


def _reason(error: Exception) -> str:
    """What is wrong with the files, in words; OpenSSL gives lists of its own."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError):
        return str(error)
    return "the key does not belong to the certificate" if "mismatch" in str(error) else f"OpenSSL says {error}"


def _whole(octets: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM file.  Raises ValueError in words."""
    try:
        found = x509.load_pem_x509_certificates(octets) if _MARK in octets else []
    except (ValueError, x509.InvalidVersion):
        found = []
    # A file that is being written ends in the middle of one, which is passed over in silence.
    if len(found) != octets.count(_MARK):
        raise ValueError("one of its certificates is damaged")
    return found


def read_authorities(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file of at most 1 MiB.  Raises ValueError in words, OSError."""
    with path.open("rb") as file:
        octets = file.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE or octets.count(_MARK) > MAX_AUTHORITIES:
        raise ValueError(f"more than {MAX_FILE} octets or {MAX_AUTHORITIES} certificates")
    if _MARK not in octets:
        raise ValueError("it holds no certificate in PEM form")
    found = _whole(octets)
    if sum(len(one.subject.public_bytes()) for one in found) > MAX_NAMES:
        raise ValueError(f"the names in it have more than {MAX_NAMES} octets")
    return found


def next_key(key: Path) -> Path:
    """Where the key lies for a moment while a pair of files is replaced."""
    return key.with_name(f"{key.name}.next")


def read_key(path: Path) -> Any:
    """A private key of a PEM file.  Raises ValueError in words, OSError."""
    with path.open("rb") as file:
        octets = file.read(MAX_FILE)
    try:
        # That the numbers of an RSA key belong together takes 40 ms to find out; that it fits is seen anyway.
        return load_pem_private_key(octets, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise ValueError("the key is encrypted; `mailsrv certificate import` takes it with its password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the key is not in PEM form") from None


def fit(certificate: x509.Certificate, key: Any) -> bool:
    """Whether they belong together; `key` is private or public."""
    public = key.public_key() if hasattr(key, "public_key") else key
    try:
        return bool(certificate.public_key() == public)
    except (ValueError, UnsupportedAlgorithm):
        return False


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


@frozen
class _Loaded:
    """What was read from the files of a pair."""

    chain: list[x509.Certificate]
    key: Any = field(repr=False)
    clients: Clients | None

    def tls(self, strong: bool) -> ServerTls:
        """A context.  Raises SSL.Error, for a key that does not fit."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.use_certificate(self.chain[0])
        for one in self.chain[1:]:
            context.add_extra_chain_cert(one)
        context.use_privatekey(self.key)
        context.check_privatekey()
        context.set_session_id(_SESSIONS)
        # Sessions are in the clients' tickets alone: memory for those that cannot keep one would have no use.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        store = context.get_cert_store()
        for authority in self.clients.authorities if self.clients is not None else ():
            store.add_cert(crypto.X509.from_cryptography(authority))  # type: ignore[union-attr]
            context.add_client_ca(authority)
        context.set_tlsext_servername_callback(_asked)
        context.set_cipher_list(STRONG if strong else USUAL)
        return ServerTls(context, server_end_point(self.chain[0]), self.clients)


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
        self._loaded: _Loaded | None = None
        self._contexts: dict[bool, ServerTls] = {}
        self._stamp: tuple[int, ...] = ()
        self._checked = float("-inf")
        self._refused = ""

    def context(self, strong: bool = False) -> ServerTls:
        """What makes TLS connections; `strong`: with suites of authenticated encryption alone (S-054).

        Raises ConfigError when the files cannot be used.
        """
        now = self._monotonic()
        if self._loaded is None or now - self._checked > _RECHECK:
            self._checked = now
            self._refresh()
        found = self._contexts.get(strong)
        if found is None:
            assert self._loaded is not None
            found = self._contexts[strong] = self._loaded.tls(strong)
        return found

    def check(self) -> None:
        """Read all files now.  Raises ConfigError when they cannot be used."""
        self._loaded = None
        self._refresh()

    def refresh(self) -> None:
        """Look at the files again at the next connection."""
        self._checked = float("-inf")

    def _refresh(self) -> None:
        try:
            stamp = self._stamps()
            if self._loaded is None or stamp != self._stamp:
                loaded = self._load()
                # One is made now, so that a key that does not fit is found here and not at the first handshake.
                self._contexts = {False: self._made(loaded)}
                self._loaded, self._stamp = loaded, stamp
            self._refused = ""
        except ConfigError as error:
            # A half-replaced pair must not stop a running server: the old one serves until the files fit.
            if self._loaded is None:
                raise
            if str(error) != self._refused:
                self._refused = str(error)
                log.error("the old certificates stay in use: {reason}", reason=self._refused)

    def _stamps(self) -> tuple[int, ...]:
        try:
            stamps = (*_stamp(self._certificate), *_stamp(self._key))
        except OSError as error:
            raise self._unusable(error) from error
        if self._client_ca is None:
            return stamps
        try:
            return (*stamps, *_stamp(self._client_ca))
        except OSError as error:
            raise self._unusable_ca(error) from error

    def _load(self) -> _Loaded:
        clients = self._load_clients()
        try:
            chain = _whole(self._certificate.read_bytes())
            if not chain:
                raise ValueError("it holds no certificate")
            return _Loaded(chain, self._load_key(chain[0]), clients)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def _load_key(self, certificate: x509.Certificate) -> Any:
        """The key; while a pair is being replaced, the one that comes next (`replace_pair`)."""
        key, following = read_key(self._key), next_key(self._key)
        if following.exists() and not fit(certificate, key):
            other = read_key(following)
            return other if fit(certificate, other) else key
        return key

    def _made(self, loaded: _Loaded) -> ServerTls:
        try:
            return loaded.tls(False)
        except SSL.Error as error:
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
