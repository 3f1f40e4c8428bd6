"""Who has which address of a port, and the sockets for that (floor 6; S-030..S-033, decisions 20 and 21).

A place is one port of one address family.  Each address of it has a door, which belongs to one server; the door ""
has all addresses that no other door has.  Without it every door has a socket of its own.  With it there is one socket
for all addresses, and the address at which a client arrived chooses the door: Linux lets nobody listen on one address
beside all of them, and the clients of a server that is stopped or paused must never reach another.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ILoggingContext
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import ConfigError
from ..net.listen import let_in, listen, may_bind, must_exist, shut_out, step_aside
from .config.values import Binding

log = Logger()

#: What a door is: nothing; an address that is taken, with nobody let in yet; open; one that refuses (paused).
CLOSED, HELD, OPEN, SHUT = "closed", "held", "open", "shut"

#: All addresses of a family.
ALL: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


class Socket:
    """One listening TCP socket, bound by its number."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self._refuses = False

    def turn(self, factory: Any, mode: str) -> None:
        """Accept for a factory, hold or refuse from now on.  Raises ConfigError when it cannot listen again."""
        self._port.factory = factory
        if mode == SHUT:
            if not self._refuses:
                # Where the system cannot refuse, the server closes what it accepts.
                self._refuses = shut_out(self._port)
            return
        if self._refuses:
            let_in(self._port)
            self._refuses = False
        if mode == OPEN:
            self._port.startReading()
        else:
            self._port.stopReading()

    def step_aside(self) -> None:
        """Another socket may have the address; `turn` undoes it."""
        if self._refuses:
            self._port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._refuses = step_aside(self._port)

    def close(self) -> Deferred[Any]:
        """Let the address go now; fires when the socket is closed."""
        if not self._refuses:
            step_aside(self._port)
        done: Deferred[Any] = self._port.stopListening()
        return done


class Place:
    """One port of one family."""

    def __init__(self, reactor: Any, family: int, number: int) -> None:
        self._reactor, self.family, self.number = reactor, family, number
        self.doors: dict[str, Door] = {}
        self._sockets: dict[str, Socket] = {}
        self._sorter = _Sorter(self)

    def door_of(self, host: str) -> Door | None:
        """Whose clients those are who arrive at an address."""
        return self.doors.get(plain(host)) or self.doors.get("")

    def settle(self) -> list[Deferred[Any]]:
        """Have the sockets that the doors need, and no more; what is closed fires the Deferreds.

        Raises ConfigError; then all sockets are as they were.
        """
        wanted = self._wanted()
        new = [host for host in wanted if host not in self._sockets]
        old = {host: one for host, one in self._sockets.items() if host not in wanted}
        if new:
            for one in old.values():
                one.step_aside()
        opened: dict[str, Socket] = {}
        try:
            for host in new:
                at = self.doors[host].address if host else ALL[self.family]
                port = listen(self._reactor, at, self.number, self._sorter)
                if port is not None:
                    opened[host] = Socket(port)
        except ConfigError:
            for one in opened.values():
                one.close()
            self._direct()
            raise
        closed = [one.close() for one in old.values()]
        self._sockets = {host: one for host, one in self._sockets.items() if host in wanted} | opened
        self._direct()
        return closed

    def _open(self) -> list[Door]:
        return [door for door in self.doors.values() if door.mode != CLOSED]

    def _wanted(self) -> set[str]:
        """The addresses of the sockets.  The one of all addresses stays while any server of this port runs.

        What could not be had again, since privileges were dropped, stays while there is a server that may want it.
        """
        needed = {door.host for door in self._open()}
        if needed and "" in self.doors:
            needed = {""}
        if "" in needed or may_bind(self.number):
            return needed
        if "" in self._sockets and self.doors:
            return {""}
        return needed | {host for host in self._sockets if host in self.doors}

    def _direct(self) -> None:
        """Tell every socket for whom it accepts."""
        modes = {door.mode for door in self._open()}
        shared = OPEN if OPEN in modes else HELD if HELD in modes else SHUT
        for host, one in self._sockets.items():
            door = self.doors.get(host)
            if door is not None and door.mode != CLOSED and (host or len(self.doors) == 1):
                one.turn(door.factory, door.mode)
            else:
                one.turn(self._sorter, SHUT if host else shared)


