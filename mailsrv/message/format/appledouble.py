"""Files of a Macintosh in mail (floor 1): AppleSingle and AppleDouble (RFC 1740), data and resource fork."""

from __future__ import annotations

from attrs import field, frozen

#: Entries read of one header.
MAX_ENTRIES = 64
_SINGLE, _DOUBLE = 0x00051600, 0x00051607
_DATA, _RESOURCE, _NAME, _FINDER = 1, 2, 3, 9


@frozen
class MacFile:
    """A file with two forks.  `kind` and `creator` are four octets, `flags` the Finder's."""

    data: bytes = field(repr=False)
    resource: bytes = field(default=b"", repr=False)
    name: str = ""
    kind: bytes = b"????"
    creator: bytes = b"????"
    flags: int = 0


def read_apple_file(octets: bytes) -> MacFile | None:
    """The file that an AppleSingle or the header of an AppleDouble describes; None for what is neither.

    An entry that lies outside of the octets is left out.
    """
    if len(octets) < 26 or int.from_bytes(octets[:4], "big") not in (_SINGLE, _DOUBLE):
        return None
    entries: dict[int, bytes] = {}
    for number in range(min(int.from_bytes(octets[24:26], "big"), MAX_ENTRIES)):
        at = 26 + 12 * number
        entry, offset, length = (int.from_bytes(octets[at + part : at + part + 4], "big") for part in (0, 4, 8))
        if at + 12 <= len(octets) and offset + length <= len(octets):
            entries.setdefault(entry, octets[offset : offset + length])
    finder = entries.get(_FINDER, b"")
    known = len(finder) >= 10
    return MacFile(
        entries.get(_DATA, b""),
        entries.get(_RESOURCE, b""),
        entries.get(_NAME, b"").decode("mac_roman"),
        finder[:4] if known else b"????",
        finder[4:8] if known else b"????",
        int.from_bytes(finder[8:10], "big") if known else 0,
    )
