"""Reading the log of all segments from its begin to its end, into what an index would hold (for `rescue`)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from attrs import define, evolve, field

from .. import keywords as kw
from . import records
from .checkpoint import CATALOGUE_SUBJECT, read_state
from .index import parse_ranges
from .records import Found

#: Columns of `account`, and the place of one of them.  The log of a store of schema 1 has rows without the last two.
ACCOUNT_COLUMNS, UIDVALIDITY = 11, 8
#: uid -> (modseq, flags, segment, ordinal, size, date, zone, saved)
Rows = dict[int, tuple[int, ...]]


@define
class Box:
    """One mailbox as the log tells of it; `name` "" when no catalogue does."""

    account: int = 0
    name: str = ""
    uidvalidity: int = 0
    special_use: str | None = None
    uidnext: int = 1
    modseq: int = 1
    recent_from: int = 1
    keywords: list[bytes] = field(factory=list)
    rows: Rows = field(factory=dict)
    unique_ids: dict[int, bytes] = field(factory=dict)


@define
class Waiting:
    """One row of the queue as its delivery made it; `header` is that of its record."""

    reference: tuple[int, ...]
    size: int
    header: dict[str, Any]
    destination: str
    held: int
    recipients: list[list[Any]]
    noticed: int = 0
    changed: int = 0


class Replay:
    """Feed it every record in the order of the log with `read`."""

    def __init__(self) -> None:
        self.boxes: dict[int, Box] = {}
        self.accounts: dict[int, list[Any]] = {}
        #: (account, name) -> row.
        self.app_passwords: dict[tuple[int, str], list[Any]] = {}
        self.aliases: dict[tuple[str, str], list[Any]] = {}
        self.domains: list[list[Any]] = []
        self.subscriptions: set[tuple[int, str]] = set()
        #: Rows of the queue by id: as made, which of them ended, and [destination, held, noticed, recipients] of those
        #: that were changed.
        self.queue: dict[int, Waiting] = {}
        self._ended: set[int] = set()
        self._requeued: dict[int, list[Any]] = {}
        #: Table -> the highest id that was given out.
        self.sequences = {"account": 0, "app_password": 0, "mailbox": 0, "queue": 0}
        #: Subject -> (segment, ordinal, octets) of its latest record.
        self.checkpoints: dict[int, tuple[int, int, int]] = {}
        #: (segment, ordinal) of every content that is there.
        self.contents: set[tuple[int, int]] = set()
        #: Those of them that came with SMTPUTF8.
        self.international: set[tuple[int, int]] = set()
        self._deleted: set[int] = set()
        #: (mailbox, account, entry) -> value; (identifier, mailbox) -> rights.
        self.annotations: dict[tuple[int, int, str], str] = {}
        self.permits: dict[tuple[str, int], str] = {}

    def read(self, segment: int, found: Found, body: bytes) -> None:
        """One record; `body` only for CATALOGUE and STATE.  Raises ValueError for one that makes no sense."""
        here = (segment, found.ordinal, found.end - found.start)
        if found.kind == records.CATALOGUE:
            self._catalogue(body)
            self.checkpoints[CATALOGUE_SUBJECT] = here
            return
        header = json.loads(found.header)
        if found.kind == records.CHANGES:
            for statement in header:
                self._statement(*statement)
        elif found.kind == records.STATE:
            self._state(header, body)
            self.checkpoints[header["mailbox"]] = here
        elif found.kind == records.CONTENT:
            self.contents.add(here[:2])
            if "SMTPUTF8" in header.get("parameters", ()):
                self.international.add(here[:2])
            self._put(header, here[:2], found.body_octets)
        elif found.kind == records.PLACEMENTS:
            self._put(header, tuple(header["of"]), header["size"])

    def _catalogue(self, body: bytes) -> None:
        """Everything about accounts and mailboxes anew; rows stay with the mailboxes that are in it."""
        try:
            statements = json.loads(zlib.decompress(body))
        except zlib.error as cause:
            raise ValueError("damaged catalogue") from cause
        self.accounts, self.app_passwords, self.aliases, self.subscriptions = {}, {}, {}, set()
        self.annotations, self.permits = {}, {}
        listed = {statement[1] for statement in statements if statement[0] == "mailbox"}
        for mailbox in self.boxes.keys() - listed:
            self._drop(mailbox)
        for statement in statements:
            self._statement(*statement)

    def _statement(self, kind: str, *values: Any) -> None:
        if kind == "account":
            self.accounts[values[0]] = [*values, *[""] * (ACCOUNT_COLUMNS - len(values))]
            self._issued("account", values[0])
        elif kind == "no-account":
            self.accounts.pop(values[0], None)
            self.subscriptions = {pair for pair in self.subscriptions if pair[0] != values[0]}
            self.app_passwords = {key: row for key, row in self.app_passwords.items() if key[0] != values[0]}
            self._forget(account=values[0])
        elif kind == "mailbox":
            mailbox, account, name, uidvalidity, special_use = values
            box = self.boxes.setdefault(mailbox, Box())
            box.account, box.name, box.uidvalidity, box.special_use = account, name, uidvalidity, special_use
            self._issued("mailbox", mailbox)
        elif kind == "no-mailbox":
            self._drop(values[0])
        elif kind in ("app-password", "no-app-password"):
            self._app_password(kind, values)
        elif kind == "alias":
            self.aliases[values[0], values[1]] = list(values)
        elif kind == "no-alias":
            self.aliases.pop((values[0], values[1]), None)
        elif kind == "domains":
            self.domains = values[0]
        elif kind == "subscribe":
            self.subscriptions.add((values[0], values[1]))
        elif kind == "unsubscribe":
            self.subscriptions.discard((values[0], values[1]))
        elif kind in ("annotate", "permit"):
            self._replace(self.annotations if kind == "annotate" else self.permits, values[:-1], values[-1])
        elif kind == "sequence":
            self._issued(*values)
        elif kind == "requeue":
            self._requeued[values[0]] = list(values[1:])
        elif kind == "unqueue":
            self._ended.update(_numbers(values[0]))
        elif kind == "queue":
            # All that there are; so whatever the log said before of others is overruled, and of these too.
            self._ended = self.queue.keys() - set(_numbers(values[0]))
            self._requeued = {}

    @staticmethod
    def _replace(table: dict[Any, Any], key: Any, value: str | None) -> None:
        # An annotation may be empty, rights may not.
        if value is None or (not value and len(key) == 2):
            table.pop(key, None)
        else:
            table[key] = value

    def _forget(self, mailbox: int = -1, account: int = -1) -> None:
        """Annotations and rights of what is gone."""
        names = (f"#{account}", f"-#{account}")
        self.annotations = {
            key: value for key, value in self.annotations.items() if key[0] != mailbox and key[1] != account
        }
        self.permits = {
            key: value for key, value in self.permits.items() if key[1] != mailbox and key[0] not in names
        }

    def _app_password(self, kind: str, values: tuple[Any, ...]) -> None:
        if kind == "no-app-password":
            self.app_passwords.pop((values[0], values[1]), None)
            return
        self._issued("app_password", values[0])
        if values[1] in self.accounts:
            self.app_passwords[values[1], values[2]] = list(values)

    def _issued(self, table: str, number: int) -> None:
        if table in self.sequences:
            self.sequences[table] = max(self.sequences[table], number)

    def _drop(self, mailbox: int) -> None:
        self.boxes.pop(mailbox, None)
        self.checkpoints.pop(mailbox, None)
        self._forget(mailbox)
        self._deleted.add(mailbox)
        self._issued("mailbox", mailbox)

    def _state(self, header: dict[str, Any], body: bytes) -> None:
        box = self.boxes.setdefault(header["mailbox"], Box())
        spill = {uid: int.from_bytes(bytes.fromhex(bits), "little") << 63 for uid, bits in header["spill"]}
        box.rows = {
            uid: (modseq, flags | spill.get(uid, 0), *rest)
            for uid, modseq, flags, *rest in read_state(header, body)
        }
        box.keywords = [name.encode("latin-1") for name in header["keywords"]]
        box.uidnext, box.modseq, box.recent_from = header["uidnext"], header["modseq"], header["recent_from"]

    def waiting(self) -> dict[int, Waiting]:
        """The rows of the queue that have not ended, as they are."""
        found = {}
        for row, made in self.queue.items():
            if row not in self._ended and made.reference in self.contents:
                if row in self._requeued:
                    destination, held, noticed, recipients = self._requeued[row]
                    made = evolve(
                        made, destination=destination, held=held, noticed=noticed, recipients=recipients, changed=1
                    )
                found[row] = made
        return found

    def _put(self, header: dict[str, Any], reference: tuple[int, ...], size: int) -> None:
        """Rows of a delivery or an append."""
        for row, destination, held, recipients in header.get("queue", ()):
            self.queue[row] = Waiting(reference, size, header, destination, held, recipients)
            # The id of a row that was never acknowledged is used again.
            self._ended.discard(row)
            self._requeued.pop(row, None)
            self._issued("queue", row)
        segment, ordinal = reference
        for account, mailbox, uid, modseq, flags in header["put"]:
            if mailbox in self._deleted:
                continue
            box = self.boxes.get(mailbox)
            if box is None:
                box = self.boxes[mailbox] = Box(account)
                self._issued("mailbox", mailbox)
            mask, new = kw.assign([flag.encode("latin-1") for flag in flags], box.keywords, lenient=True)
            box.keywords += new
            box.rows[uid] = (
                modseq, mask, segment, ordinal, size, header["date"], header["zone"], header["saved"]
            )
            if "uidl" in header:
                box.unique_ids[uid] = header["uidl"].encode("latin-1")
            box.uidnext, box.modseq = max(box.uidnext, uid + 1), max(box.modseq, modseq)


def _numbers(text: str) -> Iterator[int]:
    """Read what `str(UidSet)` wrote."""
    for low, high in parse_ranges(text) if text else ():
        yield from range(low, high + 1)
