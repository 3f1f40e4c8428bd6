"""Compressed RTF (floor 1): [MS-OXRTFCP], LZFu and MELA."""

from __future__ import annotations

#: Octets of the largest RTF that is unpacked; what is beyond is cut off.
MAX_RTF = 4 * 2**20

_COMPRESSED, _PLAIN = b"LZFu", b"MELA"
_WINDOW = 4096
_START = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20"
    b"\\b\\i\\u\\tab\\tx"
)


def unpack_rtf(data: bytes) -> bytes | None:
    """The RTF of a compressed one, at most `MAX_RTF` octets; None for what is none.

    Data that ends too early give what is there; the checksum is not looked at: half a text is better than none.
    """
    kind = data[8:12]
    size = min(int.from_bytes(data[4:8], "little"), MAX_RTF)
    if kind == _PLAIN:
        return data[16 : 16 + size]
    if kind != _COMPRESSED:
        return None
    return _inflated(data, min(int.from_bytes(data[:4], "little") + 4, len(data)), size)


def _inflated(data: bytes, end: int, size: int) -> bytes:
    """Runs of eight tokens after an octet of flags: an octet, or offset and length in the last 4096 octets."""
    out = bytearray(_START)
    limit = size + len(_START)
    at = 16
    while at < end and len(out) < limit:
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if not flags >> bit & 1:
                out.append(data[at])
                at += 1
                continue
            if at + 2 > end:
                at = end
                break
            offset, length = data[at] << 4 | data[at + 1] >> 4, (data[at + 1] & 15) + 2
            at += 2
            place = len(out) % _WINDOW
            if offset == place:
                return bytes(out[len(_START) : limit])
            # The window is what was written last: `offset` is a place in it.
            back = (place - offset) % _WINDOW
            start = len(out) - back
            if start < 0:
                # Before the beginning: nothing was written there yet.
                out += b" " * min(length, -start)
                length -= min(length, -start)
                start = 0
            for number in range(length):
                out.append(out[start + number])
    return bytes(out[len(_START) : limit])
