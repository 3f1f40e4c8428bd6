"""What a search asks for (floor 0): a tree that `wire/` reads, stores may answer and `message/` evaluates.

RFC 9051 section 6.4.4.  Text is already decoded; dates are ordinals of `datetime.date` (the day number), and
INTERNALDATE is compared by its own zone's day (RFC 9051: "disregarding time and timezone").
"""

from __future__ import annotations

from attrs import frozen

from .numbers import NumSet, UidSet


@frozen
class Query:
    """Base of all nodes."""


@frozen
class All(Query):
    """Every message."""


@frozen
class And(Query):
    """All of these; with none, every message."""

    children: tuple[Query, ...]


@frozen
class Or(Query):
    """Either of two."""

    left: Query
    right: Query


@frozen
class Not(Query):
    """None of this."""

    child: Query


@frozen
class HasFlag(Query):
    """A system flag (``b"\\\\Seen"``) or keyword is set.  Compared without case."""

    flag: bytes


@frozen
class Recent(Query):
    """The message is recent to this session (only a session can answer)."""


@frozen
class Numbers(Query):
    """Message sequence numbers, as the client wrote them; a session turns this into `Uids`."""

    numbers: NumSet


@frozen
class UidNumbers(Query):
    """UIDs as the client wrote them, with ``*``; a session turns this into `Uids`."""

    numbers: NumSet


@frozen
class Uids(Query):
    """UIDs, resolved."""

    uids: UidSet


@frozen
class HeaderContains(Query):
    """A header field `name` exists whose decoded text contains `text` (an empty text: the field exists)."""

    name: str
    text: str


@frozen
class BodyContains(Query):
    """The decoded text of the body contains `text`."""

    text: str


@frozen
class TextContains(Query):
    """The decoded header or body contains `text`."""

    text: str


@frozen
class Internal(Query):
    """INTERNALDATE's day is before ("<"), on ("=") or since (">=") `day`."""

    relation: str
    day: int


@frozen
class Sent(Query):
    """The Date field's day is before, on or since `day`."""

    relation: str
    day: int


@frozen
class Larger(Query):
    """RFC822.SIZE is above `octets`."""

    octets: int


@frozen
class Smaller(Query):
    """RFC822.SIZE is below `octets`."""

    octets: int


@frozen
class ChangedSince(Query):
    """MODSEQ is at least `modseq` (RFC 7162 section 3.1.5)."""

    modseq: int


@frozen
class Within(Query):
    """INTERNALDATE is at most (`younger`), or at least, so many `seconds` ago (RFC 5032); a session turns this into
    `Arrived`."""

    younger: bool
    seconds: int


@frozen
class Arrived(Query):
    """INTERNALDATE is at or after (`since`), or else at or before, the epoch second `instant`."""

    since: bool
    instant: int


@frozen
class Saved(Query):
    """The day (UTC) of the message's coming into this mailbox is before, on or since `day` (RFC 8514)."""

    relation: str
    day: int


@frozen
class EmailId(Query):
    """The message has this EMAILID (RFC 8474)."""

    ident: str


@frozen
class ThreadId(Query):
    """The message has this THREADID (RFC 8474)."""

    ident: str


@frozen
class Nothing(Query):
    """No message."""
