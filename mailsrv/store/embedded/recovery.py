"""Start of a store: the lock, torn tails, and what index and segments say of each other (decisions 4, 7).

Nothing acknowledged is ever thrown away here: a tail is cut off only when no whole record follows.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import apsw

from ...errors import InUse, StoreUnavailable
from . import records, schema
from .log import SegmentLog, seal_file
from .records import Scan
from .segments import SegmentFile, SegmentSet


class Lock:
    """The exclusive lock on a data folder; held as long as this lives."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            os.close(self._fd)
            self._fd = -1
            raise InUse(f"The data folder {path.parent} is in use by another mailsrv; stop that one first") from cause

    def release(self) -> None:
        """Let others in; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def recover(
    segments: SegmentSet, log: SegmentLog, connection: apsw.Connection, segment_octets: int, now: int
) -> list[str]:
    """Bring folder, log and index together.  Gives what was found, one line each.  Raises OSError, apsw.Error."""
    report: list[str] = []
    for path in segments.load():
        path.unlink(missing_ok=True)
        report.append(f"{path.name}: left behind by a crash, removed")
    numbers = segments.numbers()
    referred = _referred_segments(connection)
    highest = max(numbers + referred, default=0)
    # Not below what was given out: a reference must never mean another message.
    log.start_after(max(highest, schema.value(connection, "log") >> 32))
    for number in numbers:
        file = _open(segments, number, number in referred, report)
        if file is not None and not file.sealed:
            next_ordinal = _recover_tail(file, connection, report, now)
            if number == highest and file.end < segment_octets:
                log.resume(file, next_ordinal)
            else:
                _seal(file)
                segments.publish(file)
    missing = [number for number in referred if number not in numbers]
    for number in missing:
        rows = sum(
            connection.execute(f"SELECT count(*) FROM {table} WHERE segment=?", (number,)).get
            for table in ("message", "queue")
        )
        report.append(f"segment {number} is missing: {rows} messages have lost their content")
    return report


def _referred_segments(connection: apsw.Connection) -> list[int]:
    """The segments that rows refer to, ascending, without reading all rows."""
    found: list[int] = []
    last = -1
    while True:
        # Two steps on two indexes: a minimum over both tables at once would read all rows.
        following = [
            connection.execute(f"SELECT min(segment) FROM {table} WHERE segment>?", (last,)).get
            for table in ("message", "queue")
        ]
        numbers = [number for number in following if number is not None]
        if not numbers:
            return found
        last = min(numbers)
        found.append(last)


def _open(segments: SegmentSet, number: int, needed: bool, report: list[str]) -> SegmentFile | None:
    """The segment; one without a whole header holds nothing, unless rows say otherwise.

    Raises StoreUnavailable for a segment of a newer format."""
    path = segments.path(number)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = records.FileHeader.decode(os.pread(fd, records.FILE_HEADER.size, 0))
    finally:
        os.close(fd)
    if head is not None and head.number == number:
        return SegmentFile.open(path)
    segments.forget(number)
    if needed:
        report.append(f"{path.name}: the header is damaged, its content cannot be read")
    else:
        path.unlink()
        report.append(f"{path.name}: begun but never written to, removed")
    return None


def _recover_tail(file: SegmentFile, connection: apsw.Connection, report: list[str], now: int) -> int:
    """Scan an unsealed segment, cut its torn tail off, and say what index and segment do not share.

    Gives the next ordinal, above all that anything refers to."""
    number, progress = file.head.number, Scan()
    known = {ordinal for (ordinal,) in connection.execute(schema.ORDINALS, (number,))}
    committed = schema.value(connection, "log")
    orphans, octets, last, unknown = 0, 0, -1, False
    for found in file.scan(progress):
        file.places.add(found.ordinal, found.start, found.body)
        last = found.ordinal
        if number << 32 | last >= committed:
            unknown = unknown or found.kind == records.CHANGES
            if found.kind == records.CONTENT and last not in known:
                orphans += 1
                octets += found.end - found.start
        known.discard(last)
    name = file.path.name
    if progress.damaged:
        report.append(f"{name}: {progress.damaged} octets are damaged and were skipped")
    if progress.end < progress.size:
        os.truncate(file.path, progress.end)
        report.append(f"{name}: torn tail of {progress.size - progress.end} octets cut off")
    if orphans:
        report.append(f"{name}: {orphans} messages were never acknowledged and are left out")
        with connection:
            connection.execute(schema.ADD_DEAD, (number, octets, now))
            schema.set_value(connection, "log", number << 32 | last + 1)
    if unknown:
        # A change that was never acknowledged: the next catalogue overrules it, so that no rescue brings it back.
        with connection:
            schema.set_value(connection, "changes", 1 + schema.value(connection, "changes"))
    if known:
        report.append(f"{name}: {len(known)} contents are missing that messages refer to")
    file.end = progress.end
    return max([last, *known]) + 1


def _seal(file: SegmentFile) -> None:
    fd = os.open(file.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        seal_file(fd, file)
    finally:
        os.close(fd)


def refuse_lost_index(data: Path, index: Path, folder: Path) -> None:
    """Segments without their index must not be begun anew as an empty store.  Raises StoreUnavailable."""
    if not index.exists() and any(folder.glob("*.g*")):
        raise StoreUnavailable(f"{data} holds mail but its index {index.name} is gone: "
                               "make a new one with `mailsrv store rescue`, or restore a backup")
