"""The bindings of one server (floor 6; S-029, S-031, S-033; decisions 20 and 21)."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ILoggingContext
from twisted.internet.protocol import Protocol, ServerFactory
from zope.interface import implementer

from ..errors import ConfigError
from ..net.listen import listen, listen_endpoint, listen_unix
from ..values import Peer
from .config.values import Binding
from .places import ALL, CLOSED, HELD, OPEN, Door, Ground, families, plain

#: A protocol for somebody who connected (True: with TLS from the start), or None: close.
Accept = Callable[[Peer, bool], Protocol | None]
#: Told when a binding that takes its time cannot be had after all.
Lost = Callable[[ConfigError], Any]


@implementer(ILoggingContext)
class Accepting(ServerFactory):
    """Accepts for one binding."""

    noisy = False

    def __init__(self, server: str, accept: Accept, tls: bool) -> None:
        self._server, self._accept, self.tls = server, accept, tls

    def logPrefix(self) -> str:
        """Twisted: how its own lines about this port begin."""
        return self._server

    def buildProtocol(self, address: Any) -> Protocol | None:
        """Twisted: somebody connected."""
        return self._accept(Peer(getattr(address, "host", ""), getattr(address, "port", 0)), self.tls)


class Single:
    """A binding that no other server can be beside: a UNIX socket, an endpoint, a port that the kernel chooses.

    While it is shut it accepts, and the server closes: such a socket cannot refuse, or would be lost.  A socket that
    systemd has made is kept until the end, since it could not be had again.
    """

    def __init__(self, reactor: Any, binding: Binding, factory: Accepting, lost: Lost) -> None:
        self._reactor, self._binding, self.factory, self._lost = reactor, binding, factory, lost
        self._ports: list[Any] = []
        self._kept = binding.endpoint.startswith("systemd:")
        self._waiting = False
        self.mode = CLOSED

    def take(self) -> None:
        """See `Door.take`."""
        if self.mode == CLOSED:
            self.mode = HELD
            try:
                if not self._ports and not self._waiting:
                    self._listen()
            except ConfigError:
                self.mode = CLOSED
                raise
            self.turn(HELD)

    def turn(self, mode: str) -> None:
        """See `Door.turn`."""
        self.mode = mode
        for port in self._ports:
            # A plug-in's port need not know how to wait; the server closes what is accepted too early.
            change = getattr(port, "stopReading" if mode == HELD else "startReading", None)
            if change is not None:
                change()

    def close(self, last: bool = False) -> list[Deferred[Any]]:
        """See `Door.close`; `last`: also what is kept."""
        if self._kept and not last:
            if self.mode != CLOSED:
                self.turn(OPEN)
            self.mode = CLOSED
            return []
        self.mode = CLOSED
        ports, self._ports = self._ports, []
        return [done for port in ports if (done := port.stopListening()) is not None]

    def give_up(self) -> list[Deferred[Any]]:
        """See `Door.give_up`."""
        return self.close(True)

    def addresses(self, tls: bool) -> Iterator[str]:
        """See `Door.addresses`."""
        for port in self._ports:
            at = port.getHost()
            if isinstance(at, UNIXAddress):
                yield f"unix:{os.fsdecode(at.name or b'')}"
            elif isinstance(at, IPv4Address | IPv6Address):
                yield str(Binding(at.host, at.port, tls))
            else:
                yield str(self._binding)

    # ------------------------------------------------------------ listening

    def _listen(self) -> None:
        one = self._binding
        if one.endpoint:
            self._listen_endpoint()
        elif one.path:
            self._ports = [listen_unix(self._reactor, one.path, self.factory)]
        else:
            # Who lets the kernel choose gets one port, not one of each family.
            port = listen(self._reactor, ALL[socket.AF_INET] if one.host == "*" else one.host, one.port, self.factory)
            self._ports = [] if port is None else [port]

    def _listen_endpoint(self) -> None:
        """Most answer at once; who does not is waited for.  Raises ConfigError."""
        problems: list[ConfigError] = []
        self._waiting, late = True, False

        def failed(failure: Any) -> None:
            """Now it is raised, later it is told."""
            self._waiting = False
            if late:
                self._lost(failure.value)
            else:
                problems.append(failure.value)

        listen_endpoint(self._reactor, self._binding.endpoint, self.factory).addCallbacks(self._came, failed)
        late = True
        if problems:
            raise problems[0]

    def _came(self, port: Any) -> None:
        self._waiting = False
        self._ports.append(port)
        if self.mode == CLOSED:
            # Nobody wants it any more.
            self.close()
        else:
            self.turn(self.mode)


class Ports:
    """All bindings of one server, in one mode.  `accept` and `lost` as above."""

    def __init__(self, ground: Ground, server: str, bindings: Sequence[Binding], accept: Accept, lost: Lost) -> None:
        self._ground, self._server, self._accept, self._lost = ground, server, accept, lost
        self._made: dict[tuple[Any, ...], Door | Single] = {}
        self.mode = CLOSED
        try:
            self.rebind(bindings)
        except ConfigError:
            self.give_up()
            raise

    def take(self) -> None:
        """Have every binding, but let nobody in yet.  Raises ConfigError; then none is had."""
        if self.mode == CLOSED:
            self.mode = HELD
            try:
                for one in self._made.values():
                    one.take()
            except ConfigError:
                self.close()
                raise

    def turn(self, mode: str) -> None:
        """OPEN, HELD or SHUT, once they are taken.  Raises ConfigError when a paused port cannot be had again."""
        self.mode = mode
        for one in self._made.values():
            one.turn(mode)

    def close(self) -> list[Deferred[Any]]:
        """Let nobody in; what fires when the sockets are closed."""
        self.mode = CLOSED
        return [done for one in self._made.values() for done in one.close()]

    def give_up(self) -> list[Deferred[Any]]:
        """The end: the bindings are others' to have."""
        self.mode = CLOSED
        closed = [done for one in self._made.values() for done in one.give_up()]
        self._made.clear()
        return closed

    def rebind(self, bindings: Sequence[Binding]) -> list[Deferred[Any]]:
        """Have these bindings instead, in the same mode; those that stay are left alone (S-016, S-031).

        Gives what fires when the sockets of the others are closed.  Raises ConfigError; then all is as it was.
        """
        wanted = _keyed(bindings)
        fresh: dict[tuple[Any, ...], Door | Single] = {}
        try:
            for key, binding in wanted.items():
                if key not in self._made:
                    fresh[key] = self._make(key, binding)
                    if self.mode != CLOSED:
                        fresh[key].take()
        except ConfigError:
            for one in fresh.values():
                one.give_up()
            raise
        closed = []
        for key in [key for key in self._made if key not in wanted]:
            closed += self._made.pop(key).give_up()
        for key, kept in self._made.items():
            kept.factory.tls = wanted[key].tls
        self._made = {key: self._made.get(key) or fresh[key] for key in wanted}
        if self.mode != CLOSED:
            self.turn(self.mode)
        return closed

    def addresses(self) -> list[str]:
        """What it really listens on, as "host:port" with "/tls", "unix:PATH", or an endpoint; empty when closed."""
        open_ = (one for one in self._made.values() if one.mode != CLOSED)
        return [text for one in open_ for text in one.addresses(one.factory.tls)]

    # ------------------------------------------------------------ inside

    def _make(self, key: tuple[Any, ...], binding: Binding) -> Door | Single:
        factory = Accepting(self._server, self._accept, binding.tls)
        if binding.port:
            return self._ground.door(key[0], binding.host, binding.port, self._server, factory)
        return Single(self._ground.reactor, binding, factory, self._lost)


def _keyed(bindings: Sequence[Binding]) -> dict[tuple[Any, ...], Binding]:
    """Bindings by what makes them the same one: with a number of a port one for each family; of those that let the
    kernel choose there may be several."""
    seen: Counter[tuple[Any, ...]] = Counter()
    found: dict[tuple[Any, ...], Binding] = {}
    for one in bindings:
        if one.port:
            for family in families(one.host):
                found[family, "" if one.host in ("*", ALL[family]) else plain(one.host), one.port] = one
        elif one.path or one.endpoint:
            found[one.path, one.endpoint] = one
        else:
            found[one.host, one.tls, seen[one.host, one.tls]] = one
            seen[one.host, one.tls] += 1
    return found
