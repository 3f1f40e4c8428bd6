"""Send at once (floor 2a): the short way past the reactor for the common case of an idle plain TCP transport.

Twisted's `write` asks the reactor to wait until the socket can take octets, which costs two system calls and a turn
of the loop for every answer.  A socket whose buffers are empty nearly always can: so the octets are offered to it
directly, and only what it does not take goes the usual way.  Measured in docs/performance.md.
"""

from __future__ import annotations

import sys
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from twisted.internet import tcp
from twisted.internet.tcp import Client, Server

from .accepted import Accepted

#: Plain TCP, accepted and made by ourselves.
_PLAIN = (Accepted, Client, Server)


def send(transport: Any, octets: bytes) -> None:
    """As `transport.write(octets)`, sooner where that is possible."""
    if (
        type(transport) in _PLAIN
        and not transport.TLS
        and not transport.dataBuffer
        and not transport._tempDataBuffer
        and transport.connected
        and not transport.disconnecting
    ):
        try:
            sent = transport.socket.send(octets)
        except OSError:
            # No room; or the usual way meets the error again, and ends the connection as Twisted does.
            sent = 0
        if sent == len(octets):
            return
        octets = octets[sent:]
    transport.write(octets)


def without_delay(transport: Any) -> None:
    """Have a TCP transport send small pieces at once.

    We join what belongs together ourselves; Nagle's algorithm would hold back a second piece until the peer's delayed
    acknowledgement of the first, 40 ms later.
    """
    if type(transport) in _PLAIN:
        transport.setTcpNoDelay(True)


def unsent(transport: Any) -> int:
    """Octets of output that the peer has not taken: those that wait here, and those in the kernel (on Linux what the
    peer has not acknowledged)."""
    if not isinstance(transport, tcp.Connection):
        return getattr(transport, "unsent", 0)
    if not transport.connected:
        return 0
    held = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    try:
        queued = ioctl(transport.fileno(), TIOCOUTQ, bytes(4))
    except OSError:
        return held
    return held + int.from_bytes(queued, sys.byteorder)
