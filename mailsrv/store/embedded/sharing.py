"""Annotations and grants in the embedded store: questions to the index, operations of the writer.

A value is kept as text of latin-1, as it also stands in the log.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import apsw
from twisted.internet.defer import Deferred

from ...errors import NoSuchMailbox
from ...values import Shared
from .. import sharing_rules as rules
from .index import Index
from .operations import Operation
from .transaction import Transaction

_ANNOTATIONS = "SELECT entry, value FROM annotation WHERE mailbox=? AND account IN (0, ?) ORDER BY account, entry"
_GRANTS = "SELECT identifier, rights FROM permit WHERE mailbox=? ORDER BY identifier"
#: Rows made into objects between two turns of others.
TURN = 2000
_GRANTED_IDS = """SELECT json_group_array(mailbox) FROM (SELECT DISTINCT mailbox FROM permit
    WHERE identifier IN (SELECT value FROM json_each(?)))"""
_GRANTED = """SELECT mailbox.account, mailbox.name, mailbox.id, permit.identifier, permit.rights FROM permit
    JOIN mailbox ON mailbox.id=permit.mailbox
    WHERE permit.mailbox IN (SELECT value FROM carray(?)) AND mailbox.account!=? ORDER BY permit.identifier"""


class Annotate(Operation):
    """IMetadata.annotate."""

    __slots__ = ("_account", "_changes", "_mailbox", "_owners")
    #: Shares the record of its batch with others: it may be half a megabyte.
    rows = 50

    def __init__(self, mailbox: int, account: int, changes: Mapping[str, bytes | None]) -> None:
        super().__init__()
        rules.check_values(changes)
        self._mailbox, self._account, self._changes = mailbox, account, dict(changes)
        self._owners = {entry: rules.owner_of(entry, account) for entry in changes}

    def run(self, transaction: Transaction) -> bool:
        """All of the changes."""
        if self._mailbox != rules.SERVER and transaction.boxes.get(self._mailbox) is None:
            raise NoSuchMailbox()
        execute = transaction.connection.execute
        known = [entry for entry, _ in execute(_ANNOTATIONS, (self._mailbox, self._account))]
        rules.check_count(known, self._changes, self._account)
        for entry, value in self._changes.items():
            key = (self._mailbox, self._owners[entry], entry)
            text = None if value is None else value.decode("latin-1")
            if text is None:
                execute("DELETE FROM annotation WHERE mailbox=? AND account=? AND entry=?", key)
            else:
                execute("INSERT OR REPLACE INTO annotation VALUES (?,?,?,?)", (*key, text))
            transaction.catalogue.append(["annotate", *key, text])
        return True


class Grant(Operation):
    """IGrants.grant."""

    __slots__ = ("_identifier", "_mailbox", "_rights")

    def __init__(self, mailbox: int, identifier: str, rights: str) -> None:
        super().__init__()
        self._mailbox, self._identifier, self._rights = mailbox, identifier, rights

    def run(self, transaction: Transaction) -> bool:
        """Raises NoSuchMailbox, Refused, LimitReached."""
        if transaction.boxes.get(self._mailbox) is None:
            raise NoSuchMailbox()
        execute, key = transaction.connection.execute, (self._identifier, self._mailbox)
        known = [identifier for identifier, _ in execute(_GRANTS, (self._mailbox,))]
        rights = rules.check_grant(known, self._identifier, self._rights)
        if rights:
            execute("INSERT OR REPLACE INTO permit VALUES (?,?,?)", (*key, rights))
        else:
            execute("DELETE FROM permit WHERE identifier=? AND mailbox=?", key)
        transaction.catalogue.append(["permit", *key, rights])
        return True


def forget_mailbox(connection: apsw.Connection, mailbox: int) -> None:
    """The mailbox is gone."""
    connection.execute("DELETE FROM annotation WHERE mailbox=?", (mailbox,))
    connection.execute("DELETE FROM permit WHERE mailbox=?", (mailbox,))


def forget_account(connection: apsw.Connection, account: int) -> None:
    """The account is gone: what it kept, and what it was granted."""
    connection.execute("DELETE FROM annotation WHERE account=?", (account,))
    connection.execute("DELETE FROM permit WHERE identifier IN (?,?)", (f"#{account}", f"-#{account}"))


class EmbeddedSharing:
    """The part of a store that is IMetadata and IGrants."""

    index: Index
    submit: Any
    _call_from_thread: Callable[..., Any]

    async def annotations(self, mailbox_id: int, account_id: int) -> Mapping[str, bytes]:
        """The shared ones, and those of the account."""
        rows = self.index.rows(_ANNOTATIONS, (mailbox_id, account_id))
        return {entry: value.encode("latin-1") for entry, value in rows}

    async def annotate(self, mailbox_id: int, account_id: int, changes: Mapping[str, bytes | None]) -> None:
        """Set or (None) remove.  Raises NoSuchMailbox, Refused, TooBig, LimitReached."""
        await self.submit(Annotate(mailbox_id, account_id, changes))

    async def grants(self, mailbox_id: int) -> Mapping[str, str]:
        """Identifier -> rights."""
        return dict(self.index.rows(_GRANTS, (mailbox_id,)))

    async def grant(self, mailbox_id: int, identifier: str, rights: str) -> None:
        """Replace what an identifier may do.  Raises NoSuchMailbox, Refused, LimitReached."""
        await self.submit(Grant(mailbox_id, identifier, rights))

    async def turn(self) -> None:
        """Let others have theirs, in the middle of something long."""
        turn: Deferred[None] = Deferred()
        self._call_from_thread(turn.callback, None)
        await turn

    async def granted(self, identifiers: Collection[str], without: int = 0) -> Sequence[Shared]:
        """The mailboxes with a grant for one of these."""
        found: dict[int, Shared] = {}
        mailboxes = json.loads(self.index.rows(_GRANTED_IDS, (json.dumps(list(identifiers)),))[0][0])
        for at in range(0, len(mailboxes), TURN):
            if at:
                await self.turn()
            some = apsw.carray(array("q", mailboxes[at : at + TURN]))
            for account, name, mailbox, identifier, rights in self.index.rows(_GRANTED, (some, without)):
                if mailbox not in found:
                    found[mailbox] = Shared(account, name, mailbox, {})
                found[mailbox].grants[identifier] = rights
        return sorted(found.values(), key=lambda shared: (shared.account_id, shared.name))
