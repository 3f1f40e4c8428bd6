"""SEARCH (floor 3; RFC 3501 section 6.4.4): asked of the store, and where it cannot answer, of the messages here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define, field

from ... import query as q
from ...message.head import Head
from ...message.query import Candidate, Matcher, keyword_masks, matcher, needs
from ...message.summary import Summary
from ...numbers import UidSet
from ...wire import imap_requests as r
from . import condstore, tell
from .answer import Bad
from .selected import Selection
from .summaries import HEAD, complete, examine, read_all, read_header
from .view import View

if TYPE_CHECKING:
    from .session import ImapSession

#: Messages looked at with one call to the store, and numbers said in one piece.
BLOCK, PIECE = 500, 5000
#: What is read of a message first when only its header is asked for.
_HEADER_OCTETS = 16 * 1024


async def search(session: ImapSession, request: r.Search) -> bytes:
    """SEARCH and UID SEARCH."""
    if request.returns is not None:
        raise Bad("RETURN is not supported")
    selection = session.selection
    assert selection is not None
    view = selection.view
    by_uid, with_modseq = request.name == "UID SEARCH", condstore.asked_for(request.query)
    if with_modseq:
        condstore.enabling(session)
    # The numbers below may be those of messages that came meanwhile: the client hears of them first.
    await tell.catch_up(session, expunge=by_uid)
    query = resolved(request.query, view)
    found = await selection.mailbox.search(query)
    if found is None:
        found = await Scan(session, selection, query).run()
    session.put(b"* SEARCH")
    # The line is under way: nothing else can be said before its end.
    session.streaming = True
    highest = 0
    for part in view.ranges(found):
        for at in range(part.start, part.stop, PIECE):
            some = range(at, min(at + PIECE, part.stop))
            numbers: Sequence[int] = view.uids(some) if by_uid else range(some.start + 1, some.stop + 1)
            session.put(f" {' '.join(map(str, numbers))}".encode("ascii"))
            if with_modseq:
                highest = max(highest, *view.modseqs(some))
            await session.pace()
            await session.connection.breathe()
    # RFC 7162 section 3.1.6: the highest of all that were found, nothing when nothing was.
    session.put(b" (MODSEQ %d)\r\n" % highest if highest else b"\r\n")
    session.streaming = False
    return b"OK SEARCH completed"


def resolved(query: q.Query, view: View) -> q.Query:
    """The query without what only a session knows: sequence numbers, ``*`` and \\Recent; and MODSEQ.

    A sequence number that is not there names no message: only FETCH, STORE and COPY must refuse it (section 9,
    seq-number).  Raises Bad for the saved result.  The engine bounds the depth.
    """
    if isinstance(query, q.And):
        return q.And(tuple(resolved(child, view) for child in query.children))
    if isinstance(query, q.Or):
        return q.Or(resolved(query.left, view), resolved(query.right, view))
    if isinstance(query, q.Not):
        return q.Not(resolved(query.child, view))
    if isinstance(query, q.Numbers):
        return q.Uids(view.uid_set(view.positions(query.numbers, by_uid=False, strict=False)))
    if isinstance(query, q.UidNumbers):
        return q.Uids(view.uid_set(view.positions(query.numbers, by_uid=True)))
    if isinstance(query, q.ChangedSince):
        whole = condstore.changed_since(view, [range(view.length)], query.modseq - 1)
        return q.Uids(view.uid_set(list(whole)))
    if isinstance(query, q.Recent):
        return q.Uids(view.recent or UidSet())
    return query


@define
class Scan:
    """One search over all messages of the view: first what is cheap to know, then what must be read."""

    session: ImapSession
    selection: Selection
    query: q.Query
    found: list[int] = field(factory=list)

    async def run(self) -> UidSet:
        """The UIDs that match."""
        need, match = needs(self.query), matcher(self.query)
        view = self.selection.view
        for at in range(0, view.length, BLOCK):
            block = range(at, min(at + BLOCK, view.length))
            await self._block(block, need, match)
            await self.session.connection.breathe()
        return UidSet.of(self.found)

    async def _block(self, block: range, need: frozenset[str], match: Matcher) -> None:
        view, mailbox = self.selection.view, self.selection.mailbox
        keywords = keyword_masks(view.keywords())
        candidates = [
            Candidate(uid, mask, keywords) for uid, mask in zip(view.uids(block), view.flags(block), strict=True)
        ]
        undecided = self._decide(match, candidates)
        cheap = need & {"size", "dates"}
        if undecided and cheap:
            facts = await mailbox.facts([candidate.uid for candidate in undecided], cheap)
            for candidate, known in zip(undecided, facts):
                if known is not None:
                    if "size" in cheap:
                        candidate.size = known.size
                    if "dates" in cheap:
                        candidate.internal_date, candidate.zone = known.internal_date, known.zone
            undecided = self._decide(match, undecided)
        if undecided and "summary" in need:
            await self._dates(undecided)
            undecided = self._decide(match, undecided)
        if undecided and "head" in need:
            await self._heads(undecided)
            undecided = self._decide(match, undecided)
        if undecided and need & {"head", "header", "content"}:
            await self._read(undecided, match, "content" in need)

    def _decide(self, match: Matcher, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Keep what matches; those that nobody can tell yet."""
        undecided = []
        for candidate in candidates:
            answer = match(candidate)
            if answer is None:
                undecided.append(candidate)
            elif answer:
                self.found.append(candidate.uid)
        return undecided

    async def _dates(self, candidates: Sequence[Candidate]) -> None:
        """The Date fields, from the summaries."""
        mailbox = self.selection.mailbox
        facts = await mailbox.facts([candidate.uid for candidate in candidates], frozenset({"summary"}))
        await complete(mailbox, facts, self.session.services, self.session.connection.breathe)
        for candidate, known in zip(candidates, facts):
            if known is not None and known.summary is not None:
                candidate.sent, candidate.dated = Summary(known.summary).sent, True

    async def _heads(self, candidates: Sequence[Candidate]) -> None:
        """The usual fields, without reading the messages again."""
        mailbox = self.selection.mailbox
        facts = await mailbox.facts([candidate.uid for candidate in candidates], frozenset({"head"}))
        await complete(mailbox, facts, self.session.services, self.session.connection.breathe, HEAD)
        for candidate, known in zip(candidates, facts):
            if known is not None and known.head is not None:
                candidate.head = Head(known.head)

    async def _read(self, candidates: Sequence[Candidate], match: Matcher, whole: bool) -> None:
        """One message after the other: its header, and when that is not enough, all of it."""
        contents = await self.selection.mailbox.contents([candidate.uid for candidate in candidates])
        services = self.session.services
        try:
            for candidate, content in zip(candidates, contents):
                if content is None:
                    continue
                if whole and content.size <= _HEADER_OCTETS:
                    candidate.content = await read_all(content)
                else:
                    candidate.header = await read_header(content)
                answer = match(candidate)
                if answer is None and whole:
                    candidate.content = await read_all(content)
                    answer = await examine(services, match, candidate, content.size)
                # Nothing read is held until the end of the search.
                candidate.header = candidate.content = None
                if answer:
                    self.found.append(candidate.uid)
                await self.session.connection.breathe()
        finally:
            for content in contents:
                if content is not None:
                    content.close()
