"""The queue of the embedded store: what a crash leaves at every step, the log, compaction, schema 3."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from embedded_queue_storm import START, rows_of
from embedded_storm import size_of
from embedded_tools import Bed, body
from test_embedded_crash import Failing, storm
from test_embedded_logins import rescued, unpack

from mailsrv.errors import StoreUnavailable
from mailsrv.interfaces import IQueue
from mailsrv.numbers import UidSet
from mailsrv.store.embedded import operations, queue_rows, rescue, schema
from mailsrv.values import Address, Due, NewQueued, Placement, Queued, Recipient
from tests.properties import THOROUGH

ALL = UidSet([(1, 2**32)])


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", purge_after=None)
    yield made
    made.close()


def to(local: str, destination: str = "a.example") -> Recipient:
    """A recipient with a parameter."""
    return Recipient(Address(local, destination), {"NOTIFY": "FAILURE"})


def queue(bed: Bed, number: int, *names: str, local: bool = False, size: int = 200) -> None:
    """Deliver message `number` to x and y at each of the names, and to INBOX if `local`."""
    new = tuple(NewQueued(name, (to("x", name), to("y", name))) for name in names or ("a.example",))
    placements = (Placement(bed.account_id),) if local else ()
    bed.run(bed.store.deliver(
        evolve(bed.delivery(number, size), queued=new, placements=placements, received_at=START + 0.25)
    ))


def rows(bed: Bed) -> list[Queued]:
    """All that waits."""
    return list(bed.run(bed.store.queued(most=10**6)))


def take(bed: Bed, name: str = "a.example", now: float = START + 1) -> Queued:
    """Lease one row."""
    (row,) = bed.run(bed.store.lease(name, 1, "test", now, 300.0))
    found: Queued = row
    return found


def settle(bed: Bed, row: Queued, *remaining: Recipient, **more: Any) -> bool:
    """An attempt is over."""
    done: bool = bed.run(bed.store.settle(row, remaining, due=START + 9, **more))
    return done


def octets(bed: Bed, row: Queued) -> bytes:
    """The message."""
    content = bed.run(bed.store.queue_content(row))
    found: bytes = bed.run(content.read(0, 10**7))
    content.close()
    return found


def killed(bed: Bed) -> Bed:
    """As a killed process leaves it, started again."""
    bed.crash()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]
    return bed


def reopen(bed: Bed, **options: Any) -> None:
    """Close the store and open it again."""
    bed.close()
    bed.__init__(bed.path, **(bed.options | options))  # type: ignore[misc]


def dead(bed: Bed) -> int:
    """Octets that are counted as dead."""
    return sum(row[0] for row in bed.store.index.rows("SELECT dead FROM segment"))


# ---------------------------------------------------------------- the crash table


def test_waiting_leased_settled_held(bed: Bed) -> None:
    """house 5, row by row: a kill after each step leaves what the table says."""
    queue(bed, 1, "a.example", "b.example", local=True)
    waiting = rows(killed(bed))
    assert [row.destination for row in waiting] == ["a.example", "b.example"]
    # Leased: the lease is void with its process, and its token worth nothing.
    stale = take(bed)
    assert bed.run(bed.store.due(START + 1)) == [Due("b.example", 1, START + 0.25)]
    assert rows(killed(bed)) == waiting and len(bed.run(bed.store.due(START + 1))) == 2
    again = take(bed)
    assert again.token != stale.token and not settle(bed, stale)
    # Settled in part: those that are done never again.
    assert settle(bed, again, *again.recipients[1:], reply="451 later", noticed=True)
    (left, other) = rows(killed(bed))
    assert left.recipients == again.recipients[1:]
    assert (left.attempts, left.reply, left.noticed) == (1, "451 later", True)
    assert left.due == START + 9 and other == waiting[1]
    # Held.
    assert bed.run(bed.store.alter([left.id], "hold")) == 1
    assert rows(killed(bed))[0].held
    assert [due.destination for due in bed.run(bed.store.due(START + 99))] == ["b.example"]
    # Finished, deleted: gone; the mailbox has its copy.
    assert settle(bed, take(bed, "b.example"))
    assert [row.id for row in rows(killed(bed))] == [left.id]
    assert bed.run(bed.store.alter([left.id], "delete")) == 1
    assert rows(killed(bed)) == [] and list(bed.octets(bed.open()).values()) == [body(1)]
    assert bed.store.report == [] and bed.run(bed.store.check()) == []


def test_never_acknowledged(tmp_path: Path) -> None:
    """A record whose commit did not come: no row, its room is dead, its ids are used again."""
    bed = Bed(tmp_path / "data", purge_after=None)
    queue(bed, 1)
    bed.crash()
    shutil.copytree(bed.path, tmp_path / "saved")
    bed = Bed(bed.path, purge_after=None)
    queue(bed, 2)
    lost = rows(bed)[1].id
    bed.crash()
    shutil.copy(bed.path / "segments" / "00000001.g0", tmp_path / "saved" / "segments")
    bed = Bed(tmp_path / "saved", purge_after=None)
    assert bed.store.report == ["00000001.g0: 1 messages were never acknowledged and are left out"]
    assert [row.delivery for row in rows(bed)] == ["d1"] and dead(bed) > 0
    queue(bed, 3)
    assert [(row.delivery, row.id == lost) for row in rows(bed)] == [("d1", False), ("d3", True)]
    again = rescued(bed.path, tmp_path / "new")
    assert [row.delivery for row in rows(again)] == ["d1", "d3"]
    again.close()
    bed.close()


def judge(bed: Bed, lines: list[list[str]]) -> int:
    """Everything acknowledged holds; gives how many rows wait."""
    assert bed.run(bed.store.check()) == []
    waiting = {(row.delivery[1:], row.destination): row for row in rows(bed)}
    assert len(waiting) == len(rows(bed)), "a row is there twice"
    said: dict[str, set[tuple[str, ...]]] = {"B": set(), "E": set()}
    for line in lines:
        if line[0] != "Q":
            said[line[0]].add(tuple(line[1:]))
    begun, ended = said["B"], said["E"]
    inbox = {octets[:60] for octets in bed.octets(bed.open()).values()}
    for line in lines:
        if line[0] != "Q":
            continue
        assert int(line[1]) % 2 == 0 or body(int(line[1]), size_of(int(line[1])))[:60] in inbox
        for new in rows_of(0):
            name = new.destination[0] + str(int(line[1]) // 10**7 * 10**7 + int(line[1]) % 10)
            key, row = (line[1], name), waiting.get((line[1], name))
            over = {what for what in ("settle", "delete") if (*key, what) in ended}
            assert (row is None) <= any((*key, what) in begun for what in ("settle", "delete")), "lost"
            assert row is None or not over, "came back"
            if row is not None:
                cut = (*key, "cut")
                assert len(row.recipients) in {1 if cut in ended or cut in begun else 2, 1 if cut in ended else 2}
                assert (row.due > START + 1) == (row.attempts == 1) >= ((*key, "postpone") in ended)
                assert octets(bed, row) == body(int(line[1]), size_of(int(line[1])))
    return len(waiting)


def rounds(path: Path, count: int, longest: float) -> None:
    """Kill again and again, on the same data."""
    rng, lines, waiting = random.Random(20_030_102), list[list[str]](), 0
    for number in range(count):
        lines += storm(path, number * 10**7, rng.uniform(0.1, longest), "embedded_queue_storm.py")
        bed = Bed(path, segment_octets=100_000, purge_after=None)
        assert not any("missing" in line or "damaged" in line for line in bed.store.report), bed.store.report
        waiting = judge(bed, lines)
        bed.crash()
    assert waiting and {"Q", "B", "E"} == {line[0] for line in lines}


@pytest.mark.slow
def test_kill_in_a_storm(tmp_path: Path) -> None:
    """SIGKILL at random moments of delivering, leasing, settling, deleting, postponing, with compaction: nothing that
    was acknowledged is lost, nothing that ended comes back, every content is whole."""
    rounds(tmp_path / "data", 3, 0.5)


@pytest.mark.slow
def test_kill_in_many_storms(tmp_path: Path) -> None:
    """The same for longer, and much longer where properties are tried thoroughly."""
    rounds(tmp_path / "data", 12 if THOROUGH else 4, 1.0)


# ---------------------------------------------------------------- failures


def test_a_failed_settlement_leaves_the_lease(bed: Bed) -> None:
    """The disk refuses: TryLater, and whoever holds the row may settle it again."""
    queue(bed, 1)
    row = take(bed)
    connection = bed.store.writer._connection
    assert connection is not None
    for trigger in ("BEFORE UPDATE", "BEFORE DELETE"):
        connection.execute(f"CREATE TEMP TRIGGER '{trigger}' {trigger} ON queue BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreUnavailable):
        settle(bed, row)
    with pytest.raises(StoreUnavailable):
        settle(bed, row, *row.recipients)
    assert rows(bed) == [row]
    assert bed.run(bed.store.next_due()) == START + 301
    connection.execute("DROP TRIGGER 'BEFORE UPDATE'")
    connection.execute("DROP TRIGGER 'BEFORE DELETE'")
    assert settle(bed, row, *row.recipients) and rows(bed)[0].attempts == 1


def test_a_failed_postponement_leaves_the_rows_due(bed: Bed) -> None:
    """As if it had not been asked for; the same for the administrator's hand."""
    for number in range(3):
        queue(bed, number)
    before = rows(bed)
    connection = bed.store.writer._connection
    assert connection is not None
    connection.execute("CREATE TEMP TRIGGER refuse BEFORE UPDATE ON queue BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreUnavailable):
        bed.run(bed.store.postpone("a.example", START + 1, (60.0,), "down"))
    with pytest.raises(StoreUnavailable):
        bed.run(bed.store.alter([row.id for row in before], "hold"))
    connection.execute("DROP TRIGGER refuse")
    assert rows(bed) == before and bed.run(bed.store.due(START + 1)) == [Due("a.example", 3, START + 0.25)]


def test_a_failed_delivery_leaves_no_row(bed: Bed) -> None:
    """Neither on the disk nor in memory, and watchers are not called."""
    calls: list[int] = []
    bed.store.watch_queue(lambda: calls.append(1))
    sync = bed.store.log._sync = Failing()
    sync.error = 5
    with pytest.raises(StoreUnavailable):
        queue(bed, 1, local=True)
    sync.error = None
    assert rows(bed) == [] and bed.run(bed.store.next_due()) is None and calls == []
    queue(bed, 2)
    assert [row.delivery for row in rows(bed)] == ["d2"] and calls == [1]


def test_a_settlement_does_not_sync_the_log(bed: Bed) -> None:
    """Its one sync is that of the index: the log hears of it with the next delivery."""
    for number in range(5):
        queue(bed, number)
    sync = bed.store.log._sync = Failing()
    for _ in range(4):
        assert settle(bed, take(bed))
    assert sync.calls == 0
    assert bed.store.index.rows("SELECT count(*) FROM unlogged") == [(4,)]
    bed.deliver(9)
    assert sync.calls == 1 and bed.store.index.rows("SELECT count(*) FROM unlogged") == [(0,)]


# ---------------------------------------------------------------- room on the disk


def test_content_for_the_queue_alone(tmp_path: Path) -> None:
    """It is live until the last row ends; then its octets count as dead, and compaction gives them back."""
    bed = Bed(tmp_path / "data", segment_octets=20_000, purge_after=None)
    for number in range(30):
        queue(bed, number, "a.example", "b.example", size=2000)
    assert dead(bed) == 0 and bed.run(bed.store.compact()) == 0
    for number in range(29):
        assert settle(bed, take(bed)) and dead(bed) == 0, number
    last = rows(bed)[-1]
    for number in range(29):
        assert settle(bed, take(bed, "b.example"))
        assert dead(bed) >= 2000 * (number + 1)
    before = sum(bed.segment_files().values())
    held = bed.run(bed.store.queue_content(last))
    assert bed.run(bed.store.compact()) > 0.8 * before
    assert octets(bed, rows(bed)[0]) == body(29, 2000) == bed.run(held.read(0, 10**4))
    held.close()
    assert bed.run(bed.store.check()) == []
    bed = bed.again()
    assert octets(bed, rows(bed)[0]) == body(29, 2000) and bed.store.report == []
    bed.close()


def test_an_open_content_outlives_compaction(bed: Bed) -> None:
    """Who reads a message reads it to its end, although its row has ended and its room was given back."""
    queue(bed, 1, size=300_000)
    row = take(bed)
    content = bed.run(bed.store.queue_content(row))
    assert settle(bed, row)
    assert bed.run(bed.store.compact()) > 300_000
    assert bed.run(content.read(0, 10**6)) == body(1, 300_000)
    content.close()
    with pytest.raises(StoreUnavailable):
        bed.run(content.read(0, 1))


def test_mailbox_and_queue_share_a_content(bed: Bed) -> None:
    """Whichever goes last lets it go: expunge and purge look at the queue, a settlement at the mailboxes."""
    for number in range(2):
        queue(bed, number, local=True, size=5000)
    handle = bed.open()
    one, two = handle.columns().uids
    bed.run(handle.expunge(UidSet.of([one])))
    assert dead(bed) == 0
    assert settle(bed, take(bed)) and dead(bed) > 5000
    assert settle(bed, take(bed)) and dead(bed) < 10_000
    bed.run(handle.expunge(UidSet.of([two])))
    assert dead(bed) > 10_000
    handle.release()
    queue(bed, 3, local=True, size=5000)
    bed.run(bed.store.directory.remove_account(bed.account_id))
    reopen(bed)
    while bed.store.index.rows("SELECT 1 FROM doomed"):
        bed.run(bed.store.directory.add_alias(Address("any", "example.org"), [Address("x", "far.example")]))
    assert 10_000 < dead(bed) < 16_000
    bed.run(bed.store.compact())
    assert octets(bed, rows(bed)[0]) == body(3, 5000) and bed.run(bed.store.check()) == []


def test_check_and_start_look_at_the_queue(bed: Bed) -> None:
    """A content or a segment that is missing is told also when only the queue wants it."""
    queue(bed, 1)
    bed.close()
    for path in (bed.path / "segments").iterdir():
        path.unlink()
    bed.__init__(bed.path, purge_after=None)  # type: ignore[misc]
    assert bed.store.report == ["segment 1 is missing: 1 messages have lost their content"]
    assert bed.run(bed.store.check()) == ["segment 1 is missing: 1 messages have lost their content"]
    with pytest.raises(StoreUnavailable):
        bed.run(bed.store.queue_content(rows(bed)[0]))


# ---------------------------------------------------------------- the log


def comparable(bed: Bed) -> list[Queued]:
    """What a rescue gives back: all but instants, attempts and replies."""
    return [evolve(row, due=0.0, attempts=0, reply="", token="") for row in rows(bed)]


def history(bed: Bed) -> None:
    """Rows in all their states."""
    for number, name in enumerate("abcdefg"):
        queue(bed, number, f"{name}.example", local=number % 2 == 1)
    assert settle(bed, take(bed, "a.example"))
    row = take(bed, "b.example")
    assert settle(bed, row, *row.recipients[1:], noticed=True, reply="451 later")
    ids = [row.id for row in rows(bed)]
    bed.run(bed.store.alter(ids[1:2], "hold"))
    bed.run(bed.store.alter(ids[2:3], "reroute", destination="smart"))
    bed.run(bed.store.alter(ids[3:4], "delete"))
    bed.run(bed.store.postpone("f.example", START + 1, (60.0,), "down"))


def test_rescue_from_changes_alone(bed: Bed, tmp_path: Path) -> None:
    """No checkpoint was written: what ended stays ended, what was changed is as it was changed, all due at once."""
    history(bed)
    queue(bed, 9)
    again = rescued(bed.path, tmp_path / "new")
    assert comparable(again) == comparable(bed) and len(rows(again)) == 6
    assert all(row.due == row.received_at == START + 0.25 and row.attempts == 0 for row in rows(again))
    assert [octets(again, row) for row in rows(again)] == [octets(bed, row) for row in rows(bed)]
    assert again.run(again.store.check()) == []
    queue(again, 10)
    assert rows(again)[-1].id > max(row.id for row in rows(bed))
    again.close()


def test_rescue_from_a_catalogue_and_later_changes(bed: Bed, tmp_path: Path) -> None:
    """A clean close writes down which rows there are; later records amend that, and older ones do not."""
    history(bed)
    reopen(bed)
    assert bed.store.index.rows("SELECT count(*) FROM unlogged") == [(0,)]
    queue(bed, 8, "h.example")
    assert settle(bed, take(bed, "smart"))
    bed.run(bed.store.alter([rows(bed)[1].id], "release"))
    queue(bed, 9)
    again = rescued(bed.path, tmp_path / "one")
    assert comparable(again) == comparable(bed)
    # And once more from what the rescued store wrote down.
    third = rescued(again.path, tmp_path / "two")
    assert comparable(third) == comparable(bed)
    third.close()
    again.close()
    reopen(bed)
    again = rescued(bed.path, tmp_path / "three")
    assert comparable(again) == comparable(bed)
    again.close()


def test_rescue_after_compaction(bed: Bed, tmp_path: Path) -> None:
    """Records of rows that ended may be gone or not: neither brings one back."""
    reopen(bed, segment_octets=5000)
    for number in range(20):
        queue(bed, number, local=number % 3 == 0, size=1000)
    for _ in range(15):
        assert settle(bed, take(bed))
    bed.run(bed.open().expunge(UidSet([(1, 3)])))
    bed.run(bed.store.compact())
    again = rescued(bed.path, tmp_path / "new")
    assert comparable(again) == comparable(bed) and len(rows(bed)) == 5
    again.close()


def test_what_the_log_does_not_know_may_be_sent_again(bed: Bed, tmp_path: Path) -> None:
    """The crash table's promise in a rescue as well: duplicates are possible, loss is not."""
    queue(bed, 1)
    queue(bed, 2)
    assert settle(bed, take(bed))
    bed.crash()
    again = rescued(bed.path, tmp_path / "new")
    assert [row.delivery for row in rows(again)] == ["d1", "d2"]
    again.close()
    bed.__init__(bed.path, purge_after=None)  # type: ignore[misc]
    assert [row.delivery for row in rows(bed)] == ["d2"]
    # A checkpoint, here that before a compaction, tells it.
    bed.run(bed.store.compact())
    again = rescued(bed.path, tmp_path / "later")
    assert [row.delivery for row in rows(again)] == ["d2"]
    again.close()


def test_a_damaged_log_gives_a_queue_on_hold(bed: Bed, tmp_path: Path) -> None:
    """It may have said that they were sent: the rows are there, held, and the report tells why."""
    for number in range(3):
        queue(bed, number)
    bed.close()
    (segment,) = (bed.path / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(body(1)[:20])] ^= 0xFF
    (tmp_path / "lost" / "segments").mkdir(parents=True)
    (tmp_path / "lost" / "segments" / segment.name).write_bytes(data)
    report = rescue.rescue(tmp_path / "lost", tmp_path / "new")
    assert any("2 rows of the queue" in line and "held" in line for line in report)
    again = Bed(tmp_path / "new", purge_after=None)
    assert [(row.delivery, row.held) for row in rows(again)] == [("d0", True), ("d2", True)]
    again.close()
    bed.__init__(bed.path)  # type: ignore[misc]


def test_very_many_destinations(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """decisions 5: a delivery in slices; each has a record from which its rows can be made again."""
    monkeypatch.setattr(operations, "MAX_PLACEMENTS", 7)
    names = [f"n{number}.example" for number in range(25)]
    new = tuple(NewQueued(name, (to("x", name),)) for name in names)
    placements = (Placement(bed.account_id),) * 10
    bed.run(bed.store.deliver(evolve(bed.delivery(1), queued=new, placements=placements)))
    assert [row.destination for row in rows(bed)] == names and len(bed.octets(bed.open())) == 10
    again = rescued(bed.path, tmp_path / "new")
    assert comparable(again) == comparable(bed) and len(again.octets(again.open())) == 10
    again.close()
    bed.run(bed.open().expunge(ALL))
    bed.run(bed.store.compact())
    assert {octets(bed, row) for row in rows(bed)} == {body(1)}


def test_the_log_hears_of_many_by_themselves(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any delivery, in records of bounded size."""
    monkeypatch.setattr(queue_rows, "LOGGED_ROWS", 10)
    monkeypatch.setattr(queue_rows, "LOGGED_OCTETS", 100)
    for number in range(25):
        queue(bed, number)
    assert bed.run(bed.store.alter([row.id for row in rows(bed)], "hold")) == 25
    assert bed.store.index.rows("SELECT count(*) FROM unlogged") == [(0,)]
    again = rescued(bed.path, tmp_path / "new")
    assert [row.held for row in rows(again)] == [True] * 25
    again.close()


# ---------------------------------------------------------------- schema 3


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_store_gets_a_queue(tmp_path: Path, version: int) -> None:
    """decisions 7: upgraded after a copy; its log and what follows can be rescued together."""
    bed = Bed(unpack(version, tmp_path / "old"), purge_after=None)
    assert bed.store.report == [
        f"schema upgraded from {version} to {schema.VERSION}; the index as it was is in index.db.v{version}"
    ]
    assert IQueue.providedBy(bed.store) and rows(bed) == []
    before = list(bed.octets(bed.open()).values())
    queue(bed, 77, "a.example", "b.example", local=True)
    assert settle(bed, take(bed))
    bed = bed.again()
    assert [row.destination for row in rows(bed)] == ["b.example"] and bed.run(bed.store.check()) == []
    assert list(bed.octets(bed.open()).values()) == [*before, body(77)]
    again = rescued(bed.path, tmp_path / "new")
    assert comparable(again) == comparable(bed)
    again.close()
    bed.close()


def test_a_fresh_index_is_as_an_upgraded_one(tmp_path: Path) -> None:
    """The same tables and indexes, whichever way they came."""
    old, new = Bed(unpack(2, tmp_path / "old")), Bed(tmp_path / "new")
    sql = "SELECT type, name, sql FROM sqlite_schema WHERE tbl_name IN ('queue', 'unlogged') ORDER BY name"
    assert old.store.index.rows(sql) == new.store.index.rows(sql) != []
    old.close()
    new.close()


def test_many_rows_at_the_start(bed: Bed) -> None:
    """What is due is known at once after a start, in the right order."""
    rng = random.Random(5)
    instants = [START + rng.randrange(1000) for _ in range(600)]
    bed.loop.gather([
        bed.store.deliver(evolve(
            bed.delivery(number), placements=(), received_at=at,
            queued=(NewQueued(f"d{number % 7}.example", (to("x"),), held=number % 50 == 0),),
        ))
        for number, at in enumerate(instants)
    ])
    before = bed.run(bed.store.due(START + 500))
    killed(bed)
    assert bed.run(bed.store.due(START + 500)) == before and len(before) == 7
    assert [due.oldest for due in before] == sorted(due.oldest for due in before)
    assert sum(due.count for due in before) == sum(
        at <= START + 500 for number, at in enumerate(instants) if number % 50
    )


def test_a_store_of_version_3_is_read(tmp_path: Path) -> None:
    """decisions 7: a small store of each version that landed is kept; this one has the rows of `history`."""
    bed = Bed(unpack(3, tmp_path / "old"), purge_after=None)
    seen = {row.id: row for row in rows(bed)}
    assert {number: row.destination for number, row in seen.items()} == {
        2: "b.example", 3: "c.example", 4: "smart", 6: "f.example", 7: "g.example", 8: "a.example"
    }
    assert (seen[2].recipients, seen[2].noticed, seen[2].reply) == ((to("y", "b.example"),), True, "451 later")
    assert seen[3].held and not seen[4].held and (seen[6].attempts, seen[6].due) == (1, START + 61)
    assert [octets(bed, row) for row in seen.values()] == [body(number) for number in (1, 2, 3, 5, 6, 9)]
    again = rescued(bed.path, tmp_path / "new")
    assert comparable(again) == comparable(bed) and bed.run(bed.store.check()) == []
    again.close()
    bed.close()
