"""Facts of TLS for logins: channel bindings that both ends agree on, and certificates of clients, over real TLS."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from OpenSSL import SSL
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from mailsrv.errors import ConfigError
from mailsrv.net import tls as net_tls
from mailsrv.net.bindings import LABEL, bindings_of, server_end_point
from mailsrv.net.certificate import self_signed
from mailsrv.net.connection import Connection
from mailsrv.net.tls import Certificate, ServerTls, read_authorities
from mailsrv.values import Peer, TlsFacts
from mailsrv.wire.engine import NEED_DATA

DAY = datetime.timedelta(days=1)
V12, V13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


@define
class Made:
    """A certificate with its key, and those between it and the root."""

    certificate: x509.Certificate
    key: Any
    between: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def make(
    name: str,
    issuer: Made | None = None,
    *,
    ca: bool = False,
    days: tuple[float, float] = (-10, 10),
    usage: x509.ObjectIdentifier | None = None,
    key: Any = None,
    digest: Any = hashes.SHA256(),
    more: Sequence[x509.NameAttribute[str]] = (),
) -> Made:
    """A certificate by `issuer` (None: its own), valid from and to so many days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name), *more])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(
            issuer.certificate.subject if issuer else subject, subject, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    made = builder.sign(issuer.key if issuer else key, digest)
    above = (issuer.certificate, *issuer.between) if issuer and issuer.certificate.issuer != subject else ()
    return Made(made, key, above)


CA = make("The authority", ca=True)
MIDDLE = make("Between", CA, ca=True)
ANNA = make("anna@example.org", CA)


class MemoryTls(StringTransport):
    """The server's transport in memory; TLS is Twisted's own."""

    protocol: TLSMemoryBIOProtocol | None = None

    def startTLS(self, context: Any) -> None:
        self.protocol = TLSMemoryBIOProtocol(TLSMemoryBIOFactory(context, False, None), self.connection, False)
        lower = self.lower = StringTransport()
        self.protocol.makeConnection(lower)

    def attach(self, connection: Connection) -> None:
        self.connection = connection
        connection.makeConnection(self)

    def getHandle(self) -> Any:
        assert self.protocol is not None
        return self.protocol.getHandle()

    def write(self, data: bytes) -> None:
        if self.protocol is None:
            super().write(data)
        else:
            self.protocol.write(data)


class Echo:
    """Engine and session: says back every read."""

    buffered = 0

    def __init__(self, connection: Connection) -> None:
        self.engine: Any = self
        self.connection = connection
        self.events: list[bytes] = []

    def receive(self, octets: bytes) -> None:
        self.events.append(octets)

    def next_event(self) -> Any:
        return self.events.pop(0) if self.events else NEED_DATA

    def eof(self) -> None:
        pass

    def tls_started(self) -> None:
        self.events.clear()

    def greet(self) -> None:
        self.connection.write(b"hi ")

    async def handle(self, event: bytes) -> None:
        self.connection.write(event)

    def closed(self) -> None:
        pass


class Host:
    """A virtual server with a real certificate."""

    pending_octets = 1000

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate

    def monotonic(self) -> float:
        return 0.0

    def session(self, connection: Connection) -> Any:
        return Echo(connection)

    def tls_context(self) -> ServerTls:
        return self.certificate.context()

    def left(self, connection: Connection) -> None:
        pass


def client_context(version: int, shows: Made | None, between: bool) -> SSL.Context:
    """A client of that version alone, and what it shows."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    if shows is not None:
        context.use_certificate(shows.certificate)
        context.use_privatekey(shows.key)
        for one in shows.between if between else ():
            context.add_extra_chain_cert(one)
    return context


class Line:
    """A client and a server's connection, with TLS between them as far as `finish` was called."""

    def __init__(
        self,
        certificate: Certificate,
        shows: Made | None = None,
        *,
        version: int = V13,
        implicit: bool = True,
        between: bool = True,
        after: Line | None = None,
    ) -> None:
        self.context = after.context if after else client_context(version, shows, between)
        self.client = SSL.Connection(self.context, None)
        self.client.set_connect_state()
        if after is not None:
            session = after.client.get_session()
            assert session is not None
            self.client.set_session(session)
        host: Any = Host(certificate)
        self.server = Connection(host, Peer("192.0.2.1"), implicit)
        self.transport = MemoryTls()
        self.transport.attach(self.server)

    def start_tls(self) -> Line:
        self.server.start_tls()
        return self

    def to_server(self) -> None:
        """What the client has to say goes over."""
        try:
            octets = self.client.bio_read(1 << 16)
        except SSL.WantReadError:
            return
        assert self.transport.protocol is not None
        self.transport.protocol.dataReceived(octets)

    def to_client(self) -> None:
        """What the server has said goes over."""
        octets = self.transport.lower.value()
        self.transport.lower.clear()
        if octets:
            self.client.bio_write(octets)

    def finish(self) -> Line:
        """The handshake, and a line to and fro after it."""
        for _ in range(4):
            try:
                self.client.do_handshake()
            except SSL.WantReadError:
                pass
            self.to_server()
            self.to_client()
        self.client.send(b"hallo\n")
        self.to_server()
        self.to_client()
        assert self.read().endswith(b"hallo\n")
        return self

    def read(self) -> bytes:
        """What the client can read, all records of it."""
        found = b""
        try:
            while True:
                found += self.client.recv(100)
        except SSL.WantReadError:
            return found

    def facts(self) -> TlsFacts:
        facts = self.server.channel_facts()
        assert facts is not None
        return facts


class Bed:
    """Files of a server's certificate, and of authorities."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.crt, self.key, self.ca = folder / "a.crt", folder / "a.key", folder / "ca.pem"
        crt, key = self_signed(["mx.example.org"])
        self.crt.write_bytes(crt)
        self.key.write_bytes(key)
        self.ca.write_bytes(CA.pem)
        self.plain = Certificate(self.crt, self.key, lambda: self.now)
        self.asking = self.asks()

    def asks(self) -> Certificate:
        return Certificate(self.crt, self.key, lambda: self.now, self.ca, "default")

    @property
    def end_point(self) -> bytes:
        return hashlib.sha256(x509.load_pem_x509_certificate(self.crt.read_bytes()).public_bytes(Encoding.DER)).digest()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Bed:
    return Bed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Texts of what was logged."""
    found: list[str] = []
    observer: Callable[[LogEvent], None] = lambda event: found.append(event.get("reason", ""))
    globalLogPublisher.addObserver(observer)
    yield found
    globalLogPublisher.removeObserver(observer)


# ---------------------------------------------------------------- bindings


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "starttls"])
def test_rfc_9266_both_ends_export_the_same_octets(shared: Bed, implicit: bool) -> None:
    line = Line(shared.plain, implicit=implicit)
    if not implicit:
        assert (line.server.tls_facts(), line.server.channel_facts()) == (None, None)
        line.start_tls()
    line.finish()
    bindings = line.facts().bindings
    assert bindings["tls-exporter"] == line.client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    assert len(bindings["tls-exporter"]) == 32
    assert Line(shared.plain).finish().facts().bindings["tls-exporter"] != bindings["tls-exporter"]


