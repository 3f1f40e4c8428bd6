"""What is kept for logins in the embedded store: schema 2, the log, the rescue, the cache."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from embedded_tools import Bed, body

from mailsrv.store import login_rules
from mailsrv.store.embedded import records, rescue, writer
from mailsrv.store.embedded.accounts import ACCOUNT_ROWS, packed
from mailsrv.store.embedded.directory import CACHE_ENTRIES
from mailsrv.store.embedded.replay import ACCOUNT_COLUMNS, UIDVALIDITY, Replay
from mailsrv.values import Address, StoredCredentials

HERE = Path(__file__).parent
SECRETS = {"scram-sha-256": "keys", "ntlm": "more keys"}


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path / "data", purge_after=None)
    yield made
    made.close()


def test_files_with_hashes_of_passwords_are_the_owners_alone(bed: Bed) -> None:
    """Whatever the umask and the folder let others do."""
    files = [path for path in bed.store.path.rglob("*") if path.is_file()]
    assert {"index.db", "index.db-wal"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def ask(bed: Bed, method: str, *arguments: Any) -> Any:
    """A method of the directory."""
    return bed.run(getattr(bed.store.directory, method)(*arguments))


def kept(bed: Bed, login: str = "a@example.org") -> StoredCredentials:
    """What a login is checked against."""
    found: StoredCredentials = ask(bed, "credentials", login)
    return found


def named(bed: Bed, login: str = "a@example.org") -> list[str]:
    """Its app passwords."""
    return [password.name for password in kept(bed, login).app_passwords]


def add(bed: Bed, *names: str, account_id: int = 0) -> None:
    """App passwords."""
    for name in names:
        ask(bed, "add_app_password", account_id or bed.account_id, name, "digest of " + name, frozenset({"smtp"}))


def rescued(path: Path, target: Path) -> Bed:
    """The store made from a copy of the segments of one that may still be open, without its index."""
    copy = target.with_name(target.name + ".lost")
    (copy / "segments").mkdir(parents=True)
    shutil.copytree(path / "segments", copy / "segments", dirs_exist_ok=True)
    rescue.rescue(copy, target)
    return Bed(target, purge_after=None)


def unpack(version: int, folder: Path) -> Path:
    """A store that a mailsrv of that schema made."""
    with tarfile.open(HERE / "data" / f"store-v{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


# ---------------------------------------------------------------- rescue


def test_rescue_from_changes_alone(bed: Bed, tmp_path: Path) -> None:
    """No checkpoint was written: every change is in the log by itself, and so is what was taken back."""
    ask(bed, "set_password", bed.account_id, "one", SECRETS)
    add(bed, "phone", "lost", "printer")
    ask(bed, "remove_app_password", bed.account_id, "lost")
    add(bed, "lost again")
    ask(bed, "set_keep", bed.account_id, frozenset({"ntlm"}))
    ask(bed, "set_denied", bed.account_id, frozenset({"imap"}))
    before = kept(bed)
    assert before.secrets == {"ntlm": "more keys"}
    again = rescued(bed.path, tmp_path / "new")
    assert kept(again) == before and named(again) == ["phone", "printer", "lost again"]
    again.close()


def test_rescue_from_a_catalogue_and_later_changes(bed: Bed, tmp_path: Path) -> None:
    """What changed after the checkpoint overrules it: a new password, a kind, an app password that is gone."""
    bob = bed.add_account("b").account_id
    ask(bed, "set_password", bed.account_id, "one", SECRETS)
    add(bed, "phone", "lost")
    add(bed, "tablet", account_id=bob)
    bed = bed.again()
    ask(bed, "set_password", bed.account_id, "two", {"ntlm": "new keys"})
    ask(bed, "remove_app_password", bed.account_id, "lost")
    ask(bed, "set_denied", bob, frozenset({"pop3"}))
    ask(bed, "remove_account", bob)
    again = rescued(bed.path, tmp_path / "new")
    assert kept(again) == kept(bed) and named(again) == ["phone"]
    assert (kept(again).password_hash, kept(again).secrets) == ("two", {"ntlm": "new keys"})
    # Numbers go on, also those of what is not there any more.
    assert again.add_account("b").account_id > bob and named(again, "b@example.org") == []
    assert ask(again, "add_app_password", again.account_id, "lost", "d", frozenset()).id > 3
    again.close()
    bed.close()
    bed.__init__(bed.path)  # type: ignore[misc]


def test_what_was_never_acknowledged_is_not_rescued(bed: Bed, tmp_path: Path) -> None:
    """A kill between the sync of the log and that of the index: the log knows of a change that did not happen."""
    add(bed, "phone")
    bed = bed.again()
    bed.close()
    shutil.copytree(bed.path, tmp_path / "before")
    bed = Bed(bed.path, purge_after=None)
    add(bed, "never")
    bed.crash()
    for path in bed.path.glob("index.db*"):
        path.unlink()
    shutil.copy(tmp_path / "before" / "index.db", bed.path)
    bed = Bed(bed.path, purge_after=None)
    assert named(bed) == ["phone"]
    bed.close()
    again = rescued(bed.path, tmp_path / "new")
    assert named(again) == ["phone"]
    again.close()


def test_replay_of_a_torn_history() -> None:
    """Statements whose other half is in a lost segment: nobody's are left out, of two of one name the later counts."""
    replay = Replay()
    statement = replay._statement
    statement("account", 1, 0, "a", "example.org", "a", 1, "hash", 0.5, 7)
    assert len(replay.accounts[1]) == ACCOUNT_COLUMNS and replay.accounts[1][UIDVALIDITY] == 7
    statement("app-password", 5, 1, "phone", "d1", "", 0.5)
    statement("app-password", 6, 1, "phone", "d2", "smtp", 0.5)
    statement("app-password", 9, 2, "phone", "d3", "", 0.5)
    statement("no-app-password", 1, "never there")
    assert list(replay.app_passwords.values()) == [[6, 1, "phone", "d2", "smtp", 0.5]]
    assert replay.sequences["app_password"] == 9
    statement("no-account", 1)
    assert not replay.app_passwords


