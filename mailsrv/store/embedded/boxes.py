"""Mailbox rows as the writer thread keeps them: a cache of the table `mailbox`, changed here and written at commit."""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from ..names import INBOX

#: More rows than this are not kept between two batches.
MAX_BOXES = 20_000

_COLUMNS = ("id, account, name, uidvalidity, special_use, uidnext, modseq, flag_modseq, unsaved, exist, unseen,"
            " deleted, octets, recent_from, recent, tombstones, tombstone_floor")
_BY_ID = f"SELECT {_COLUMNS} FROM mailbox WHERE id=?"
_BY_NAME = f"SELECT {_COLUMNS} FROM mailbox WHERE account=? AND name=?"
_WRITE = ("UPDATE mailbox SET uidnext=?, modseq=?, flag_modseq=?, unsaved=?, exist=?, unseen=?, deleted=?,"
          " octets=?, recent_from=?, recent=?, tombstones=?, tombstone_floor=? WHERE id=?")


class Box:
    """One row.  `flag_modseq` is the last change that was not an append; `unsaved` 1: there is more to it than the
    log tells (see `checkpoint`); `keywords` is None until somebody asks."""

    __slots__ = (
        "account",
        "deleted",
        "exist",
        "flag_modseq",
        "id",
        "keywords",
        "modseq",
        "name",
        "octets",
        "recent",
        "recent_from",
        "special_use",
        "tombstone_floor",
        "tombstones",
        "uidnext",
        "uidvalidity",
        "unsaved",
        "unseen",
    )

    def __init__(
        self, id: int, account: int, name: str, uidvalidity: int, special_use: str | None, uidnext: int, modseq: int,
        flag_modseq: int, unsaved: int, exist: int, unseen: int, deleted: int, octets: int, recent_from: int,
        recent: int, tombstones: int, tombstone_floor: int,
    ) -> None:
        self.id, self.account, self.name = id, account, name
        self.uidvalidity, self.special_use = uidvalidity, special_use
        self.uidnext, self.modseq, self.flag_modseq, self.unsaved = uidnext, modseq, flag_modseq, unsaved
        self.exist, self.unseen, self.deleted, self.octets = exist, unseen, deleted, octets
        self.recent_from, self.recent = recent_from, recent
        self.tombstones, self.tombstone_floor = tombstones, tombstone_floor
        self.keywords: list[bytes] | None = None

    def counters(self) -> tuple[int, int, int, int]:
        """(uidnext, unseen, deleted, octets) now."""
        return self.uidnext, self.unseen, self.deleted, self.octets

    def values(self) -> tuple[int, ...]:
        """What may have changed, in the order of the UPDATE."""
        return (self.uidnext, self.modseq, self.flag_modseq, self.unsaved, self.exist, self.unseen, self.deleted,
                self.octets, self.recent_from, self.recent, self.tombstones, self.tombstone_floor, self.id)


class Boxes:
    """The cache: by id, and by (account, name)."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._by_id: dict[int, Box] = {}
        self._by_name: dict[tuple[int, str], Box] = {}
        self.dirty: dict[int, Box] = {}

    def get(self, mailbox_id: int) -> Box | None:
        """The row of this id."""
        box = self._by_id.get(mailbox_id)
        return box if box is not None else self._load(_BY_ID, (mailbox_id,))

    def find(self, account: int, name: str) -> Box | None:
        """The row of this name."""
        box = self._by_name.get((account, name))
        return box if box is not None else self._load(_BY_NAME, (account, name))

    def target(self, account: int, name: str) -> Box | None:
        """Where mail for this name goes: there, else to INBOX; None when the account is gone."""
        return self.find(account, name) or self.find(account, INBOX)

    def _load(self, sql: str, key: tuple[int | str, ...]) -> Box | None:
        row = self.connection.execute(sql, key).fetchone()
        if row is None:
            return None
        box = self._by_id.get(row[0])
        if box is None:
            box = self._by_id[row[0]] = Box(*row)
            self._by_name[box.account, box.name] = box
        return box

    def keywords(self, box: Box) -> list[bytes]:
        """The keyword table of a mailbox, in order."""
        if box.keywords is None:
            rows = self.connection.execute("SELECT name FROM keyword WHERE mailbox=? ORDER BY place", (box.id,))
            box.keywords = [bytes(name) for (name,) in rows]
        return box.keywords

    def add_keywords(self, box: Box, new: Iterable[bytes]) -> None:
        """Put further keywords behind those that are there."""
        known = self.keywords(box)
        added = list(new)
        self.connection.executemany(
            "INSERT INTO keyword VALUES (?,?,?)", [(box.id, len(known) + n, name) for n, name in enumerate(added)]
        )
        box.keywords = known + added

    def forget(self, box: Box) -> None:
        """The row was deleted or renamed: read it anew when it is asked for."""
        self._by_id.pop(box.id, None)
        self._by_name.pop((box.account, box.name), None)
        self.dirty.pop(box.id, None)

    def write(self) -> None:
        """Put the changed rows into the transaction."""
        if self.dirty:
            self.connection.executemany(_WRITE, [box.values() for box in self.dirty.values()])
            self.dirty.clear()

    def committed(self) -> None:
        """Keep the cache bounded."""
        if len(self._by_id) > MAX_BOXES:
            self._by_id.clear()
            self._by_name.clear()

    def rolled_back(self) -> None:
        """What is in memory was not written: forget all."""
        self._by_id.clear()
        self._by_name.clear()
        self.dirty.clear()
