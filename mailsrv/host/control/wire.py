"""The control wire: JSON lines over a UNIX socket (floor 4).

A request is ``{"id": any, "operation": "noun.verb", "arguments": {...}}``, answered in order by one line
``{"id": the same, "result": ...}`` or ``{"id": ..., "error": text, "status": "5.x.y"}``.  An operation that answers
with a stream sends ``{"id": ..., "item": ...}`` for each item first, and ``{"id": null, "alive": true}`` each minute,
so that both sides notice when the other is gone.  A client that reads slowly makes the stream wait; one that takes
nothing for ten minutes, or closes the connection, ends it.

Only the server's user and root can open the socket (mode 0600), and with `site.control_group` that group (0660).  The
system says which user is at the other end, and the authorizer what that user may do.
"""

from __future__ import annotations

import grp
import json
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...auth.roles import unix_identity
from ...errors import ConfigError
from ...values import Identity
from ..slices import Slices
from .client import ALIVE_SECONDS
from .run import run, streams

log = Logger()

#: Made once: each line of a stream goes through it.
_encode = json.JSONEncoder(separators=(",", ":")).encode

#: Items of a list that are encoded together.
LOT = 100
#: One request; what does not fit is answered and the connection closed.
MAX_REQUEST = 2 * 2**20
#: Connections at a time, and how long one may say nothing.
MAX_CONNECTIONS = 32
IDLE_SECONDS = 600.0


@implementer(IPushProducer)
class Flow:
    """Whether a client reads what it is sent; `resumed` is called when it does again."""

    def __init__(self, resumed: Callable[[], None]) -> None:
        self.full = False
        self._resumed = resumed
        self._waiting: Deferred[None] | None = None

    async def room(self) -> None:
        """Returns when there is room for more; one may wait at a time."""
        if self.full:
            self._waiting = Deferred()
            await self._waiting

    def pauseProducing(self) -> None:
        """Twisted: the client takes its time."""
        self.full = True

    def resumeProducing(self) -> None:
        """Twisted: what was written is gone."""
        self.full = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
        self._resumed()

    def stopProducing(self) -> None:
        """Twisted: the connection is gone; its protocol hears of it."""


