"""CPU time of receiving mail of 4 KiB: ``python bench/micro_smtp.py``; messages a CPU-second, best of fifteen.

Our SMTP session with its engine and pump, and twisted.mail's ESMTP server, each over a transport in memory and with a
delivery that keeps nothing; ours once with the relay rule and a directory, once without.  `a null store`: what comes
before the store is done as well, a Received field and a line of the log (of ours to nobody), and the store keeps
nothing: our whole way of a message, and twisted.mail's own delivery for domains.  One connection, one transaction after
the other: MAIL, RCPT, DATA one by one (`plain`), in one write (`pipelined`), or with BDAT.  `smtp_sockets.py` does the
same over sockets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from time import process_time, time
from types import SimpleNamespace
from typing import Any

from twisted.internet import defer
from twisted.internet.address import IPv4Address
from twisted.logger import globalLogBeginner
from twisted.mail import protocols, smtp
from zope.interface import implementer

from mailsrv.testing.bed import Bed
from mailsrv.transfer.ids import IdMaker
from mailsrv.transfer.intake import Intake
from mailsrv.values import Owner, Peer, Route

LINE = b"The quick brown fox jumps over the lazy dog and runs away from it.\r\n"
MESSAGE = b"From: <a@remote.example>\r\nTo: <me@example.org>\r\nSubject: a report\r\n\r\n" + LINE * 59
ROUND = 200

HEAD = [b"MAIL FROM:<a@remote.example>\r\n", b"RCPT TO:<me@example.org>\r\n"]
WAYS = {
    "plain": [*HEAD, b"DATA\r\n", MESSAGE + b".\r\n"],
    "pipelined": [b"".join(HEAD) + b"DATA\r\n", MESSAGE + b".\r\n"],
    "BDAT": [b"".join(HEAD) + b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE],
}

#: Makes the protocol of one connection.
Maker = Callable[[], Any]


class Null:
    """An intake that keeps nothing."""

    async def accept(self, *given: Any, **more: Any) -> str:
        """An id."""
        return "0000000000000"


@implementer(smtp.IMessage)
class NullMessage:
    """Puts a message together, as every delivery has to, and forgets it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        """Twisted: a line."""
        self.lines.append(line)

    def eomReceived(self) -> Any:
        """Twisted: that was all."""
        self.lines.append(b"")
        return defer.succeed(b"\r\n".join(self.lines))

    def connectionLost(self) -> None:
        """Twisted: gone."""


@implementer(smtp.IMessageDelivery)
class NullDelivery:
    """Takes every recipient."""

    def receivedHeader(self, *about: Any) -> bytes:
        """Twisted: the trace field."""
        return b"Received: from x by mx.example.org"

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        """Twisted: MAIL."""
        return origin

    def validateTo(self, user: Any) -> Callable[[], NullMessage]:
        """Twisted: RCPT."""
        return NullMessage


class Wire:
    """What both servers write to: it counts."""

    disconnecting = False

    def __init__(self) -> None:
        self.said = 0

    def write(self, octets: bytes) -> None:
        """Count."""
        self.said += 1

    def writeSequence(self, pieces: list[bytes]) -> None:
        """Count."""
        self.said += 1

    def getPeer(self) -> Any:
        """Twisted: an address."""
        return IPv4Address("TCP", "192.0.2.1", 40000)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Everything else a transport can do, and nothing is done."""
        return lambda *given: None


class Router:
    """Takes every recipient."""

    route_of_all = Route(placements=(Owner(1),))

    async def route(self, address: Any, transaction: Any) -> Route:
        """Always the same."""
        return self.route_of_all


def ours(**settings: Any) -> Maker:
    """Our server."""
    bed = Bed(**{"intake": Null(), **settings})
    numbers = count(1)

    def make() -> Any:
        return bed.server("smtp").accept(Peer("127.0.0.1", next(numbers)), False)

    return make


def ours_whole() -> Maker:
    """The same with all that comes before the store."""
    bed = Bed()

    async def deliver(delivery: Any) -> None:
        """Keep nothing."""

    bed.store.deliver = deliver  # type: ignore[method-assign]
    return ours(intake=Intake(bed.store, IdMaker(time, os.urandom), time))


def theirs_whole() -> Maker:
    """twisted.mail's with its own delivery for domains."""
    domain = SimpleNamespace(exists=lambda user: NullMessage)
    service = SimpleNamespace(queue=None, domains={b"example.org": domain})
    return theirs(protocols.ESMTPDomainDelivery(service, None, b"mx.example.org"))


def theirs(delivery: Any = None) -> Maker:
    """twisted.mail's server."""

    def make() -> Any:
        server = smtp.ESMTP()
        server.delivery, server.host, server.timeout = delivery or NullDelivery(), b"mx.example.org", None
        return server

    return make


#: What makes the servers, by what they are called.
SERVERS: dict[str, Callable[[], Maker]] = {
    "twisted.mail": theirs,
    "mailsrv": ours,
    "mailsrv, no policies": partial(ours, policies=[], router=Router()),
    "twisted.mail, a null store": theirs_whole,
    "mailsrv, a null store": ours_whole,
}


def peer_of(who: str) -> str:
    """The server that one is compared with."""
    return "twisted.mail, a null store" if "null" in who else "twisted.mail"


def saying(make: Maker) -> Callable[[list[bytes]], None]:
    """A client's way of saying octets to a server, which was greeted."""
    server = make()
    server.makeConnection(Wire())
    server.dataReceived(b"EHLO c.example\r\n")
    receive = server.dataReceived

    def say(pieces: list[bytes]) -> None:
        for piece in pieces:
            receive(piece)

    return say


def seconds(say: Callable[[list[bytes]], None], pieces: list[bytes]) -> float:
    """CPU seconds of one round."""
    began = process_time()
    for _ in range(ROUND):
        say(pieces)
    return process_time() - began


def main() -> None:
    """Print the table.  Rounds take turns, so that a machine that is slower for a while is so for all."""
    globalLogBeginner.beginLoggingTo([lambda event: None], redirectStandardIO=False, discardBuffer=True)
    base = {"": 1.0}
    for name, pieces in WAYS.items():
        best = {who: 1e9 for who in SERVERS if name != "BDAT" or not who.startswith("twisted")}
        servers = {who: saying(SERVERS[who]()) for who in best}
        for _ in range(15):
            for who, say in servers.items():
                best[who] = min(best[who], seconds(say, pieces))
        base.update((who, took) for who, took in best.items() if who.startswith("twisted"))
        for who, took in best.items():
            sys.stdout.write(f"{name:10} {who:28} {ROUND / took:8.0f}/s  {base[peer_of(who)] / took:.2f} times\n")


if __name__ == "__main__":
    main()
