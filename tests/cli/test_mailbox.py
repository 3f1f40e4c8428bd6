"""`mailsrv mailbox import|export`: what goes out comes back, a second run goes on, and what is bad is told."""

from __future__ import annotations

import io
import itertools
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsrv.cli import mailbox
from mailsrv.cli.common import DONE, NO
from mailsrv.cli.mailbox_export import export
from mailsrv.cli.mailbox_import import import_into
from mailsrv.cli.mailbox_progress import Progress
from mailsrv.cli.mailbox_sources import open_source
from mailsrv.cli.mailbox_talk import Conversation, talk_with
from mailsrv.cli.main import main
from mailsrv.errors import InUse, Refused
from mailsrv.host.control.run import run
from mailsrv.message.content import MemoryContent
from mailsrv.store.keywords import names_of
from mailsrv.testing.queue_site import QueueSite
from mailsrv.values import Address, NewMessage
from tests.properties import tries

ME = "me@example.org"
Row = tuple[bytes, frozenset[bytes], int, bytes]
_number = itertools.count(1)


class Killed(BaseException):
    """The process ends here."""


class Moving:
    """A site with one account, and the commands' conversations with it."""

    def __init__(self, folder: Path) -> None:
        self.made = QueueSite(folder)
        self.run = self.made.loop.run
        facts = self.run(self.made.site.directory.add_account(Address("me", "example.org"), ""))
        self.account = self.run(self.made.site.store.account(facts.account_id))
        self.asked = list[str]()
        self.die_at: tuple[str, int, bool] | None = None

    async def ask(self, name: str, arguments: Any) -> Any:
        """Run it; `die_at`: the process dies at that call of that name, before or after the server did it."""
        self.asked.append(name)
        dies = self.die_at is not None and self.die_at[:2] == (name, self.asked.count(name))
        if dies and self.die_at is not None and not self.die_at[2]:
            raise Killed
        answer = await run(self.made.site, name, arguments)
        if dies:
            raise Killed
        return answer

    def talk(self, conversation: Conversation) -> Any:
        """To its end."""
        self.asked.clear()
        return self.run(talk_with(conversation, self.ask))

    def take(self, path: Path, into: str = "", form: str = "auto", journal: Path | None = None) -> Any:
        """Import."""
        source = open_source(path, form, "rd")
        where = journal or path.with_name(path.name + ".journal")
        return self.talk(import_into(source, where, ME, into, silent()))

    def give(self, path: Path, form: str = "maildir", name: str = "") -> Any:
        """Export."""
        return self.talk(export(ME, path, form, name, "", silent()))

    def fill(self, rows: list[Row], name: str = "") -> str:
        """A mailbox with these messages; its name."""
        name = name or f"box{next(_number)}"
        if name != "INBOX":
            self.run(self.account.create(name))
        box = self.run(self.account.open(name))
        new = [NewMessage(MemoryContent(octets), flags, date, 0, one) for octets, flags, date, one in rows]
        self.run(box.append(new))
        box.release()
        return name

    def rows(self, name: str) -> list[Row]:
        """What a mailbox holds."""
        box = self.run(self.account.open(name))
        columns = box.columns()
        facts = self.run(box.facts(columns.uids, frozenset({"dates"})))
        kept = self.run(box.peculiar()).unique_ids
        found = []
        for uid, mask, fact in zip(columns.uids, columns.flags, facts, strict=True):
            content = self.run(box.contents([uid]))[0]
            flags = frozenset(names_of(mask, columns.keywords))
            found.append((b"".join(content.chunks()), flags, fact.internal_date, kept.get(uid, b"")))
        box.release()
        return found


def silent() -> Progress:
    """No terminal."""
    return Progress(io.StringIO(), False)


