"""CPU time of receiving mail of 4 KiB: ``python bench/micro_smtp.py``; messages a CPU-second, best of seven.

Our SMTP session with its engine and pump, and twisted.mail's ESMTP server, each over a transport in memory and with a
delivery that keeps nothing.  One connection, one transaction after the other: MAIL, RCPT, DATA one by one (`plain`), in
one write (`pipelined`), or with BDAT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time
from typing import Any

from twisted.internet import defer
from twisted.internet.address import IPv4Address
from twisted.mail import smtp
from zope.interface import implementer

from mailsrv.testing.bed import Bed

LINE = b"The quick brown fox jumps over the lazy dog and runs away from it.\r\n"
MESSAGE = b"From: <a@remote.example>\r\nTo: <me@example.org>\r\nSubject: a report\r\n\r\n" + LINE * 59
ROUND = 400

HEAD = [b"MAIL FROM:<a@remote.example>\r\n", b"RCPT TO:<me@example.org>\r\n"]
WAYS = {
    "plain": [*HEAD, b"DATA\r\n", MESSAGE + b".\r\n"],
    "pipelined": [b"".join(HEAD) + b"DATA\r\n", MESSAGE + b".\r\n"],
    "BDAT": [b"".join(HEAD) + b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE],
}


class Null:
    """An intake that keeps nothing."""

    async def accept(self, *given: Any, **more: Any) -> str:
        """An id."""
        return "0000000000000"


@implementer(smtp.IMessage)
class NullMessage:
    """Takes lines and forgets them."""

    def lineReceived(self, line: bytes) -> None:
        """Twisted: a line."""

    def eomReceived(self) -> Any:
        """Twisted: that was all."""
        return defer.succeed(None)

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
    """What twisted.mail's server writes to."""

    disconnecting = False

    def __init__(self) -> None:
        self.said = 0

    def write(self, octets: bytes) -> None:
        """Count."""
        self.said += 1

    def writeSequence(self, pieces: list[bytes]) -> None:
        """Count."""
        self.said += 1

    def loseConnection(self) -> None:
        """Nothing to close."""

    def getPeer(self) -> Any:
        """Twisted: an address."""
        return IPv4Address("TCP", "192.0.2.1", 40000)


def ours() -> Callable[[list[bytes]], None]:
    """A client's way of saying octets to our server."""
    bed = Bed(intake=Null())
    client = bed.connect("smtp")
    client.send(b"EHLO c.example\r\n")
    bed.settle()
    receive = client._connection.dataReceived  # type: ignore[union-attr]

    def say(pieces: list[bytes]) -> None:
        for piece in pieces:
            receive(piece)
        client.take()

    return say


def theirs() -> Callable[[list[bytes]], None]:
    """The same to twisted.mail's."""
    server = smtp.ESMTP()
    server.delivery, server.host, server.timeout = NullDelivery(), b"mx.example.org", None
    server.makeConnection(Wire())
    server.dataReceived(b"EHLO c.example\r\n")

    def say(pieces: list[bytes]) -> None:
        for piece in pieces:
            server.dataReceived(piece)

    return say


def rate(say: Callable[[list[bytes]], None], pieces: list[bytes]) -> float:
    """Messages a CPU-second."""
    best = 1e9
    for _ in range(7):
        began = process_time()
        for _ in range(ROUND):
            say(pieces)
        best = min(best, process_time() - began)
    return ROUND / best


def main() -> None:
    """Print the table."""
    base = 0.0
    out = sys.stdout
    for name, pieces in WAYS.items():
        if name != "BDAT":
            base = rate(theirs(), pieces)
            out.write(f"{name:10} twisted.mail {base:8.0f}/s\n")
        mine = rate(ours(), pieces)
        out.write(f"{name:10} mailsrv      {mine:8.0f}/s  {mine / base:.2f} times\n")


if __name__ == "__main__":
    main()
