"""The embedded store dies: kill -9 in a storm, torn tails, full disks, failing syncs.

What was acknowledged is there, whole (docs: promises 1, 2 and 11 of the store); what was not may be, or not.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from embedded_storm import size_of
from embedded_tools import Bed, body, new_message

from mailsrv.errors import InUse, StoreFull, StoreUnavailable
from mailsrv.message.content import MemoryContent
from mailsrv.numbers import UidSet
from mailsrv.store.embedded import schema
from mailsrv.values import FLAGGED, FlagChange
from tests.properties import THOROUGH

HERE = Path(__file__).parent
STORM = dict(segment_octets=200_000, purge_after=None)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", purge_after=None)
    yield made
    made.close()


# ---------------------------------------------------------------- kill -9


def storm(folder: Path, first: int, seconds: float, script: str = "embedded_storm.py") -> list[list[str]]:
    """Let a child store for a while, kill it; gives the lines that it got out."""
    child = subprocess.Popen(
        [sys.executable, str(HERE / script), str(folder), str(first)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(HERE.parent.parent)},
    )
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline() == b"ready\n", child.stderr.read().decode()
    os.set_blocking(child.stdout.fileno(), True)
    until = time.monotonic() + seconds
    lines = bytearray()
    while time.monotonic() < until:
        lines += os.read(child.stdout.fileno(), 65536)
    child.kill()
    lines += child.stdout.read()
    child.stdout.close()
    child.stderr.close()
    child.wait()
    return [line.split() for line in lines.decode().split("\n")[:-1]]


def numbers_in(bed: Bed, name: str) -> dict[int, int]:
    """UID -> number of the message, each checked to be whole."""
    handle = bed.open(name)
    found = {}
    for uid, octets in bed.octets(handle).items():
        number = int(octets.split(b"\r\n", 1)[0].rsplit(b" ", 1)[1])
        assert octets == body(number, size_of(number))
        found[uid] = number
    handle.release()
    return found


def check_storm(bed: Bed, lines: list[list[str]], delivered: set[int]) -> None:
    """Everything acknowledged holds."""
    assert bed.run(bed.store.check()) == []
    inbox, drafts, archive = (numbers_in(bed, name) for name in ("INBOX", "Drafts", "Archive"))
    delivered |= {int(line[1]) for line in lines if line[0] == "D"}
    there = list(inbox.values())
    assert delivered <= set(there)
    assert len(there) == len(set(there)), "a message is there twice"
    by_uid = {int(line[2]): int(line[1]) for line in lines if line[0] == "A"}
    expunged = {int(line[1]) for line in lines if line[0] == "X"}
    moved = {int(line[1]) for line in lines if line[0] == "M"}
    assert not expunged & drafts.keys()
    assert moved <= set(archive.values()) and not moved & set(drafts.values())
    for uid, number in by_uid.items():
        if uid not in drafts and uid not in expunged:
            # The last request of this worker was carried out and not yet acknowledged.
            assert number % 3 == 0 or number in archive.values()
    handle = bed.open("Drafts")
    flags = dict(zip(handle.columns().uids, handle.columns().flags))
    assert all(flags.get(int(line[1]), FLAGGED) & FLAGGED for line in lines if line[0] == "F")
    handle.release()


def rounds(path: Path, count: int, longest: float) -> None:
    """Kill again and again, on the same data."""
    delivered: set[int] = set()
    rng = random.Random(20_030_101)
    for number in range(count):
        lines = storm(path, number * 10**7, rng.uniform(0.05, longest))
        bed = Bed(path, **STORM)
        assert not any("missing" in line or "damaged" in line for line in bed.store.report), bed.store.report
        check_storm(bed, lines, delivered)
        bed.close()
    assert delivered


@pytest.mark.slow
def test_kill_in_a_storm(tmp_path: Path) -> None:
    """Promise 1 and 2: SIGKILL at random moments; every acknowledged message whole and once, every flag, expunge
    and move done."""
    rounds(tmp_path / "data", 3, 0.4)


@pytest.mark.slow
def test_kill_in_many_storms(tmp_path: Path) -> None:
    """The same for longer, and much longer where properties are tried thoroughly."""
    rounds(tmp_path / "data", 12 if THOROUGH else 4, 1.5)


# ---------------------------------------------------------------- the tail of the log


def test_torn_tail_at_every_offset(tmp_path: Path) -> None:
    """decisions 4: whatever part of the last record is there, the start cuts it off, says so, and goes on."""
    bed = Bed(tmp_path / "data", purge_after=None)
    bed.deliver(1)
    (segment,) = (bed.path / "segments").iterdir()
    whole = segment.stat().st_size
    saved = tmp_path / "saved"
    shutil.copytree(bed.path, saved)
    bed.deliver(2, 60)
    data = segment.read_bytes()
    bed.close()
    for end in range(whole + 1, len(data), 7):
        for tail in (data[whole:end], data[whole:end] + bytes(50), bytes(end - whole)):
            shutil.rmtree(bed.path)
            shutil.copytree(saved, bed.path)
            with segment.open("ab") as file:
                file.write(tail)
            bed = Bed(bed.path, purge_after=None)
            assert [line for line in bed.store.report if "torn tail" in line] == bed.store.report != []
            bed.deliver(3)
            assert list(bed.octets(bed.open()).values()) == [body(1), body(3)]
            bed.crash()


def test_a_whole_record_without_rows_is_left_out(tmp_path: Path) -> None:
    """Written, but never acknowledged: it stays out of the mailbox, and its name is not used again."""
    bed = Bed(tmp_path / "data", purge_after=None)
    bed.deliver(1)
    bed.crash()
    shutil.copytree(bed.path, tmp_path / "saved")
    bed = Bed(bed.path, purge_after=None)
    bed.deliver(2)
    bed.crash()
    shutil.copy(bed.path / "segments" / "00000001.g0", tmp_path / "saved" / "segments")
    bed = Bed(tmp_path / "saved", purge_after=None)
    assert bed.store.report == ["00000001.g0: 1 messages were never acknowledged and are left out"]
    bed.deliver(3)
    assert list(bed.octets(bed.open()).values()) == [body(1), body(3)]
    bed = bed.again()
    assert bed.store.report == [] and list(bed.octets(bed.open()).values()) == [body(1), body(3)]
    bed.close()


def test_damage_inside_is_skipped_and_told(tmp_path: Path) -> None:
    """A record in the middle that is not whole is no torn tail: what follows stays."""
    bed = Bed(tmp_path / "data", purge_after=None)
    for number in range(5):
        bed.deliver(number, 1000)
    bed.crash()
    (segment,) = (bed.path / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    at = data.index(body(2, 1000)[:20])
    data[at] ^= 0xFF
    segment.write_bytes(data)
    bed = Bed(bed.path, purge_after=None)
    assert any("damaged" in line for line in bed.store.report)
    assert any("missing" in line for line in bed.store.report)
    handle = bed.open()
    contents = bed.run(handle.contents(handle.columns().uids))
    for number, content in enumerate(contents):
        if number == 2:
            with pytest.raises(StoreUnavailable):
                bed.run(content.read(0, 10))
        else:
            assert bed.run(content.read(0, 2000)) == body(number, 1000)
    bed.close()


def test_octets_of_a_message_never_pass_for_a_record(tmp_path: Path) -> None:
    """The CRC of a record starts from a salt that no sender knows: a forged one behind a torn tail is not found."""
    bed = Bed(tmp_path / "data", purge_after=None)
    bed.deliver(1, 500)
    (segment,) = (bed.path / "segments").iterdir()
    donor = Bed(tmp_path / "donor", purge_after=None)
    donor.deliver(9, 300)
    forged = next((donor.path / "segments").iterdir()).read_bytes()
    donor.close()
    bed.run(bed.open().append([type(new_message(1))(MemoryContent(forged + b"\r\n"))]))
    bed.crash()
    segment.write_bytes(segment.read_bytes()[:-10])
    bed = Bed(bed.path, purge_after=None)
    assert not any("damaged" in line for line in bed.store.report)
    bed.close()


# ---------------------------------------------------------------- failures while it runs


class Failing:
    """A sync that fails when told to."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.calls = 0

    def __call__(self, fd: int) -> None:
        self.calls += 1
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        os.fdatasync(fd)


