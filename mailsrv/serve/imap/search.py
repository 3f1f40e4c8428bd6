"""SEARCH (floor 3; RFC 9051 section 6.4.4): asked of the store, and where it cannot answer, of the messages here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import define, field

from ... import query as q
from ...errors import MailError
from ...message.content import read_all
from ...message.head import Head
from ...message.query import Candidate, Matcher, keyword_masks, matcher, needs
from ...message.summary import Summary
from ...numbers import UidSet
from ...values import MessageFacts
from ...wire import imap_print as p
from ...wire import imap_requests as r
from . import condstore, results, tell, utf8
from .answer import No
from .search_columns import Columns, Undecided
from .selected import Selection
from .summaries import HEAD, complete, examine, read_header
from .view import View, gathered

if TYPE_CHECKING:
    from .session import ImapSession

#: Messages looked at with one call to the store, and those of which only flags are asked.
BLOCK, FLAGS_BLOCK = 500, 5000
#: Seconds between two words about progress (RFC 9585 section 4).
PROGRESS = 10.0
#: What is read of a message first when only its header is asked for.
_HEADER_OCTETS = 16 * 1024
_SUMMARY = frozenset({"summary"})


async def search(session: ImapSession, request: r.Search) -> bytes:
    """SEARCH and UID SEARCH."""
    return await answered(session, request, b"SEARCH", None)


#: Puts what was found in order.
Order = Callable[["ImapSession", "Selection", list[int]], Awaitable[list[int]]]


async def answered(session: ImapSession, request: r.Search, name: bytes, order: Order | None) -> bytes:
    """One search from its news to the words of its OK.  Raises Bad, No, StoreUnavailable."""
    selection = session.selection
    assert selection is not None
    try:
        found = await find(session, request)
        if order is not None:
            found = await order(session, selection, found)
        await results.answer(session, request, found, name, condstore.asked_for(request.query))
    except (No, MailError):
        results.forget(session, request)
        raise
    return b"OK %b completed" % name


async def find(session: ImapSession, request: r.Search | r.Thread) -> list[int]:
    """The indexes of the messages that match, ascending."""
    selection = session.selection
    assert selection is not None
    view = selection.view
    utf8.unlabelled(session, request)
    if condstore.asked_for(request.query):
        condstore.enabling(session)
    # The numbers below may be those of messages that came meanwhile: the client hears of them first.
    await tell.catch_up(session, expunge=request.name.startswith("UID "))
    query = resolved(request.query, view, int(session.services.now()))
    # Flags and UIDs are here; the store may have an index for what is not.
    found = await selection.mailbox.search(query) if needs(query) else None
    if found is not None:
        return [at for part in view.ranges(found) for at in part]
    places = await Scan(session, selection, query, request.tag).run()
    if not view.holding:
        return places
    # What was expunged is not found, though it has its number still.
    live = view.mailbox.columns().uids
    uids = view.uids(range(view.length))
    return [at for at in places if (there := bisect_left(live, uids[at])) < len(live) and live[there] == uids[at]]


def resolved(query: q.Query, view: View, now: int) -> q.Query:
    """The query without what only a session knows: sequence numbers, ``*``, ``$``, \\Recent, MODSEQ and the time.

    A sequence number that is not there names no message: only FETCH, STORE and COPY must refuse it (section 9,
    seq-number).  The engine bounds the depth.
    """
    if isinstance(query, q.And):
        return q.And(tuple(resolved(child, view, now) for child in query.children))
    if isinstance(query, q.Or):
        return q.Or(resolved(query.left, view, now), resolved(query.right, view, now))
    if isinstance(query, q.Not):
        return q.Not(resolved(query.child, view, now))
    if isinstance(query, (q.Numbers, q.UidNumbers)) and query.numbers.saved:
        return q.Uids(view.saved)
    if isinstance(query, q.Numbers):
        return q.Uids(view.uid_set(view.positions(query.numbers, by_uid=False, strict=False)))
    if isinstance(query, q.UidNumbers):
        return q.Uids(view.uid_set(view.positions(query.numbers, by_uid=True)))
    if isinstance(query, q.ChangedSince):
        whole = condstore.changed_since(view, [range(view.length)], query.modseq - 1)
        return q.Uids(view.uid_set(list(whole)))
    if isinstance(query, q.Recent):
        return q.Uids(view.recent or UidSet())
    if isinstance(query, q.Within):
        return q.Arrived(query.younger, now - query.seconds)
    return query


def _split(query: q.Query) -> tuple[UidSet | None, q.Query]:
    """The UIDs that all matches are among, None for any, and what else is asked."""
    children = query.children if isinstance(query, q.And) else (query,)
    within: UidSet | None = None
    rest = []
    for child in children:
        if isinstance(child, q.Uids):
            within = child.uids if within is None else within & child.uids
        else:
            rest.append(child)
    return within, rest[0] if len(rest) == 1 else q.And(tuple(rest))


def _speaks_of_uids(query: q.Query) -> bool:
    if isinstance(query, q.And):
        return any(map(_speaks_of_uids, query.children))
    if isinstance(query, q.Or):
        return _speaks_of_uids(query.left) or _speaks_of_uids(query.right)
    if isinstance(query, q.Not):
        return _speaks_of_uids(query.child)
    return isinstance(query, q.Uids)


def _learn(candidate: Candidate, known: MessageFacts, wanted: frozenset[str]) -> None:
    if "size" in wanted:
        candidate.size = known.size
    if "dates" in wanted:
        candidate.internal_date, candidate.zone = known.internal_date, known.zone
        candidate.saved_at = known.saved_at
    if "ids" in wanted:
        candidate.email_id = known.email_id


@define
class Progress:
    """Tells the client now and then how far a long search has come (RFC 9585)."""

    session: ImapSession
    tag: bytes
    goal: int = 0
    done: int = 0
    said: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.said = self.session.connection.host.monotonic()

    async def tell(self) -> None:
        """When it is time."""
        now = self.session.connection.host.monotonic()
        if now - self.said >= PROGRESS and self.done < self.goal:
            self.said = now
            place = b"%b %d %d" % (p.string(self.tag), self.done, self.goal)
            self.session.say(b"* OK [INPROGRESS (%b)] Still searching" % place)
            await self.session.pace()


@define
class Scan:
    """One search over all messages of the view: first what is cheap to know, then what must be read."""

    session: ImapSession
    selection: Selection
    query: q.Query
    tag: bytes = b""
    found: list[int] = field(factory=list)

    async def run(self) -> list[int]:
        """The indexes of what matches, ascending."""
        within, query = _split(self.query)
        need, match = needs(query), matcher(query)
        view, progress = self.selection.view, Progress(self.session, self.tag)
        ranges = [range(view.length)] if within is None else view.ranges(within)
        progress.goal = sum(map(len, ranges))
        keywords, each = keyword_masks(view.keywords()), _speaks_of_uids(query)
        columns = Columns.of(query, match, keywords)
        before = 0
        for block in gathered(ranges, BLOCK if need else FLAGS_BLOCK):
            start = len(self.found)
            undecided = self._one_by_one(block, match, keywords) if each else await self._at_once(block, columns)
            if undecided:
                await self._block(undecided, need, match, progress)
            if need:
                self.found[start:] = sorted(self.found[start:])
            before += sum(map(len, block))
            progress.done = before
            await progress.tell()
            await self.session.connection.breathe()
        return self.found

    async def _at_once(self, block: list[range], columns: Columns) -> list[Candidate]:
        """What a block's columns tell; what is left."""
        view = self.selection.view
        rows: list[Undecided] = []
        for part in block:
            found, undecided = columns.by_flags(part, view.uids(part), view.flags(part))
            self.found += found
            rows += undecided
        if rows:
            found, rows = await columns.narrow(self.selection.mailbox, rows)
            self.found += found
        return [Candidate(uid, mask, columns.keywords, place=at) for at, uid, mask in rows]

    def _one_by_one(self, block: list[range], match: Matcher, keywords: Mapping[bytes, int]) -> list[Candidate]:
        """The same by flags and UIDs, where sets of UIDs stand in the midst of the query."""
        view = self.selection.view
        candidates = [
            Candidate(uid, mask, keywords, place=at)
            for part in block
            for at, uid, mask in zip(part, view.uids(part), view.flags(part))
        ]
        return self._decide(match, candidates)

    async def _block(
        self, undecided: list[Candidate], need: frozenset[str], match: Matcher, progress: Progress
    ) -> None:
        mailbox = self.selection.mailbox
        cheap = need & {"size", "dates", "ids"}
        if cheap:
            facts = await mailbox.facts([candidate.uid for candidate in undecided], cheap)
            for candidate, known in zip(undecided, facts):
                if known is not None:
                    _learn(candidate, known, cheap)
            undecided = self._decide(match, undecided)
        if undecided and "summary" in need:
            await self._dates(undecided)
            undecided = self._decide(match, undecided)
        if undecided and "head" in need:
            await self._heads(undecided)
            undecided = self._decide(match, undecided)
        if undecided and need & {"head", "header", "content"}:
            await self._read(undecided, match, "content" in need, progress)

    def _decide(self, match: Matcher, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Keep what matches; those that nobody can tell yet."""
        undecided = []
        for candidate in candidates:
            answer = match(candidate)
            if answer is None:
                undecided.append(candidate)
            elif answer:
                self.found.append(candidate.place)
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

    async def _places(self, candidates: Sequence[Candidate]) -> None:
        """Where the parts are, of those whose summaries were made already: to make them costs more than to look."""
        facts = await self.selection.mailbox.facts([candidate.uid for candidate in candidates], _SUMMARY)
        for candidate, known in zip(candidates, facts):
            if known is not None and Summary.current(known.summary):
                candidate.places = Summary(known.summary or b"").places()
        await self.session.connection.breathe()

    async def _read(
        self, candidates: Sequence[Candidate], match: Matcher, whole: bool, progress: Progress
    ) -> None:
        """One message after the other: its header, and when that is not enough, all of it."""
        if whole:
            await self._places(candidates)
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
                    self.found.append(candidate.place)
                progress.done += 1
                await progress.tell()
                await self.session.connection.breathe()
        finally:
            for content in contents:
                if content is not None:
                    content.close()
