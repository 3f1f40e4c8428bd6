"""Mailboxes that nobody has open any more stay loaded for a while: they are in step, bounded and let go of."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_tools import Bed, new_message

from mailsrv.errors import NoSuchMailbox
from mailsrv.numbers import UidSet
from mailsrv.store.embedded import opened
from mailsrv.values import FlagChange

SEEN = FlagChange("add", frozenset({b"\\Seen"}))


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data")
    yield made
    made.close()


def left(bed: Bed, name: str = "INBOX") -> int:
    """Open a mailbox and leave it; its id."""
    account = bed.run(bed.store.account(bed.account_id))
    handle = bed.run(account.open(name))
    handle.release()
    mailbox_id: int = handle.mailbox_id
    return mailbox_id


def test_the_next_one_who_opens_it_reads_nothing(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.fill(5, 60)
    mailbox = left(bed)
    monkeypatch.setattr(bed.store.index, "load", None)
    bed.deliver(6, 60)
    account = bed.run(bed.store.account(bed.account_id))
    handle = bed.run(account.open("INBOX"))
    assert handle.mailbox_id == mailbox and handle.columns().uids == list(range(1, 7))
    assert bed.run(handle.state()).exists == 6
    handle.release()


def test_what_others_expunge_meanwhile_is_kept_for_nobody(bed: Bed) -> None:
    bed.fill(5, 60)
    account = bed.run(bed.store.account(bed.account_id))
    target = bed.run(account.create("other"))
    left(bed)
    # Removed by a MOVE that goes through a handle of another mailbox's session: nobody has INBOX open here.
    handle = bed.run(account.open("INBOX"))
    bed.run(handle.copy(UidSet.of([1, 2]), target.mailbox_id, True))
    handle.release()
    assert bed.store.ghosts._rows == {}
    again = bed.run(account.open("INBOX"))
    assert again.columns().uids == [3, 4, 5]
    again.release()


def test_deleted_and_made_again_it_is_another(bed: Bed) -> None:
    account = bed.run(bed.store.account(bed.account_id))
    bed.run(account.create("x"))
    first = left(bed, "x")
    bed.run(account.delete("x"))
    assert first not in bed.store.openings._open
    with pytest.raises(NoSuchMailbox):
        bed.run(account.open("x"))
    bed.run(account.create("x"))
    assert left(bed, "x") != first


@pytest.mark.parametrize(("mailboxes", "rows"), [(2, 1000), (1000, 12)])
def test_they_are_few(bed: Bed, monkeypatch: pytest.MonkeyPatch, mailboxes: int, rows: int) -> None:
    monkeypatch.setattr(opened, "WARM_MAILBOXES", mailboxes)
    monkeypatch.setattr(opened, "WARM_ROWS", rows)
    account = bed.run(bed.store.account(bed.account_id))
    ids = []
    for name in "abc":
        bed.run(account.create(name))
        handle = bed.run(account.open(name))
        bed.run(handle.append([new_message(n, size=60) for n in range(5)]))
        handle.release()
        ids.append(handle.mailbox_id)
    assert set(bed.store.openings._open) == set(ids[1:])
    # One that grows while nobody looks counts as what it is.
    other = bed.run(account.open("a"))
    bed.run(other.copy(UidSet([(1, 5)]), ids[2]))
    bed.run(other.copy(UidSet([(1, 5)]), ids[2]))
    held = sum(len(box.columns.uids) for box in bed.store.openings._warm.values())
    assert held <= rows and bed.store.openings._warm_rows == held
    other.release()


@pytest.mark.parametrize("seed", range(3))
def test_always_in_step_with_the_index(bed: Bed, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(opened, "WARM_ROWS", 60)
    rng = random.Random(seed)
    account = bed.run(bed.store.account(bed.account_id))
    names = ["INBOX", "Sent", "Trash"]
    for number in range(60):
        handle = bed.run(account.open(rng.choice(names)))
        columns, index = handle.columns(), bed.store.index.load(handle.mailbox_id, None)
        assert (columns.uids, columns.flags, columns.modseqs) == (index.uids, index.flags, index.modseqs)
        assert columns.modseq == index.row.modseq
        some = UidSet.of(rng.sample(columns.uids, min(3, len(columns.uids))))
        kind = rng.randrange(4)
        if kind == 0:
            bed.run(handle.append([new_message(number, size=60) for _ in range(rng.randrange(1, 6))]))
        elif kind == 1:
            bed.run(handle.update(some, SEEN))
        elif kind == 2:
            target = bed.run(account.status(rng.choice(names))).mailbox_id
            bed.run(handle.copy(some, target, rng.random() < 0.5))
        else:
            bed.run(handle.expunge(some))
        handle.release()
        bed.deliver(number, 60)
    assert bed.store.ghosts._rows == {}


def test_sizes_are_read_once_and_follow_every_change(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    account = bed.run(bed.store.account(bed.account_id))
    handle = bed.run(account.open("INBOX"))

    def sizes() -> list[int]:
        """What the mailbox says, which must be what its facts say."""
        uids = list(handle.columns().uids)
        said = list(bed.run(handle.sizes(uids)))
        assert said == [fact.size for fact in bed.run(handle.facts(uids, frozenset({"size"})))]
        return said

    bed.run(handle.append([new_message(n, size=60 + n) for n in range(5)]))
    first = sizes()
    bed.run(handle.append([new_message(9, size=99)]))
    assert sizes()[:5] == first
    last = sizes()[5]
    bed.run(handle.expunge(UidSet.of([2, 4])))
    assert sizes() == [first[0], first[2], first[4], last]
    # Gone, but this handle was there before; a stretch with a gap; out of order; never there.
    assert list(bed.run(handle.sizes([2, 3]))) == first[1:3]
    assert list(bed.run(handle.sizes([5, 1, 77]))) == [first[4], first[0], -1]
    monkeypatch.setattr(bed.store.index, "sizes", None)
    assert list(bed.run(handle.sizes([3, 5, 6]))) == [first[2], first[4], last]
    handle.release()
