"""Compaction: a sealed segment is written again without what nobody refers to, under the next generation.

Rows do not change, since references are (segment, ordinal); readers keep the old file until they let go of it.  A
segment is due when under half of it is live, or when something in it has been dead for `purge_after` seconds.
Every step may be the last one before a crash: until the rename the old generation is the one, after it the new one.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
from attrs import define
from twisted.logger import Logger

from ...errors import StoreUnavailable
from . import records, schema
from .checkpoint import CATALOGUE_SUBJECT, WriteStates
from .derived import Derived
from .ghosts import Ghosts
from .index import Index
from .log import SegmentLog, write_all
from .operations import Asked
from .records import Found
from .segments import Places, SegmentFile, SegmentSet, segment_path, sync_folder
from .transaction import Transaction
from .writer import Writer

#: How often the thread looks by itself, and how long it lets the writer go first.
PERIOD_SECONDS = 300.0
#: Seconds between two looks that were asked for: something dies with every message that is sent on.
PAUSE_SECONDS = 1.0
_PIECE = 2**20
_YIELD_SECONDS, _YIELDS = 0.01, 50


class Seal(Asked):
    """Close the active segment if it is this one, so that it can be compacted."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def run(self, transaction: Transaction) -> bool:
        """Write the footer; the next record opens the next segment."""
        if transaction.log.active == self._number:
            transaction.log.seal()
        return True


class Compacted(Asked):
    """What was dead before (`dead`) is gone from the segment, but for `kept` octets that somebody can still see."""

    __slots__ = ("_dead", "_kept", "_number")

    def __init__(self, number: int, dead: int, kept: int) -> None:
        super().__init__()
        self._number, self._dead, self._kept = number, dead, kept

    def run(self, transaction: Transaction) -> bool:
        """What died meanwhile stays counted."""
        connection = transaction.connection
        connection.execute(
            "UPDATE segment SET dead=max(0, dead-?)+? WHERE number=?", (self._dead, self._kept, self._number)
        )
        connection.execute("DELETE FROM segment WHERE number=? AND dead=0", (self._number,))
        return True


@define
class _Plan:
    """What is to be kept of one segment."""

    dead: int
    live: set[int]
    pinned: set[int]
    catalogue: tuple[int, int]


