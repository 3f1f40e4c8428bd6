"""The fields of a header that clients ask for and search in, so that the header need not be read again (floor 1).

One opaque, versioned record beside the one of `summary.py`: the octets of the fields in `COMMON`, and what is searched
of the five that SEARCH has keys for, decoded and in the form of `text.folded`.  Stores keep it and forget it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from struct import Struct, error

from .header import MAX_OCTETS, decode, values
from .text import folded

#: A record of another version is made anew; a change of the names below is one.
VERSION = 1
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
#: Octets of a record: of a header with more there is none, and it is read itself.
MAX_RECORD = 32 * 1024
_ABSENT, _TOO_LARGE = 0xFFFF, 0xFF
#: magic, version, fields, octets of the texts; and of each field: id, octets.
_HEAD = Struct("<2sBB5H")
_FIELD = Struct("<BH")


def extract(header: bytes) -> bytes:
    """The record of a header block; never raises, O(octets)."""
    chosen = _chosen(header)
    texts: list[bytes | None] = [_text(header, name) for name in SEARCHED]
    size = sum(len(octets) for _, octets in chosen) + sum(len(text or b"") for text in texts)
    if len(header) > MAX_OCTETS or len(chosen) >= _TOO_LARGE or size > MAX_RECORD:
        return _HEAD.pack(b"mh", VERSION, _TOO_LARGE, *[_ABSENT] * len(SEARCHED))
    lengths = [_ABSENT if text is None else len(text) for text in texts]
    return b"".join(
        (
            _HEAD.pack(b"mh", VERSION, len(chosen), *lengths),
            *(text for text in texts if text is not None),
            *(_FIELD.pack(number, len(octets)) for number, octets in chosen),
            *(octets for _, octets in chosen),
        )
    )


def _chosen(header: bytes) -> list[tuple[int, bytes]]:
    """(id, octets without the last line end) of the fields in `COMMON`; lines as `select_fields` reads them."""
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
    return [(number, b"\n".join(lines)) for number, lines in found]


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
            magic, version, self._count, *self._lengths = _HEAD.unpack_from(record)
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

    def select(self, numbers: Collection[int]) -> bytes:
        """As `select_fields` for these ids (`numbers_of`), of the whole header."""
        record = self._record
        at = _HEAD.size + sum(length for length in self._lengths if length != _ABSENT)
        start = at + self._count * _FIELD.size
        chosen = []
        for number, size in _FIELD.iter_unpack(record[at:start]):
            end = start + size
            if number in numbers:
                chosen.append(record[start:end])
            start = end
        octets = b"\n".join(chosen)
        if octets.endswith(b"\r"):
            octets = octets[:-1]
        return octets + b"\r\n\r\n" if octets else b"\r\n"


def needle_of(text: str) -> bytes | None:
    """What is looked for in `Head.text`, from text in the form of `folded`; None: it could lie across two fields."""
    return None if "\n" in text else text.encode("utf-8", "surrogatepass")
