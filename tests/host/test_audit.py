"""The audit log: a record before anything changes, its outcome after, bounded files, pages; a disk that is full."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mailsrv.auth.roles import unix_login
from mailsrv.errors import Refused
from mailsrv.host.audit import MAX_RECORD, Audit, NotAudited, shown
from mailsrv.host.audit_files import KEPT, NAME, AuditFiles
from mailsrv.host.control.run import IN_PROCESS, run
from mailsrv.host.control.table import OPERATIONS, operation
from mailsrv.testing.loop import Loop
from mailsrv.transfer.ids import IdMaker
from mailsrv.values import ACCEPT, Identity, Verdict

ANNA = Identity(0, "token:anna", mechanism="TOKEN")
OWNER = Identity(0, unix_login(os.geteuid()), mechanism="UNIX")


class Site:
    """A site with an audit log whose time is `time`."""

    def __init__(self, folder: Path, size: int = 10**7) -> None:
        self.time = 1_800_000_000.0
        self.folder = folder
        self.allowed = True
        self.authorizer = SimpleNamespace(permits=self._permits)
        self.audit = self.make(size)

    def make(self, size: int = 10**7) -> Audit:
        """Another one on the same files, as after a restart."""
        return Audit(self.folder, size, lambda: self.time, self._aside, IdMaker(lambda: self.time, os.urandom).next)

    async def _permits(self, identity: Any, action: str, resource: str) -> Verdict:
        return ACCEPT if self.allowed else Verdict("reject", rule="no role grants it")

    async def _aside(self, function: Any, *arguments: Any) -> Any:
        """Here and now."""
        return function(*arguments)

    def ask(self, name: str, identity: Identity = ANNA, peer: str = "192.0.2.7", **arguments: Any) -> dict[str, Any]:
        """The answer to one operation."""
        self.time += 1
        answer: dict[str, Any] = Loop().run(run(self, name, arguments, identity, peer=peer))
        return answer

    def rows(self, **more: Any) -> list[dict[str, Any]]:
        """All that fits, page by page."""
        found, after = [], ""
        while True:
            rows, after = Loop().run(self.audit.page(after=after, **more))
            found += rows
            if not after:
                return found

    def lines(self) -> list[str]:
        """Those of the file that is written."""
        return (self.folder / NAME).read_text().splitlines()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty log."""
    return Site(tmp_path)


@pytest.fixture(autouse=True)
def operations() -> Iterator[list[str]]:
    """Operations of tests: test.change, test.list, test.mail; what they have done."""
    did: list[str] = []

    @operation("test.change", secret=("password",))
    async def change(site: Any, thing: str, password: str = "") -> str:
        """Changes something, unless it is to be refused or to break."""
        did.append(f"{thing}, {len(site.lines())} lines before")
        if thing == "no":
            raise Refused("there is no such thing")
        if thing == "bug":
            raise ZeroDivisionError
        return "changed"

    @operation("test.list")
    async def list_all(site: Any) -> str:
        """Changes nothing."""
        return "listed"

    @operation("test.mail", audit="once")
    async def mail(site: Any, thing: str) -> str:
        """Work on mail."""
        return "done"

    yield did
    for name in ("test.change", "test.list", "test.mail"):
        del OPERATIONS[name]


def test_who_did_what_when_from_where_and_what_came_of_it(site: Site) -> None:
    site.ask("test.change", thing="a@example.org", password="secret")
    site.ask("test.change", thing="no")
    site.ask("test.change", thing="bug")
    broken, refused, done = site.rows()
    assert done == {
        "id": done["id"], "at": "2027-01-15T08:00:01.000Z", "who": "token:anna", "peer": "192.0.2.7",
        "operation": "test.change", "arguments": {"thing": "a@example.org"},
        "outcome": "done", "ended": "2027-01-15T08:00:01.000Z",
    }  # fmt: skip
    assert (refused["outcome"], refused["text"]) == ("refused", "there is no such thing")
    assert broken["outcome"] == "failed" and "secret" not in "".join(site.lines())