def test_rfc_9266_a_client_of_ours_finds_the_same_bindings(shared: Bed) -> None:
    line = Line(shared.plain).finish()
    shown = line.client.get_peer_certificate(as_cryptography=True)
    assert shown is not None
    assert bindings_of(line.client, server_end_point(shown)) == line.facts().bindings


def test_rfc_9266_section_4_2_tls_1_2_exports_nothing(shared: Bed) -> None:
    facts = Line(shared.plain, version=V12).finish().facts()
    assert (facts.version, facts.bindings) == ("TLSv1.2", {"tls-server-end-point": shared.end_point})


def test_rfc_5929_the_end_point_is_the_hash_of_the_certificate_that_the_client_sees(shared: Bed) -> None:
    line = Line(shared.plain).finish()
    seen = line.client.get_peer_certificate(as_cryptography=True)
    assert seen is not None
    assert line.facts().bindings["tls-server-end-point"] == server_end_point(seen) == shared.end_point


def test_rfc_5929_section_4_1_the_hash_is_that_of_the_signature_but_at_least_sha_256() -> None:
    for digest, expected in ((hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512"), (hashes.SHA256(), "sha256")):
        made = make("x", digest=digest)
        assert server_end_point(made.der) == hashlib.new(expected, made.der).digest()
        assert server_end_point(made.certificate) == server_end_point(made.der)
    weak = x509.load_pem_x509_certificate(SHA1)
    assert weak.signature_hash_algorithm is not None and weak.signature_hash_algorithm.name == "sha1"
    assert server_end_point(weak) == hashlib.sha256(weak.public_bytes(Encoding.DER)).digest()


def test_rfc_5929_section_4_1_without_one_hash_there_is_no_end_point(bed: Bed) -> None:
    made = make("mx.example.org", key=ed25519.Ed25519PrivateKey.generate(), digest=None)
    assert (server_end_point(made.der), server_end_point(b"nonsense"), server_end_point(b"")) == (b"", b"", b"")
    bed.crt.write_bytes(made.pem)
    bed.key.write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert set(Line(bed.plain).finish().facts().bindings) == {"tls-exporter"}


def test_facts_for_the_trace_header_hold_no_bindings(shared: Bed) -> None:
    facts = Line(shared.plain).finish().server.tls_facts()
    assert facts is not None
    assert (facts.version, facts.bindings, facts.peer_certificate) == ("TLSv1.3", {}, None)


def test_nothing_is_told_before_the_handshake_is_over_or_after_the_end(shared: Bed) -> None:
    line = Line(shared.asking, ANNA)
    told = lambda: (line.server.tls_facts(), line.server.channel_facts(), line.server.client_certificate())
    assert told() == (None, None, False)
    with pytest.raises(SSL.WantReadError):
        line.client.do_handshake()
    line.to_server()
    assert told() == (None, None, False), "the server has answered, the client has not finished"
    line.finish()
    assert told()[2] and told()[0] is not None
    line.server.connectionLost()
    assert told()[:2] == (None, None)


# ---------------------------------------------------------------- certificates of clients


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "starttls"])
def test_rfc_4422_annex_a_a_certificate_that_verifies_is_told(shared: Bed, version: int, implicit: bool) -> None:
    line = Line(shared.asking, ANNA, version=version, implicit=implicit)
    if not implicit:
        line.start_tls()
    line.finish()
    assert line.server.client_certificate()
    assert line.facts().peer_certificate == ANNA.der


