"""Header blocks (floor 1): fields, unfolding, encoded words, selection (RFC 5322 section 2.2, RFC 2047).

A block is the octets up to and with the blank line.  Line ends are CRLF; a bare LF is read as one too.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection

from attrs import frozen

from .charsets import text_of

#: What is read of one header block; the rest is opaque.
MAX_FIELDS = 5000
MAX_OCTETS = 2**20
#: Encoded words read in one field; further ones stay as they are.
MAX_WORDS = 20_000
#: Padded pieces read of one base64 text; further ones are read as one.
MAX_PIECES = 10_000
_WORD = re.compile(rb"=\?([^?\s\x00-\x1f]{1,80})\?([bBqQ])\?([^?\r\n]*+)\?=")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


@frozen
class Field:
    """One field of a block: `name` in lower case; [start, end) with its line ends, the value from `value`."""

    name: bytes
    start: int
    value: int
    end: int


def header_end(octets: bytes, start: int = 0) -> int:
    """Where the body begins: after the blank line, or the end when there is none."""
    if octets.startswith(b"\r\n", start):
        return start + 2
    if octets.startswith(b"\n", start):
        return start + 1
    blank = octets.find(b"\n\r\n", start)
    # QUIRK: mail appended by tools that keep Unix line ends.
    bare = octets.find(b"\n\n", start, blank + 1 if blank >= 0 else len(octets))
    if bare >= 0:
        return bare + 2
    return blank + 3 if blank >= 0 else len(octets)


def fields(block: bytes | memoryview) -> list[Field]:
    """The fields of a header block in order, at most `MAX_FIELDS`; lines that are no field are left out."""
    octets = bytes(block[:MAX_OCTETS])
    found: list[Field] = []
    name, start, value, at = b"", 0, 0, 0
    for line in octets.split(b"\n"):
        size = len(line) + 1
        first = line[:1]
        if first != b" " and first != b"\t":
            if name:
                found.append(Field(name, start, value, at))
            if not line or line == b"\r" or len(found) >= MAX_FIELDS:
                name = b""
                break
            colon = line.find(b":")
            name = line[:colon].rstrip(b" \t").lower() if colon > 0 else b""
            start, value = at, at + colon + 1
        at += size
    if name:
        found.append(Field(name, start, value, min(at, len(octets))))
    return found


def unfold(octets: bytes) -> bytes:
    """A field's value, or a whole block, with folding undone: line ends before white space go."""
    if b"\n" not in octets:
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\n ", b" ").replace(b"\n\t", b"\t")


def unfolded_lines(block: bytes) -> list[bytes]:
    """The unfolded fields of a block, one a line, without line ends; bounded."""
    lines = unfold(block[:MAX_OCTETS]).split(b"\n", MAX_FIELDS)
    if len(lines) > MAX_FIELDS:
        lines.pop()
    return lines


def values(block: bytes, name: bytes) -> list[bytes]:
    """The unfolded values of all fields of that name (any case), in order; what follows the header is not read."""
    block = block[: min(header_end(block), MAX_OCTETS)]
    # One octet ahead of `block`, so that the first line has a line end before it too.
    lower = b"\n" + block.lower()
    start = b"\n" + name.lower()
    found: list[bytes] = []
    at = lower.find(start)
    while at >= 0 and len(found) < MAX_FIELDS:
        after = at + len(start)
        end = lower.find(b"\n", after)
        while end >= 0 and lower[end + 1 : end + 2] in (b" ", b"\t"):
            end = lower.find(b"\n", end + 1)
        if end < 0:
            end = len(lower)
        gap, colon, value = block[after - 1 : end - 1].partition(b":")
        if colon and not gap.strip(b" \t"):
            found.append(unfold(value).strip())
        at = lower.find(start, end)
    return found


def select_fields(header: bytes, names: Collection[bytes], inverted: bool) -> bytes:
    """The octets of the fields named (or not named), then a blank line (RFC 9051 section 6.4.5).

    Fields behind the first `MAX_OCTETS` are left out.
    """
    wanted = {name.lower() for name in names}
    chosen: list[bytes] = []
    keep = False
    if len(header) > MAX_OCTETS:
        header = header[: header.rfind(b"\n", 0, MAX_OCTETS) + 1]
    for line in header.split(b"\n"):
        first = line[:1]
        if first != b" " and first != b"\t":
            if not line or line == b"\r":
                break
            keep = (line.partition(b":")[0].rstrip(b" \t\r").lower() in wanted) is not inverted
        if keep:
            chosen.append(line)
    octets = b"\n".join(chosen)
    if octets.endswith(b"\r"):
        octets = octets[:-1]
    return octets + b"\r\n\r\n" if octets else b"\r\n"


def decode(value: bytes) -> str:
    """The text of an unfolded value: encoded words decoded (RFC 2047), raw octets as UTF-8 or Latin-1."""
    if b"=?" not in value:
        return text_of(value)
    pieces: list[str] = []
    #: Octets of neighbouring words of one charset: decoded together.
    # QUIRK: several mailers split a character's octets between two words (RFC 2047 section 5 forbids it).
    charset, pending = b"", [b""]
    end = 0
    for number, word in enumerate(_WORD.finditer(value)):
        if number >= MAX_WORDS:
            break
        between = value[end : word.start()]
        label = word[1].partition(b"*")[0].lower()
        # White space between two encoded words is no part of the text (RFC 2047 section 6.2).
        joined = end and not between.strip()
        if not joined or label != charset:
            pieces.append(text_of(b"".join(pending), charset))
            pending = []
            charset = label
        if not joined:
            pieces.append(text_of(between))
        pending.append(_octets(word[2], word[3]))
        end = word.end()
    pieces.append(text_of(b"".join(pending), charset))
    pieces.append(text_of(value[end:]))
    return "".join(pieces)


def _octets(encoding: bytes, text: bytes) -> bytes:
    """An encoded word's octets; what is not valid is left out."""
    if encoding in b"qQ":
        return binascii.a2b_qp(text.replace(b"_", b"=20"), header=False)
    return base64_octets(text)


def base64_octets(text: bytes) -> bytes:
    """Decode base64 that may hold line ends and foreign octets, and may be cut short; never raises."""
    # QUIRK: padding in the middle, where mailers joined encoded pieces; each piece is read by itself.
    pieces = text.split(b"=", MAX_PIECES) if b"=" in text[:-4] else [text]
    decoded = []
    for piece in pieces:
        clean = _NOT_BASE64.sub(b"", piece)
        rest = len(clean) % 4
        clean = clean[:-1] if rest == 1 else clean + b"=" * (-rest % 4)
        decoded.append(binascii.a2b_base64(clean))
    return b"".join(decoded)
