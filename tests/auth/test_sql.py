"""The authenticator `sql`: a real database file, a database that is down, slow, or asked in a bad way."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from mailsrv.auth import sql
from mailsrv.auth.sql import MAX_WAITING, Options, SqlAuthenticator, build
from mailsrv.errors import AuthenticationFailed, ConfigError, TryLater
from mailsrv.parts import Place, read_table
from mailsrv.testing.authenticator_suite import CONTEXT, NAMES
from mailsrv.values import Address, Credentials

from .beds import Site

QUERY = "SELECT password, account FROM users WHERE login = :login"


class Bed(Site):
    """A database file with some users."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.made: list[SqlAuthenticator] = []
        database = sqlite3.connect(base / "users.db")
        database.execute("CREATE TABLE users (login TEXT, password, account TEXT)")
        database.executemany("INSERT INTO users VALUES (?, ?, ?)", [
            ("anna@example.org", "{PLAIN}correct horse", None), ("bo@example.net", b"{PLAIN}octets", ""),
            ("alias@example.org", "{PLAIN}x", "anna"), ("null@example.org", None, None), ("number@example.org", 17, 17),
            ("twice@example.org", "{PLAIN}x", None), ("twice@example.org", "{PLAIN}y", None),
            ("bare@example.org", "bare", None), ("far@example.org", "{PLAIN}x", "far@foreign.example"),
            ("odd@example.org", b"{PLAIN}\xff", None),
        ])  # fmt: skip
        database.commit()
        database.close()

    def make(self, **options: Any) -> SqlAuthenticator:
        """The part, by a table of the configuration."""
        table = {"module": "sqlite3", "connect": "users.db", "query": QUERY, **options}
        part = build(read_table(Options, table, Place()), self)
        self.made.append(part)
        return part

    def end(self) -> None:
        """Close everything."""
        for part in self.made:
            self.loop.run(part.close())
            self.loop.run(part.close())
        self.hasher.close()


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.end()


@pytest.fixture
def reasons() -> Iterator[list[str]]:
    texts: list[str] = []

    def keep(event: Any) -> None:
        texts.append(event["log_format"].format(**event) if event.get("log_format") else "")

    globalLogPublisher.addObserver(keep)
    yield texts
    globalLogPublisher.removeObserver(keep)


def refused(bed: Bed, part: Any, name: str, password: str) -> bool:
    with pytest.raises(AuthenticationFailed):
        bed.login(part, name, password)
    return True


def later(bed: Bed, part: Any) -> bool:
    with pytest.raises(TryLater) as error:
        bed.login(part, "anna", "correct horse")
    return error.value.__cause__ is None


# ---------------------------------------------------------------- users


def test_users_of_the_database_log_in_and_get_an_account_at_first_sight(bed: Bed) -> None:
    part = bed.make()
    assert bed.login(part, "anna", "correct horse").authcid == "anna@example.org"
    assert bed.login(part, "BO@example.net", "octets").authcid == "bo@example.net"
    assert bed.login(part, "alias", "x").authcid == "anna@example.org"
    assert bed.accounts() == ["bo@example.net", "anna@example.org"]
    assert bed.login(part, "nobody", "x") is None


@pytest.mark.parametrize("name", ["null", "number", "twice", "odd", "far"])
def test_what_makes_no_sense_in_the_database_is_a_refusal(bed: Bed, name: str) -> None:
    part = bed.make()
    for password in ("", "x", "17", "\xff"):
        assert refused(bed, part, name, password)
    assert bed.accounts() == []


def test_passwords_that_name_no_scheme_are_of_the_one_that_is_said(bed: Bed) -> None:
    assert refused(bed, bed.make(), "bare", "bare")
    assert bed.login(bed.make(scheme="PLAIN"), "bare", "bare") is not None


def test_the_query_may_ask_by_local_part_and_domain(bed: Bed) -> None:
    part = bed.make(query="SELECT password FROM users WHERE login = :local || '@' || :domain")
    assert bed.login(part, "anna", "correct horse") is not None


