"""Doubles of the name system: a resolver that knows what it was told, and DNS servers with a script.

    names = NameTable({"1.2.0.192.in-addr.arpa PTR": ["host.example"], "host.example A": ["192.0.2.1"]})

answers at once and keeps the questions in `asked`.  `ScriptedServers` is an Exchange for the real resolver: octets go
through real DNS messages, and time passes only when the clock is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns
from zope.interface import implementer

from ..errors import TryLater
from ..interfaces import IResolver
from ..net.dns_exchange import Accept, Server


@implementer(IResolver)
class NameTable:
    """Answers from a table "NAME KIND" -> records; what is not there is ().  Instead of records TryLater: the look-up
    fails.  Questions in `held` wait for `release`.  `asked` are all questions, in order."""

    def __init__(self, table: Mapping[str, Any] | None = None, held: Iterable[str] = ()) -> None:
        self.table: dict[str, Any] = dict(table or {})
        self.held: dict[str, list[Deferred[None]]] = {question: [] for question in held}
        self.asked: list[str] = []

    async def lookup(self, name: str, kind: str) -> Sequence[Any]:
        """See IResolver."""
        question = f"{name} {kind}"
        self.asked.append(question)
        if question in self.held:
            waiting: Deferred[None] = Deferred()
            self.held[question].append(waiting)
            await waiting
        records = self.table.get(question, ())
        if records is TryLater:
            raise TryLater()
        return tuple(records)

    def release(self, question: str) -> None:
        """Whoever waits for that has the answer now."""
        for waiting in self.held.pop(question):
            if not waiting.called:
                waiting.callback(None)

    def host(self, address: str, *names: str) -> None:
        """An address with these names, each confirmed."""
        one = ip_address(address)
        self.table[f"{one.reverse_pointer} PTR"] = names
        for name in names:
            self.table[f"{name} {'A' if one.version == 4 else 'AAAA'}"] = (address,)


#: From the question to the octets of an answer; several; or None: nothing comes.
Script = Callable[[dns.Message, Server, bool], "bytes | Sequence[bytes] | None"]


class ScriptedServers:
    """An Exchange whose servers answer by a script, `delay` seconds later by `clock`.  `asked` are (server, name, kind,
    tcp) in order; `open` counts the questions under way."""

    def __init__(self, clock: Any, script: Script, delay: float = 0.0) -> None:
        self.clock, self.script, self.delay = clock, script, delay
        self.asked: list[tuple[str, str, str, bool]] = []
        self.open = self.most_open = 0

    async def ask(self, server: Server, octets: bytes, accept: Accept, seconds: float, tcp: bool) -> Any:
        """See Exchange."""
        message = dns.Message()
        message.fromStr(octets)
        query = message.queries[0]
        self.asked.append((server[0], query.name.name.decode(), dns.QUERY_TYPES[query.type], tcp))
        answers = self.script(message, server, tcp)
        answered: Deferred[Any] = Deferred()
        calls = [self.clock.callLater(seconds, self._late, answered)]
        for one in [answers] if isinstance(answers, bytes) else answers or ():
            calls.append(self.clock.callLater(self.delay, self._give, answered, accept, one))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await answered
        finally:
            self.open -= 1
            for call in calls:
                if call.active():
                    call.cancel()

    def _give(self, answered: Deferred[Any], accept: Accept, octets: bytes) -> None:
        answer = accept(octets)
        if answer is not None and not answered.called:
            answered.callback(answer)

    def _late(self, answered: Deferred[Any]) -> None:
        if not answered.called:
            answered.errback(TryLater("no answer in time", "4.4.3"))


def answer(
    question: dns.Message,
    *records: tuple[str, Any, int],
    code: int = 0,
    soa: tuple[str, int] | None = None,
    truncated: bool = False,
    number: int | None = None,
    asked: str | None = None,
) -> bytes:
    """The octets of an answer.  `records` are (name, Record of twisted.names, TTL); `soa` is (zone, negative TTL);
    `number` and `asked` replace id and name of the question: a forgery."""
    made = dns.Message(question.id if number is None else number, 1, recAv=1, rCode=code, trunc=truncated)
    made.maxSize = 0xFFFF
    query = question.queries[0]
    made.queries = [dns.Query(asked.encode(), query.type, query.cls)] if asked is not None else list(question.queries)
    made.answers = [dns.RRHeader(n.encode(), r.TYPE, dns.IN, ttl, payload=r) for n, r, ttl in records]
    if soa is not None:
        record = dns.Record_SOA(b"ns.example", b"root.example", 1, 2, 3, 4, soa[1])
        made.authority = [dns.RRHeader(soa[0].encode(), dns.SOA, dns.IN, soa[1], payload=record)]
    octets: bytes = made.toStr()
    return octets
