"""Bounded reads of the index, on a connection of their own: no read transaction outlives a call."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
from attrs import define

from ...errors import StoreUnavailable
from . import schema
from .ghosts import Stored
from .transaction import ROW_BITS, ROW_MASK, unite

_STORED = "SELECT uid, segment, ordinal, size, date, zone, saved FROM message WHERE mailbox=? AND uid"
#: Rows made into numbers by one call, which nothing else in the process can interrupt.
_PIECE = 20_000
_COLUMNS = (
    "SELECT json_group_array(uid), json_group_array(flags), json_group_array(modseq)"
    " FROM (SELECT uid, flags, modseq FROM message WHERE mailbox=? AND uid>=? ORDER BY uid LIMIT ?)"
)
_STATE = "id, uidvalidity, uidnext, modseq, exist, unseen, deleted, octets, recent_from, recent"


@define
class MailboxRow:
    """The row of one mailbox as a reader sees it."""

    id: int
    uidvalidity: int
    uidnext: int
    modseq: int
    exist: int
    unseen: int
    deleted: int
    octets: int
    recent_from: int
    recent: int


@define
class Loaded:
    """The columns of a mailbox at one moment."""

    row: MailboxRow
    uids: list[int]
    flags: list[int]
    modseqs: list[int]
    keywords: list[bytes]
    #: How many rows were not in the snapshot.
    fresh: int


@define
class Snapshot:
    """Columns kept in the derived database: valid up to `modseq`, for UIDs below `uidnext`.  Lists as a mailbox left
    them, or arrays as they were read."""

    modseq: int
    uidnext: int
    uids: Sequence[int]
    flags: Sequence[int]
    modseqs: Sequence[int]

    def unpack(self) -> tuple[list[int], list[int], list[int]]:
        """The three columns as lists of their own."""
        uids, flags, modseqs = ([], [], [])  # type: tuple[list[int], list[int], list[int]]
        for made, column in ((uids, self.uids), (flags, self.flags), (modseqs, self.modseqs)):
            for at in range(0, len(column), _PIECE):
                made += column[at : at + _PIECE]
        return uids, flags, modseqs

    def pack(self) -> tuple[int, int, bytes, bytes, bytes]:
        """As it is kept."""
        flags = [mask & ROW_MASK for mask in self.flags]
        packed = (array("q"), array("q"), array("q"))
        for made, column in zip(packed, (self.uids, flags, self.modseqs)):
            for at in range(0, len(column), _PIECE):
                made.extend(column[at : at + _PIECE])
        uids, masks, modseqs = (made.tobytes() for made in packed)
        return self.modseq, self.uidnext, uids, masks, modseqs

    @classmethod
    def read(cls, modseq: int, uidnext: int, *columns: bytes) -> Snapshot:
        """From `pack`."""
        return cls(modseq, uidnext, *(array("q", column) for column in columns))


class Index:
    """Reads.  One object serves one thread at a time; each thread that reads has its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.connection = schema.connect(path, readonly=True)

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a bounded query.  Raises StoreUnavailable."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except apsw.Error as cause:
            raise StoreUnavailable() from cause

    def mailbox(self, account: int, name: str) -> MailboxRow | None:
        """The row of a name."""
        rows = self.rows(f"SELECT {_STATE} FROM mailbox WHERE account=? AND name=?", (account, name))
        return MailboxRow(*rows[0]) if rows else None

    def stored(self, mailbox: int, uids: Sequence[int]) -> dict[int, Stored]:
        """UID -> row of those that exist, in one statement."""
        low, high = min(uids), max(uids)
        if high - low < 2 * len(uids) or len(uids) == 1:
            rows = self.rows(f"{_STORED} BETWEEN ? AND ?", (mailbox, low, high))
        else:
            wanted = apsw.carray(array("q", uids))
            rows = self.rows(f"{_STORED} IN (SELECT value FROM carray(?))", (mailbox, wanted))
        return {row[0]: row for row in rows}

    def columns(self, mailbox: int, uids: Sequence[int], names: Sequence[str]) -> Sequence[Sequence[int]] | None:
        """The contents' keys and these columns of the ascending UIDs; None when one of them does not exist."""
        sql = ", ".join(["SELECT uid, segment<<32|ordinal", *names]) + " FROM message WHERE mailbox=? AND uid"
        low, high = uids[0], uids[-1]
        if high - low < 2 * len(uids):
            rows = self.rows(f"{sql} BETWEEN ? AND ?", (mailbox, low, high))
            if high - low >= len(uids):
                asked = set(uids)
                rows = [row for row in rows if row[0] in asked]
        else:
            rows = self.rows(f"{sql} IN (SELECT value FROM carray(?))", (mailbox, apsw.carray(array("q", uids))))
        return list(zip(*rows))[1:] if len(rows) == len(uids) else None

    def sizes(self, mailbox: int, uids: Sequence[int]) -> dict[int, int]:
        """UID -> octets of those that exist, UIDs ascending."""
        low, high = min(uids), max(uids)
        return dict(
            self.rows("SELECT uid, size FROM message WHERE mailbox=? AND uid BETWEEN ? AND ?", (mailbox, low, high))
        )

    def unique_ids(self, mailbox: int) -> dict[int, bytes]:
        """UID -> unique id of those messages that came with one."""
        return dict(self.rows("SELECT uid, id FROM unique_id WHERE mailbox=?", (mailbox,)))

    def international(self, mailbox: int) -> list[int]:
        """The UIDs of messages that came with SMTPUTF8."""
        if not self.rows("SELECT 1 FROM international LIMIT 1"):
            return []
        sql = ("SELECT uid FROM message WHERE mailbox=? AND EXISTS"
               " (SELECT 1 FROM international WHERE content=(segment<<32|ordinal)) ORDER BY uid")
        return [uid for (uid,) in self.rows(sql, (mailbox,))]

    def tombstones(self, mailbox: int, since: int, until: int) -> tuple[int, list[tuple[int, int]]]:
        """(the floor, ranges of the UIDs that were expunged after `since` and up to `until`)."""
        rows = self.rows("SELECT tombstone_floor FROM mailbox WHERE id=?", (mailbox,))
        floor = rows[0][0] if rows else 0
        ranges = []
        for (text,) in self.rows(
            "SELECT uids FROM tombstone WHERE mailbox=? AND modseq>? AND modseq<=?", (mailbox, since, until)
        ):
            ranges += parse_ranges(text)
        return floor, ranges

    def load(self, mailbox: int, snapshot: Snapshot | None) -> Loaded | None:
        """The columns, from the snapshot as far as it holds; None when the mailbox is gone."""
        connection = self.connection
        try:
            connection.execute("BEGIN")
            try:
                return self._load(mailbox, snapshot)
            finally:
                connection.execute("COMMIT")
        except apsw.Error as cause:
            raise StoreUnavailable() from cause

    def _load(self, mailbox: int, snapshot: Snapshot | None) -> Loaded | None:
        execute = self.connection.execute
        found = execute(f"SELECT {_STATE}, flag_modseq FROM mailbox WHERE id=?", (mailbox,)).fetchone()
        if found is None:
            return None
        row, flag_modseq = MailboxRow(*found[:-1]), found[-1]
        keywords = [bytes(name) for (name,) in execute(
            "SELECT name FROM keyword WHERE mailbox=? ORDER BY place", (mailbox,))]
        uids: list[int] = []
        flags: list[int] = []
        modseqs: list[int] = []
        first = 0
        if snapshot is not None and flag_modseq <= snapshot.modseq <= row.modseq:
            uids, flags, modseqs = snapshot.unpack()
            first = snapshot.uidnext
        known = count = len(uids)
        while True:
            # Three texts are read in half the time of as many rows, with the interpreter free for others meanwhile.
            texts = execute(_COLUMNS, (mailbox, first, _PIECE)).fetchone()
            for column, text in zip((uids, flags, modseqs), texts):
                column += json.loads(text)
            if len(uids) - count < _PIECE:
                break
            count, first = len(uids), uids[-1] + 1
        if len(keywords) > ROW_BITS - 5:
            places = {uid: place for place, uid in enumerate(uids)}
            for uid, bits in execute("SELECT uid, bits FROM spill WHERE mailbox=?", (mailbox,)):
                if uid in places:
                    flags[places[uid]] = unite(flags[places[uid]] & ROW_MASK, bits)
        return Loaded(row, uids, flags, modseqs, keywords, len(uids) - known)


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """Read what `str(UidSet)` wrote."""
    ranges = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        ranges.append((int(low), int(high or low)))
    return ranges