@pytest.fixture(scope="module", autouse=True)
def _no_disk() -> Iterator[None]:
    """These tests kill no machine: they need not wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    made = Moving(tmp_path_factory.mktemp("site"))
    yield made
    made.made.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Moving]:
    (tmp_path / "site").mkdir()
    made = Moving(tmp_path / "site")
    yield made
    made.made.close()


def plain(text: bytes = b"Subject: hello\r\n\r\nhow are you?\r\n") -> Row:
    return text, frozenset(), 1_000_000_000, b""


# ---------------------------------------------------------------- there and back

TEXT = st.one_of(
    st.sampled_from(
        [
            b"", b"From ", b"From me Thu Aug 22 12:36:23 2002", b">From me", b">>From", b"From: a", b"X: y", b" z",
            b"\r", b"\t", b"Status", b"\xff\xfe", b"a\rb", b"x" * 3000,
        ]
    ),
    st.binary(max_size=30).map(lambda octets: octets.replace(b"\0", b"").replace(b"\n", b"")),
)  # fmt: skip
FLAGS = st.frozensets(
    st.sampled_from([b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Draft", b"\\Deleted", b"$Forwarded", b"work", b"a.b"])
)
DATES = st.integers(0, 2**31)


def whole(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\r\n" for line in lines)


def for_mbox(lines: list[bytes]) -> bool:
    """Fields of the names that mbox keeps flags in are lost in it."""
    return not any(line.lower().startswith((b"status", b"x-status", b"x-keywords")) for line in lines)


WHOLE = st.lists(TEXT, min_size=1, max_size=8)
MAILDIR_ROWS = st.lists(
    st.tuples(
        st.builds(lambda lines, end: whole(lines) + end, WHOLE, st.sampled_from([b"", b"no line end", b"\r"])),
        FLAGS, DATES, st.just(b""),
    ),
    max_size=4,
)  # fmt: skip
MBOX_ROWS = st.lists(st.tuples(WHOLE.filter(for_mbox).map(whole), FLAGS, DATES, st.just(b"")), max_size=4)
QUICK = settings(max_examples=tries(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(rows=MAILDIR_ROWS)
def test_a_maildir_brings_back_octets_flags_and_dates(moving: Moving, rows: list[Row]) -> None:
    back(moving, rows, "maildir")


@QUICK
@given(rows=MBOX_ROWS)
def test_rfc_4155_an_mbox_brings_back_octets_flags_and_dates(moving: Moving, rows: list[Row]) -> None:
    back(moving, rows, "mbox")


def back(moving: Moving, rows: list[Row], form: str) -> None:
    name = moving.fill(rows)
    with TemporaryDirectory() as folder:
        given = moving.give(Path(folder, "out"), form, name)
        assert given["messages"] == len(rows) and not given["incomplete"]
        taken = moving.take(Path(folder, "out"), f"{name}-back", form)
        assert not taken["skipped"]
    assert [row[:3] for row in moving.rows(f"{name}-back")] == [row[:3] for row in rows]


@pytest.mark.parametrize("form", ["maildir", "mbox"])
def test_a_large_message_passes_in_pieces(fresh: Moving, form: str, tmp_path: Path) -> None:
    octets = b"Subject: large\r\n\r\n" + b"From a line of some length\r\n" * 100_000 + b"x" * 1_500_000 + b"\r\n"
    name = fresh.fill([plain(), (octets, frozenset({b"\\Seen"}), 7, b""), plain()])
    fresh.give(tmp_path / "out", form, name)
    assert "mailbox.read" in fresh.asked
    fresh.take(tmp_path / "out", "Back")
    assert "mailbox.upload" in fresh.asked
    assert fresh.rows("Back") == fresh.rows(name)
    assert not list((fresh.made.site.options.data / "uploads").iterdir())


def test_all_mailboxes_pass_with_names_subscriptions_and_unique_ids(fresh: Moving, tmp_path: Path) -> None:
    fresh.fill([(b"a: b\r\n\r\n", frozenset(), 5, b"theirs-1")], "INBOX")
    fresh.fill([plain()], "Work/v1.2 & más")
    fresh.fill([plain()], "Sent/2024")
    fresh.run(fresh.account.subscribe("Work/v1.2 & más", True))
    fresh.give(tmp_path / "out")
    assert (tmp_path / "out" / ".Work.v1\\2e2 &- m&AOE-s" / "cur").is_dir()
    (tmp_path / "other").mkdir()
    other = Moving(tmp_path / "other")
    other.take(tmp_path / "out")
    assert other.rows("Work/v1.2 & más") == [plain()] == other.rows("Sent/2024")
    assert other.rows("INBOX") == [(b"a: b\r\n\r\n", frozenset(), 5, b"theirs-1")]
    assert [one.subscribed for one in other.run(other.account.mailboxes()) if one.name.startswith("Work/")] == [True]
    other.made.close()


def test_a_folder_of_mbox_files_passes_as_well(fresh: Moving, tmp_path: Path) -> None:
    fresh.fill([plain()], "Work/..%/x")
    fresh.give(tmp_path / "out", "mbox")
    assert (tmp_path / "out" / "Work" / "%2E.%25" / "x.mbox").is_file()
    done = fresh.take(tmp_path / "out", "Copy")
    assert not done["skipped"] and fresh.rows("Copy/Work/..%/x") == [plain()]


# ---------------------------------------------------------------- going on


def mbox_of(count: int) -> bytes:
    return b"".join(b"From a@b Thu Aug 22 12:36:23 2002\nX-Number: %d\n\n%b\n\n" % (at, b"z" * 70_000)
                    for at in range(count))  # fmt: skip


def maildir_of(path: Path, count: int) -> None:
    for part in ("cur", "new", "tmp"):
        (path / part).mkdir(parents=True, exist_ok=True)
    for at in range(count):
        (path / "cur" / f"{at}.x:2,S").write_bytes(b"X-Number: %d\n\n%b\n" % (at, b"z" * 70_000))


@pytest.mark.parametrize("form", ["maildir", "mbox"])
@pytest.mark.parametrize("done", [False, True], ids=["before the store", "before the journal"])
def test_an_import_that_was_killed_goes_on_without_duplicates(
    fresh: Moving, tmp_path: Path, form: str, done: bool
) -> None:
    path = tmp_path / "source"
    if form == "mbox":
        path.write_bytes(mbox_of(40))
    else:
        maildir_of(path, 40)
    fresh.die_at = ("mailbox.append", 2, done)
    with pytest.raises(Killed):
        fresh.take(path)
    fresh.die_at = None
    # Mail that came meanwhile is not taken for the batch.
    fresh.fill([plain()], "INBOX")
    there = len(fresh.rows("INBOX")) - 1
    second = fresh.take(path)
    assert second["before"] == there and second["messages"] == 40 - there
    got = sorted(row[0].partition(b"\r\n")[0] for row in fresh.rows("INBOX"))
    assert got == sorted([b"Subject: hello", *(b"X-Number: %d" % at for at in range(40))])
    assert fresh.take(path)["messages"] == 0


@pytest.mark.parametrize("form", ["maildir", "mbox"])
@pytest.mark.parametrize("call", [2, 3])
def test_an_export_that_was_killed_goes_on(fresh: Moving, tmp_path: Path, form: str, call: int) -> None:
    rows = [plain(b"X-Number: %d\r\n\r\n%b\r\n" % (at, b"z" * 300_000)) for at in range(10)]
    name = fresh.fill(rows)
    fresh.die_at = ("mailbox.messages", call, True)
    with pytest.raises(Killed):
        fresh.give(tmp_path / "out", form, name)
    fresh.die_at = None
    assert fresh.give(tmp_path / "out", form, name)["before"] == (call - 1) * 3
    fresh.take(tmp_path / "out", "Back", form)
    assert fresh.rows("Back") == rows


def test_what_was_written_behind_the_journal_is_written_anew(fresh: Moving, tmp_path: Path) -> None:
    name = fresh.fill([plain(), plain()])
    fresh.give(tmp_path / "out", "mbox", name)
    with (tmp_path / "out").open("ab") as file:
        file.write(b"From half a mess")
    fresh.fill([plain(b"X: new\r\n\r\n")], "More")
    fresh.run(fresh.run(fresh.account.open(name)).append([NewMessage(MemoryContent(b"X: new\r\n\r\n"))]))
    fresh.give(tmp_path / "out", "mbox", name)
    assert (tmp_path / "out").read_bytes().count(b"From ") == 3


def test_a_journal_is_of_one_account_and_one_run_at_a_time(fresh: Moving, tmp_path: Path) -> None:
    (tmp_path / "a.mbox").write_bytes(mbox_of(2))
    journal = tmp_path / "journal"
    fresh.take(tmp_path / "a.mbox", journal=journal)
    with pytest.raises(Refused, match="of another run"):
        fresh.take(tmp_path / "a.mbox", "Other", journal=journal)
    journal.write_bytes(b"no journal\n")
    with pytest.raises(Refused, match="no journal"):
        fresh.take(tmp_path / "a.mbox", journal=journal)
    assert journal.read_bytes() == b"no journal\n"
    running = import_into(open_source(tmp_path / "a.mbox", "auto", "rd"), tmp_path / "j", ME, "", silent())
    next(running)
    inbox = {"name": "INBOX", "exists": True, "special_use": "", "mailbox_id": 1, "uidvalidity": 1, "uidnext": 1}
    running.send([inbox])
    with pytest.raises(InUse):
        fresh.take(tmp_path / "a.mbox", journal=tmp_path / "j")
    running.close()


def test_an_export_overwrites_nothing(fresh: Moving, tmp_path: Path) -> None:
    for place in (tmp_path / "full", tmp_path / "file"):
        place.mkdir() if place.name == "full" else place.write_bytes(b"mine")
    (tmp_path / "full" / "mine").touch()
    for path, form, name in ((tmp_path / "full", "maildir", ""), (tmp_path / "file", "mbox", "INBOX")):
        with pytest.raises(Refused, match="there already"):
            fresh.give(path, form, name)
    assert (tmp_path / "file").read_bytes() == b"mine" and len(list((tmp_path / "full").iterdir())) == 1


# ---------------------------------------------------------------- what is bad


def test_bad_messages_are_skipped_and_named(fresh: Moving, tmp_path: Path) -> None:
    maildir_of(tmp_path / "m", 2)
    (tmp_path / "m/cur/nul:2,").write_bytes(b"X: \0\n\n")
    (tmp_path / "secret").write_bytes(b"X: not for me\n\n")
    (tmp_path / "m/cur/link:2,").symlink_to(tmp_path / "secret")
    done = fresh.take(tmp_path / "m")
    assert done["messages"] == 2
    assert [(one.what, one.why) for one in done["skipped"]] == [(f"{tmp_path}/m/cur/nul:2,", "it holds NUL")]
    (tmp_path / "b.mbox").write_bytes(mbox_of(1) + b"From x Thu Aug 22 12:36:23 2002\n\n\0\n\n" + mbox_of(1))
    for _ in range(2):
        done = fresh.take(tmp_path / "b.mbox", "Mbox")
        assert [one.why for one in done["skipped"]] == ["it holds NUL"]
        assert len(fresh.rows("Mbox")) == 2


def test_over_quota_the_import_stops_and_goes_on_when_there_is_room(fresh: Moving, tmp_path: Path) -> None:
    (tmp_path / "a.mbox").write_bytes(mbox_of(40))
    admin = fresh.made.site.directory
    fresh.run(admin.set_limits(fresh.account.account_id, quota=1_500_000))
    with pytest.raises(Refused, match="over quota"):
        fresh.take(tmp_path / "a.mbox")
    kept = len(fresh.rows("INBOX"))
    assert 0 < kept < 40
    fresh.run(admin.set_limits(fresh.account.account_id))
    assert fresh.take(tmp_path / "a.mbox")["messages"] == 40 - kept


def test_keywords_above_what_a_mailbox_holds_are_left_out(fresh: Moving, tmp_path: Path) -> None:
    one = b"From a@b Thu Aug 22 12:36:23 2002\nStatus: RO\nX-Keywords: %b\n\nhello\n\n"
    words = [b" ".join(b"word%d" % (at + part) for at in range(100)) for part in range(0, 700, 100)]
    (tmp_path / "a.mbox").write_bytes(b"".join(one % some for some in words))
    done = fresh.take(tmp_path / "a.mbox")
    assert done["messages"] == 7 and "keywords are left out" in done["skipped"][0].why
    assert all(b"\\Seen" in row[1] for row in fresh.rows("INBOX"))


def test_special_mailboxes_have_many_names(fresh: Moving, tmp_path: Path) -> None:
    maildir_of(tmp_path / "m", 0)
    maildir_of(tmp_path / "m/.Sent Items", 1)
    maildir_of(tmp_path / "m/.Spam", 2)
    maildir_of(tmp_path / "m/.Lists.Python", 1)
    assert fresh.take(tmp_path / "m")["mailboxes"] == {"INBOX": 0, "Sent": 1, "Junk": 2, "Lists/Python": 1}


def test_mbox_text_that_only_looks_like_a_from_line_stays(fresh: Moving, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(
        b"From - Tue Apr 02 10:11:12 2024\r\nX: 1\r\n\r\nFrom here on it is text\r\n\r\nFrom you, too\r\n\r\n"
        b"From a b@c  Tue Apr  2 10:11 +0200 2024\r\nContent-Length: 999999\r\n\r\n>From\r\nend"
    )
    fresh.take(tmp_path / "a")
    assert fresh.rows("INBOX") == [
        (b"X: 1\r\n\r\nFrom here on it is text\r\n\r\nFrom you, too\r\n", frozenset(), 1_712_052_672, b""),
        (b"Content-Length: 999999\r\n\r\n>From\r\nend", frozenset(), 1_712_045_460, b""),
    ]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"data": "!"}, "base64"), ({"upload": "../../etc/passwd"}, "hexadecimal"), ({"upload": "0" * 32}, "no such"),
        ({"data": "YQ==", "flags": "a\r\nb"}, "atom"), ({"data": "YQ==", "date": "x"}, "whole number"),
        ({"data": "YQ==", "zone": "9999"}, "east of UTC"), ({"data": "YQ==", "unique_id": "a b"}, "RFC 1939"),
    ],
)  # fmt: skip
def test_the_server_takes_no_message_that_makes_no_sense(moving: Moving, row: dict[str, str], why: str) -> None:
    messages = [{"data": "YQ=="}, row]
    answer = moving.run(moving.ask("mailbox.append", {"address": ME, "mailbox": "INBOX", "messages": messages}))
    assert why in answer["error"] and moving.rows("INBOX") == []


# ---------------------------------------------------------------- the commands


@pytest.fixture
def said(
    fresh: Moving, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[str, str]]:
    """What a command writes."""
    monkeypatch.chdir(tmp_path / "site")
    monkeypatch.setattr(mailbox, "converse", lambda options, make: fresh.talk(make()))
    monkeypatch.setattr(
        mailbox, "perform", lambda options, calls: [fresh.run(run(fresh.made.site, *one))["result"] for one in calls]
    )

    def out(*arguments: str, status: int = DONE) -> tuple[str, str]:
        assert main(("mailbox", *arguments)) == status
        return tuple(capsys.readouterr())  # type: ignore[return-value]

    return out


def test_the_commands_tell_what_was_done(said: Callable[..., tuple[str, str]], tmp_path: Path, fresh: Moving) -> None:
    source = tmp_path / "mail"
    source.write_bytes(mbox_of(2) + b"From x Thu Aug 22 12:36:23 2002\n\n\0\n\n")
    out, wrong = said("import", ME, str(source), "--dry-run", status=NO)
    assert "2 messages" in out and "would be imported" in out and "holds NUL" in wrong and fresh.rows("INBOX") == []
    out, wrong = said("import", ME, str(source), "--progress", status=NO)
    assert "2 messages" in out and "INBOX: 2" in out
    assert "2 messages (100%), 0.1 MiB" in wrong and "skipped: INBOX at offset" in wrong
    assert (tmp_path / f"mail.{ME}.mailsrv-import").exists()
    assert "2 were there before" in said("import", ME, str(source), status=NO)[0]
    assert said("create", ME, "Work") == ("Work is there\n", "")
    assert "INBOX    2         2" in said("list", ME)[0]
    assert "Work is gone" in said("delete", ME, "Work", "--yes")[0]
    assert "2 messages" in said("export", ME, str(tmp_path / "out"))[0]
    assert main(["mailbox", "import", ME, str(tmp_path / "nothing")]) == NO


def test_progress_is_for_terminals() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    quiet, terminal = io.StringIO(), Terminal()
    for stream in (quiet, terminal):
        with Progress(stream, False, 10) as progress:
            progress.add(2**20)
    assert quiet.getvalue() == "" and terminal.getvalue().startswith("\r1 messages (10%), 1.0 MiB")


def test_a_large_mbox_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(3):
            file.write(b"From a@b Thu Aug 22 12:36:23 2002\nX: 1\n\n" + b"y" * 20_000_000 + b"\n\n")
    source = open_source(path, "auto", "rd")
    tracemalloc.start()
    try:
        sizes = []
        for item in next(source.folders()).items((), 0):
            assert item.content is not None
            sizes.append(item.content.size)
            item.content.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [20_000_010] * 3 and peak < 4_000_000
