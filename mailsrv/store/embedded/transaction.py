"""One transaction of the writer thread: what operations read and change, and the deltas that open mailboxes need.

An operation first checks and writes its content records, and may raise a MailError until then; after that it only
changes rows here and cannot fail alone.  So no savepoints are needed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import apsw
from attrs import define

from ...interfaces import IContent
from ...numbers import UidSet
from ...values import DELETED, SEEN
from . import records, schema
from .boxes import Box, Boxes
from .ghosts import Ghosts, Stored
from .log import Reference, SegmentLog
from .queue_rows import QueueRows

#: Bits of flags in the row; further ones are in `spill`.
ROW_BITS = 63
ROW_MASK = (1 << ROW_BITS) - 1
#: How many removals of a mailbox are remembered; then the older half is forgotten.
HISTORY = 10_000

#: From so many contents on they are looked up by one statement.
_MANY = 20
_INSERT = "INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?)"
_STORED = "uid, segment, ordinal, size, date, zone, saved"

#: (mailbox, uid, modseq, flags, segment, ordinal, size, date, zone, saved)
Row = tuple[int, int, int, int, int, int, int, int, int, int]


@define
class Delta:
    """One change of one mailbox, for who has it open.  `rows` (uid, flags): appended, or with other flags;
    `gone`: expunged UIDs.  `keywords`: the whole table when it grew; `counters`: `Box.counters` afterwards."""

    kind: str
    modseq: int
    rows: Sequence[tuple[int, int]]
    gone: Sequence[int]
    keywords: list[bytes] | None
    counters: tuple[int, int, int, int]


@define
class Rule:
    """Which rows a change of flags changes, in ranges of UIDs that exist already: `action` and `mask` as in
    `keywords.changed`, for those whose MODSEQ is not above `since`."""

    action: str
    mask: int
    since: int | None
    ranges: Sequence[tuple[int, int]]

    def sql(self) -> str:
        """The statement that changes a range and nothing that would stay as it is."""
        after = {"add": "flags | ?5", "remove": "flags & ~?5"}.get(self.action, "?5")
        return (f"UPDATE message SET modseq=?1, flags={after} WHERE mailbox=?2 AND uid BETWEEN ?3 AND ?4"
                f" AND flags != {after} AND (?6 IS NULL OR modseq <= ?6)")


class Transaction:
    """What a batch does; made anew for each."""

    def __init__(
        self, connection: apsw.Connection, log: SegmentLog, boxes: Boxes, ghosts: Ghosts, now: float, history: int
    ) -> None:
        self.connection, self.log, self.boxes = connection, log, boxes
        self.now, self.history = int(now), history
        self._ghosts = ghosts
        self._began = log.following
        self._rows: list[Row] = []
        self._spill: list[tuple[int, int, bytes]] = []
        self._dead: dict[int, int] = {}
        self._haunted: list[tuple[int, list[int]]] = []
        self.deltas: dict[int, list[Delta]] = {}
        self.queue = QueueRows(connection)
        #: Mailboxes that were deleted; statements for the catalogue; whether the directory was changed.
        self.gone: list[int] = []
        self.catalogue: list[list[Any]] = []
        self.directory = False

    # Content

    def add(self, kind: int, header: bytes, content: IContent | None = None) -> Reference:
        """Append a record to the log."""
        return self.log.add(kind, header, content)

    # Rows

    def insert(self, box: Box, rows: Sequence[tuple[int, Reference, int, int, int]], keywords: bool = False) -> int:
        """Append rows (mask, reference, size, date, zone) in one change; their first UID."""
        first = uid = box.uidnext
        box.modseq = modseq = box.modseq + 1
        mailbox, now, shown = box.id, self.now, []
        for mask, (segment, ordinal), size, date, zone in rows:
            self._rows.append(
                (mailbox, uid, modseq, mask & ROW_MASK, segment, ordinal, size, date, zone, now)
            )
            if mask > ROW_MASK:
                self._spill.append((mailbox, uid, _spilled(mask)))
            if not mask & SEEN:
                box.unseen += 1
            if mask & DELETED:
                box.deleted += 1
            box.octets += size
            shown.append((uid, mask))
            uid += 1
        box.uidnext = uid
        box.exist += len(rows)
        box.recent += len(rows)
        self.changed(box, "rows", shown, (), keywords)
        return first

    def keep_unique_ids(self, box: Box, ids: Iterable[tuple[int, bytes]]) -> None:
        """Rows (uid, id) of messages that came with one."""
        self.connection.executemany("INSERT INTO unique_id VALUES (?,?,?)", [(box.id, *pair) for pair in ids])

    def changed(
        self, box: Box, kind: str, rows: Sequence[tuple[int, int]], gone: Sequence[int], keywords: bool
    ) -> None:
        """Note a change of a mailbox: the row is written at commit, open views are told."""
        mailbox = box.id
        self.boxes.dirty[mailbox] = box
        delta = Delta(kind, box.modseq, rows, gone, box.keywords if keywords else None, box.counters())
        found = self.deltas.get(mailbox)
        if found is None:
            self.deltas[mailbox] = [delta]
        else:
            found.append(delta)

    def flags(self, box: Box, uids: UidSet, limit: int) -> list[tuple[int, int, int]]:
        """Existing rows (uid, modseq, mask) among `uids` in ascending order, at most `limit`."""
        found: list[tuple[int, int, int]] = []
        for rows in self._ranges("uid, modseq, flags", box, uids, limit):
            found += rows
        if len(self.boxes.keywords(box)) <= ROW_BITS - 5:
            return found
        spilled = dict(self.connection.execute("SELECT uid, bits FROM spill WHERE mailbox=?", (box.id,)))
        return [(uid, modseq, unite(flags, spilled.get(uid))) for uid, modseq, flags in found]

    def stored(self, box: Box, uids: UidSet, limit: int) -> list[Stored]:
        """As `flags`, what else a row holds: uid, segment, ordinal, size, date, zone, saved."""
        return [row for rows in self._ranges(_STORED, box, uids, limit) for row in rows]

    def _ranges(self, columns: str, box: Box, uids: UidSet, limit: int) -> Iterator[list[Any]]:
        """Rows range by range until `limit` rows were read."""
        self.flush()
        sql = f"SELECT {columns} FROM message WHERE mailbox=? AND uid BETWEEN ? AND ? LIMIT ?"
        for low, high in uids.ranges:
            rows = self.connection.execute(sql, (box.id, low, high, limit)).fetchall()
            yield rows
            limit -= len(rows)
            if limit <= 0:
                return

    def reflag(self, box: Box, rows: Sequence[tuple[int, int, int]], keywords: bool, rule: Rule) -> None:
        """Give rows (uid, mask before, mask after) their flags in one change: those that `rule` says."""
        box.modseq = box.flag_modseq = modseq = box.modseq + 1
        box.unsaved = 1
        most = 0
        for (before, after), count in Counter(map(itemgetter(1, 2), rows)).items():
            box.unseen += count * (bool(before & SEEN) - bool(after & SEEN))
            box.deleted += count * (bool(after & DELETED) - bool(before & DELETED))
            most = max(most, before, after)
        mailbox, execute = box.id, self.connection.executemany
        if most <= ROW_MASK and len(rows) > 4 * len(rule.ranges):
            mask, since = rule.mask & ROW_MASK, rule.since
            execute(rule.sql(), [(modseq, mailbox, low, high, mask, since) for low, high in rule.ranges])
        else:
            execute("UPDATE message SET modseq=?, flags=? WHERE mailbox=? AND uid=?",
                    [(modseq, after & ROW_MASK, mailbox, uid) for uid, _, after in rows])
        spilled = [row for row in rows if row[1] > ROW_MASK or row[2] > ROW_MASK] if most > ROW_MASK else ()
        if spilled:
            execute("INSERT OR REPLACE INTO spill VALUES (?,?,?)",
                    [(mailbox, uid, _spilled(after)) for uid, _, after in spilled])
        self.changed(box, "flags", list(map(itemgetter(0, 2), rows)), (), keywords)

    def expunge(self, box: Box, uids: UidSet, limit: int) -> list[int]:
        """Remove existing rows among `uids` for good, at most `limit`, in one change; their UIDs."""
        rows = [row for found in self._ranges(f"{_STORED}, flags", box, uids, limit) for row in found]
        # Keywords beyond the row's bits are nobody's business here.
        self.remove(box, rows, list(map(itemgetter(7), rows)))
        return list(map(itemgetter(0), rows))

    def remove(self, box: Box, rows: Sequence[Stored], masks: Sequence[int], *, shared: bool = False) -> None:
        """Expunge rows in one change.  `shared`: their content has other rows for certain (a move)."""
        if not rows:
            return
        uids = list(map(itemgetter(0), rows))
        gone = UidSet.of(uids)
        box.modseq = box.flag_modseq = modseq = box.modseq + 1
        box.unsaved = 1
        self._ghosts.add(box.id, modseq, rows)
        self._haunted.append((box.id, uids))
        for mask, count in Counter(masks).items():
            box.unseen -= 0 if mask & SEEN else count
            box.deleted -= count if mask & DELETED else 0
        box.octets -= sum(map(itemgetter(3), rows))
        box.recent -= len(uids) - bisect_left(uids, box.recent_from)
        box.exist -= len(rows)
        # Ranges join adjacent UIDs only, so that nothing else can be in them.
        self.connection.executemany(
            "DELETE FROM message WHERE mailbox=? AND uid BETWEEN ? AND ?", [(box.id, *pair) for pair in gone.ranges]
        )
        if len(self.boxes.keywords(box)) > ROW_BITS - 5:
            self.connection.executemany("DELETE FROM spill WHERE mailbox=? AND uid=?", [(box.id, uid) for uid in uids])
        if self.connection.execute("SELECT 1 FROM unique_id WHERE mailbox=? LIMIT 1", (box.id,)).get:
            self.connection.executemany("DELETE FROM unique_id WHERE mailbox=? AND uid BETWEEN ? AND ?",
                                        [(box.id, *pair) for pair in gone.ranges])
        self._bury(box, modseq, gone)
        if not shared:
            self._dead_keys({row[1] << 32 | row[2]: row[3] for row in rows})
        self.changed(box, "gone", (), uids, False)

    def _bury(self, box: Box, modseq: int, gone: UidSet) -> None:
        """Write the tombstone; forget the older half of too many."""
        self.connection.execute("INSERT INTO tombstone VALUES (?,?,?)", (box.id, modseq, str(gone)))
        box.tombstones += 1
        if box.tombstones > self.history:
            keep = max(self.history // 2, 1) if self.history > 100 else self.history
            drop = box.tombstones - keep
            floor = self.connection.execute(
                "SELECT modseq FROM tombstone WHERE mailbox=? ORDER BY modseq LIMIT 1 OFFSET ?", (box.id, drop - 1)
            ).get
            self.connection.execute("DELETE FROM tombstone WHERE mailbox=? AND modseq<=?", (box.id, floor))
            box.tombstones, box.tombstone_floor = keep, floor

    def dead(self, contents: dict[Reference, int]) -> None:
        """Count those contents (reference -> octets) that no row refers to any more."""
        self._dead_keys({segment << 32 | ordinal: size for (segment, ordinal), size in contents.items()})

    def _dead_keys(self, contents: dict[int, int]) -> None:
        """The same for segment << 32 | ordinal -> octets."""
        self.flush()
        if len(contents) < _MANY:
            execute = self.connection.execute
            referred = [k for k in contents if execute(schema.REFERRED, (k >> 32, k & 0xFFFFFFFF)).fetchone()]
        else:
            found = self.connection.execute(schema.ALL_REFERRED, (apsw.carray(array("q", contents)),))
            referred = [key for (key,) in found]
        for key in referred:
            del contents[key]
        # An array of nothing has no place in memory that SQLite would take.
        if contents and self.connection.execute("SELECT 1 FROM international LIMIT 1").get:
            gone = apsw.carray(array("q", contents))
            self.connection.execute("DELETE FROM international WHERE content IN (SELECT value FROM carray(?))", (gone,))
        for segment in {key >> 32 for key in contents}:
            sizes = [size for key, size in contents.items() if key >> 32 == segment]
            self.dead_octets(segment, sum(sizes) + len(sizes) * records.PREFIX.size)

    def dead_octets(self, segment: int, octets: int) -> None:
        """Count octets that nothing refers to any more."""
        self._dead[segment] = self._dead.get(segment, 0) + octets

    @property
    def buried(self) -> bool:
        """Whether some content died."""
        return bool(self._dead)

    # The batch

    def flush(self) -> None:
        """Bring the new rows into the database, so that they can be read."""
        if self._rows:
            rows, self._rows = self._rows, []
            self.connection.executemany(_INSERT, rows)
        if self._spill:
            spill, self._spill = self._spill, []
            self.connection.executemany("INSERT OR REPLACE INTO spill VALUES (?,?,?)", spill)
        self.queue.flush()

    def log_queue(self) -> None:
        """Tell the log what became of rows of the queue."""
        self.flush()
        for statements in self.queue.statements():
            self.add(records.CHANGES, records.to_json(statements).encode())
            self.connection.execute("UPDATE meta SET value=value+1 WHERE key='changes'")

    def finish(self) -> None:
        """All that the batch did is in the database and the log; both still have to be made durable."""
        self.flush()
        if self.queue.ended:
            self.dead(self.queue.end())
        self.boxes.write()
        # Syncing the log for this alone would cost as much as a delivery.
        if self.catalogue or self.log.following != self._began or (self.queue.marked and self.queue.many()):
            self.log_queue()
        if self.catalogue:
            self.add(records.CHANGES, records.to_json(self.catalogue).encode())
            self.connection.execute("UPDATE meta SET value=value+1 WHERE key='changes'")
        if self.log.following != self._began:
            # Records from here on were never acknowledged, when a crash leaves some.
            number, ordinal = self.log.following
            self.connection.execute("UPDATE meta SET value=? WHERE key='log'", (number << 32 | ordinal,))
        if self._dead:
            self.connection.executemany(
                schema.ADD_DEAD, [(segment, octets, self.now) for segment, octets in self._dead.items()]
            )

    def undo(self) -> None:
        """The batch was rolled back."""
        for mailbox, uids in self._haunted:
            self._ghosts.discard(mailbox, uids)


def _spilled(mask: int) -> bytes:
    """The bits of a mask that have no room in the row."""
    rest = mask >> ROW_BITS
    return rest.to_bytes((rest.bit_length() + 7) // 8, "little")


def unite(flags: int, bits: bytes | None) -> int:
    """The whole mask of a row."""
    return flags | int.from_bytes(bits, "little") << ROW_BITS if bits else flags
