"""Mailboxes of an account, and messages in and out of them in pieces (floor 6): what import and export are made of.

The files are read and written by the command, with the rights of who runs it; the server sees messages alone.  Each
call is small: one batch is one durable commit, and nothing keeps the reactor for long.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from ...errors import BadMailboxName, QuotaExceeded, Refused, StoreFull
from ...interfaces import IContent, IMailbox
from ...message.content import MemoryContent
from ...message.mbox import usable
from ...net.spool import FileContent
from ...serve.pop3_uidl import DEFAULT, UidlFormat, possible, unique_ids
from ...store.keywords import names_of
from ...values import NewMessage
from . import mailbox_sharing as mailbox_sharing  # More of this noun.
from .common import account_of
from .table import operation

#: Octets of content in one call, and messages.
MAX_OCTETS, MAX_MESSAGES = 2**20, 1000
#: Octets of one message.
MAX_MESSAGE = 2**29
#: Minutes between UTC and any zone.
MAX_ZONE = 24 * 60
#: An upload that nobody went on with is forgotten after this.
UPLOAD_SECONDS = 86_400.0
_UPLOAD = re.compile("[0-9a-f]{32}")
_NUMBER = re.compile("-?[0-9]{1,12}")


async def _account(site: Any, address: str) -> Any:
    """The mailboxes of an account.  Raises NoSuchRecipient."""
    return await site.store.account((await account_of(site, address)).account_id)


@operation("mailbox.list")
async def list_mailboxes(site: Any, address: str) -> list[dict[str, Any]]:
    """The mailboxes of an account, and names that are subscribed alone."""
    account = await _account(site, address)
    found = []
    for info in await account.mailboxes():
        row: dict[str, Any] = {
            "name": info.name, "exists": info.exists, "subscribed": info.subscribed,
            "special_use": (info.special_use or b"").decode("latin-1"),
        }  # fmt: skip
        if info.exists:
            state = await account.status(info.name)
            row |= {
                "mailbox_id": state.mailbox_id, "uidvalidity": state.uidvalidity, "uidnext": state.uidnext,
                "messages": state.exists, "unseen": state.unseen, "octets": state.octets,
            }  # fmt: skip
        found.append(row)
    return found


@operation("mailbox.create")
async def create(site: Any, address: str, name: str) -> dict[str, Any]:
    """Make a mailbox, subscribed, with the levels above it."""
    account = await _account(site, address)
    info = await account.create(name)
    await account.subscribe(info.name, True)
    return {"name": info.name, "uidvalidity": info.uidvalidity, "uidnext": (await account.status(info.name)).uidnext}


@operation("mailbox.delete")
async def delete(site: Any, address: str, name: str) -> dict[str, Any]:
    """Delete a mailbox with its messages, for good; those below it stay."""
    account = await _account(site, address)
    await account.delete(name)
    await account.subscribe(name, False)
    return {"name": name}


@operation("mailbox.subscribe")
async def subscribe(site: Any, address: str, names: list[str], on: bool = True) -> dict[str, Any]:
    """Subscribe names, or end it; those that cannot be names are told."""
    account = await _account(site, address)
    refused = []
    for name in names[:MAX_MESSAGES]:
        try:
            await account.subscribe(name, on)
        except BadMailboxName:
            refused.append(name)
    return {"refused": refused}


# ---------------------------------------------------------------- in


def _path(site: Any, account_id: int, upload: str) -> Path:
    """Where an upload lies.  Raises Refused."""
    if not _UPLOAD.fullmatch(upload):
        raise Refused("an upload is named by 32 digits of hexadecimal")
    folder: Path = site.options.data / "uploads"
    return folder / f"{account_id}-{upload}"


def _octets(text: str) -> bytes:
    """Raises Refused."""
    try:
        octets = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise Refused("content comes in base64") from None
    if len(octets) > MAX_OCTETS:
        raise Refused(f"at most {MAX_OCTETS} octets at once")
    return octets


def _keep(path: Path, offset: int, octets: bytes, now: float) -> int:
    """Write a piece; its end.  Raises Refused, StoreFull."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if offset == 0:
        for old in path.parent.iterdir():
            with suppress(FileNotFoundError):
                if now - old.stat().st_mtime > UPLOAD_SECONDS:
                    old.unlink()
    elif not path.exists() or path.stat().st_size < offset:
        raise Refused("the pieces of an upload come in order")
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            file.write(octets)
    except OSError as error:
        raise StoreFull() from error
    return offset + len(octets)


