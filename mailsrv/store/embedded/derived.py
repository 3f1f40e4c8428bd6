"""Derived data: what can be computed again, in a database of its own with `synchronous=NORMAL` (decisions 6).

Summaries are kept by content (segment, ordinal), so that all recipients of one message share one.  The file is
deleted and begun anew when it belongs to another index (its epoch differs) or is damaged; then only time is lost.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw
from twisted.logger import Logger

from . import schema
from .index import Snapshot

VERSION = 3
#: Records made of a content, each kind in a table of its own; all other kinds (of renderings) share one.
KINDS = ("summary", "head")
#: What waits to be written is bounded; beyond it is forgotten.
PENDING_ENTRIES, PENDING_OCTETS = 10_000, 32 * 2**20

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE summary (key INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE head (key INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE other (key INTEGER NOT NULL, kind TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (key, kind))
    WITHOUT ROWID;
CREATE TABLE snapshot (mailbox INTEGER PRIMARY KEY, modseq INTEGER NOT NULL, uidnext INTEGER NOT NULL,
    uids BLOB NOT NULL, flags BLOB NOT NULL, modseqs BLOB NOT NULL);
"""


def content_key(segment: int, ordinal: int) -> int:
    """One integer for a reference."""
    return segment << 32 | ordinal


