"""Commands that change messages (floor 3): STORE, COPY, MOVE, EXPUNGE (RFC 3501 section 6.4, RFC 4315, RFC 6851).

RFC 2180 tells what they mean while other sessions expunge: here a UID that is gone is left out in silence, and a
sequence number whose message is gone makes the command end with NO [EXPUNGEISSUED].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING

from attrs import define, field

from ...errors import AccessDenied, NoSuchMailbox
from ...numbers import UidSet
from ...store.keywords import changed, known
from ...values import Copied, FlagChange, Updated
from ...wire import imap_requests as r
from . import condstore, quota, tell
from .answer import Bad, No, of_target
from .modes import CONDSTORE
from .restricted import rights_on
from .selected import Selection, marked_deleted
from .view import Changed, View, gathered, lost

if TYPE_CHECKING:
    from .session import ImapSession

#: Messages changed with one call to the store.
BLOCK = 5000
_ISSUED = "Some of the messages were expunged"


async def store(session: ImapSession, request: r.Store) -> bytes:
    """STORE and UID STORE."""
    selection = session.selection
    assert selection is not None
    since: int | None = request.modifiers.get("UNCHANGEDSINCE")
    if len(request.modifiers) > (since is not None):
        raise Bad("Unknown STORE modifier")
    selection.writable()
    if since is not None:
        condstore.enabling(session)
    by_uid = request.name == "UID STORE"
    # What the client is told below is told against what it knows: first let that be the newest.
    await tell.catch_up(session, expunge=by_uid)
    storing = Storing(session, selection, FlagChange(request.action, frozenset(request.flags)), request.silent, since)
    for block in gathered(selection.view.positions(request.numbers, by_uid), BLOCK):
        await storing.block(block)
        await session.connection.breathe()
        # Numbers stay what they are until the last block is done.
        await tell.catch_up(session, expunge=False)
    gone = bool(storing.lost) and not by_uid
    if storing.conflicts:
        code = "MODIFIED " + str(_named(selection.view, storing.conflicts, by_uid))
        if gone:
            raise No(code, _ISSUED)
        return b"OK [%b] Some of the messages were changed meanwhile" % code.encode("ascii")
    if gone:
        raise No("EXPUNGEISSUED", _ISSUED)
    return b"OK STORE completed"


def _named(view: View, uids: list[int], by_uid: bool) -> UidSet:
    """The messages as the client named them; its numbers are still what they were."""
    if by_uid:
        return UidSet.of(uids)
    return UidSet((part.start + 1, part.stop) for part in view.ranges(UidSet.of(uids)))


@define
class Storing:
    """One STORE.  `lost`: how many of the messages are gone; `conflicts`: the UIDs of those that were changed after
    the MODSEQ `since` (RFC 7162 section 3.1.3)."""

    session: ImapSession
    selection: Selection
    change: FlagChange
    silent: bool
    since: int | None
    lost: int = 0
    conflicts: list[int] = field(factory=list)

    async def block(self, ranges: list[range]) -> None:
        """Change a block of messages and tell of it."""
        view = self.selection.view
        uids = [uid for part in ranges for uid in view.uids(part)]
        # What the client knows is not what is there, when something has changed since it was told the news.
        in_step = self.silent and not view.behind(expunge=False)
        before = [mask for part in ranges for mask in view.flags(part)] if in_step else []
        updated = await self.selection.mailbox.update(view.uid_set(ranges), self.change, self.since)
        self.lost += len(uids) - len(updated.uids)
        self.conflicts += updated.conflicts
        wanted = self._wanted(before)
        if CONDSTORE in self.session.enabled:
            await self._tell_modseqs(ranges, updated, dict(zip(uids, wanted)))
            return
        if updated.uids == uids:
            numbers = [at for part in ranges for at in range(part.start + 1, part.stop + 1)]
            said: Iterable[Changed] = zip(numbers, uids, updated.flags, repeat(0))
        else:
            said = _numbered(view, zip(updated.uids, updated.flags))
        if self.silent and updated.uids == uids and updated.flags == wanted:
            said = ()
        elif self.silent:
            # What is not as the client expects: another session was at it too.
            expected = dict(zip(uids, wanted))
            said = [row for row in said if expected.get(row[1]) != row[2]]
        await tell.tell_flags(self.session, self.selection, said)
        view.told(updated, updated.uids, updated.flags)

    async def _tell_modseqs(self, ranges: list[range], updated: Updated, wanted: dict[int, int]) -> None:
        """FETCH with MODSEQ of all that did not fail, to the silent without flags where they are as `wanted`.

        Flags and MODSEQ belong together, so both are taken from the view, which may know of later changes.
        """
        view, conflicts = self.selection.view, updated.conflicts
        there = set(updated.uids)
        rows = [
            row
            for part in ranges
            for row in zip(
                range(part.start + 1, part.stop + 1), view.uids(part), view.flags(part), view.modseqs(part)
            )
            if row[1] in there and row[1] not in conflicts
        ]
        said: Iterable[tell.Told] = rows
        if self.silent:
            said = [(at, uid, None if wanted.get(uid) == mask else mask, modseq) for at, uid, mask, modseq in rows]
        await tell.tell_flags(self.session, self.selection, said)
        if rows:
            _, uids, masks, modseqs = zip(*rows)
            view.told(updated, uids, masks, modseqs)

    def _wanted(self, before: list[int]) -> list[int]:
        """The flags that the client expects now, who has known them `before`."""
        mask, action = known(self.change.flags, self.selection.view.keywords()), self.change.action
        after = {old: changed(action, old, mask) for old in set(before)}
        return [after[old] for old in before]


def _numbered(view: View, rows: Iterable[tuple[int, int]]) -> Iterator[Changed]:
    for uid, mask in rows:
        at = view.index(uid)
        if at is not None:
            yield at + 1, uid, mask, 0


async def expunge(session: ImapSession, request: r.Simple | r.UidExpunge) -> bytes:
    """EXPUNGE, and UID EXPUNGE of some UIDs only (RFC 4315); the responses are the news at the end."""
    selection = session.selection
    assert selection is not None
    selection.writable()
    if "e" not in rights_on(selection.mailbox):
        # RFC 4314 section 4: also when there is nothing to expunge.
        raise AccessDenied()
    view = selection.view
    within = view.positions(request.numbers, by_uid=True) if isinstance(request, r.UidExpunge) else None
    marked = await marked_deleted(session, view, within)
    if marked:
        await selection.mailbox.expunge(view.uid_set(marked))
    return await vanished(session, b"OK EXPUNGE completed")


async def vanished(session: ImapSession, words: bytes) -> bytes:
    """Tell what is gone, then the words with the MODSEQ up to which the client knows all (RFC 7162 section 3.2.7)."""
    await tell.catch_up(session, expunge=True)
    return condstore.with_highest(session, words)


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
    return await vanished(session, b"OK MOVE completed")


async def _copy(session: ImapSession, selection: Selection, request: r.Copy, move: bool) -> Copied | None:
    """Copy all or nothing; None when the set names no message."""
    by_uid = request.name.startswith("UID")
    view = selection.view
    ranges = view.positions(request.numbers, by_uid)
    assert session.account is not None
    try:
        target = await session.account.identify(request.mailbox, "i")
        if not ranges:
            return None
        if not by_uid and lost(view, ranges):
            raise No("EXPUNGEISSUED", _ISSUED)
        uids = [uid for part in ranges for uid in view.uids(part)]
        await quota.room_for_copies(session, request.mailbox, uids, move)
        copied = await selection.mailbox.copy(view.uid_set(ranges), target, move)
        await session.account.settle_copy(request.mailbox, copied)
        return copied
    except NoSuchMailbox as error:
        raise of_target(error) from error


def _copyuid(copied: Copied) -> bytes:
    """RFC 4315 section 3; the new UIDs ascend with the old ones, so both sets are in corresponding order."""
    sources = UidSet.of(source for source, _ in copied.pairs)
    targets = UidSet.of(target for _, target in copied.pairs)
    return b"COPYUID %d %b %b" % (copied.uidvalidity, sources.encode(), targets.encode())
