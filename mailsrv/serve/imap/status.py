"""STATUS (floor 3): RFC 3501 section 6.3.10, RFC 7889, RFC 8438, RFC 8474,
RFC 9051 section 6.3.11, RFC 9208."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from ...values import MailboxState
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import condstore, quota

if TYPE_CHECKING:
    from .session import ImapSession


def mailbox_id(number: int) -> str:
    """MAILBOXID of a mailbox (RFC 8474 section 4): the store's own id, which is never used again."""
    return f"(m{number})"


def _append_limit(session: ImapSession, state: MailboxState) -> object:
    """RFC 7889: the same for all mailboxes."""
    limit = session.limits.append_octets
    return "NIL" if limit is None else limit


#: STATUS item -> its value.
_ITEMS: dict[str, Callable[[ImapSession, MailboxState], object]] = {
    "MESSAGES": lambda _, state: state.exists,
    "RECENT": lambda _, state: state.recent,
    "UIDNEXT": lambda _, state: state.uidnext,
    "UIDVALIDITY": lambda _, state: state.uidvalidity,
    "UNSEEN": lambda _, state: state.unseen,
    "DELETED": lambda _, state: state.deleted,
    "SIZE": lambda _, state: state.octets,
    "HIGHESTMODSEQ": lambda _, state: state.highest_modseq,
    "MAILBOXID": lambda _, state: mailbox_id(state.mailbox_id),
    "APPENDLIMIT": _append_limit,
}


async def status(session: ImapSession, request: r.Status) -> bytes:
    """STATUS: counters from the mailbox's row, nothing is opened."""
    await tell(session, request.mailbox, request.items)
    return b"OK STATUS completed"


def enabling(session: ImapSession, items: Sequence[str]) -> None:
    """HIGHESTMODSEQ among the items switches CONDSTORE on (RFC 7162 section 3.1)."""
    if "HIGHESTMODSEQ" in items:
        condstore.enabling(session)


async def tell(session: ImapSession, name: str, items: Sequence[str]) -> None:
    """One ``* STATUS``.  Raises NoSuchMailbox."""
    assert session.account is not None
    state = await session.account.status(name)
    enabling(session, items)
    if "SIZE" in items and getattr(session.services.store, "measured", False):
        state = evolve(state, octets=await _shown_octets(session, name))
    values = [(item, _ITEMS[item](session, state)) for item in items if item in _ITEMS]
    if "DELETED-STORAGE" in items:
        values.append(("DELETED-STORAGE", await quota.deleted_octets(session, name, state)))
    session.put(p.status_line(name, values, session.engine.form))


async def _shown_octets(session: ImapSession, name: str) -> int:
    """Of the messages as they are shown: SIZE is no less than the sum of RFC822.SIZE (RFC 8438 section 2)."""
    assert session.account is not None
    mailbox = await session.account.open(name)
    try:
        changes = await mailbox.changes(0)
        return sum(size for size in await mailbox.sizes(changes.uids) if size > 0)
    finally:
        mailbox.release()