# ---------------------------------------------------------------- upgrade


def tables(path: Path) -> dict[str, Any]:
    """Table -> its columns, indexes and unique keys."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
        return {
            name: [
                connection.execute(f"PRAGMA {pragma}({name})").fetchall()
                for pragma in ("table_xinfo", "index_list")
            ]
            for name in names
        }
    finally:
        connection.close()


def test_upgrade_from_version_1(tmp_path: Path, bed: Bed) -> None:
    """decisions 7: the tables are those of a new store, the index as it was is kept, all is there and works."""
    path = unpack(1, tmp_path / "old")
    index = (path / "index.db").read_bytes()
    old = Bed(path, purge_after=None)
    assert (path / "index.db.v1").read_bytes() == index
    assert tables(path / "index.db") == tables(bed.path / "index.db")
    found = kept(old)
    assert found.password_hash and found.enabled
    assert (found.secrets, found.app_passwords, found.keep, found.denied) == ({}, (), None, frozenset())
    ask(old, "set_password", old.account_id, "two", SECRETS)
    ask(old, "set_denied", old.account_id, frozenset({"pop3"}))
    add(old, "phone")
    before, octets = kept(old), old.octets(old.open())
    old = old.again()
    assert old.store.report == [] and kept(old) == before and old.run(old.store.check()) == []
    old.close()
    again = rescued(path, tmp_path / "new")
    assert kept(again) == before and again.octets(again.open()) == octets
    again.close()


def test_log_of_version_1_is_replayed(tmp_path: Path) -> None:
    """Its rows of accounts are narrower."""
    old = unpack(1, tmp_path / "old")
    again = rescued(old, tmp_path / "new")
    upgraded = Bed(old, purge_after=None)
    assert kept(again) == kept(upgraded) and again.octets(again.open()) == upgraded.octets(upgraded.open())
    upgraded.close()
    again.close()


def test_a_store_of_version_2_is_read(tmp_path: Path) -> None:
    """decisions 7: what it kept for logins."""
    bed = Bed(unpack(2, tmp_path / "old"), purge_after=None)
    a, b = kept(bed), kept(bed, "b@example.org")
    assert (a.password_hash, a.secrets, a.keep) == ("hash of a, again", {"scram-sha-256": "keys"}, {"scram-sha-256"})
    assert (b.password_hash, b.keep, b.denied) == ("hash of b", None, {"pop3", "smtp/submission"})
    assert [(p.id, p.name, p.digest, p.scopes) for p in b.app_passwords] == [
        (1, "phone", "digest of phone", {"smtp"}), (3, "printer", "digest of printer", {"smtp"}),
    ]
    assert list(bed.octets(bed.open()).values()) == [body(0), body(1)]
    bed.close()


# ---------------------------------------------------------------- durable, bounded, quick


def test_acknowledged_is_durable(bed: Bed) -> None:
    """Each change is there after a kill right behind its answer."""
    steps: list[tuple[str, tuple[Any, ...]]] = [
        ("set_password", ("one", SECRETS)), ("refresh", ("one", "two", SECRETS)),
        ("set_keep", (frozenset({"ntlm"}),)), ("set_denied", (frozenset({"imap"}),)),
        ("add_app_password", ("phone", "d", frozenset())), ("remove_app_password", ("phone",)),
    ]
    for method, arguments in steps:
        ask(bed, method, bed.account_id, *arguments)
        before = kept(bed)
        bed.crash()
        bed.__init__(bed.path)  # type: ignore[misc]
        assert kept(bed) == before, method
    assert before.secrets == {"ntlm": "more keys"} and not before.app_passwords


def test_statements_of_a_full_batch_fit_into_a_record() -> None:
    """However much the accounts of one batch keep."""
    kinds = {f"{n:032d}": "k" * login_rules.MAX_KEYS for n in range(login_rules.MAX_KINDS)}
    denied = {"denied": [f"{n:0100d}" for n in range(login_rules.MAX_WORDS)]}
    row = ["account", 2**60, 0, "l" * 256, "d" * 255, "l" * 256, 1, "h" * login_rules.MAX_KEYS, 1.5, 2**32,
           packed(kinds), packed(denied)]
    octets = len(records.to_json([row])) * writer.BATCH_ROWS // ACCOUNT_ROWS
    assert octets < records.MAX_HEADER_OCTETS


def test_guesses_stay_out_of_the_cache(bed: Bed) -> None:
    """Logins that there are not do not push out those that there are."""
    directory = bed.store.directory
    found = kept(bed)
    for number in range(CACHE_ENTRIES + 10):
        with pytest.raises(StopIteration):
            directory.credentials(f"guess{number}@example.org").send(None)
    assert kept(bed) is found


def test_every_change_empties_the_cache(bed: Bed) -> None:
    """Before it is answered."""
    bed.run(bed.store.directory.add_alias(Address("boss", "example.org"), [Address("a", "example.org")]))
    for method, arguments in (
        ("set_password", ("new",)), ("refresh", ("new", "newer", {})), ("set_keep", (frozenset(),)),
        ("set_denied", (frozenset({"imap"}),)), ("set_enabled", (False,)),
        ("add_app_password", ("n", "d", frozenset())), ("remove_app_password", ("n",)),
    ):
        before = kept(bed, "boss@example.org")
        assert kept(bed, "boss@example.org") is before
        ask(bed, method, bed.account_id, *arguments)
        assert kept(bed, "boss@example.org") != before, method
    ask(bed, "remove_alias", Address("boss", "example.org"))
    assert ask(bed, "credentials", "boss@example.org") is None