class Derived:
    """Read in the reactor thread, written by the writer thread (`write`); what waits is found as well."""

    _log = Logger()

    def __init__(self, path: Path, epoch: str) -> None:
        self._path = path
        self._writing = _open(path, epoch)
        self._reading = schema.connect(path, readonly=True)
        self._lock = threading.Lock()
        self._records: dict[str, dict[int, bytes]] = {}
        self._snapshots: dict[int, Snapshot] = {}
        self._forgotten: list[tuple[int, int]] = []
        self._octets = 0
        self.broken = False

    # In the reactor thread

    def records(self, kind: str, keys: Sequence[int]) -> dict[int, bytes]:
        """key -> record of those that are kept."""
        found: dict[int, bytes] = {}
        if self.broken or not keys:
            return found
        low, high = min(keys), max(keys)
        source, values = ("SELECT key, record FROM other WHERE kind=? AND key", (kind,))
        if kind in KINDS:
            source, values = f"SELECT key, record FROM {kind} WHERE key", ()
        try:
            if high - low < 2 * len(keys):
                rows = self._reading.execute(f"{source} BETWEEN ? AND ?", (*values, low, high))
            else:
                wanted = apsw.carray(array("q", keys))
                rows = self._reading.execute(f"{source} IN (SELECT value FROM carray(?))", (*values, wanted))
            found = dict(rows.fetchall())
        except apsw.Error as cause:
            self._fail(cause)
        with self._lock:
            waiting = self._records.get(kind)
            if waiting:
                found.update((key, waiting[key]) for key in keys if key in waiting)
        return found

    def column(self, kind: str, keys: Sequence[int]) -> Sequence[bytes] | None:
        """The records of one of `KINDS`, in the order of the keys; None when there are not all of them."""
        found = self.records(kind, keys)
        if len(found) == len(keys) and tuple(found) == keys:
            return list(found.values())
        column = [found.get(key) for key in keys]
        return None if None in column else column  # type: ignore[return-value]

    def keep(self, kind: str, records: Iterable[tuple[int, bytes]]) -> None:
        """Keep records; written when the writer has time."""
        with self._lock:
            waiting = self._records.setdefault(kind, {})
            for key, record in records:
                if self._octets + len(record) > PENDING_OCTETS or len(waiting) >= PENDING_ENTRIES:
                    return
                waiting[key] = record
                self._octets += len(record)

    def snapshot(self, mailbox: int) -> Snapshot | None:
        """The packed columns of a mailbox."""
        return self._snapshot(mailbox, self._reading)

    def snapshot_apart(self, mailbox: int) -> Snapshot | None:
        """The same, from any thread."""
        try:
            reading = schema.connect(self._path, readonly=True)
        except apsw.Error as cause:
            self._fail(cause)
            return None
        try:
            return self._snapshot(mailbox, reading)
        finally:
            reading.close()

    def _snapshot(self, mailbox: int, reading: apsw.Connection) -> Snapshot | None:
        with self._lock:
            waiting = self._snapshots.get(mailbox)
        if waiting is not None or self.broken:
            return waiting
        try:
            row = reading.execute(
                "SELECT modseq, uidnext, uids, flags, modseqs FROM snapshot WHERE mailbox=?", (mailbox,)
            ).fetchone()
        except apsw.Error as cause:
            self._fail(cause)
            return None
        return None if row is None else Snapshot.read(*row)

    def keep_snapshot(self, mailbox: int, snapshot: Snapshot) -> None:
        """Keep columns whose lists nobody changes any more; packed and written when the writer has time."""
        with self._lock:
            size = 24 * len(snapshot.uids)
            if self._octets + size <= PENDING_OCTETS:
                self._snapshots[mailbox] = snapshot
                self._octets += size

    # From any thread

    def forget(self, segment: int, ordinals: Iterable[int]) -> None:
        """Content that is gone from the disk."""
        with self._lock:
            self._forgotten += ((segment, ordinal) for ordinal in ordinals)

    @property
    def waiting(self) -> bool:
        """Whether `write` would find something."""
        return bool(any(self._records.values()) or self._snapshots or self._forgotten)

    # In the writer thread

    def write(self) -> None:
        """Write what waits; a failure loses it."""
        with self._lock:
            records, self._records = self._records, {}
            snapshots, self._snapshots = self._snapshots, {}
            forgotten, self._forgotten = self._forgotten, []
            self._octets = 0
        if self.broken:
            return
        connection = self._writing
        try:
            with connection:
                gone = [(content_key(*ref),) for ref in forgotten]
                for kind, made in records.items():
                    _insert(connection, kind, made)
                for table in (*KINDS, "other"):
                    connection.executemany(f"DELETE FROM {table} WHERE key=?", gone)
                connection.executemany(
                    "INSERT OR REPLACE INTO snapshot VALUES (?,?,?,?,?,?)",
                    [(mailbox, *snapshot.pack()) for mailbox, snapshot in snapshots.items()],
                )
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as cause:
            self._fail(cause)

    def _fail(self, cause: apsw.Error) -> None:
        """A damaged file is not asked again and is begun anew at the next start; a full disk passes."""
        self._log.warn("store: derived data: {cause}", cause=cause)
        if isinstance(cause, apsw.CorruptError | apsw.NotADBError):
            self.broken = True

    def close(self) -> None:
        """Write what waits and let go; a damaged file is deleted."""
        self.write()
        self._reading.close()
        path = Path(self._writing.filename)
        self._writing.close()
        if self.broken:
            _delete(path)


def _insert(connection: apsw.Connection, kind: str, made: dict[int, bytes]) -> None:
    """Records of one kind."""
    if kind in KINDS:
        connection.executemany(f"INSERT OR REPLACE INTO {kind} VALUES (?,?)", list(made.items()))
    else:
        rows = [(key, kind, record) for key, record in made.items()]
        connection.executemany("INSERT OR REPLACE INTO other VALUES (?,?,?)", rows)


def _open(path: Path, epoch: str) -> apsw.Connection:
    """The database of this epoch, begun anew if need be."""
    for _ in range(2):
        connection = None
        try:
            connection = schema.connect(path)
            connection.execute("PRAGMA synchronous=NORMAL")
            if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
                with connection:
                    connection.execute(_TABLES)
                    schema.set_value(connection, "epoch", epoch)
                    schema.set_value(connection, "version", VERSION)
            found: Any = (schema.value(connection, "epoch"), schema.value(connection, "version"))
            if found == (epoch, VERSION):
                return connection
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError):
            # Damaged, or no database at all: nothing in it is missed.
            found = None
        if connection is not None:
            connection.close(True)
        _delete(path)
    return schema.connect(path)


def _delete(path: Path) -> None:
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
