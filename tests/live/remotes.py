"""Other people's servers on addresses of this machine: name servers of twisted.names on port 53, SMTP by a script."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import PrivateCertificate
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from tests.transfer.dns_network import NameServer
from tests.transfer.smtp_network import server

from .apart import unable

Script = Callable[[bytes], "bytes | None"]
TLS_EHLO = b"250-mx\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; `path` is its own, for whoever trusts it."""

    def __init__(self, folder: Path) -> None:
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _named("Authority")
        self._number = 1
        self.path = folder / "authority.pem"
        made = self._builder(self._name, self._key, 1).add_extension(x509.BasicConstraints(True, None), True)
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        self._number += 1
        return x509.CertificateBuilder(
            self._name, subject, key.public_key(), self._number, now - 3 * _DAY, now + days * _DAY
        )

    def options(self, name: str, days: int = 1) -> Any:
        """Twisted's options of a server with a certificate for a name, which ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        made = self._builder(_named(name), key, days).add_extension(names, False).sign(self._key, hashes.SHA256())
        both = made.public_bytes(Encoding.PEM) + key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )  # fmt: skip
        return PrivateCertificate.loadPEM(both).options()


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


class Remote(LineReceiver):
    """One connection to a server with a script as in `smtp_network`."""

    factory: RemoteFactory
    MAX_LENGTH = 2**20

    def connectionMade(self) -> None:
        self.data = False
        self.octets: list[bytes] = []
        self.factory.connections += 1
        self.say(b"")

    def say(self, line: bytes) -> None:
        out = self.factory.script(line)
        if out is None:
            self.transport.abortConnection()
            return
        self.transport.write(out)
        if line == b"." and out.startswith(b"250"):
            self.factory.taken.append((b"\r\n".join(self.octets), getattr(self.transport, "TLS", False)))
        elif line == b"QUIT":
            self.transport.loseConnection()
        elif line == b"STARTTLS" and out.startswith(b"220"):
            if self.factory.options is None:
                self.setRawMode()
            else:
                self.transport.startTLS(self.factory.options)
        elif line == b"DATA" and out.startswith(b"354"):
            self.data, self.octets = True, []

    def lineReceived(self, line: bytes) -> None:
        if self.data and line != b".":
            self.octets.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            return
        self.data = False
        self.factory.lines.append(line)
        self.say(line)

    def rawDataReceived(self, data: bytes) -> None:
        """TLS begins, and is answered with something else."""
        self.transport.write(b"no TLS at all\r\n" * 20)
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Nothing is to be done."""


class RemoteFactory(Factory):
    """One server.  `options` for STARTTLS; without them garbage comes instead of TLS.  `taken` are the messages it said
    250 to, and whether they came by TLS."""

    noisy = False
    protocol = Remote

    def __init__(self, script: Script | None = None, options: Any = None) -> None:
        usual = {"ehlo": TLS_EHLO, "starttls": b"220 go\r\n"} if options is not None else {}
        self.script, self.options = script or server(**usual), options
        self.taken: list[tuple[bytes, bool]] = []
        self.lines: list[bytes] = []
        self.connections = 0


class Remotes:
    """A reactor in a thread.  `address(n)` are addresses of this machine that nobody else uses; every SMTP server has
    the same `port`."""

    def __init__(self) -> None:
        if os.geteuid():
            unable("name servers listen on port 53")
        self._prefix = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250 + 1}."
        self.reactor = SelectReactor()
        self.port = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._turn, daemon=True)

    def address(self, number: int) -> str:
        """The address of that number."""
        return f"{self._prefix}{number}"

    def names(self, number: int, zone: dict[str, Any], mood: str = "well") -> NameServer:
        """A name server; before `start`."""
        made = NameServer(zone, mood)
        made.listen(self.reactor, self.address(number), 53)
        return made

    def smtp(self, number: int, script: Script | None = None, options: Any = None) -> RemoteFactory:
        """An SMTP server; before `start`."""
        made = RemoteFactory(script, options)
        listening = self.reactor.listenTCP(self.port, made, interface=self.address(number))
        self.port = listening.getHost().port
        return made

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _turn(self) -> None:
        # TLS flushes its small writes by the one reactor of a process, which does not run here.
        with patch("twisted.protocols.tls._get_default_clock", lambda: self.reactor):
            while not self._over.is_set():
                self.reactor.iterate(0.02)

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join(10)
        for one in self.reactor.removeAll():
            one.connectionLost(Failure(ConnectionDone()))


