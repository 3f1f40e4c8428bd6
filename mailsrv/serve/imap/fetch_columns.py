"""FETCH of what the store has at hand (floor 3): a block of messages is a few columns, one formatting makes all of its
responses.  A message of which something is not kept yet makes its block go the way of `fetch.Block`, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from attrs import define

from ...message.dates import internal_dates
from ...message.head import select
from ...message.summary import texts
from ...message.thread_id import NUMBERS, thread_id
from .sections import send_whole

if TYPE_CHECKING:
    from .fetch import Block, Plan
    from .session import ImapSession
    from .view import View

#: Item -> the columns it is made of (`IMailbox.at_hand`).
_COLUMNS: dict[str, tuple[str, ...]] = {
    "UID": (), "FLAGS": (), "MODSEQ": (), "INTERNALDATE": ("date", "zone"), "SAVEDATE": ("saved",),
    "RFC822.SIZE": ("size",), "THREADID": ("head",), "ENVELOPE": ("summary",), "BODY": ("summary",),
    "BODYSTRUCTURE": ("summary",),
}  # fmt: skip


def needed(names: Collection[str], headed: bool) -> tuple[str, ...] | None:
    """What the items need of the store, `headed`: and sections of the record of usual fields; None when there is an
    item that is no column."""
    if not _COLUMNS.keys() >= set(names):
        return None
    found = {column for name in names for column in _COLUMNS[name]} | ({"head"} if headed else set())
    return tuple(sorted(found))


@define
class _Known:
    """A block and what the store said of it."""

    block: Block
    view: View
    columns: dict[str, Sequence[Any]]

    def threads(self) -> list[bytes] | None:
        """THREADID of all."""
        fields = select(self.columns["head"], NUMBERS)
        return None if fields is None else [thread(thread_id(one)) for one in fields]

    def flags(self) -> list[bytes]:
        """Flag lists as they are printed."""
        recent, block, lists = self.view.recent, self.block, self.view.lists
        if recent is not None:
            return [lists.octets(mask, uid in recent) for uid, mask in zip(block.uids, block.masks)]
        known = {mask: lists.octets(mask) for mask in set(block.masks)}
        return [known[mask] for mask in block.masks]


def thread(ident: str) -> bytes:
    """THREADID as it is printed: NIL of a message that cannot be told a thread (RFC 8474 section 5.2)."""
    return b"(%b)" % ident.encode("ascii") if ident else b"NIL"


#: Item -> the values in its place in the response; None: one of the records is not of this version.
_VALUES: dict[str, Callable[[_Known], Sequence[Any] | None]] = {
    "UID": lambda known: known.block.uids,
    "FLAGS": _Known.flags,
    "MODSEQ": lambda known: known.block.modseqs,
    "THREADID": lambda known: known.threads(),
    "INTERNALDATE": lambda known: internal_dates(known.columns["date"], known.columns["zone"]),
    "SAVEDATE": lambda known: internal_dates(known.columns["saved"], repeat(0)),
    "RFC822.SIZE": lambda known: known.columns["size"],
    "ENVELOPE": lambda known: texts(known.columns["summary"], "ENVELOPE"),
    "BODY": lambda known: texts(known.columns["summary"], "BODY"),
    "BODYSTRUCTURE": lambda known: texts(known.columns["summary"], "BODYSTRUCTURE"),
}


async def _look(block: Block, view: View, plan: Plan) -> _Known | None:
    """What the plan's columns are, or None when not all of them are at hand."""
    assert plan.columns is not None
    columns: Sequence[Sequence[Any]] | None = ()
    if plan.columns:
        columns = await view.mailbox.at_hand(block.uids, plan.columns)
    return None if columns is None else _Known(block, view, dict(zip(plan.columns, columns)))


async def send(
    session: ImapSession, view: View, plan: Plan, block: Block, numbers: Sequence[int]
) -> int | None:  # fmt: skip
    """Write the responses of a block; how many messages are gone, or None when not all that is asked is at hand.

    Raises StoreUnavailable.
    """
    sections = plan.sections
    if sections is not None and sections.whole is not None:
        begun = await _heads(block, view, plan, numbers)
        return None if begun is None else await _whole(session, view, sections.whole, begun, block.uids)
    said = await _responses(block, view, plan, numbers)
    if said is None:
        return None
    session.put(said)
    await session.pace()
    return 0


async def _whole(
    session: ImapSession, view: View, label: bytes, begun: Sequence[bytes], uids: Sequence[int]
) -> int:  # fmt: skip
    """The messages as they are behind what is `begun`; how many are gone."""
    gone = 0
    contents = await view.mailbox.contents(uids)
    try:
        for head, content in zip(begun, contents):
            if content is None:
                gone += 1
            else:
                await send_whole(session, head, label, content)
    finally:
        for content in contents:
            if content is not None:
                content.close()
    return gone


async def _heads(block: Block, view: View, plan: Plan, numbers: Sequence[int]) -> list[bytes] | None:
    """The responses of a block up to their sections, or None when not all of it is at hand."""
    known = await _look(block, view, plan)
    if known is None:
        return None
    values: list[Any] = [numbers, *[_VALUES[name](known) for name in plan.names]]
    form = plan.form if plan.form.endswith(b"(") else plan.form + b" "
    return None if None in values else [form % row for row in zip(*values)]


async def _responses(block: Block, view: View, plan: Plan, numbers: Sequence[int]) -> bytes | None:
    """All responses of a block, or None when not all of it is at hand."""
    known = await _look(block, view, plan)
    if known is None:
        return None
    values: list[Sequence[Any] | None] = [numbers, *[_VALUES[name](known) for name in plan.names]]
    form = plan.form
    if plan.sections is not None:
        form += b"" if form.endswith(b"(") else b" "
        form += b" ".join([label.replace(b"%", b"%%") + b" {%d}\r\n%b" for label, _ in plan.sections.heads])
        for _, fields in plan.sections.heads:
            chosen = select(known.columns["head"], fields)
            values += [None if chosen is None else list(map(len, chosen)), chosen]
    if None in values:
        return None
    width, count = len(values), len(numbers)
    flat: list[Any] = [None] * (width * count)
    for at, column in enumerate(values):
        flat[at::width] = column  # type: ignore[call-overload]
    return (form + b")\r\n") * count % tuple(flat)
