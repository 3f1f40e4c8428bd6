"""The page of counters (floor 6): ``GET /metrics`` over HTTP, and nothing else.

It tells nobody's name, address or mail; where others than this machine can reach it, a token keeps them from it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ...errors import ConfigError
from ...net.listen import listen, listen_unix
from ..config.metrics import MetricsTable
from ..config.values import Binding
from .figures import collect
from .lag import LagProbe
from .text import CONTENT_TYPE

log = Logger()

#: Connections at a time, seconds that one may say nothing, octets of a token.
MOST, IDLE, MAX_TOKEN = 16, 30, 1024


class _Request(Request):  # type: ignore[misc]
    """One that keeps no body: nothing that is asked here has one."""

    def gotLength(self, length: int | None) -> None:
        """Twisted: the header is there."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Twisted: octets of a body."""


class _Site(Site):  # type: ignore[misc]
    """HTTP without a log: a scrape each few seconds is no news."""

    def log(self, request: Any) -> None:
        """Twisted: a request was answered."""


class _Few(WrappingFactory):  # type: ignore[misc]
    """So many connections and no more."""

    noisy = False

    def buildProtocol(self, address: Any) -> Any:
        """Twisted: somebody connected."""
        return None if len(self.protocols) >= MOST else super().buildProtocol(address)


class MetricsPage(Resource):  # type: ignore[misc]
    """What is at every path.  `collect` makes the page, `token` gives what must be shown, b"" for nothing."""

    isLeaf = True

    def __init__(self, collect: Callable[[], Awaitable[bytes]], token: Callable[[], bytes]) -> None:
        super().__init__()
        self._collect, self._token = collect, token

    def render(self, request: Any) -> Any:
        """Twisted: a request."""
        request.setHeader(b"server", b"mailsrv")
        if request.path != b"/metrics":
            return _no(request, 404, b"The counters are at /metrics\n")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return _no(request, 405, b"GET is all there is\n")
        try:
            wanted = self._token()
        except ConfigError as error:
            log.error("metrics are shown to nobody: {reason}", reason=str(error))
            return _no(request, 503, b"The token cannot be read\n")
        if wanted and not _shown(request, wanted):
            request.setHeader(b"www-authenticate", b"Bearer")
            return _no(request, 401, b"A token is needed\n")
        gone = request.notifyFinish().addErrback(lambda _: None)
        made = Deferred.fromCoroutine(self._answer())
        made.addCallbacks(partial(_give, request, gone), partial(_failed, request, gone))
        return NOT_DONE_YET

    async def _answer(self) -> bytes:
        return await self._collect()


def _shown(request: Any, wanted: bytes) -> bool:
    """Whether the client has the token."""
    kind, _, given = (request.getHeader(b"authorization") or b"").partition(b" ")
    return hmac.compare_digest(given.strip(), wanted) and kind.lower() == b"bearer"


def _no(request: Any, code: int, text: bytes) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return text


def _give(request: Any, gone: Any, page: bytes) -> None:
    """The whole page, if somebody still waits for it."""
    if gone.called:
        return
    request.setHeader(b"content-type", CONTENT_TYPE)
    request.setHeader(b"content-length", b"%d" % len(page))
    if request.method != b"HEAD":
        request.write(page)
    request.finish()


def _failed(request: Any, gone: Any, failure: Any) -> None:
    log.failure("the page of metrics cannot be made", failure=failure)
    if not gone.called:
        request.write(_no(request, 500, b"See the log\n"))
        request.finish()


def read_token(path: Path | None) -> bytes:
    """The first line of a file; b"" without one.  Raises ConfigError."""
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN + 1).split(b"\n", 1)[0].strip()
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(path), key="metrics.token_file") from error
    if not token or len(token) > MAX_TOKEN:
        raise ConfigError(f"no token of 1 to {MAX_TOKEN} octets in the first line", file=str(path),
                          key="metrics.token_file")  # fmt: skip
    return token


class Metrics:
    """The page of a site, and the probe that is on it.  A page that cannot be had keeps no mail from anybody."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self.probe = LagProbe(site.reactor.callLater, site.monotonic, site.clock)
        self._ports: list[Any] = []
        #: Why it cannot be had.
        self.trouble = ""

    def start(self) -> None:
        """Listen where the options say; what cannot be had is told to the log."""
        table: MetricsTable = self._site.options.metrics
        if not table.listen:
            return
        self.probe.start()
        token = partial(read_token, self._site.base / table.token_file if table.token_file else None)
        page = MetricsPage(partial(collect, self._site, self.probe), token)
        made = _Site(page, requestFactory=_Request, timeout=IDLE)
        made.noisy = False
        try:
            token()
            for binding in table.listen:
                self._ports += _listen(self._site.reactor, binding.below(self._site.base), _Few(made))
        except ConfigError as error:
            self.trouble = f"{error.file}: {error.text}" if error.file else error.text
            log.error("metrics are not shown: {reason}", reason=self.trouble)
            self.stop()

    def stop(self) -> Deferred[Any]:
        """Show nothing more."""
        self.probe.stop()
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def addresses(self) -> list[str]:
        """What it listens on, as "host:port"; UNIX sockets are left out."""
        return [f"{at.host}:{at.port}" for at in (port.getHost() for port in self._ports) if hasattr(at, "port")]


def _listen(reactor: Any, binding: Binding, factory: Any) -> list[Any]:
    """The ports of one binding.  Raises ConfigError."""
    if binding.path:
        return [listen_unix(reactor, binding.path, factory)]
    hosts = ("0.0.0.0", "::") if binding.host == "*" else (binding.host,)
    ports = [listen(reactor, host, binding.port, factory) for host in hosts]
    return [port for port in ports if port is not None]
