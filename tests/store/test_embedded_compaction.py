"""Compaction: the disk gets its room back, nothing live is lost, whatever the moment of a crash (decisions 3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_tools import Bed, body

from mailsrv.errors import StoreUnavailable
from mailsrv.numbers import UidSet
from mailsrv.values import Placement

STEPS = ("begin", "copied", "synced", "renamed", "published", "unlinked")


class Crash(OSError):
    """The process ends here."""


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", segment_octets=40_000, purge_after=None)
    yield made
    made.close()


def survivors(bed: Bed, every: int = 10) -> UidSet:
    """Expunge all but every n-th message of INBOX; gives what is left."""
    handle = bed.open()
    kept = handle.columns().uids[::every]
    bed.run(handle.expunge(UidSet.of(set(handle.columns().uids) - set(kept))))
    handle.release()
    return UidSet.of(kept)


def test_disk_falls_under_a_fifth(bed: Bed) -> None:
    """Fill, expunge 90 percent, see the disk fall under 20 percent; the rest is whole, also after a restart."""
    bed.fill(400, 2000)
    before = sum(bed.segment_files().values())
    assert len(bed.segment_files()) > 10
    kept = survivors(bed)
    wanted = {uid: octets for uid, octets in bed.octets(bed.open()).items() if uid in kept}
    freed = bed.run(bed.store.compact())
    after = sum(bed.segment_files().values())
    assert after < before * 0.2 and freed >= before * 0.75
    assert all(name.endswith(".g1") for name in bed.segment_files())
    assert bed.octets(bed.open()) == wanted
    assert bed.run(bed.store.check()) == []
    bed.close()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]
    assert bed.store.report == [] and bed.octets(bed.open()) == wanted


def test_nothing_to_do(bed: Bed) -> None:
    """Without anything dead no file is touched."""
    bed.fill(50, 2000)
    files = bed.segment_files()
    assert bed.run(bed.store.compact()) == 0
    assert bed.segment_files() == files


def test_an_empty_segment_goes(bed: Bed) -> None:
    """When nothing in it is live the file is removed, and its number is not used again."""
    bed.fill(100, 2000)
    first = min(bed.segment_files())
    handle = bed.open()
    bed.run(handle.expunge(UidSet([(1, 2**32)])))
    handle.release()
    bed.run(bed.store.compact())
    assert not {name for name in bed.segment_files() if name[:8] == first[:8] and name.endswith("g0")}
    highest = max(bed.segment_files(), default="00000000")
    bed.deliver(1)
    assert max(bed.segment_files()) > highest


def test_a_shared_content_lives_as_long_as_one_row(bed: Bed) -> None:
    """Copies and other recipients keep it."""
    other = bed.add_account("b").account_id
    placements = (Placement(bed.account_id), Placement(other))
    bed.run(bed.store.deliver(bed.delivery(7, 3000, placements)))
    mine, theirs = bed.open(), bed.open(account_id=other)
    bed.run(mine.expunge(UidSet([(1, 1)])))
    mine.release()
    bed.run(bed.store.compact())
    assert list(bed.octets(theirs).values()) == [body(7, 3000)]


def test_older_handles_pin_what_they_see(bed: Bed) -> None:
    """Expunged content stays readable until the release, then it goes (RFC 2180)."""
    bed.fill(60, 2000)
    handle = bed.open()
    seen = bed.octets(handle)
    survivors(bed)
    bed.run(bed.store.compact())
    uids = list(seen)
    contents = bed.run(handle.contents(uids))
    assert {uid: b"".join(content.chunks()) for uid, content in zip(uids, contents)} == seen
    assert [fact.uid for fact in bed.run(handle.facts(uids, frozenset({"size"})))] == uids
    handle.release()
    before = sum(bed.segment_files().values())
    assert bed.run(bed.store.compact()) > before / 2


def test_a_content_in_use_keeps_the_old_file(bed: Bed) -> None:
    """Readers let go of the old generation in their own time."""
    bed.fill(60, 2000)
    handle = bed.open()
    uid = handle.columns().uids[0]
    (content,) = bed.run(handle.contents([uid]))
    handle.release()
    survivors(bed, 1000)
    bed.run(bed.store.compact())
    assert bed.run(content.read(0, 5000)) == body(0, 2000)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_each_step_loses_nothing(tmp_path: Path, step: str) -> None:
    """Everything live is there afterwards, once; what was left behind is cleaned up; compaction can be done again."""
    bed = Bed(tmp_path / "data", segment_octets=40_000, purge_after=None)
    bed.fill(100, 2000)
    survivors(bed)
    wanted = bed.picture()
    reached: list[str] = []

    def crash(name: str) -> None:
        reached.append(name)
        if name == step and reached.count(name) == 2:
            raise Crash(f"at {name}")

    bed.store.compactor.step = crash
    with pytest.raises(StoreUnavailable):
        bed.run(bed.store.compact())
    assert reached.count(step) == 2
    bed.crash()
    bed = Bed(bed.path, **bed.options)
    assert bed.picture() == wanted
    assert bed.run(bed.store.check()) == []
    assert not [name for name in bed.segment_files() if name.endswith(".tmp")]
    numbers = [name[:8] for name in bed.segment_files()]
    assert len(numbers) == len(set(numbers))
    bed.run(bed.store.compact())
    assert bed.picture() == wanted and sum(bed.segment_files().values()) < 50_000
    bed.close()


def test_a_damaged_segment_is_left_alone(bed: Bed) -> None:
    """Compaction never makes things worse: a record that is not whole stops it for this segment."""
    bed.fill(60, 2000)
    survivors(bed)
    path = bed.path / "segments" / "00000001.g0"
    data = bytearray(path.read_bytes())
    data[10_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreUnavailable):
        bed.run(bed.store.compact())
    assert path.read_bytes() == data
    assert any("damaged" in line for line in bed.run(bed.store.check()))


def test_purge_after(tmp_path: Path) -> None:
    """A few dead octets are left until they are due; more than half is not waited for."""
    now = [1_800_000_000.0]
    bed = Bed(tmp_path / "data", clock=lambda: now[0], segment_octets=40_000, purge_after=None)
    bed.fill(60, 2000)
    compactor, handle = bed.store.compactor, bed.open()
    bed.run(handle.expunge(UidSet([(1, 1)])))
    handle.release()
    files = bed.segment_files()
    assert compactor.compact(1000.0) == 0 and bed.segment_files() == files
    now[0] += 1001
    assert compactor.compact(1000.0) > 1900
    handle = bed.open()
    bed.run(handle.expunge(UidSet([(20, 34)])))
    handle.release()
    assert compactor.compact(1000.0) > 20_000
    bed.close()


def test_summaries_go_with_their_content(bed: Bed) -> None:
    """Derived data of purged messages is not kept either."""
    bed.fill(40, 2000)
    handle = bed.open()
    uids = list(handle.columns().uids)
    bed.run(handle.keep_summaries([(uid, b"summary") for uid in uids]))
    handle.release()
    survivors(bed)
    bed.run(bed.store.compact())
    bed.close()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]
    rows: Any = bed.store.derived._reading.execute("SELECT count(*) FROM summary").get
    assert rows == 4