@pytest.mark.parametrize(("error", "raised"), [(errno.EIO, StoreUnavailable), (errno.ENOSPC, StoreFull)])
def test_failed_sync(bed: Bed, error: int, raised: type[Exception]) -> None:
    """Nothing is retried on that descriptor: the batch is refused, the next one has a segment of its own."""
    bed.deliver(1)
    handle = bed.open()
    sync = bed.store.log._sync = Failing()
    sync.error = error
    before = bed.segment_files()
    for _ in range(3):
        with pytest.raises(raised):
            bed.deliver(2)
        with pytest.raises(raised):
            bed.run(handle.append([new_message(3)]))
    sync.error = None
    bed.deliver(4)
    assert list(bed.octets(handle).values()) == [body(1), body(4)]
    after = bed.segment_files()
    assert all(after[name] == size for name, size in before.items()) and len(after) == len(before) + 1
    assert bed.run(bed.store.check()) == []
    again = bed.again()
    assert list(again.octets(again.open()).values()) == [body(1), body(4)]
    bed.__dict__.update(again.__dict__)


def test_failed_index_commit(bed: Bed) -> None:
    """The index cannot write: the batch is refused, views stay true, and the next one works."""
    bed.deliver(1)
    handle = bed.open()
    uid = handle.columns().uids[0]
    connection = bed.store.writer._connection
    assert connection is not None
    connection.execute("CREATE TEMP TRIGGER refuse BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreUnavailable):
        bed.deliver(2)
    with pytest.raises(StoreUnavailable):
        bed.run(handle.copy(UidSet.of([uid]), handle.mailbox_id, True))
    assert handle.columns().uids == [uid] and bed.run(handle.state()).exists == 1
    connection.execute("DROP TRIGGER refuse")
    bed.deliver(3)
    assert list(bed.octets(handle).values()) == [body(1), body(3)]
    assert bed.run(bed.store.check()) == []


def test_one_refused_operation_spares_its_batch(bed: Bed) -> None:
    """A content of the wrong size, an impossible flag, a missing mailbox: the others of the batch go through."""

    class Liar(MemoryContent):
        """Claims to be longer than it is."""

        def __init__(self, octets: bytes, claimed: int) -> None:
            super().__init__(octets)
            self.size = claimed

    handle, kind = bed.open(), type(new_message(1))
    small, large = Liar(b"short", 100), Liar(b"x" * 2**21, 2**21 + 5)
    results: list[object] = []

    async def attempt(awaitable: object) -> None:
        try:
            results.append(await awaitable)  # type: ignore[misc]
        except Exception as error:
            results.append(error)

    bed.loop.gather([
        attempt(handle.append([new_message(1), new_message(2)])),
        attempt(handle.append([new_message(3), kind(small)])),
        attempt(handle.append([new_message(4), kind(large), new_message(5)])),
        attempt(handle.append([new_message(6, b"\\Nonsense")])),
        attempt(handle.copy(UidSet.of([1]), 10**9)),
        attempt(handle.append([new_message(7), kind(MemoryContent(b"y" * 2**21))])),
        attempt(bed.store.deliver(bed.delivery(8))),
    ])
    assert [isinstance(result, Exception) for result in results] == [False, True, True, True, True, False, False]
    assert list(bed.octets(handle).values()) == [body(1), body(2), body(7), b"y" * 2**21, body(8)]
    assert bed.run(bed.store.check()) == []
    bed.__dict__.update(bed.again().__dict__)
    assert len(bed.octets(bed.open())) == 5


def test_a_bug_does_not_end_the_writer(bed: Bed) -> None:
    """An unforeseen exception refuses its batch, is logged, and the writer goes on."""

    class Broken(MemoryContent):
        """Raises what no content may raise."""

        def chunks(self) -> Iterator[bytes]:
            raise ZeroDivisionError

    handle = bed.open()
    with pytest.raises(StoreUnavailable):
        bed.run(handle.append([new_message(1), type(new_message(1))(Broken(b"x"))]))
    bed.deliver(2)
    assert list(bed.octets(handle).values()) == [body(2)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        assert os.environ.get("CI") != "true", mounted.stderr
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(small_disk: Path) -> None:
    """Promise 11: StoreFull (452 4.3.1), nothing acknowledged is lost, and it goes on when there is room again."""
    bed = Bed(small_disk / "data", purge_after=None, segment_octets=400_000)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    kept, refused, number = [], 0, 0
    while refused < 5:
        try:
            bed.deliver(number, 20_000)
            kept.append(number)
        except StoreFull as full:
            assert full.status == "4.3.1"
            refused += 1
        number += 1
        assert number < 500
    handle = bed.open()
    assert list(bed.octets(handle).values()) == [body(n, 20_000) for n in kept]
    ballast.unlink()
    for number in range(1000, 1010):
        bed.deliver(number, 20_000)
        kept.append(number)
    assert list(bed.octets(handle).values()) == [body(n, 20_000) for n in kept]
    assert bed.run(bed.store.check()) == []
    bed = bed.again()
    assert not any("missing" in line for line in bed.store.report)
    assert list(bed.octets(bed.open()).values()) == [body(n, 20_000) for n in kept]
    bed.close()


# ---------------------------------------------------------------- the start


def test_the_folder_is_locked(bed: Bed) -> None:
    """InUse, with the folder named; the store goes on."""
    with pytest.raises(InUse, match=str(bed.path)):
        Bed(bed.path)
    bed.deliver(1)


def test_two_stores_in_one_process(tmp_path: Path) -> None:
    """No global state."""
    one, two = Bed(tmp_path / "one"), Bed(tmp_path / "two")
    one.deliver(1)
    two.deliver(2)
    assert list(one.octets(one.open()).values()) == [body(1)] and list(two.octets(two.open()).values()) == [body(2)]
    one.close()
    two.deliver(3)
    two.close()


def test_newer_schema_is_refused(bed: Bed) -> None:
    """decisions 7: with advice, and nothing is changed."""
    bed.close()
    connection = apsw.Connection(str(bed.path / "index.db"))
    connection.execute("UPDATE meta SET value=? WHERE key='schema'", (schema.VERSION + 1,))
    connection.close()
    with pytest.raises(StoreUnavailable, match="newer version"):
        Bed(bed.path)
    connection = apsw.Connection(str(bed.path / "index.db"))
    connection.execute("UPDATE meta SET value=? WHERE key='schema'", (schema.VERSION,))
    connection.close()
    bed.__init__(bed.path)  # type: ignore[misc]


def test_older_schema_is_upgraded(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """decisions 7: in one transaction, after a copy of the index; a failing step leaves all as it was."""
    bed.deliver(1)
    bed.close()
    present = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", present + 1)
    monkeypatch.setitem(schema.UPGRADES, present, "CREATE TABLE later (x); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StoreUnavailable):
        Bed(bed.path)
    monkeypatch.setitem(schema.UPGRADES, present, "CREATE TABLE later (x);")
    bed.__init__(bed.path)  # type: ignore[misc]
    assert any("upgraded" in line and f"index.db.v{present}" in line for line in bed.store.report)
    assert (bed.path / f"index.db.v{present}").stat().st_size
    assert list(bed.octets(bed.open()).values()) == [body(1)]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """A database of another program, octets that are no database, a folder that cannot be made."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    other = apsw.Connection(str(tmp_path / "a" / "index.db"))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    (tmp_path / "b" / "index.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    (tmp_path / "c").write_text("a file")
    for name, words in (("a", "some other program"), ("b", "rescue"), ("c", "cannot be used")):
        with pytest.raises(StoreUnavailable, match=words):
            Bed(tmp_path / name)


def test_lost_index_is_not_begun_anew(bed: Bed) -> None:
    """Segments without their index: refused with advice, not an empty store."""
    bed.deliver(1)
    bed.close()
    index = bed.path / "index.db"
    index.rename(bed.path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="rescue"):
        Bed(bed.path)
    (bed.path / "elsewhere").rename(index)
    bed.__init__(bed.path)  # type: ignore[misc]


def test_faulty_sqlite_is_refused() -> None:
    """decisions 4: 3.51.3 and later, not 3.52.0."""
    for number in (3_040_001, 3_051_002, 3_052_000):
        with pytest.raises(Exception, match="write-ahead log"):
            schema.check_library(number)
    for number in (3_051_003, 3_052_001, 3_053_000, 3_054_001):
        schema.check_library(number)


def test_flags_survive_the_crash_of_a_bed(tmp_path: Path) -> None:
    """STORE is durable when it is acknowledged, also without a clean close."""
    bed = Bed(tmp_path / "data", purge_after=None)
    bed.deliver(1)
    bed.run(bed.open().update(UidSet([(1, 1)]), FlagChange("add", frozenset({b"\\Flagged", b"word"}))))
    bed.crash()
    bed = Bed(bed.path, purge_after=None)
    columns = bed.open().columns()
    assert columns.keywords == [b"word"] and columns.flags[0] & FLAGGED
    bed.close()


def test_a_store_of_version_1_is_read(tmp_path: Path) -> None:
    """decisions 7: a small store of each version that landed is kept, and opens with all that it held."""
    with tarfile.open(HERE / "data" / "store-v1.tar.xz") as archive:
        archive.extractall(tmp_path / "data", filter="data")
    bed = Bed(tmp_path / "data", purge_after=None)
    assert bed.store.report == [
        f"schema upgraded from 1 to {schema.VERSION}; the index as it was is in index.db.v1"
    ]
    inbox, copies = bed.open(), bed.open("Archive")
    assert bed.octets(inbox) == {1: body(0), 2: body(1), 3: body(2), 5: body(4)}
    assert list(bed.octets(copies).values()) == [body(1), body(2)]
    assert inbox.columns().flags == [0, FLAGGED | 32, 0, 0] and copies.columns().keywords == [b"work"]
    assert list(bed.run(inbox.changes(6)).vanished) == [4]
    assert bed.run(bed.store.check()) == []
    bed.close()


def test_a_closed_store_is_whole_without_its_wal(bed: Bed) -> None:
    """After a clean close the files of the index are one: who copies the folder by hand forgets none."""
    bed.deliver(1)
    bed.close()
    assert not [path.name for path in bed.path.iterdir() if path.name.endswith(("-wal", "-shm"))]
    bed.__init__(bed.path)  # type: ignore[misc]