def test_mail_for_a_user_who_never_logged_in_is_taken(bed: Bed) -> None:
    part = bed.make()
    assert bed.seen(part, "Anna+x") and bed.accounts() == ["anna@example.org"]
    for local in ("nobody", "alias", "far"):
        assert not bed.seen(part, local)
    assert not bed.seen(bed.make(create=False), "bo", "example.net")


def test_no_name_is_ever_part_of_the_statement(bed: Bed) -> None:
    part = bed.make()
    for name in (*NAMES, "anna@example.org' --", "'; DROP TABLE users; --", "x' OR '1'='1"):
        try:
            assert bed.login(part, name, "x") is None
        except AuthenticationFailed:
            assert name in NAMES
    assert bed.login(part, "anna", "correct horse") is not None


# ---------------------------------------------------------------- failures


def test_a_database_that_cannot_be_opened_is_a_temporary_failure(bed: Bed, reasons: list[str]) -> None:
    part = bed.make(connect="missing/users.db")
    assert later(bed, part)
    assert any("the database of users: OperationalError: unable to open" in reason for reason in reasons)
    (bed.base / "missing").mkdir()
    (bed.base / "users.db").rename(bed.base / "missing/users.db")
    assert bed.login(part, "anna", "correct horse") is not None, "and it comes back by itself"


def test_a_query_that_the_database_does_not_take_is_a_temporary_failure(bed: Bed, reasons: list[str]) -> None:
    assert later(bed, bed.make(query="SELECT absent FROM users WHERE login = :login"))
    assert any("no such column" in reason for reason in reasons)


class Module:
    """A DB-API 2.0 module that does what a test says."""

    class Error(Exception):
        """PEP 249."""

    class OperationalError(Error):
        """PEP 249: the server is gone, for one."""

    InterfaceError = OperationalError

    def __init__(self, execute: Any) -> None:
        self.execute = execute
        self.connected: list[Any] = []

    def connect(self, *arguments: Any, **keywords: Any) -> Any:
        """A connection."""
        self.connected.append((arguments, keywords))
        cursor = SimpleNamespace(
            execute=self.execute, fetchmany=lambda n: [("{PLAIN}correct horse",)], close=lambda: None
        )
        nothing: Any = lambda: None
        return SimpleNamespace(cursor=lambda: cursor, commit=nothing, rollback=nothing, close=nothing)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(execute: Any) -> Module:
        import sys

        made = Module(execute)
        monkeypatch.setitem(sys.modules, "mailsrv_test_database", made)
        return made

    return install


def test_a_database_that_does_not_answer_is_a_temporary_failure_and_stays_bounded(
    bed: Bed, module: Any, reasons: list[str]
) -> None:
    gate = threading.Event()
    module(lambda *arguments: gate.wait(20))
    part = bed.make(module="mailsrv_test_database", connections=1, timeout="5s")
    asked = [
        Deferred.fromCoroutine(part.authenticate(Credentials("password", "anna", "correct horse"), CONTEXT))
        for _ in range(MAX_WAITING + 1)
    ]
    assert [d.called for d in asked].count(True) == 1, "one too many is told at once"
    bed.reactor.advance(5.0)
    failures: list[Any] = []
    for d in asked:
        d.addErrback(failures.append)
    assert [failure.type for failure in failures] == [TryLater] * (MAX_WAITING + 1)
    assert any("did not answer in 5.0 s" in reason for reason in reasons)
    assert later(bed, part), "its threads are still busy"
    gate.set()
    database: Any = part._database
    while database._waiting:
        bed.loop.run(bed.hasher.hash("x"))
    assert bed.login(part, "anna", "correct horse") is not None


def test_closing_waits_for_no_database(bed: Bed, module: Any) -> None:
    gate, started = threading.Event(), threading.Event()

    def execute(*arguments: Any) -> None:
        started.set()
        gate.wait(20)

    module(execute)
    part = bed.make(module="mailsrv_test_database")
    asked = Deferred.fromCoroutine(part.authenticate(Credentials("password", "anna", "x"), CONTEXT))
    asked.addErrback(lambda failure: None)
    assert started.wait(10)
    bed.loop.run(part.close())
    assert later(bed, part)
    gate.set()