def test_rfc_8314_the_greeting_of_implicit_tls_comes_when_the_certificate_is_known(shared: Bed) -> None:
    line = Line(shared.asking, ANNA)
    known: list[bool] = []
    line.server.session.greet = lambda: known.append(line.server.client_certificate())  # type: ignore[method-assign]
    line.finish()
    assert known == [True]


def test_a_client_without_a_certificate_is_served_as_before(shared: Bed) -> None:
    line = Line(shared.asking).finish()
    assert (line.server.client_certificate(), line.facts().peer_certificate) == (False, None)


def test_without_client_ca_nobody_is_asked(shared: Bed) -> None:
    line = Line(shared.plain, ANNA).finish()
    assert (line.server.client_certificate(), line.facts().peer_certificate) == (False, None)
    assert line.client.get_client_ca_list() == []


def test_rfc_8446_section_4_2_4_clients_are_told_the_authorities(shared: Bed) -> None:
    line = Line(shared.asking, ANNA).finish()
    assert [name.CN for name in line.client.get_client_ca_list()] == ["The authority"]


BAD = {
    "wrong authority": make("anna@example.org", make("The authority", ca=True)),
    "its own": make("anna@example.org"),
    "expired": make("anna@example.org", CA, days=(-10, -1)),
    "not yet valid": make("anna@example.org", CA, days=(1, 10)),
    "for servers only": make("anna@example.org", CA, usage=Usage.SERVER_AUTH),
    "made by one that is no authority": make("bo@example.org", ANNA),
    "authority expired": make("anna@example.org", make("Between", CA, ca=True, days=(-10, -1))),
}


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("why", BAD)
def test_rfc_8314_a_certificate_that_does_not_verify_counts_as_not_shown(shared: Bed, why: str, version: int) -> None:
    line = Line(shared.asking, BAD[why], version=version).finish()
    assert (line.server.client_certificate(), line.facts().peer_certificate) == (False, None)


