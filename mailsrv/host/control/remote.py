"""The control wire for other machines (floor 4; S-028): TLS, and a token in the first line.

The first line is ``{"id": any, "token": "mailsrv_..."}``, answered with ``{"id": ..., "result": {"name", "role"}}``;
then all is as on the socket.  Before the token was found good a connection has ten seconds, four KiB and one of a few
places, and an address with ten bad tokens in ten minutes is turned away.  A token that is revoked or expires ends its
connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import ConfigError
from ...net.addresses import subject_of
from ...net.listen import listen
from ..config.control import ControlTable
from ..config.values import Binding
from ..tokens import MAX_TOKEN, Token
from .wire import IDLE_SECONDS, MAX_REQUEST, ControlFactory, ControlProtocol

log = Logger()

#: Seconds, octets and connections of those who have not shown a token, and how many of one address.
TOKEN_SECONDS, MAX_FIRST, MAX_UNKNOWN, MAX_OF_ONE = 10.0, 4096, 16, 4
#: Bad tokens of one address within so many seconds; addresses that are remembered.
MAX_BAD, BAD_SECONDS, MAX_SUBJECTS = 10, 600.0, 1000
#: A client that does not end its half of TLS is cut off after this.
FAREWELL = 5.0


class BadTokens:
    """Addresses that have shown bad tokens."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, tuple[int, float]] = {}

    def add(self, host: str) -> None:
        """One more."""
        subject, now = subject_of(host), self._monotonic()
        count, since = self._counts.pop(subject, (0, now))
        if now - since > BAD_SECONDS:
            count, since = 0, now
        while len(self._counts) >= MAX_SUBJECTS:
            del self._counts[next(iter(self._counts))]
        self._counts[subject] = count + 1, since

    def too_many(self, host: str) -> bool:
        """Whether it is turned away for now."""
        count, since = self._counts.get(subject_of(host), (0, 0.0))
        return count >= MAX_BAD and self._monotonic() - since <= BAD_SECONDS


class RemoteProtocol(ControlProtocol):
    """One connection from another machine."""

    factory: RemoteFactory

    def __init__(self) -> None:
        super().__init__()
        self.token: Token | None = None
        self._last: Any = None
        self.idle, self.most = TOKEN_SECONDS, MAX_FIRST

    def connectionMade(self) -> None:
        """Begin TLS; wait for the token."""
        self.peer = self.transport.getPeer().host
        try:
            self.transport.startTLS(self.factory.context())
        except ConfigError as error:
            log.error("nobody can administer from elsewhere: {reason}", reason=str(error))
            self.transport.abortConnection()
        self.transport.setTcpKeepAlive(True)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget it."""
        super().connectionLost(reason)
        if self._last is not None and self._last.active():
            self._last.cancel()

    async def perform(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The token first; afterwards, while it is good, everything."""
        if self.token is None:
            return self._begin(request.get("token"))
        if not self.factory.site.tokens.good(self.token):
            self._closing = True
            return {"error": "the token was revoked, or has expired", "status": "5.7.8"}
        return await super().perform(request)

    def _begin(self, text: Any) -> dict[str, Any]:
        found = self.factory.site.tokens.find(text) if isinstance(text, str) and len(text) <= MAX_TOKEN else None
        if found is None:
            self._closing = True
            self.factory.bad.add(self.peer)
            log.warn("a bad token was shown from {peer}", peer=self.peer)
            self.factory.site.events.publish("login.failed", server="control", peer=self.peer, why="")
            return {"error": "the token is not good here", "status": "5.7.8"}
        self.token, self._identity = found, found.identity
        self.idle, self.most = IDLE_SECONDS, MAX_REQUEST
        log.info("token {name} ({role}) from {peer}", name=found.name, role=found.role, peer=self.peer)
        return {"result": {"name": found.name, "role": found.role}}

    def _alive(self) -> None:
        if self.token is not None and not self.factory.site.tokens.good(self.token):
            self._timer = None
            self.close()
        else:
            super()._alive()

    def _idle(self) -> None:
        if self.token is None:
            # Perhaps not even TLS has begun.
            self._timer = None
            self.transport.abortConnection()
        else:
            super()._idle()

    def _lose(self) -> None:
        if not self._lost:
            self._last = self.factory.reactor.callLater(FAREWELL, self.transport.abortConnection)
        super()._lose()


