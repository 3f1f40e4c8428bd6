"""Export: a conversation that writes an account's messages into a new Maildir or new mbox files (floor 7).

A journal beside them says how far each mailbox is.  Nothing is overwritten that it does not know.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

from ..errors import Refused
from ..host.control.mailbox import MAX_OCTETS
from ..interfaces import IContent
from ..net.spool import Spool
from .common import Call
from .mailbox_journal import Journal
from .mailbox_progress import Progress
from .mailbox_sources import Skipped
from .mailbox_targets import MaildirTarget, MboxTarget

Talk = Generator[Call, Any, Any]
#: Messages asked for at once.
PAGE = 500


class Target(Protocol):
    """Where mailboxes are written."""

    def begin(self, mailbox: dict[str, Any], before: dict[str, Any] | None) -> None:
        """The messages of a mailbox follow; `before` is the journal's last word about it."""

    def put(self, row: dict[str, Any], content: IContent) -> list[str]:
        """One message; what cannot be kept of it."""

    def commit(self) -> dict[str, Any]:
        """All that was put is on the disk; what the journal is to say of the mailbox."""

    def finish(self, subscribed: list[str]) -> None:
        """All mailboxes are there."""


def export(
    address: str, path: Path, form: str, mailbox: str, journal: str, progress: Progress
) -> Talk:
    """Exports all mailboxes, or one; gives counts, and what could not be kept.  Raises Refused, InUse, OSError."""
    single = form == "mbox" and bool(mailbox)
    where = Path(journal) if journal else Path(f"{path}.mailsrv-export") if single else path / "mailsrv-export"
    _check(path, where, single)
    listed = [one for one in (yield "mailbox.list", {"address": address}) if one["exists"] or one["subscribed"]]
    there = [one for one in listed if one["exists"] and mailbox in ("", one["name"])]
    if not there:
        raise Refused(f'there is no mailbox "{mailbox}"')
    header = {"export": form, "address": address.lower(), "mailbox": mailbox}
    with Journal(where, header) as kept:
        target: Target = MaildirTarget(path, bool(mailbox)) if form == "maildir" else MboxTarget(path, single)
        work = _Export(address, target, kept, progress)
        progress.total = sum(one["messages"] for one in there)
        for one in there:
            yield from work.mailbox(one)
        target.finish([one["name"] for one in listed if one["subscribed"] and not mailbox])
    return {
        "messages": work.messages, "octets": work.octets, "before": work.before, "mailboxes": dict(work.counts),
        "incomplete": work.incomplete,
    }  # fmt: skip


def _check(path: Path, journal: Path, single: bool) -> None:
    """Raises Refused when there is something that no journal knows; makes the folder."""
    if not journal.exists() and (path.exists() or path.is_symlink()):
        if single or not path.is_dir() or any(path.iterdir()):
            raise Refused(f"{path} is there already, and not of an earlier run: name a new place")
    if not single:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


class _Export:
    """The counts of one run."""

    def __init__(self, address: str, target: Target, journal: Journal, progress: Progress) -> None:
        self._address, self._target, self._journal, self._progress = address, target, journal, progress
        self.messages = self.octets = self.before = 0
        self.counts = Counter[str]()
        self.incomplete = list[Skipped]()
        self._known = {line["mailbox"]: line for line in journal.lines if "mailbox" in line}

    def mailbox(self, mailbox: dict[str, Any]) -> Talk:
        """One mailbox, page by page, by ascending UID."""
        name = mailbox["name"]
        before = self._known.get(name)
        if before is not None and before["uidvalidity"] != mailbox["uidvalidity"]:
            raise Refused(f"{name} is another mailbox now than when its export began: export to a new place")
        self._target.begin(mailbox, before)
        after, count = (before["uid"], before["count"]) if before is not None else (0, 0)
        self.before += count
        self.counts[name] += 0
        where = {"address": self._address, "mailbox": name, "limit": PAGE, "data": True}
        while True:
            page = yield "mailbox.messages", {**where, "after": after}
            if not page["messages"]:
                break
            for row in page["messages"]:
                yield from self._message(name, row)
                after, count = row["uid"], count + 1
            said = {"mailbox": name, "uidvalidity": page["uidvalidity"], "uid": after, "count": count}
            self._journal.write({**said, **self._target.commit()}, sync=True)

    def _message(self, name: str, row: dict[str, Any]) -> Talk:
        """One message."""
        spool = Spool(str(self._journal.path.parent), MAX_OCTETS)
        if "data" in row:
            spool.write(b64decode(row["data"]))
        else:
            where = {"address": self._address, "mailbox": name, "uid": row["uid"]}
            while spool.size < row["size"]:
                octets = b64decode((yield "mailbox.read", {**where, "offset": spool.size})["data"])
                if not octets:
                    break
                spool.write(octets)
        content = spool.finish()
        try:
            for why in self._target.put(row, content):
                self.incomplete.append(Skipped(f"{name} UID {row['uid']}", why))
        finally:
            content.close()
        self.messages += 1
        self.octets += content.size
        self.counts[name] += 1
        self._progress.add(content.size, self.before + self.messages)
