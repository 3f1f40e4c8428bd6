"""Bad mail: what is kept, where, how safely, and that it is never tried again by itself (S-129..S-132)."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.errors import MailError, NoSuchMailbox, Refused, StoreFull, StoreUnavailable
from mailsrv.message.content import MemoryContent
from mailsrv.testing.loop import Loop
from mailsrv.transfer import badmail
from mailsrv.transfer.badmail import BadMail, entry_of
from mailsrv.values import Address, Outcome, Queued, Recipient
from tests.properties import tries

NOW = 1_800_000_000.0
TEXT = b"Subject: a report\r\n\r\nthat nobody wants\r\n"
BOB = Recipient(Address("bob", "exämple.net"), {"NOTIFY": "NEVER"})
GONE = Outcome(BOB, "failed", "5.1.1", "550 5.1.1 no\nsuch user", "mx.example.net")


def row(number: int = 1, **more: Any) -> Queued:
    return Queued(number, f"0abc{number:09d}", "example.net", None, (BOB,), server="smtp/default", origin="local",
                  parameters={"BODY": "8BITMIME"}, received_at=NOW - 9, **more)  # fmt: skip


def kept(bad: BadMail, number: int = 1, text: bytes = TEXT) -> str:
    return bad.keep(MemoryContent(text), entry_of(row(number), [GONE], NOW))


def test_s129_the_message_and_beside_it_the_reason(tmp_path: Path) -> None:
    bad = BadMail(lambda: tmp_path / "bad" / "default")
    key = kept(bad)
    folder = tmp_path / "bad" / "default"
    assert sorted(os.listdir(folder)) == [f"{key}.eml", f"{key}.json"]
    assert (folder / f"{key}.eml").read_bytes() == TEXT
    told = json.loads((folder / f"{key}.json").read_text())
    assert told["message"] == "0abc000000001"
    assert told["recipients"][0]["reply"] == "550 5.1.1 no\nsuch user"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_list_show_resubmit_delete(tmp_path: Path) -> None:
    """S-130: it stays as it is until somebody decides about it."""
    bad = BadMail(lambda: tmp_path)
    keys = [kept(bad, number) for number in (1, 2, 3)]
    assert [entry.key for entry in bad.entries()] == keys
    assert [entry.key for entry in bad.entries(after=keys[0], most=1)] == [keys[1]]
    entry, content = bad.resubmit(keys[1])
    assert entry == bad.show(keys[1])
    assert (entry.envelope.reverse_path, entry.envelope.recipients) == (None, (BOB,))
    assert (entry.origin, entry.server, entry.size, entry.outcomes) == ("local", "smtp/default", len(TEXT), (GONE,))
    assert entry.envelope.parameters == {"BODY": "8BITMIME"}
    assert Loop().run(content.read(0, 1000)) == TEXT
    assert bad.delete(keys[1])
    assert b"".join(content.chunks()) == TEXT
    content.close()
    assert not bad.delete(keys[1])
    assert [entry.key for entry in bad.entries()] == [keys[0], keys[2]]


def test_s131_s132_one_folder_for_each_server_and_it_may_change(tmp_path: Path) -> None:
    place = {"one": tmp_path / "1", "two": tmp_path / "2"}
    one, two = BadMail(lambda: place["one"]), BadMail(lambda: place["two"])
    first = kept(one, 1)
    assert two.entries() == []
    place["one"] = tmp_path / "new"
    second = kept(one, 2)
    assert [entry.key for entry in one.entries()] == [second]
    assert sorted(path.name for path in tmp_path.glob("*/*.eml")) == [f"{first}.eml", f"{second}.eml"]


def test_moved_here_twice_it_is_here_once(tmp_path: Path) -> None:
    """A process that died before it ended the row in the queue does it again."""
    bad = BadMail(lambda: tmp_path)
    assert kept(bad) == kept(bad)
    assert len(bad.entries()) == 1


@pytest.mark.parametrize(("error", "kind"), [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull),
                                             (errno.EIO, StoreUnavailable)])  # fmt: skip
@pytest.mark.parametrize("call", [1, 2, 3])
def test_what_cannot_be_written_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, kind: type[MailError], call: int
) -> None:
    """At the message, at its reason, at the folder."""
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(error, "no")

    monkeypatch.setattr(badmail.os, "fsync", fsync)
    bad = BadMail(lambda: tmp_path)
    with pytest.raises(kind):
        kept(bad)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    bad = BadMail(lambda: tmp_path / "file")
    for action in (lambda: kept(bad), bad.entries, lambda: bad.show("a-1"), lambda: bad.content("a-1")):
        with pytest.raises(StoreUnavailable):
            action()
    assert BadMail(lambda: tmp_path / "nothing").entries() == []


def test_what_a_crash_left_is_no_entry(tmp_path: Path) -> None:
    bad = BadMail(lambda: tmp_path)
    key = kept(bad)
    (tmp_path / f"{key}.json").rename(tmp_path / f".{key}.json")
    assert bad.entries() == []
    with pytest.raises(NoSuchMailbox):
        bad.show(key)
    assert kept(bad) == key
    assert len(bad.entries()) == 1


@pytest.mark.parametrize("limits", [{"most": 3}, {"octets": 3000}], ids=["messages", "octets"])
def test_the_oldest_makes_room(tmp_path: Path, limits: dict[str, int]) -> None:
    bad = BadMail(lambda: tmp_path, **limits)
    (tmp_path / "notes.txt").write_text("somebody's own")
    for number in range(1, 9):
        key = kept(bad, number, b"x" * 500)
        for path in tmp_path.glob(f"{key}.*"):
            os.utime(path, (number, number))
    left = [entry.row for entry in bad.entries()]
    assert 2 <= len(left) <= 3
    assert left == list(range(9 - len(left), 9))
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("key", ["", "..", "../x-1", "a/b-1", "a-1\0", "a-1.json", "a", "-1", "a" * 65 + "-1"])
def test_a_key_is_no_path(tmp_path: Path, key: str) -> None:
    bad = BadMail(lambda: tmp_path)
    for action in (bad.show, bad.content, bad.delete, bad.resubmit):
        with pytest.raises(NoSuchMailbox):
            action(key)


@pytest.mark.parametrize("told", ["", "[]", "null", '{"version": 2}', '{"version": 1}', "[" * 100_000, "\xff"])
def test_what_somebody_else_wrote_is_refused(tmp_path: Path, told: str) -> None:
    bad = BadMail(lambda: tmp_path)
    key = kept(bad, 7)
    (tmp_path / f"{key}.json").write_text(told, encoding="latin-1")
    with pytest.raises(Refused):
        bad.show(key)
    assert bad.entries() == []


def test_a_reason_of_another_message_is_refused(tmp_path: Path) -> None:
    bad = BadMail(lambda: tmp_path)
    one, two = kept(bad, 1), kept(bad, 2)
    (tmp_path / f"{one}.json").write_bytes((tmp_path / f"{two}.json").read_bytes())
    with pytest.raises(Refused):
        bad.show(one)


@settings(max_examples=tries(30))
@given(
    st.text(max_size=20), st.text(max_size=20), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
)
def test_whatever_was_kept_is_read_back(local: str, reply: str, parameters: dict[str, str]) -> None:
    one = Outcome(Recipient(Address(local, "x.org"), parameters), "failed", "5.0.0", reply, reply)
    entry = entry_of(Queued(1, "a", "x.org", Address(local, "y.org"), (), parameters=parameters), [one], NOW)
    assert badmail._unpacked("a-1", badmail._packed(entry), 0) == entry
