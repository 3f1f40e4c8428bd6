"""What the writer thread does for a caller: one object for each request, and those that bring messages in.

`run(transaction)` works off one slice and says whether that was the last; it may raise a MailError before it has
changed any row (see `transaction`).  `rows` and `octets` are its share of a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred

from ...errors import MailError, NoSuchMailbox, Refused
from ...numbers import UidSet
from ...values import Appended, NewDelivery, NewMessage
from .. import keywords as kw
from .. import queue_rules
from ..names import INBOX, normalise
from . import records, schema
from .boxes import Box
from .log import Reference
from .transaction import Transaction

#: Rows of one slice of a large operation.
SLICE = 500
#: A delivery to more placements and destinations than this is sliced (decisions 5).
MAX_PLACEMENTS = 1000

#: Of the rows of the queue in one record: octets, counted with so many for each recipient.
_QUEUE_OCTETS, _RECIPIENT_OCTETS = 8 * 2**20, 200

#: A placement that has a mailbox: its row, its flags.
_Target = tuple[Box, frozenset[bytes]]


class Operation:
    """Base.  `deferred` fires in the reactor thread with `result` or `error`."""

    __slots__ = ("counted", "deferred", "error", "result")
    rows = 1
    octets = 0
    #: Whether it may wait a moment for others to be committed with.
    patient = False

    def __init__(self) -> None:
        self.deferred: Deferred[Any] | None = None
        #: Whether it takes room in the bounded queue.
        self.counted = False
        self.result: Any = None
        self.error: MailError | None = None

    def run(self, transaction: Transaction) -> bool:
        """Do one slice; True: done."""
        raise NotImplementedError

    def settled(self) -> None:
        """The batch with its last slice is committed or refused; in the writer thread."""

    def acknowledge(self) -> None:
        """Answer the caller; in the reactor thread, after the commit."""
        deferred, self.deferred = self.deferred, None
        if deferred is None:
            return
        if self.error is not None:
            deferred.errback(self.error)
        else:
            deferred.callback(self.result)


class Asked(Operation):
    """Base of what another thread asks for and waits for: `reached` is set when it was done or refused."""

    __slots__ = ("reached",)

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def settled(self) -> None:
        """Let the other thread go on."""
        self.reached.set()


class Barrier(Operation):
    """Does nothing; when it is answered, all that was queued before it was."""

    __slots__ = ()

    def run(self, transaction: Transaction) -> bool:
        """Nothing."""
        return True


class Deliver(Operation):
    """IMessageStore.deliver."""

    __slots__ = ("_at", "_reference", "delivery", "octets", "rows")

    def __init__(self, delivery: NewDelivery) -> None:
        super().__init__()
        self.delivery = delivery
        self.octets = delivery.content.size
        self.rows = min(len(delivery.placements) + len(delivery.queued), MAX_PLACEMENTS)
        self._at = 0
        self._reference: tuple[int, int] | None = None

    def run(self, transaction: Transaction) -> bool:
        """Content and rows; of very many a part, each part with a record of its own."""
        delivery, boxes = self.delivery, transaction.boxes
        placements = delivery.placements[self._at : self._at + MAX_PLACEMENTS]
        queued = self._queued(transaction, MAX_PLACEMENTS - len(placements)) if delivery.queued else []
        todo: list[_Target] = []
        shown: list[Any] = []
        taken: dict[int, int] = {}
        for placement in placements:
            box = boxes.target(placement.account_id, _name(placement.mailbox))
            if box is None:
                continue
            offset = taken.get(box.id, 0)
            taken[box.id] = offset + 1
            flags = placement.flags
            todo.append((box, flags))
            shown.append([box.account, box.id, box.uidnext + offset, box.modseq + 1 + offset,
                          [flag.decode("latin-1") for flag in flags]])
        if todo or queued:
            self._write(transaction, todo, shown, queued)
        self._at += len(placements) + len(queued)
        return self._at >= len(delivery.placements) + len(delivery.queued)

    def _queued(self, transaction: Transaction, most: int) -> list[Any]:
        """The next rows of the queue as a record shows them; they come after all placements."""
        delivery, rows, octets = self.delivery, [], 0
        for new in delivery.queued[max(self._at - len(delivery.placements), 0) :][:most]:
            recipients = queue_rules.pack_recipients(new.recipients)
            rows.append([transaction.queue.number(), new.destination, int(new.held), recipients])
            octets += _RECIPIENT_OCTETS * len(recipients)
            if octets > _QUEUE_OCTETS:
                break
        return rows

    def _write(self, transaction: Transaction, todo: list[_Target], shown: list[Any], queued: list[Any]) -> None:
        delivery = self.delivery
        content, date, zone = delivery.content, int(delivery.received_at), delivery.zone
        reference, now = self._reference, transaction.now
        if reference is None:
            header = records.envelope_header(delivery, now, shown, queued)
        elif queued:
            header = records.queue_header(reference, delivery, now, shown, queued)
        else:
            header = records.placements_header(reference, content.size, date, zone, now, shown)
        if len(header) > records.MAX_HEADER_OCTETS:
            raise Refused("The envelope is too large", "5.5.3")
        if reference is None:
            reference = self._reference = transaction.add(records.CONTENT, header, content)
            if "SMTPUTF8" in delivery.envelope.parameters:
                transaction.connection.execute(schema.ADD_INTERNATIONAL, reference)
        else:
            transaction.add(records.PLACEMENTS, header)
        size, boxes = content.size, transaction.boxes
        if queued:
            self._enqueue(transaction, reference, queued)
        for box, flags in todo:
            mask, new = kw.assign(flags, boxes.keywords(box), lenient=True) if flags else (0, ())
            if new:
                boxes.add_keywords(box, new)
            transaction.insert(box, ((mask, reference, size, date, zone),), bool(new))

    def _enqueue(self, transaction: Transaction, reference: Reference, queued: list[Any]) -> None:
        delivery, envelope = self.delivery, self.delivery.envelope
        path, parameters = envelope.reverse_path, envelope.parameters
        common = (
            delivery.id, delivery.received_at, delivery.server, delivery.origin, queue_rules.sender_key(path),
            queue_rules.pack_path(path), records.to_json(parameters) if parameters else "",
        )
        for number, destination, held, recipients in queued:
            transaction.queue.insert((
                number, *reference, delivery.content.size, destination, delivery.received_at, held, *common,
                records.to_json(recipients),
            ))


class Append(Operation):
    """IMailbox.append: all or none, in one batch."""

    __slots__ = ("_instead", "_mailbox", "_messages", "octets", "rows")

    def __init__(self, mailbox: int, messages: Sequence[NewMessage], instead: tuple[int, int] | None = None) -> None:
        super().__init__()
        self._mailbox, self._messages, self._instead = mailbox, messages, instead
        self.octets = sum(message.content.size for message in messages)
        self.rows = len(messages)

    def run(self, transaction: Transaction) -> bool:
        """Contents, then rows."""
        boxes = transaction.boxes
        box = boxes.get(self._mailbox)
        if box is None:
            raise NoSuchMailbox()
        keywords, masks = list(boxes.keywords(box)), []
        for message in self._messages:
            mask, new = kw.assign(message.flags, keywords)
            keywords += new
            masks.append(mask)
        if not masks:
            self.result = Appended(box.uidvalidity, ())
            return True
        old = self._replaced(transaction)
        rows = []
        flags = {mask: records.flags_text(kw.names_of(mask, keywords)) for mask in set(masks)}
        for uid, mask, message in zip(count(box.uidnext), masks, self._messages):
            header = records.append_header(
                message.internal_date, message.zone, transaction.now, (box.account, box.id, uid, box.modseq + 1),
                flags[mask], message.unique_id, message.international,
            )  # fmt: skip
            reference = transaction.add(records.CONTENT, header, message.content)
            if message.international:
                transaction.connection.execute(schema.ADD_INTERNATIONAL, reference)
            rows.append((mask, reference, message.content.size, message.internal_date, message.zone))
        new_keywords = keywords[len(boxes.keywords(box)) :]
        if new_keywords:
            boxes.add_keywords(box, new_keywords)
        first = transaction.insert(box, rows, bool(new_keywords))
        ids = [(uid, message.unique_id) for uid, message in enumerate(self._messages, first) if message.unique_id]
        if ids:
            transaction.keep_unique_ids(box, ids)
        if old is not None and self._instead is not None:
            transaction.expunge(old, UidSet.of([self._instead[1]]), 1)
        self.result = Appended(box.uidvalidity, tuple(range(first, first + len(rows))))
        return True

    def _replaced(self, transaction: Transaction) -> Box | None:
        """Where the message is that goes.  Raises Refused when it is gone already."""
        if self._instead is None:
            return None
        box = transaction.boxes.get(self._instead[0])
        found = transaction.connection.execute("SELECT 1 FROM message WHERE mailbox=? AND uid=?", self._instead).get
        if box is None or not found:
            raise Refused("The message that is to be replaced is gone")
        return box


def _name(name: str) -> str:
    """A mailbox name as it would be stored; what cannot be one leads to INBOX."""
    try:
        return normalise(name)
    except MailError:
        return INBOX
