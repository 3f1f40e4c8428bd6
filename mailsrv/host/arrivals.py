"""Who is connected to a virtual server, and who may be (floor 6; S-034, S-040, S-057..S-059, X-10).

What lies between accept and greeting, in this order: the limit of all connections, a proxy's header (from listed
proxies only), the limit of one address, the access list, policies of the connection.  Without a proxy, a list or
policies, or when they answer at once, nothing waits and no object is made for it.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Coroutine, Iterable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from ..access.networks import Matcher, number_of, parse_network
from ..errors import MailError
from ..happenings import Publish
from ..limits import Limits
from ..net.addresses import subject_of
from ..net.connection import Connection
from ..net.front import Front, Outcome
from ..serve.session import Services, Session
from ..serve.smtp_xclient import may_speak
from ..values import Peer, Verdict
from ..wire.proxy import BadHeader
from .refusals import last_words, verdict_of, words_of

if TYPE_CHECKING:
    from .vserver import VirtualServer

log = Logger()

#: Seconds for a proxy's header, which it sends at once; and for all that is asked about a client.
HEADER, ASKING = 10.0, 30.0
#: Connections that are looked at in one turn: about a millisecond.
AT_ONCE = 1000
#: Open files that are left for everything but clients (decisions 28), but no more than half of them.
FILES_KEPT = 200

#: More than these are no help.  select() cannot look at a file of a number above the second.
MOST_FILES, SELECTABLE = 2**20, 1024

#: What `ConnectionSession.arriving` gives.
Question = Coroutine[Any, Any, Verdict] | None

_FULL = "Too many connections, try again later"


def raise_open_files(reactor: Any) -> None:
    """Let the process open as many files as the system lets it: what a login shell may is meant for people."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = SELECTABLE if type(reactor).__name__ == "SelectReactor" else MOST_FILES
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        log.warn("the limit of open files stays {soft}: {reason}", soft=soft, reason=str(error))
    else:
        log.info("the limit of open files was {soft} and is {wanted}", soft=soft, wanted=wanted)


#: The id of a connection's session.
_number = attrgetter("session.number")


def _tell_left(publish: Publish, server: str, one: Connection) -> None:
    """Those who follow what happens: a connection is gone."""
    session: Session = one.session  # type: ignore[assignment]
    publish(
        "session.ended", server=server, session=session.number, peer=one.peer.host,
        user=session.identity.authcid if session.identity is not None else "",
        octets_in=one.octets_in, octets_out=one.octets_out,
    )  # fmt: skip


class Ceiling:
    """How many connections all servers of a process may have; one object for all of them.  `most` None: any number."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.taken = 0
        self._told = False

    @classmethod
    def of_process(cls) -> Ceiling:
        """By the limit of open files."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(None if soft == resource.RLIM_INFINITY else max(soft - min(FILES_KEPT, soft // 2), 1))

    def reached(self) -> bool:
        """Whether there is no room; the log hears of it once, and again when it had fallen by a tenth."""
        most = self.most
        if most is None:
            return False
        if self.taken < most:
            if self._told and self.taken < most * 0.9:
                self._told = False
            return False
        if not self._told:
            self._told = True
            log.error(
                "{most} connections are open, clients are turned away: raise the limit of open files (LimitNOFILE=)",
                most=most,
            )
        return True


class TurnedAway(Protocol):
    """Says why and closes; reads nothing."""

    def __init__(self, words: bytes) -> None:
        self._words = words

    def connectionMade(self) -> None:
        """Twisted: the transport is there."""
        if self._words:
            self.transport.write(self._words)
        self.transport.loseConnection()


