"""FETCH (floor 3; RFC 3501 section 6.4.5): flags from the view, facts from the store, sections from the content.

Messages are worked on in blocks, with one call of each kind to the store for a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING

from attrs import define

from ...errors import MailError
from ...interfaces import IContent
from ...message.dates import internal_date
from ...message.head import Head
from ...message.summary import Summary
from ...message.thread_id import of_head
from ...numbers import UidSet
from ...values import SEEN, FlagChange, MessageFacts, Updated
from ...wire import imap_requests as r
from . import binary, condstore, fetch_columns, preview, qresync, results, tell
from .answer import Bad, No
from .modes import CONDSTORE, QRESYNC, UIDONLY
from .sections import Sections
from .selected import Selection
from .summaries import KINDS, complete
from .view import gathered

if TYPE_CHECKING:
    from .session import ImapSession

#: Messages in one block, with and without facts.
BLOCK, FLAGS_BLOCK = 200, 2000
_MARK_SEEN = FlagChange("add", frozenset([b"\\Seen"]))


@define
class Row:
    """One message on its way out."""

    number: int
    uid: int
    flags: bytes = b""
    modseq: int = 0
    facts: MessageFacts | None = None
    summary: Summary | None = None
    head: Head | None = None
    preview: bytes | None = None
    thread: bytes = b""

    @property
    def told(self) -> bool:
        """Whether the record of its usual fields makes its content unnecessary."""
        return self.head is not None and self.head.told


def _date(row: Row) -> bytes:
    assert row.facts is not None
    return internal_date(row.facts.internal_date, row.facts.zone)


#: Item -> (its place in the response, what it needs of the store, how the value is got).
_ITEMS: dict[str, tuple[bytes, str, Callable[[Row], object]]] = {
    "UID": (b"UID %d", "", lambda row: row.uid),
    "FLAGS": (b"FLAGS %b", "", lambda row: row.flags),
    "MODSEQ": (b"MODSEQ (%d)", "", lambda row: row.modseq),
    "INTERNALDATE": (b'INTERNALDATE "%b"', "dates", _date),
    "SAVEDATE": (b'SAVEDATE "%b"', "dates", lambda row: internal_date(row.facts.saved_at, 0)),  # type: ignore[union-attr]
    "EMAILID": (b"EMAILID (%b)", "ids", lambda row: row.facts.email_id.encode("ascii")),  # type: ignore[union-attr]
    "THREADID": (b"THREADID %b", "head", lambda row: row.thread),
    "RFC822.SIZE": (b"RFC822.SIZE %d", "size", lambda row: row.facts.size),  # type: ignore[union-attr]
    "ENVELOPE": (b"ENVELOPE %b", "summary", lambda row: row.summary.envelope),  # type: ignore[union-attr]
    "PREVIEW": (b"PREVIEW %b", "preview", lambda row: preview.value(row.preview)),
    "BODY": (b"BODY %b", "summary", lambda row: row.summary.body),  # type: ignore[union-attr]
    "BODYSTRUCTURE": (b"BODYSTRUCTURE %b", "summary", lambda row: row.summary.bodystructure),  # type: ignore[union-attr]
}


#: What a FETCH is besides its items: with UID, with MODSEQ, with MODSEQ where it tells of changes, without message
#: numbers (RFC 9586: UIDFETCH).
WITH_UID, WITH_MODSEQ, TELLS_MODSEQ, UID_ONLY = 1, 2, 4, 8


class Plan:
    """What a list of items means for every message: a form with its getters, then the sections."""

    __slots__ = ("_extra", "_forms", "_getters", "columns", "lazy", "manner", "names", "sections", "wanted")

    def __init__(self, items: Sequence[r.FetchItem], manner: int) -> None:
        asked = {item.name for item in items}
        if manner & WITH_UID:
            asked.add("UID")
        if manner & WITH_MODSEQ:
            asked.add("MODSEQ")
        self.manner = manner
        self.lazy = all(item.label for item in items if item.name == "PREVIEW")
        self.names = [name for name in _ITEMS if name in asked]
        found = {item.label: item for item in items if item.section is not None}
        self.sections = Sections(list(found.values())) if found else None
        self.wanted = frozenset(_ITEMS[name][1] for name in self.names) - {""}
        if self.sections is not None:
            self.wanted |= self.sections.wanted
        #: What may be had for a block at once (`fetch_columns`), or None.
        self.columns = None
        if self.sections is None or self.sections.heads or self.sections.whole:
            self.columns = fetch_columns.needed(self.names, bool(self.sections and self.sections.heads))
        self._getters = [_ITEMS[name][2] for name in self.names]
        # A response that tells of \Seen set on the way gets FLAGS even when they were not asked for.
        changing = ("FLAGS", "MODSEQ") if manner & TELLS_MODSEQ else ("FLAGS",)
        extra = [name for name in changing if name not in asked]
        self._extra = [_ITEMS[name][2] for name in extra]
        self._forms = _form(manner, self.names), _form(manner, [*self.names, *extra])

    @property
    def extra_flags(self) -> bool:
        """Whether FLAGS are not among the items."""
        return "FLAGS" not in self.names

    @property
    def form(self) -> bytes:
        """The response up to its sections, to be filled in with the number and the items."""
        return self._forms[0]

    def head(self, row: Row, changed: bool) -> bytes:
        """The response up to its sections; `changed`: it also tells what became of the flags."""
        values = [get(row) for get in self._getters]
        if changed:
            values += [get(row) for get in self._extra]
        return self._forms[changed] % (row.number, *values)


def _form(manner: int, names: Sequence[str]) -> bytes:
    begin = b"* %d UIDFETCH (" if manner & UID_ONLY else b"* %d FETCH ("
    return begin + b" ".join([_ITEMS[name][0] for name in names])


class _Same:
    """A list of items as a key: the engine gives the same object for the same words."""

    __slots__ = ("items", "manner")

    def __init__(self, items: Sequence[r.FetchItem], manner: int) -> None:
        self.items, self.manner = items, manner

    def __hash__(self) -> int:
        return id(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.items is other.items and self.manner == other.manner


@lru_cache(maxsize=128)
def _plan(asked: _Same) -> Plan:
    """The plan of a list of items.  The key holds on to the items, so their id cannot come again."""
    return Plan(asked.items, asked.manner)


def _blocks(ranges: Iterable[range], size: int) -> Iterator[range]:
    for part in ranges:
        for at in range(part.start, part.stop, size):
            yield range(at, min(at + size, part.stop))


async def fetch(session: ImapSession, request: r.Fetch) -> bytes:
    """FETCH and UID FETCH."""
    selection = session.selection
    assert selection is not None
    by_uid = request.name == "UID FETCH"
    since = _since(session, request, by_uid)
    # News first: what another session changed is then told once, and not again behind the answers.
    await tell.catch_up(session, expunge=by_uid)
    ranges: Iterable[range] = selection.view.positions(request.numbers, by_uid)
    if since is not None:
        if "VANISHED" in request.modifiers:
            await qresync.vanished(session, selection.view, since, request.numbers)
        ranges = condstore.changed_since(selection.view, ranges, since)
    if "PARTIAL" in request.modifiers:
        # RFC 9394 section 3.3: of what the rest leaves.
        ranges = results.part_of_ranges(ranges, request.modifiers["PARTIAL"])
    plan = _plan(_Same(request.items, manner(session, by_uid, since is not None)))
    if plan.wanted or plan.sections is not None:
        gone, unknown = 0, False
        for chunk in gathered(ranges, BLOCK):
            block = Block(session, selection, plan, chunk)
            gone += await block.send()
            unknown = unknown or bool(block.unknown)
            await session.connection.breathe()
        if unknown:
            raise No("UNKNOWN-CTE", "Some of the parts have a transfer encoding that is not known here")
        if gone and not by_uid:
            raise No("EXPUNGEISSUED", "Some of the messages were expunged")
    else:
        await _columns_only(session, selection, ranges, plan)
    return b"OK FETCH completed"


def _since(session: ImapSession, request: r.Fetch, by_uid: bool) -> int | None:
    """CHANGEDSINCE, or None (RFC 7162 section 3.1.4); what speaks of MODSEQ switches CONDSTORE on.  Raises Bad."""
    modifiers = request.modifiers
    since: int | None = modifiers.get("CHANGEDSINCE")
    if not modifiers.keys() <= {"CHANGEDSINCE", "VANISHED", "PARTIAL"}:
        raise Bad("Unknown FETCH modifier")
    if "PARTIAL" in modifiers and not by_uid:
        raise Bad("PARTIAL is for UID FETCH")
    if "VANISHED" in modifiers and not (by_uid and since is not None and QRESYNC in session.enabled):
        raise Bad("VANISHED is for UID FETCH with CHANGEDSINCE, after ENABLE QRESYNC")
    if since is not None or any(item.name == "MODSEQ" for item in request.items):
        condstore.enabling(session)
    return since


def manner(session: ImapSession, by_uid: bool, changes: bool) -> int:
    """What responses have besides the items.  UIDFETCH has UID only when it is asked for (RFC 9586 section 3.4).  With
    QRESYNC a UID FETCH always tells MODSEQ (RFC 7162 section 3.2.4)."""
    enabled = session.enabled
    manner = UID_ONLY if UIDONLY in enabled else WITH_UID if by_uid else 0
    if CONDSTORE in enabled:
        manner |= TELLS_MODSEQ
        if changes or (by_uid and QRESYNC in enabled):
            manner |= WITH_MODSEQ
    return manner


async def _columns_only(session: ImapSession, selection: Selection, ranges: Iterable[range], plan: Plan) -> None:
    """UID, FLAGS and MODSEQ: nothing but the view is needed, so a whole block is one piece of text."""
    view, names, uid_only = selection.view, plan.names, plan.manner & UID_ONLY
    lists = view.lists
    for block in _blocks(ranges, FLAGS_BLOCK):
        tell.announce(session, selection)
        for part, recent in view.split(block) if "FLAGS" in names else ((block, False),):
            uids = view.uids(part)
            session.put(
                lists.rows(
                    uids if uid_only else range(part.start + 1, part.stop + 1),
                    uids if "UID" in names else None,
                    view.flags(part) if "FLAGS" in names else None,
                    recent,
                    view.modseqs(part) if "MODSEQ" in names else None,
                    "UIDFETCH" if uid_only else "FETCH",
                )
            )
        await session.pace()
        await session.connection.breathe()


class Block:
    """Some messages of one FETCH."""

    __slots__ = ("_plan", "_ranges", "_selection", "_session", "indexes", "masks", "modseqs", "seen", "uids", "unknown")

    def __init__(self, session: ImapSession, selection: Selection, plan: Plan, ranges: Sequence[range]) -> None:
        self._session, self._selection, self._plan, self._ranges = session, selection, plan, ranges
        view = selection.view
        self.indexes = [at for part in ranges for at in part]
        self.uids = [uid for part in ranges for uid in view.uids(part)]
        self.masks: list[int] = []
        self.modseqs: list[int] = []
        #: UIDs of those that were marked \Seen on the way.
        self.seen: frozenset[int] = frozenset()
        #: UIDs of those that are not told of, because a part cannot be decoded (RFC 3516 section 4.3).
        self.unknown: set[int] = set()
        self._look()

    def _look(self) -> None:
        """Flags and MODSEQ belong together: those of one moment."""
        view = self._selection.view
        self.masks = [mask for part in self._ranges for mask in view.flags(part)]
        self.modseqs = [modseq for part in self._ranges for modseq in view.modseqs(part)]

    async def send(self) -> int:
        """Write the responses; how many messages are gone."""
        plan, mailbox, uids = self._plan, self._selection.mailbox, self.uids
        sections = plan.sections
        updated = None
        if sections is not None and sections.marks and not self._selection.read_only:
            updated = await self._mark_seen()
        tell.announce(self._session, self._selection)
        if plan.columns is not None and updated is None:
            numbers = uids if plan.manner & UID_ONLY else [at + 1 for at in self.indexes]
            missing = await fetch_columns.send(self._session, self._selection.view, plan, self, numbers)
            if missing is not None:
                return missing
        facts: Sequence[MessageFacts | None] = [MessageFacts(uid) for uid in uids]
        if plan.wanted:
            facts = await mailbox.facts(uids, plan.wanted)
            for kind in KINDS:
                if kind.name in plan.wanted:
                    await complete(mailbox, facts, self._session.services, self._session.connection.breathe, kind)
        shown: Sequence[bytes | None] = [None] * len(uids)
        if "preview" in plan.wanted:
            shown = await preview.previews(self._session, mailbox, uids, plan.lazy)
        contents = await self._contents(facts)
        try:
            gone = 0
            for row, content, words in zip(self._rows(facts), contents, shown):
                if row is None or (content is None and sections is not None and not row.told):
                    gone += 1
                    continue
                row.preview = words
                await self._send_row(row, content)
                await self._session.pace()
        finally:
            for content in contents:
                if content is not None:
                    content.close()
        if updated is not None:
            # Told only now: had the block failed, the sync would have told.
            said = [row for row in zip(self.uids, self.masks, self.modseqs) if row[0] in self.seen - self.unknown]
            modseqs = [row[2] for row in said] if plan.manner & TELLS_MODSEQ else repeat(0)
            self._selection.view.told(updated, [row[0] for row in said], [row[1] for row in said], modseqs)
        return gone

    async def _send_row(self, row: Row, content: IContent | None) -> None:
        """The response of one message."""
        sections, head = self._plan.sections, self._plan.head(row, row.uid in self.seen)
        if sections is None:
            self._session.put(head + b")\r\n")
        elif content is None:
            assert row.head is not None
            sections.send_heads(self._session, head, row.head)
        else:
            try:
                await sections.send(self._session, head, row.summary, content, row.uid)
            except binary.UnknownEncoding:
                self.unknown.add(row.uid)

    async def _contents(self, facts: Sequence[MessageFacts | None]) -> Sequence[IContent | None]:
        """What must be read, in the order of the UIDs: nothing of a message whose record tells the fields asked for."""
        sections = self._plan.sections
        if sections is None:
            return [None] * len(self.uids)
        if "head" not in sections.wanted:
            return await self._selection.mailbox.contents(self.uids)
        large = [known.uid for known in facts if known is not None and known.head and not Head(known.head).told]
        found = dict(zip(large, await self._selection.mailbox.contents(large))) if large else {}
        return [found.get(uid) for uid in self.uids]

    def _rows(self, facts: Sequence[MessageFacts | None]) -> Iterator[Row | None]:
        """In the order of the UIDs; None for a message that is gone."""
        view = self._selection.view
        lists, recent = view.lists, view.recent
        wants_flags = not self._plan.extra_flags
        structured, headed = "summary" in self._plan.wanted, "head" in self._plan.wanted
        uid_only = self._plan.manner & UID_ONLY
        for at, uid, mask, modseq, known in zip(self.indexes, self.uids, self.masks, self.modseqs, facts):
            if known is None or (structured and known.summary is None) or (headed and known.head is None):
                yield None
                continue
            row = Row(uid if uid_only else at + 1, uid, modseq=modseq, facts=known)
            if wants_flags or uid in self.seen:
                row.flags = lists.octets(mask, recent is not None and uid in recent)
            if structured:
                assert known.summary is not None
                row.summary = Summary(known.summary)
            if headed:
                assert known.head is not None
                self._headed(row, Head(known.head))
            yield row

    def _headed(self, row: Row, head: Head) -> None:
        plan = self._plan
        if "THREADID" in plan.names:
            row.thread = fetch_columns.thread(of_head(head))
        if plan.sections is not None and "head" in plan.sections.wanted:
            row.head = head

    async def _mark_seen(self) -> Updated | None:
        """Set \\Seen on what has it not, in one change; a store that cannot write can still be read."""
        unseen = UidSet.of(uid for uid, mask in zip(self.uids, self.masks) if not mask & SEEN)
        if not unseen:
            return None
        try:
            updated = await self._selection.mailbox.update(unseen, _MARK_SEEN)
        except MailError:
            return None
        self.seen = frozenset(updated.uids)
        self._look()
        return updated
