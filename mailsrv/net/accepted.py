"""Accepted TCP connections (floor 2a): Twisted's transport with a shorter way out.

Twisted ends a connection in another turn of the reactor, when the socket is found to take octets, although there are
none; and it shuts the socket down before it closes it.  For a client that logs in, looks and leaves that was a tenth of
the server's work.  Measured in docs/performance.md.
"""

from __future__ import annotations

from twisted.internet import tcp
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure


class Accepted(tcp.Server):
    """As Twisted's, but a plain connection whose last words have left is closed at the end of the read that it was
    closed in."""

    # Nobody else has the file (it is closed on exec), so closing it is enough.
    _shouldShutdown = False
    _reading = _over = False

    def doRead(self) -> Exception | None:
        """Twisted: there are octets, or the end."""
        try:
            octets = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not octets:
            return CONNECTION_DONE
        self._reading = True
        try:
            self.protocol.dataReceived(octets)
        finally:
            self._reading = False
        return CONNECTION_DONE if self._over else None

    def loseConnection(self) -> None:
        """Twisted: end when all that was written has left."""
        if not self._reading or self.TLS or self.disconnecting or self.dataBuffer or self._tempDataBuffer:
            super().loseConnection()
        else:
            self.disconnecting = self._over = True

    def readConnectionLost(self, reason: Failure) -> None:
        """Twisted: nothing more can be read: the peer's half of the connection is over, or all of it by us."""
        if self._over:
            self.connectionLost(reason)
        else:
            super().readConnectionLost(reason)