class RemoteFactory(ControlFactory):
    """Serves the operations of one site to other machines; `context()` gives the TLS of a new connection."""

    protocol = RemoteProtocol

    def __init__(self, site: Any, reactor: Any, context: Callable[[], Any]) -> None:
        super().__init__(site, reactor, lambda transport: None)
        self.context = context
        self.bad = BadTokens(site.monotonic)

    def buildProtocol(self, address: Any) -> Any:
        """Twisted: somebody connected; None: close."""
        unknown = [one for one in self.connections if isinstance(one, RemoteProtocol) and one.token is None]
        of_one = sum(1 for one in unknown if one.peer == address.host)
        if len(unknown) >= MAX_UNKNOWN or of_one >= MAX_OF_ONE or self.bad.too_many(address.host):
            return None
        return super().buildProtocol(address)

    def dismiss(self, name: str) -> None:
        """A token is gone."""
        for one in list(self.connections):
            if isinstance(one, RemoteProtocol) and one.token is not None and one.token.name == name:
                one.close()


class RemoteControl:
    """Administration of a site from elsewhere: as its options say, and again when they change."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._shown: ControlTable | None = None
        self._factory = RemoteFactory(site, site.reactor, self._context)
        self._ports: dict[Binding, list[Any]] = {}
        self._lock = DeferredLock()
        #: Why nobody, or not everybody, can come who should.
        self.trouble = ""

    def take(self) -> None:
        """Have the ports, while the process may (decisions 22); nobody is let in before `apply`."""
        self._listen(self._site.options.remote)
        for port in self._all():
            port.stopReading()

    def changed(self, *options: Any) -> Deferred[None]:
        """The site has other options."""
        return Deferred.fromCoroutine(self.apply()).addErrback(
            lambda failure: log.failure("the control listener did not take up its options", failure=failure)
        )

    async def apply(self) -> None:
        """Listen where the options in effect say; ports that stay are left alone.  What cannot be had keeps no mail
        from anybody: it is told."""
        await self._lock.acquire()
        try:
            table: ControlTable = self._site.options.remote
            if table != self._shown or self.trouble:
                await self._close([one for one in self._ports if one not in table.listen])
                self._shown = table
                self._listen(table)
                self._site.tokens.revoked = self._factory.dismiss
                for port in self._all():
                    port.startReading()
                self._site.ready.tell()
        finally:
            self._lock.release()

    def _all(self) -> list[Any]:
        return [port for ports in self._ports.values() for port in ports]

    def _listen(self, table: ControlTable) -> None:
        self.trouble = ""
        try:
            for binding in table.listen:
                if binding not in self._ports:
                    self._ports[binding] = listen_all(self._site.reactor, binding.host, binding.port, self._factory)
            if table.listen and self._shown is not None:
                self._context()
        except ConfigError as error:
            self.trouble = f"{error.file}: {error.text}" if error.file else error.text
            log.error("nobody can administer from elsewhere: {reason}", reason=self.trouble)

    def _context(self) -> Any:
        """What begins TLS.  Raises ConfigError."""
        site = self._site
        name = site.options.remote.certificate
        shelf = site.certificates.shelves.get(name) if site.certificates is not None else None
        if shelf is None:
            raise ConfigError(f"there is no [tls.{name}]", key="control.certificate")
        return shelf.default(site.options.site.hostname).context(True)

    async def _close(self, bindings: Sequence[Binding]) -> None:
        """No connections there any more; when nothing is left the others end after operations under way."""
        gone = [port for one in bindings for port in self._ports.pop(one)]
        await gatherResults([maybeDeferred(port.stopListening) for port in gone])
        if not self._ports:
            self._factory.close()

    async def stop(self) -> None:
        """Nobody is let in any more; idempotent."""
        self._shown, self.trouble = None, ""
        await self._close(list(self._ports))

    def addresses(self) -> list[str]:
        """Where it is, as "host:port"."""
        found = [port.getHost() for port in self._all()]
        return [f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}" for at in found]


def listen_all(reactor: Any, host: str, port: int, factory: Any) -> list[Any]:
    """The ports of one binding.  Raises ConfigError."""
    hosts = ("0.0.0.0", "::") if host == "*" else (host,)
    return [made for made in (listen(reactor, one, port, factory) for one in hosts) if made is not None]