def test_the_record_is_there_before_anything_changes(site: Site, operations: list[str]) -> None:
    site.ask("test.change", thing="a")
    assert operations == ["a, 1 lines before"]
    # After a crash nobody knows how it ended, and that is said.
    (site.folder / NAME).write_text(site.lines()[0] + "\n")
    assert [row["outcome"] for row in site.rows()] == ["unknown"]


def test_what_only_looks_is_no_record_and_mail_is_one_for_all_of_it(site: Site) -> None:
    site.ask("test.list")
    for thing in ("a", "a", "b", "a"):
        site.ask("test.mail", thing=thing)
    assert len(site.rows()) == 1
    site.time += 601
    site.ask("test.mail", thing="a")
    assert len(site.rows()) == 2


def test_who_may_not_is_a_record_but_not_each_time(site: Site) -> None:
    site.allowed = False
    for _ in range(5):
        assert "may not test.change" in site.ask("test.change", thing="a")["error"]
    (row,) = site.rows()
    assert row["outcome"] == "denied" and row["text"].endswith("no role grants it")


def test_a_note_is_a_record_of_its_own(site: Site) -> None:
    Loop().run(site.audit.note("config.change", "unix:anna", changed=["smtp.default.max_hops"]))
    (row,) = site.rows()
    assert (row["who"], row["operation"], row["facts"], row["outcome"]) == (
        "unix:anna", "config.change", {"changed": ["smtp.default.max_hops"]}, "done",
    )  # fmt: skip


def test_files_are_closed_to_others_and_bounded_and_the_oldest_goes(tmp_path: Path) -> None:
    site = Site(tmp_path, size=MAX_RECORD * KEPT)
    for number in range(700):
        Loop().run(site.audit.note("test.note", text="x" * 480, number=number))
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT and all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert sum(file.stat().st_size for file in files) <= MAX_RECORD * KEPT
    numbers = [row["facts"]["number"] for row in site.rows()]
    assert numbers[0] == 699 and numbers == list(range(699, numbers[-1] - 1, -1)) and 0 < numbers[-1] < 600
    # Numbers of files only rise, so that a place in them stays what it is.
    assert files[1].name > f"{NAME}.000001"


def test_records_go_on_after_a_restart_and_a_torn_line_is_none(site: Site) -> None:
    site.ask("test.change", thing="a")
    Loop().run(site.audit.close())
    with (site.folder / NAME).open("a") as file:
        file.write('{"id":"torn","at":"20')
    site.audit = site.make()
    site.ask("test.change", thing="b")
    assert [row["arguments"]["thing"] for row in site.rows()] == ["b", "a"]


def test_pages_hold_each_record_once_with_its_outcome(site: Site) -> None:
    """Operations overlap: the ends of some are far from their beginnings, on another page."""

    async def overlap() -> None:
        """Ten begin, then they end the other way round; a few go on for longer."""
        slow = await site.audit.begin("test.slow", {}, "anna")
        for _ in range(5):
            numbers = []
            for number in range(10):
                site.time += 1
                numbers.append(await site.audit.begin("test.one", {"number": number}, "bob"))
            for number in reversed(numbers):
                site.audit.end(number, "done")
        site.audit.end(slow, "refused", "late")

    Loop().run(overlap())
    whole = site.rows(limit=1000)
    assert [row["outcome"] for row in whole] == ["done"] * 50 + ["refused"]
    for limit in (1, 3, 7, 50, 51):
        assert site.rows(limit=limit) == whole
        assert site.rows(limit=limit, who="anna") == whole[-1:]
        assert site.rows(limit=limit, operation="test") == whole
        assert site.rows(limit=limit, since=whole[9]["at"]) == whole[:10]
    with pytest.raises(ValueError, match="what a page gave"):
        Loop().run(site.audit.page(after="1.2"))


