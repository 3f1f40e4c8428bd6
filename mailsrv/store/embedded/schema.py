"""The index database: its tables, how it is opened, checked and upgraded (decisions 1, 7).

One SQLite database in WAL mode with `synchronous=FULL`: when a commit returns, it is durable.  Rows of `message`
are narrow and in (mailbox, UID) order; `message_content` and `queue_content` find what a segment still holds for
whom.

    flags      bits 0-4 system flags, 5-62 the first 58 keywords; further ones are in `spill`
    email id   is made of (segment, ordinal), which never changes and is shared by copies
    queue      `sender` is the reverse path without case, for filters; `changed`: not as its delivery made it
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw

from ...errors import ConfigError, StoreUnavailable

VERSION = 6
#: "msrv": tells the file from other databases.
APPLICATION_ID = 0x6D737276
#: WAL pages after which the writer copies them into the database between two batches.
CHECKPOINT_PAGES = 4000

#: Of version 2.
_APP_PASSWORD = """
CREATE TABLE app_password (id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, name TEXT NOT NULL,
    digest TEXT NOT NULL, scopes TEXT NOT NULL, created REAL NOT NULL, UNIQUE (account, name));
"""

#: Of version 4: what POP3 shows for messages that another server had before.
_UNIQUE_ID = """
CREATE TABLE unique_id (mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, id BLOB NOT NULL,
    PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
"""

#: Of version 5: contents (segment << 32 | ordinal) that came with SMTPUTF8.
_INTERNATIONAL = """
CREATE TABLE international (content INTEGER PRIMARY KEY);
"""

#: Of version 6: annotations (account 0: shared; mailbox 0: of the server) and rights.
_SHARING = """
CREATE TABLE annotation (mailbox INTEGER NOT NULL, account INTEGER NOT NULL, entry TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (mailbox, account, entry)) WITHOUT ROWID;
CREATE TABLE permit (identifier TEXT NOT NULL, mailbox INTEGER NOT NULL, rights TEXT NOT NULL,
    PRIMARY KEY (identifier, mailbox)) WITHOUT ROWID;
CREATE INDEX permit_mailbox ON permit (mailbox);
"""

#: Of version 3.  Whatever may be long comes last: the start reads the first columns of all rows.
_QUEUE = """
CREATE TABLE queue (id INTEGER PRIMARY KEY AUTOINCREMENT, segment INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    size INTEGER NOT NULL, destination TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL, noticed INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL DEFAULT 0,
    tenant INTEGER NOT NULL DEFAULT 0, delivery TEXT NOT NULL, received REAL NOT NULL, server TEXT NOT NULL,
    origin TEXT NOT NULL, sender TEXT NOT NULL, path TEXT NOT NULL, parameters TEXT NOT NULL,
    reply TEXT NOT NULL DEFAULT '', recipients TEXT NOT NULL);
CREATE INDEX queue_content ON queue (segment, ordinal);
CREATE TABLE unlogged (id INTEGER PRIMARY KEY);
"""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE domain (name TEXT PRIMARY KEY, kind TEXT NOT NULL, subaddress TEXT NOT NULL,
    catch_all TEXT NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, local TEXT NOT NULL,
    domain TEXT NOT NULL, folded TEXT NOT NULL, enabled INTEGER NOT NULL, password TEXT NOT NULL,
    created REAL NOT NULL, uidvalidity INTEGER NOT NULL,
    secrets TEXT NOT NULL DEFAULT '', settings TEXT NOT NULL DEFAULT '', UNIQUE (domain, folded));
CREATE TABLE alias (domain TEXT NOT NULL, folded TEXT NOT NULL, local TEXT NOT NULL, targets TEXT NOT NULL,
    PRIMARY KEY (domain, folded)) WITHOUT ROWID;
CREATE TABLE mailbox (id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, name TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL, special_use TEXT, uidnext INTEGER NOT NULL, modseq INTEGER NOT NULL,
    flag_modseq INTEGER NOT NULL, unsaved INTEGER NOT NULL, exist INTEGER NOT NULL, unseen INTEGER NOT NULL,
    deleted INTEGER NOT NULL, octets INTEGER NOT NULL, recent_from INTEGER NOT NULL, recent INTEGER NOT NULL,
    tombstones INTEGER NOT NULL, tombstone_floor INTEGER NOT NULL, UNIQUE (account, name));
CREATE INDEX mailbox_unsaved ON mailbox (id) WHERE unsaved=1;
CREATE TABLE subscription (account INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (account, name)) WITHOUT ROWID;
CREATE TABLE keyword (mailbox INTEGER NOT NULL, place INTEGER NOT NULL, name BLOB NOT NULL,
    PRIMARY KEY (mailbox, place)) WITHOUT ROWID;
CREATE TABLE message (mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL, segment INTEGER NOT NULL, ordinal INTEGER NOT NULL, size INTEGER NOT NULL,
    date INTEGER NOT NULL, zone INTEGER NOT NULL, saved INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE INDEX message_content ON message (segment, ordinal);
CREATE TABLE spill (mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, bits BLOB NOT NULL,
    PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE TABLE tombstone (mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL, uids TEXT NOT NULL,
    PRIMARY KEY (mailbox, modseq)) WITHOUT ROWID;
CREATE TABLE doomed (mailbox INTEGER PRIMARY KEY);
CREATE TABLE segment (number INTEGER PRIMARY KEY, dead INTEGER NOT NULL, dead_since INTEGER);
CREATE TABLE checkpoint (subject INTEGER PRIMARY KEY, segment INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    octets INTEGER NOT NULL);
""" + _APP_PASSWORD + _QUEUE + _UNIQUE_ID + _INTERNATIONAL + _SHARING

#: Count octets of a segment that nothing refers to (segment, octets, now).
ADD_DEAD = ("INSERT INTO segment VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET dead=dead+?2,"
            " dead_since=coalesce(dead_since, ?3)")

#: Note that a content (segment, ordinal) came with SMTPUTF8.
ADD_INTERNATIONAL = "INSERT OR IGNORE INTO international VALUES (?1<<32|?2)"

_EXISTS = ("EXISTS (SELECT 1 FROM message WHERE segment={0} AND ordinal={1}) OR"
           " EXISTS (SELECT 1 FROM queue WHERE segment={0} AND ordinal={1})")
#: Whether anything refers to a content (segment, ordinal); to which of an array (segment << 32 | ordinal).
REFERRED = "SELECT 1 WHERE " + _EXISTS.format("?1", "?2")
ALL_REFERRED = "SELECT k.value FROM carray(?1) k WHERE " + _EXISTS.format("k.value>>32", "k.value&4294967295")

#: The contents of a segment that something refers to.
ORDINALS = "SELECT ordinal FROM message WHERE segment=?1 UNION SELECT ordinal FROM queue WHERE segment=?1"

#: From which version to the next: statements.  Version 1 is the first.  New columns come last and have a default:
#: the log still holds rows that are narrower.
UPGRADES: dict[int, str] = {
    1: """
ALTER TABLE account ADD COLUMN secrets TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN settings TEXT NOT NULL DEFAULT '';
""" + _APP_PASSWORD,
    2: _QUEUE,
    3: _UNIQUE_ID,
    4: _INTERNATIONAL,
    5: _SHARING,
}


def check_library(version: int | None = None) -> None:
    """Refuse SQLite libraries with a known fault in their write-ahead log.  Raises ConfigError."""
    number = apsw.sqlite3_sourceid and (apsw.SQLITE_VERSION_NUMBER if version is None else version)
    if number < 3051003 or 3052000 <= number < 3052001:
        raise ConfigError("SQLite 3.51.3 or newer, and not 3.52.0, is needed (a fault in its write-ahead log): "
                          "install apsw 3.53 or newer")


def connect(path: Path, *, readonly: bool = False, cache_kib: int = 16384) -> apsw.Connection:
    """A connection set up as all of them are.  Raises apsw.Error."""
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    if not readonly:
        _create_private(path)
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=128)
    connection.set_busy_timeout(5000)
    if not readonly:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # The writer decides when to checkpoint, never inside a commit that somebody waits for.
        connection.wal_autocheckpoint(0)
        connection.execute("PRAGMA journal_size_limit=67108864")
    connection.execute(f"PRAGMA cache_size=-{cache_kib}")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def _create_private(path: Path) -> None:
    """A new file is the owner's alone, whatever the umask: hashes of passwords are in it.  SQLite's other files take
    its mode.  One that is there is not even opened: closing it would end SQLite's locks on it."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def value(connection: apsw.Connection, key: str) -> Any:
    """One entry of the meta table; None when it is not there."""
    return connection.execute("SELECT value FROM meta WHERE key=?", (key,)).get


def set_value(connection: apsw.Connection, key: str, content: Any) -> None:
    """Write one entry of the meta table."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, content))


