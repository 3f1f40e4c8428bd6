"""Does everything fit together: the index in itself, the segments in themselves, and one with the other.

Works on an open store as well: content is on the disk before the rows that refer to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw

from ...errors import StoreUnavailable
from . import records
from .index import Index
from .records import Scan
from .segments import SegmentSet

#: A report is not longer than this.
MAX_LINES = 1000

#: One statement for each mailbox, so that its row and its messages are of one moment.
_COUNTERS = """
SELECT b.name, b.account, b.exist, b.unseen, b.deleted, b.octets, b.uidnext, b.modseq, count(m.uid),
    coalesce(sum(m.flags & 8 = 0), 0), coalesce(sum(m.flags & 4 = 4), 0), coalesce(sum(m.size), 0),
    coalesce(max(m.uid), 0), coalesce(max(m.modseq), 0)
FROM mailbox b LEFT JOIN message m ON m.mailbox = b.id WHERE b.id = ? GROUP BY b.id"""

_WANTED = """
SELECT ordinal, max(size), min(size) FROM (SELECT ordinal, size FROM message WHERE segment=?1
    UNION ALL SELECT ordinal, size FROM queue WHERE segment=?1) GROUP BY ordinal"""
_LOST = """
SELECT segment, sum(count) FROM (SELECT segment, count(*) AS count FROM message GROUP BY segment
    UNION ALL SELECT segment, count(*) FROM queue GROUP BY segment) GROUP BY segment"""


def check_files(path: Path, segments: SegmentSet, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    """One line for everything that is wrong.  `path` is the index; blocks for as long as reading all takes, or until
    `stopped()`."""
    index = Index(path)
    try:
        found = _check_index(index)
        for number in segments.numbers():
            if stopped():
                return [*found, "not finished: the store is closing"]
            found += _check_segment(index, segments, number)
        found += _check_lost(index, segments)
        return found[:MAX_LINES]
    except apsw.Error as cause:
        return [f"{path.name}: {cause}"]
    finally:
        index.close()


def _check_index(index: Index) -> list[str]:
    """SQLite's own check, then the counters of every mailbox."""
    lines = [f"index: {line}" for (line,) in index.rows("PRAGMA integrity_check(100)") if line != "ok"]
    for (mailbox,) in index.rows("SELECT id FROM mailbox"):
        for name, account, *numbers in index.rows(_COUNTERS, (mailbox,)):
            kept, counted = numbers[:4], numbers[6:10]
            if kept != counted:
                lines.append(f"mailbox {name} of account {account}: counters {kept}, its rows give {counted}")
            if numbers[10] >= numbers[4] or numbers[11] > numbers[5]:
                lines.append(f"mailbox {name} of account {account}: UIDs or MODSEQs beyond what was given out")
    return lines


def _check_segment(index: Index, segments: SegmentSet, number: int) -> list[str]:
    """Every record whole, and every row of the segment with a record of its size."""
    # Rows before records: what is delivered meanwhile then has its record, but no row here yet.
    wanted = index.rows(_WANTED, (number,))
    try:
        file = segments.get(number)
    except StoreUnavailable as cause:
        return [f"segment {number}: {cause.text}"] if number in segments.numbers() else []
    if not file.sealed:
        places = file.places
        progress = Scan()
        end = places.starts[-1] if len(places) else records.FILE_HEADER.size
        sizes = {found.ordinal: found.body_octets for found in records.scan(file.fd, file.head, end, progress)}
        last = file.record(places.ordinals[-1]) if len(places) else None
        if last is not None:
            sizes[last.ordinal] = last.body_octets
    else:
        progress = Scan()
        sizes = {found.ordinal: found.body_octets for found in file.scan(progress)}
    lines = []
    broken = progress.damaged + (progress.size - progress.end if file.sealed else 0)
    if broken:
        lines.append(f"segment {number}: {broken} octets are damaged")
    for ordinal, largest, smallest in wanted:
        if ordinal not in sizes:
            lines.append(f"segment {number}: content {ordinal} is missing")
        elif not sizes[ordinal] == largest == smallest:
            lines.append(f"segment {number}: content {ordinal} has {sizes[ordinal]} octets, its rows say {largest}")
    return lines


def _check_lost(index: Index, segments: SegmentSet) -> list[str]:
    """Rows of segments that are not there."""
    there = set(segments.numbers())
    rows = index.rows(_LOST)
    return [
        f"segment {number} is missing: {count} messages have lost their content"
        for number, count in rows if number not in there
    ]
