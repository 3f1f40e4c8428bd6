"""Transport Neutral Encapsulation Format (floor 1): what is in a winmail.dat, [MS-OXTNEF] and [MS-OXCDATA]."""

from __future__ import annotations

from attrs import define, field

#: Attributes of one TNEF, properties of one list, values of one property, attachments: further ones are not read.
MAX_ATTRIBUTES, MAX_PROPERTIES, MAX_VALUES, MAX_FILES = 20_000, 5000, 1000, 500

_SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTACHMENT = 2
_SUBJECT, _BODY, _CLASS, _CODEPAGE = 0x8004, 0x800C, 0x8008, 0x9007
_FILE_STARTS, _FILE_DATA, _FILE_TITLE, _FILE_PROPERTIES, _PROPERTIES = 0x9002, 0x800F, 0x8010, 0x9005, 0x9003

#: Octets of a property's value, by its type; 0 for those that say it themselves.
_SIZES = {
    0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, 0x000B: 4, 0x0014: 8, 0x0040: 8,
    0x0048: 16, 0x000D: 0, 0x001E: 0, 0x001F: 0, 0x0102: 0,
}  # fmt: skip
STRING8, UNICODE, BINARY, OBJECT = 0x001E, 0x001F, 0x0102, 0x000D

#: Type and raw value of each property, by its number; named properties are left out.
Properties = dict[int, tuple[int, bytes]]


@define
class TnefFile:
    """An attachment: octets, the short name of its header, its properties."""

    data: bytes = field(default=b"", repr=False)
    title: bytes = b""
    properties: Properties = field(factory=dict, repr=False)


@define
class Tnef:
    """What one TNEF holds; `whole`: it could be read to its end."""

    message_class: bytes = b""
    codepage: int = 0
    subject: bytes = b""
    body: bytes = field(default=b"", repr=False)
    properties: Properties = field(factory=dict, repr=False)
    files: list[TnefFile] = field(factory=list)
    whole: bool = True


class _Octets:
    """Octets that are read from the start; what is not there is nothing."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    @property
    def left(self) -> int:
        """Octets that are still there."""
        return len(self._data) - self.at

    def number(self, size: int) -> int:
        """A number of that many octets."""
        return int.from_bytes(self.take(size), "little")

    def take(self, size: int) -> bytes:
        """The next octets."""
        found = self._data[self.at : self.at + size]
        self.at += size
        return found


def read_tnef(octets: bytes) -> Tnef | None:
    """What a TNEF holds; None for what is none.  Never raises: what is cut off or makes no sense ends the reading.

    Checksums are not looked at.
    """
    if not octets.startswith(_SIGNATURE):
        return None
    found = Tnef()
    reader = _Octets(octets, 6)
    for _ in range(MAX_ATTRIBUTES):
        if reader.left < 9:
            # QUIRK: the last checksum is missing, or line ends and zeros follow; of gateways.
            found.whole = found.whole and not reader.take(9).strip(b"\0\r\n ")
            return found
        level, number = reader.number(1), reader.number(4) & 0xFFFF
        size = reader.number(4)
        if level not in (1, _ATTACHMENT) or size > reader.left:
            break
        value = reader.take(size)
        reader.at += 2
        if level == _ATTACHMENT:
            _of_attachment(found, number, value)
        else:
            _of_message(found, number, value)
    found.whole = False
    return found


def _of_message(found: Tnef, number: int, value: bytes) -> None:
    if number == _CLASS:
        found.message_class = value.rstrip(b"\0")
    elif number == _CODEPAGE:
        found.codepage = int.from_bytes(value[:4], "little")
    elif number == _SUBJECT:
        found.subject = value.rstrip(b"\0")
    elif number == _BODY:
        found.body = value.rstrip(b"\0")
    elif number == _PROPERTIES:
        found.properties |= read_properties(value)


def _of_attachment(found: Tnef, number: int, value: bytes) -> None:
    if number == _FILE_STARTS and len(found.files) <= MAX_FILES:
        found.files.append(TnefFile())
    if not found.files or len(found.files) > MAX_FILES:
        found.whole = False
        return
    file = found.files[-1]
    if number == _FILE_DATA:
        file.data = value
    elif number == _FILE_TITLE:
        file.title = value.partition(b"\0")[0]
    elif number == _FILE_PROPERTIES:
        file.properties |= read_properties(value)


def read_properties(octets: bytes) -> Properties:
    """A list of MAPI properties; it ends where something makes no sense."""
    reader = _Octets(octets)
    found: Properties = {}
    for _ in range(min(reader.number(4), MAX_PROPERTIES)):
        if reader.left < 8:
            break
        kind, number = reader.number(2), reader.number(2)
        named = number >= 0x8000
        if named:
            _skip_name(reader)
        many, kind = bool(kind & 0x1000), kind & ~0x1000
        size = _SIZES.get(kind)
        if size is None:
            break
        count = reader.number(4) if many or not size else 1
        if not 0 < count <= MAX_VALUES and not (many and not count):
            break
        for _ in range(count):
            length = size or reader.number(4)
            if length > reader.left:
                return found
            value = reader.take(length)
            reader.at += -length % 4
            if not named and not many:
                found.setdefault(number, (kind, value))
    return found


def _skip_name(reader: _Octets) -> None:
    """The name of a named property: a number, or a string in UTF-16."""
    reader.at += 16
    if reader.number(4) == 0:
        reader.at += 4
    else:
        length = reader.number(4)
        reader.at += length + -length % 4
