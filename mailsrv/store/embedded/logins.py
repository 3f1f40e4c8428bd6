"""Operations on what is kept for logins: hashes, secrets, settings, app passwords; and how their columns are read.

    secrets     JSON {kind: keys}, "" for none
    settings    JSON {"keep": [...], "denied": [...], "quota": n, "max_in": n, "max_out": n}, "" for none
    scopes      words with a space between
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import apsw

from ...errors import NoSuchRecipient
from ...values import AppPassword
from .. import login_rules as rules
from .accounts import ACCOUNT_ROWS, account_statement, packed
from .operations import Operation
from .transaction import Transaction

#: Of the table `app_password`: what `app_password` reads.
APP_PASSWORD = "id, name, digest, scopes, created"

_NOTHING: frozenset[str] = frozenset()


def secrets_of(text: str) -> dict[str, str]:
    """The column `secrets`."""
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def settings_of(text: str) -> tuple[frozenset[str] | None, frozenset[str]]:
    """(keep, denied) of the column `settings`."""
    if not text:
        return None, _NOTHING
    found = json.loads(text)
    keep = found.get("keep")
    return None if keep is None else frozenset(keep), frozenset(found.get("denied", ()))


def limits_of(text: str) -> tuple[int | None, int | None, int | None]:
    """(quota, max_in, max_out) of the column `settings`."""
    if not text:
        return None, None, None
    found = json.loads(text)
    return found.get("quota"), found.get("max_in"), found.get("max_out")


def app_password(row: tuple[Any, ...]) -> AppPassword:
    """A row of `APP_PASSWORD`."""
    number, name, digest, scopes, created = row
    return AppPassword(number, name, digest, frozenset(scopes.split()), created)


def _columns(connection: apsw.Connection, account: int, columns: str) -> tuple[Any, ...]:
    """Columns of an account.  Raises NoSuchRecipient."""
    found: tuple[Any, ...] | None = connection.execute(
        f"SELECT {columns} FROM account WHERE id=?", (account,)
    ).fetchone()
    if found is None:
        raise NoSuchRecipient()
    return found


class SetPassword(Operation):
    """IAccountAdmin.set_password; with `was` its refresh, whose result it gives."""

    __slots__ = ("_account", "_password", "_secrets", "_was")
    rows = ACCOUNT_ROWS

    def __init__(
        self, account: int, password_hash: str, secrets: Mapping[str, str] | None, was: str | None = None
    ) -> None:
        super().__init__()
        self._account, self._was = account, was
        self._password, self._secrets = rules.checked_keys(password_hash), rules.checked_secrets(secrets)

    def run(self, transaction: Transaction) -> bool:
        """Hash and secrets in one statement.  Raises NoSuchRecipient, not for a refresh."""
        connection = transaction.connection
        sql = "SELECT settings, password FROM account WHERE id=?"
        found: Any = connection.execute(sql, (self._account,)).fetchone()
        if self._was is not None:
            self.result = found is not None and found[1] == self._was
            if not self.result:
                return True
        elif found is None:
            raise NoSuchRecipient()
        secrets = rules.kept(self._secrets, settings_of(found[0])[0])
        connection.execute(
            "UPDATE account SET password=?, secrets=? WHERE id=?", (self._password, packed(secrets), self._account)
        )
        account_statement(transaction, self._account)
        return True


class ChangeSettings(Operation):
    """IAccountAdmin.set_keep, set_denied and set_limits: entries of the settings; None takes one away."""

    __slots__ = ("_account", "_changes")
    rows = ACCOUNT_ROWS

    def __init__(self, account: int, changes: Mapping[str, Iterable[str] | int | None]) -> None:
        super().__init__()
        self._account = account
        self._changes = {
            key: value if value is None or isinstance(value, int) else sorted(value) for key, value in changes.items()
        }

    def run(self, transaction: Transaction) -> bool:
        """Secrets that are not kept any more go with it.  Raises NoSuchRecipient."""
        connection = transaction.connection
        text, secrets = _columns(connection, self._account, "settings, secrets")
        settings = json.loads(text) if text else {}
        settings.update(self._changes)
        settings = {key: value for key, value in settings.items() if value is not None}
        text = packed(settings)
        kept = rules.kept(secrets_of(secrets), settings_of(text)[0])
        connection.execute(
            "UPDATE account SET settings=?, secrets=? WHERE id=?", (text, packed(kept), self._account)
        )
        account_statement(transaction, self._account)
        return True


class AddAppPassword(Operation):
    """IAppPasswords.add_app_password."""

    __slots__ = ("_account", "_created", "_digest", "_name", "_scopes")

    def __init__(self, account: int, name: str, digest: str, scopes: Iterable[str], created: float) -> None:
        super().__init__()
        self._scopes = rules.checked_app_password(name, digest, scopes)
        self._account, self._name, self._digest, self._created = account, name, digest, created

    def run(self, transaction: Transaction) -> bool:
        """Raises NoSuchRecipient, Refused."""
        connection = transaction.connection
        _columns(connection, self._account, "1")
        names = connection.execute("SELECT name FROM app_password WHERE account=?", (self._account,))
        rules.check_new_name(self._name, [name for (name,) in names])
        row = (self._account, self._name, self._digest, " ".join(sorted(self._scopes)), self._created)
        connection.execute("INSERT INTO app_password VALUES (NULL,?,?,?,?,?)", row)
        number = connection.last_insert_rowid()
        transaction.catalogue.append(["app-password", number, *row])
        transaction.directory = True
        self.result = AppPassword(number, self._name, self._digest, self._scopes, self._created)
        return True


class RemoveAppPassword(Operation):
    """IAppPasswords.remove_app_password."""

    __slots__ = ("_account", "_name")

    def __init__(self, account: int, name: str) -> None:
        super().__init__()
        self._account, self._name = account, name

    def run(self, transaction: Transaction) -> bool:
        """Raises NoSuchRecipient; Refused when there is none of that name."""
        connection, key = transaction.connection, (self._account, self._name)
        _columns(connection, self._account, "1")
        rules.check_old_name(self._name)
        connection.execute("DELETE FROM app_password WHERE account=? AND name=?", key)
        if not connection.changes():
            raise rules.no_such_app_password()
        transaction.catalogue.append(["no-app-password", *key])
        transaction.directory = True
        return True
