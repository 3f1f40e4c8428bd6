"""For a stopped store: check it, compact it, and make a new index from the segments alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import apsw
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import StoreUnavailable
from ...values import DELETED, SEEN, Address
from .. import queue_rules
from . import records, schema
from .check import check_files
from .records import Scan
from .recovery import Lock
from .replay import ACCOUNT_COLUMNS, UIDVALIDITY, Box, Replay
from .segments import SegmentFile, SegmentSet, sync_folder
from .store import EmbeddedStore
from .transaction import ROW_BITS, ROW_MASK

#: Where mail goes whose mailbox no catalogue names.
LOST = "Recovered"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else works on the folder.  Raises InUse, StoreUnavailable."""
    if not (path / "segments").is_dir():
        raise StoreUnavailable(f"{path} is not the data folder of a store")
    lock = Lock(path / "lock")
    try:
        yield
    finally:
        lock.release()


def check(path: Path) -> list[str]:
    """What does not fit together in the store at `path`, one line each.  Raises InUse, StoreUnavailable."""
    with _locked(path):
        if not (path / "index.db").exists():
            return ["the index is gone: make a new one with `mailsrv store rescue`"]
        segments = SegmentSet(path / "segments")
        stale = [f"{file.name}: left behind by a crash" for file in segments.load()]
        return stale + check_files(path / "index.db", segments)


