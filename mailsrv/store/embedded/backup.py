"""Backup of a store that is open: the index first, then the segments it refers to (decisions 9).

All of it runs in a thread of its own.  Compaction waits meanwhile, so no segment goes or is rewritten.  The index is
copied in one read of it (a moment's state, 0021); content is on the disk before the rows that refer to it, so
whatever the copy knows is in the segments.  Of the segment that is written to, just what the copy knows is taken.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from ...errors import Refused, StoreUnavailable
from ..backup import PIECE, SYNC, BackupJob, BackupLock, Entry, Manifest, prepare, stale, sync_tree
from . import schema
from .compaction import Compactor
from .content import Readers
from .log import end_of
from .segments import SegmentFile, SegmentSet
from .writer import Writer

#: Pages of a database that one step copies.
PAGES = 512
#: What a piece waits at most while the writer has work: (seconds, times).
_YIELD_SECONDS, _YIELDS = 0.005, 10
_SUMS = "sums"


class Backup:
    """One backup of one store.  `busy()` tells whether the writer has work; `step(name)` is for tests."""

    def __init__(
        self, job: BackupJob, index: Path, segments: SegmentSet, held: Callable[[], AbstractContextManager[None]],
        busy: Callable[[], bool], stopped: Callable[[], bool], clock: Callable[[], float],
    ) -> None:
        self._job, self._index, self._segments = job, index, segments
        self._held, self._busy, self._stopped, self._clock = held, busy, stopped, clock
        self._entries: list[Entry] = []
        self.step: Callable[[str], None] = lambda name: None

    def run(self) -> Manifest:
        """All of it.  Raises Refused for a folder that cannot be, StoreUnavailable when it cannot be finished."""
        folder = self._job.folder
        try:
            prepare(folder)
            lock = BackupLock(folder)
            try:
                Manifest.read(folder)
                return self._run(folder)
            finally:
                lock.release()
        except OSError as cause:
            where = f"{cause.filename}: " if cause.filename else ""
            raise StoreUnavailable(f"The backup failed: {where}{cause.strerror or cause}") from cause
        except apsw.Error as cause:
            raise StoreUnavailable(f"The backup failed: {cause}") from cause

    def _run(self, folder: Path) -> Manifest:
        job, taken = self._job, self._clock()
        stamp = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(taken))}-{secrets.token_hex(3)}"
        state = folder / f"state-{stamp}"
        (state / "segments").mkdir(mode=0o700, parents=True)
        whole = False
        try:
            job.step = "waiting for compaction"
            with self._held():
                job.step = "index"
                self._database("data", self._index.name, self._index, state / self._index.name)
                facts = _facts_of(state / self._index.name)
                self.step("index")
                job.step = "segments"
                self._copy_segments(folder, state, facts["epoch"], facts["log"])
            job.step = "configuration"
            self._copy_extra(state)
            manifest = Manifest(taken, facts["epoch"], facts["schema"], job.facts, tuple(self._entries))
            job.step = "finishing"
            sync_tree(folder)
            self.step("copied")
            whole = True
        finally:
            if not whole:
                shutil.rmtree(state, ignore_errors=True)
        manifest.write(folder)
        self.step("written")
        for left in list(stale(folder, manifest)):
            # What cannot be removed costs room and nothing else; the next backup tries again.
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        _write_sums(folder / f"segments-{facts['epoch']}", manifest)
        job.step = "done"
        return manifest

    # ------------------------------------------------------------ segments

    def _copy_segments(self, folder: Path, state: Path, epoch: str, log: int) -> None:
        """All segments that the copy of the index knows of, `log` is (segment << 32 | ordinal) of the first record that
        it does not."""
        shared = folder / f"segments-{epoch}"
        shared.mkdir(mode=0o700, exist_ok=True)
        known = _read_sums(shared)
        numbers = [number for number in self._segments.numbers() if number <= log >> 32]
        self._job.total += sum(os.stat(self._segments.path(number)).st_size for number in numbers)
        for number in numbers:
            file = self._segments.get(number)
            end = _known_end(file, log)
            name = file.path.name
            if end is None:
                self._sealed(file, shared, known)
            else:
                place = f"{state.name}/segments/{name}"
                self._file("data", f"segments/{name}", file.path, folder / place, place, end)

    def _sealed(self, file: SegmentFile, shared: Path, known: dict[str, tuple[int, str]]) -> None:
        """A segment that never changes: copied once."""
        name, target, size = file.path.name, shared / file.path.name, os.stat(file.path).st_size
        place, goes = f"{shared.name}/{name}", f"segments/{name}"
        if name in known and known[name][0] == size and target.is_file() and target.stat().st_size == size:
            self._entries.append(Entry("data", goes, place, size, known[name][1]))
            self._job.reused += size
            self._job.files += 1
            return
        self._file("data", goes, file.path, target, place, None)
        made = self._entries[-1]
        with (shared / _SUMS).open("a") as sums:
            sums.write(json.dumps([name, made.octets, made.sha256]) + "\n")

    # ------------------------------------------------------------ other files

    def _copy_extra(self, state: Path) -> None:
        """Configuration, keys and what else the site keeps; a file that has gone meanwhile is none."""
        for number, (kind, goes, path) in enumerate(self._job.extra):
            place = f"{state.name}/{kind}/{goes if kind != 'outside' else f'{number}-{path.name}'}"
            target = state.parent / place
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._job.total += path.stat().st_size
                if path.name.endswith(".db"):
                    self._database(kind, goes, path, target)
                else:
                    self._file(kind, goes, path, target, place, None)
            except FileNotFoundError:
                target.unlink(missing_ok=True)

    def _database(self, kind: str, goes: str, source: Path, target: Path) -> None:
        """A copy of a database as it is at one moment, in one read of it."""
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        reading = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
        writing = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            reading.set_busy_timeout(5000)
            writing.execute("PRAGMA synchronous=OFF")
            reading.execute("BEGIN")
            # The read that fixes the state; without one each step would begin its own, and the copy anew.
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            with writing.backup("main", reading, "main") as copying:
                while not copying.done:
                    self._go_on()
                    copying.step(PAGES)
        finally:
            writing.close()
            reading.close()
        octets, digest, fd = 0, sha256(), os.open(target, os.O_RDWR | os.O_CLOEXEC)
        try:
            while piece := os.pread(fd, PIECE, octets):
                self._go_on()
                digest.update(piece)
                octets += len(piece)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._note(Entry(kind, goes, str(target.relative_to(self._job.folder)), octets, digest.hexdigest()))

    def _file(self, kind: str, goes: str, source: Path, target: Path, place: str, end: int | None) -> None:
        """Copy a file, or its first `end` octets, and note it.  Raises OSError, StoreUnavailable."""
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mode = os.fstat(reading).st_mode
            temporary = target.with_name(f"{target.name}.tmp")
            writing = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                octets, digest = self._pieces(reading, writing, end)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        if end is not None and octets != end:
            raise StoreUnavailable(f"The backup failed: {source} is shorter than it was")
        os.rename(temporary, target)
        self._note(Entry(kind, goes, place, octets, digest, mode & 0o777))

    def _pieces(self, reading: int, writing: int, end: int | None) -> tuple[int, str]:
        """Copy; (octets, SHA-256).  What was copied does not crowd others out of the system's memory."""
        digest, at, synced = sha256(), 0, 0
        while end is None or at < end:
            piece = os.pread(reading, PIECE if end is None else min(PIECE, end - at), at)
            if not piece:
                break
            self._go_on()
            digest.update(piece)
            done = 0
            while done < len(piece):
                done += os.pwrite(writing, piece[done:], at + done)
            at += len(piece)
            self._job.copied += len(piece)
            if at - synced >= SYNC:
                os.fdatasync(writing)
                os.posix_fadvise(writing, synced, at - synced, os.POSIX_FADV_DONTNEED)
                synced = at
        os.fsync(writing)
        return at, digest.hexdigest()

    def _note(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._job.files += 1

    def _go_on(self) -> None:
        """Give way while the writer has work, for a bounded time.  Raises StoreUnavailable when it is to end."""
        for _ in range(_YIELDS):
            if self._stopped():
                raise StoreUnavailable("The backup was not finished: the server is stopping")
            if self._job.stop.is_set():
                raise Refused("The backup was cancelled")
            if not self._busy() or self._job.stop.wait(_YIELD_SECONDS):
                break


class EmbeddedBackups:
    """IStoreMaintenance.backup; a base of `EmbeddedStore`.  In the reactor thread."""

    segments: SegmentSet
    compactor: Compactor
    writer: Writer
    readers: Readers
    clock: Callable[[], float]
    _index_path: Path
    _call_from_thread: Callable[..., Any]

    def __init__(self) -> None:
        self._backup: BackupJob | None = None
        self._backups: Readers | None = None
        #: What administration knows of the last one.
        self.backing: Any = None

    async def backup(self, job: BackupJob) -> Manifest:
        """Copy all of the store, and `job.extra`, into `job.folder` while it is in use.  Raises Refused, also when a
        backup is under way; StoreUnavailable when it cannot be finished."""
        if self._backup is not None:
            raise Refused(f"A backup is under way already, to {self._backup.folder}", "4.3.2")
        self._backup = job
        backup = Backup(
            job, self._index_path, self.segments, self.compactor.held, lambda: self.writer.entries > 0,
            self.compactor.stopping, self.clock,
        )
        if self._backups is None:
            # Not those of the readers: it takes long, and somebody reads mail meanwhile.
            self._backups = Readers(self._call_from_thread, threads=1)
        try:
            manifest: Manifest = await self._backups.run(backup.run)
            return manifest
        finally:
            self._backup = None

    def stop_backup(self) -> None:
        """Leave off what is under way, and wait for that."""
        if self._backups is not None:
            self._backups.close()


def _known_end(file: SegmentFile, log: int) -> int | None:
    """Where that ends which is to be copied of a segment; None: it is sealed, and all of it is."""
    number, sealed, ordinals = log >> 32, file.sealed, file.places.ordinals
    # Of the last segment just those that were committed: they are durable, whatever is written behind them now.
    count = bisect_left(ordinals, log & 0xFFFFFFFF) if file.head.number == number else len(ordinals)
    return None if sealed and count == len(ordinals) else end_of(file, count)


def _facts_of(index: Path) -> dict[str, Any]:
    """Epoch, schema, log of the copy of an index."""
    uri = f"file:{quote(str(index.absolute()))}?immutable=1"
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        return {key: schema.value(connection, key) for key in ("epoch", "schema", "log")}
    finally:
        connection.close()


def _read_sums(shared: Path) -> dict[str, tuple[int, str]]:
    """Name -> (octets, SHA-256) of the segments that are there whole."""
    found: dict[str, tuple[int, str]] = {}
    with suppress(OSError, ValueError, TypeError):
        for line in (shared / _SUMS).read_text().splitlines():
            name, octets, digest = json.loads(line)
            found[str(name)] = (int(octets), str(digest))
    return found


def _write_sums(shared: Path, manifest: Manifest) -> None:
    """Those of the backup alone."""
    prefix = f"{shared.name}/"
    kept = [one for one in manifest.files if one.file.startswith(prefix)]
    lines = [json.dumps([one.file.removeprefix(prefix), one.octets, one.sha256]) for one in kept]
    with suppress(OSError):
        (shared / _SUMS).write_text("".join(f"{line}\n" for line in lines))
