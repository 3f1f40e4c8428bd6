"""Operations on the names of mailboxes: create, delete, rename, subscribe; and the slow half of a deletion."""

from __future__ import annotations

import apsw

from ...errors import AccessDenied, BadMailboxName, MailboxExists, NoSuchMailbox
from ...numbers import UidSet
from ...values import MailboxInfo
from ..names import INBOX, existing, missing_parents, normalise, parents, rename_plan
from .boxes import Box
from .changes import Copy
from .operations import SLICE, Operation
from .sharing import forget_mailbox
from .transaction import Transaction


def mailbox_names(connection: apsw.Connection, account: int) -> dict[str, int]:
    """name -> mailbox id.  Raises AccessDenied when there is no such account."""
    names = dict(connection.execute("SELECT name, id FROM mailbox WHERE account=?", (account,)).fetchall())
    if not names:
        raise AccessDenied()
    return names


def create_mailbox(transaction: Transaction, account: int, name: str, special_use: bytes | None) -> Box:
    """A new empty mailbox with the next UIDVALIDITY of its account."""
    connection = transaction.connection
    last = connection.execute("SELECT uidvalidity FROM account WHERE id=?", (account,)).get
    # Starting at the time keeps an account that was made anew from repeating what clients have cached.
    uidvalidity = max(last + 1, transaction.now)
    connection.execute("UPDATE account SET uidvalidity=? WHERE id=?", (uidvalidity, account))
    use = None if special_use is None else special_use.decode("latin-1")
    connection.execute(
        "INSERT INTO mailbox VALUES (NULL,?,?,?,?, 1,1,0,0, 0,0,0,0, 1,0, 0,0)", (account, name, uidvalidity, use)
    )
    transaction.catalogue.append(["mailbox", connection.last_insert_rowid(), account, name, uidvalidity, use])
    box = transaction.boxes.find(account, name)
    assert box is not None
    return box


def drop_mailbox(transaction: Transaction, box: Box) -> None:
    """Take a mailbox away; its rows are purged later, in slices."""
    connection = transaction.connection
    transaction.boxes.forget(box)
    transaction.flush()
    connection.execute("DELETE FROM mailbox WHERE id=?", (box.id,))
    connection.execute("DELETE FROM checkpoint WHERE subject=?", (box.id,))
    forget_mailbox(connection, box.id)
    connection.execute("INSERT INTO doomed VALUES (?)", (box.id,))
    transaction.gone.append(box.id)
    transaction.catalogue.append(["no-mailbox", box.id])


class Create(Operation):
    """IAccount.create."""

    __slots__ = ("_account", "_name", "_special_use")

    def __init__(self, account: int, name: str, special_use: bytes | None) -> None:
        super().__init__()
        self._account, self._name, self._special_use = account, normalise(name), special_use

    def run(self, transaction: Transaction) -> bool:
        """With missing parents."""
        # There may be thousands of mailboxes: only those that matter are looked for.
        execute, asked = transaction.connection.execute, (INBOX, *parents(self._name), self._name)
        sql = "SELECT 1 FROM mailbox WHERE account=? AND name=?"
        names = {name for name in asked if execute(sql, (self._account, name)).get}
        if not names:
            raise AccessDenied()
        if self._name in names:
            raise MailboxExists()
        for parent in missing_parents(names, self._name):
            create_mailbox(transaction, self._account, parent, None)
        box = create_mailbox(transaction, self._account, self._name, self._special_use)
        subscribed = transaction.connection.execute(
            "SELECT count(*) FROM subscription WHERE account=? AND name=?", (self._account, self._name)
        ).get
        self.result = MailboxInfo(self._name, box.id, box.uidvalidity, self._special_use, bool(subscribed))
        return True


class Delete(Operation):
    """IAccount.delete."""

    __slots__ = ("_account", "_name")

    def __init__(self, account: int, name: str) -> None:
        super().__init__()
        self._account, self._name = account, existing(name)
        if self._name == INBOX:
            raise BadMailboxName("INBOX cannot be deleted")

    def run(self, transaction: Transaction) -> bool:
        """The row of the mailbox; children stay."""
        box = transaction.boxes.find(self._account, self._name)
        if box is None:
            raise NoSuchMailbox()
        drop_mailbox(transaction, box)
        return True


class Rename(Operation):
    """IAccount.rename; for INBOX a new mailbox and a move of all its messages (RFC 9051 section 6.3.6)."""

    __slots__ = ("_account", "_move", "_new", "_old")
    rows = SLICE

    def __init__(self, account: int, old: str, new: str) -> None:
        super().__init__()
        self._account, self._old, self._new = account, existing(old), normalise(new)
        self._move: Copy | None = None

    def run(self, transaction: Transaction) -> bool:
        """All names at once; the messages of INBOX in slices."""
        if self._move is not None:
            return self._move.copy_slice(transaction)
        names = mailbox_names(transaction.connection, self._account)
        plan = rename_plan(names, self._old, self._new)
        for parent in missing_parents(names, self._new):
            create_mailbox(transaction, self._account, parent, None)
        if self._old == INBOX:
            target = create_mailbox(transaction, self._account, self._new, None)
            self._move = Copy(names[INBOX], UidSet([(1, 2**32)]), target.id, True)
            return self._move.copy_slice(transaction)
        transaction.boxes.write()
        for old, new in plan:
            box = transaction.boxes.get(names[old])
            assert box is not None
            transaction.boxes.forget(box)
            transaction.connection.execute("UPDATE mailbox SET name=? WHERE id=?", (new, box.id))
            transaction.catalogue.append(
                ["mailbox", box.id, self._account, new, box.uidvalidity, box.special_use]
            )
        return True


class Subscribe(Operation):
    """IAccount.subscribe."""

    __slots__ = ("_account", "_name", "_on")

    def __init__(self, account: int, name: str, on: bool) -> None:
        super().__init__()
        self._account, self._name, self._on = account, normalise(name), on

    def run(self, transaction: Transaction) -> bool:
        """Any possible name."""
        key = (self._account, self._name)
        if transaction.boxes.find(self._account, INBOX) is None:
            raise AccessDenied()
        if self._on:
            transaction.connection.execute("INSERT OR IGNORE INTO subscription VALUES (?,?)", key)
        else:
            transaction.connection.execute("DELETE FROM subscription WHERE account=? AND name=?", key)
        transaction.catalogue.append(["subscribe" if self._on else "unsubscribe", *key])
        return True


class Purge(Operation):
    """The rows of a deleted mailbox, which nobody sees any more."""

    __slots__ = ("_mailbox",)
    rows = SLICE

    def __init__(self, mailbox: int) -> None:
        super().__init__()
        self._mailbox = mailbox

    def run(self, transaction: Transaction) -> bool:
        """One slice."""
        connection, key = transaction.connection, (self._mailbox,)
        found = connection.execute(
            "SELECT uid, segment, ordinal, size FROM message WHERE mailbox=? LIMIT ?", (self._mailbox, SLICE)
        ).fetchall()
        if found:
            connection.execute("DELETE FROM message WHERE mailbox=? AND uid<=?", (self._mailbox, found[-1][0]))
            transaction.dead({(segment, ordinal): size for _, segment, ordinal, size in found})
        if len(found) == SLICE:
            return False
        for table in ("spill", "unique_id", "keyword", "tombstone", "doomed"):
            connection.execute(f"DELETE FROM {table} WHERE mailbox=?", key)
        return True