@operation("mailbox.upload", secret=("data",), audit="once")
async def upload(site: Any, address: str, upload: str, offset: int, data: str) -> dict[str, Any]:
    """Put a piece of a large message (base64) at an offset; `mailbox.append` takes it by its name."""
    path = _path(site, (await account_of(site, address)).account_id, upload)
    octets = _octets(data)
    if not 0 <= offset <= MAX_MESSAGE - len(octets):
        raise Refused(f"a message has at most {MAX_MESSAGE} octets", "5.3.4")
    return {"size": await site.aside(_keep, path, offset, octets, site.clock())}


@frozen
class _Incoming:
    """What one call brings."""

    messages: list[NewMessage]
    uploads: list[Path]

    def close(self) -> None:
        """Let go of files."""
        for message in self.messages:
            message.content.close()


def _incoming(site: Any, account_id: int, messages: list[dict[str, str]]) -> _Incoming:
    """Read the arguments.  Raises Refused."""
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise Refused(f"1 to {MAX_MESSAGES} messages at once")
    new = _Incoming([], [])
    try:
        for one in messages:
            new.messages.append(_message(site, account_id, one, new.uploads))
    except Refused:
        new.close()
        raise
    return new


def _message(site: Any, account_id: int, one: dict[str, str], uploads: list[Path]) -> NewMessage:
    """One of them.  Raises Refused."""
    unique_id = one.get("unique_id", "").encode("latin-1", "replace")
    if unique_id and not possible(unique_id):
        raise Refused("a unique id has 1 to 70 characters from ! to ~ (RFC 1939 section 7)")
    flags = frozenset(flag.encode("utf-8", "replace") for flag in one.get("flags", "").split(" ") if flag)
    if not all(usable(flag.removeprefix(b"\\")) for flag in flags):
        raise Refused("a flag is an atom (RFC 9051 section 9)")
    date, zone = _number(one, "date"), _number(one, "zone")
    if abs(zone) > MAX_ZONE:
        raise Refused('"zone" is minutes east of UTC')
    content: IContent
    if "upload" in one:
        path = _path(site, account_id, one["upload"])
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise Refused("there is no such upload") from None
        content = FileContent(file, path.stat().st_size)
        uploads.append(path)
    else:
        content = MemoryContent(_octets(one.get("data", "")))
    return NewMessage(content, flags, date, zone, unique_id)


def _number(one: dict[str, str], key: str) -> int:
    """Raises Refused."""
    text = one.get(key, "0")
    if not _NUMBER.fullmatch(text):
        raise Refused(f'"{key}" is a whole number')
    return int(text)


