"""One question to one DNS server and its answer (floor 3): by UDP, by TCP when the answer does not fit.

Every question has a socket of its own, so a port that nobody can foretell, and the socket takes datagrams of the
server's address alone (RFC 5452).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ClientFactory
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import TryLater

#: Address and port.
Server = tuple[str, int]
#: What an answer is taken from: gives something for octets that are an answer, None for others.
Accept = Callable[[bytes], Any]

#: Octets of one datagram, and datagrams that are looked at in one turn.
MAX_DATAGRAM, MAX_READS = 4096, 16
#: resolv.conf(5) reads so many.
MAX_SERVERS = 3
#: Seconds between two looks at whether the file of servers has changed.
LOOK = 30.0


class Exchange(Protocol):
    """How questions reach servers; `mailsrv.testing.dns` has another."""

    async def ask(self, server: Server, octets: bytes, accept: Accept, seconds: float, tcp: bool) -> Any:
        """What `accept` made of the answer.  Raises TryLater after `seconds`, or when the server cannot be reached."""


class NetworkExchange:
    """Exchange over the network by a reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def ask(self, server: Server, octets: bytes, accept: Accept, seconds: float, tcp: bool) -> Any:
        """See Exchange."""
        answered: Deferred[Any] = Deferred()
        stop = self._tcp(server, octets, accept, answered) if tcp else self._udp(server, octets, accept, answered)
        late = self._reactor.callLater(seconds, _fail, answered, "no answer in time")
        try:
            return await answered
        finally:
            if late.active():
                late.cancel()
            stop()

    def _udp(self, server: Server, octets: bytes, accept: Accept, answered: Deferred[Any]) -> Callable[[], Any]:
        try:
            asking = _Datagram(server, octets, accept, answered)
        except OSError as error:
            raise TryLater("No socket for a question to the name system", "4.4.3") from error
        self._reactor.addReader(asking)

        def stop() -> None:
            self._reactor.removeReader(asking)
            asking.close()

        return stop

    def _tcp(self, server: Server, octets: bytes, accept: Accept, answered: Deferred[Any]) -> Callable[[], Any]:
        connector = self._reactor.connectTCP(*server, _Factory(octets, accept, answered))

        def stop() -> None:
            if connector.state != "disconnected":
                connector.disconnect()

        return stop


def _fail(answered: Deferred[Any], why: str) -> None:
    if not answered.called:
        answered.errback(TryLater(f"The name system does not answer: {why}", "4.4.3"))


@implementer(IReadDescriptor)
class _Datagram:
    """Sends the question, takes the first thing that is an answer.

    A plain socket: Twisted's UDP ports write two lines to the log for each.  Raises OSError.
    """

    def __init__(self, server: Server, octets: bytes, accept: Accept, answered: Deferred[Any]) -> None:
        self._accept, self._answered = accept, answered
        self._socket = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(server)
            self._socket.send(octets)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Twisted: what to look at."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Twisted: how lines of the log begin."""
        return "DNS"

    def doRead(self) -> None:
        """Twisted: octets of the server's address; what is no answer may be somebody's try at one."""
        for _ in range(MAX_READS):
            try:
                datagram = self._socket.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                _fail(self._answered, error.strerror or "unreachable")
                return
            answer = self._accept(datagram)
            if answer is not None:
                if not self._answered.called:
                    self._answered.callback(answer)
                return

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: nobody listens there (how a reactor on epoll tells it)."""
        _fail(self._answered, "connection refused")

    def close(self) -> None:
        """No more."""
        self._socket.close()


class _Stream(Int16StringReceiver):
    """The same by TCP (RFC 1035 section 4.2.2)."""

    factory: _Factory

    def connectionMade(self) -> None:
        """Twisted: connected."""
        self.sendString(self.factory.octets)

    def stringReceived(self, string: bytes) -> None:
        """Twisted: one whole message."""
        if not self.factory.answered.called:
            answer = self.factory.accept(string)
            if answer is None:
                _fail(self.factory.answered, "no DNS")
            else:
                self.factory.answered.callback(answer)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:
        """Twisted: the server has closed."""
        _fail(self.factory.answered, "connection closed")


class _Factory(ClientFactory):
    """For one question."""

    noisy = False
    protocol = _Stream

    def __init__(self, octets: bytes, accept: Accept, answered: Deferred[Any]) -> None:
        self.octets, self.accept, self.answered = octets, accept, answered

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Twisted: not to be reached."""
        _fail(self.answered, "connection failed")


class SystemServers:
    """The servers of resolv.conf(5) in order, read again when the file has changed; the machine itself without any."""

    def __init__(self, monotonic: Callable[[], float], path: Path = Path("/etc/resolv.conf")) -> None:
        self._monotonic, self._path = monotonic, path
        self._servers: tuple[Server, ...] = ()
        self._stamp: tuple[int, int] | None = None
        self._looked = -LOOK

    def __call__(self) -> tuple[Server, ...]:
        """In the order they are asked."""
        now = self._monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._read()
        return self._servers or (("127.0.0.1", 53),)

    def _read(self) -> None:
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp != self._stamp:
                self._servers = parse_resolv_conf(self._path.read_text("utf-8", "replace"))
                self._stamp = stamp
        except OSError:
            self._servers, self._stamp = (), None


def parse_resolv_conf(text: str) -> tuple[Server, ...]:
    """The servers of its `nameserver` lines; one with a zone ("%eth0") is left out."""
    found = re.findall(r"(?m)^\s*nameserver\s+([0-9A-Fa-f.:]+)\s*(?:[#;].*)?$", text)
    return tuple((address, 53) for address in dict.fromkeys(found[:MAX_SERVERS]))
