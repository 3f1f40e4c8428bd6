"""Does a message match a query (floor 1)?  RFC 9051 section 6.4.4.

A query is made into one function once, then asked for every message.  What a candidate does not know yet is None
there, and the answer is None when it depends on that: so a search can first be answered from flags, sizes and
dates, and only the undecided messages need to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq, ge, le, lt

from attrs import define, field

from .. import query as q
from ..values import FIRST_KEYWORD_BIT, SYSTEM_FLAGS
from .dates import day_number
from .head import SEARCHED, Head, needle_of, numbers_of
from .header import decode, values
from .text import Place, folded, header_text, is_in_body
from .thread_id import of_head

#: A date's relation in `query.Internal` and `query.Sent`.
_RELATIONS: dict[str, Callable[[int, int], bool]] = {"<": lt, "=": eq, ">=": ge}
_SYSTEM_BITS = {flag.lower(): 1 << bit for bit, flag in enumerate(SYSTEM_FLAGS)}


@define
class Candidate:
    """One message under consideration; what is not known (yet) is None.

    `flags` is the mask of `values.Columns`, `keywords` comes from `keyword_masks`, one for the whole mailbox.
    `sent` is (epoch, zone) of the Date field, None too when there is no such date: set `dated` when that is known.
    `head` has the usual fields, `header` is the header block, `content` the whole message, `places` those of its
    parts (`Summary.places`) where they are known.  `place` is for whoever made it.
    """

    uid: int
    flags: int = 0
    keywords: Mapping[bytes, int] = field(factory=dict)
    modseq: int = 0
    recent: bool = False
    size: int | None = None
    internal_date: int | None = None
    zone: int = 0
    saved_at: int = 0
    email_id: str | None = None
    sent: tuple[int, int] | None = None
    dated: bool = False
    head: Head | None = None
    header: bytes | None = None
    content: bytes | None = None
    places: Sequence[Place] | None = None
    place: int = 0


Matcher = Callable[[Candidate], bool | None]


def keyword_masks(keywords: Sequence[bytes]) -> dict[bytes, int]:
    """Lower-case keyword -> its bit, of a mailbox's `Columns.keywords`."""
    return {keyword.lower(): 1 << (FIRST_KEYWORD_BIT + number) for number, keyword in enumerate(keywords)}


def needs(query: q.Query) -> frozenset[str]:
    """What must be known of a candidate: of {"size", "dates", "ids", "summary", "head", "header", "content"}.

    "summary" stands for `sent`; where "head" does not tell, "header" must be given.  With "content" the header need not
    be given apart.
    """
    found: set[str] = set()
    waiting = [query]
    while waiting:
        node = waiting.pop()
        waiting.extend(_children(node))
        need = _NEEDS.get(type(node))
        if isinstance(node, q.HeaderContains) and numbers_of((_name(node),)) is not None:
            need = "head"
        if need:
            found.add(need)
    return frozenset(found)


_NEEDS: dict[type, str] = {
    q.Larger: "size", q.Smaller: "size", q.Internal: "dates", q.Arrived: "dates", q.Saved: "dates", q.EmailId: "ids",
    q.Sent: "summary", q.ThreadId: "head",
    q.HeaderContains: "header", q.BodyContains: "content", q.TextContains: "content",
}  # fmt: skip
#: What a node costs to answer, so that And and Or ask the cheap ones first.
_COSTS = {"": 0, "size": 1, "dates": 1, "ids": 1, "summary": 2, "head": 3, "header": 10, "content": 1000}


def _children(node: q.Query) -> tuple[q.Query, ...]:
    if isinstance(node, q.And):
        return node.children
    if isinstance(node, q.Or):
        return node.left, node.right
    if isinstance(node, q.Not):
        return (node.child,)
    return ()


def by_day(query: q.Query) -> bool:
    """Whether of all dates it asks for the days of arrival alone."""
    children = _children(query)
    if not children:
        return isinstance(query, q.Internal)
    asking = [child for child in children if "dates" in needs(child)]
    return bool(asking) and all(map(by_day, asking))


def sieve(query: q.Query) -> tuple[bytes, ...]:
    """Octets of which what matches has at least one in its record of usual fields (`head.might_hold`); none when that
    cannot be said."""
    if isinstance(query, q.And):
        return next(filter(None, map(sieve, query.children)), ())
    if isinstance(query, q.Or):
        left, right = sieve(query.left), sieve(query.right)
        return left + right if left and right else ()
    if isinstance(query, q.HeaderContains) and _name(query) in SEARCHED:
        octets = needle_of(folded(query.text))
        return (octets,) if octets else ()
    return ()


def matches(query: q.Query, candidate: Candidate) -> bool:
    """Whether a candidate that has all it `needs` matches."""
    return bool(matcher(query)(candidate))


def matcher(query: q.Query) -> Matcher:
    """The query as a function: True, False, or None while the answer depends on what is not known.

    The query's depth is bounded by its parser (RFC 9051 sets none; `Limits.imap_depth`).  Numbers and UidNumbers
    must have been resolved: they raise TypeError here.
    """
    return _build(query)[1]