def test_connections_lost_at_a_restart_are_made_anew_at_once(bed: Bed, module: Any, reasons: list[str]) -> None:
    failures = [0]

    def execute(*arguments: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise Module.OperationalError("terminating connection")

    made = module(execute)
    part = bed.make(module="mailsrv_test_database", connections=1)
    assert bed.login(part, "anna", "correct horse") is not None
    failures[0] = 1
    assert bed.login(part, "anna", "correct horse") is not None and len(made.connected) == 2
    failures[0] = 2
    assert later(bed, part) and len(made.connected) == 3, "a new connection that fails too is no old one"
    assert bed.login(part, "anna", "correct horse") is not None
    assert [reason for reason in reasons if "database" in reason] == [
        "the database of users: OperationalError: terminating connection"
    ]


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("where", ["password_file", "password_env"])
def test_the_password_of_the_database_comes_from_elsewhere_and_is_told_nobody(
    bed: Bed, module: Any, where: str, monkeypatch: pytest.MonkeyPatch, reasons: list[str]
) -> None:
    def execute(statement: str, *parameters: Any) -> None:
        if parameters:
            raise Module.Error("cannot use hunter2-marker here")

    made = module(execute)
    (bed.base / "secret").write_text("hunter2-marker\n")
    monkeypatch.setenv("DATABASE_SECRET", "hunter2-marker")
    options = {where: "secret" if where == "password_file" else "DATABASE_SECRET"}
    part = bed.make(module="mailsrv_test_database", connect={"user": "mail"}, **options)
    assert later(bed, part)
    assert made.connected[0][1] == {"user": "mail", "password": "hunter2-marker"}
    assert any("cannot use ... here" in reason for reason in reasons)
    assert not any("hunter2" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("connect", {"host": "x", "password": "y"}), ("connect", "host=x password=y"), ("connect", {"PASSWD": "y"}),
        ("connect", "postgresql://me:secret@host/db"), ("connect", 17), ("connect", ""), ("connect", {}),
        ("query", "SELECT password FROM users"), ("query", "SELECT 1 WHERE x = ::login"), ("query", 1),
        ("module", "no_such_module_x"), ("module", "json"), ("password_env", "NO_SUCH_VARIABLE_X"),
        ("password_file", "missing"), ("connections", 0), ("timeout", "never"), ("scheme", "ROT13"),
    ],
)  # fmt: skip
def test_mistakes_of_the_configuration_are_told_by_their_key(bed: Bed, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        bed.make(**{key: value})
    assert error.value.key.endswith(key) and "secret" not in str(error.value).replace("auth.sql", "")


@pytest.mark.parametrize(
    ("connect", "name", "keywords"),
    [
        ("users.db", "BASE/users.db", {}), (":memory:", ":memory:", {}), ("file:x?mode=ro", "file:x?mode=ro", {}),
        ({"database": "u.db", "timeout": 1}, "", {"database": "BASE/u.db", "timeout": 1}),
    ],
)  # fmt: skip
def test_a_file_of_sqlite_is_beside_the_configuration(
    tmp_path: Path, connect: Any, name: str, keywords: dict[str, Any]
) -> None:
    options = read_table(Options, {"module": "sqlite3", "connect": connect, "query": QUERY}, Place())
    arguments, found = sql._arguments(options, tmp_path)
    assert arguments == tuple(text.replace("BASE", str(tmp_path)) for text in (name,) if text)
    expected = {k: v.replace("BASE", str(tmp_path)) if isinstance(v, str) else v for k, v in keywords.items()}
    assert found == {**expected, "check_same_thread": False}


def test_a_row_is_told_without_its_password() -> None:
    assert "secret" not in repr(sql._row(("{PLAIN}secret", "a@example.org")))
    assert Address("a", "b") and sql._row((None,)) == sql.Row("") == sql._row(("\ud800", b"\xff"))
