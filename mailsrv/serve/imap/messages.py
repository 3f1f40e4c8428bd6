"""Commands that change messages (floor 3): STORE, COPY, MOVE, EXPUNGE (RFC 3501 section 6.4, RFC 4315, RFC 6851).

RFC 2180 tells what they mean while other sessions expunge: here a UID that is gone is left out in silence, and a
sequence number whose message is gone makes the command end with NO [EXPUNGEISSUED].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ...errors import NoSuchMailbox
from ...numbers import UidSet
from ...store.keywords import changed, known
from ...values import Copied, FlagChange, Updated
from ...wire import imap_requests as r
from . import tell
from .answer import Bad, No, of_target
from .selected import Selection, marked_deleted
from .view import View, gathered

if TYPE_CHECKING:
    from .session import ImapSession

#: Messages changed with one call to the store.
BLOCK = 5000
_ISSUED = "Some of the messages were expunged"


async def store(session: ImapSession, request: r.Store) -> bytes:
    """STORE and UID STORE."""
    selection = session.selection
    assert selection is not None
    if request.modifiers:
        raise Bad("Unknown STORE modifier")
    selection.writable()
    by_uid = request.name == "UID STORE"
    # What the client is told below is told against what it knows: first let that be the newest.
    await tell.catch_up(session, expunge=by_uid)
    change = FlagChange(request.action, frozenset(request.flags))
    lost = 0
    for block in gathered(selection.view.positions(request.numbers, by_uid), BLOCK):
        lost += await _store(session, selection, block, change, request.silent)
        await session.connection.breathe()
        # Numbers stay what they are until the last block is done.
        await tell.catch_up(session, expunge=False)
    if lost and not by_uid:
        raise No("EXPUNGEISSUED", _ISSUED)
    return b"OK STORE completed"


async def _store(
    session: ImapSession, selection: Selection, ranges: list[range], change: FlagChange, silent: bool
) -> int:
    """Change a block of messages and tell of it; how many of them are gone."""
    view = selection.view
    uids = [uid for part in ranges for uid in view.uids(part)]
    before = [mask for part in ranges for mask in view.flags(part)] if silent else []
    updated = await selection.mailbox.update(view.uid_set(ranges), change)
    rows: Iterable[tuple[int, int]] = zip(updated.uids, updated.flags)
    if silent:
        rows = _surprises(view, change, dict(zip(uids, before)), updated)
    await tell.tell_flags(session, selection, _numbered(view, rows))
    view.told(updated, updated.uids, updated.flags)
    return len(uids) - len(updated.uids)


def _surprises(
    view: View, change: FlagChange, before: dict[int, int], updated: Updated
) -> Iterable[tuple[int, int]]:
    """Rows that are not what a client expects that asked for silence: another session was at them too."""
    mask = known(change.flags, view.keywords())
    action = change.action
    for uid, now in zip(updated.uids, updated.flags):
        if uid not in before or changed(action, before[uid], mask) != now:
            yield uid, now


def _numbered(view: View, rows: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    for uid, mask in rows:
        at = view.index(uid)
        if at is not None:
            yield at + 1, uid, mask


async def expunge(session: ImapSession, request: r.Simple | r.UidExpunge) -> bytes:
    """EXPUNGE, and UID EXPUNGE of some UIDs only (RFC 4315); the responses are the news at the end."""
    selection = session.selection
    assert selection is not None
    selection.writable()
    view = selection.view
    within = view.positions(request.numbers, by_uid=True) if isinstance(request, r.UidExpunge) else None
    marked = marked_deleted(view, within)
    if marked:
        await selection.mailbox.expunge(view.uid_set(marked))
    return b"OK EXPUNGE completed"


async def copy(session: ImapSession, request: r.Copy) -> bytes:
    """COPY and UID COPY."""
    assert session.selection is not None
    copied = await _copy(session, session.selection, request, move=False)
    if copied is None or not copied.pairs:
        return b"OK COPY completed, there was nothing to copy"
    return b"OK [%b] COPY completed" % _copyuid(copied)


async def move(session: ImapSession, request: r.Copy) -> bytes:
    """MOVE and UID MOVE (RFC 6851): COPYUID untagged, then EXPUNGE, then the tagged OK (section 4.3)."""
    assert session.selection is not None
    session.selection.writable()
    copied = await _copy(session, session.selection, request, move=True)
    if copied is None or not copied.pairs:
        return b"OK MOVE completed, there was nothing to move"
    session.say(b"* OK [%b] Moved" % _copyuid(copied))
    return b"OK MOVE completed"


async def _copy(session: ImapSession, selection: Selection, request: r.Copy, move: bool) -> Copied | None:
    """Copy all or nothing; None when the set names no message."""
    by_uid = request.name.startswith("UID")
    view = selection.view
    ranges = view.positions(request.numbers, by_uid)
    assert session.account is not None
    try:
        target = await session.account.status(request.mailbox)
        if not ranges:
            return None
        if not by_uid and view.lost(ranges):
            raise No("EXPUNGEISSUED", _ISSUED)
        return await selection.mailbox.copy(view.uid_set(ranges), target.mailbox_id, move)
    except NoSuchMailbox as error:
        raise of_target(error) from error


def _copyuid(copied: Copied) -> bytes:
    """RFC 4315 section 3; the new UIDs ascend with the old ones, so both sets are in corresponding order."""
    sources = UidSet.of(source for source, _ in copied.pairs)
    targets = UidSet.of(target for _, target in copied.pairs)
    return b"COPYUID %d %b %b" % (copied.uidvalidity, sources.encode(), targets.encode())
