"""The fields of a header that clients ask for and search in, so that the header need not be read again (floor 1).

One opaque, versioned record beside the one of `summary.py`: the octets of the fields in `COMMON`, and what is searched
of the five that SEARCH has keys for, decoded and in the form of `text.folded`.  Stores keep it and forget it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from struct import Struct, error

from .header import MAX_OCTETS, decode, values
from .text import folded

#: A record of another version is made anew; a change of the names below is one.
VERSION = 2
_START = b"mh" + bytes((VERSION,))
#: What clients ask for: a request for others is answered from the header itself.
COMMON = (
    b"date from sender reply-to to cc bcc subject message-id in-reply-to references newsgroups content-type"
    b" mime-version content-transfer-encoding content-description content-disposition content-language priority"
    b" x-priority x-msmail-priority importance x-mailer user-agent organization list-id list-post list-unsubscribe"
    b" list-unsubscribe-post x-label keywords lines disposition-notification-to return-receipt-to x-spam-flag"
    b" x-spam-status resent-from resent-to resent-date auto-submitted precedence delivered-to autocrypt return-path"
).split()
_IDS = {name: number for number, name in enumerate(COMMON)}
#: Those that SEARCH has keys for.
SEARCHED = (b"subject", b"from", b"to", b"cc", b"bcc")
_SEARCHED_IDS = frozenset(_IDS[name] for name in SEARCHED)
#: Octets of a record: of a header with more there is none, and it is read itself.
MAX_RECORD = 32 * 1024
_ABSENT, _TOO_LARGE = 0xFFFF, 0xFF
#: magic, version, fields, where their ids begin, octets of the texts.  Behind the texts: an octet for the id of each
#: field, where each ends among the octets of all, and those, each field with the LF of its last line.
_HEAD = Struct("<2sBBH5H")
_QUICK = Struct("<3xBH")


def extract(header: bytes) -> bytes:
    """The record of a header block; never raises, O(octets)."""
    chosen = _chosen(header)
    # Five times the few fields that are searched, not five times the whole header.
    few = b"".join([octets for number, octets in chosen if number in _SEARCHED_IDS])
    texts: list[bytes | None] = [_text(few, name) for name in SEARCHED]
    size = sum(len(octets) for _, octets in chosen) + sum(len(text or b"") for text in texts)
    if len(header) > MAX_OCTETS or len(chosen) >= _TOO_LARGE or size > MAX_RECORD:
        return _HEAD.pack(b"mh", VERSION, _TOO_LARGE, _HEAD.size, *[_ABSENT] * len(SEARCHED))
    lengths = [_ABSENT if text is None else len(text) for text in texts]
    searched = b"".join([text for text in texts if text is not None])
    ends = accumulate(len(octets) for _, octets in chosen)
    return b"".join(
        (
            _HEAD.pack(b"mh", VERSION, len(chosen), _HEAD.size + len(searched), *lengths),
            searched,
            bytes([number for number, _ in chosen]),
            _ends(len(chosen)).pack(*ends),
            *(octets for _, octets in chosen),
        )
    )


@lru_cache(maxsize=_TOO_LARGE)
def _ends(count: int) -> Struct:
    return Struct(f"<{count}H")


def _chosen(header: bytes) -> list[tuple[int, bytes]]:
    """(id, octets with the LF of the last line) of the fields in `COMMON`; lines as `select_fields` reads them."""
    found: list[tuple[int, list[bytes]]] = []
    keep = False
    for line in header.split(b"\n"):
        first = line[:1]
        if first != b" " and first != b"\t":
            if not line or line == b"\r":
                break
            number = _IDS.get(line.partition(b":")[0].rstrip(b" \t\r").lower())
            keep = number is not None
            if number is not None:
                found.append((number, [line]))
        elif keep:
            found[-1][1].append(line)
    return [(number, b"\n".join([*lines, b""])) for number, lines in found]


def _text(header: bytes, name: bytes) -> bytes | None:
    """All values of a field, decoded and folded, a line each; None: there is no such field."""
    found = values(header, name)
    return "\n".join([folded(decode(value)) for value in found]).encode("utf-8", "surrogatepass") if found else None


@lru_cache(maxsize=256)
def numbers_of(names: tuple[bytes, ...]) -> frozenset[int] | None:
    """The ids of fields (any case); None when a name is not among `COMMON`."""
    found = [_IDS.get(name.lower()) for name in names]
    return None if None in found else frozenset(number for number in found if number is not None)


class Head:
    """Reads a record made by `extract` in this version; other octets raise ValueError."""

    __slots__ = ("_count", "_lengths", "_record")

    def __init__(self, record: bytes) -> None:
        try:
            magic, version, self._count, _, *self._lengths = _HEAD.unpack_from(record)
        except error as problem:
            raise ValueError("no head") from problem
        if magic != b"mh" or version != VERSION:
            raise ValueError("no head of this version")
        self._record = record

    @staticmethod
    def current(record: bytes | None) -> bool:
        """Whether it is a record of this version."""
        return record is not None and record.startswith(_START)

    @property
    def told(self) -> bool:
        """False: the header is too large for a record, ask it itself."""
        return bool(self._count != _TOO_LARGE)

    def text(self, place: int) -> bytes | None:
        """What is searched of `SEARCHED[place]`, in UTF-8; None: there is no such field."""
        if self._lengths[place] == _ABSENT:
            return None
        start = _HEAD.size + sum(length for length in self._lengths[:place] if length != _ABSENT)
        return self._record[start : start + self._lengths[place]]

    def select(self, numbers: frozenset[int]) -> bytes:
        """As `select_fields` for these ids (`numbers_of`), of the whole header."""
        selected = select([self._record], numbers)
        assert selected is not None
        return selected[0]


def select(records: Sequence[bytes], numbers: frozenset[int]) -> list[bytes] | None:
    """`Head.select` of many at once; None when one of them is no record of this version or its header too large."""
    out = []
    plans: dict[bytes, tuple[Struct, Sequence[tuple[int, int]]]] = {}
    for record in records:
        if not record.startswith(_START):
            return None
        count, at = _QUICK.unpack_from(record)
        if count == _TOO_LARGE:
            return None
        first = at + count
        ids = record[at:first]
        plan = plans.get(ids)
        if plan is None:
            plan = plans[ids] = _ends(count), _runs(ids, numbers)
        layout, runs = plan
        first += layout.size
        ends = (*layout.unpack_from(record, at + count), 0)
        octets = b"".join([record[first + ends[low] : first + ends[high]] for low, high in runs])[:-1]
        if octets.endswith(b"\r"):
            octets = octets[:-1]
        out.append(octets + b"\r\n\r\n" if octets else b"\r\n")
    return out


@lru_cache(maxsize=256)
def _runs(ids: bytes, numbers: frozenset[int]) -> Sequence[tuple[int, int]]:
    """The fields to take as runs of neighbours: where the one before the first ends (-1: at the beginning), and where
    the last does.  Mail of one origin has its fields in one order, so there are few answers."""
    runs: list[tuple[int, int]] = []
    for place, number in enumerate(ids):
        if number in numbers:
            if runs and runs[-1][1] == place - 1:
                runs[-1] = runs[-1][0], place
            else:
                runs.append((place - 1, place))
    return runs


def might_hold(records: Sequence[bytes], needles: Sequence[bytes]) -> list[bool] | None:
    """Whether each may have one of the needles in what is searched: False is certain.  None when one of them is no
    record of this version."""
    if not all([record.startswith(_START) for record in records]):
        return None
    large = len(_START)
    if len(needles) == 1:
        (needle,) = needles
        return [needle in record or record[large] == _TOO_LARGE for record in records]
    return [record[large] == _TOO_LARGE or any(needle in record for needle in needles) for record in records]


def needle_of(text: str) -> bytes | None:
    """What is looked for in `Head.text`, from text in the form of `folded`; None: it could lie across two fields."""
    return None if "\n" in text else text.encode("utf-8", "surrogatepass")
