"""The names of clients (floor 4): by reverse DNS, confirmed forward, and compared with HELO (S-041, S-090..S-093).

Whoever holds an address block can make its reverse zone say anything; a name counts only when its own addresses hold
the client's.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from unicodedata import normalize

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from ..errors import MailError, TryLater
from ..interfaces import IResolver
from ..message.domains import a_labels
from .networks import number_of

log = Logger()

#: What HELO may say to be asked about.
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*")
#: So many names of one address are looked at; hosts of many customers have hundreds.
MAX_POINTERS = 10
#: Seconds after which a client that was asked about has no name.
DEADLINE = 10.0


class ReverseNames:
    """Names of addresses.  Keeps nothing itself: the resolver does."""

    def __init__(self, resolver: IResolver) -> None:
        self._resolver = resolver

    async def pointers(self, host: str) -> tuple[str, ...]:
        """The names that the reverse zone gives, not confirmed; () for what is no address.  Raises TryLater."""
        found = number_of(host)
        if found is None:
            return ()
        address = IPv4Address(found[1]) if found[0] == 4 else IPv6Address(found[1])
        return tuple(await self._resolver.lookup(address.reverse_pointer, "PTR"))[:MAX_POINTERS]

    async def confirmed(self, name: str, host: str) -> bool:
        """Whether the name's own addresses hold this one.  Raises TryLater."""
        found = number_of(host)
        if found is None:
            return False
        addresses = await self._resolver.lookup(name, "A" if found[0] == 4 else "AAAA")
        return any(number_of(address) == found for address in addresses)

    async def name(self, host: str) -> str:
        """The first name that is confirmed, "" when there is none.  Raises TryLater."""
        failure: TryLater | None = None
        for name in await self.pointers(host):
            try:
                if await self.confirmed(name, host):
                    return name
            except TryLater as error:
                failure = error
        if failure is not None:
            raise failure
        return ""


class Once:
    """The result of one coroutine for any number that ask, before its end or after; never an error.

    `otherwise` is the result when it raises a MailError, or takes longer than `seconds` by `clock.callLater`.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], otherwise: Any, seconds: float, clock: Any) -> None:
        self._waiting: list[Deferred[Any]] = []
        self.done, self.value, self._otherwise = False, otherwise, otherwise
        self._work = Deferred.fromCoroutine(work)
        if not self._work.called:
            self._work.addTimeout(seconds, clock)
        self._work.addErrback(self._failed).addCallback(self._end)

    async def result(self) -> Any:
        """What came out."""
        if not self.done:
            waiting: Deferred[Any] = Deferred()
            self._waiting.append(waiting)
            await waiting
        return self.value

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        if not self.done:
            self._work.cancel()

    def _failed(self, failure: Any) -> Any:
        if not failure.check(MailError, CancelledError, TimeoutError):
            # A bug; whoever waits must not wait for ever.
            log.failure("a look-up failed", failure)
        return self._otherwise

    def _end(self, value: Any) -> None:
        self.done, self.value = True, value
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)


@frozen
class Client:
    """What the name system says of a client: its `name` ("": none), and whether that, or HELO's own addresses, show
    that HELO told the truth."""

    name: str = ""
    verified: bool = False


async def look_up(names: ReverseNames, host: str, helo: str) -> Client:
    """Name and verdict of a client that says it is `helo` (S-091).  Raises TryLater only when nothing was learnt."""
    said = helo.rstrip(".").lower()
    if said.startswith("["):
        # RFC 5321 section 4.1.3: who has no name says its address.
        literal = said[1:-1].removeprefix("ipv6:")
        return Client(await names.name(host), number_of(literal) == number_of(host) is not None)
    try:
        name = await names.name(host)
    except TryLater:
        name = ""
    if name and name == a_labels(normalize("NFC", said)):
        return Client(name, True)
    try:
        return Client(name, _HOST.fullmatch(said) is not None and await names.confirmed(said, host))
    except TryLater:
        return Client(name, False)


class ClientCheck:
    """Looks up the client of one connection, beside the conversation: begun at HELO, waited for when the message is
    accepted.  Another HELO name is another question; the name system remembers the rest."""

    def __init__(self, names: ReverseNames, clock: Any) -> None:
        self._names, self._clock = names, clock
        self._asked = ("", "")
        self._once: Once | None = None

    def begin(self, host: str, helo: str) -> None:
        """Ask about that address and name, unless this was asked already.  A UNIX socket has no names."""
        if not host or (self._once is not None and self._asked == (host, helo)):
            return
        self.close()
        self._asked = (host, helo)
        self._once = Once(look_up(self._names, host, helo), Client(), DEADLINE, self._clock)

    @property
    def known(self) -> Client | None:
        """What is known so far; None: not yet, or nobody asked."""
        return self._once.value if self._once is not None and self._once.done else None

    async def result(self) -> Client | None:
        """What was found, within `DEADLINE` seconds of the question; None: nobody asked."""
        client: Client | None = None if self._once is None else await self._once.result()
        return client

    def close(self) -> None:
        """Nobody wants to know any more."""
        if self._once is not None:
            self._once.cancel()
