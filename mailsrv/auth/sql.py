"""The authenticator `sql`: users of a table in any database with a DB-API 2.0 module (PEP 249) (floor 2b).

The query belongs to the configuration; what a client types reaches the database only as a parameter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from attrs import NOTHING, field, frozen
from twisted.enterprise.adbapi import Connection, ConnectionPool
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import AuthenticationFailed, ConfigError, TryLater
from ..interfaces import IAuthenticator
from ..parts import DURATION, FLAG, TEXT, Kind, option, whole
from ..values import Address, AuthContext, Credentials, Identity
from . import schemes
from .accounts import Accounts
from .any import read_password
from .hashing import PasswordHasher
from .names import login_address
from .passwd import SCHEME

log = Logger()

#: Queries that run or wait at one time; more get TryLater.
MAX_WAITING = 200
#: Characters of a reason in the log.
MAX_REASON = 300
_PLACEHOLDER = re.compile(r"(?<![:\w]):(login|local|domain)\b|%\((login|local|domain)\)s", re.ASCII)
_PASSWORD_WORDS = frozenset({"password", "passwd", "pwd"})
_DSN_PASSWORD = re.compile(r"\b(password|passwd|pwd)\s*=|://[^/@\s]*:[^/@\s]*@", re.ASCII | re.IGNORECASE)


def _read_connect(value: Any) -> tuple[str, dict[str, Any]]:
    """(a data source name or "", keywords)."""
    if type(value) is str and value:
        if _DSN_PASSWORD.search(value):
            raise ValueError("must not hold a password: use password_file or password_env")
        return value, {}
    if not isinstance(value, Mapping) or not value:
        raise ValueError("must be a table of the module's connect() arguments, or its data source name")
    if _PASSWORD_WORDS & {str(key).lower() for key in value}:
        raise ValueError("must not hold a password: use password_file or password_env")
    return "", dict(value)


def _read_query(value: Any) -> str:
    """A query that asks for somebody."""
    query = str(TEXT.read(value))
    if not _PLACEHOLDER.search(query):
        raise ValueError("must hold :login or %(login)s, as the module wants it (or local and domain)")
    return query


@frozen
class Options:
    """[auth.sql]"""

    module: str = option(TEXT, NOTHING, 'DB-API 2.0 module, for example "sqlite3" or "psycopg"')
    connect: tuple[str, dict[str, Any]] = option(
        Kind("table or text", _read_connect), NOTHING, "what its connect() is called with, without a password"
    )
    query: str = option(
        Kind("text", _read_query), NOTHING,
        "gives the encoded password, and perhaps the account's address, of :login (also :local and :domain)",
    )  # fmt: skip
    password_file: str = option(TEXT, "", "file whose first line is the password of the database")
    password_env: str = option(TEXT, "", "environment variable with that password")
    scheme: str = option(SCHEME, "CRYPT", "scheme of passwords that name none")
    create: bool = option(FLAG, True, "users of the database get an account when they log in or get mail")
    connections: int = option(whole(1, 50), 3, "connections to the database, each with a thread")
    timeout: float = option(DURATION, 10.0, "an answer that takes longer is a temporary failure")


@frozen
class Row:
    """What the database knows of somebody: an encoded password ("": none) and perhaps the account's address."""

    encoded: str = field(repr=False)
    account: str = ""


@implementer(IAuthenticator)
class SqlAuthenticator:
    """Asks a `Database`; who somebody is in the store is for `accounts` to say."""

    schemes = frozenset({"password"})

    def __init__(self, database: Database, accounts: Accounts, hasher: PasswordHasher, scheme: str = "CRYPT") -> None:
        self._database, self._accounts, self._hasher, self._scheme = database, accounts, hasher, scheme

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Identity | None:
        """See IAuthenticator; None for a name that the query finds nobody by."""
        address = login_address(credentials.username, context.login_domain, context.domains)
        row = await self._database.find(address)
        if row is None:
            return None
        encoded = schemes.with_scheme(row.encoded, self._scheme)
        if not await self._hasher.verify(encoded, credentials.password, str(address), context.peer.host):
            raise AuthenticationFailed()
        name = login_address(row.account, address.domain) if row.account else address
        return await self._accounts.identity(name, credentials)

    async def seen(self, address: Address) -> bool:
        """Whether mail for an address without an owner is taken (`Accounts.seen`).  Raises TryLater."""
        return await self._accounts.seen(address, self._known)

    async def close(self) -> None:
        """Close the connections."""
        self._database.close()

    async def _known(self, address: Address) -> bool:
        row = await self._database.find(address)
        return row is not None and (not row.account or login_address(row.account, address.domain) == address)


class _Connection(Connection):
    """A connection that is let go of after any failure: the next question gets a new one."""

    def rollback(self) -> None:
        """Called by adbapi in the connection's thread."""
        self._pool.disconnect(self._connection)


class _Pool(ConnectionPool):
    connectionFactory = _Connection