@operation("mailbox.append", secret=("messages",), audit="once")
async def append(site: Any, address: str, mailbox: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    """Put messages into a mailbox, all or none: "data" in base64 or "upload"; "flags", "date", "zone", "unique_id"."""
    facts = await account_of(site, address)
    new = _incoming(site, facts.account_id, messages)
    try:
        octets = sum(one.content.size for one in new.messages)
        await _room(site, facts.account_id, octets, len(messages))
        box: IMailbox = await (await site.store.account(facts.account_id)).open(mailbox)
        try:
            appended = await box.append(new.messages)
        finally:
            box.release()
    finally:
        new.close()
    for path in new.uploads:
        path.unlink(missing_ok=True)
    return {"uidvalidity": appended.uidvalidity, "uids": list(appended.uids)}


async def _room(site: Any, account_id: int, octets: int, messages: int) -> None:
    """Raises QuotaExceeded, with words for an administrator."""
    try:
        await site.allowances.keep(account_id, octets, messages)
    except QuotaExceeded as error:
        text = f"over quota: no room for {messages} more messages of {octets} octets; `mailsrv user limits` changes it"
        raise QuotaExceeded(text) from error


# ---------------------------------------------------------------- out


@operation("mailbox.messages", audit="once")
async def list_messages(
    site: Any, address: str, mailbox: str, after: int = 0, limit: int = MAX_MESSAGES, data: bool = False,
    digests: bool = False,
) -> dict[str, Any]:
    """At most `limit` messages behind the UID `after`: flags, dates, unique ids; with `data` the content in base64,
    as far as it is small; with `digests` its SHA-256."""
    if not 1 <= limit <= MAX_MESSAGES:
        raise Refused(f"limit must be 1 to {MAX_MESSAGES}")
    account = await _account(site, address)
    box = await account.open(mailbox)
    try:
        rows = await _rows(site, box, after, limit)
        if data or digests:
            rows = await _with_content(box, rows, data)
        return {"uidvalidity": box.uidvalidity, "messages": rows}
    finally:
        box.release()


async def _rows(site: Any, box: Any, after: int, limit: int) -> list[dict[str, Any]]:
    """What is known without the content."""
    columns = box.columns()
    first = bisect_right(columns.uids, after)
    uids = columns.uids[first : first + limit]
    places = range(first, first + len(uids))
    flags = {columns.uids[place]: names_of(columns.flags[place], columns.keywords) for place in places}
    kept = (await box.peculiar()).unique_ids
    shown = unique_ids(_uidl(site).template(box.uidvalidity), uids, kept)
    facts = await box.facts(uids, frozenset({"size", "dates"}))
    return [
        {
            "uid": uid, "size": fact.size, "date": fact.internal_date, "zone": fact.zone,
            "flags": [flag.decode("utf-8", "replace") for flag in flags[uid]],
            "unique_id": one.decode("latin-1"),
        }
        for uid, fact, one in zip(uids, facts, shown, strict=True)
        if fact is not None
    ]  # fmt: skip


def _uidl(site: Any) -> UidlFormat:
    """How the first POP3 server shows messages that have no id of their own."""
    for server in site.options.servers.values():
        if hasattr(server, "uidl_format"):
            return server.uidl_format  # type: ignore[no-any-return]
    return UidlFormat(DEFAULT)


async def _with_content(box: Any, rows: list[dict[str, Any]], data: bool) -> list[dict[str, Any]]:
    """As many rows as fit into one answer, at least one; what is too large for one comes without "data"."""
    total, found = 0, list[dict[str, Any]]()
    for row in rows:
        if found and total + row["size"] > MAX_OCTETS:
            break
        content = (await box.contents([row["uid"]]))[0]
        if content is None:
            continue
        try:
            if not data:
                row["digest"] = await _digest(content)
            elif content.size <= MAX_OCTETS:
                row["data"] = b64encode(await content.read(0, content.size)).decode("ascii")
        finally:
            content.close()
        found.append(row)
        total += row["size"]
    return found


async def _digest(content: Any) -> str:
    """SHA-256 in hexadecimal."""
    made = hashlib.sha256()
    for at in range(0, content.size, MAX_OCTETS):
        made.update(await content.read(at, MAX_OCTETS))
    return made.hexdigest()


@operation("mailbox.read", audit="once")
async def read(site: Any, address: str, mailbox: str, uid: int, offset: int = 0) -> dict[str, Any]:
    """A piece of one message (base64) from an offset on; empty at its end."""
    if offset < 0:
        raise Refused("offset must be at least 0")
    account = await _account(site, address)
    box = await account.open(mailbox)
    try:
        content = (await box.contents([uid]))[0]
        if content is None:
            raise Refused(f"there is no message {uid}")
        try:
            return {"data": b64encode(await content.read(offset, MAX_OCTETS)).decode("ascii")}
        finally:
            content.close()
    finally:
        box.release()
