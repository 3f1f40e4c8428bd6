"""Messages put into threads (floor 1; RFC 5256 section 3): ORDEREDSUBJECT and REFERENCES.

Messages are numbers from 0 in the order of the mailbox, which also decides where dates are equal.  A thread is a
`Node`; nothing here recurses, a chain of replies may be as long as the mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from .sorting import let_go, sorted_in_steps

#: References read of one message: the last ones, nearest to it.
MAX_REFERENCES = 100
#: Messages that are only referred to; further ones are left out, those that are there are always linked.
MAX_ABSENT = 1_000_000
#: Steps up the trees in the search for loops, for each message.
MAX_STEPS = 200
_ID = re.compile(rb'<((?:"(?:[^"\\\r\n]++|\\.)*+"|[^<>"\s])++)>')
_QUOTED = re.compile(rb'"((?:[^"\\]++|\\.)*+)"')
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_DOT_ATOM = re.compile(rb"[^\x00-\x20\"(),:;<>@\[\]\\\x7f]+")


@define
class Message:
    """What a thread is made of: base subject, whether it is a reply or a forward, the sent date (epoch), Message-ID,
    and the References (or the first of In-Reply-To)."""

    subject: str
    reply: bool
    date: int
    message_id: bytes = b""
    references: Sequence[bytes] = ()


@define(eq=False)
class Node:
    """A message, or nothing (None) with its children under it."""

    number: int | None
    children: list[Node] = field(factory=list)


def message_ids(value: bytes) -> list[bytes]:
    """The message ids in a field's value, without brackets and needless quotes (RFC 5256 section 3)."""
    found = [match[1] for match in _ID.finditer(value)]
    return [_QUOTED.sub(_unquoted, ident) if b'"' in ident else ident for ident in found]


def _unquoted(match: re.Match[bytes]) -> bytes:
    """Quotes are needless around what is an atom anyway."""
    inner = _ESCAPED.sub(rb"\1", match[1])
    return inner if _DOT_ATOM.fullmatch(inner) else match[0]


def ordered_subject(messages: Sequence[Message]) -> list[Node]:
    """ORDEREDSUBJECT: those of one base subject, by sent date; all others are children of the first."""
    threads: dict[str, Node] = {}
    for number in sorted_in_steps(range(len(messages)), lambda number: messages[number].date):
        node = Node(number)
        top = threads.setdefault(messages[number].subject, node)
        if top is not node:
            top.children.append(node)
    return list(threads.values())


def references(messages: Sequence[Message]) -> list[Node]:
    """REFERENCES: by what replies to what, then by base subject."""
    roots = _Forest(messages).roots()
    first = _Dates(messages)
    first.sort(roots)
    roots = _by_subject(messages, roots)
    first.sort_all(roots)
    return roots


