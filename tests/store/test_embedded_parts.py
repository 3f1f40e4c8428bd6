"""What the embedded store does beyond the contract: bounds, slices, snapshots, cold reads, derived data."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_tools import Bed, body, new_message

from mailsrv.errors import MailError, NoSuchMailbox, StoreFull, StoreUnavailable
from mailsrv.numbers import UidSet
from mailsrv.store.embedded import changes, content, index, log, opened, rescue, schema, writer
from mailsrv.store.embedded.ghosts import Ghosts
from mailsrv.store.embedded.log import SegmentLog
from mailsrv.store.embedded.records import Scan
from mailsrv.store.embedded.segments import Places, SegmentFile, SegmentSet
from mailsrv.values import FlagChange, NewMessage, Placement

ALL = UidSet([(1, 2**32)])


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    # A mailbox is closed with its last handle here, so that the next one loads it; test_embedded_warm.py has the rest.
    monkeypatch.setattr(opened, "WARM_MAILBOXES", 0)
    made = Bed(tmp_path / "data", purge_after=None)
    yield made
    made.close()


def reopen(bed: Bed) -> None:
    """Close the store and open it again in the same bed."""
    bed.close()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


class Streamed:
    """A content that is never in memory as a whole."""

    def __init__(self, pieces: int) -> None:
        self.size = pieces * 2**18

    def chunks(self) -> Iterator[bytes]:
        """Pieces of 256 KiB."""
        for number in range(self.size // 2**18):
            yield bytes([number % 251]) * 2**18

    async def read(self, offset: int, length: int) -> bytes:
        """Not used by a store."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing."""


# ---------------------------------------------------------------- bounds and slices


def test_large_content_takes_constant_memory(bed: Bed) -> None:
    """Written chunk by chunk and read in slices: 24 MiB with less than 4 MiB of memory."""
    handle = bed.open()
    tracemalloc.start()
    try:
        bed.run(handle.append([NewMessage(Streamed(96))]))
        (stored,) = bed.run(handle.contents([1]))
        assert all(chunk == want for chunk, want in itertools.zip_longest(stored.chunks(), Streamed(96).chunks()))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    reopen(bed)
    assert bed.store.report == []