def rescue(path: Path, target: Path) -> list[str]:
    """A store in the new folder `target` from the segments of the one at `path`, which is left as it is.

    Flags, removals, copies and names are those of the last checkpoint (a clean close is one) and of all later
    deliveries.  Gives what was found, one line each.  Raises InUse, StoreUnavailable, OSError.
    """
    if target.exists() and any(target.iterdir()):
        raise StoreUnavailable(f"{target} is not empty")
    with _locked(path):
        (target / "segments").mkdir(parents=True, exist_ok=True, mode=0o700)
        source = SegmentSet(path / "segments")
        source.load()
        replay, report = Replay(), list[str]()
        following = 0
        for number in source.numbers():
            copy = target / "segments" / source.path(number).name
            shutil.copyfile(source.path(number), copy)
            following = _read(copy, replay, report) or following
        connection = schema.open_index(target / "index.db", report)
        try:
            with connection:
                _write(connection, replay, report)
                schema.set_value(connection, "log", following)
        finally:
            connection.close()
        for copy in (target / "segments").iterdir():
            fd = os.open(copy, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_folder(target / "segments")
        sync_folder(target)
    return report


def _read(path: Path, replay: Replay, report: list[str]) -> int:
    """All records of one segment; gives the name of the next record, 0 when there was none."""
    try:
        file = SegmentFile.open(path)
    except StoreUnavailable as cause:
        report.append(cause.text)
        return 0
    progress, last = Scan(), -1
    for found in file.scan(progress):
        last = found.ordinal
        body = b""
        if found.kind in (records.CATALOGUE, records.STATE):
            body = os.pread(file.fd, found.body_octets, found.body)
        try:
            replay.read(file.head.number, found, body)
        except (ValueError, KeyError, TypeError, IndexError) as cause:
            report.append(f"{path.name}: record {found.ordinal} cannot be understood: {cause!r}")
    if progress.damaged or progress.end < progress.size:
        report.append(f"{path.name}: {progress.damaged + progress.size - progress.end} octets are damaged or torn")
    return file.head.number << 32 | last + 1


def _write(connection: apsw.Connection, replay: Replay, report: list[str]) -> None:
    """Everything into the empty index."""
    _home(replay, report)
    for account, row in replay.accounts.items():
        used = [box.uidvalidity for box in replay.boxes.values() if box.account == account]
        row[UIDVALIDITY] = max([row[UIDVALIDITY], *used])
    insert: Callable[..., object] = connection.executemany
    insert("INSERT INTO domain VALUES (?,?,?,?,?)", replay.domains)
    marks = ",".join("?" * ACCOUNT_COLUMNS)
    insert(f"INSERT INTO account VALUES ({marks})", list(replay.accounts.values()))
    insert("INSERT INTO app_password VALUES (?,?,?,?,?,?)", list(replay.app_passwords.values()))
    insert("INSERT INTO alias VALUES (?,?,?,?)", list(replay.aliases.values()))
    insert("INSERT INTO subscription VALUES (?,?)", sorted(replay.subscriptions))
    for mailbox, box in sorted(replay.boxes.items()):
        _write_box(connection, mailbox, box, replay, report)
    there = replay.boxes.keys() | {0}
    insert("INSERT INTO annotation VALUES (?,?,?,?)",
           [(*key, value) for key, value in replay.annotations.items() if key[0] in there])
    insert("INSERT INTO permit VALUES (?,?,?)",
           [(*key, value) for key, value in replay.permits.items() if key[1] in there])
    _write_queue(connection, replay, report)
    insert("INSERT INTO international VALUES (?)", [(segment << 32 | at,) for segment, at in replay.international])
    for table, number in replay.sequences.items():
        connection.execute("DELETE FROM sqlite_sequence WHERE name=?", (table,))
        connection.execute("INSERT INTO sqlite_sequence VALUES (?,?)", (table, number))
    insert("INSERT INTO checkpoint VALUES (?,?,?,?)",
           [(subject, *place) for subject, place in replay.checkpoints.items()])
    # The next close writes a catalogue, and the state of every mailbox that differs from its last one.
    schema.set_value(connection, "changes", 1)
    messages = connection.execute("SELECT count(*) FROM message").get
    report.append(f"{len(replay.accounts)} accounts, {len(replay.boxes)} mailboxes, {messages} messages")


def _write_queue(connection: apsw.Connection, replay: Replay, report: list[str]) -> None:
    """What waits to go on, due at once.  Where a part of the log could not be read it may have said that a row had
    ended: then all are held until somebody has looked."""
    waiting, held = replay.waiting(), int(bool(report))
    rows = []
    for number, row in sorted(waiting.items()):
        header, parameters = row.header, row.header["parameters"]
        path = None if header["from"] is None else Address(*header["from"])
        rows.append((
            number, *row.reference, row.size, row.destination, header["at"], 0, int(row.held or held), row.noticed,
            row.changed or held, 0, header["id"], header["at"], header["server"], header["origin"],
            queue_rules.sender_key(path), queue_rules.pack_path(path),
            records.to_json(parameters) if parameters else "", "", records.to_json(row.recipients),
        ))
    connection.executemany(f"INSERT INTO queue VALUES ({','.join('?' * 20)})", rows)
    if rows:
        report.append(f"{len(rows)} rows of the queue wait to go on" + (
            "; all are held, as some of them may have been sent: look at them and release them" if held else ""
        ))


def _home(replay: Replay, report: list[str]) -> None:
    """Give mailboxes that no catalogue names an account and a name, so that their mail is not lost."""
    for mailbox, box in sorted(replay.boxes.items()):
        if box.account not in replay.accounts:
            local = f"recovered-{box.account}"
            replay.accounts[box.account] = [box.account, 0, local, "invalid", local, 0, "", 0.0, 1, "", ""]
            replay.sequences["account"] = max(replay.sequences["account"], box.account)
            report.append(f"account {box.account} is in no catalogue: its mail is in {local}@invalid")
        if not box.name:
            taken = {other.name for other in replay.boxes.values() if other.account == box.account}
            box.name = next(name for name in ("INBOX", f"{LOST}-{mailbox}") if name not in taken)
            row = replay.accounts[box.account]
            box.uidvalidity = row[UIDVALIDITY] = row[UIDVALIDITY] + 1
            report.append(f"mailbox {mailbox} is in no catalogue: its mail is in {box.name}")


def _write_box(
    connection: apsw.Connection, mailbox: int, box: Box, replay: Replay, report: list[str]
) -> None:
    """A mailbox with its rows; those whose content is gone are left out."""
    rows = {uid: row for uid, row in box.rows.items() if (row[2], row[3]) in replay.contents}
    if len(rows) < len(box.rows):
        report.append(f"mailbox {box.name} of account {box.account}: the content of "
                      f"{len(box.rows) - len(rows)} messages is gone")
    masks = [row[1] for row in rows.values()]
    connection.execute(
        "INSERT INTO mailbox VALUES (?,?,?,?,?, ?,?,?,1, ?,?,?,?, ?,?, 0,?)",
        (mailbox, box.account, box.name, box.uidvalidity, box.special_use, box.uidnext, box.modseq, box.modseq,
         len(rows), sum(not mask & SEEN for mask in masks), sum(bool(mask & DELETED) for mask in masks),
         sum(row[4] for row in rows.values()), box.recent_from, sum(uid >= box.recent_from for uid in rows),
         # What vanished before is not known any more: clients with an older state compare everything.
         box.modseq),
    )
    connection.executemany(
        "INSERT INTO keyword VALUES (?,?,?)", [(mailbox, place, name) for place, name in enumerate(box.keywords)]
    )
    connection.executemany(
        "INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?)",
        [(mailbox, uid, row[0], row[1] & ROW_MASK, *row[2:]) for uid, row in sorted(rows.items())],
    )
    connection.executemany(
        "INSERT INTO spill VALUES (?,?,?)",
        [(mailbox, uid, (row[1] >> ROW_BITS).to_bytes(63, "little")) for uid, row in rows.items() if row[1] > ROW_MASK],
    )
    connection.executemany(
        "INSERT INTO unique_id VALUES (?,?,?)",
        [(mailbox, uid, one) for uid, one in box.unique_ids.items() if uid in rows],
    )


def compact(path: Path) -> int:
    """Give back the room of expunged content in the stopped store at `path`; the octets freed.

    Raises InUse, StoreUnavailable.
    """
    calls: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = SimpleQueue()
    store = EmbeddedStore.open(path, lambda function, *arguments: calls.put((function, arguments)))

    async def work() -> int:
        try:
            return await store.compact()
        finally:
            await store.close()

    results: list[int | Failure] = []
    Deferred.fromCoroutine(work()).addBoth(results.append)
    while not results:
        function, arguments = calls.get()
        function(*arguments)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