def create(connection: apsw.Connection) -> None:
    """All tables of the present version, in one transaction."""
    with connection:
        connection.execute(TABLES)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        set_value(connection, "schema", VERSION)
        set_value(connection, "epoch", os.urandom(8).hex())
        # (segment << 32 | ordinal) of the first record that no commit knows of; CHANGES since the last CATALOGUE.
        set_value(connection, "log", 0)
        set_value(connection, "changes", 0)


def open_index(path: Path, report: list[str]) -> apsw.Connection:
    """The index for writing: created, or checked and upgraded after a copy.

    Raises StoreUnavailable for one that is newer or no index of ours, with advice.
    """
    check_library()
    connection = None
    try:
        connection = connect(path)
        if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            create(connection)
        found = _version(connection, path)
        if found < VERSION:
            _upgrade(connection, path, found, report)
    except (apsw.Error, StoreUnavailable) as cause:
        if connection is not None:
            connection.close()
        if isinstance(cause, StoreUnavailable):
            raise
        raise StoreUnavailable(f"{path} cannot be opened as an index: {cause}; "
                               "`mailsrv store rescue` makes a new one from the segments") from cause
    return connection


def _version(connection: apsw.Connection, path: Path) -> int:
    """The schema version.  Raises StoreUnavailable for a foreign or newer database."""
    if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
        raise StoreUnavailable(f"{path} is a database of some other program")
    found = int(value(connection, "schema"))
    if found > VERSION:
        raise StoreUnavailable(f"{path} has schema {found}, this version of mailsrv reads up to {VERSION}: "
                               "start the newer version, or restore a backup made before the upgrade")
    return found


def _upgrade(connection: apsw.Connection, path: Path, found: int, report: list[str]) -> None:
    """Bring an older schema up to date: a copy first, then all steps in one transaction."""
    copy = path.with_name(f"{path.name}.v{found}")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    _create_private(copy)
    shutil.copyfile(path, copy)
    with connection:
        for version in range(found, VERSION):
            connection.execute(UPGRADES[version])
        set_value(connection, "schema", VERSION)
    report.append(f"schema upgraded from {found} to {VERSION}; the index as it was is in {copy.name}")