def test_queue_is_bounded(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """decisions 5: too many or too much waiting is StoreFull, 4.3.1; afterwards everything works."""
    monkeypatch.setattr(writer, "QUEUE_ENTRIES", 5)
    outcomes: list[Any] = []

    async def deliver(number: int, size: int) -> None:
        try:
            outcomes.append(await bed.store.deliver(bed.delivery(number, size)))
        except StoreFull as full:
            outcomes.append(full.status)

    bed.loop.gather([deliver(number, 100) for number in range(12)])
    assert outcomes.count(None) == 5 and outcomes.count("4.3.1") == 7
    monkeypatch.setattr(writer, "QUEUE_ENTRIES", 1000)
    monkeypatch.setattr(writer, "QUEUE_OCTETS", 10_000)
    outcomes.clear()
    bed.loop.gather([deliver(number, 4000) for number in range(12)])
    assert outcomes.count(None) == 2
    # What is larger than the bound by itself goes alone.
    outcomes.clear()
    bed.loop.gather([deliver(99, 50_000)])
    assert outcomes == [None] and bed.store.writer.octets == bed.store.writer.entries == 0


def test_many_rows_are_sliced_and_fair(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """decisions 5: flags, copies, moves and removals of 2,300 messages; a delivery does not wait for all of it."""
    monkeypatch.setattr(changes, "CHANGED", 2000)
    handle, archive = bed.open(), bed.open("Archive")
    bed.run(handle.append([new_message(n, size=60) for n in range(2300)]))
    order: list[str] = []

    async def noted(name: str, awaitable: Any) -> Any:
        result = await awaitable
        order.append(name)
        return result

    flagged, _ = bed.loop.gather([
        noted("update", handle.update(ALL, FlagChange("add", frozenset({b"\\Seen", b"word"})))),
        noted("delivery", bed.store.deliver(bed.delivery(1))),
    ])
    assert order == ["delivery", "update"]
    assert list(flagged.uids) == list(range(1, 2301)) and len(set(flagged.flags)) == 1
    copied, _ = bed.loop.gather([
        noted("copy", handle.copy(ALL, archive.mailbox_id)), noted("delivery", bed.store.deliver(bed.delivery(2))),
    ])
    assert copied.pairs == tuple((n, n) for n in range(1, 2302))
    assert order[-2:] == ["delivery", "copy"]
    odd = UidSet.of(range(1, 2302, 2))
    moved = bed.run(archive.copy(odd, archive.mailbox_id, True))
    assert [old for old, _ in moved.pairs] == list(odd) and len(archive.columns().uids) == 2301
    gone, _ = bed.loop.gather([
        noted("expunge", handle.expunge(ALL)), noted("delivery", bed.store.deliver(bed.delivery(3))),
    ])
    assert len(gone) == 2302 and order[-2:] == ["delivery", "expunge"]
    assert list(bed.octets(handle).values()) == [body(3)]
    conflicted = bed.run(archive.update(ALL, FlagChange("replace", frozenset({b"\\Draft"})), 1))
    assert len(conflicted.conflicts) == 2301
    assert bed.run(bed.store.check()) == []


def test_a_copy_that_fails_half_way_is_taken_back(bed: Bed) -> None:
    """RFC 9051 section 6.4.7: the target is as it was."""
    account = bed.run(bed.store.account(bed.account_id))
    bed.run(account.create("from"))
    source, target = bed.open("from"), bed.open("Archive")
    bed.run(target.append([new_message(5000)]))
    bed.run(source.append([new_message(n, size=60) for n in range(1200)]))
    outcomes: list[Any] = []

    async def attempt(awaitable: Any) -> None:
        try:
            outcomes.append(await awaitable)
        except MailError as error:
            outcomes.append(error)

    bed.loop.gather([attempt(source.copy(ALL, target.mailbox_id)), attempt(account.delete("from"))])
    assert outcomes[0] is None and isinstance(outcomes[1], NoSuchMailbox)
    assert list(bed.octets(target).values()) == [body(5000)]
    assert bed.run(bed.store.check()) == []


def test_delivery_to_very_many_placements(bed: Bed, tmp_path: Path) -> None:
    """decisions 5: one content, the rows in slices, each with a record, so that a rescue finds all."""
    other = bed.add_account("b").account_id
    placements = tuple(
        Placement((bed.account_id, other)[n % 2], ("INBOX", "Junk")[n % 3 == 0], frozenset({b"k%d" % (n % 7)}))
        for n in range(2500)
    )
    before = sum(bed.segment_files().values())
    bed.run(bed.store.deliver(bed.delivery(1, 90_000, placements)))
    assert sum(bed.segment_files().values()) - before < 90_000 + 2500 * 100
    handles = [bed.open(name, account) for name in ("INBOX", "Junk") for account in (bed.account_id, other)]
    assert sum(len(handle.columns().uids) for handle in handles) == 2500
    contents = bed.run(handles[0].contents(handles[0].columns().uids[:3]))
    assert b"".join(contents[2].chunks()) == body(1, 90_000)
    assert bed.run(bed.store.check()) == []
    for handle in handles:
        handle.release()
    before_rescue = bed.picture()
    bed.crash()
    (bed.path / "index.db").rename(bed.path / "lost.db")
    rescue.rescue(bed.path, tmp_path / "new")
    again = Bed(tmp_path / "new", purge_after=None)
    after = again.picture()
    for key, value in before_rescue.items():
        if isinstance(key, tuple):
            assert (after[key][1:6], after[key][6]) == (value[1:6], value[6])
    again.close()
    (bed.path / "lost.db").rename(bed.path / "index.db")
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


def test_the_wal_stays_bounded(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """decisions 4: with a mailbox open and a store that is never idle the WAL is copied back all the same."""
    monkeypatch.setattr(schema, "CHECKPOINT_PAGES", 50)
    handle = bed.open()
    for start in range(0, 600, 30):
        bed.loop.gather([bed.store.deliver(bed.delivery(start + n)) for n in range(30)])
        bed.run(handle.changes(0))
    assert (bed.path / "index.db-wal").stat().st_size < 200 * 4096


def test_segments_roll(tmp_path: Path) -> None:
    """A segment that is full is sealed with a footer; a start need not read it; one larger message fits alone."""
    bed = Bed(tmp_path / "data", purge_after=None, segment_octets=10_000)
    bed.fill(20, 3000)
    bed.deliver(99, 50_000)
    bed.deliver(100, 10)
    assert len(bed.segment_files()) >= 6
    bed = bed.again()
    assert bed.store.report == []
    sealed = [SegmentFile.open(bed.path / "segments" / name).sealed for name in bed.segment_files()]
    assert all(sealed[:-1])
    assert sorted(bed.octets(bed.open()).values()) == sorted(
        [body(n, 3000) for n in range(20)] + [body(99, 50_000), body(100, 10)])
    bed.close()


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("cached", [0, 7])
def test_cold_octets_come_from_a_thread(bed: Bed, monkeypatch: pytest.MonkeyPatch, cached: int) -> None:
    """decisions 26: what is not in memory, or only in part, is read without holding up the reactor."""
    bed.deliver(1, 5000)
    (stored,) = bed.run(bed.open().contents([1]))
    whole = body(1, 5000)
    real = content._read_cached
    monkeypatch.setattr(content, "_read_cached", lambda fd, at, length: real(fd, at, min(cached, length)))
    assert bed.run(stored.read(0, 10_000)) == whole
    assert bed.run(stored.read(100, 50)) == whole[100:150]
    stored.close()
    with pytest.raises(StoreUnavailable):
        bed.run(stored.read(0, 1))


def test_a_file_cut_short_is_an_error_not_less_octets(bed: Bed) -> None:
    """Never a short read that looks like the end of a message."""
    bed.deliver(1, 5000)
    (stored,) = bed.run(bed.open().contents([1]))
    (path,) = (bed.path / "segments").iterdir()
    octets = path.read_bytes()
    path.write_bytes(octets[:-1000])
    with pytest.raises(StoreUnavailable):
        bed.run(stored.read(0, 5000))
    with pytest.raises(StoreUnavailable):
        list(stored.chunks())
    path.write_bytes(octets)


def test_a_given_up_segment_can_be_read(bed: Bed) -> None:
    """After a failed write its places are found again by a scan, also when it was closed meanwhile."""
    bed.fill(10, 500)

    def fail(fd: int) -> None:
        raise OSError(5, "I/O error")

    sync, bed.store.log._sync = bed.store.log._sync, fail
    with pytest.raises(StoreUnavailable):
        bed.deliver(10)
    bed.store.log._sync = sync
    bed.deliver(11, 500)
    bed.store.segments._open.clear()
    assert sorted(bed.octets(bed.open()).values()) == sorted(body(n, 500) for n in [*range(10), 11])


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize("seed", range(3))
def test_snapshots_never_lie(bed: Bed, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Random changes through handles that come and go, with restarts: what is loaded, from a snapshot or not, in a
    thread or not, is what the rows say."""
    monkeypatch.setattr(opened, "_SNAPSHOT_ROWS", 3)
    monkeypatch.setattr(opened, "_SYNCHRONOUS", 10)
    monkeypatch.setattr(opened, "_LARGE", (10, 1000, 10)[seed])
    monkeypatch.setattr(index, "_PIECE", (3, 4, 1000)[seed])
    rng = random.Random(seed)
    handles: list[Any] = []
    words = [b"w%d" % n for n in range(70)]
    for number in range(60):
        kind = rng.choice(("open", "open", "close", "append", "append", "flag", "expunge", "restart", "deliver"))
        if kind == "restart":
            if rng.random() < 0.5:
                continue
            handles.clear()
            reopen(bed)
        elif kind == "open":
            handles.append(bed.open())
        elif kind == "close" and handles:
            handles.pop(rng.randrange(len(handles))).release()
        elif kind == "deliver":
            bed.deliver(number, 80)
        elif handles:
            handle = rng.choice(handles)
            uids = handle.columns().uids
            chosen = UidSet.of(rng.sample(uids, min(len(uids), rng.randrange(4))))
            if kind == "append":
                bed.run(handle.append([new_message(n, size=60) for n in range(rng.randrange(1, 5))]))
            elif kind == "flag":
                change = FlagChange(rng.choice(("add", "remove", "replace")), frozenset(rng.sample(words, 20)))
                bed.run(handle.update(chosen, change))
            elif kind == "expunge":
                bed.run(handle.expunge(chosen))
        bed.store.derived.write()
        for handle in handles:
            columns = handle.columns()
            loaded = bed.store.index.load(handle.mailbox_id, None)
            assert (columns.uids, columns.flags, columns.modseqs) == (loaded.uids, loaded.flags, loaded.modseqs)
            assert (columns.keywords, columns.modseq) == (loaded.keywords, loaded.row.modseq)
            rows = bed.store.index.rows("SELECT uid FROM message WHERE mailbox=? ORDER BY uid", (handle.mailbox_id,))
            assert loaded.uids == [uid for (uid,) in rows]
    for handle in handles:
        handle.release()


def test_changes_while_a_mailbox_is_being_loaded(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several openers share one load in a thread; what is committed meanwhile is in the columns, once."""
    monkeypatch.setattr(opened, "_SYNCHRONOUS", 1)
    bed.fill(20, 60)
    account = bed.run(bed.store.account(bed.account_id))
    work = [account.open("INBOX") for _ in range(3)]
    work += [bed.store.deliver(bed.delivery(100 + n, 60)) for n in range(10)]
    work += [account.open("INBOX") for _ in range(3)]
    found = bed.loop.gather(work)
    handles = [handle for handle in found if handle is not None]
    assert len(handles) == 6 and len({id(handle.columns()) for handle in handles}) == 1
    columns = handles[0].columns()
    assert columns.uids == list(range(1, 31)) and bed.run(handles[0].changes(0)).modseq == columns.modseq == 31
    for handle in handles:
        handle.release()
    assert bed.store.openings._open == {} and bed.store.ghosts._rows == {}


def test_a_mailbox_deleted_while_it_is_loaded(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """NoSuchMailbox for the opener, or a handle that says so; its rows are purged."""
    monkeypatch.setattr(opened, "_SYNCHRONOUS", 0)
    account = bed.run(bed.store.account(bed.account_id))
    bed.run(account.create("x"))
    bed.run(bed.open("x").append([new_message(n) for n in range(5)]))
    reopen(bed)
    account = bed.run(bed.store.account(bed.account_id))

    async def opening() -> None:
        try:
            handle = await account.open("x")
        except NoSuchMailbox:
            return
        handle.release()

    bed.loop.gather([opening(), account.delete("x")])
    reopen(bed)
    bed.run(bed.store.directory.set_enabled(bed.account_id, True))
    reopen(bed)
    for table in ("message", "doomed", "tombstone", "keyword"):
        rows = bed.store.index.rows(f"SELECT count(*) FROM {table}")
        assert rows == [(0,)], table


def test_a_claim_of_recent_survives(bed: Bed) -> None:
    """It reaches the disk with a later commit, and holds for who opens the mailbox in between."""
    bed.fill(3)
    handle = bed.open()
    assert bed.run(handle.claim_recent(True)) == 1
    handle.release()
    account = bed.run(bed.store.account(bed.account_id))
    assert bed.run(account.status("INBOX")).recent == 0
    assert bed.run(bed.open().claim_recent(False)) == 4
    reopen(bed)
    account = bed.run(bed.store.account(bed.account_id))
    assert bed.run(account.status("INBOX")).recent == 0 and bed.store.openings.claims == {}
    bed.deliver(9)
    assert bed.run(account.status("INBOX")).recent == 1


# ---------------------------------------------------------------- derived data


def test_summaries_are_shared_by_copies_and_survive(bed: Bed) -> None:
    """By content: another recipient's row and a copy have them too, also after a restart."""
    other = bed.add_account("b").account_id
    bed.run(bed.store.deliver(bed.delivery(1, 100, (Placement(bed.account_id), Placement(other)))))
    mine, theirs, archive = bed.open(), bed.open(account_id=other), bed.open("Archive")
    bed.run(mine.keep_summaries([(1, b"summary\0")]))
    bed.run(mine.copy(ALL, archive.mailbox_id))
    wanted = frozenset({"summary"})
    for handle in (mine, theirs, archive):
        assert bed.run(handle.facts([1], wanted))[0].summary == b"summary\0"
    reopen(bed)
    for handle in (bed.open(), bed.open(account_id=other), bed.open("Archive")):
        assert bed.run(handle.facts([1], wanted))[0].summary == b"summary\0"


@pytest.mark.parametrize("damage", ["octets", "epoch", "gone"])
def test_derived_data_is_begun_anew(bed: Bed, damage: str) -> None:
    """decisions 6: damaged, of another index, or gone: nothing else is lost, and it works again."""
    bed.deliver(1)
    bed.run(bed.open().keep_summaries([(1, b"old")]))
    bed.close()
    path = bed.path / "derived.db"
    if damage == "octets":
        path.write_bytes(b"\0garbage" * 4096)
    elif damage == "epoch":
        connection = schema.connect(path)
        schema.set_value(connection, "epoch", "another")
        connection.close()
    else:
        path.unlink()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]
    handle, wanted = bed.open(), frozenset({"summary"})
    assert bed.run(handle.facts([1], wanted))[0].summary is None
    bed.run(handle.keep_summaries([(1, b"new")]))
    reopen(bed)
    assert bed.run(bed.open().facts([1], wanted))[0].summary == b"new"
    assert list(bed.octets(bed.open()).values()) == [body(1)]


def test_what_waits_for_the_derived_database_is_bounded(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Summaries beyond the bound are forgotten, they can be made again."""
    from mailsrv.store.embedded import derived

    monkeypatch.setattr(derived, "PENDING_OCTETS", 100)
    bed.store.derived.keep("summary", [(n, b"x" * 40) for n in range(10)])
    assert len(bed.store.derived._records["summary"]) == 2


# ---------------------------------------------------------------- small pieces


def test_places_with_holes() -> None:
    """A footer holds them; an ordinal that is not there is not found."""
    places = Places()
    for ordinal in (0, 1, 5, 9, 10):
        places.add(ordinal, ordinal * 100, ordinal * 100 + 40)
    data = places.encode(5000)
    read = Places.decode(data[:-16])
    assert read is not None and list(read.ordinals) == [0, 1, 5, 9, 10]
    assert [read.index(ordinal) for ordinal in (0, 1, 2, 5, 9, 10, 11)] == [0, 1, -1, 2, 3, 4, -1]
    for at in range(0, len(data) - 16, 5):
        damaged = bytearray(data[:-16])
        damaged[at] ^= 0x40
        assert Places.decode(bytes(damaged)) is None


def test_a_log_goes_back_over_streamed_contents(tmp_path: Path) -> None:
    """Records of a refused operation leave nothing that a scan finds, whatever was streamed in between."""
    (tmp_path / "segments").mkdir()
    segments = SegmentSet(tmp_path / "segments")
    written = SegmentLog(segments, 10**9)
    small, large = Streamed(1), Streamed(log.MEMORY_OCTETS // 2**18 + 1)
    assert written.add(1, b"{}", small) == (1, 0)
    mark = written.mark()
    for one in (small, large, small):
        written.add(1, b"{}", one)
    written.back(mark)
    assert written.add(1, b'{"a":1}', small) == (1, 1)
    mark = written.mark()
    written.add(1, b"{}", small)
    written.back(mark)
    written.add(1, b"{}", large)
    written.commit()
    file = segments.get(1)
    assert [(found.ordinal, found.body_octets) for found in records_of(file)] == [
        (0, small.size), (1, small.size), (2, large.size)]
    written.close()


def records_of(file: SegmentFile) -> list[Any]:
    """All whole records of a segment, read from the file."""
    file.end = file.path.stat().st_size
    return list(file.scan(Scan()))


def test_ghosts() -> None:
    """Seen by who was there before; forgotten up to a MODSEQ; what did not happen is discarded."""
    ghosts = Ghosts()
    row = (7, 3, 1, 100, 0, 0, 0)
    ghosts.add(1, 10, [row, (8, 3, 2, 50, 0, 0, 0)])
    ghosts.add(1, 12, [(9, 4, 2, 60, 0, 0, 0)])
    assert ghosts.get(1, 7, 9) == row and ghosts.get(1, 7, 10) is None and ghosts.get(2, 7, 0) is None
    assert ghosts.pinned(3) == {1, 2} and ghosts.octets(3) == 150
    ghosts.discard(1, [8])
    assert ghosts.pinned(3) == {1}
    ghosts.forget(1, 10)
    assert ghosts.get(1, 7, 0) is None and ghosts.pinned(4) == {2}
    ghosts.forget(1, 99)
    assert ghosts.pinned(4) == set()


def test_closed_store_refuses(bed: Bed) -> None:
    """StoreUnavailable afterwards; who closes meanwhile waits for the same end."""
    handle = bed.open()
    bed.loop.gather([bed.store.close(), bed.store.close(), bed.store.close()])
    for coroutine in (bed.store.deliver(bed.delivery(1)), handle.append([new_message(1)])):
        with pytest.raises(StoreUnavailable):
            bed.run(coroutine)
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]
