"""What the writer does for the queue.  Who asks has claimed the rows in the index in memory, so nothing else changes
them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import MailError
from ...values import Recipient
from .. import queue_rules as rules
from . import records
from .operations import Operation
from .transaction import Transaction

#: Called in the reactor thread after the commit (None) or when it failed.
Done = Callable[[MailError | None], None]

_CHANGES = {
    "hold": "held=1, changed=1", "release": "held=0, changed=1", "retry": "due=?", "reroute": "destination=?, changed=1"
}


class QueueOperation(Operation):
    """Base.  `done` is called before the caller is answered, also when he does not wait any more."""

    __slots__ = ("_done", "rows")

    def __init__(self, done: Done, rows: int) -> None:
        super().__init__()
        self._done, self.rows = done, rows

    def acknowledge(self) -> None:
        """The index in memory first."""
        self._done(self.error)
        super().acknowledge()


class Settle(QueueOperation):
    """IQueue.settle for a row whose lease was right.  Nobody outside waits for it: it shares the commit of others."""

    __slots__ = ("_due", "_noticed", "_recipients", "_reply", "_row", "octets")
    patient = True

    def __init__(
        self, done: Done, row: int, remaining: Sequence[Recipient], due: float, reply: str, noticed: bool
    ) -> None:
        super().__init__(done, 1)
        self._row, self._due, self._reply, self._noticed = row, due, reply, noticed
        self._recipients = records.to_json(rules.pack_recipients(remaining)) if remaining else ""
        self.octets = len(self._recipients)

    def run(self, transaction: Transaction) -> bool:
        """The row, and what the log must hear of it."""
        connection, row = transaction.connection, self._row
        if not self._recipients:
            transaction.queue.ended.append(row)
            return True
        transaction.flush()
        kept = connection.execute("SELECT recipients, noticed FROM queue WHERE id=?", (row,)).fetchone()
        if kept is None:
            return True
        noticed = int(self._noticed or kept[1])
        changed = kept != (self._recipients, noticed)
        connection.execute(
            "UPDATE queue SET due=?, attempts=attempts+1, reply=?, noticed=?, changed=max(changed, ?), recipients=?"
            " WHERE id=?", (self._due, self._reply, noticed, int(changed), self._recipients, row)
        )
        if changed:
            transaction.queue.mark((row,))
        return True


class Postpone(QueueOperation):
    """IQueue.postpone for some rows (attempts, due, id)."""

    __slots__ = ("_reply", "_rows")

    def __init__(self, done: Done, rows: Sequence[tuple[int, float, int]], reply: str) -> None:
        super().__init__(done, len(rows))
        self._rows, self._reply = rows, reply

    def run(self, transaction: Transaction) -> bool:
        """All of them."""
        transaction.flush()
        transaction.connection.executemany(
            "UPDATE queue SET attempts=?, due=?, reply=? WHERE id=?",
            [(attempts, due, self._reply, row) for attempts, due, row in self._rows],
        )
        return True


class Alter(QueueOperation):
    """IQueue.alter for some rows; `value` is what retry and reroute need."""

    __slots__ = ("_action", "_rows", "_value")

    def __init__(self, done: Done, rows: Sequence[int], action: str, value: float | str) -> None:
        super().__init__(done, len(rows))
        self._rows, self._action, self._value = rows, action, value

    def run(self, transaction: Transaction) -> bool:
        """All of them."""
        if self._action == "delete":
            transaction.queue.ended += self._rows
            return True
        transaction.flush()
        change = _CHANGES[self._action]
        values: tuple[Any, ...] = (self._value,) if "?" in change else ()
        transaction.connection.executemany(
            f"UPDATE queue SET {change} WHERE id=?", [(*values, row) for row in self._rows]
        )
        if self._action != "retry":
            transaction.queue.mark(self._rows)
        return True
