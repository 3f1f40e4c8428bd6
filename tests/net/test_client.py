"""Connections to other servers over the loopback: real sockets, real TLS, servers that are somebody else's."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet import ssl as twisted_ssl
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from mailsrv.auth.outbound import OutboundLogin, choose
from mailsrv.errors import TryLater
from mailsrv.message.content import MemoryContent
from mailsrv.net.client import Connector, Unreachable
from mailsrv.net.client_tls import KEPT, ClientTls
from mailsrv.net.tls import Certificate
from mailsrv.testing.bed import Bed
from mailsrv.transfer import smtp_open
from mailsrv.transfer.connections import Connections
from mailsrv.transfer.smtp_agent import SmtpAgent
from mailsrv.transfer.smtp_open import Opener
from mailsrv.values import Address, Hop, Outcome, Peer, Queued, Recipient
from mailsrv.wire.sasl import mechanisms

HOST = "mx.example.org"
SECONDS = 60.0


# ---------------------------------------------------------------- a reactor of our own, servers in threads


class Net:
    """Our side, on a reactor that turns while something is awaited."""

    def __init__(self, tls: ClientTls | None = None) -> None:
        self.reactor = SelectReactor()
        self.connector = Connector(self.reactor, time.monotonic, tls)
        self.connections = Connections(self.connector)
        opener = Opener(
            self.connector, lambda: "client.example.com", partial(choose, list(mechanisms().values())), bytes, time.time
        )
        self.agent = SmtpAgent(opener, self.connections)

    def run(self, coroutine: Coroutine[Any, Any, Any], watch: Callable[[], Any] = lambda: None) -> Any:
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        end = time.monotonic() + SECONDS
        while not done and time.monotonic() < end:
            self.reactor.iterate(0.02)
            watch()
        assert done, "nothing happened in time"
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]

    def send(
        self, port: int, tls: str = "off", content: bytes = b"Subject: x\r\n\r\n.\r\nbody\r\n", login: Any = None,
        address: str = "127.0.0.1", protocol: str = "smtp", watch: Callable[[], Any] = lambda: None,
    ) -> Outcome:  # fmt: skip
        row = Queued(1, "id", "example.org", Address("a", "example.com"), (Recipient(Address("b", "example.org")),))
        hop = Hop(HOST, (address,), port, tls, protocol)
        outcome: Outcome
        (outcome,) = self.run(self.agent.deliver(row, MemoryContent(content), [hop], login), watch)
        return outcome

    def close(self) -> None:
        self.connector.stop()
        end = time.monotonic() + 2
        while len(self.connector) and time.monotonic() < end:
            self.reactor.iterate(0.02)
        self.reactor.removeAll()
        # The socket pair that wakes it is its own.
        for reader in list(self.reactor._internalReaders):
            reader.connectionLost(Failure(ConnectionError()))


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    made = Net()
    # Twisted's TLS asks the one global reactor for time.
    monkeypatch.setattr("mailsrv.net.client.TICK", 0.1)
    monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: made.reactor)
    yield made
    made.close()


class Server:
    """A server in a thread: `talk(file, socket)` for each connection, in blocking calls."""

    def __init__(self, talk: Callable[[Any, socket.socket], None], *talks: Any) -> None:
        self._talks = [talk, *talks]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lines: list[bytes] = []
        self.count = 0
        self.stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(SECONDS)
            talk = self._talks[min(self.count, len(self._talks) - 1)]
            self.count += 1
            threading.Thread(target=self._talk, args=(talk, client), daemon=True).start()

    def _talk(self, talk: Callable[..., None], client: socket.socket) -> None:
        with client:
            try:
                talk(self, client)
            except (OSError, ValueError):
                pass

    def stop(self) -> None:
        self.stopped.set()
        self._listener.close()


def serve(server: Any, client: socket.socket, *, tls: ssl.SSLContext | None = None, features: bytes = b"") -> None:
    """A plain good server; `tls`: it offers STARTTLS."""
    client.sendall(b"220 hello\r\n")
    file = client.makefile("rb")
    while line := file.readline():
        server.lines.append(line)
        verb = line[:4].upper().strip()
        if verb == b"EHLO":
            client.sendall(b"250-mx\r\n" + features + (b"250-STARTTLS\r\n" if tls else b"") + b"250 8BITMIME\r\n")
        elif verb == b"STAR" and tls is not None:
            client.sendall(b"220 go\r\n")
            client = tls.wrap_socket(client, server_side=True)
            file, tls = client.makefile("rb"), None
        elif verb == b"DATA":
            client.sendall(b"354 go\r\n")
            while (line := file.readline()) != b".\r\n":
                server.lines.append(line)
            client.sendall(b"250 ok\r\n")
        elif verb == b"QUIT":
            client.sendall(b"221 bye\r\n")
            return
        else:
            client.sendall(b"250 ok\r\n")


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(*talks: Any) -> Server:
        servers.append(Server(*talks))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


class Certified:
    """A certificate for HOST by an authority of its own."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.der = made.public_bytes(Encoding.DER)
        self.pem = made.public_bytes(Encoding.PEM)
        path = self.path = folder / "both.pem"
        path.write_bytes(self.pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path)

    def trust(self) -> Any:
        return twisted_ssl.trustRootFromCertificates([twisted_ssl.Certificate.loadPEM(self.pem)])


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("tls"))


