"""COMPRESS=DEFLATE over real sockets (RFC 4978): a client made of Python's zlib, above TLS."""

from __future__ import annotations

import re
import socket
import zlib

import pytest

from .conftest import PASSWORD, Server
from .test_standard_library import context, send

pytestmark = pytest.mark.live

LINES = [b"%d bottles of beer on the wall\r\n" % number for number in range(5000)]
MESSAGE = b"Subject: packed\r\n\r\n" + b"".join(LINES)


class Client:
    """As little of a client as will do; counts what goes over the wire."""

    def __init__(self, server: Server) -> None:
        plain = socket.create_connection(("127.0.0.1", server.port("imap/default", tls=True)), 20)
        self._socket = context().wrap_socket(plain)
        self._deflater = self._inflater = None
        self._unread = b""
        self.came = 0
        self.line()

    def deflate(self) -> None:
        self._deflater, self._inflater = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.came = 0

    def say(self, octets: bytes) -> None:
        if self._deflater is not None:
            octets = self._deflater.compress(octets) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        self._socket.sendall(octets)

    def more(self) -> bytes:
        octets = self._socket.recv(65536)
        assert octets, "the server has closed"
        self.came += len(octets)
        return octets if self._inflater is None else self._inflater.decompress(octets)

    def line(self) -> bytes:
        while b"\r\n" not in self._unread:
            self._unread += self.more()
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line

    def command(self, octets: bytes) -> bytes:
        """What the server answers, up to the tag's line."""
        self.say(b"a " + octets + b"\r\n")
        while not (found := re.search(rb"(?m)^a (?:OK|NO|BAD) .*\r\n", self._unread)):
            self._unread += self.more()
        answer, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return answer

    def close(self) -> None:
        self._socket.close()


def test_rfc4978_a_session_with_python_zlib(server: Server, account: str) -> None:
    client = Client(server)
    login = client.command(b'LOGIN %b "%b"' % (account.encode(), PASSWORD.encode()))
    assert b" COMPRESS=DEFLATE " in login
    assert client.command(b"COMPRESS DEFLATE") == b"a OK DEFLATE active\r\n"
    client.deflate()
    client.command(b"SELECT INBOX")
    assert b"APPENDUID" in client.command(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
    client.came = 0
    assert MESSAGE in client.command(b"FETCH 1 BODY.PEEK[]")
    assert client.came < len(MESSAGE) // 3
    client.say(b"b IDLE\r\n")
    assert client.line() == b"+ idling"
    send(server, [account])
    assert client.line() == b"* 2 EXISTS"
    assert client.line().endswith(b" RECENT")
    client.say(b"DONE\r\n")
    assert client.line() == b"b OK IDLE completed"
    assert b"COMPRESSIONACTIVE" in client.command(b"COMPRESS DEFLATE")
    assert client.command(b"LOGOUT").endswith(b"a OK LOGOUT completed\r\n")
    client.close()
