"""Rows of the queue as a transaction of the writer changes them, and what the log is told of them.

The CONTENT record of a delivery holds its rows as they were made.  What changes later is not synced to the log for
its own sake: the ids are kept in the table `unlogged`, and go into the log with whatever is written there next, a
thousand of them by themselves, and with every checkpoint.  Instants, attempts and replies never do: a rescue tries
everything that waits at once (0009).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import apsw

from ...numbers import UidSet

#: Rows of one CHANGES record, and octets of their recipients.
LOGGED_ROWS, LOGGED_OCTETS = 1000, 8 * 2**20

#: id, segment, ordinal, size, destination, due, held, delivery, received, server, origin, sender, path, parameters,
#: recipients
NewRow = tuple[int, int, int, int, str, float, int, str, float, str, str, str, str, str, str]
_INSERT = """INSERT INTO queue (id, segment, ordinal, size, destination, due, held, delivery, received, server, origin,
    sender, path, parameters, recipients) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_LOGGED = """SELECT u.id, q.id, q.destination, q.held, q.noticed, q.recipients
    FROM unlogged u LEFT JOIN queue q USING (id)"""
_END = "DELETE FROM queue WHERE id IN (SELECT value FROM carray(?)) RETURNING segment, ordinal, size"
_LIVE = "SELECT id FROM queue"
_CHANGED = "SELECT id, destination, held, noticed, recipients FROM queue WHERE changed=1"


class QueueRows:
    """One for each transaction.  `made`: rows (id, destination, due, held) for the index in memory; `ended`: ids of
    those that are done, taken out all at once with `end`."""

    __slots__ = ("_connection", "_last", "_new", "ended", "made", "marked")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._new: list[NewRow] = []
        self._last = -1
        self.made: list[tuple[int, str, float, bool]] = []
        self.ended: list[int] = []
        #: Whether something is to be logged that was not.
        self.marked = False

    def number(self) -> int:
        """The id of the next row; never one that was used."""
        if self._last < 0:
            self._last = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name='queue'").get or 0
        self._last += 1
        return self._last

    def insert(self, row: NewRow) -> None:
        """A new row, in the database after `flush`."""
        self._new.append(row)
        self.made.append((row[0], row[4], row[5], bool(row[6])))

    def flush(self) -> None:
        """Bring the new rows into the database."""
        if self._new:
            rows, self._new = self._new, []
            self._connection.executemany(_INSERT, rows)

    def end(self) -> dict[tuple[int, int], int]:
        """Take the ended rows out of the database; the contents (reference -> octets) that they had."""
        rows, self.ended = self.ended, []
        self.mark(rows)
        found: list[Any] = self._connection.execute(_END, (apsw.carray(array("q", rows)),)).fetchall()
        return {(segment, ordinal): size for segment, ordinal, size in found}

    def mark(self, ids: Iterable[int]) -> None:
        """The log does not know what became of these."""
        self._connection.executemany("INSERT OR IGNORE INTO unlogged VALUES (?)", [(row,) for row in ids])
        self.marked = True

    def many(self) -> bool:
        """Whether so much is not logged that it must be by itself."""
        count: Any = self._connection.execute(f"SELECT count(*) FROM (SELECT 1 FROM unlogged LIMIT {LOGGED_ROWS})").get
        return bool(count >= LOGGED_ROWS)

    def statements(self) -> Iterator[list[list[Any]]]:
        """What is not logged, in portions for a record each; afterwards it counts as logged."""
        while True:
            rows: list[Any] = self._connection.execute(f"{_LOGGED} LIMIT {LOGGED_ROWS}").fetchall()
            if not rows:
                break
            ended: list[int] = []
            portion: list[list[Any]] = []
            octets = last = 0
            for number, kept, destination, held, noticed, recipients in rows:
                last = number
                if kept is None:
                    ended.append(number)
                    continue
                portion.append(["requeue", number, destination, held, noticed, json.loads(recipients)])
                octets += len(recipients)
                if octets > LOGGED_OCTETS:
                    break
            self._connection.execute("DELETE FROM unlogged WHERE id<=?", (last,))
            if ended:
                portion.append(["unqueue", str(UidSet.of(ended))])
            yield portion
        self.marked = False


def catalogue_statements(connection: apsw.Connection) -> list[list[Any]]:
    """Which rows there are, and those that are not as they were made, for a CATALOGUE record."""
    rows: list[Any] = connection.execute(_LIVE).fetchall()
    statements: list[list[Any]] = [["queue", str(UidSet.of(row for (row,) in rows))]]
    changed: list[Any] = connection.execute(_CHANGED).fetchall()
    for number, destination, held, noticed, recipients in changed:
        statements.append(["requeue", number, destination, held, noticed, json.loads(recipients)])
    return statements