# ---------------------------------------------------------------- reaching


def test_a_message_over_a_real_socket_and_a_second_over_the_same(net: Net, start: Any) -> None:
    server = start(serve)
    assert [net.send(server.port).action for _ in range(2)] == ["delivered"] * 2
    assert server.count == 1 and server.lines.count(b"..\r\n") == 2


def test_nobody_listens(net: Net) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        net.send(port)
    assert caught.value.status == "4.4.1" and not len(net.connector)
    assert caught.value.text == f"{HOST} [127.0.0.1]: Cannot connect: connection refused"


def test_lmtp_over_a_unix_socket(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def talk() -> None:
            client, _ = listener.accept()
            with client, client.makefile("rb") as file:
                client.sendall(b"220 hello\r\n")
                for answer in (b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                    file.readline()
                    client.sendall(answer)
                while file.readline() != b".\r\n":
                    pass
                client.sendall(b"250 2.1.5 kept\r\n")
                file.readline()

        threading.Thread(target=talk, daemon=True).start()
        outcome = net.send(0, address=str(path), protocol="lmtp")
    assert (outcome.action, outcome.status) == ("delivered", "2.1.5")


@pytest.mark.parametrize("words", [b"", b"220 hello\r\n", b"220 hello\r\n250 mx\r\n250 o"])
def test_a_server_that_drops_the_connection(net: Net, start: Any, words: bytes) -> None:
    server = start(lambda server, client: client.sendall(words))
    with pytest.raises(TryLater) as caught:
        net.send(server.port)
    assert caught.value.status in ("4.4.2", "4.5.0") and not len(net.connections)


def test_a_server_that_says_nothing(net: Net, start: Any) -> None:
    net.connector.idle = 0.5
    server = start(lambda server, client: client.recv(1))
    with pytest.raises(TryLater) as caught:
        net.send(server.port)
    assert "in time" in caught.value.text and not len(net.connections)


# ---------------------------------------------------------------- big messages


BIG = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 60_000


def read_slowly(server: Any, client: socket.socket) -> None:
    client.sendall(b"220 hello\r\n")
    file = client.makefile("rb")
    for answer in (b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
        file.readline()
        client.sendall(answer)
    digest = sha256()
    count = 0
    while (line := file.readline()) != b".\r\n":
        digest.update(line)
        count += 1
        if count % 6000 == 0:
            time.sleep(0.01)
    server.lines.append(digest.digest())
    client.sendall(b"250 ok\r\n")
    file.readline()


@pytest.mark.parametrize("level", ["off", "require"])
def test_a_big_message_waits_for_a_slow_server_in_little_memory(
    net: Net, start: Any, certified: Certified, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    def talk(server: Any, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        read_slowly(server, client if level == "off" else certified.context.wrap_socket(client, server_side=True))

    server = start(talk)
    monkeypatch.setattr(smtp_open, "IMPLICIT_TLS", server.port if level != "off" else 465)
    peak = 0

    def watch() -> None:
        nonlocal peak
        for one in net.connector._live:
            one.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
            peak = max(peak, len(one.transport.dataBuffer) + one.transport._tempDataLen)

    assert net.send(server.port, level, BIG, watch=watch).action == "delivered"
    assert server.lines == [sha256(BIG).digest()] and 0 < peak < 256 * 1024


def test_a_server_that_takes_nothing_is_left(net: Net, start: Any) -> None:
    def stall(server: Any, client: socket.socket) -> None:
        client.sendall(b"220 hello\r\n")
        for answer in (b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            client.recv(1000)
            client.sendall(answer)
        server.stopped.wait(SECONDS)

    net.connector.idle = 0.3
    outcome = net.send(start(stall).port, content=BIG * 4)
    assert outcome.action == "delayed" and "in time" in outcome.reply


def test_an_answer_in_the_middle_of_the_message_ends_it(net: Net, start: Any) -> None:
    def talk(server: Any, client: socket.socket) -> None:
        client.sendall(b"220 hello\r\n")
        for answer in (b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"552 5.3.4 too big\r\n"):
            client.recv(1000)
            client.sendall(answer)
        time.sleep(0.2)

    outcome = net.send(start(talk).port, content=BIG * 4)
    assert outcome.action == "delayed" and "too big" in outcome.reply


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("level", ["opportunistic", "require"])
def test_starttls_without_a_look_at_the_certificate(net: Net, start: Any, certified: Certified, level: str) -> None:
    server = start(partial(serve, tls=certified.context))
    assert net.send(server.port, level).action == "delivered"
    assert [line.split()[0] for line in server.lines[:3]] == [b"EHLO", b"STARTTLS", b"EHLO"]


def test_verify_wants_a_certificate_that_is_trusted_and_has_the_name(
    net: Net, start: Any, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(partial(serve, tls=certified.context))
    with pytest.raises(TryLater) as caught:
        net.send(server.port, "verify")
    assert caught.value.status == "4.7.5" and not any(line.startswith(b"MAIL") for line in server.lines)
    assert caught.value.text.endswith("TLS failed: the certificate is self-signed")
    net.connector.tls = ClientTls(certified.trust())
    assert net.send(server.port, "verify").action == "delivered"
    monkeypatch.setattr("test_client.HOST", "other.example.org")
    with pytest.raises(TryLater) as caught:
        net.send(server.port, "verify")
    assert caught.value.status == "4.7.5" and caught.value.text.endswith("the certificate is for another name")


def test_contexts_of_hosts_are_kept_within_bounds() -> None:
    made = ClientTls()
    first = made.creator("verify", "0.example.org").options
    assert made.creator("verify", "0.example.org").options is first
    for number in range(1, KEPT + 1):
        made.creator("verify", f"{number}.example.org")
    assert made.creator("verify", "0.example.org").options is not first and len(made._verified) == KEPT


def broken_tls(server: Any, client: socket.socket) -> None:
    client.sendall(b"220 hello\r\n")
    client.recv(1000)
    client.sendall(b"250-mx\r\n250 STARTTLS\r\n")
    client.recv(1000)
    client.sendall(b"220 go\r\n")
    client.recv(1000)
    client.sendall(b"this is no TLS\r\n")
    client.recv(1000)


def test_broken_tls_is_left_out_where_it_is_opportunistic_rfc7435(net: Net, start: Any) -> None:
    server = start(broken_tls, partial(serve, features=b"250-STARTTLS\r\n"))
    assert net.send(server.port, "opportunistic").action == "delivered"
    assert server.count == 2 and not any(line.startswith(b"STARTTLS") for line in server.lines)


def test_broken_tls_is_a_reason_to_wait_where_it_is_required(net: Net, start: Any) -> None:
    server = start(broken_tls)
    with pytest.raises(TryLater) as caught:
        net.send(server.port, "require")
    assert caught.value.status == "4.7.5" and server.count == 1 and "TLS failed" in caught.value.text
    server = start(serve)
    with pytest.raises(TryLater) as caught:
        net.send(server.port, "require")
    assert caught.value.status == "4.7.10"


def test_octets_in_the_clear_behind_the_220_end_the_connection(net: Net, start: Any, certified: Certified) -> None:
    def talk(server: Any, client: socket.socket) -> None:
        client.sendall(b"220 hello\r\n")
        client.recv(1000)
        client.sendall(b"250-mx\r\n250 STARTTLS\r\n")
        client.recv(1000)
        client.sendall(b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n")
        client.recv(1000)

    with pytest.raises(TryLater) as caught:
        net.send(start(talk).port, "opportunistic")
    assert "tampering" in caught.value.text


def test_tls_before_the_greeting_at_the_port_for_it_rfc8314(
    net: Net, start: Any, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(server: Any, client: socket.socket) -> None:
        serve(server, certified.context.wrap_socket(client, server_side=True))

    server = start(talk)
    monkeypatch.setattr(smtp_open, "IMPLICIT_TLS", server.port)
    assert net.send(server.port, "require").action == "delivered"
    assert not any(line.startswith(b"STARTTLS") for line in server.lines)


def test_channel_bindings_are_those_of_the_certificate_rfc5929(net: Net, start: Any, certified: Certified) -> None:
    server = start(partial(serve, tls=certified.context))
    net.send(server.port, "require")
    (made,) = net.connector._live
    found = made.bindings()  # type: ignore[attr-defined]
    assert found["tls-server-end-point"] == sha256(certified.der).digest() and len(found["tls-exporter"]) == 32


# ---------------------------------------------------------------- a server of somebody else's


def test_aiosmtpd_as_a_peer_with_tls_and_login(net: Net, certified: Certified) -> None:
    controller_module = pytest.importorskip("aiosmtpd.controller")
    smtp = pytest.importorskip("aiosmtpd.smtp")
    got: list[Any] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            got.append(envelope)
            return "250 2.0.0 thanks"

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        good = (data.login, data.password) == (b"me", b"secret")
        return smtp.AuthResult(success=good, handled=False)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    controller = controller_module.Controller(
        Handler(), "127.0.0.1", port, tls_context=certified.context, require_starttls=True, authenticator=check,
        auth_required=True, decode_data=False, enable_SMTPUTF8=True,
    )  # fmt: skip
    controller.start()
    try:
        content = "Subject: é\r\n\r\n.dot\r\n..\r\nüber\r\n".encode()
        login = OutboundLogin("basic", "me", "secret")
        assert net.send(port, "require", content, login).status == "2.0.0"
        assert net.send(port, "require", content, login).status == "2.0.0"
        assert got[0].content == got[1].content == content and got[0].rcpt_tos == ["b@example.org"]
        with pytest.raises(TryLater) as caught:
            net.send(port, "require", content, OutboundLogin("basic", "me", "wrong"))
        assert "Login by PLAIN failed" in caught.value.text
    finally:
        controller.stop()


# ---------------------------------------------------------------- our own server


def test_both_our_sides_agree_on_the_channel_of_real_tls_rfc9266(
    net: Net, certified: Certified, tmp_path: Path
) -> None:
    bed = Bed(kinds="scram-sha-256", login_without_tls=False)
    server = bed.server("smtp")
    certificate = Certificate(certified.path, certified.path, time.monotonic)
    server.tls_context = certificate.context  # type: ignore[method-assign]
    factory = Factory()
    factory.buildProtocol = lambda address: server.accept(Peer("192.0.2.1", 1), False)  # type: ignore[method-assign]
    port = net.reactor.listenTCP(0, factory, interface="127.0.0.1")
    login = OutboundLogin("SCRAM-SHA-256-PLUS", "me@example.org", "secret")
    net.connector.tls = ClientTls(certified.trust())
    row = Queued(1, "id", "example.org", Address("a", "example.com"), (Recipient(Address("you", "example.org")),))
    hop = Hop(HOST, ("127.0.0.1",), port.getHost().port, "verify")
    (outcome,) = net.run(net.agent.deliver(row, MemoryContent(b"Subject: x\r\n\r\n"), [hop], login), bed.settle)
    assert (outcome.action, outcome.status) == ("delivered", "2.0.0")
    port.stopListening()
