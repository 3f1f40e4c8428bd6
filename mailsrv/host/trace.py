"""The steps of messages, kept for a while (floor 6): `trace.db` in the data folder, for `mailsrv trace`.

`note` appends to a list.  A thread takes what a second has brought, writes it with one statement and one commit, and
removes what is too old or too much, some at a time.  A crash may lose the last second; it loses no mail.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import apsw
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import StoreUnavailable
from .config.operations import TraceTable

log = Logger()

FILE = "trace.db"
#: Seconds that steps wait for others; so many that wait are written at once; more than these are left out.
PATIENCE, MANY, MOST = 1.0, 2000, 50_000
#: Steps of one statement: the thread has the interpreter to itself while it puts their text together.
SLICE = 200
#: Seconds between two looks at what is too old, and rows that go in one commit.
LOOK, GO = 60.0, 5000
#: Seconds that a close waits for the disk.
LAST = 5.0
#: Pages that are copied into the database at a time.
PAGES = 1000

_TABLES = """
CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, at REAL NOT NULL, message TEXT NOT NULL, kind TEXT NOT NULL,
    facts TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_message ON event (message, id);
"""
_INSERT = """INSERT INTO event (at, message, kind, facts) SELECT value->>0, value->>1, value->>2, value->3
    FROM json_each(?)"""

Step = tuple[float, str, str, Mapping[str, Any]]


class TraceLog:
    """One for a site.  `options()` are those in effect; everything public belongs to the reactor thread."""

    def __init__(
        self, path: Path, options: Callable[[], TraceTable], clock: Callable[[], float],
        call_later: Callable[..., Any], call_from_thread: Callable[..., Any],
    ) -> None:
        self.path = path
        self._options, self._clock = options, clock
        self._call_later, self._call_from_thread = call_later, call_from_thread
        self._steps: list[Step] = []
        self._timer: Any = None
        self._lost = 0
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._writer = _Writer(path)

    def note(self, message: str, kind: str, facts: Mapping[str, Any]) -> None:
        """See `transfer.tracing.Trace`."""
        steps = self._steps
        if len(steps) >= MOST:
            self._lost += 1
            return
        steps.append((self._clock(), message, kind, facts))
        if self._timer is None:
            self._timer = self._call_later(PATIENCE, self._flush)
        elif len(steps) == MANY:
            self._timer.reset(0)

    def _flush(self) -> None:
        """Hand over what there is."""
        self._timer = None
        steps, self._steps = self._steps, []
        keep = self._options().keep
        if keep is not None:
            self._hand(lambda: self._writer.write(steps, self._clock() - keep, self._options().size))
        if self._lost:
            log.warn("trace: {count} steps of messages were left out, as too many came at once", count=self._lost)
            self._lost = 0

    def _hand(self, work: Callable[[], Any]) -> None:
        """Have the thread do it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

    async def find(self, question: Callable[[apsw.Connection], Any]) -> Any:
        """What the function reads from all that was noted until now.  Raises StoreUnavailable."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        done: Deferred[Any] = Deferred()

        def work() -> None:
            """In the thread."""
            try:
                found: Any = self._writer.read(question)
            except apsw.Error as cause:
                self._call_from_thread(done.errback, StoreUnavailable(f"{self.path} cannot be read: {cause}"))
            else:
                self._call_from_thread(done.callback, found)

        self._hand(work)
        return await done

    def close(self) -> None:
        """Write what there is, and wait for that; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        if self._thread is not None:
            self._queue.put(self._writer.close)
            self._queue.put(None)
            self._thread.join(LAST)
            self._thread = None


class _Writer:
    """The database, for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._looked = 0.0
        self._broken = False

    def _open(self) -> apsw.Connection:
        """Raises apsw.Error, OSError."""
        if self._connection is None:
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = apsw.Connection(str(self._path))
            connection.set_busy_timeout(2000)
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            # Of a crash of the machine a little may be lost, nothing is damaged.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA journal_size_limit=16777216").fetchall()
            connection.wal_autocheckpoint(PAGES)
            connection.execute(_TABLES)
            self._connection = connection
        return self._connection

    def write(self, steps: Sequence[Step], oldest: float, size: int) -> None:
        """One commit.  What cannot be written is lost, and told once."""
        try:
            connection = self._open()
            with connection:
                for at in range(0, len(steps), SLICE):
                    connection.execute(_INSERT, (json.dumps(steps[at : at + SLICE], separators=(",", ":")),))
            if time.monotonic() - self._looked > LOOK:
                self._looked = time.monotonic()
                self._trim(connection, oldest, size)
            self._broken = False
        except (apsw.Error, OSError, ValueError) as cause:
            if not self._broken:
                log.warn("trace: {path} cannot be written: {cause}", path=str(self._path), cause=str(cause))
            self._broken = True
            self.close()

    def _trim(self, connection: apsw.Connection, oldest: float, size: int) -> None:
        """Remove what is older, and then what is too much, in commits of their own."""
        while connection.execute("SELECT at FROM event ORDER BY id LIMIT 1").get is not None:
            pages = connection.execute("PRAGMA page_count").get - connection.execute("PRAGMA freelist_count").get
            full = pages * connection.execute("PRAGMA page_size").get > size
            limit = "" if full else " WHERE at<?"
            values = (GO,) if full else (oldest, GO)
            connection.execute(
                f"DELETE FROM event WHERE id IN (SELECT id FROM (SELECT id, at FROM event ORDER BY id LIMIT {GO})"
                f"{limit} LIMIT ?)", values,
            )  # fmt: skip
            if connection.changes() < GO and not full:
                break

    def read(self, question: Callable[[apsw.Connection], Any]) -> Any:
        """Raises apsw.Error."""
        try:
            return question(self._open())
        except OSError as cause:
            raise apsw.CantOpenError(str(cause)) from cause

    def close(self) -> None:
        """Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)


def begin_trace(site: Any) -> TraceLog | None:
    """Have intake and runner tell it what becomes of messages; None for those that go with the process."""
    if site.options.store.use == "memory":
        return None
    made = TraceLog(
        site.options.data / FILE, lambda: site.options.trace, site.clock, site.reactor.callLater, site.call_from_thread
    )
    site.intake.trace = made.note
    if site.delivery is not None:
        site.delivery.runner.attempts.trace = made.note
    return made