class ControlProtocol(Protocol):
    """One connection: requests are worked on one at a time, and no more is read while one is.

    During a stream the connection is read, to see its end; what comes then waits for its turn.
    """

    factory: ControlFactory

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._task: Deferred[Any] | None = None
        self._streaming = self._closing = self._lost = False
        self.flow = Flow(self._turn)
        self._timer: Any = None
        self._stuck = 0.0
        self.idle, self.most = IDLE_SECONDS, MAX_REQUEST
        self.peer = ""
        self._identity: Identity | None = None

    def connectionMade(self) -> None:
        """Count it; turn away too many; see who it is."""
        self.transport.registerProducer(self.flow, True)
        self._identity = self.factory.identify(self.transport)
        self.factory.connections.add(self)
        if len(self.factory.connections) > MAX_CONNECTIONS:
            self._end("too many control connections")
        self._wait()

    def dataReceived(self, data: bytes) -> None:
        """Keep octets up to the bound."""
        if self._closing:
            return
        self._buffer += data
        if self._task is not None and len(self._buffer) > self.most:
            self._end("too much was sent during a stream")
        self._turn()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget it.  A stream ends; any other operation under way is finished, its answer goes nowhere."""
        self._closing = self._lost = True
        self._cancel_timer()
        self.factory.connections.discard(self)
        self._cut()

    def close(self) -> None:
        """After the answer to the operation under way; a stream is cut off."""
        self._closing = True
        if self._task is None and self.transport is not None:
            self._lose()
        self._cut()

    # ------------------------------------------------------------ requests

    def _turn(self) -> None:
        """Start on the next whole line, if nothing is under way and the answers are read."""
        if self._task is not None or self._closing or self.flow.full:
            return
        end = self._buffer.find(b"\n", self._searched)
        self._searched = len(self._buffer) if end < 0 else end
        if self._searched > self.most:
            self._end("the request is too long")
        if end < 0 or self._closing:
            return
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        self._cancel_timer()
        self.transport.pauseProducing()
        self._task = Deferred.fromCoroutine(self._answer(line))
        self._task.addBoth(self._done)

    async def _answer(self, line: bytes) -> None:
        """Run what one line asks for and write the answer."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, Mapping):
            self._write({"id": None, "error": "a request is one JSON object on a line", "status": "5.5.2"})
            return
        answer = await self.perform(request)
        written = await encoded(self.factory.site, {"id": request.get("id"), **answer})
        self.transport.write(written.encode("ascii") + b"\n")

    async def perform(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request, without its id."""
        name = request.get("operation")
        if streams(name):
            self._begin_stream()

        async def send(item: Any) -> None:
            """One item; returns when there is room for the next."""
            if self._closing:
                raise CancelledError
            self._write({"id": request.get("id"), "item": item})
            await self.flow.room()

        return await run(
            self.factory.site, name, request.get("arguments"), self._identity, peer=self.peer, send=send
        )

    def _done(self, result: Any) -> Any:
        """Go on with what has arrived meanwhile."""
        self._task = None
        self._streaming = False
        self._cancel_timer()
        if self._closing:
            self._lose()
        else:
            self.transport.resumeProducing()
            self._wait()
            # From the reactor, so that a row of requests that need no waiting does not nest.
            self.factory.reactor.callLater(0, self._turn)
        return result

    # ------------------------------------------------------------ streams

    def _begin_stream(self) -> None:
        """Read on, so that the end of the connection is seen, and say that the stream is there."""
        self._streaming, self._stuck = True, 0.0
        self.transport.resumeProducing()
        self._timer = self.factory.reactor.callLater(ALIVE_SECONDS, self._alive)

    def _alive(self) -> None:
        """A minute is over: say so, or see that the client takes nothing any more."""
        self._timer = self.factory.reactor.callLater(ALIVE_SECONDS, self._alive)
        self._stuck = self._stuck + ALIVE_SECONDS if self.flow.full else 0.0
        if not self.flow.full:
            self._write({"id": None, "alive": True})
        elif self._stuck >= IDLE_SECONDS:
            self.transport.abortConnection()

    def _cut(self) -> None:
        """End a stream that is under way."""
        if self._streaming and self._task is not None:
            self._task.cancel()

    # ------------------------------------------------------------ the line

    def _write(self, answer: Mapping[str, Any]) -> None:
        """One line."""
        self.transport.write(_encode(answer).encode("ascii") + b"\n")

    def _lose(self) -> None:
        """Close when all is written."""
        if self._lost:
            return
        self._lost = True
        # Twisted does not close for a producer that it has paused.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _end(self, text: str) -> None:
        """Say why, and close."""
        self._write({"id": None, "error": text, "status": "4.3.2"})
        self._closing = True
        self._buffer.clear()
        self._lose()
        self._cut()

    def _wait(self) -> None:
        """Start the idle time anew."""
        self._cancel_timer()
        if not self._closing:
            self._timer = self.factory.reactor.callLater(self.idle, self._idle)

    def _idle(self) -> None:
        """Nothing was asked for too long, or no answer was read."""
        self._timer = None
        self._end("idle for too long")
        if self.flow.full:
            self.transport.abortConnection()

    def _cancel_timer(self) -> None:
        """No idle time runs while working or after the end."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


async def encoded(site: Any, answer: Mapping[str, Any]) -> str:
    """An answer as JSON; a long list as result in slices, since a thread would keep the reactor waiting as well."""
    result = answer.get("result")
    if not isinstance(result, list) or len(result) <= LOT:
        return _encode(answer)
    slices, parts = Slices(site), []
    for at in range(0, len(result), LOT):
        parts.append(_encode(result[at : at + LOT])[1:-1])
        await slices.breathe()
    rest = _encode({key: value for key, value in answer.items() if key != "result"})
    return f'{rest[:-1]},"result":[{",".join(parts)}]}}'


def peer_of(transport: Any) -> Identity | None:
    """The UNIX user at the other end of a connection, as the system says it; None when it does not."""
    try:
        octets = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (AttributeError, OSError):
        return None
    uid = _CREDENTIALS.unpack(octets)[1]
    return unix_identity(uid)


def own_user(transport: Any) -> Identity:
    """Who it must be where the system does not say: nobody but the server's user (and root) can open the socket."""
    return unix_identity(os.geteuid())


#: struct ucred: pid, uid, gid (unix(7)).
_CREDENTIALS = struct.Struct("iII")
#: Whether the system tells who is at the other end.
TELLS = hasattr(socket, "SO_PEERCRED")


class ControlFactory(Factory):
    """Serves the operations of one site; `identify(transport)` says who is at the other end."""

    protocol = ControlProtocol
    noisy = False

    def __init__(
        self, site: Any, reactor: Any, identify: Callable[[Any], Identity | None] = peer_of if TELLS else own_user
    ) -> None:
        self.site = site
        self.identify = identify
        self.reactor = reactor
        self.connections: set[ControlProtocol] = set()

    def close(self) -> None:
        """Close every connection after the operation it is at."""
        for connection in list(self.connections):
            connection.close()


def listen(reactor: Any, path: Path, factory: ControlFactory, group: str = "") -> Any:
    """Listen on the socket, mode 0600, or 0660 for the UNIX `group`; gives Twisted's port.

    Raises ConfigError for a group that cannot be, OSError.  The caller holds the lock of the data folder, so a socket
    that is there is left over from a crash.
    """
    gid = _group(group) if group else None
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    try:
        port = reactor.listenUNIX(str(path), factory, mode=0o600)
    except CannotListenError as error:
        raise OSError(str(error)) from error
    if gid is not None:
        try:
            _open_to(path, gid, group)
        except ConfigError:
            port.stopListening()
            raise
    return port


def _group(name: str) -> int:
    """The id of a group.  Raises ConfigError."""
    if not TELLS:
        raise ConfigError("this system does not tell who opens a socket: leave it out", key="site.control_group")
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f'there is no UNIX group "{name}"', key="site.control_group") from None


def _open_to(path: Path, gid: int, group: str) -> None:
    """Let a group open the socket; nobody else could meanwhile.  Raises ConfigError."""
    try:
        os.chown(path, -1, gid)
        path.chmod(0o660)
        folder = path.parent.stat()
    except OSError as error:
        text = f'the socket cannot be given to the group "{group}": {error.strerror}; the server must be a member'
        raise ConfigError(text, key="site.control_group") from error
    if not folder.st_mode & (stat.S_IXOTH | (stat.S_IXGRP if folder.st_gid == gid else 0)):
        log.warn(
            "the group {group} cannot reach {path} through its folder: set site.control to a place that it can",
            group=group, path=str(path),
        )  # fmt: skip
