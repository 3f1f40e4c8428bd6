"""Name servers of twisted.names with zones of our own: in memory on a test's clock, or on real sockets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory

from mailsrv.errors import TryLater
from mailsrv.net.dns_exchange import Accept, Server

#: Seconds that records hold, and that there are none.
TTL, NEGATIVE = 300, 60
#: Octets of a datagram (RFC 1035 section 4.2.1).
DATAGRAM = 512
_RCODES = {"servfail": dns.ESERVER, "refused": dns.EREFUSED}


def _record(kind: str, value: Any) -> Any:
    if kind == "MX":
        return dns.Record_MX(value[0], value[1].encode(), ttl=TTL)
    if kind == "TXT":
        return dns.Record_TXT(value, ttl=TTL)
    made = {"A": dns.Record_A, "AAAA": dns.Record_AAAA, "CNAME": dns.Record_CNAME, "PTR": dns.Record_PTR}[kind]
    return made(value if kind in ("A", "AAAA") else value.encode(), ttl=TTL)


class Zone(FileAuthority):
    """One zone and its records by name."""

    def __init__(self, name: str, records: Mapping[bytes, list[Any]]) -> None:
        self.soa = (name.encode(), dns.Record_SOA(b"ns.test", b"root.test", 1, 2, 3, 4, NEGATIVE, ttl=NEGATIVE))
        super().__init__(name)
        self.records = records


class NameServer(DNSServerFactory):
    """Answers from a table "NAME KIND" -> values; a zone is what is below a top level.

    `mood` is "well", "silent", "servfail" or "refused", for all names; `moods` for single names.  `asked` are (name,
    kind, by TCP) in order.
    """

    noisy = False

    def __init__(self, table: Mapping[str, Any], mood: str = "well") -> None:
        zones: dict[str, dict[bytes, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for key, values in table.items():
            name, kind = key.split()
            zones[name.rpartition(".")[2]][name.encode()] += [_record(kind, value) for value in values]
        super().__init__(authorities=[Zone(top, records) for top, records in zones.items()])
        self.mood, self.moods = mood, dict[str, str]()
        self.asked: list[tuple[str, str, bool]] = []

    def messageReceived(self, message: dns.Message, proto: Any, address: Any = None) -> None:
        query = message.queries[0]
        name = query.name.name.decode().lower()
        self.asked.append((name, dns.QUERY_TYPES[query.type], address is None))
        mood = self.moods.get(name, self.mood)
        if mood in _RCODES:
            self.sendReply(proto, self._responseFromMessage(message, rCode=_RCODES[mood]), address)
        elif mood == "well":
            super().messageReceived(message, proto, address)

    def gotResolverError(self, failure: Any, protocol: Any, message: dns.Message, address: Any) -> None:
        """No such name; how long that holds is in the SOA."""
        reply = self._responseFromMessage(message, rCode=dns.ENAME)
        top = message.queries[0].name.name.rpartition(b".")[2]
        for zone in self.resolver.resolvers:
            if zone.soa[0] == top:
                reply.authority = [dns.RRHeader(top, dns.SOA, dns.IN, NEGATIVE, zone.soa[1])]
        self.sendReply(protocol, reply, address)

    def sendReply(self, protocol: Any, message: dns.Message, address: Any) -> None:
        message.maxSize = 0 if address is None else DATAGRAM
        message.timeReceived = 0.0
        super().sendReply(protocol, message, address)

    def listen(self, reactor: Any, host: str, port: int = 0) -> int:
        """By UDP and TCP on real sockets; the port."""
        self.protocol = partial(dns.DNSProtocol, reactor=reactor)
        found: int = reactor.listenTCP(port, self, interface=host).getHost().port
        reactor.listenUDP(found, dns.DNSDatagramProtocol(self, reactor), interface=host)
        return found


class _Answers:
    """What a name server answers over, in memory."""

    def __init__(self) -> None:
        self.octets: list[bytes] = []

    def writeMessage(self, message: dns.Message, address: Any = None) -> None:
        self.octets.append(message.toStr())


class NameNetwork:
    """An Exchange that reaches the name servers of `servers` by address; nobody answers at any other."""

    def __init__(self, clock: Any, servers: Mapping[str, NameServer]) -> None:
        self.clock, self.servers = clock, dict(servers)

    async def ask(self, server: Server, octets: bytes, accept: Accept, seconds: float, tcp: bool) -> Any:
        answers, answered = _Answers(), Deferred[Any]()
        found = self.servers.get(server[0])
        if found is not None:
            message = dns.Message()
            message.fromStr(octets)
            found.messageReceived(message, answers, None if tcp else ("192.0.2.99", 4000))
        calls = [self.clock.callLater(seconds, self._late, answered)]
        calls += [self.clock.callLater(0, self._give, answered, accept, one) for one in answers.octets]
        try:
            return await answered
        finally:
            for call in calls:
                if call.active():
                    call.cancel()

    def _give(self, answered: Deferred[Any], accept: Accept, octets: bytes) -> None:
        found = accept(octets)
        if found is not None and not answered.called:
            answered.callback(found)

    def _late(self, answered: Deferred[Any]) -> None:
        if not answered.called:
            answered.errback(TryLater("The name system does not answer: no answer in time", "4.4.3"))