def _build(node: q.Query) -> tuple[int, Matcher]:
    """(cost, function) of a node."""
    if isinstance(node, q.And):
        return _combined([_build(child) for child in node.children], False)
    if isinstance(node, q.Or):
        return _combined([_build(node.left), _build(node.right)], True)
    if isinstance(node, q.Not):
        cost, inner = _build(node.child)
        return cost, _negated(inner)
    maker = _MAKERS.get(type(node))
    if maker is None:
        raise TypeError(f"{type(node).__name__} cannot be asked of a message alone")
    return _COSTS[_NEEDS.get(type(node), "")], maker(node)


def _combined(children: list[tuple[int, Matcher]], decisive: bool) -> tuple[int, Matcher]:
    """And (`decisive` False) or Or (True): the cheap children first, the first decisive answer ends it."""
    children = sorted(children, key=lambda child: child[0])
    functions = tuple(function for _, function in children)

    def combined(candidate: Candidate) -> bool | None:
        unknown = False
        for function in functions:
            answer = function(candidate)
            if answer is decisive:
                return decisive
            if answer is None:
                unknown = True
        return None if unknown else not decisive

    return sum(cost for cost, _ in children), combined


def _negated(inner: Matcher) -> Matcher:
    def negated(candidate: Candidate) -> bool | None:
        answer = inner(candidate)
        return None if answer is None else not answer

    return negated


def _has_flag(node: q.HasFlag) -> Matcher:
    name = node.flag.lower()
    if name == b"\\recent":
        return lambda candidate: candidate.recent
    bit = _SYSTEM_BITS.get(name)
    if bit is not None:
        return lambda candidate: candidate.flags & bit != 0
    return lambda candidate: candidate.flags & candidate.keywords.get(name, 0) != 0


def _internal(node: q.Internal) -> Matcher:
    relation, day = _RELATIONS[node.relation], node.day

    def internal(candidate: Candidate) -> bool | None:
        if candidate.internal_date is None:
            return None
        return relation(day_number(candidate.internal_date, candidate.zone), day)

    return internal


def _arrived(node: q.Arrived) -> Matcher:
    relation, instant = (ge if node.since else le), node.instant
    return lambda candidate: None if candidate.internal_date is None else relation(candidate.internal_date, instant)


def _saved(node: q.Saved) -> Matcher:
    relation, day = _RELATIONS[node.relation], node.day
    # Known together with the internal date; RFC 8514 section 4.3 leaves the zone to the server.
    return lambda candidate: (
        None if candidate.internal_date is None else relation(day_number(candidate.saved_at, 0), day)
    )


def _email_id(node: q.EmailId) -> Matcher:
    ident = node.ident
    return lambda candidate: None if candidate.email_id is None else candidate.email_id == ident


def _thread_id(node: q.ThreadId) -> Matcher:
    ident = node.ident
    return lambda candidate: None if candidate.head is None else of_head(candidate.head) == ident


def _sent(node: q.Sent) -> Matcher:
    relation, day = _RELATIONS[node.relation], node.day

    def sent(candidate: Candidate) -> bool | None:
        if candidate.sent is None:
            return False if candidate.dated else None
        return relation(day_number(*candidate.sent), day)

    return sent


def _larger(node: q.Larger) -> Matcher:
    octets = node.octets
    return lambda candidate: None if candidate.size is None else candidate.size > octets


def _smaller(node: q.Smaller) -> Matcher:
    octets = node.octets
    return lambda candidate: None if candidate.size is None else candidate.size < octets


def _name(node: q.HeaderContains) -> bytes:
    return node.name.encode("utf-8", "surrogateescape").lower()


def _header(node: q.HeaderContains) -> Matcher:
    name, needle = _name(node), folded(node.text)
    place = SEARCHED.index(name) if name in SEARCHED else -1
    octets, numbers = needle_of(needle), numbers_of((name,))

    def header(candidate: Candidate) -> bool | None:
        head = candidate.head
        if head is not None and head.told and numbers is not None:
            if place >= 0 and octets is not None:
                text = head.text(place)
                return text is not None and octets in text
            block: bytes | None = head.select(numbers)
        else:
            block = candidate.header if candidate.header is not None else candidate.content
        if block is None:
            return None
        found = values(block, name)
        return any(needle in folded(decode(value)) for value in found) if needle else bool(found)

    return header


def _body(node: q.BodyContains) -> Matcher:
    needle = folded(node.text)

    def body(candidate: Candidate) -> bool | None:
        return None if candidate.content is None else is_in_body(needle, candidate.content, candidate.places)

    return body


def _text(node: q.TextContains) -> Matcher:
    needle = folded(node.text)

    def text(candidate: Candidate) -> bool | None:
        block = candidate.header if candidate.header is not None else candidate.content
        if block is not None and needle in header_text(block):
            return True
        return None if candidate.content is None else is_in_body(needle, candidate.content, candidate.places)

    return text


_MAKERS: dict[type, Callable[..., Matcher]] = {
    q.All: lambda node: lambda candidate: True,
    q.Nothing: lambda node: lambda candidate: False,
    q.Recent: lambda node: lambda candidate: candidate.recent,
    q.Uids: lambda node: lambda candidate: candidate.uid in node.uids,
    q.ChangedSince: lambda node: lambda candidate: candidate.modseq >= node.modseq,
    q.HasFlag: _has_flag, q.Internal: _internal, q.Arrived: _arrived, q.Saved: _saved, q.EmailId: _email_id,
    q.ThreadId: _thread_id, q.Sent: _sent, q.Larger: _larger, q.Smaller: _smaller,
    q.HeaderContains: _header, q.BodyContains: _body, q.TextContains: _text,
}  # fmt: skip
