"""What is kept of a message so that its octets need not be read again (floor 1).

One opaque, versioned record: ENVELOPE, BODY and BODYSTRUCTURE ready for the wire, the offsets of all parts for
BODY[...] (RFC 9051 section 6.4.5), the sent date.  Stores keep it and forget it; only this module reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error

from .dates import parse_date_field
from .render import body_structures, envelope
from .structure import MESSAGE, MULTIPART, Part, parse

#: A record of another version is made anew.
VERSION = 1
_MAGIC = b"ms"
#: magic, version, flags, zone, epoch, octets of header, envelope, body, body structure; parts.
_HEAD = Struct("<2sBBhqQIIII")
_HAS_DATE = 1
#: One part: header start, body start, body end, first child, children, kind.
_PART = Struct("<QQQIIB")
_START = _MAGIC + bytes((VERSION,))
#: Of the head: octets of envelope, body, body structure.
_TEXTS = Struct("<22xIII")

_NOTHING = (0, 0)


def summarise(octets: bytes | memoryview) -> bytes:
    """The record of a message; never raises, O(octets)."""
    message = octets if isinstance(octets, bytes) else bytes(octets)
    root = parse(message)
    written = envelope(root.fields)
    body, structure = body_structures(message, root)
    value = root.fields.get(b"date")
    sent = parse_date_field(value) if value else None
    epoch, zone = sent or _NOTHING
    table, parts = _table(root)
    head = _HEAD.pack(
        _MAGIC, VERSION, _HAS_DATE if sent else 0, zone, epoch, root.body_start,
        len(written), len(body), len(structure), parts,
    )  # fmt: skip
    return b"".join((head, written, body, structure, table))


def _table(root: Part) -> tuple[bytes, int]:
    """The parts level by level, so that the children of one stand together; and how many they are."""
    order = [root]
    rows = []
    for part in order:
        first = len(order)
        order.extend(part.children)
        rows.append(_PART.pack(part.header_start, part.body_start, part.body_end, first, len(part.children), part.kind))
    return b"".join(rows), len(order)


class Summary:
    """Reads a record made by `summarise` in this version; other octets raise ValueError."""

    __slots__ = ("_body", "_envelope", "_parts", "_structure", "_table", "header_length", "record", "sent")

    def __init__(self, record: bytes) -> None:
        try:
            magic, version, flags, zone, epoch, header, size, short, full, parts = _HEAD.unpack_from(record)
        except error as problem:
            raise ValueError("no summary") from problem
        self._envelope = _HEAD.size + size
        self._body = self._envelope + short
        self._structure = self._body + full
        if magic != _MAGIC or version != VERSION or len(record) != self._structure + parts * _PART.size:
            raise ValueError("no summary of this version")
        self.record = record
        self._parts: int = parts
        #: Octets of the header block with its blank line.
        self.header_length: int = header
        #: (epoch, zone) of the Date field, or None.
        self.sent: tuple[int, int] | None = (epoch, zone) if flags & _HAS_DATE else None

    @staticmethod
    def current(record: bytes | None) -> bool:
        """Whether it is a record of this version."""
        return record is not None and record.startswith(_START)

    @property
    def envelope(self) -> bytes:
        """ENVELOPE's value."""
        return self.record[_HEAD.size : self._envelope]

    @property
    def body(self) -> bytes:
        """BODY's value."""
        return self.record[self._envelope : self._body]

    @property
    def bodystructure(self) -> bytes:
        """BODYSTRUCTURE's value."""
        return self.record[self._body : self._structure]

    def find(self, part: tuple[int, ...], text: str = "") -> tuple[int, int] | None:
        """(offset, length) of a section in the message's octets, None when there is no such section.

        `text` is "", HEADER, TEXT or MIME.  HEADER and TEXT of a part exist for a message/rfc822 only.
        """
        start, body, end, first, count, kind = self._row(0)
        if not part:
            return _cut(text, start, body, end, start)
        #: Whether the entity is the top one of a message, which part number 1 may name.
        top = True
        for number in part:
            if not top and kind == MESSAGE:
                start, body, end, first, count, kind = self._row(first)
                top = True
            if kind == MULTIPART:
                if not 1 <= number <= count:
                    return None
                start, body, end, first, count, kind = self._row(first + number - 1)
            elif not top or number != 1:
                return None
            top = False
        if text == "":
            return body, end - body
        if text == "MIME":
            return start, body - start
        if kind != MESSAGE:
            return None
        start, body, end, first, count, kind = self._row(first)
        return _cut(text, start, body, end, start)

    def places(self) -> list[tuple[int, int, int, int]]:
        """The leaves and messages as `text.is_in_body` takes them."""
        found = []
        for start, body, end, first, count, kind in _PART.iter_unpack(self.record[self._structure :]):
            if kind == MESSAGE:
                row = self._row(first)
                found.append((kind, start, row[0], row[1]))
            elif not count:
                found.append((kind, start, body, end))
        return found

    def _row(self, number: int) -> tuple[int, int, int, int, int, int]:
        return _PART.unpack_from(self.record, self._structure + number * _PART.size)


def texts(records: Sequence[bytes], name: str) -> list[bytes] | None:
    """ENVELOPE, BODY or BODYSTRUCTURE of many at once; None when one of them is no record of this version."""
    if not all([record.startswith(_START) for record in records]):
        return None
    begin, lengths = _HEAD.size, map(_TEXTS.unpack_from, records)
    if name == "ENVELOPE":
        return [record[begin : begin + size] for record, (size, _, _) in zip(records, lengths)]
    if name == "BODY":
        return [record[begin + skip : begin + skip + size] for record, (skip, size, _) in zip(records, lengths)]
    return [
        record[(at := begin + skip + further) : at + size] for record, (skip, further, size) in zip(records, lengths)
    ]


def _cut(text: str, start: int, body: int, end: int, whole: int) -> tuple[int, int] | None:
    """A section of a message."""
    if text == "":
        return whole, end - whole
    if text == "HEADER":
        return start, body - start
    if text == "TEXT":
        return body, end - body
    return None
