"""What a session says of its mailbox unasked (floor 3): EXPUNGE, EXISTS, RECENT, FLAGS, FETCH (RFC 3501 section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING

from ...errors import MailError, NoSuchMailbox
from ...numbers import UidSet
from ...store.keywords import MAX_KEYWORDS
from ...wire import imap_print as p
from . import rights
from .modes import CONDSTORE, QRESYNC, REV2, UIDONLY
from .restricted import rights_on
from .view import Changed, News, count_recent

if TYPE_CHECKING:
    from .selected import Selection
    from .session import ImapSession

#: Rows told in one piece.
BLOCK = 1000
#: With one of these on, VANISHED is said instead of EXPUNGE.
_BY_UID = frozenset({QRESYNC, UIDONLY})


def announce(session: ImapSession, selection: Selection) -> None:
    """FLAGS and PERMANENTFLAGS, when the mailbox has keywords that the client does not know (section 7.2.6)."""
    keywords = selection.view.keywords()
    if selection.announced == len(keywords):
        return
    selection.announced = len(keywords)
    session.put(p.flags_line(keywords))
    if selection.read_only:
        session.say(b"* OK [PERMANENTFLAGS ()] No changes here")
    else:
        # The star promises that there can be new ones.
        room = len(keywords) < MAX_KEYWORDS
        allowed = rights_on(selection.mailbox)
        flags = rights.system_flags(allowed)
        if "w" in allowed:
            flags += [*keywords, *([b"\\*"] if room else [])]
        kept = b" ".join(flags)
        which = b"new" if room else b"these"
        session.say(b"* OK [PERMANENTFLAGS (%b)] Flags and %b keywords are kept" % (kept, which))


async def catch_up(session: ImapSession, expunge: bool, ask: bool = False) -> None:
    """Bring the client up to date; `expunge`: also about messages that vanished.

    `ask`: ask the store even when nothing is known to have changed.  Sets `session.deleted`; what the store
    cannot tell now is told later.
    """
    selection = session.selection
    assert selection is not None
    if not ask and not selection.view.behind(expunge):
        return
    last = selection.view.last_uid()
    try:
        news = await selection.view.sync(expunge)
    except NoSuchMailbox:
        session.deleted = True
        return
    except MailError:
        return
    if session.selection is not selection:
        # The connection was lost meanwhile.
        return
    if news.exists is not None and REV2 not in session.enabled:
        await claim_recent(selection)
    await tell(session, selection, news)
    if news.exists is not None and session.notifying is not None:
        await session.notifying.fetch_new(selection, last)


async def claim_recent(selection: Selection) -> None:
    """New messages came: those that nobody was told of are recent here.  A failure costs \\Recent only."""
    try:
        selection.view.claimed(await selection.mailbox.claim_recent(not selection.read_only))
    except MailError:
        return


async def tell(session: ImapSession, selection: Selection, news: News) -> None:
    """Say it, in pieces."""
    if news.expunged and session.enabled & _BY_UID:
        session.put(p.vanished(UidSet.of(news.vanished)))
        await session.pace()
    else:
        for at in range(0, len(news.expunged), BLOCK):
            session.put(p.expunges(news.expunged[at : at + BLOCK]))
            await session.pace()
    if news.exists is not None:
        session.put(exist(session, selection, news.exists))
    if news.changed:
        await tell_flags(session, selection, news.changed)


def exist(session: ImapSession, selection: Selection, count: int) -> bytes:
    """EXISTS, and RECENT where there is such a thing (RFC 9051 has none)."""
    if REV2 in session.enabled:
        return p.exists(count)
    return p.exists(count) + p.recent(count_recent(selection.view))


#: A row to tell; without a flag mask MODSEQ is told alone.
Told = Changed | tuple[int, int, None, int]


async def tell_flags(session: ImapSession, selection: Selection, rows: Iterable[Told]) -> None:
    """FETCH with UID and FLAGS of each row, with MODSEQ when CONDSTORE is on; with MODSEQ alone where the flags are
    None; UIDFETCH when UIDONLY is on."""
    announce(session, selection)
    flags, recent = selection.view.lists, selection.view.recent
    with_modseq, uid_only = CONDSTORE in session.enabled, UIDONLY in session.enabled
    name = "UIDFETCH" if uid_only else "FETCH"

    def said(block: Sequence[Told], fresh: bool) -> bytes:
        """Rows that all have flags or all have none, and are all recent or all not."""
        numbers, uids, masks, modseqs = zip(*block)
        known = None if masks[0] is None else masks
        first, named = (uids, None) if uid_only else (numbers, uids)
        return flags.rows(first, named, known, fresh, modseqs if with_modseq else None, name)

    def manner(row: Told) -> tuple[bool, bool]:
        return recent is not None and row[1] in recent, row[2] is None

    rows = iter(rows)
    while block := list(islice(rows, BLOCK)):
        if recent is None and all([row[2] is not None for row in block]):
            session.put(said(block, False))
        else:
            for (fresh, _), alike in groupby(block, manner):
                session.put(said(list(alike), fresh))
        await session.pace()
        await session.connection.breathe()
