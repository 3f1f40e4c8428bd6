"""The one durable door (floor 2b): an accepted transaction becomes mailbox rows in one commit.

SMTP, and later LMTP, control, reports and embedding code all go through `accept`.  When it returns the message
is durable: only then may anybody say 250.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ..happenings import Publish, unheard
from ..interfaces import IContent, IMessageStore, IQueue
from ..message.content import prefixed
from ..message.rewrite import rewritten
from ..message.trace import delivered_to_field, received_field, return_path_field
from ..net.log_lines import LineLogger
from ..values import (
    Address,
    Envelope,
    NewDelivery,
    NewQueued,
    Owner,
    Placement,
    Recipient,
    TlsFacts,
    Transaction,
)
from .ids import IdMaker
from .loops import same
from .submission import PLAIN, Submission, missing_fields, submitted
from .success import known_as
from .tracing import Trace, accepted, untraced

log = LineLogger()

#: Destinations that an event names.
MAX_TOLD = 20
#: What an event has of the facts that the trace is told.
_TOLD = ("server", "peer", "sender", "octets")


def queue_rows(onward: Sequence[tuple[str, Address, Recipient]]) -> tuple[NewQueued, ...]:
    """A row for each destination, every address once (RFC 3461: what was asked for the recipient holds for those that
    it leads to, who are known by its name)."""
    rows: dict[str, dict[Address, Recipient]] = {}
    for destination, address, asked in onward:
        recipient = asked if asked.address == address else Recipient(address, known_as(asked))
        rows.setdefault(destination, {}).setdefault(address, recipient)
    return tuple(NewQueued(destination, tuple(found.values())) for destination, found in rows.items())


def _alone(recipients: Sequence[Recipient], places: int, onward: Sequence[tuple[str, Address, Recipient]]) -> bool:
    """Whether Delivered-To is true and tells nobody of others: there is one recipient, and either one mailbox, or an
    alias that leads elsewhere, so that who sends it back is found out (`loops`).  Mail that only passes has none."""
    if len(recipients) != 1:
        return False
    if onward:
        only = recipients[0].address
        return not any(same(address, only) for _, address, _ in onward)
    return places == 1


class Intake:
    """Puts the trace fields above accepted messages and hands them to the store."""

    def __init__(
        self,
        store: IMessageStore,
        ids: IdMaker,
        now: Callable[[], float],
        zone: int = 0,
        publish: Publish = unheard,
    ) -> None:
        self._store = store
        self._ids = ids
        self._now = now
        self._zone = zone
        self.trace: Trace = untraced
        #: Told where a message has been put; None: nobody wants to know.
        self.delivered: Callable[[Collection[Placement]], None] | None = None
        self._queues = IQueue.providedBy(store)
        self._publish = publish

    @property
    def reports(self) -> bool:
        """Whether senders can be told later what became of their mail."""
        return self._queues

    async def accept(
        self,
        transaction: Transaction,
        content: IContent,
        owners: Iterable[Owner],
        *,
        hostname: str,
        tls: TlsFacts | None = None,
        fields: Sequence[bytes] = (),
        removed: Collection[bytes] = (),
        submission: Submission = PLAIN,
        moved: bool = False,
        onward: Sequence[tuple[str, Address, Recipient]] = (),
        arrivals: Sequence[tuple[str, Recipient]] = (),
        full: Sequence[tuple[str, Address, Recipient]] = (),
        note: str = "",
    ) -> str:
        """Deliver to `owners` (each once); gives the id of the message.

        `fields` are whole header fields from policies, `removed` names of fields (lower case) that they take out.
        `onward` are addresses to be sent on to: destination in the queue, address, the recipient that led to it.
        `arrivals` are recipients whose sender is told of success, each with its destination in the queue (`success`);
        `full` are mailboxes left out, as in `success.without_room`.
        `submission` is how the server treats mail of its users; `moved`: the owners are not who the recipients mean.
        `note` goes into the line of the log.  Raises StoreFull, StoreUnavailable.
        """
        delivery_id, now = self._ids.next(), self._now()
        places = (*{(one.account_id, one.mailbox): Placement(one.account_id, one.mailbox) for one in owners}.values(),)
        alone = not moved and _alone(transaction.recipients, len(places), onward)
        rows = queue_rows(onward) if onward else ()
        if (arrivals or full) and self._queues and transaction.reverse_path is not None:
            rows += queue_rows([*((destination, one.address, one) for destination, one in arrivals), *full])
        prefix = self._trace(transaction, delivery_id, now, hostname, tls, submission, alone)
        if fields:
            prefix += b"".join(fields)
        if submission.complete and submitted(transaction):
            prefix += await missing_fields(content, now, self._zone, delivery_id, hostname)
        await self._store.deliver(
            NewDelivery(
                id=delivery_id,
                envelope=Envelope(transaction.reverse_path, tuple(transaction.recipients), transaction.parameters),
                content=await rewritten(content, prefix, removed) if removed else prefixed(prefix, content),
                placements=places,
                received_at=now,
                zone=self._zone,
                server=transaction.server,
                queued=rows,
                origin=transaction.origin,
            )
        )
        if self.delivered is not None:
            self.delivered(places)
        facts = accepted(transaction, content.size, tls, places, onward, note)
        self.trace(delivery_id, "accepted", facts)
        log.line(
            f"message {delivery_id} accepted on {transaction.server} from {transaction.peer.host or 'this host'}: "
            f"{content.size} octets for {len(places)} mailboxes"
            f"{f' and {len(onward)} elsewhere' if onward else ''}{note}",
            id=delivery_id,
        )
        self._tell(delivery_id, facts, len(places), rows)
        return delivery_id

    def _tell(self, delivery_id: str, facts: Mapping[str, Any], places: int, rows: Sequence[NewQueued]) -> None:
        """Those who follow what happens."""
        known = {key: facts[key] for key in _TOLD}
        if places:
            self._publish("delivery.delivered", message=delivery_id, mailboxes=places, **known)
        if rows:
            destinations = [row.destination for row in rows[:MAX_TOLD]]
            self._publish("delivery.queued", message=delivery_id, destinations=destinations, **known)

    def _trace(
        self,
        transaction: Transaction,
        delivery_id: str,
        now: float,
        hostname: str,
        tls: TlsFacts | None,
        submission: Submission,
        alone: bool,
    ) -> bytes:
        """Return-Path, Received (RFC 5321 section 4.4), and Delivered-To where a recipient is `alone`."""
        recipients, identity = transaction.recipients, transaction.identity
        # Naming one of several would tell a blind recipient's address to the others.
        only = recipients[0].address if len(recipients) == 1 else None
        return (
            return_path_field(transaction.reverse_path)
            + (delivered_to_field(only) if alone and only is not None else b"")
            + received_field(
                helo=transaction.helo,
                peer_host=transaction.peer.host,
                peer_name=transaction.client_name or None,
                verified=transaction.verified,
                by=hostname,
                protocol=transaction.protocol,
                delivery_id=delivery_id,
                recipient=only,
                epoch=now,
                zone=self._zone,
                tls=tls,
                authenticated=identity is not None,
                user=identity.authcid if identity is not None and submission.show_user else "",
                hidden=submission.hide_client and submitted(transaction),
            )
        )
