"""Restore of a backup into the data folder of a store that is stopped (decisions 9).

Clients and other servers have seen what came after the backup.  So no UID, UIDVALIDITY, MODSEQ, mailbox id or content
reference that may have been given out since means something else now, and what waited in the queue is held: it may have
been sent.  Flags that changed and messages that went since are told anew to every client that asks.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from ...errors import Refused, StoreUnavailable
from ..backup import Manifest, copy_checked, sync_tree
from . import schema
from .log import seal_file
from .records import Scan
from .recovery import Lock
from .segments import SegmentFile, SegmentSet

#: UIDs of a mailbox, ids of mailboxes, accounts and rows of the queue: so many may have been given out since the
#: backup, and so many a second; at most.
NUMBERS, NUMBERS_A_SECOND, MOST_NUMBERS = 1_000_000, 100, 500_000_000
#: The highest UID that is skipped to; beyond, the mailbox gets a new UIDVALIDITY.  And changes of one mailbox.
LAST_UID, CHANGES = 3 * 2**30, 2**32
#: Segments, at the least and at the most; one in so many seconds (64 MiB each).
SEGMENTS, MOST_SEGMENTS, SEGMENT_SECONDS = 1000, 500_000, 10
#: Seconds by which the counter of UIDVALIDITYs may have run ahead of the clock.
AHEAD = 86400
#: What may be in a data folder without making it one in use.
_NOTHING = {"lock", "control.sock", "lost+found"}
_KEY = "restored"


def restored(connection: apsw.Connection) -> dict[str, Any] | None:
    """When the store was restored ("at"), the instant of the backup ("taken"), and rows of the queue that were held
    then ("queued"); None: never."""
    found = schema.value(connection, _KEY)
    return json.loads(found) if found else None


def restore(
    folder: Path, data: Path, now: float, *, force: bool = False,
    progress: Callable[[int, int], None] = lambda octets, of: None,
) -> list[str]:
    """Make `data` what the backup in `folder` holds; what was there is kept beside it (only with `force`).

    `progress(octets, of)` is called for each file.  Gives what was done, one line each.  Raises Refused, InUse while a
    server has the data folder, StoreUnavailable for a damaged backup, OSError.
    """
    manifest = Manifest.read(folder)
    if manifest is None:
        raise Refused(f"{folder} holds no backup")
    if not any(one.kind == "data" and one.goes == "index.db" for one in manifest.files):
        raise Refused(f"{folder} holds no store")
    lock = Lock(data / "lock") if data.is_dir() else None
    try:
        there = data.is_dir() and any(one.name not in _NOTHING for one in data.iterdir())
        if there and not force:
            raise Refused(f"{data} holds something already: with --force it is moved aside, nothing is deleted")
        made = data.with_name(f"{data.name}.restoring")
        shutil.rmtree(made, ignore_errors=True)
        report = _fill(manifest, folder, made, now, progress)
        aside = data.with_name(f"{data.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}")
        if data.is_dir():
            os.rename(data, aside)
        os.rename(made, data)
        sync_tree(data.parent, deep=False)
        if there:
            report.append(f"what was in {data} is in {aside} now")
        elif aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        return report
    finally:
        if lock is not None:
            lock.release()


def _fill(
    manifest: Manifest, folder: Path, made: Path, now: float, progress: Callable[[int, int], None]
) -> list[str]:
    """The new data folder, whole and durable, under another name."""
    files = [one for one in manifest.files if one.kind == "data"]
    total, done = sum(one.octets for one in files), 0
    (made / "segments").mkdir(mode=0o700, parents=True)
    for entry in files:
        copy_checked(entry, folder, made / entry.goes)
        done += entry.octets
        progress(done, total)
    report = [f"{len(files)} files, {done} octets, as of {_instant(manifest.taken)}"]
    last = _seal(made / "segments")
    connection = schema.open_index(made / "index.db", report)
    try:
        report += forward(connection, manifest.taken, now, last)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.Error as cause:
        raise StoreUnavailable(f"The index of the backup cannot be used: {cause}") from cause
    finally:
        connection.close()
    sync_tree(made)
    return report


def _seal(folder: Path) -> int:
    """Give the segment that was written to its footer: nothing is appended under its number any more.  The highest
    number there is."""
    segments = SegmentSet(folder)
    segments.load()
    for number in segments.numbers():
        file = SegmentFile.open(segments.path(number))
        if file.sealed:
            continue
        progress = Scan()
        for found in file.scan(progress):
            file.places.add(found.ordinal, found.start, found.body)
        fd = os.open(file.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            seal_file(fd, file)
        finally:
            os.close(fd)
    return max(segments.numbers(), default=0)


def forward(connection: apsw.Connection, taken: float, now: float, last: int) -> list[str]:
    """Move every counter of an index beyond what may have been given out since `taken`; `last` is the highest segment.

    Gives what was done, one line each."""
    passed = max(0, int(now - taken))
    jump = NUMBERS + min(NUMBERS_A_SECOND * passed, MOST_NUMBERS)
    with connection:
        execute = connection.execute
        execute("UPDATE account SET uidvalidity=max(uidvalidity, ?)", (int(now) + AHEAD,))
        # Where so many UIDs cannot be skipped, the UIDVALIDITY says that all is new.
        execute(
            "UPDATE mailbox SET uidvalidity=(SELECT uidvalidity FROM account WHERE id=account) + 1 WHERE uidnext>?",
            (LAST_UID - jump,),
        )
        execute("UPDATE account SET uidvalidity=max(uidvalidity, coalesce((SELECT max(uidvalidity) FROM mailbox"
                " WHERE account=account.id), 0))")
        execute("UPDATE mailbox SET uidnext=max(uidnext, min(uidnext+?, ?)), unsaved=1", (jump, LAST_UID))
        execute("UPDATE mailbox SET modseq=modseq+?1, flag_modseq=modseq+?1, tombstone_floor=modseq+?1, tombstones=0",
                (CHANGES,))
        execute("DELETE FROM tombstone")
        execute("UPDATE message SET modseq=(SELECT modseq FROM mailbox WHERE id=mailbox)")
        for table in ("account", "mailbox", "queue", "app_password"):
            execute("INSERT INTO sqlite_sequence SELECT ?1, 0 WHERE NOT EXISTS"
                    " (SELECT 1 FROM sqlite_sequence WHERE name=?1)", (table,))
        execute("UPDATE sqlite_sequence SET seq=seq+?", (jump,))
        execute("UPDATE queue SET held=1, changed=1")
        execute("INSERT OR IGNORE INTO unlogged SELECT id FROM queue")
        following = last + SEGMENTS + min(passed // SEGMENT_SECONDS, MOST_SEGMENTS)
        log = max(schema.value(connection, "log"), following << 32)
        held = execute("SELECT count(*) FROM queue").get
        facts = {"at": now, "taken": taken, "queued": held}
        for key, value in (
            ("log", log), ("epoch", os.urandom(8).hex()), (_KEY, json.dumps(facts)),
            ("changes", 1 + schema.value(connection, "changes")),
        ):
            schema.set_value(connection, key, value)
        accounts, messages = execute("SELECT count(*) FROM account").get, execute("SELECT count(*) FROM message").get
    lines = [f"{accounts} accounts, {messages} messages; clients fetch flags anew, no message twice"]
    if held:
        lines.append(f"{held} rows of the queue are on hold, as they may have been sent since the backup:"
                     " look at them with `mailsrv queue list`, let them go with `mailsrv queue release --all`")
    return lines


def _instant(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(epoch))
