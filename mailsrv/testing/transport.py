"""The client's end of a connection in memory: what a test says, and what the server answered."""

from __future__ import annotations

import zlib
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure


class _Handle:
    """What a session asks of a TLS connection."""

    def get_protocol_version_name(self) -> str:
        """As OpenSSL names it."""
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        """As OpenSSL names it."""
        return "TLS_AES_256_GCM_SHA384"

    def get_servername(self) -> bytes | None:
        """No SNI."""
        return None

    def client_certificate(self) -> bytes | None:
        """The client showed none."""
        return None

    def bindings(self) -> dict[str, bytes]:
        """Such as nobody would mistake for real ones."""
        return {"tls-exporter": b"exporter" * 4, "tls-server-end-point": b"endpoint" * 4}


class MemoryTransport:
    """A transport between a `Connection` and a test.

    Nothing is encrypted: `tls` tells that the server began TLS.  `window` octets unread make the server wait.
    """

    def __init__(self, window: int = 1 << 30) -> None:
        self.window = window
        self.output = bytearray()
        self.tls = False
        self.closed = False
        self.aborted = False
        self.reading = True
        self._held: list[bytes] = []
        #: What packs and what unpacks for the client, once both sides speak deflated.
        self._packing: Any = None
        self._unpacking: Any = None
        self._producer: Any = None
        self.protocol: Any = None

    # ------------------------------------------------------------ for the server

    def write(self, octets: bytes) -> None:
        """Take output."""
        if not self.closed:
            self.output += octets
            if self._producer is not None and len(self.output) > self.window:
                self._producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As ITransport has it."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """As ITransport has it."""
        self._producer = None

    def pauseProducing(self) -> None:
        """The server reads no more for now."""
        self.reading = False

    def resumeProducing(self) -> None:
        """The server reads again."""
        self.reading = True
        held, self._held = self._held, []
        for octets in held:
            self.send(octets)

    def startTLS(self, context: Any) -> None:
        """The server begins TLS."""
        self.tls = True
        if self.protocol is not None:
            self.protocol.handshakeCompleted()

    def getHandle(self) -> _Handle:
        """Facts of TLS."""
        return _Handle()

    def loseConnection(self) -> None:
        """The server closes."""
        self._end()

    def abortConnection(self) -> None:
        """The server cuts off."""
        self.aborted = True
        self._end()

    # ------------------------------------------------------------ for the test

    def attach(self, protocol: Any) -> None:
        """Connect; `protocol` is what a server accepted with."""
        self.protocol = protocol
        protocol.makeConnection(self)

    def send(self, octets: bytes) -> None:
        """The client says something, in one read."""
        if self._packing is not None and self.reading:
            octets = self._packing.compress(octets) + self._packing.flush(zlib.Z_SYNC_FLUSH)
        if not self.reading:
            self._held.append(octets)
        elif not self.closed and self.protocol is not None:
            self.protocol.dataReceived(octets)

    def take(self, most: int | None = None) -> bytes:
        """What the server said and nobody read yet; all of it, or some octets."""
        out = bytes(self.output[:most])
        del self.output[:most]
        if self._producer is not None and len(self.output) <= self.window:
            self._producer.resumeProducing()
        return out if self._unpacking is None else self._unpacking.decompress(out)

    def deflate(self) -> None:
        """From now on the client speaks deflated (RFC 4978), and the server must."""
        self._packing, self._unpacking = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    @property
    def unsent(self) -> int:
        """Octets that the client's window has no room for."""
        return max(0, len(self.output) - self.window)

    def half_close(self) -> None:
        """The client sends no more but still reads."""
        if hasattr(self.protocol, "readConnectionLost") and not self.closed:
            self.protocol.readConnectionLost()

    def drop(self) -> None:
        """The client vanishes."""
        self._end()

    def _end(self) -> None:
        if not self.closed and self.protocol is not None:
            self.closed = True
            self.protocol.connectionLost(Failure(ConnectionDone()))
