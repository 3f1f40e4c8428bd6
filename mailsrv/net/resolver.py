"""The resolver (floor 3): questions to the DNS servers of the machine, with a bounded cache (IResolver).

Equal questions share one answer.  Whatever happens, an answer is there by the deadline: records, none, or TryLater.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import TryLater
from ..interfaces import IResolver
from .dns_exchange import Exchange, Server
from .dns_message import MAX_ALIASES, NO_ERROR, NO_NAME, Answer, question, read_answer, wire_name

log = Logger()

#: (name, kind)
Key = tuple[bytes, str]


@frozen
class ResolverLimits:
    """Seconds and numbers.  `attempts` are the seconds each server is waited for, in the first round, the second ...;
    `deadline` ends a look-up, aliases and waiting for a turn included.  `parallel` look-ups are under way, `waiting`
    more wait; what comes then fails.  A server that said nothing is asked after the others for `silent`.  `entries` of
    `octets` in all are remembered: records for at most `longest`, that there are none for at most `negative`, that no
    server answers for `failure` (RFC 2308 section 7)."""

    attempts: tuple[float, ...] = (2.0, 4.0)
    deadline: float = 10.0
    parallel: int = 100
    waiting: int = 2000
    entries: int = 10_000
    octets: int = 16 * 2**20
    longest: float = 3600.0
    shortest: float = 1.0
    negative: float = 300.0
    failure: float = 30.0
    silent: float = 60.0


@define(eq=False)
class _Asked:
    """A look-up under way, and who waits for it.  `began`: a server was asked, so that a failure means something."""

    waiting: list[Deferred[None]] = field(factory=list)
    began: bool = False
    result: tuple[Any, ...] | TryLater | None = None


@implementer(IResolver)
class Resolver:
    """`servers()` gives the servers in the order they are asked, `clock` has `callLater`, `monotonic()` gives seconds.

    `counters` tell what was done: asked, answered from memory, failed, turned away.
    """

    def __init__(
        self,
        exchange: Exchange,
        servers: Callable[[], Sequence[Server]],
        clock: Any,
        monotonic: Callable[[], float],
        limits: ResolverLimits = ResolverLimits(),
        random: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._exchange, self._servers, self._clock, self._monotonic = exchange, servers, clock, monotonic
        self._limits, self._random = limits, random
        #: What is remembered until when, the oldest first; and about how many octets that is.
        self._kept: dict[Key, tuple[float, tuple[Any, ...] | TryLater]] = {}
        self._octets = 0
        self._asked: dict[Key, _Asked] = {}
        self._turns: deque[Deferred[None]] = deque()
        self._busy = 0
        #: Servers that said nothing, and until when they are asked last.
        self._silent: dict[Server, float] = {}
        self.counters = dict.fromkeys(("asked", "remembered", "failed", "turned away"), 0)

    async def lookup(self, name: str, kind: str) -> Sequence[Any]:
        """See IResolver."""
        octets = wire_name(name)
        if octets is None:
            return ()
        key = (octets, kind)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._monotonic():
            self.counters["remembered"] += 1
            return _given(kept[1])
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Asked()
            work = Deferred.fromCoroutine(self._work(octets, kind, asked))
            if not work.called:
                work.addTimeout(self._limits.deadline, self._clock, _too_late)
            work.addBoth(self._end, key, asked)
        if asked.result is None:
            waiting: Deferred[None] = Deferred()
            asked.waiting.append(waiting)
            await waiting
        assert asked.result is not None
        return _given(asked.result)

    def _end(self, result: Any, key: Key, asked: _Asked) -> None:
        """Remember what came out, and tell whoever waits."""
        del self._asked[key]
        if isinstance(result, Failure):
            self.counters["failed"] += 1
            if not result.check(TryLater):
                log.failure("looking up {name} {kind} failed", result, name=key[0].decode("ascii"), kind=key[1])
            asked.result = result.value if isinstance(result.value, TryLater) else TryLater()
            if asked.began:
                self._keep(key, self._limits.failure, asked.result)
        else:
            asked.result, seconds = result
            self._keep(key, seconds, result[0])
        for waiting in asked.waiting:
            if not waiting.called:
                waiting.callback(None)

    def _keep(self, key: Key, seconds: float, value: tuple[Any, ...] | TryLater) -> None:
        if key in self._kept:
            self._forget(key)
        self._octets += _weight(key, value)
        self._kept[key] = (self._monotonic() + seconds, value)
        # Whoever has a zone of its own can fill answers with anything.
        while len(self._kept) > self._limits.entries or self._octets > self._limits.octets:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        self._octets -= _weight(key, self._kept.pop(key)[1])

    # ------------------------------------------------------------ the work

    async def _work(self, name: bytes, kind: str, asked: _Asked) -> tuple[tuple[Any, ...], float]:
        """(records, seconds they hold).  Raises TryLater."""
        await self._turn()
        asked.began = True
        try:
            return await self._resolve(name, kind)
        finally:
            self._busy -= 1
            if self._turns:
                self._turns.popleft().callback(None)

    async def _turn(self) -> None:
        """Wait until there is room.  Raises TryLater where too many wait."""
        if self._busy >= self._limits.parallel:
            if len(self._turns) >= self._limits.waiting:
                self.counters["turned away"] += 1
                raise TryLater("Too many names are looked up at once", "4.4.3")
            turn: Deferred[None] = Deferred()
            self._turns.append(turn)
            try:
                await turn
            except CancelledError:
                self._turns.remove(turn)
                raise
        self._busy += 1

    async def _resolve(self, name: bytes, kind: str) -> tuple[tuple[Any, ...], float]:
        """Follow aliases from answer to answer."""
        limits, ttl = self._limits, float(self._limits.longest)
        for _ in range(MAX_ALIASES):
            answer = await self._ask_all(name, kind)
            if answer.found:
                return answer.found, max(min(ttl, answer.ttl), limits.shortest)
            if not answer.open:
                return (), max(min(ttl, answer.ttl, limits.negative), limits.shortest)
            ttl, name = min(ttl, answer.ttl or ttl), answer.name.encode("ascii")
        return (), limits.negative

    async def _ask_all(self, name: bytes, kind: str) -> Answer:
        """Each server in turn, then with more patience those that said nothing.  Raises TryLater."""
        failure = TryLater("The name system does not answer", "4.4.3")
        now = self._monotonic()
        servers = sorted(self._servers(), key=lambda server: self._silent.get(server, now) > now)
        for seconds in self._limits.attempts:
            silent = []
            for server in servers:
                try:
                    answer = await self._ask(server, name, kind, seconds)
                except TryLater as error:
                    failure = error
                    silent.append(server)
                    self._silent = {one: until for one, until in self._silent.items() if one in servers}
                    self._silent[server] = self._monotonic() + self._limits.silent
                    continue
                self._silent.pop(server, None)
                if answer.code in (NO_ERROR, NO_NAME):
                    return answer
                failure = TryLater("The name system cannot tell now", "4.4.3")
            servers = silent
        raise failure

    async def _ask(self, server: Server, name: bytes, kind: str, seconds: float) -> Answer:
        """One server, by TCP when its answer was cut short (RFC 7766)."""
        for tcp in (False, True):
            number = self._random(0x10000)

            def accept(octets: bytes, number: int = number) -> Answer | None:
                return read_answer(octets, number, name, kind)

            self.counters["asked"] += 1
            answer: Answer = await self._exchange.ask(server, question(number, name, kind), accept, seconds, tcp)
            if not answer.truncated:
                return answer
        raise TryLater("The name system's answer is cut short", "4.4.3")


def _weight(key: Key, value: tuple[Any, ...] | TryLater) -> int:
    """About how many octets that takes."""
    records = value if isinstance(value, tuple) else ()
    return 300 + len(key[0]) + sum(80 + len(one if isinstance(one, str | bytes) else one[1]) for one in records)


def _given(value: tuple[Any, ...] | TryLater) -> tuple[Any, ...]:
    """What is given to whoever asked.  Raises a TryLater of its own for each."""
    if isinstance(value, TryLater):
        raise TryLater(value.text, value.status)
    return value


def _too_late(result: Any, seconds: float) -> Any:
    raise TryLater("The name system does not answer in time", "4.4.3")
