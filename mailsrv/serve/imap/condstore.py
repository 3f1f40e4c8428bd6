"""CONDSTORE (floor 3; RFC 7162 section 3.1): what a session tells of MODSEQ, and since when.

The store keeps a MODSEQ for every message of every mailbox, so there is no mailbox with NOMODSEQ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ... import query as q
from .modes import CONDSTORE
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

#: Rows looked at in one piece.
BLOCK = 2000


def begin(session: ImapSession) -> None:
    """A CONDSTORE-enabling command in a selected mailbox is answered with HIGHESTMODSEQ (section 3.1)."""
    if CONDSTORE not in session.enabled and session.selection is not None:
        session.say(highest(session.selection.view))


def enabling(session: ImapSession) -> None:
    """A command came that speaks of MODSEQ: from now on the client is told of it unasked."""
    if CONDSTORE not in session.enabled:
        begin(session)
        session.enabled |= {CONDSTORE}


def highest(view: View) -> bytes:
    """Untagged HIGHESTMODSEQ; while expunges are held back it is the one from before them (section 3.2.4)."""
    return b"* OK [HIGHESTMODSEQ %d] Highest" % view.highest_modseq


def with_highest(session: ImapSession, words: bytes) -> bytes:
    """The words of an OK without a response code, with HIGHESTMODSEQ for those who know it (section 3.2.7)."""
    if CONDSTORE not in session.enabled or session.selection is None:
        return words
    return b"OK [HIGHESTMODSEQ %d] %b" % (session.selection.view.highest_modseq, words.removeprefix(b"OK "))


def held_back(session: ImapSession, words: bytes) -> bytes:
    """The words of a command's end, with the HIGHESTMODSEQ from before the expunges that are held back: what is told
    meanwhile has higher MODSEQs, and the client must not take the highest of them (section 3.2.4)."""
    selection = session.selection
    if CONDSTORE not in session.enabled or selection is None or not selection.view.holding:
        return words
    if words.startswith(b"OK ") and not words.startswith(b"OK ["):
        return with_highest(session, words)
    session.say(highest(selection.view))
    return words


def asked_for(query: q.Query) -> bool:
    """Whether a search speaks of MODSEQ: then its answer tells one (section 3.1.6)."""
    if isinstance(query, q.And):
        return any(map(asked_for, query.children))
    if isinstance(query, q.Or):
        return asked_for(query.left) or asked_for(query.right)
    if isinstance(query, q.Not):
        return asked_for(query.child)
    return isinstance(query, q.ChangedSince)


def changed_since(view: View, ranges: Iterable[range], modseq: int) -> Iterator[range]:
    """The indexes whose MODSEQ is higher, looked at as they are asked for."""
    for part in ranges:
        for at in range(part.start, part.stop, BLOCK):
            block = range(at, min(at + BLOCK, part.stop))
            start = None
            for place, now in enumerate(view.modseqs(block), at):
                if now > modseq:
                    start = place if start is None else start
                elif start is not None:
                    yield range(start, place)
                    start = None
            if start is not None:
                yield range(start, block.stop)
