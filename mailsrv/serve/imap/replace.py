"""REPLACE (floor 3; RFC 8508): a new message instead of an old one, in one commit, so that never both or neither is
there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import AccessDenied, MailError, NoSuchMailbox
from ...values import Appended, NewMessage
from ...wire import imap_requests as r
from .answer import Bad, No, of_target
from .append import Intake, code, open_intake
from .messages import vanished
from .restricted import rights_on
from .view import lost

if TYPE_CHECKING:
    from .session import ImapSession

_GONE = "There is no such message any more"


async def replace(session: ImapSession, request: r.Replace) -> bytes:
    """REPLACE and UID REPLACE.  The old message stays when anything goes wrong (section 3.2)."""
    try:
        uid = _target(session, request)
    except (Bad, No, MailError):
        session.engine.refuse_append()
        raise
    intake = await open_intake(session, request, Replacement)
    assert isinstance(intake, Replacement) and session.selection is not None
    intake.instead = session.selection.mailbox.mailbox_id, uid
    try:
        appended = await intake.run()
    finally:
        intake.close()
    if appended is None:
        return b""
    session.say(b"* OK [%b] Replacement is there" % code(appended))
    return await vanished(session, b"OK REPLACE completed")


def _target(session: ImapSession, request: r.Replace) -> int:
    """The UID of the message to be replaced.  Raises Bad, No, AccessDenied."""
    selection = session.selection
    assert selection is not None
    selection.writable()
    view, by_uid = selection.view, request.name == "UID REPLACE"
    ranges = view.positions(request.numbers, by_uid)
    if not ranges:
        raise No("NONEXISTENT", _GONE)
    if lost(view, ranges):
        raise No("EXPUNGEISSUED", _GONE)
    if not {"t", "e"} <= set(rights_on(selection.mailbox)):
        raise AccessDenied()
    return view.uids(ranges[0])[0]


class Replacement(Intake):
    """The one message of a REPLACE; `instead`: mailbox id and UID of the one that goes."""

    __slots__ = ("instead",)

    instead: tuple[int, int]

    async def store(self, messages: Sequence[NewMessage]) -> Appended:
        """Both at once.  Raises No, MailError."""
        try:
            return await self.mailbox.append(messages, self.instead)
        except NoSuchMailbox as error:
            raise of_target(error) from error
