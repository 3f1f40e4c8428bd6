"""The way a message took, step by step (floor 6)."""

from __future__ import annotations

import json
import re
from typing import Any

import apsw

from ...errors import Refused
from ...message.report_text import harmless
from ...parts import DURATION
from ...transfer.ids import ALPHABET
from ..config.operations import TraceTable
from ..trace import TraceLog
from .queue_rows import Wanted, facts_of, scan
from .table import operation

#: Steps of one message that are told, messages of one search, rows of the queue.
MAX_STEPS, MAX_FOUND, MAX_ROWS = 1000, 1000, 200
_ID = re.compile(f"[{ALPHABET}]{{13}}")
_FIRST_OF_SECOND = "SELECT at FROM event WHERE id>=? ORDER BY id LIMIT 1"
_SEARCH = """
SELECT at, message, facts FROM event WHERE id>=?1 AND at>=?2 AND kind='accepted'
    AND (?3='' OR lower(facts->>'sender') LIKE ?3 ESCAPE '\\')
    AND (?4='' OR EXISTS (SELECT 1 FROM json_each(facts, '$.recipients') WHERE lower(value) LIKE ?4 ESCAPE '\\')
        OR EXISTS (SELECT 1 FROM json_each(facts, '$.onward') WHERE lower(value->>1) LIKE ?4 ESCAPE '\\'))
    ORDER BY id DESC LIMIT ?5"""


def _log_of(site: Any) -> TraceLog:
    """Raises Refused where nothing is kept."""
    table: TraceTable = site.options.trace
    if table.keep is None:
        raise Refused('nothing is kept of the ways of messages: trace.keep is "off"')
    found: TraceLog | None = site.trace
    if found is None:
        raise Refused(f"nothing is kept of the ways of messages with the store {site.options.store.use!r}")
    return found


def message_id(text: str) -> str:
    """The id in whatever somebody has copied: a reply, a Received field, a line of the log.  Raises Refused."""
    found = _ID.search(text.lower()) if len(text) <= 1000 else None
    if found is None:
        shown = harmless(text, 100)
        raise Refused(f'"{shown}" holds no id of a message: 13 letters and digits, as in the reply 250 2.0.0 OK id=...')
    return found[0]


@operation("trace.show")
async def show(site: Any, id: str) -> dict[str, Any]:
    """All that is known of a message: its steps in order, and what of it is in the queue now."""
    message, kept = message_id(id), _log_of(site)
    steps = await kept.find(lambda connection: connection.execute(
        "SELECT at, kind, facts FROM event WHERE message=? ORDER BY id LIMIT ?", (message, MAX_STEPS)
    ).fetchall())
    rows: list[dict[str, Any]] = []
    if site.delivery is not None:
        async for row in scan(site.delivery.queue, Wanted()):
            if row.delivery == message and len(rows) < MAX_ROWS:
                rows.append(facts_of(row))
    if not steps and not rows:
        raise Refused(f"nothing is known of {message}: it is not in the queue, and no step of it is kept", "5.1.1")
    events = [{"at": at, "kind": kind, **json.loads(facts)} for at, kind, facts in steps]
    return {"message": message, "events": await _with_names(site, events), "queue": rows}


async def _with_names(site: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mailboxes by the addresses of their accounts."""
    for event in events:
        named = []
        for account_id, mailbox in event.get("mailboxes", ()):
            facts = await site.directory.account(account_id)
            account = str(facts.address) if facts else f"account {account_id}, which is gone"
            named.append({"account": account, "mailbox": mailbox})
        if named:
            event["mailboxes"] = named
    return events


@operation("trace.search")
async def search(
    site: Any, sender: str = "", recipient: str = "", since: str = "1d", limit: int = 100
) -> list[dict[str, Any]]:
    """Messages that were accepted in the last `since` (a duration), the newest first: of a sender, for a recipient.

    Both are addresses, or @DOMAIN; the sender "<>" is that of reports."""
    if not 1 <= limit <= MAX_FOUND:
        raise Refused(f"limit must be 1 to {MAX_FOUND}")
    try:
        kept, oldest = _log_of(site), site.clock() - DURATION.read(since)
    except ValueError as error:
        raise Refused(f"since: {error}") from None
    null = sender == "<>"
    values = (oldest, "" if null else _pattern(sender), _pattern(recipient), limit)

    def ask(connection: apsw.Connection) -> list[Any]:
        """In the thread."""
        sql = _SEARCH.replace("(?3=''", "(facts->>'sender'='' AND ?3=''") if null else _SEARCH
        return connection.execute(sql, (_first(connection, oldest), *values)).fetchall()

    return [_short(at, message, json.loads(facts)) for at, message, facts in await kept.find(ask)]


def _short(at: float, message: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A line of a list."""
    return {
        "at": at, "message": message,
        **{key: facts[key] for key in ("server", "peer", "sender", "recipients", "count", "octets")},
    }  # fmt: skip


def _pattern(text: str) -> str:
    """For LIKE: an address, or every one of a domain."""
    folded = text.strip().lower()[:400]
    for sign in "\\%_":
        folded = folded.replace(sign, "\\" + sign)
    return f"%{folded}" if folded.startswith("@") else folded


def _first(connection: apsw.Connection, oldest: float) -> int:
    """About the first row that is not older: rows are in the order of time, as far as the clock is."""
    low, high = 0, connection.execute("SELECT coalesce(max(id), 0) FROM event").get
    while low < high:
        middle = (low + high) // 2
        at = connection.execute(_FIRST_OF_SECOND, (middle,)).get
        if at is not None and at < oldest - 60:
            low = middle + 1
        else:
            high = middle
    return int(low)
