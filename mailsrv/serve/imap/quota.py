"""QUOTA (floor 3; RFC 9208): one quota root without a name, for all mailboxes of the account.

Limits are set by administrators, so SETQUOTA is always refused and QUOTASET not advertised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import NoSuchMailbox, QuotaExceeded
from ...store.names import missing_parents
from ...values import DELETED, MailboxState
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import rights
from .answer import No
from .restricted import rights_on

if TYPE_CHECKING:
    from ..allowances import Allowances
    from .session import ImapSession

#: The root of the account's own mailboxes.
OWN = b""
#: RFC 9208 section 5.1: STORAGE is told in units of so many octets.
_UNIT = 1024


def counted(session: ImapSession) -> bool:
    """Whether there are quotas: the store counts, and somebody asks it."""
    return _allowances(session) is not None


def _allowances(session: ImapSession) -> Allowances | None:
    allowances = session.services.allowances
    return allowances if allowances is not None and allowances.counts else None


async def get(session: ImapSession, request: r.Quota) -> bytes:
    """GETQUOTA."""
    if request.root != OWN:
        raise No("NONEXISTENT", "No such quota root")
    await _tell(session)
    return b"OK GETQUOTA completed"


async def roots(session: ImapSession, request: r.Named) -> bytes:
    """GETQUOTAROOT; the mailbox need not be there (section 4.1.2)."""
    assert session.account is not None
    if session.account.foreign(request.mailbox):
        # What others have used is theirs to know.
        session.put(p.quota_root(request.mailbox, [], session.engine.form))
    else:
        session.put(p.quota_root(request.mailbox, [OWN], session.engine.form))
        await _tell(session)
    return b"OK GETQUOTAROOT completed"


async def change(session: ImapSession, request: r.Quota) -> bytes:
    """SETQUOTA."""
    raise No("NOPERM", "Quotas are set by the administrators")


async def _tell(session: ImapSession) -> None:
    """``* QUOTA`` with the resources that have a limit, and no others (section 4.2.1)."""
    allowances, account = _allowances(session), session.account
    assert account is not None
    told: list[tuple[str, int, int]] = []
    if allowances is not None:
        standing = await allowances.standing(account.account_id)
        if standing.octets_limit is not None:
            told.append(("STORAGE", -(-standing.octets // _UNIT), standing.octets_limit // _UNIT))
        if standing.messages_limit is not None:
            told.append(("MESSAGE", standing.messages, standing.messages_limit))
        if allowances.mailboxes is not None:
            told.append(("MAILBOX", len((await account.names_beside())[1]), allowances.mailboxes))
    session.put(p.quota(OWN, told))


async def room_for_mailbox(session: ImapSession, name: str, more: int = 1) -> None:
    """`more` mailboxes are to be made, and the levels above `name` that are not there.  Raises QuotaExceeded; whether
    the name can be at all is for those to say who make it."""
    allowances = session.services.allowances
    assert session.account is not None
    if allowances is None or allowances.mailboxes is None:
        return
    try:
        name, names = await session.account.names_beside(name)
    except NoSuchMailbox:
        return
    if len(names) + len(missing_parents(names, name)) + more > allowances.mailboxes:
        raise QuotaExceeded("There are too many mailboxes")


async def room_for_copies(session: ImapSession, name: str, uids: Sequence[int], move: bool) -> None:
    """Messages of the selected mailbox are to go into the mailbox `name`.  Raises QuotaExceeded, NoSuchMailbox."""
    allowances, selection, account = _allowances(session), session.selection, session.account
    assert selection is not None and account is not None
    # Whose mailbox is selected is not known here; the owner of the target may have the messages already.
    if allowances is None or (move and not account.foreign(name) and rights_on(selection.mailbox) == rights.ALL):
        return
    owner = await account.owner(name)
    if await allowances.limited(owner):
        found = await selection.mailbox.sizes(uids)
        await allowances.keep(owner, sum(size for size in found if size > 0), len(uids))


async def deleted_octets(session: ImapSession, name: str, state: MailboxState) -> int:
    """DELETED-STORAGE: octets of the messages that are marked \\Deleted (RFC 9208).  Raises NoSuchMailbox."""
    if not state.deleted:
        return 0
    assert session.account is not None
    mailbox = await session.account.open(name)
    try:
        columns = mailbox.columns()
        marked = [uid for uid, mask in zip(columns.uids, columns.flags) if mask & DELETED]
        return sum(size for size in await mailbox.sizes(marked) if size > 0)
    finally:
        mailbox.release()