class Door:
    """One address ("": all that are left) of a place, for one server; `address` is that with its interface."""

    def __init__(self, place: Place, host: str, address: str, server: str, factory: Any) -> None:
        self.host, self.address, self.server, self.factory = host, address, server, factory
        self._place = place
        self.mode = CLOSED

    def take(self) -> None:
        """Have the address, but let nobody in yet.  Raises ConfigError."""
        if self.mode == CLOSED:
            self.mode = HELD
            try:
                if self.host:
                    # A socket of all addresses would not tell.
                    must_exist(self.address, self._place.number)
                self._place.settle()
            except ConfigError:
                self.mode = CLOSED
                raise

    def turn(self, mode: str) -> None:
        """OPEN, HELD or SHUT.  Raises ConfigError."""
        self.mode = mode
        self._place.settle()

    def close(self, last: bool = False) -> list[Deferred[Any]]:
        """Have nothing any more."""
        if self.mode == CLOSED:
            return []
        self.mode = CLOSED
        return self._place.settle()

    def give_up(self) -> list[Deferred[Any]]:
        """The address is nobody's any more; it is closed."""
        closed = self.close(True)
        if self._place.doors.get(self.host) is self:
            del self._place.doors[self.host]
        try:
            return closed + self._place.settle()
        except ConfigError as error:
            # The others go on with the socket of all addresses.
            log.warn("port shared as before: {reason}", reason=error.text)
            return closed

    def addresses(self, tls: bool) -> Iterator[str]:
        """What it listens on, for people."""
        yield str(Binding(self.host or ALL[self._place.family], self._place.number, tls))


class Ground:
    """All ports of a site."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._places: dict[tuple[int, int], Place] = {}

    def door(self, family: int, host: str, number: int, server: str, factory: Any) -> Door:
        """The door of a binding in a family, from now on a server's.

        Raises ConfigError with the name of the server that has the address already (S-032).
        """
        place = self._places.setdefault((family, number), Place(self.reactor, family, number))
        address = "" if host in ("*", ALL[family]) else plain(host)
        other = place.doors.get(address)
        if other is not None:
            where = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
            raise ConfigError(f"{where} is a binding of {other.server} already; choose another address or port")
        place.doors[address] = made = Door(place, address, host, server, factory)
        return made


def families(host: str) -> tuple[int, ...]:
    """Those in which a binding's host has a door."""
    if host == "*":
        return tuple(ALL)
    return (socket.AF_INET6 if ":" in host else socket.AF_INET,)


def plain(host: str) -> str:
    """An address as doors are found by: without an interface, and of IPv4 where it is mapped into IPv6."""
    host = host.partition("%")[0]
    mapped = host.lower().removeprefix("::ffff:")
    return mapped if "." in mapped else host


# ---------------------------------------------------------------- whose client it is


@implementer(ILoggingContext)
class _Sorter(ServerFactory):
    """Accepts for all servers of a place."""

    noisy = False

    def __init__(self, place: Place) -> None:
        self._place = place

    def logPrefix(self) -> str:
        """Twisted: how its own lines about this port begin."""
        return ", ".join(dict.fromkeys(door.server for door in self._place.doors.values()))

    def buildProtocol(self, address: Any) -> Protocol:
        """Twisted: somebody connected; where is only known with the transport."""
        return _Arriving(self._place, address)


@define(eq=False)
class _Arriving(Protocol):
    """Has the transport for as long as it takes to find out whose it is."""

    noisy = False
    _place: Place
    _address: Any

    def makeConnection(self, transport: Any) -> None:
        """Twisted: hand it over, or close it when its server does not run."""
        door = self._place.door_of(transport.getHost().host)
        protocol = None if door is None else door.factory.buildProtocol(self._address)
        if protocol is None:
            transport.loseConnection()
        else:
            transport.protocol = protocol
            protocol.makeConnection(transport)
