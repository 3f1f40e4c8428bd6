"""ETRN (floor 5; RFC 1985): a client has what waits for a domain tried at once.

What is started goes to the servers that the name system or a route tells, never to who asks, so that nobody gets mail
by it that is not his.  It costs attempts: a client needs the right to relay, and a node has a pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from ..access.relay import RelayRight
from ..errors import AccessDenied, MailError
from ..interfaces import IDirectory, IQueue
from ..values import Identity, Peer, Queued
from ..wire import smtp_server as wire
from . import smtp_replies as say
from .smtp_entitled import entitled

if TYPE_CHECKING:
    from .smtp import SmtpSession

#: Seconds in which a node is started once, and nodes that are remembered for it.
PAUSE, MAX_NODES = 60.0, 1000
#: Rows that one ETRN makes due, and rows and destinations of one look.
MAX_ROWS, PAGE = 10_000, 500
#: Destinations of `@domain`.
MAX_DESTINATIONS = 100
#: The furthest instant there is: what is due by then is all that waits.
_END = 2.0**53


@frozen
class Started:
    """What became of an ETRN: rows made due, `waiting` rows that are tried already; `more`: there were too many."""

    rows: int = 0
    waiting: int = 0
    more: bool = False


class QueueStarts:
    """Starts the queue of nodes; one object for all servers of a site.  `now()` gives UTC epoch seconds."""

    def __init__(self, queue: IQueue, directory: IDirectory, now: Callable[[], float]) -> None:
        self._queue, self._directory, self._now = queue, directory, now
        self._last: dict[str, float] = {}

    async def is_here(self, node: str) -> bool:
        """Whether mail for a domain has its mailboxes here, so that none ever waits.  Raises TryLater."""
        facts = None if node.startswith("#") else await self._directory.domain(node.removeprefix("@"))
        return facts is not None and facts.kind == "local"

    def rests(self, node: str) -> bool:
        """Whether the node has its pause, or too many have; else it has one from now on, until it is
        known that nothing could be started."""
        now, last = self._now(), self._last
        if now - last.get(node, -PAUSE) < PAUSE:
            return True
        if len(last) >= MAX_NODES:
            self._last = last = {name: at for name, at in last.items() if now - at < PAUSE}
        if len(last) >= MAX_NODES:
            return True
        last[node] = now
        return False

    async def start(self, node: str) -> Started:
        """Make what waits for a node due now: of "domain", of "@domain" and all below it, of the queue "#name".  What
        an administrator holds stays held.  Raises StoreUnavailable; then there is no pause, for nothing was done."""
        found = None
        try:
            found = await self._start(node)
        finally:
            # Who asked meanwhile was told to wait; the pause is counted from the end.
            if self._last.pop(node, None) is not None and found is not None:
                self._last[node] = self._now()
        return found

    async def _start(self, node: str) -> Started:
        rows = waiting = 0
        for destination in await self._destinations(node):
            after, page = 0, [Queued(0, "", destination, None, ())]
            while page and rows < MAX_ROWS:
                page = list(await self._queue.queued(destination=destination, after=after, most=PAGE))
                after = page[-1].id if page else 0
                waiting += sum(bool(row.token) for row in page)
                ids = [row.id for row in page if not row.held and not row.token]
                rows += await self._queue.alter(ids, "retry", due=self._now()) if ids else 0
        return Started(rows, waiting, rows >= MAX_ROWS)

    async def _destinations(self, node: str) -> list[str]:
        if not node.startswith("@"):
            return [node.removeprefix("#")]
        domain = node[1:]
        found = [due.destination for due in await self._queue.due(_END, 1000)]
        return [one for one in found if one == domain or one.endswith("." + domain)][:MAX_DESTINATIONS]


@frozen
class Etrn:
    """ETRN of one server.  `everybody`: no right is needed."""

    starts: QueueStarts
    right: RelayRight
    everybody: bool = False

    async def offered(self, identity: Identity | None, peer: Peer) -> bool:
        """Whether EHLO tells of it: no names are looked up for that."""
        return self.everybody or await self.right.at_once(identity, peer) is True

    async def allowed(self, identity: Identity | None, peer: Peer) -> bool:
        """Whether that client may.  Raises TryLater."""
        return self.everybody or await self.right.holds(identity, peer)


async def is_offered(session: SmtpSession) -> bool:
    """Whether ETRN can do something for this client now."""
    service = session.smtp.etrn
    if service is None or (session.services.require_tls and not session.connection.secure):
        return False
    try:
        return await service.offered(session.identity, session.connection.peer)
    except MailError:
        return False


async def etrn(session: SmtpSession, event: wire.Plain) -> None:
    """ETRN with its node, answered."""
    service, node = session.smtp.etrn, event.argument
    refusal = _refuse(session)
    if refusal is not None or service is None:
        session.complain(refusal or say.NO_ETRN)
        return
    try:
        identity = None if session.identity is None else await entitled(session, session.identity)
        if not await service.allowed(identity, session.connection.peer):
            session.complain(say.ETRN_DENIED)
            return
        if await service.starts.is_here(node):
            session.say(say.reply(459, "4.7.1", f"Node {node} not allowed: its mailboxes are here"))
            return
        if service.starts.rests(node):
            session.say(say.reply(458, "4.3.2", f"Unable to queue messages for node {node}: a moment ago it was done"))
            return
        session.services.count("queues started")
        session.say(_answer(node, await service.starts.start(node)))
    except AccessDenied:
        session.complain(say.ETRN_DENIED)
    except MailError as error:
        session.say(say.reply(458, "4.3.0", f"Unable to queue messages for node {node}: {error.text}"))


def _refuse(session: SmtpSession) -> bytes | None:
    if not session.helo:
        return say.HELLO_FIRST
    if session.services.require_tls and not session.connection.secure:
        return say.TLS_FIRST
    return say.NESTED_ETRN if session.transaction is not None else None


def _answer(node: str, started: Started) -> bytes:
    """RFC 1985 section 5.3."""
    if started.more:
        return say.reply(252, "2.0.0", f"Pending messages for node {node} started")
    if started.rows:
        return say.reply(253, "2.0.0", f"{started.rows} pending messages for node {node} started")
    if started.waiting:
        return say.reply(250, "2.0.0", f"Queuing for node {node} started")
    return say.reply(251, "2.0.0", f"No messages waiting for node {node}")
