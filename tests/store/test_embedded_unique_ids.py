"""Unique ids that messages had on another server, in the embedded store; and expunges that are all or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from embedded_tools import Bed, new_message
from test_embedded_logins import rescued, unpack

from mailsrv.numbers import UidSet
from mailsrv.store.embedded import schema
from mailsrv.store.embedded.changes import EXPUNGED
from mailsrv.store.embedded.records import append_header, flags_text


def theirs(number: int) -> Any:
    return evolve(new_message(number), unique_id=b"id-%d" % number)


def ids(bed: Bed, name: str = "INBOX") -> dict[int, bytes]:
    return dict(bed.run(bed.open(name).peculiar()).unique_ids)


def test_they_are_there_after_a_restart_and_after_a_rescue(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "data", purge_after=None)
    bed.run(bed.open().append([theirs(1), new_message(2), theirs(3)]))
    bed.run(bed.open().expunge(UidSet.of([1])))
    bed.run(bed.open().append([theirs(4)]))
    bed = bed.again()
    assert ids(bed) == {3: b"id-3", 4: b"id-4"}
    again = rescued(bed.path, tmp_path / "new")
    assert ids(again) == {3: b"id-3", 4: b"id-4"}
    again.close()
    bed.close()


def test_what_came_with_smtputf8_is_known_after_a_rescue_and_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "data", purge_after=None)
    for number in range(3):
        new = bed.delivery(number)
        bed.run(bed.store.deliver(evolve(new, envelope=evolve(new.envelope, parameters={"SMTPUTF8": ""}))))
    bed.deliver(3)
    bed.run(bed.open().expunge(UidSet.of([1])))
    assert len(bed.store.index.rows("SELECT * FROM international")) == 2
    bed = bed.again()
    assert bed.run(bed.open().peculiar()).international == [2, 3]
    again = rescued(bed.path, tmp_path / "new")
    assert again.run(again.open().peculiar()).international == [2, 3]
    again.close()
    bed.close()


def test_those_of_a_deleted_mailbox_are_gone(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "data")
    account = bed.run(bed.store.account(bed.account_id))
    bed.run(account.create("Old"))
    bed.run(bed.open("Old").append([theirs(1)]))
    bed.run(account.delete("Old"))
    bed = bed.again()
    bed.run(bed.open().append([theirs(2)]))
    assert bed.store.index.rows("SELECT id FROM unique_id") == [(b"id-2",)]
    bed.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_store_takes_them(tmp_path: Path, version: int) -> None:
    """decisions 7: upgraded after a copy."""
    bed = Bed(unpack(version, tmp_path / "old"), purge_after=None)
    assert f"schema upgraded from {version} to {schema.VERSION}" in bed.store.report[0]
    assert ids(bed) == {}
    (uid,) = bed.run(bed.open().append([theirs(7)])).uids
    bed = bed.again()
    assert ids(bed) == {uid: b"id-7"} and bed.run(bed.store.check()) == []
    bed.close()


@pytest.mark.parametrize(("whole", "commits"), [(True, 1), (False, 3)])
def test_rfc1939_section_6_what_is_to_go_as_a_whole_goes_in_one_commit(
    tmp_path: Path, whole: bool, commits: int
) -> None:
    count = 2 * EXPUNGED + 10
    bed = Bed(tmp_path / "data", purge_after=None)
    box = bed.open()
    for first in range(0, count, 1000):
        bed.run(box.append([new_message(n, size=40) for n in range(first, min(first + 1000, count))]))
    before = bed.run(box.state()).highest_modseq
    assert len(bed.run(box.expunge(UidSet([(1, count)]), whole=whole))) == count
    assert bed.run(box.state()).highest_modseq == before + commits
    bed.close()


def test_the_header_of_an_appended_message_is_json() -> None:
    """Whatever the flags and the unique id are made of."""
    plain = json.loads(append_header(-5, -60, 7, (1, 2, 3, 4), flags_text([])))
    assert plain == {"date": -5, "zone": -60, "saved": 7, "put": [[1, 2, 3, 4, []]]}
    strange = [b"\\Seen", bytes(range(256))]
    whole = json.loads(append_header(5, 60, 7, (1, 2, 3, 4), flags_text(strange), bytes(range(1, 256)), True))
    assert whole == {
        "date": 5, "zone": 60, "saved": 7, "put": [[1, 2, 3, 4, [flag.decode("latin-1") for flag in strange]]],
        "uidl": bytes(range(1, 256)).decode("latin-1"), "parameters": {"SMTPUTF8": ""},
    }  # fmt: skip
