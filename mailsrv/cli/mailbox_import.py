"""Import: a conversation that brings a source's messages into an account (floor 7)."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..errors import MailError, Refused
from ..host.control.mailbox import MAX_MESSAGES, MAX_OCTETS
from ..interfaces import IContent
from ..store.names import INBOX, parents
from .common import Call
from .mailbox_journal import Journal
from .mailbox_names import placed
from .mailbox_progress import Progress
from .mailbox_sources import Folder, Item, Skipped, Source

Talk = Generator[Call, Any, Any]
#: What the facts of a message add to a batch, in octets, at least.
FACTS = 500
#: Skipped messages that are kept to be told.
MAX_SKIPPED = 100_000


def import_into(source: Source, journal: Path | None, address: str, into: str, progress: Progress) -> Talk:
    """Imports all; gives counts, and what was skipped.  Without a journal nothing is imported or asked.

    Raises Refused (over quota, too), InUse, OSError; what was imported until then stays, and the journal knows.
    """
    work = _Import(source, address, into, progress)
    if journal is None:
        work.dry()
    else:
        yield from work.run(journal)
    return {
        "messages": work.messages, "octets": work.octets, "before": work.before, "mailboxes": dict(work.counts),
        "skipped": work.skipped,
    }  # fmt: skip


class _Import:
    """The counts of one run."""

    def __init__(self, source: Source, address: str, into: str, progress: Progress) -> None:
        self._source, self._address, self._into, self._progress = source, address, into, progress
        self.messages = self.octets = self.before = 0
        self.counts = Counter[str]()
        self.skipped = list[Skipped]()
        self._done = dict[str, set[str]]()
        self._offsets = dict[str, int]()
        self._special = dict[str, str]()
        self._there = dict[str, dict[str, Any]]()

    def dry(self) -> None:
        """Read all, count."""
        for folder in self._source.folders():
            name = placed(folder.name, self._into, {})
            self.counts[name] += 0
            for item in folder.items((), 0):
                if self._usable(item, folder):
                    self._count(name, item)

    def run(self, path: Path) -> Talk:
        """Folder by folder."""
        listed = yield "mailbox.list", {"address": self._address}
        self._there = {one["name"]: one for one in listed if one["exists"]}
        self._special = {one["special_use"]: one["name"] for one in listed if one["special_use"] and one["exists"]}
        inbox = next([one["mailbox_id"], one["uidvalidity"]] for one in listed if one["name"] == "INBOX")
        header = {
            "import": self._source.form, "address": self._address.lower(), "inbox": inbox, "into": self._into,
        }  # fmt: skip
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(path, header))
            yield from self._resume(journal)
            for folder in self._source.folders():
                yield from self._folder(journal, folder)
        yield from self._subscribe()

    # ------------------------------------------------------------ what earlier runs did

    def _resume(self, journal: Journal) -> Talk:
        """Learn what is done; the last batch may have been on its way."""
        begun: dict[str, Any] | None = None
        for line in journal.lines:
            if "begin" in line:
                begun = line
            elif "done" in line or "lost" in line:
                self._finished(begun if "done" in line else None)
                begun = None
            elif "bad" in line and self._source.form == "mbox":
                self._skip(line["bad"], line["why"])
                self._offsets[line["folder"]] = max(line["end"], self._offsets.get(line["folder"], 0))
        if begun is not None and (yield from self._arrived(begun)):
            self._finished(begun)
            journal.write({"done": 1})
        elif begun is not None:
            journal.write({"lost": 1}, sync=True)

    def _finished(self, begun: dict[str, Any] | None) -> None:
        """A batch is in the store."""
        if begun is not None:
            self.before += len(begun["digests"])
            self._done.setdefault(begun["folder"], set()).update(begun["keys"])
            self._offsets[begun["folder"]] = begun["end"]

    def _arrived(self, begun: dict[str, Any]) -> Generator[Call, Any, bool]:
        """Whether its messages lie in the mailbox, one behind the other."""
        after, wanted = begun["after"], begun["digests"]
        found = list[str]()
        where = {"address": self._address, "mailbox": begun["mailbox"], "digests": True}
        while begun["mailbox"] in self._there:
            page = yield "mailbox.messages", {**where, "after": after}
            if page["uidvalidity"] != begun["uidvalidity"] or not page["messages"]:
                return False
            found += [one["digest"] for one in page["messages"]]
            for at in range(len(found) - len(wanted) + 1):
                if found[at : at + len(wanted)] == wanted:
                    return True
            del found[: max(len(found) - len(wanted) + 1, 0)]
            after = page["messages"][-1]["uid"]
        return False

    # ------------------------------------------------------------ this run

    def _folder(self, journal: Journal, folder: Folder) -> Talk:
        """One folder, in batches."""
        name = placed(folder.name, self._into, self._special)
        try:
            if name not in self._there:
                made = yield "mailbox.create", {"address": self._address, "name": name}
                name = made["name"]
                self._there[name] = made
                yield from self._learn_parents(name)
        except Refused as error:
            if not error.status.startswith("5.3.5"):
                raise
            self._skip(folder.name, f"{error}; with --into it goes elsewhere")
            return
        facts = self._there[name]
        self.counts[name] += 0
        after = facts["uidnext"] - 1
        done, offset = self._done.get(folder.key, set()), self._offsets.get(folder.key, 0)
        for batch in self._batches(journal, folder, folder.items(done, offset)):
            begun = {
                "begin": 1, "folder": folder.key, "mailbox": name, "uidvalidity": facts["uidvalidity"], "after": after,
                "keys": [one.key for one in batch] if self._source.form == "maildir" else [],
                "end": batch[-1].reached, "digests": [_digest(one) for one in batch],
            }  # fmt: skip
            journal.write(begun, sync=True)
            appended = yield from self._append(name, batch)
            journal.write({"done": 1})
            after = appended["uids"][-1]
            for item in batch:
                self._count(name, item)

    def _learn_parents(self, name: str) -> Talk:
        """Levels above a new mailbox were made as well, perhaps."""
        if any(one not in self._there for one in parents(name)):
            for one in (yield "mailbox.list", {"address": self._address}):
                if one["exists"]:
                    self._there.setdefault(one["name"], one)

    def _batches(self, journal: Journal, folder: Folder, items: Iterator[Item]) -> Iterator[list[Item]]:
        """Messages that fit into one call; a large one alone."""
        batch, total = list[Item](), 0
        for item in items:
            if not self._usable(item, folder):
                if self._source.form == "mbox":
                    if batch:
                        yield batch
                        batch, total = [], 0
                    what = self.skipped[-1].what if self.skipped else folder.name
                    journal.write({"bad": what, "why": item.why, "folder": folder.key, "end": item.reached})
                continue
            size = _size(item) + FACTS + sum(map(len, item.flags))
            if batch and (total + size > MAX_OCTETS or len(batch) >= MAX_MESSAGES):
                yield batch
                batch, total = [], 0
            batch.append(item)
            total += size
        if batch:
            yield batch

    def _append(self, name: str, batch: list[Item]) -> Talk:
        """One batch into the store.  Raises Refused."""
        rows = list[dict[str, str]]()
        try:
            for item in batch:
                row = {
                    "flags": b" ".join(sorted(item.flags)).decode("utf-8", "replace"), "date": str(item.date),
                    "zone": str(item.zone),
                }  # fmt: skip
                if name == INBOX:
                    # POP3 shows no other mailbox.
                    row["unique_id"] = item.unique_id.decode("latin-1")
                assert item.content is not None
                if item.content.size > MAX_OCTETS:
                    row["upload"] = yield from self._upload(item.content)
                else:
                    row["data"] = b64encode(b"".join(item.content.chunks())).decode("ascii")
                rows.append(row)
            given = {"address": self._address, "mailbox": name, "messages": rows}
            try:
                return (yield "mailbox.append", given)
            except Refused as error:
                if error.status != "5.5.4":
                    raise
                # A mailbox has so many keywords and no more: the messages matter most.
                for row, item in zip(rows, batch, strict=True):
                    row["flags"] = " ".join(flag for flag in row["flags"].split(" ") if flag.startswith("\\"))
                    self._skip(item.key, f"keywords are left out: {error}")
                return (yield "mailbox.append", given)
        finally:
            for item in batch:
                if item.content is not None:
                    item.content.close()

    def _upload(self, content: IContent) -> Generator[Call, Any, str]:
        """A large message in pieces; the name of the upload."""
        name, at = os.urandom(16).hex(), 0
        for piece in content.chunks():
            given = {"address": self._address, "upload": name, "offset": at, "data": b64encode(piece).decode("ascii")}
            at = (yield "mailbox.upload", given)["size"]
        return name

    def _subscribe(self) -> Talk:
        """What was subscribed in the source."""
        names = [placed(name, self._into, self._special) for name in self._source.subscriptions()]
        for at in range(0, len(names), MAX_MESSAGES):
            try:
                yield "mailbox.subscribe", {"address": self._address, "names": names[at : at + MAX_MESSAGES]}
            except MailError as error:
                self._skip("subscriptions", str(error))

    # ------------------------------------------------------------ counting

    def _usable(self, item: Item, folder: Folder) -> bool:
        """Whether it has content; else it is told."""
        if item.content is not None:
            return True
        mbox = self._source.form == "mbox"
        self._skip(f"{folder.key or folder.name} at offset {item.key}" if mbox else item.key, item.why)
        return False

    def _skip(self, what: str, why: str) -> None:
        """Remember it, within bounds."""
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(what, why))

    def _count(self, name: str, item: Item) -> None:
        """One message is done."""
        size = _size(item)
        self.messages += 1
        self.octets += size
        self.counts[name] += 1
        if item.content is not None:
            item.content.close()
        self._progress.add(size, item.reached or self.before + self.messages)


def _size(item: Item) -> int:
    """Octets."""
    return 0 if item.content is None else item.content.size


def _digest(item: Item) -> str:
    """SHA-256 in hexadecimal."""
    made = hashlib.sha256()
    for piece in item.content.chunks() if item.content is not None else ():
        made.update(piece)
    return made.hexdigest()
