"""Raw sockets for clients that misbehave, and a witness who sees whether anybody else suffers."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from contextlib import suppress

from .conftest import Server

#: Service -> (its virtual server, a command, how the answer begins).
SERVICES: dict[str, tuple[str, bytes, bytes]] = {
    "smtp": ("smtp/default", b"NOOP\r\n", b"250 "),
    "imap": ("imap/default", b"w NOOP\r\n", b"w OK "),
    "pop3": ("pop3/default", b"CAPA\r\n", b"+OK"),
}
#: Seconds in which a new client must have its greeting and an answer, whatever others do.
PATIENCE = 2.0


def context() -> ssl.SSLContext:
    """Trusts anybody."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


class Raw:
    """One connection, octet by octet."""

    def __init__(self, server: Server, service: str, tls: bool = False, *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", server.port(SERVICES[service][0], tls)))
        self.read = b""

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """One line; b"" or what is left at the end of the stream."""
        while b"\n" not in self.read:
            more = self.socket.recv(65536)
            if not more:
                break
            self.read += more
        line, mark, self.read = self.read.partition(b"\n")
        return line + mark

    def until(self, start: bytes) -> bytes:
        """Read to the first line that begins so, and give it; fails when the stream ends before."""
        while not (line := self.line()).startswith(start):
            assert line, f"no line began with {start!r}"
        return line

    def rest(self) -> bytes:
        """All that comes before the server closes; a reset is an end too."""
        said = [self.read]
        self.read = b""
        try:
            while more := self.socket.recv(65536):
                said.append(more)
        except ConnectionError:
            pass
        return b"".join(said)

    def start_tls(self) -> None:
        """The handshake of the client."""
        self.socket = context().wrap_socket(self.socket)

    def half_close(self) -> None:
        """Nothing more will be sent, but all is read."""
        # The server may have had enough already, and be gone.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def vanish(self, rudely: bool = True) -> None:
        """Gone: with a reset, or without."""
        if rudely:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Witness:
    """Connects to every service again and again; `worst` is the longest it took to be greeted and answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.worst = 0.0
        self.rounds = 0
        self.refused: list[str] = []

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *how: object) -> None:
        self._end.set()
        self._thread.join(30)
        if how[0] is None:
            assert not self.refused, self.refused
            assert self.rounds and self.worst < PATIENCE, f"a new client waited {self.worst:.2f} s"

    def _run(self) -> None:
        while True:
            for service, (_, command, answer) in SERVICES.items():
                began = time.monotonic()
                try:
                    client = Raw(self._server, service)
                    greeting = client.line()
                    client.send(command)
                    said = client.until(answer)
                    client.vanish(rudely=False)
                except (OSError, AssertionError) as error:
                    self.refused.append(f"{service}: {error!r}")
                    return
                self.worst = max(self.worst, time.monotonic() - began)
                if not greeting or not said:
                    self.refused.append(f"{service}: {greeting!r} {said!r}")
            self.rounds += 1
            # At least one round, and one that ends after whatever was done to the server.
            if self._end.wait(0.05):
                return
