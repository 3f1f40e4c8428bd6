"""SELECT, EXAMINE and the ways out (floor 3): RFC 3501 sections 6.3.1, 6.3.2, 6.4.2, RFC 3691."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...errors import MailError, NoSuchMailbox
from ...interfaces import IMailbox
from ...values import DELETED, SEEN
from ...wire import imap_requests as r
from . import condstore, listing, qresync, rights, tell
from .answer import Bad, No
from .modes import CONDSTORE, QRESYNC, REV2, UIDONLY
from .restricted import Restricted, rights_on
from .status import mailbox_id
from .view import View

if TYPE_CHECKING:
    from .binary import Mark
    from .session import ImapSession


class Selection:
    """The selected mailbox: its name when it was selected, the open handle, the view on it, how many keywords and
    which rights the client knows of."""

    __slots__ = ("announced", "examined", "mailbox", "mark", "name", "read_only", "rights", "view")

    def __init__(self, mailbox: IMailbox, examined: bool, name: str = "") -> None:
        self.name = name
        self.mailbox = mailbox
        self.examined = examined
        self.rights = rights_on(mailbox)
        # RFC 4314 section 5.2: who can change nothing has it read-only.
        self.read_only = examined or not rights.WRITING & set(self.rights)
        self.view = View(mailbox)
        self.announced = -1
        #: Where the last range of a decoded part ended.
        self.mark: Mark | None = None

    def writable(self) -> None:
        """Raises No in a mailbox that was selected by EXAMINE."""
        if self.read_only:
            raise No("READ-ONLY", "Mailbox is selected read-only")


#: Messages looked at between two looks at the clock.
BLOCK = 20_000
#: Parameters of SELECT and EXAMINE that are understood.
_PARAMETERS = frozenset({"CONDSTORE", "QRESYNC"})


async def select(session: ImapSession, request: r.Select) -> bytes:
    """SELECT and EXAMINE.  The mailbox selected before is left first, also when this one cannot be had."""
    copy = _parameters(session, request.parameters)
    if session.selection is not None:
        # RFC 7162 section 3.2.11: what follows is of the other mailbox.
        session.say(b"* OK [CLOSED] The mailbox selected before is left")
        session.deselect()
    assert session.account is not None
    mailbox = await session.account.open(request.mailbox)
    complete = False
    try:
        selection = Selection(mailbox, request.name == "EXAMINE", request.mailbox)
        # RFC 9051 has no \\Recent: it is left to those who ask for it.
        recent = None if REV2 in session.enabled else await mailbox.claim_recent(not selection.read_only)
        state = await mailbox.state()
        selection.view.uid_only = UIDONLY in session.enabled
        complete = True
    finally:
        if not complete:
            mailbox.release()
    session.chosen(selection)
    if recent is not None:
        selection.view.claimed(recent)
    # A message may have come between the counters and the view.
    uidnext = max(state.uidnext, selection.view.last_uid() + 1)
    await _describe(session, selection, state.unseen > 0, uidnext)
    if REV2 in session.enabled:
        await listing.tell_one(session, request.mailbox, request.spelled)
    if copy is not None:
        await qresync.resynchronise(session, selection, copy, uidnext)
    return b"OK [READ-%b] %b completed" % (_mode(selection), request.name.encode("ascii"))


def _mode(selection: Selection) -> bytes:
    return b"ONLY" if selection.read_only else b"WRITE"


async def renew(session: ImapSession, selection: Selection) -> None:
    """Before a command in a mailbox of somebody else: what is allowed now, and what of that is news (RFC 4314 leaves it
    to the server when changed rights take effect; here it is at once).  Raises NoSuchMailbox when it may not be read
    any more."""
    if not isinstance(selection.mailbox, Restricted):
        return
    try:
        await selection.mailbox.renew()
    except MailError:
        session.engine.refuse_append()
        raise
    if selection.mailbox.rights == selection.rights:
        return
    selection.rights, before = selection.mailbox.rights, selection.read_only
    selection.read_only = selection.examined or not rights.WRITING & set(selection.rights)
    if not selection.examined:
        selection.announced = -1
        tell.announce(session, selection)
    if selection.read_only != before:
        session.say(b"* OK [READ-%b] Rights on the mailbox were changed" % _mode(selection))


def _parameters(session: ImapSession, parameters: dict[str, Any]) -> r.Qresync | None:
    """What the parameters ask for: what to catch up with, or None.  Raises Bad."""
    if not parameters.keys() <= _PARAMETERS:
        raise Bad("Unknown parameter")
    copy: r.Qresync | None = parameters.get("QRESYNC")
    if copy is not None:
        if QRESYNC not in session.enabled:
            raise Bad("QRESYNC is not enabled")
        if copy.matches is not None and UIDONLY in session.enabled:
            raise Bad("Only UIDs can be used now", "UIDREQUIRED")
    if parameters:
        session.enabled |= {CONDSTORE}
    return copy


async def _describe(session: ImapSession, selection: Selection, unseen: bool, uidnext: int) -> None:
    """The untagged data of RFC 3501 section 6.3.1, or of RFC 9051 section 6.3.2 to those who enabled it, and
    HIGHESTMODSEQ (RFC 7162 section 3.1.2.1)."""
    view, rev2 = selection.view, REV2 in session.enabled
    tell.announce(session, selection)
    session.put(tell.exist(session, selection, view.length))
    if unseen and not rev2 and not view.uid_only:
        first = await _first_unseen(session, view)
        if first is not None:
            session.say(b"* OK [UNSEEN %d] First unseen message" % first)
    session.say(b"* OK [UIDVALIDITY %d] UIDs valid" % selection.mailbox.uidvalidity)
    session.say(b"* OK [UIDNEXT %d] Predicted next UID" % uidnext)
    session.say(b"* OK [MAILBOXID %b] Mailbox id" % mailbox_id(selection.mailbox.mailbox_id).encode("ascii"))
    session.say(condstore.highest(view))


async def _first_unseen(session: ImapSession, view: View) -> int | None:
    """The number of the first message that is not seen."""
    for at in range(0, view.length, BLOCK):
        block = range(at, min(at + BLOCK, view.length))
        for number, mask in enumerate(view.flags(block), at + 1):
            if not mask & SEEN:
                return number
        await session.connection.breathe()
    return None


async def close(session: ImapSession, request: r.Simple) -> bytes:
    """CLOSE: what is deleted goes without a word (section 6.4.2)."""
    selection = session.selection
    assert selection is not None
    with suppress(NoSuchMailbox):
        await renew(session, selection)
    # RFC 4314 section 4: without the right "e" it is no failure.
    if not selection.read_only and "e" in rights_on(selection.mailbox):
        marked = await marked_deleted(session, selection.view)
        if marked:
            await selection.mailbox.expunge(selection.view.uid_set(marked))
    # No HIGHESTMODSEQ: the client is not told what vanished, it shall ask for that when it comes back.
    session.deselect()
    return b"OK CLOSE completed"


async def unselect(session: ImapSession, request: r.Simple) -> bytes:
    """UNSELECT (RFC 3691): CLOSE without expunging."""
    session.deselect()
    return b"OK UNSELECT completed"


async def marked_deleted(session: ImapSession, view: View, within: list[range] | None = None) -> list[range]:
    """The indexes of what is marked \\Deleted, of all or of those `within`, as ranges of neighbours."""
    found: list[range] = []
    for part in [range(view.length)] if within is None else within:
        for at in range(part.start, part.stop, BLOCK):
            block = range(at, min(at + BLOCK, part.stop))
            for run in _deleted(block, view.flags(block)):
                if found and found[-1].stop == run.start:
                    found[-1] = range(found[-1].start, run.stop)
                else:
                    found.append(run)
            await session.connection.breathe()
    return found


def _deleted(block: range, masks: list[int]) -> list[range]:
    """The indexes of a block that are deleted: there are few different masks, and most blocks are alike."""
    marks = {bool(mask & DELETED) for mask in set(masks)}
    if marks == {True}:
        return [block]
    return [range(at, at + 1) for at, mask in enumerate(masks, block.start) if mask & DELETED] if True in marks else []