@pytest.mark.parametrize("usage", [Usage.CLIENT_AUTH, None])
def test_rfc_5280_section_4_2_1_12_the_purpose_is_honoured_where_it_is_told(
    shared: Bed, usage: x509.ObjectIdentifier | None
) -> None:
    assert Line(shared.asking, make("bo@example.org", CA, usage=usage)).finish().server.client_certificate()


def test_an_authority_between_is_taken_from_the_client(shared: Bed) -> None:
    bo = make("bo@example.org", MIDDLE)
    assert Line(shared.asking, bo).finish().facts().peer_certificate == bo.der
    assert not Line(shared.asking, make("cy@example.org", MIDDLE), between=False).finish().server.client_certificate()


def resumed(line: Line, certificate: Certificate) -> Line:
    """A second connection of the same client, with the first one's session."""
    return Line(certificate, after=line).finish()


def reused(line: Line) -> bool:
    return bool(SSL._lib.SSL_session_reused(line.client._ssl))  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", [V12, V13])
def test_a_resumed_session_still_has_its_certificate(bed: Bed, version: int) -> None:
    bo = make("bo@example.org", MIDDLE)
    first = Line(bed.asking, bo, version=version).finish()
    for _ in range(2):
        second = resumed(first, bed.asking)
        assert reused(second)
        assert second.server.client_certificate()
        assert second.facts().peer_certificate == bo.der
        # A session of TLS 1.3 is good for once, and each connection brings new ones (RFC 8446 annex C.4).
        first = second if version == V13 else first


@pytest.mark.parametrize("version", [V12, V13])
def test_a_resumed_session_makes_no_bad_certificate_good(bed: Bed, version: int) -> None:
    for bad in BAD.values():
        second = resumed(Line(bed.asking, bad, version=version).finish(), bed.asking)
        assert reused(second)
        assert (second.server.client_certificate(), second.facts().peer_certificate) == (False, None)


@pytest.mark.parametrize("version", [V12, V13])
def test_a_resumed_session_without_a_certificate_has_none(bed: Bed, version: int) -> None:
    second = resumed(Line(bed.asking, version=version).finish(), bed.asking)
    assert reused(second)
    assert not second.server.client_certificate()


