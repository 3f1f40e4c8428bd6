"""How the clients of a server that stops leave it (floor 6; S-018, decisions 25)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from ..net.connection import Connection
from ..net.front import Front

log = Logger()

#: Seconds a stopping server waits for a client to take its last words, and for commands under way, once all were told.
FAREWELL, GRACE = 0.5, 5.0
#: Connections that are dismissed in one turn, and the seconds this may take.  Each is work again when it closes, and
#: the reactor looks at all that close at once before it looks at anything else.
AT_ONCE, SLICE = 25, 0.003


class Leaving:
    """The connections that one stop waits for; `gone` fires when there is none left, after `grace` seconds at the
    latest."""

    def __init__(
        self, server: str, connections: Iterable[Connection | Front], call_later: Callable[..., Any],
        monotonic: Callable[[], float], over: Callable[[Leaving], None], grace: float | None = None,
    ) -> None:  # fmt: skip
        self._grace = GRACE if grace is None else grace
        self._server, self._call_later, self._monotonic, self._over = server, call_later, monotonic, over
        self._connections = set(connections)
        self._calls: list[Any] = []
        self.gone: Deferred[None] = Deferred()

    def __len__(self) -> int:
        return len(self._connections)

    def begin(self) -> None:
        """Dismiss everybody after the command under way."""
        self._each(lambda one: one.finish("shutdown"), self._told)
        if not self._connections:
            self._end()

    def left(self, connection: Connection | Front) -> None:
        """One is gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            if not self._connections:
                self._end()

    def _told(self) -> None:
        """Everybody knows."""
        if self._connections:
            self._later(FAREWELL, lambda: self._each(_cut_dismissed))
            # The command under way has taken too long.
            patience = max(self._grace - GRACE / 2, self._grace / 2)
            self._later(patience, lambda: self._each(lambda one: one.dismiss("shutdown")))
            self._later(self._grace, lambda: self._each(lambda one: one.abort(), self._give_up))

    def _give_up(self) -> None:
        """Whoever is still there was cut off; a command that never ends is waited for no longer."""
        if self._connections:
            count = len(self._connections)
            log.warn("{server} stops with {count} commands that do not end", server=self._server, count=count)
            self._connections.clear()
            self._end()

    def _end(self) -> None:
        if not self.gone.called:
            for call in self._calls:
                if call.active():
                    call.cancel()
            self._over(self)
            self.gone.callback(None)

    # ------------------------------------------------------------ some at a time

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self._calls = [call for call in self._calls if call.active()]
        self._calls.append(self._call_later(seconds, function))

    def _each(self, what: Callable[[Connection | Front], None], then: Callable[[], None] = lambda: None) -> None:
        """Do something with all that are there now, without keeping others waiting."""
        some = list(self._connections)

        def turn() -> None:
            """So many as one turn has time for."""
            until = self._monotonic() + SLICE
            for _ in range(AT_ONCE):
                if not some:
                    break
                one = some.pop()
                if one in self._connections:
                    what(one)
                if self._monotonic() > until:
                    break
            if some and self._connections:
                self._later(0, turn)
            else:
                then()

        turn()


def _cut_dismissed(one: Connection | Front) -> None:
    """Whoever has been told so had time to read it."""
    if one.closing:
        one.abort()


async def drain(site: Any) -> None:
    """Commands and deliveries under way end, and nothing is begun; `site.drain_time` later all is cut off."""
    grace = site.options.site.drain_time
    # All at once: a command that takes its time on one server gives no time to clients of the others.
    under_way = [] if site.delivery is None else [Deferred.fromCoroutine(site.delivery.runner.stop(grace))]
    for server in site.servers.values():
        server.grace = grace
        under_way.append(server.stopService() if server.running else server.stop())
    await gatherResults(under_way)
