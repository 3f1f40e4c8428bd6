"""Operations on the directory: domains, accounts, aliases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import NoSuchRecipient, Refused
from ...values import AccountFacts, Address, DomainFacts
from .. import login_rules
from ..directory_rules import address_key
from ..names import DEFAULT_MAILBOXES
from .naming import create_mailbox, drop_mailbox
from .operations import Operation
from .sharing import forget_account
from .transaction import Transaction

#: Share of a batch of what puts an account into the catalogue: with all that `login_rules` allows it is 80 KiB, and
#: the statements of a batch are one record.
ACCOUNT_ROWS = 4


def packed(value: Mapping[str, Any]) -> str:
    """As the columns `secrets` and `settings` are kept: JSON, "" for nothing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")) if value else ""


def account_statement(transaction: Transaction, account: int) -> None:
    """Put the row of an account, as it is now, into the catalogue."""
    row = transaction.connection.execute("SELECT * FROM account WHERE id=?", (account,)).fetchone()
    transaction.catalogue.append(["account", *row])
    transaction.directory = True


class SetDomains(Operation):
    """IAccountAdmin.set_domains."""

    __slots__ = ("_domains",)

    def __init__(self, domains: Sequence[DomainFacts]) -> None:
        super().__init__()
        self._domains = [
            (facts.name, facts.kind, facts.subaddress, facts.catch_all, place) for place, facts in enumerate(domains)
        ]

    def run(self, transaction: Transaction) -> bool:
        """Replace them; at most starts nothing has changed."""
        connection = transaction.connection
        if connection.execute("SELECT * FROM domain ORDER BY place").fetchall() == self._domains:
            return True
        connection.execute("DELETE FROM domain")
        connection.executemany("INSERT OR REPLACE INTO domain VALUES (?,?,?,?,?)", self._domains)
        transaction.catalogue.append(["domains", self._domains])
        transaction.directory = True
        return True


class AddAccount(Operation):
    """IAccountAdmin.add_account."""

    __slots__ = ("_address", "_created", "_password", "_secrets")
    rows = ACCOUNT_ROWS

    def __init__(
        self, address: Address, password_hash: str, secrets: Mapping[str, str] | None, created: float
    ) -> None:
        super().__init__()
        self._address, self._created = address, created
        self._password, self._secrets = login_rules.checked_keys(password_hash), login_rules.checked_secrets(secrets)

    def run(self, transaction: Transaction) -> bool:
        """The row, its mailboxes and subscriptions."""
        connection, address = transaction.connection, self._address
        key = address_key(address)
        for table in ("account", "alias"):
            if connection.execute(f"SELECT 1 FROM {table} WHERE domain=? AND folded=?", key).get is not None:
                raise Refused("The address is taken", "5.3.5")
        connection.execute(
            "INSERT INTO account VALUES (NULL, 0, ?,?,?, 1, ?,?, 0, ?, '')",
            (address.local, key[0], key[1], self._password, self._created, packed(self._secrets)),
        )
        account = connection.last_insert_rowid()
        account_statement(transaction, account)
        for name, special_use in DEFAULT_MAILBOXES:
            create_mailbox(transaction, account, name, special_use)
            connection.execute("INSERT INTO subscription VALUES (?,?)", (account, name))
            transaction.catalogue.append(["subscribe", account, name])
        self.result = AccountFacts(account, Address(address.local, key[0]), created_at=self._created)
        return True


class RemoveAccount(Operation):
    """IAccountAdmin.remove_account."""

    __slots__ = ("_account",)

    def __init__(self, account: int) -> None:
        super().__init__()
        self._account = account

    def run(self, transaction: Transaction) -> bool:
        """The account and the rows of its mailboxes; the messages are purged later."""
        connection, key = transaction.connection, (self._account,)
        if connection.execute("SELECT 1 FROM account WHERE id=?", key).get is None:
            raise NoSuchRecipient()
        for (mailbox,) in connection.execute("SELECT id FROM mailbox WHERE account=?", key).fetchall():
            box = transaction.boxes.get(mailbox)
            assert box is not None
            drop_mailbox(transaction, box)
        for table in ("subscription", "app_password"):
            connection.execute(f"DELETE FROM {table} WHERE account=?", key)
        forget_account(connection, self._account)
        connection.execute("DELETE FROM account WHERE id=?", key)
        transaction.catalogue.append(["no-account", self._account])
        transaction.directory = True
        return True


class SetEnabled(Operation):
    """IAccountAdmin.set_enabled."""

    __slots__ = ("_account", "_enabled")
    rows = ACCOUNT_ROWS

    def __init__(self, account: int, enabled: bool) -> None:
        super().__init__()
        self._account, self._enabled = account, enabled

    def run(self, transaction: Transaction) -> bool:
        """Raises NoSuchRecipient."""
        connection = transaction.connection
        connection.execute("UPDATE account SET enabled=? WHERE id=?", (int(self._enabled), self._account))
        if not connection.changes():
            raise NoSuchRecipient()
        account_statement(transaction, self._account)
        return True


class SetAlias(Operation):
    """IAccountAdmin.add_alias; without targets remove_alias."""

    __slots__ = ("_address", "_targets")

    def __init__(self, address: Address, targets: Sequence[Address]) -> None:
        super().__init__()
        self._address, self._targets = address, targets

    def run(self, transaction: Transaction) -> bool:
        """Raises Refused for an account's address, NoSuchRecipient when there is none to remove."""
        connection = transaction.connection
        domain, folded = key = address_key(self._address)
        if self._targets:
            if connection.execute("SELECT 1 FROM account WHERE domain=? AND folded=?", key).get is not None:
                raise Refused("The address is an account's", "5.3.5")
            targets = json.dumps([[target.local, target.domain] for target in self._targets])
            row = (domain, folded, self._address.local, targets)
            connection.execute("INSERT OR REPLACE INTO alias VALUES (?,?,?,?)", row)
            transaction.catalogue.append(["alias", *row])
        else:
            connection.execute("DELETE FROM alias WHERE domain=? AND folded=?", key)
            if not connection.changes():
                raise NoSuchRecipient()
            transaction.catalogue.append(["no-alias", *key])
        transaction.directory = True
        return True