class Full:
    """A disk that is full while `full`: a few octets of each record fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        write = os.write

        def pretend(descriptor: int, octets: Any) -> int:
            """The few octets, then nothing."""
            if not self.full:
                return write(descriptor, octets)
            if not bytes(octets).startswith((b"{", b"\n")):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, octets[:5])

        monkeypatch.setattr("mailsrv.host.audit_files.os.write", pretend)


def test_nobody_but_the_owner_changes_anything_while_it_cannot_be_written(
    site: Site, operations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.ask("test.change", thing="before")
    disk = Full(monkeypatch)
    answer = site.ask("test.change", thing="anna")
    assert answer["status"] == "4.3.0" and answer["error"].startswith("nothing was done: the audit log cannot be")
    assert site.ask("test.list") == {"result": "listed"}
    for owner in (OWNER, IN_PROCESS):
        answer = site.ask("test.change", owner, thing="owner")
        assert answer["result"] == "changed" and "not in the audit log: the audit log cannot" in answer["warning"]
    assert [what.partition(",")[0] for what in operations] == ["before", "owner", "owner"]
    disk.full = False
    assert site.ask("test.change", thing="after") == {"result": "changed"}
    assert [row["arguments"]["thing"] for row in site.rows()] == ["after", "before"]


def test_an_outcome_that_could_not_be_written_comes_with_the_next_record(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = Loop().run(site.audit.begin("test.change", {}, "anna"))
    disk = Full(monkeypatch)
    site.audit.end(number, "done")
    disk.full = False
    assert site.rows()[0]["outcome"] == "unknown"
    Loop().run(site.audit.note("test.note"))
    assert [row["outcome"] for row in site.rows()] == ["done", "done"]


def test_records_that_wait_together_share_a_write(tmp_path: Path) -> None:
    held: list[tuple[Deferred[Any], Any]] = []

    def aside(function: Any, *arguments: Any) -> Deferred[Any]:
        """Not yet."""
        held.append((Deferred(), lambda: function(*arguments)))
        return held[-1][0]

    audit = Audit(tmp_path, 10**7, lambda: 0.0, aside, IdMaker(lambda: 2e9, os.urandom).next)
    written = [Deferred.fromCoroutine(audit.note("test.note", number=number)) for number in range(5)]
    closed = Deferred.fromCoroutine(audit.close())
    while held:
        done, work = held.pop(0)
        assert len(held) == 0
        done.callback(work())
    assert all(one.called for one in written) and closed.called
    assert len((tmp_path / NAME).read_text().splitlines()) == 5
    # What ends after the end of the site is written all the same.
    Deferred.fromCoroutine(audit.note("test.note", number=5))
    assert len((tmp_path / NAME).read_text().splitlines()) == 6


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_whatever_is_kept_is_one_line_with_a_bound(value: Any) -> None:
    json.dumps(shown(value))
    assert shown("x" * 10_000).endswith("(10000 characters)")
    assert shown(["y"] * 100)[-1] == "... (100 in all)"


def test_a_record_that_is_too_long_loses_its_arguments_and_says_so(site: Site) -> None:
    many = {f"key{number}": ["x" * 400] * 20 for number in range(20)}
    Loop().run(site.audit.note("test.note", "anna", what=many))
    (row,) = site.rows()
    assert row["left_out"] > MAX_RECORD and "facts" not in row and len(site.lines()[0]) < MAX_RECORD


@given(st.binary(max_size=300))
def test_reading_whatever_there_is_raises_nothing(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / NAME).write_bytes(octets)
    AuditFiles(folder, 1000).page(lambda record: True, "", 10)


def test_a_failed_write_is_told_to_whoever_notes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    Full(monkeypatch)
    with pytest.raises(NotAudited, match="No space left"):
        Loop().run(site.audit.note("test.note"))
