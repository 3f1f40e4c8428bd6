"""Checkpoints: what the log alone would not tell, written into it, so that a lost index can be made again.

CONTENT records carry placements; flags, removals and copies are only in the index.  So a STATE record holds all rows
of a mailbox as they are, and a CATALOGUE record all accounts, aliases and mailboxes, and which rows of the queue there
are; later records of the log amend them.  Both are written at close, when idle after a while, and before compaction
drops anything.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from typing import Any

import apsw

from ...message.content import MemoryContent
from . import records
from .boxes import Box
from .operations import Asked, Operation
from .queue_rows import catalogue_statements
from .transaction import Transaction

#: What subject 0 of the table `checkpoint` is; others are mailbox ids.
CATALOGUE_SUBJECT = 0
#: Rows that one slice writes down before others have their turn (a mailbox is never cut).
SLICE_ROWS = 20_000

_COLUMNS = ("uid", "modseq", "flags", "segment", "ordinal", "size", "date", "zone", "saved")


class WriteStates(Asked):
    """STATE records of the mailboxes that need one.

    `budget` is about how many rows may be written down in all: a close must not take minutes."""

    __slots__ = ("_budget",)
    rows = 1000

    def __init__(self, budget: int = 2**62) -> None:
        super().__init__()
        self._budget = budget

    def run(self, transaction: Transaction) -> bool:
        """One slice."""
        transaction.boxes.write()
        transaction.log_queue()
        written = 0
        while written < SLICE_ROWS:
            mailbox = transaction.connection.execute("SELECT id FROM mailbox WHERE unsaved=1 LIMIT 1").get
            if mailbox is None or self._budget <= 0:
                return True
            box = transaction.boxes.get(mailbox)
            assert box is not None
            written += 100 + _write_state(transaction, box)
        self._budget -= written
        return False


def _write_state(transaction: Transaction, box: Box) -> int:
    """One STATE record; gives the number of its rows."""
    transaction.flush()
    connection = transaction.connection
    flat: list[int] = []
    for row in connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM message WHERE mailbox=?", (box.id,)):
        flat.extend(row)
    width = len(_COLUMNS)
    body = b"".join(_octets(array("q", flat[place::width])) for place in range(width))
    spill = connection.execute("SELECT uid, bits FROM spill WHERE mailbox=?", (box.id,)).fetchall()
    header = records.to_json({
        "mailbox": box.id, "uidnext": box.uidnext, "modseq": box.modseq, "flag_modseq": box.flag_modseq,
        "recent_from": box.recent_from, "count": len(flat) // width,
        "keywords": [name.decode("latin-1") for name in transaction.boxes.keywords(box)],
        "spill": [[uid, bits.hex()] for uid, bits in spill],
    }).encode()
    _replace(transaction, box.id, records.STATE, header, zlib.compress(body, 1))
    box.unsaved = 0
    transaction.boxes.dirty[box.id] = box
    transaction.boxes.write()
    return len(flat) // width


def read_state(header: dict[str, Any], body: bytes) -> list[tuple[int, ...]]:
    """The rows of a STATE record in the order of `message`, without the mailbox.  Raises ValueError."""
    try:
        data = zlib.decompress(body)
    except zlib.error as cause:
        raise ValueError("damaged state") from cause
    column = array("q", data)
    if sys.byteorder == "big":
        column.byteswap()
    count = header["count"]
    if len(column) != count * len(_COLUMNS):
        raise ValueError("damaged state")
    return list(zip(*(column[place * count : (place + 1) * count].tolist() for place in range(len(_COLUMNS)))))


def _octets(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


class WriteCatalogue(Operation):
    """A CATALOGUE record, when something changed since the last one."""

    __slots__ = ()

    def run(self, transaction: Transaction) -> bool:
        """All accounts, app passwords, aliases, mailboxes, subscriptions, domains and the queue as statements."""
        connection = transaction.connection
        transaction.log_queue()
        if transaction.catalogue or not connection.execute("SELECT value FROM meta WHERE key='changes'").get:
            return True
        body = zlib.compress(records.to_json(_statements(connection)).encode(), 1)
        _replace(transaction, CATALOGUE_SUBJECT, records.CATALOGUE, b"{}", body)
        connection.execute("UPDATE meta SET value=0 WHERE key='changes'")
        return True


def _statements(connection: apsw.Connection) -> list[list[Any]]:
    execute = connection.execute
    statements: list[list[Any]] = [["domains", execute("SELECT * FROM domain ORDER BY place").fetchall()]]
    for kind, sql in (
        ("account", "SELECT * FROM account"),
        # After the accounts: those of an account that is not known are nobody's.
        ("app-password", "SELECT * FROM app_password"),
        ("alias", "SELECT * FROM alias"),
        ("mailbox", "SELECT id, account, name, uidvalidity, special_use FROM mailbox"),
        ("subscribe", "SELECT * FROM subscription"),
        # After the mailboxes, as the app passwords.
        ("annotate", "SELECT * FROM annotation"),
        ("permit", "SELECT * FROM permit"),
        ("sequence", "SELECT name, seq FROM sqlite_sequence"),
    ):
        statements += ([kind, *row] for row in execute(sql))
    return statements + catalogue_statements(connection)


def _replace(transaction: Transaction, subject: int, kind: int, header: bytes, body: bytes) -> None:
    """Write a record that takes the place of an earlier one about the same subject."""
    connection = transaction.connection
    before = connection.execute("SELECT segment, octets FROM checkpoint WHERE subject=?", (subject,)).fetchone()
    if before is not None:
        transaction.dead_octets(*before)
    segment, ordinal = transaction.add(kind, header, MemoryContent(body))
    octets = records.PREFIX.size + len(header) + len(body)
    connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (?,?,?,?)", (subject, segment, ordinal, octets))
