"""The delivery agent for SMTP and LMTP (floor 4): hops in order, connections used again, recipients in lots.

RFC 5321 sections 4.5.4.1 and 5.1; S-113..S-116, S-122, S-123.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import MailError, Refused, TryLater
from ..interfaces import IContent, IDeliveryAgent
from ..values import Hop, Outcome, Queued, Recipient
from ..wire.smtp_sending import Mail, send
from .connections import Connections, Place
from .smtp_content import Aside, here, prepare
from .smtp_open import LoginRefused, Opener

log = Logger()

#: Addresses that are tried for one message, and servers that are told of it, in one attempt.
MAX_ADDRESSES, MAX_SERVERS = 10, 2
#: Transactions for one lot of recipients with a server that takes few at a time.
MAX_TRANSACTIONS = 100


class _Caught:
    """Keeps what ends a block, so that what was found out until then is not lost with it."""

    failure: Failure | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failure = Failure(error, kind, trace)
        return True


class _Lot:
    """Recipients that are sent together, and what is known of them."""

    def __init__(self, row: Queued, content: IContent, hops: Sequence[Hop], login: Any) -> None:
        self.row, self.content, self.hops, self.login = row, content, hops, login
        #: Names of connections that would do.
        self.keys: list[Any] = [_key(hop, login) for hop in hops]
        self.outcomes: dict[int, Outcome] = {}
        self.waiting: list[int] = []
        #: Servers not tried yet: the hop's index, the hop, one of its addresses.
        self.tour = [(index, hop, address) for index, hop in enumerate(hops) for address in hop.addresses]
        self.addresses = self.servers = 0
        #: A server may have the message although it did not say so: no other may be given it in this attempt.
        self.doubt = False

    def next(self) -> tuple[Hop, str] | None:
        """The next address to try, if there is one."""
        if not self.tour or self.servers >= MAX_SERVERS or self.addresses >= MAX_ADDRESSES:
            return None
        self.addresses += 1
        _, hop, address = self.tour.pop(0)
        return hop, address

    def passed(self, key: Any) -> None:
        """A server has answered: no further address of that hop, nor of those before it."""
        self.servers += 1
        at = self.keys.index(key)
        self.tour = [one for one in self.tour if one[0] > at]

    def more(self) -> bool:
        """Whether there is anything left to do."""
        if not self.waiting or self.doubt:
            return False
        return not self.outcomes or (self.servers < MAX_SERVERS and bool(self.tour))

    def record(self, indices: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """What a transaction has brought."""
        self.outcomes.update(zip(indices, outcomes))
        self.waiting = [index for index in indices if self.outcomes[index].action == "delayed"]

    def found(self, at: int, most: int, failure: Failure | None) -> list[Outcome]:
        """What is known of its recipients; those whom nobody has answered for wait because of `failure`."""
        return [
            self.outcomes[index] if failure is None or index in self.outcomes else _later(recipient, failure)
            for index, recipient in enumerate(self.row.recipients[at : at + most], at)
        ]


@implementer(IDeliveryAgent)
class SmtpAgent:
    """Sends messages to other servers.

    `recipients` is the limit of one transaction (S-123): for those beyond it another connection is opened.  `await
    aside(function, *arguments)` works out something long in a thread.
    """

    def __init__(
        self, opener: Opener, connections: Connections, *, recipients: int | None = None, aside: Aside = here
    ) -> None:
        self._opener, self._connections, self._recipients = opener, connections, recipients
        self._aside = aside

    async def deliver(
        self, row: Queued, content: IContent, hops: Sequence[Hop], login: Any
    ) -> Sequence[Outcome]:
        """See IDeliveryAgent.  No TLS where it is required, a login that is refused, a server that refuses with its
        greeting: nobody could be reached."""
        every = list(row.recipients)
        most = self._recipients or len(every) or 1
        outcomes: list[Outcome] = []
        for at in range(0, len(every), most):
            lot = _Lot(row, content, hops, login)
            lot.waiting = list(range(at, min(at + most, len(every))))
            failure = await self._end_of(lot, fresh=at > 0)
            if failure is not None and not outcomes and not lot.outcomes:
                failure.raiseException()
            outcomes += lot.found(at, most, failure)
            if failure is not None and not failure.check(TryLater):
                # Whoever has the message must not get it again because others could not be given it.
                if not failure.check(CancelledError):
                    log.failure("sending {id} failed midway", failure=failure, id=row.delivery)
                outcomes += [_later(one, failure) for one in every[at + most :]]
                break
        return outcomes

    async def _end_of(self, lot: _Lot, fresh: bool) -> Failure | None:
        """How a lot has ended: what it raised, or None."""
        caught = _Caught()
        with caught:
            await self._lot(lot, fresh)
        return caught.failure

    # ------------------------------------------------------------ one lot

    async def _lot(self, lot: _Lot, fresh: bool) -> None:
        """Raises TryLater when no server can be reached and none was before."""
        # S-123 counts connections, so what goes beyond the limit never takes one that was kept.
        keys = [] if fresh else lot.keys
        while lot.more():
            place = await self._connections.take(lot.row.destination, keys)
            keys = []
            ours = True
            try:
                if place.outgoing is not None:
                    await self._converse(lot, place, kept=True)
                elif await self._reach(lot, place):
                    await self._converse(lot, place)
                else:
                    break
                ours = False
            finally:
                if ours:
                    self._connections.drop(place)
            self._connections.give_back(place)

    async def _reach(self, lot: _Lot, place: Place) -> bool:
        """Fill an empty place with a session at the next server that can be reached.

        False: there is none left, but another has answered before.  Raises TryLater when none could be reached.
        """
        last: TryLater | None = None
        while (found := lot.next()) is not None:
            hop, address = found
            try:
                made = await self._opener.open(hop, address, lot.login)
            except TryLater as error:
                where = address if address == hop.host else f"{hop.host} [{address}]"
                last = type(error)(f"{where}: {error.text}", error.status)
                log.info(
                    "no session with {host} [{address}] for {destination}: {reason}",
                    host=hop.host, address=address, destination=lot.row.destination, reason=error.text,
                )  # fmt: skip
                if isinstance(error, LoginRefused):
                    break
            else:
                self._connections.fill(place, _key(hop, lot.login), made)
                place.note = hop
                return True
        if lot.outcomes:
            return False
        raise last or TryLater("There is no server to send to", "4.4.4")

    async def _converse(self, lot: _Lot, place: Place, kept: bool = False) -> None:
        """Transactions over one connection until the server has answered for every recipient."""
        made = place.outgoing
        assert made is not None, "the place is filled"
        before = dict(lot.outcomes)
        for _ in range(MAX_TRANSACTIONS):
            indices = list(lot.waiting)
            outcomes = await self._transact(lot, place, indices)
            if kept and made.client.over and not made.client.doubt and _nothing_said(outcomes):
                # It was closed while it was kept: that tells nothing of the message.
                lot.outcomes = before
                return
            lot.record(indices, outcomes)
            lot.doubt = made.client.doubt
            kept = False
            further = [index for index in lot.waiting if _too_many(lot.outcomes[index])]
            if not further or made.client.over or lot.doubt or len(further) == len(indices):
                break
            lot.waiting = further
        lot.waiting = [index for index, outcome in lot.outcomes.items() if outcome.action == "delayed"]
        lot.passed(place.key)

    async def _transact(self, lot: _Lot, place: Place, indices: Sequence[int]) -> list[Outcome]:
        """One transaction: an outcome for each of these recipients."""
        made, row = place.outgoing, lot.row
        assert made is not None, "the place is filled"
        recipients: tuple[Recipient, ...] = tuple(row.recipients[index] for index in indices)
        host = place.note.host
        try:
            ready = await prepare(lot.content, row, made.client.features, self._aside)
        except Refused as error:
            return [Outcome(one, "failed", error.status, error.text) for one in recipients]
        except MailError as error:
            return [Outcome(one, "delayed", error.status, error.text) for one in recipients]
        mail = Mail(
            row.reverse_path, recipients, ready.content.size, ready.body, ready.utf8, row.parameters
        )
        place.used += 1
        made.patience(mail.size)
        outcomes: list[Outcome] = await made.run(send(made.client, mail, host), ready.content, ready.first)
        made.patience(-1)
        return outcomes


def _later(recipient: Recipient, failure: Failure) -> Outcome:
    """It is tried again."""
    if isinstance(failure.value, MailError):
        return Outcome(recipient, "delayed", failure.value.status, failure.value.text)
    return Outcome(recipient, "delayed", "4.3.0", "The attempt was cut off")


def _key(hop: Hop, login: Any) -> Any:
    return hop.host, hop.port, hop.tls, hop.protocol, login


def _nothing_said(outcomes: Sequence[Outcome]) -> bool:
    return all(outcome.action == "delayed" for outcome in outcomes)


def _too_many(outcome: Outcome) -> bool:
    """RFC 5321 section 4.5.3.1.10: it takes fewer recipients at a time than it was given."""
    return outcome.action == "delayed" and (
        outcome.status == "4.5.3" or (outcome.reply.startswith("452") and outcome.status == "4.0.0")
    )
