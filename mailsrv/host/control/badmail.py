"""Bad mail: what could be neither delivered nor returned (floor 6; S-129..S-132)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from ...errors import MailError, NoSuchMailbox, Refused
from ...message.report_text import harmless
from ...parts import did_you_mean
from ...transfer.badmail import BadEntry, BadMail
from ...values import Recipient
from .common import address_of, shown
from .queue import delivery_of
from .queue_rows import MAX_LISTED, MAX_SHOWN, header_text
from .table import operation

#: Entries of one answer, and keys that are named at once.
MAX_ENTRIES, MAX_KEYS = 1000, 1000


def _of(site: Any, server: str) -> tuple[str, BadMail]:
    """A server with its bad mail; the first SMTP server when none is named.  Raises Refused."""
    every: Mapping[str, BadMail] = delivery_of(site).badmail
    name = server or next(iter(every), "")
    if name not in every:
        known = did_you_mean(name, every) or f"; servers with bad mail: {', '.join(every) or 'none'}"
        raise Refused(f'no SMTP server "{name[:100]}"{known}' if name else "this site has no SMTP server")
    return name, every[name]


def _facts(entry: BadEntry, most: int = MAX_LISTED) -> dict[str, Any]:
    """An entry for JSON, with so many of its recipients."""
    return {
        "key": entry.key,
        "message": entry.delivery,
        "when": entry.when,
        "received_at": entry.received_at,
        "server": entry.server,
        "origin": entry.origin,
        "sender": "<>" if entry.reverse_path is None else shown(entry.reverse_path),
        "size": entry.size,
        "recipient_count": len(entry.outcomes),
        "recipients": [
            {
                "address": shown(one.recipient.address), "status": one.status, "reply": harmless(one.reply, 500),
                "host": harmless(one.host, 255),
            }
            for one in entry.outcomes[:most]
        ],
    }  # fmt: skip


@operation("badmail.list")
async def list_entries(site: Any, server: str = "", after: str = "", limit: int = 100) -> dict[str, Any]:
    """Bad mail of a server, the oldest first: at most `limit` after the key `after`; "next" is for the next page."""
    if not 1 <= limit <= MAX_ENTRIES:
        raise Refused(f"limit must be 1 to {MAX_ENTRIES}")
    name, bad = _of(site, server)
    found = await site.aside(bad.entries, after, limit + 1)
    more = len(found) > limit
    return {
        "server": name,
        "entries": [_facts(entry) for entry in found[:limit]],
        "next": found[limit - 1].key if more else "",
    }


@operation("badmail.show")
async def show(site: Any, key: str, server: str = "") -> dict[str, Any]:
    """All about one: who it was for, what was said, and the message's header."""
    _, bad = _of(site, server)
    entry, content = await site.aside(bad.resubmit, key)
    try:
        header = await header_text(content)
    finally:
        content.close()
    return {**_facts(entry, MAX_SHOWN), "parameters": dict(entry.parameters), "header": header}


@operation("badmail.resubmit")
async def resubmit(site: Any, keys: list[str], to: list[str], server: str = "") -> dict[str, Any]:
    """Send them as new messages: to whom they were for, or `to` these addresses; each leaves bad mail when it is
    accepted."""
    recipients = tuple(Recipient(address_of(text)) for text in to)
    name, bad = _of(site, server)
    sent, failed = list[dict[str, Any]](), list[dict[str, Any]]()
    for key in _checked(keys):
        try:
            sent.append(await _resubmit(site, name, bad, key, recipients))
        except MailError as error:
            failed.append({"key": key, "error": str(error)})
    return {"server": name, "sent": sent, "failed": failed}


async def _resubmit(
    site: Any, server: str, bad: BadMail, key: str, recipients: tuple[Recipient, ...]
) -> dict[str, Any]:
    """One.  Between acceptance and deletion a crash leaves both: a second copy is better than none."""
    entry, content = await site.aside(bad.resubmit, key)
    try:
        envelope = entry.envelope
        if recipients:
            envelope = evolve(envelope, recipients=recipients)
        message = await delivery_of(site).submit(envelope, content, server, origin=entry.origin)
    finally:
        content.close()
    await site.aside(bad.delete, key)
    return {"key": key, "message": message}


@operation("badmail.delete")
async def delete(site: Any, keys: list[str], server: str = "", everything: bool = False) -> dict[str, Any]:
    """Forget them for good."""
    name, bad = _of(site, server)
    if everything == bool(keys):
        raise Refused("say which: keys, or everything")
    deleted = 0
    while everything:
        found = await site.aside(bad.entries, "", MAX_ENTRIES)
        gone = [await site.aside(bad.delete, entry.key) for entry in found]
        deleted += sum(gone)
        if not any(gone):
            break
    for key in _checked(keys):
        if not await site.aside(bad.delete, key):
            raise NoSuchMailbox(f'there is no bad mail "{key[:100]}" of {name}; `mailsrv badmail list` tells what is')
        deleted += 1
    return {"server": name, "deleted": deleted}


def _checked(keys: list[str]) -> list[str]:
    """Raises Refused."""
    if len(keys) > MAX_KEYS:
        raise Refused(f"at most {MAX_KEYS} keys at once")
    return list(dict.fromkeys(keys))
