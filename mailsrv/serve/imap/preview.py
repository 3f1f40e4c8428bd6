"""PREVIEW (floor 3; RFC 8970): made once from the content, and kept by the store for all copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import MailError
from ...interfaces import IMailbox
from ...message import preview
from ...wire import imap_print as p
from .summaries import examine

if TYPE_CHECKING:
    from .session import ImapSession

KIND = "preview"


async def previews(session: ImapSession, mailbox: IMailbox, uids: Sequence[int], lazy: bool) -> list[bytes | None]:
    """What is shown of each message, in the order asked: UTF-8, b"" of one without text.

    None of one that is gone or cannot be read, and where `lazy` of one whose preview was not made yet (section 3.1).
    """
    records = list(await mailbox.records(uids, KIND))
    missing = [at for at, record in enumerate(records) if not preview.current(record)]
    for at in missing:
        records[at] = None
    if missing and not lazy:
        made = await _make(session, mailbox, [uids[at] for at in missing])
        for at in missing:
            records[at] = made.get(uids[at])
    return [None if record is None else preview.shown(record) for record in records]


async def _make(session: ImapSession, mailbox: IMailbox, uids: Sequence[int]) -> dict[int, bytes]:
    """Records by UID, kept."""
    made: dict[int, bytes] = {}
    contents = await mailbox.contents(uids)
    try:
        for uid, content in zip(uids, contents):
            if content is not None:
                octets = await content.read(0, preview.OCTETS)
                made[uid] = await examine(session.services, preview.make, octets, len(octets))
                await session.connection.breathe()
    finally:
        for content in contents:
            if content is not None:
                content.close()
    try:
        await mailbox.keep_summaries(list(made.items()), KIND)
    except MailError:
        # They can be made again; the answer does not depend on it.
        return made
    return made


def value(words: bytes | None) -> bytes:
    """As an nstring; a literal where it is not ASCII."""
    return p.nstring(words)