class Arrivals:
    """The connections of one server.  `proxies` are networks whose clients must begin with a PROXY header."""

    services: Services

    def __init__(self, server: VirtualServer, limits: Limits, ceiling: Ceiling, proxies: Iterable[str] = ()) -> None:
        self._server = server
        self._ceiling = ceiling
        #: In the order they came.
        self.present: dict[Connection | Front, None] = {}
        #: Of those that have left, from and to them.
        self.octets_in = self.octets_out = 0
        self._most_of_one: int | None = None
        self._addresses: Counter[Any] = Counter()
        self.adopt(limits, proxies)

    def adopt(self, limits: Limits, proxies: Iterable[str]) -> None:
        """These hold for whoever comes from now on."""
        counting, self._most, self._most_of_one = self._most_of_one, limits.connections, limits.connections_per_address
        networks = [(parse_network(text)[0], 0) for text in proxies]
        self._proxies = Matcher(networks) if networks else None
        # Without a limit they are not counted.
        if self._most_of_one is None:
            self._addresses.clear()
        elif counting is None:
            self._addresses = Counter(subject_of(one.peer.host) for one in self.present)

    def accept(self, peer: Peer, tls: bool) -> Protocol | None:
        """A protocol for somebody who connected; None: close."""
        services = self.services
        services.count("connections")
        proxied = self._proxies is not None and self._is_proxy(peer)
        # Behind one that speaks for others there may be many: each is counted when it is known.
        one = not proxied and not may_speak(getattr(services, "xclient", None), peer)
        if self._full() or (one and self._crowded(peer)):
            services.count("turned away")
            return None if tls else TurnedAway(last_words(services.protocol, _FULL))
        connection = asked = None
        if not proxied and services.access is None:
            connection = Connection(self._server, peer, tls)
            asked = connection.session.arriving()
            if asked is None:
                self._enter(connection)
                return connection
        front = Front(peer, self._server.monotonic, self._server.left, partial(self._broken, tls))
        outcome = front.start(self._arrive(front, tls, proxied, connection, asked))
        if outcome is None:
            self._enter(front)
            return front
        if isinstance(outcome, Connection):
            return outcome
        return None if tls else TurnedAway(outcome)

    def left(self, one: Connection | Front) -> None:
        """The connection is gone."""
        self.present.pop(one, None)
        if isinstance(one, Connection):
            _tell_left(self.services.publish, self._server.name, one)
        if isinstance(one, Connection):
            self.octets_in += one.octets_in
            self.octets_out += one.octets_out
        self._ceiling.taken -= 1
        if self._most_of_one is not None:
            self._subtract(one.peer)

    def connections(self) -> list[Connection]:
        """Those that are greeted, or are about to be, in the order they came (S-064)."""
        return [one for one in self.present if isinstance(one, Connection)]

    def look(self) -> None:
        """See whose time is over, a share of all at a time: thousands keep nobody waiting."""
        self._look_at(tuple(self.present))

    def _look_at(self, some: tuple[Connection | Front, ...]) -> None:
        now = self._server.monotonic()
        for one in some[:AT_ONCE]:
            one.check(now)
        if len(some) > AT_ONCE:
            self._server.call_soon(self._look_at, some[AT_ONCE:])

    async def replace(self, connection: Connection, peer: Peer) -> bytes:
        """See Host."""
        protocol = self.services.protocol
        if subject_of(peer.host) != subject_of(connection.peer.host) and self._crowded(peer):
            self.services.count("turned away")
            return last_words(protocol, _FULL)
        self._move(connection, peer)
        refused = await self._admit(peer)
        if refused is None:
            refused = await self._judge(connection, connection.session.arriving())
        return b"" if refused is None else words_of(protocol, refused)

    # ------------------------------------------------------------ counting

    def _full(self) -> bool:
        return (self._most is not None and len(self.present) >= self._most) or self._ceiling.reached()

    def _crowded(self, peer: Peer) -> bool:
        """Clients of one UNIX socket are all of this machine, and not counted against each other."""
        most = self._most_of_one
        return most is not None and bool(peer.host) and self._addresses[subject_of(peer.host)] >= most

    def _enter(self, one: Connection | Front) -> None:
        self.present[one] = None
        self._ceiling.taken += 1
        if isinstance(one, Connection):
            self.services.publish(
                "session.begun", server=self._server.name, session=_number(one), peer=one.peer.host
            )
        if self._most_of_one is not None:
            self._addresses[subject_of(one.peer.host)] += 1

    def _subtract(self, peer: Peer) -> None:
        subject = subject_of(peer.host)
        self._addresses[subject] -= 1
        if not self._addresses[subject]:
            del self._addresses[subject]

    def _move(self, one: Connection | Front, peer: Peer) -> None:
        if self._most_of_one is not None:
            self._subtract(one.peer)
            self._addresses[subject_of(peer.host)] += 1
        one.peer = peer

    # ------------------------------------------------------------ asking

    def _is_proxy(self, peer: Peer) -> bool:
        found = number_of(peer.host)
        return found is not None and self._proxies is not None and self._proxies.find(*found) >= 0

    def _broken(self, tls: bool, incident: str) -> bytes:
        words = last_words(self.services.protocol, f"Internal error, incident {incident}", "4.3.0")
        return b"" if tls else words

    async def _arrive(
        self, front: Front, tls: bool, proxied: bool, connection: Connection | None, asked: Question
    ) -> Outcome:
        """What there is to wait for, or might be.  With TLS from the start nothing is said: a handshake for somebody
        who is not wanted would be wasted.

        `connection` is given when nothing but the policies of `asked` is left.
        """
        protocol = self.services.protocol
        if proxied:
            front.wait(HEADER, b"")
            words = await self._unmask(front)
            if words is not None:
                return b"" if tls else words
        front.wait(ASKING, b"" if tls else last_words(protocol, "Try again later"))
        if connection is None:
            refused = await self._admit(front.peer)
            if refused is not None:
                return b"" if tls else words_of(protocol, refused)
            connection = Connection(self._server, front.peer, tls)
            asked = connection.session.arriving()
        admitted = False
        try:
            refused = await self._judge(connection, asked)
            admitted = refused is None
        finally:
            if not admitted:
                connection.session.closed()
        if refused is not None:
            return b"" if tls else words_of(protocol, refused)
        self._enter(connection)
        return connection

    async def _unmask(self, front: Front) -> bytes | None:
        """Put the client in the place of its proxy; last words when it may not go on."""
        try:
            header = await front.header()
        except BadHeader:
            self.services.count("bad proxy headers")
            log.warn("{proxy} sent no PROXY header to {server}", proxy=front.peer.host, server=self._server.name)
            return b""
        if header.known:
            peer = Peer(header.host, header.port, header.local_host, header.local_port)
            # A proxy that checks its server's health may say that it is the client: it is counted already.
            if subject_of(peer.host) != subject_of(front.peer.host) and self._crowded(peer):
                self.services.count("turned away")
                return last_words(self.services.protocol, _FULL)
            self._move(front, peer)
        else:
            # A health check is answered; for anything else the proxy's address is no reason to trust it.
            front.peer = evolve(front.peer, unknown=True)
        return None

    async def _admit(self, peer: Peer) -> Verdict | None:
        """What the access list says, if it refuses."""
        access = self.services.access
        if access is None:
            return None
        try:
            verdict = await access.admit(peer)
        except MailError as error:
            verdict = verdict_of(error)
        return self._noted(verdict, peer, "denied by access")

    async def _judge(self, connection: Connection, asked: Question) -> Verdict | None:
        """What the session's policies say, if they refuse."""
        if asked is None:
            return None
        try:
            verdict = await asked
        except MailError as error:
            verdict = verdict_of(error)
        return self._noted(verdict, connection.peer, "denied by policy")

    def _noted(self, verdict: Verdict, peer: Peer, what: str) -> Verdict | None:
        """None for a verdict that accepts; others are counted and told the log."""
        if verdict.action == "accept":
            return None
        if verdict.action != "tempfail":
            self.services.count(what)
        log.info(
            "{peer} is not let in by {server}: {action} {part} {rule}",
            peer=peer.host, server=self._server.name, action=verdict.action, part=verdict.part, rule=verdict.rule,
        )  # fmt: skip
        return verdict