class Database:
    """A query and the threads that ask it, each with a connection of its own.

    `connect` and `keywords` are what the module's connect() is called with; `secret` is what must not be logged.
    """

    def __init__(
        self, options: Options, reactor: Any, connect: tuple[Any, ...], keywords: Mapping[str, Any], secret: str = ""
    ) -> None:
        self._module = import_module(options.module)
        self._query, self._timeout, self._reactor, self._secret = options.query, options.timeout, reactor, secret
        self._waiting = 0
        self._closed = False
        self._pool = _Pool(
            options.module, *connect, cp_min=0, cp_max=options.connections, cp_reconnect=True, cp_noisy=False,
            cp_reactor=reactor, cp_name="mailsrv-sql", **keywords,
        )  # fmt: skip

    async def find(self, address: Address) -> Row | None:
        """Whom the query finds.  Raises TryLater for anything that goes wrong, with the reason in the log."""
        if self._closed or self._waiting >= MAX_WAITING:
            raise TryLater()
        parameters = {"login": str(address), "local": address.local, "domain": address.domain}
        try:
            rows = await self._rows(parameters)
        except (DeferTimeoutError, CancelledError):
            log.error("the database of users did not answer in {seconds} s", seconds=self._timeout)
            raise TryLater() from None
        except self._module.Error as error:
            log.error("the database of users: {reason}", reason=self._reason(error))
            # The cause may cite the data source name.
            raise TryLater() from None
        if len(rows) > 1:
            log.error("the query for {login} finds several users", login=str(address))
            raise AuthenticationFailed()
        return _row(rows[0]) if rows else None

    async def _rows(self, parameters: Mapping[str, str]) -> list[Any]:
        """At most two rows.  After a restart of the database every connection that was open fails once."""
        for _ in range(len(self._pool.connections)):
            with suppress(self._module.OperationalError, self._module.InterfaceError):
                return await self._ask(parameters)
        return await self._ask(parameters)

    def _ask(self, parameters: Mapping[str, str]) -> Deferred[list[Any]]:
        self._waiting += 1
        asked: Deferred[Any] = self._pool.runInteraction(_ask, self._query, parameters)
        answer: Deferred[Any] = Deferred()
        # The thread stays busy after we have stopped to wait for it: it counts until it is really done.
        asked.addBoth(self._done, answer)
        return answer.addTimeout(self._timeout, self._reactor)

    def close(self) -> None:
        """Let go of connections and threads.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        if not self._waiting:
            self._pool.close()
            return
        # To end it waits for its threads, and one of them may wait for a database that does not answer.
        self._reactor.removeSystemEventTrigger(self._pool.shutdownID)
        Thread(target=self._pool.finalClose, name="mailsrv-sql-close", daemon=True).start()

    def _done(self, result: Any, answer: Deferred[Any]) -> None:
        self._waiting -= 1
        if isinstance(result, Failure):
            answer.errback(result)
        else:
            answer.callback(result)

    def _reason(self, error: Exception) -> str:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return (text.replace(self._secret, "...") if self._secret else text)[:MAX_REASON]


def _ask(cursor: Any, query: str, parameters: Mapping[str, str]) -> list[Any]:
    """In a thread."""
    cursor.execute(query, parameters)
    rows: list[Any] = cursor.fetchmany(2)
    return rows


def _row(columns: Any) -> Row:
    """A row of one or two columns; what is no text is nothing."""
    texts = ["", ""]
    for place, value in enumerate(tuple(columns)[:2]):
        with suppress(UnicodeError):
            text = bytes(value).decode("utf-8") if isinstance(value, bytes | bytearray | memoryview) else value
            if isinstance(text, str) and text.encode("utf-8"):
                texts[place] = text.strip() if place else text
    return Row(*texts)


def build(options: Options, site: Any) -> SqlAuthenticator:
    """The part; `site` has `directory`, `hasher`, `base` and `reactor`.  Raises ConfigError."""
    try:
        accounts = Accounts(site.directory, options.create)
    except ConfigError as error:
        raise ConfigError(error.text, key="auth.sql.create") from error
    try:
        module = import_module(options.module)
    except ImportError as error:
        raise ConfigError(f"the module {options.module} is not installed", key="auth.sql.module") from error
    if not all(hasattr(module, name) for name in ("connect", "Error", "OperationalError", "InterfaceError")):
        raise ConfigError(f"{options.module} is no DB-API 2.0 module", key="auth.sql.module")
    base, secret = Path(site.base), ""
    if options.password_file:
        secret = read_password(base / options.password_file, "auth.sql.password_file")
    elif options.password_env:
        secret = os.environ.get(options.password_env, "")
        if not secret:
            raise ConfigError(f"the environment has no {options.password_env}", key="auth.sql.password_env")
    connect, keywords = _arguments(options, base)
    if secret:
        keywords["password"] = secret
    return SqlAuthenticator(
        Database(options, site.reactor, connect, keywords, secret), accounts, site.hasher, options.scheme
    )


def _arguments(options: Options, base: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What connect() is called with.  A file of SQLite is looked for beside the configuration."""
    name, keywords = options.connect
    keywords = dict(keywords)
    if options.module == "sqlite3":
        # adbapi closes connections from another thread than theirs, when nothing uses them any more.
        keywords.setdefault("check_same_thread", False)
        if name and not name.startswith((":", "file:")):
            name = str(base / name)
        elif isinstance(keywords.get("database"), str) and not keywords["database"].startswith((":", "file:")):
            keywords["database"] = str(base / keywords["database"])
    return ((name,) if name else ()), keywords
