"""Commands that make, remove and name mailboxes (floor 3): RFC 3501 sections 6.3.3 to 6.3.7, RFC 6154, RFC 8474."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...store.names import INBOX
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import listing, quota, status
from .answer import No
from .modes import REV2
from .patterns import SEPARATOR

if TYPE_CHECKING:
    from .session import ImapSession
    from .spaces import Mailboxes

#: RFC 6154 attributes that a mailbox may be made with, in their usual spelling; no views of other mailboxes.
_USES = {use.lower(): use for use in (b"\\Archive", b"\\Drafts", b"\\Junk", b"\\Sent", b"\\Trash")}


def _account(session: ImapSession) -> Mailboxes:
    assert session.account is not None
    return session.account


async def create(session: ImapSession, request: r.Create) -> bytes:
    """CREATE; a separator at the end only says that there will be mailboxes below."""
    use = None
    if request.use:
        use = _USES.get(request.use[0].lower())
        if use is None or len(request.use) > 1:
            raise No("USEATTR", "No mailbox can be made for that use")
    name = request.mailbox
    if name.endswith(SEPARATOR):
        name = name[:-1]
    await quota.room_for_mailbox(session, name)
    info = await _account(session).create(name, use)
    await listing.tell_spelled(session, request, name)
    return b"OK [MAILBOXID %b] CREATE completed" % status.mailbox_id(info.mailbox_id).encode("ascii")


async def delete(session: ImapSession, request: r.Named) -> bytes:
    """DELETE; the subscription goes too, or clients show a ghost."""
    account = _account(session)
    mailbox_id = await account.identify(request.mailbox, "x")
    await account.delete(request.mailbox)
    if session.selection is not None and session.selection.mailbox.mailbox_id == mailbox_id:
        session.deselect()
    await account.subscribe(request.mailbox, False)
    if request.spelled and REV2 in session.enabled:
        gone = p.list_line(request.mailbox, [b"\\NonExistent"], form=session.engine.form, former=request.spelled)
        session.put(gone)
    return b"OK DELETE completed"


async def rename(session: ImapSession, request: r.Rename) -> bytes:
    """RENAME."""
    await quota.room_for_mailbox(session, request.new_name, more=request.mailbox == INBOX)
    await _account(session).rename(request.mailbox, request.new_name)
    await listing.tell_spelled(session, request, request.new_name)
    return b"OK RENAME completed"


async def subscribe(session: ImapSession, request: r.Named) -> bytes:
    """SUBSCRIBE and UNSUBSCRIBE."""
    await _account(session).subscribe(request.mailbox, request.name == "SUBSCRIBE")
    return b"OK %b completed" % request.name.encode("ascii")