class Compactor:
    """One thread with an index connection of its own.  `step(name)` is called at each point where a crash could
    come, for tests."""

    _log = Logger()

    def __init__(
        self, index: Path, segments: SegmentSet, log: SegmentLog, ghosts: Ghosts, derived: Derived, writer: Writer,
        clock: Callable[[], float], purge_after: float | None,
    ) -> None:
        self._index, self._segments, self._ghosts, self._derived = index, segments, ghosts, derived
        self._active, self._writer, self._clock, self._purge_after = log, writer, clock, purge_after
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        #: A backup reads the segments, or waits for its turn to.
        self._held = threading.Event()
        self._due = threading.Event()
        self.step: Callable[[str], None] = lambda name: None
        self._thread = threading.Thread(target=self._run, name="store compaction", daemon=True)

    def start(self) -> None:
        """Begin to look after the segments."""
        self._thread.start()

    def wake(self) -> None:
        """Something died: look soon."""
        self._due.set()

    def stop(self) -> None:
        """Leave off what is under way; nothing is lost by that."""
        self._stopping.set()
        self._due.set()

    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """No segment goes or is rewritten meanwhile; what is under way ends with the present segment."""
        self._held.set()
        try:
            with self._lock:
                yield
        finally:
            self._held.clear()
            self._due.set()

    def join(self) -> None:
        """Wait for the thread; after `stop`."""
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.wait(PERIOD_SECONDS)
            self._due.clear()
            if self._stopping.is_set():
                return
            if self._purge_after is None:
                continue
            try:
                if not self._held.is_set():
                    self.compact(self._purge_after)
            except (OSError, apsw.Error, StoreUnavailable) as cause:
                # No room, or a damaged segment: the old generation is untouched; the next period tries again.
                self._log.warn("store: compaction: {cause!r}", cause=cause)
            self._stopping.wait(PAUSE_SECONDS)

    def compact(self, purge_after: float) -> int:
        """Compact all segments that are due; the octets given back.  Raises OSError, apsw.Error, StoreUnavailable."""
        if self._held.is_set():
            raise StoreUnavailable("A backup is being made: try again when it has ended")
        with self._lock:
            index = Index(self._index)
            try:
                due = self._candidates(index, purge_after)
                if not due or not self._ask(WriteStates()):
                    return 0
                freed = 0
                for number in due:
                    if self._stopping.is_set() or self._held.is_set():
                        break
                    if number == self._active.active and not self._ask(Seal(number)):
                        break
                    freed += self._segment(index, number)
                return freed
            finally:
                index.close()

    def _candidates(self, index: Index, purge_after: float) -> list[int]:
        """The segments that are due; what open mailboxes still show does not count."""
        now, found = self._clock(), []
        numbers = set(self._segments.numbers())
        for number, dead, since in index.rows("SELECT number, dead, dead_since FROM segment ORDER BY number"):
            if number not in numbers or dead <= self._ghosts.octets(number):
                continue
            old = since is not None and since + purge_after <= now
            half = number != self._active.active and 2 * dead > os.stat(self._segments.path(number)).st_size
            if old or half:
                found.append(number)
        return found

    def _ask(self, operation: Asked) -> bool:
        """Have the writer do something; False when the store is closing."""
        self._writer.put(operation)
        while not operation.reached.wait(0.05):
            if self._stopping.is_set():
                return False
        return True

    def _plan(self, index: Index, number: int) -> _Plan:
        """One moment's view of a segment.  Rows first, then what open mailboxes still show: an expunge goes the
        other way, so that nothing can be missed by both."""
        execute = index.connection.execute
        execute("BEGIN")
        try:
            dead = execute("SELECT dead FROM segment WHERE number=?", (number,)).get or 0
            live = {row[0] for row in execute(schema.ORDINALS, (number,))}
            live.update(row[0] for row in execute("SELECT ordinal FROM checkpoint WHERE segment=?", (number,)))
            catalogue = execute("SELECT segment, ordinal FROM checkpoint WHERE subject=?", (CATALOGUE_SUBJECT,))
            latest = catalogue.fetchone() or (0, 0)
        finally:
            execute("COMMIT")
        return _Plan(dead, live, self._ghosts.pinned(number) - live, latest)

    def _segment(self, index: Index, number: int) -> int:
        """Compact one segment; the octets given back."""
        file = self._segments.get(number)
        if not file.sealed:
            return 0
        plan = self._plan(index, number)
        before = os.stat(file.path).st_size
        head = records.FileHeader(number, file.head.generation + 1, file.head.salt)
        target = segment_path(self._segments.folder, number, head.generation)
        temporary = target.with_name(target.name + ".tmp")
        self.step("begin")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            places, kept = self._copy(index, file, plan, head, fd)
            if places is None:
                temporary.unlink()
                return 0
            os.fsync(fd)
        except (OSError, StoreUnavailable):
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self.step("synced")
        if len(places):
            os.rename(temporary, target)
            self.step("renamed")
            sync_folder(self._segments.folder)
            self._segments.publish(SegmentFile.open(target))
        else:
            temporary.unlink()
            self._segments.forget(number)
        self.step("published")
        file.path.unlink()
        self.step("unlinked")
        self._derived.forget(number, set(file.places.ordinals) - set(places.ordinals))
        self._ask(Compacted(number, plan.dead, kept))
        return before - (os.stat(target).st_size if len(places) else 0)

    def _copy(
        self, index: Index, file: SegmentFile, plan: _Plan, head: records.FileHeader, fd: int
    ) -> tuple[Places | None, int]:
        """Write what is live behind a new header, with a footer: (where it is, octets that are kept for open
        mailboxes only); None when the store is closing.  Raises StoreUnavailable for a damaged record."""
        places, kept = Places(), 0
        at = write_all(fd, [head.encode()], 0)
        for ordinal in file.places.ordinals:
            found = file.record(ordinal)
            if found is None:
                raise StoreUnavailable(f"{file.path.name}: record {ordinal} is damaged; the segment is left as it is")
            if not self._wanted(index, file.head.number, found, plan):
                continue
            if ordinal in plan.pinned:
                kept += found.body_octets + records.PREFIX.size
            places.add(ordinal, at, at + found.body - found.start)
            for offset in range(found.start, found.end, _PIECE):
                at = write_all(fd, [os.pread(file.fd, min(_PIECE, found.end - offset), offset)], at)
            if not self._let_others():
                return None, 0
        write_all(fd, [places.encode(at)], at)
        self.step("copied")
        return places, kept

    def _wanted(self, index: Index, number: int, found: Found, plan: _Plan) -> bool:
        """Whether a record must stay."""
        if found.kind == records.CHANGES:
            return (number, found.ordinal) > plan.catalogue
        if found.kind == records.PLACEMENTS:
            reference = json.loads(found.header)["of"]
            return bool(index.rows(schema.REFERRED, reference))
        return found.ordinal in plan.live or found.ordinal in plan.pinned

    def _let_others(self) -> bool:
        """Give way while the writer has work, for a bounded time; False when the store is closing."""
        for _ in range(_YIELDS):
            if self._stopping.is_set():
                return False
            if not self._writer.entries:
                break
            self._stopping.wait(_YIELD_SECONDS)
        return True