class _Forest:
    """Steps 1 to 3: parents by References.  Numbers from len(messages) on are of messages that are not there."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._count = len(messages)
        self._parents = [-1] * self._count
        #: What somebody answered: only that can be above something.
        self._answered: set[int] = set()
        self._steps = MAX_STEPS * (self._count + 1000)
        self._known: dict[bytes, int] = {}
        for number, message in enumerate(messages):
            # Without an id, or with one that was there before, it is as if it had one of its own.
            if message.message_id:
                self._known.setdefault(message.message_id, number)
        for number, message in enumerate(messages):
            self._link(number, message.references[-MAX_REFERENCES:])

    def _place(self, ident: bytes) -> int:
        """The number of an id, -1 when there is no room for it."""
        known, parents = self._known, self._parents
        number = known.get(ident)
        if number is None:
            if len(parents) - self._count >= MAX_ABSENT:
                return -1
            number = known[ident] = len(parents)
            parents.append(-1)
        return number

    def _link(self, number: int, ids: Sequence[bytes]) -> None:
        parents = self._parents
        last = -1
        for ident in ids:
            place = self._place(ident)
            if place < 0:
                continue
            if last >= 0 and parents[place] < 0 and not self._above(place, last):
                self._set(place, last)
            last = place
        # A parent from before came from somebody else's References, cut short perhaps.
        parents[number] = -1
        if last >= 0 and not self._above(number, last):
            self._set(number, last)

    def _set(self, place: int, parent: int) -> None:
        self._parents[place] = parent
        self._answered.add(parent)

    def _above(self, place: int, below: int) -> bool:
        """Whether `place` is `below` or above it; also where it would take too long to find out."""
        if place == below:
            return True
        if place not in self._answered:
            return False
        parents = self._parents
        while below >= 0 and self._steps:
            if below == place:
                return True
            below = parents[below]
            self._steps -= 1
        return below >= 0

    def roots(self) -> list[Node]:
        """The trees, without those that are not there: their children take their places; but on top only a single
        child does."""
        parents, count = self._parents, self._count
        nodes = [Node(number if number < count else None) for number in range(len(parents))]
        tops: list[Node] = []
        for number, parent in enumerate(parents):
            (nodes[parent].children if parent >= 0 else tops).append(nodes[number])
        for node in _upwards(tops):
            node.children = list(_kept(node.children))
        return [
            node.children[0] if node.number is None and len(node.children) == 1 else node
            for node in tops
            if node.number is not None or node.children
        ]


def _kept(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        if node.number is None:
            yield from node.children
        else:
            yield node


def _upwards(tops: Iterable[Node]) -> Iterator[Node]:
    """All nodes, children before parents."""
    order = list(tops)
    for node in order:
        order.extend(node.children)
    return reversed(order)


class _Dates:
    """Sorts by sent date, then by number; one that is not there counts as its first child."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def _key(self, node: Node) -> tuple[int, int]:
        number = node.number if node.number is not None else _number(node)
        return self._messages[number].date, number

    def sort(self, roots: list[Node]) -> None:
        """Step 4: the top alone."""
        for node in roots:
            if node.number is None:
                node.children[:] = sorted_in_steps(node.children, self._key)
        roots[:] = sorted_in_steps(roots, self._key)

    def sort_all(self, roots: list[Node]) -> None:
        """Step 6: all siblings, the youngest generation first."""
        for node in _upwards(roots):
            if len(node.children) > 1:
                node.children[:] = sorted_in_steps(node.children, self._key)
        roots[:] = sorted_in_steps(roots, self._key)


def _number(node: Node) -> int:
    """The message that speaks for a thread: its first child's when the top is not there."""
    while node.number is None:
        node = node.children[0]
    return node.number


def _by_subject(messages: Sequence[Message], roots: Sequence[Node]) -> list[Node]:
    """Step 5: threads of one base subject become one; the result is in no order."""
    table: dict[str, Node] = {}
    for node in roots:
        message = messages[_number(node)]
        if not message.subject:
            continue
        other = table.setdefault(message.subject, node)
        if other.number is not None and (node.number is None or (_reply(messages, other) and not message.reply)):
            table[message.subject] = node
    merged = {id(node): node for node in roots}
    for node in roots:
        subject = messages[_number(node)].subject
        other = table[subject] if subject else node
        if other is node:
            continue
        del merged[id(node)]
        if other.number is None:
            other.children.extend(node.children if node.number is None else (node,))
        elif _reply(messages, node) and not _reply(messages, other):
            other.children.append(node)
        else:
            both = table[subject] = Node(None, [other, node])
            del merged[id(other)]
            merged[id(both)] = both
    return list(merged.values())


def _reply(messages: Sequence[Message], node: Node) -> bool:
    return messages[_number(node)].reply


def dissolve(roots: list[Node]) -> None:
    """Free trees in steps."""
    order = list(roots)
    roots.clear()
    for node in order:
        order.extend(node.children)
        node.children.clear()
    let_go(order)


def written(roots: Iterable[Node], names: Sequence[int]) -> Iterator[str]:
    """Each thread as RFC 5256 section 5 writes it; `names` are the messages' numbers or UIDs."""
    for root in roots:
        out: list[str] = []
        waiting: list[Node | None] = [root]
        while waiting:
            node = waiting.pop()
            if node is None:
                out.append(")")
                continue
            out.append("(")
            while node.number is not None:
                out.append(str(names[node.number]))
                if len(node.children) != 1:
                    break
                out.append(" ")
                node = node.children[0]
            waiting.append(None)
            if node.children:
                if node.number is not None:
                    out.append(" ")
                waiting.extend(reversed(node.children))
        yield "".join(out)