def test_a_certificate_that_expires_meanwhile_is_worth_nothing_in_a_resumed_session(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Line(bed.asking, ANNA).finish()
    monkeypatch.setattr(net_tls.crypto.X509, "has_expired", lambda _: True)
    second = resumed(first, bed.asking)
    assert reused(second) and not second.server.client_certificate()


def test_what_was_good_is_remembered_within_bounds(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_tls, "MAX_KNOWN", 1)
    first = Line(bed.asking, ANNA).finish()
    bo = Line(bed.asking, make("bo@example.org", CA)).finish()
    clients = bed.asking.context().clients
    assert clients is not None and len(clients._good) == 1
    assert not resumed(first, bed.asking).server.client_certificate()
    assert resumed(bo, bed.asking).server.client_certificate()


# ---------------------------------------------------------------- files


def test_a_changed_file_of_authorities_is_taken_up(bed: Bed) -> None:
    first = Line(bed.asking, ANNA).finish()
    assert first.server.client_certificate()
    bed.ca.write_bytes(make("Somebody else", ca=True).pem)
    bed.now += 6
    second = resumed(first, bed.asking)
    assert not reused(second), "a session outlives no change of the authorities"
    assert not second.server.client_certificate()
    assert first.server.client_certificate(), "a connection keeps what it was told"


def test_a_damaged_file_leaves_the_old_authorities_in_use_and_is_reported_once(
    bed: Bed, complaints: list[str]
) -> None:
    context = bed.asking.context()
    bed.ca.write_bytes(b"half a fi")
    for _ in range(3):
        bed.now += 6
        assert bed.asking.context() is context
    assert [text for text in complaints if "client_ca" in text] == complaints and len(complaints) == 1
    bed.ca.unlink()
    bed.now += 6
    assert bed.asking.context() is context
    assert len(complaints) == 2 and "No such file" in complaints[1]


LONG = make("x" * 64, ca=True, more=[x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "y" * 64)] * 2)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (None, "No such file"),
        (b"", "it holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "one of its certificates is damaged"),
        (CA.pem + b"-----BEGIN CERTIFICATE-----\n", "one of its certificates is damaged"),
        (b"-----BEGIN CERTIFICATE-----\n" * 201, "or 200 certificates"),
        (b"x" * (2**20 + 1), "more than 1048576 octets"),
        (LONG.pem * 200, "the names in it"),
    ],
)
def test_a_file_of_authorities_that_cannot_be_used_is_named_with_its_key(
    bed: Bed, octets: bytes | None, text: str
) -> None:
    if octets is None:
        bed.ca.unlink()
    else:
        bed.ca.write_bytes(octets)
    with pytest.raises(ConfigError, match=text) as caught:
        bed.asks().check()
    assert (caught.value.file, caught.value.key) == (str(bed.ca), "tls.default.client_ca")


def test_a_full_file_of_authorities_stops_no_client(bed: Bed) -> None:
    bed.ca.write_bytes(CA.pem + LONG.pem * 69)
    assert len(read_authorities(bed.ca)) == 70
    for version in (V12, V13):
        assert Line(bed.asking, ANNA, version=version).finish().server.client_certificate()


def test_a_file_may_hold_several_authorities(bed: Bed) -> None:
    other = make("Another", ca=True)
    bed.ca.write_bytes(CA.pem + b"some words\n" + other.pem + CA.pem)
    assert len(read_authorities(bed.ca)) == 3
    for client in (ANNA, make("bo@example.org", other)):
        assert Line(bed.asking, client).finish().server.client_certificate()


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_rfc_8996_nothing_below_tls_1_2(shared: Bed, version: int) -> None:
    line = Line(shared.plain, version=version)
    with pytest.raises((SSL.Error, AssertionError)):
        line.finish()
    assert line.server.tls_facts() is None


def test_rfc_9266_the_label() -> None:
    assert LABEL == b"EXPORTER-Channel-Binding"


#: A self-signed certificate with a SHA-1 signature, as old servers have it.
SHA1 = b"""-----BEGIN CERTIFICATE-----
MIIBiDCCATCgAwIBAgIUCIblX1NIH6CDcPFEgSfPQM47fAIwCQYHKoZIzj0EATAa
MRgwFgYDVQQDDA9vbGQuZXhhbXBsZS5vcmcwIBcNMjYxMTI0MDczNjM4WhgPMjEy
NjEwMzEwNzM2MzhaMBoxGDAWBgNVBAMMD29sZC5leGFtcGxlLm9yZzBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABGKQODpYki0A+gynhDEOv6oKDDJ+Wxacm1aGZ1ru
Pf9+9Jmyf4cx6J7FBBmdba57FLc3MjIcTFTAs3BQw0HkoTGjUzBRMB0GA1UdDgQW
BBRg6v6yEp0pT9SJym3CjFeyJir6cTAfBgNVHSMEGDAWgBRg6v6yEp0pT9SJym3C
jFeyJir6cTAPBgNVHRMBAf8EBTADAQH/MAkGByqGSM49BAEDRwAwRAIgSDtObcHA
OWxytbKY2xEDVw/vRWhWNdFLXHJ+QyxW4JcCIFohoXO9IenJWJo6TOoIJxXUCjYI
+w2xtfdXB+HeyTgz
-----END CERTIFICATE-----"""
