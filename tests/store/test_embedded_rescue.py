"""A lost index is made again from the segments (decisions 2); checks find what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from embedded_tools import Bed, body, new_message

from mailsrv.errors import InUse, StoreUnavailable
from mailsrv.numbers import UidSet
from mailsrv.store.embedded import rescue
from mailsrv.values import Address, FlagChange, Placement

ALL = UidSet([(1, 2**32)])


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", purge_after=None, segment_octets=20_000)
    yield made
    made.close()


def furnish(bed: Bed) -> None:
    """Something of everything: accounts, aliases, names, flags, keywords, copies, moves, removals, deletions."""
    bed.fill(40, 1000)
    other = bed.add_account("b")
    gone = bed.add_account("gone")
    directory = bed.store.directory
    bed.run(directory.add_alias(Address("team", "example.org"), [Address("a", "example.org")]))
    bed.run(directory.set_enabled(other.account_id, False))
    bed.run(directory.set_password(bed.account_id, "new hash", {"scram-sha-256": "keys", "ntlm": "keys"}))
    bed.run(directory.set_keep(other.account_id, frozenset({"ntlm"})))
    bed.run(directory.set_denied(other.account_id, frozenset({"pop3", "smtp/submission"})))
    for account_id in (bed.account_id, gone.account_id):
        for name in ("phone", "lost", "Büro"):
            bed.run(directory.add_app_password(account_id, name, "digest", frozenset({"smtp", "imap"})))
    bed.run(directory.remove_app_password(bed.account_id, "lost"))
    account = bed.run(bed.store.account(bed.account_id))
    bed.run(account.create("Projects/ü", b"\\Flagged"))
    bed.run(account.create("Old"))
    bed.run(account.subscribe("Projects/ü", True))
    inbox, projects = bed.open(), bed.open("Projects/ü")
    uids = inbox.columns().uids
    bed.run(inbox.update(UidSet.of(uids[:10]), FlagChange("add", frozenset({b"\\Seen", b"work", b"home"}))))
    words = frozenset(b"k%02d" % number for number in range(70))
    bed.run(inbox.update(UidSet.of(uids[4:6]), FlagChange("add", words)))
    bed.run(inbox.copy(UidSet.of(uids[3:9]), projects.mailbox_id))
    bed.run(inbox.copy(UidSet.of(uids[20:25]), projects.mailbox_id, True))
    bed.run(inbox.expunge(UidSet.of(uids[30:])))
    bed.run(projects.append([new_message(100, b"\\Draft", b"word", size=5000)]))
    bed.run(bed.open("Old").append([new_message(101)]))
    bed.run(account.delete("Old"))
    bed.run(account.rename("Archive", "Archive of 2020"))
    both = (Placement(bed.account_id, "Junk", frozenset({b"$Junk"})), Placement(other.account_id))
    bed.run(bed.store.deliver(bed.delivery(102, 700, both)))
    bed.run(bed.store.deliver(bed.delivery(103, 700, (Placement(gone.account_id),))))
    bed.run(directory.remove_account(gone.account_id))


def rescued(bed: Bed, target: Path) -> tuple[Bed, list[str]]:
    """The store made from the segments of this closed one."""
    report = rescue.rescue(bed.path, target)
    return Bed(target, **bed.options), report


def same_but_modseq(picture: dict[Any, Any]) -> dict[Any, Any]:
    """All that a client sees without CONDSTORE."""
    return {
        key: (value[0].exists, value[0].unseen, value[0].octets, value[0].uidvalidity, *value[1:3], *value[4:])
        if isinstance(key, tuple) else value
        for key, value in picture.items()
    }


@pytest.mark.parametrize("compacted", [False, True])
def test_rescue_equals_the_original(bed: Bed, tmp_path: Path, compacted: bool) -> None:
    """After a clean close: accounts with all for their logins, aliases, names, ids, UIDs, flags, MODSEQs, contents."""
    furnish(bed)
    if compacted:
        assert bed.run(bed.store.compact()) > 0
    before = bed.picture()
    bed.close()
    (bed.path / "index.db").rename(bed.path / "lost.db")
    again, report = rescued(bed, tmp_path / "new")
    messages = sum(len(value[1]) for key, value in before.items() if isinstance(key, tuple))
    assert report == [f"2 accounts, 14 mailboxes, {messages} messages"]
    after = again.picture()
    for key, value in before.items():
        assert after[key] == value, key
    assert after == before
    assert again.run(again.store.check()) == [] and again.store.report == []
    assert again.add_account("new").account_id > 3
    state = again.run(again.open().state())
    again.deliver(200)
    assert again.open().columns().uids[-1] == state.uidnext
    again.close()
    (bed.path / "lost.db").rename(bed.path / "index.db")
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


def test_rescue_twice(bed: Bed, tmp_path: Path) -> None:
    """A rescued store can be rescued again, also when it has gone on meanwhile."""
    furnish(bed)
    bed.close()
    one, _ = rescued(bed, tmp_path / "one")
    one.deliver(300)
    one.run(one.open().update(UidSet.of([1, 2]), FlagChange("add", frozenset({b"\\Answered"}))))
    before = one.picture()
    one.close()
    two, _ = rescued(one, tmp_path / "two")
    assert two.picture() == before
    two.close()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


def test_rescue_after_a_crash(bed: Bed, tmp_path: Path) -> None:
    """Without a clean close: everything delivered is there, with its flags at delivery; nothing is torn."""
    bed.fill(30, 500)
    bed.deliver(30, 500)
    handle = bed.open("Drafts")
    bed.run(handle.append([new_message(31, b"\\Draft", b"word")]))
    wanted = same_but_modseq(bed.picture())
    shutil.copytree(bed.path, tmp_path / "crashed")
    (tmp_path / "crashed" / "index.db").unlink()
    report = rescue.rescue(tmp_path / "crashed", tmp_path / "new")
    again = Bed(tmp_path / "new", purge_after=None)
    assert same_but_modseq(again.picture()) == wanted and len(report) == 1
    again.close()


def test_rescue_skips_damage(bed: Bed, tmp_path: Path) -> None:
    """A damaged record costs its own message only, and is told."""
    bed.fill(30, 1000)
    bed.close()
    path = sorted((bed.path / "segments").iterdir())[0]
    data = bytearray(path.read_bytes())
    at = data.index(body(3, 1000)[:24])
    data[at + 100] ^= 1
    shutil.copytree(bed.path, tmp_path / "bad")
    (tmp_path / "bad" / "segments" / path.name).write_bytes(data)
    problems = rescue.check(tmp_path / "bad")
    assert any("damaged" in line for line in problems) and any("missing" in line for line in problems)
    again, report = rescued_from(tmp_path / "bad", tmp_path / "new")
    assert any("damaged" in line for line in report)
    assert set(again.octets(again.open()).values()) == {body(n, 1000) for n in range(30) if n != 3}
    again.close()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


def rescued_from(path: Path, target: Path) -> tuple[Bed, list[str]]:
    """As `rescued`, by folder."""
    report = rescue.rescue(path, target)
    return Bed(target, purge_after=None), report


def test_mail_without_a_catalogue_is_not_lost(bed: Bed, tmp_path: Path) -> None:
    """When the segment that names the accounts is gone, its mail goes to accounts that tell where it was."""
    bed.fill(60, 1000)
    bed.crash()
    first = sorted((bed.path / "segments").iterdir())[0]
    rest = [n for n in range(60)]
    shutil.copytree(bed.path, tmp_path / "part")
    lost = (tmp_path / "part" / "segments" / first.name).read_bytes()
    (tmp_path / "part" / "segments" / first.name).unlink()
    again, report = rescued_from(tmp_path / "part", tmp_path / "new")
    assert any("recovered-1@invalid" in line for line in report)
    found = again.octets(again.open(account_id=1))
    assert set(found.values()) == {body(n, 1000) for n in rest if body(n, 1000) not in lost} and found
    again.close()
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


def test_rescue_refusals(bed: Bed, tmp_path: Path) -> None:
    """A running store, a target with something in it, a folder that is no store."""
    with pytest.raises(InUse):
        rescue.rescue(bed.path, tmp_path / "new")
    with pytest.raises(InUse):
        rescue.check(bed.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(StoreUnavailable, match="not empty"):
        rescue.rescue(bed.path, tmp_path / "full")
    with pytest.raises(StoreUnavailable, match="not the data folder"):
        rescue.check(tmp_path / "full")


def test_check_and_compact_of_a_stopped_store(bed: Bed) -> None:
    """For the commands: nothing wrong, then the room back."""
    furnish(bed)
    bed.close()
    assert rescue.check(bed.path) == []
    assert rescue.compact(bed.path) > 5000
    assert rescue.check(bed.path) == []
    bed.__init__(bed.path, **bed.options)  # type: ignore[misc]


@pytest.mark.parametrize(("statement", "words"), [
    ("UPDATE mailbox SET unseen=unseen+1 WHERE id=1", "counters"),
    ("UPDATE mailbox SET uidnext=2 WHERE id=1", "beyond"),
    ("UPDATE message SET ordinal=9999 WHERE uid=3", "missing"),
    ("UPDATE message SET segment=9999 WHERE uid=3", "missing"),
    ("UPDATE message SET size=size+1 WHERE uid=3", "octets"),
])
def test_check_finds(bed: Bed, statement: str, words: str) -> None:
    """Every kind of disagreement has a line that names it."""
    bed.fill(20, 500)
    assert bed.run(bed.store.check()) == []
    connection = apsw.Connection(str(bed.path / "index.db"))
    connection.execute(statement)
    connection.close()
    assert any(words in line for line in bed.run(bed.store.check()))
