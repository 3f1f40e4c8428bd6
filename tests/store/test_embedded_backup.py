"""Backup while running, restore when stopped (decisions 9): what was acknowledged before is there, and nothing that was
given out since is given out again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from embedded_tools import Bed, body, new_message

from mailsrv.errors import InUse, Refused, StoreUnavailable
from mailsrv.numbers import UidSet
from mailsrv.store.backup import BackupJob, Manifest, verify
from mailsrv.store.embedded import backup as module
from mailsrv.store.embedded import rescue
from mailsrv.store.embedded.restore import CHANGES, LAST_UID, NUMBERS, forward, restore
from mailsrv.values import Address, Envelope, FlagChange, NewDelivery, NewQueued, Recipient

ALL = UidSet([(1, 2**32)])
#: The store lives by the true clock.
NOW = time.time() + 100


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", purge_after=None, segment_octets=20_000)
    yield made
    made.close()


def saved(bed: Bed, folder: Path, **more: Any) -> BackupJob:
    """A backup of the open store, whole."""
    job = BackupJob(folder, **more)
    bed.run(bed.store.backup(job))
    assert verify(folder)[1] == []
    return job


def contents(bed: Bed) -> list[bytes]:
    """What INBOX holds."""
    return list(bed.octets(bed.open()).values())


def restored(folder: Path, data: Path, **more: Any) -> Bed:
    """The store of a backup in a new folder, open and whole."""
    restore(folder, data, NOW, **more)
    assert rescue.check(data) == []
    made = Bed(data, purge_after=None, segment_octets=20_000)
    assert made.store.report == []
    return made


def test_a_restored_store_holds_what_the_backup_found(bed: Bed, tmp_path: Path) -> None:
    bed.fill(40, 1000)
    handle = bed.open()
    bed.run(handle.update(ALL, FlagChange("add", frozenset({b"\\Seen", b"custom"}))))
    bed.run(handle.expunge(UidSet([(3, 5)])))
    before = bed.octets(handle)
    handle.release()
    saved(bed, tmp_path / "backup")
    bed.fill(5, 1000)
    new = restored(tmp_path / "backup", tmp_path / "new")
    try:
        handle = new.open()
        assert new.octets(handle) == before and len(before) == 37
        assert b"custom" in handle.columns().keywords
    finally:
        new.close()


def test_mail_that_comes_meanwhile_is_there_or_not_but_never_half(bed: Bed, tmp_path: Path, monkeypatch: Any) -> None:
    bed.fill(30, 1000)
    step = module.Backup._database

    def and_more_mail(self: Any, *arguments: Any) -> None:
        """Mail comes after the index was read, before the segments are: it is not of the backup."""
        step(self, *arguments)
        for number in range(100, 160):
            bed.store.writer.put(module_deliver(bed.delivery(number, 900)))
        barrier = Barrier()
        bed.store.writer.put(barrier)
        assert barrier.reached.wait(20)

    from mailsrv.store.embedded.operations import Asked
    from mailsrv.store.embedded.operations import Deliver as module_deliver

    class Barrier(Asked):
        """Reached when all before it is done."""

        def run(self, transaction: Any) -> bool:
            """Nothing."""
            return True

    monkeypatch.setattr(module.Backup, "_database", and_more_mail)
    saved(bed, tmp_path / "backup")
    assert len(contents(bed)) == 90
    new = restored(tmp_path / "backup", tmp_path / "new")
    try:
        assert contents(new) == [body(number, 1000) for number in range(30)]
    finally:
        new.close()


def test_the_second_backup_copies_just_what_is_new(bed: Bed, tmp_path: Path) -> None:
    bed.fill(60, 1000)
    first = saved(bed, tmp_path / "backup")
    assert first.copied > 60_000 and first.reused == 0
    bed.deliver(60, 1000)
    second = saved(bed, tmp_path / "backup")
    assert second.reused >= 40_000 and second.copied < 20_000
    assert len([one for one in (tmp_path / "backup").iterdir() if one.name.startswith("state-")]) == 1
    new = restored(tmp_path / "backup", tmp_path / "new")
    try:
        assert len(contents(new)) == 61
    finally:
        new.close()


def test_segments_that_were_compacted_leave_the_backup(bed: Bed, tmp_path: Path) -> None:
    bed.fill(60, 1000)
    saved(bed, tmp_path / "backup")
    handle = bed.open()
    bed.run(handle.expunge(UidSet([(1, 50)])))
    handle.release()
    assert bed.run(bed.store.compact()) > 30_000
    saved(bed, tmp_path / "backup")
    octets = sum(one.stat().st_size for one in (tmp_path / "backup").glob("segments-*/*.g*"))
    assert octets < 25_000


def test_compaction_waits_for_a_backup(bed: Bed) -> None:
    with bed.store.compactor.held(), pytest.raises(StoreUnavailable, match="backup"):
        bed.run(bed.store.compact())
    assert bed.run(bed.store.compact()) == 0


def test_a_backup_that_did_not_end_leaves_the_one_before(bed: Bed, tmp_path: Path) -> None:
    bed.fill(30, 1000)
    saved(bed, tmp_path / "backup")
    bed.fill(30, 1000)
    job = BackupJob(tmp_path / "backup")
    job.stop.set()
    with pytest.raises(Refused, match="cancelled"):
        bed.run(bed.store.backup(job))
    assert verify(tmp_path / "backup")[1] == []
    new = restored(tmp_path / "backup", tmp_path / "new")
    try:
        assert len(contents(new)) == 30
    finally:
        new.close()


def test_a_folder_of_somebody_else_is_refused(bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("mine")
    with pytest.raises(Refused, match="letter"):
        bed.run(bed.store.backup(BackupJob(tmp_path / "home")))
    assert (tmp_path / "home" / "letter").read_text() == "mine"


def test_verify_names_what_is_damaged_and_restore_refuses_it(bed: Bed, tmp_path: Path) -> None:
    bed.fill(30, 1000)
    saved(bed, tmp_path / "backup")
    segment = sorted((tmp_path / "backup").glob("segments-*/*.g0"))[0]
    octets = bytearray(segment.read_bytes())
    octets[5000] ^= 1
    segment.write_bytes(octets)
    assert any("checksum" in line and segment.name in line for line in verify(tmp_path / "backup")[1])
    with pytest.raises(StoreUnavailable, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "new", NOW)
    assert not (tmp_path / "new").exists()
    segment.unlink()
    assert any(segment.name in line for line in verify(tmp_path / "backup")[1])


@pytest.mark.parametrize("change", [
    lambda whole: whole["backup"].update(taken=0.0),
    lambda whole: whole.update(sha256="0" * 64),
    lambda whole: whole.clear(),
])  # fmt: skip
def test_a_manifest_that_was_changed_is_refused(bed: Bed, tmp_path: Path, change: Any) -> None:
    saved(bed, tmp_path / "backup")
    path = tmp_path / "backup" / "manifest.json"
    whole = json.loads(path.read_text())
    change(whole)
    path.write_text(json.dumps(whole))
    with pytest.raises(Refused, match="damaged"):
        Manifest.read(tmp_path / "backup")


def test_a_manifest_leads_nowhere_else(bed: Bed, tmp_path: Path) -> None:
    saved(bed, tmp_path / "backup")
    found = Manifest.read(tmp_path / "backup")
    assert found is not None
    for goes in ("../outside", "/etc/passwd", ""):
        from attrs import evolve

        evolve(found, files=(evolve(found.files[0], goes=goes),)).write(tmp_path / "backup")
        with pytest.raises(Refused, match="no place"):
            Manifest.read(tmp_path / "backup")


def test_a_data_folder_that_is_used_is_left_alone(bed: Bed, tmp_path: Path) -> None:
    bed.fill(3)
    saved(bed, tmp_path / "backup")
    with pytest.raises(InUse):
        restore(tmp_path / "backup", tmp_path / "data", NOW, force=True)
    bed.close()
    with pytest.raises(Refused, match="--force"):
        restore(tmp_path / "backup", tmp_path / "data", NOW)
    said = restore(tmp_path / "backup", tmp_path / "data", NOW, force=True)
    [aside] = tmp_path.glob("data.before-*")
    assert str(aside) in said[-1] and (aside / "index.db").exists()


def test_nothing_that_was_given_out_since_is_given_out_again(bed: Bed, tmp_path: Path) -> None:
    bed.fill(10)
    saved(bed, tmp_path / "backup")
    # What the lost state had: clients remember it.
    bed.fill(20)
    handle = bed.open()
    bed.run(handle.expunge(UidSet([(1, 3)])))
    state, seen, numbers = bed.run(handle.state()), handle.columns().modseq, bed.store.segments.numbers()
    made = bed.run(bed.run(bed.store.account(bed.account_id)).create("Lost"))
    handle.release()
    new = restored(tmp_path / "backup", tmp_path / "new")
    try:
        handle = new.open()
        found = new.run(handle.state())
        assert found.uidvalidity == state.uidvalidity and found.uidnext >= NUMBERS > state.uidnext
        assert handle.columns().modseq > seen
        changes = new.run(handle.changes(seen))
        assert list(changes.uids) == list(range(1, 11)), "flags of all messages are told anew"
        again = new.run(new.run(new.store.account(new.account_id)).create("Lost"))
        assert again.mailbox_id > made.mailbox_id and again.uidvalidity > made.uidvalidity
        new.deliver(99)
        assert max(new.store.segments.numbers()) > max(numbers) + 100
        handle.release()
    finally:
        new.close()


def test_what_waited_is_on_hold_after_a_restore(bed: Bed, tmp_path: Path) -> None:
    envelope = Envelope(Address("a", "example.org"), (Recipient(Address("x", "foreign.example")),))
    from mailsrv.message.content import MemoryContent

    queued = (NewQueued("foreign.example", envelope.recipients),)
    bed.run(bed.store.deliver(NewDelivery("q1", envelope, MemoryContent(body(1)), (), NOW, 0, queued=queued)))
    saved(bed, tmp_path / "backup")
    assert bed.store.restored is None
    new = restored(tmp_path / "backup", tmp_path / "new")
    try:
        assert not new.run(new.store.due(NOW + 1e6))
        [row] = new.run(new.store.queued())
        assert row.held and new.store.restored is not None and new.store.restored["queued"] == 1
        new.run(new.store.alter([row.id], "release"))
        assert [one.destination for one in new.run(new.store.due(NOW + 1e6))] == ["foreign.example"]
    finally:
        new.close()


def test_a_mailbox_without_room_for_more_uids_gets_another_uidvalidity(bed: Bed, tmp_path: Path) -> None:
    bed.deliver(1)
    bed.close()
    connection = apsw.Connection(str(tmp_path / "data" / "index.db"))
    connection.execute("UPDATE mailbox SET uidnext=?", (LAST_UID + 5,))
    before = connection.execute("SELECT uidvalidity, modseq FROM mailbox").fetchone()
    forward(connection, NOW - 10, NOW, 1)
    uidvalidity, uidnext, modseq = connection.execute("SELECT uidvalidity, uidnext, modseq FROM mailbox").fetchone()
    assert uidnext == LAST_UID + 5 and uidvalidity > before[0] and modseq == before[1] + CHANGES
    assert connection.execute("SELECT uidvalidity FROM account").get >= uidvalidity
    connection.close()


def test_files_of_the_site_come_along(bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    (tmp_path / "key").chmod(0o640)
    database = apsw.Connection(str(tmp_path / "trace.db"))
    database.execute("PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7)").fetchall()
    extra = (
        ("data", "tls/default.key", tmp_path / "key"), ("outside", "/etc/elsewhere.key", tmp_path / "key"),
        ("data", "trace.db", tmp_path / "trace.db"), ("data", "badmail/gone", tmp_path / "not there"),
    )
    saved(bed, tmp_path / "backup", extra=extra)
    database.close()
    restore(tmp_path / "backup", tmp_path / "new", NOW)
    assert (tmp_path / "new" / "tls" / "default.key").read_text() == "secret"
    assert (tmp_path / "new" / "tls" / "default.key").stat().st_mode & 0o777 == 0o640
    assert apsw.Connection(str(tmp_path / "new" / "trace.db")).execute("SELECT x FROM t").get == 7
    assert not (tmp_path / "new" / "badmail").exists()


def test_a_rescue_after_a_restore_brings_no_more_than_the_backup(bed: Bed, tmp_path: Path) -> None:
    bed.fill(12, 1000)
    saved(bed, tmp_path / "backup")
    restored(tmp_path / "backup", tmp_path / "new").close()
    said = rescue.rescue(tmp_path / "new", tmp_path / "rescued")
    assert said[-1] == "1 accounts, 6 mailboxes, 12 messages"
    made = Bed(tmp_path / "rescued", purge_after=None)
    try:
        handle = made.open()
        assert made.run(handle.state()).uidnext >= NUMBERS
        made.run(handle.append([new_message(1)]))
        handle.release()
    finally:
        made.close()
