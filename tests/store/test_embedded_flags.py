"""Changes of many flags at once: what the index says afterwards is what the open mailbox says."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from embedded_tools import Bed, new_message

from mailsrv.numbers import UidSet
from mailsrv.store import keywords as kw
from mailsrv.values import FlagChange

_FLAGS = [b"\\Seen", b"\\Deleted", b"\\Flagged", b"one", b"two"]


def _rows(handle: Any) -> list[tuple[int, int, int]]:
    columns = handle.columns()
    return list(zip(columns.uids, columns.flags, columns.modseqs))


def _plain(handle: Any) -> dict[int, set[bytes]]:
    columns = handle.columns()
    return {uid: set(kw.names_of(mask, columns.keywords)) for uid, mask in zip(columns.uids, columns.flags)}


def _after(change: FlagChange, flags: set[bytes]) -> set[bytes]:
    if change.action == "replace":
        return set(change.flags)
    return flags | change.flags if change.action == "add" else flags - change.flags


def _churn(bed: Bed, chance: random.Random, flags: list[bytes]) -> None:
    """Random changes, each checked against a model of it."""
    handle = bed.open()
    for _ in range(30):
        before, rows = _plain(handle), _rows(handle)
        modseq = handle.columns().modseq
        change = FlagChange(chance.choice(["add", "remove", "replace"]), frozenset(chance.sample(flags, 2)))
        low = chance.randrange(1, 100)
        uids = UidSet([(low, low + chance.randrange(100)), (150, 160 * chance.randrange(2))])
        since = chance.choice([None, None, modseq, chance.choice(rows)[2]])
        told = bed.run(handle.update(uids, change, since))
        asked = {row[0] for row in rows if row[0] in uids}
        late = {row[0] for row in rows if since is not None and row[2] > since and row[0] in uids}
        expected = {uid: _after(change, flags) if uid in asked - late else flags for uid, flags in before.items()}
        assert _plain(handle) == expected and set(told.conflicts) == late and set(told.uids) == asked
        changed = {row[0] for row in set(_rows(handle)) - set(rows)}
        assert changed == {uid for uid in before if expected[uid] != before[uid]}
        assert {row[2] for row in _rows(handle) if row[0] in changed} <= {handle.columns().modseq}
        counted = bed.run(handle.state())
        assert counted.unseen == sum(b"\\Seen" not in flags for flags in expected.values())
        assert counted.deleted == sum(b"\\Deleted" in flags for flags in expected.values())
    handle.release()


def test_rfc3501_6_4_6_what_is_changed_is_what_a_model_says_and_stays(tmp_path: Path) -> None:
    chance = random.Random(7)
    bed = Bed(tmp_path / "data")
    bed.run(bed.open().append([new_message(number) for number in range(160)]))
    _churn(bed, chance, _FLAGS)
    handle = bed.open()
    bed.run(handle.expunge(UidSet([(number, number) for number in range(3, 160, 7)])))
    _churn(bed, chance, _FLAGS)
    # More keywords than a row of the index has bits for.
    words = [b"word%d" % number for number in range(80)]
    bed.run(handle.update(UidSet([(1, 1)]), FlagChange("add", frozenset(words))))
    _churn(bed, chance, _FLAGS + words)
    kept = _rows(handle), _plain(handle)
    bed.close()
    bed = Bed(tmp_path / "data")
    handle = bed.open()
    assert (_rows(handle), _plain(handle)) == kept
    bed.close()
