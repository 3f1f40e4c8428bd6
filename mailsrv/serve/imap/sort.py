"""SORT (floor 3; RFC 5256, RFC 5957): what was found, by keys that come from the kept records."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from ...message.addresses import parse_addresses
from ...message.head import SEARCHED, Head, numbers_of
from ...message.header import decode, unfolded_lines, values
from ...message.sorting import let_go, sorted_in_steps
from ...message.subject import base_subject
from ...message.summary import Summary
from ...message.text import folded
from ...values import MessageFacts
from ...wire import imap_requests as r
from .search import answered
from .selected import Selection
from .summaries import KINDS, complete, read_header

if TYPE_CHECKING:
    from .session import ImapSession

T = TypeVar("T")

#: Messages asked about with one call to the store, and those worked on without a look at the clock.
BLOCK, FEW = 250, 50
#: More than these are put in order away from the reactor.
LARGE = 5000
#: Characters of an address that count.
_ADDRESS = 200


@define
class Row:
    """What is known of one message: facts, its usual fields, or its header where there is no record of them."""

    facts: MessageFacts
    head: Head | None = None
    header: bytes | None = None

    def sent(self) -> int:
        """The Date field as an instant, INTERNALDATE where there is none (RFC 5256 section 2.2)."""
        record = self.facts.summary
        found = Summary(record).sent if record is not None else None
        return found[0] if found is not None else self.facts.internal_date

    def text(self, place: int) -> str:
        """The first of `SEARCHED[place]`, decoded, in the form of `folded`; "" when there is none."""
        if self.head is not None:
            octets = self.head.text(place)
            return "" if octets is None else octets.partition(b"\n")[0].decode("utf-8", "surrogatepass")
        return folded(decode(self.value(SEARCHED[place])))

    def value(self, name: bytes) -> bytes:
        """The unfolded value of the first field of a name (one of `COMMON`)."""
        return self.first((name,)).get(name, b"")

    def first(self, names: tuple[bytes, ...]) -> dict[bytes, bytes]:
        """The unfolded values of the first fields of these names (lower case, of `COMMON`)."""
        if self.head is None:
            found = {name: values(self.header or b"", name) for name in names}
            return {name: value[0] for name, value in found.items() if value}
        numbers = numbers_of(names)
        assert numbers is not None
        first: dict[bytes, bytes] = {}
        for line in unfolded_lines(self.head.select(numbers)):
            name, colon, value = line.partition(b":")
            if colon:
                first.setdefault(name.rstrip(b" \t").lower(), value.strip())
        return first


async def rows(
    session: ImapSession, selection: Selection, places: Sequence[int], wanted: frozenset[str],
    take: Callable[[int, Row], None],
) -> None:  # fmt: skip
    """Call `take(place, row)` for each message that is still there, in order.  `wanted` as in `IMailbox.facts`.

    Raises StoreUnavailable.
    """
    mailbox, breathe = selection.mailbox, session.connection.breathe
    uids = selection.view.uids(range(selection.view.length))
    for at in range(0, len(places), BLOCK):
        some = places[at : at + BLOCK]
        facts = await mailbox.facts([uids[place] for place in some], wanted)
        for kind in KINDS:
            if kind.name in wanted:
                await complete(mailbox, facts, session.services, breathe, kind)
        await breathe()
        found = [None if known is None else Row(known) for known in facts]
        if "head" in wanted:
            await _heads(session, selection, found)
        await breathe()
        for number, (place, row) in enumerate(zip(some, found), 1):
            if row is not None:
                take(place, row)
            if not number % FEW:
                await breathe()


async def _heads(session: ImapSession, selection: Selection, found: Sequence[Row | None]) -> None:
    """The usual fields; where there are too many for a record the header is read."""
    large = []
    for row in found:
        if row is not None and row.facts.head is not None:
            head = Head(row.facts.head)
            if head.told:
                row.head = head
            else:
                large.append(row)
    if not large:
        return
    contents = await selection.mailbox.contents([row.facts.uid for row in large])
    try:
        for row, content in zip(large, contents):
            if content is not None:
                row.header = await read_header(content)
                await session.connection.breathe()
    finally:
        for content in contents:
            if content is not None:
                content.close()


def _mailbox(name: bytes) -> Callable[[Row], str]:
    """The mailbox of the first address."""

    def key(row: Row) -> str:
        found = parse_addresses(row.value(name))
        return folded(decode(found[0][2] or b"")[:_ADDRESS]) if found else ""

    return key


def _display(name: bytes) -> Callable[[Row], str]:
    """RFC 5957 section 3: the name of the first address or group, else the address."""

    def key(row: Row) -> str:
        found = parse_addresses(row.value(name))
        if not found:
            return ""
        shown, _, mailbox, host = found[0]
        if shown is None:
            shown = b"%b@%b" % (mailbox or b"", host) if host is not None else mailbox
        return folded(decode(shown or b"")[:_ADDRESS])

    return key


#: Sort key -> (what of the store it needs, its value).
_KEYS: dict[str, tuple[frozenset[str], Callable[[Row], Any]]] = {
    "ARRIVAL": (frozenset({"dates"}), lambda row: row.facts.internal_date),
    "DATE": (frozenset({"dates", "summary"}), Row.sent),
    "SIZE": (frozenset({"size"}), lambda row: row.facts.size),
    "SUBJECT": (frozenset({"head"}), lambda row: base_subject(row.text(0))[0]),
    "FROM": (frozenset({"head"}), _mailbox(b"from")),
    "TO": (frozenset({"head"}), _mailbox(b"to")),
    "CC": (frozenset({"head"}), _mailbox(b"cc")),
    "DISPLAYFROM": (frozenset({"head"}), _display(b"from")),
    "DISPLAYTO": (frozenset({"head"}), _display(b"to")),
}


@define
class Sorting:
    """The columns of one SORT."""

    keys: Sequence[tuple[str, bool]]
    places: list[int] = field(factory=list)
    columns: dict[str, list[Any]] = field(factory=dict)

    def take(self, place: int, row: Row) -> None:
        """One more message."""
        self.places.append(place)
        for name, column in self.columns.items():
            column.append(_KEYS[name][1](row))

    def order(self) -> list[int]:
        """The places: by the first key, where that is equal by the next one, then by number (section 3); takes the
        columns, and nothing of them is left."""
        order = list(range(len(self.places)))
        for name, reverse in reversed(self.keys):
            order = sorted_in_steps(order, self.columns[name].__getitem__, reverse)
        for column in self.columns.values():
            let_go(column)
        return [self.places[at] for at in order]


def needed(names: Iterable[str]) -> frozenset[str]:
    """What the store is to be asked for these keys."""
    return frozenset[str]().union(*[_KEYS[name][0] for name in names])


async def worked_out(session: ImapSession, count: int, work: Callable[[], list[T]]) -> list[T]:
    """What `work` gives of so many messages, in a thread when these are many."""
    if count <= LARGE:
        return work()
    found: list[T] = await session.services.aside(_uncollected, work)
    return found


def _uncollected(work: Callable[[], list[T]]) -> list[T]:
    """`work()` while nobody looks for cycles: hundreds of thousands of new things without any would be looked through
    again and again, and all threads wait for that."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if collecting:
            gc.enable()


async def sort(session: ImapSession, request: r.Sort) -> bytes:
    """SORT and UID SORT."""

    async def order(session: ImapSession, selection: Selection, places: list[int]) -> list[int]:
        sorting = Sorting(request.keys, columns={name: [] for name, _ in request.keys})
        await rows(session, selection, places, needed(sorting.columns), sorting.take)
        return await worked_out(session, len(places), sorting.order)

    return await answered(session, request, b"SORT", order)
