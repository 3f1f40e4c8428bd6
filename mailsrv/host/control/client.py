"""A blocking client of the control wire, for commands (floor 4)."""

from __future__ import annotations

import hmac
import json
import socket
import ssl
from collections import deque
from collections.abc import Generator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ...errors import MailError, Refused

#: One answer, as far as a client reads.
MAX_ANSWER = 256 * 2**20
#: How long a client waits to connect, and for an answer (a check of a large store takes its time).
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 3600.0
#: In a stream the server says at least this often that it is there.
ALIVE_SECONDS = 60.0
#: A server that says nothing for so long in the middle of a stream is gone.
SILENCE_SECONDS = 3 * ALIVE_SECONDS


class NotReachable(MailError):
    """No server answers at the control socket."""

    status = "4.4.1"


@frozen
class Target:
    """A site on another machine.  `ca`: a PEM file of authorities, "" those of the system; `fingerprint`: SHA-256 of
    its certificate in hexadecimal, then it need not be signed by anybody."""

    host: str
    port: int
    token: str = field(repr=False)
    ca: str = ""
    fingerprint: str = ""


class Client:
    """A blocking client, for commands.  Raises NotReachable on every trouble with the connection."""

    def __init__(self, path: Path) -> None:
        self._begin(str(path))
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(CONNECT_SECONDS)
            made.connect(str(path))
            made.settimeout(ANSWER_SECONDS)
        except OSError as error:
            made.close()
            raise NotReachable(f"no server at {path}: {error.strerror or error}") from error
        self._socket: socket.socket = made

    def _begin(self, name: str) -> None:
        """Nothing was asked or read yet."""
        self._name, self._buffer, self._count = name, bytearray(), 0
        self._lines: deque[bytearray] = deque()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def call(self, operation: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer: it holds "result", or "error" and "status"."""
        answer = self._ask(operation, arguments)
        if "item" in answer:
            self.close()
            raise Refused(f"{operation} answers with a stream")
        del answer["id"]
        return answer

    def stream(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Generator[Any, None, Any]:
        """Item by item, as they come; returns the result (so `result = yield from client.stream(...)`).

        Raises Refused with a "no".  Who stops before the end closes the connection, which ends the stream there.
        """
        self._socket.settimeout(SILENCE_SECONDS)
        ended = False
        try:
            answer = self._ask(operation, arguments)
            while "item" in answer:
                yield answer["item"]
                answer = self._answer()
            ended = True
        finally:
            if ended:
                self._socket.settimeout(ANSWER_SECONDS)
            else:
                self.close()
        if "error" in answer:
            raise Refused(answer["error"], answer.get("status", "5.0.0"))
        return answer.get("result")

    def _ask(self, operation: str, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        """The first answer to a request."""
        self._count += 1
        request = {"id": self._count, "operation": operation, "arguments": dict(arguments or {})}
        try:
            self._socket.sendall(json.dumps(request).encode("utf-8") + b"\n")
        except OSError as error:
            raise NotReachable(f"the server at {self._name} stopped answering: {error}") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line that says something."""
        alive = True
        while alive:
            try:
                answer = json.loads(self._line())
            except (OSError, ValueError) as error:
                raise NotReachable(f"the server at {self._name} stopped answering: {error}") from error
            alive = isinstance(answer, dict) and "alive" in answer
        if not isinstance(answer, dict) or answer.get("id") != self._count:
            text = answer.get("error", "") if isinstance(answer, dict) else ""
            raise NotReachable(f"the server at {self._name} refused: {text or 'no sense in its answer'}")
        return answer

    def _line(self) -> bytes:
        """The next line.  Raises OSError at the end of the connection or past the bound."""
        while not self._lines:
            if len(self._buffer) > MAX_ANSWER:
                raise OSError("the answer is too long")
            octets = self._socket.recv(256 * 2**10)
            if not octets:
                raise OSError("connection closed")
            self._buffer += octets
            if b"\n" in octets:
                # All at once: many short ones come together.
                *lines, rest = self._buffer.split(b"\n")
                self._lines.extend(lines)
                self._buffer = rest
        return bytes(self._lines.popleft())

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()


class RemoteClient(Client):
    """The same for a site on another machine (S-028): TLS, its certificate checked, then the token.

    Raises NotReachable, also for a certificate that is not the right one; Refused for a bad token.
    """

    def __init__(self, target: Target) -> None:
        host = f"[{target.host}]" if ":" in target.host else target.host
        self._begin(f"{host}:{target.port}")
        try:
            plain = socket.create_connection((target.host, target.port), CONNECT_SECONDS)
        except OSError as error:
            raise NotReachable(f"no server at {self._name}: {error.strerror or error}") from error
        try:
            self._socket = _tls(plain, target)
            self._socket.settimeout(ANSWER_SECONDS)
            self._socket.sendall(json.dumps({"id": 0, "token": target.token}).encode("utf-8") + b"\n")
        except (OSError, ValueError) as error:
            plain.close()
            raise NotReachable(f"no TLS with {self._name}: {_why(error)}") from error
        except NotReachable:
            plain.close()
            raise
        answer = self._answer()
        if "error" in answer:
            self.close()
            raise Refused(f"{self._name}: {answer['error']}", answer.get("status", "5.7.8"))


def _tls(plain: socket.socket, target: Target) -> ssl.SSLSocket:
    """TLS with the right server.  Raises NotReachable, OSError, ValueError."""
    context = ssl.create_default_context(cafile=target.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if target.fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    made = context.wrap_socket(plain, server_hostname=target.host)
    if target.fingerprint:
        shown = sha256(made.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(shown, target.fingerprint.replace(":", "").lower()):
            made.close()
            raise NotReachable(f"{target.host} shows another certificate, whose SHA-256 is {shown}")
    return made


def _why(error: Exception) -> str:
    """In words; what OpenSSL says of a certificate alone."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; say --ca FILE or --fingerprint SHA256"
    return str(getattr(error, "strerror", None) or error)
