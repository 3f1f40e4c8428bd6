"""Content-Type and fields of its kind (floor 1): RFC 2045 section 5.1, RFC 2183, RFC 2231."""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen

from .charsets import text_of
from .header import decode
from .imap_strings import parameter_list, string

#: Parameters read of one field, and numbered segments of one parameter (RFC 2231 section 3).
MAX_PARAMETERS = 200
MAX_SEGMENTS = 1000
#: A boundary is at most 70 characters (RFC 2046 section 5.1.1).
# QUIRK: longer ones are seen from bulk mailers; above this the part is opaque.
MAX_BOUNDARY = 250
#: Values up to this size are remembered when parsed: the same few occur in most mail.
_REMEMBERED = 200

_TYPE = re.compile(rb'[ \t\r\n]*+([^\s/;,"()<>=]++)[ \t\r\n]*+/[ \t\r\n]*+([^\s/;,"()<>=]++)')
_WORD = re.compile(rb'[ \t\r\n]*+([^\s;,"()<>=]++)')
_GAP = re.compile(rb"[; \t\r\n]*+")
_PARAMETER = re.compile(rb'([^\s;="()]++)[ \t\r\n]*+=[ \t\r\n]*+(?:"((?:[^"\\]++|\\.)*+)"?+|([^;]*+))', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SEGMENT = re.compile(rb"(.+?)\*([0-9]{1,4})(\*?)\Z", re.DOTALL)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")

Parameters = tuple[tuple[bytes, bytes], ...]


@frozen
class Media:
    """A media type: `name` is type and subtype in lower case, `boundary` a multipart's.

    `type_words`, `subtype_words` and `parameter_words` are type, subtype and parameters as IMAP writes them, in the
    case of the field.
    """

    name: bytes
    parameters: Parameters
    type_words: bytes
    subtype_words: bytes
    parameter_words: bytes
    boundary: bytes = b""

    @classmethod
    def of(cls, kind: bytes, subtype: bytes, found: Parameters, boundary: bytes = b"") -> Media:
        """The media type of these words as a field wrote them."""
        name = kind.lower() + b"/" + subtype.lower()
        return cls(name, found, string(kind), string(subtype), parameter_list(found), boundary)

    def parameter(self, name: bytes) -> bytes:
        """The first value of that name (lower case), or nothing."""
        for key, value in self.parameters:
            if key.lower() == name:
                return value
        return b""


#: RFC 2045 section 5.2, RFC 2046 section 5.1.5, and what cannot be looked into.
TEXT_PLAIN = Media.of(b"TEXT", b"PLAIN", ((b"CHARSET", b"US-ASCII"),))
DIGEST_PART = Media.of(b"MESSAGE", b"RFC822", ())


def media(value: bytes) -> Media:
    """The media type a Content-Type field's value names; what is malformed is text/plain."""
    return _media_remembered(value) if len(value) <= _REMEMBERED else _media(value)


def _media(value: bytes) -> Media:
    match = _TYPE.match(value)
    if match is None:
        # QUIRK: "Content-Type: text" of ancient mailers, and worse (RFC 2045 section 5.2).
        return TEXT_PLAIN
    kind, subtype = match.groups()
    found = parameters(value, match.end())
    boundary = b""
    if kind.lower() == b"multipart":
        for key, text in found:
            if key.lower() == b"boundary":
                boundary = text.rstrip()
                break
    return Media.of(kind, subtype, found, boundary if len(boundary) <= MAX_BOUNDARY else b"")


_media_remembered = lru_cache(maxsize=1024)(_media)


def disposition(value: bytes) -> tuple[bytes, Parameters] | None:
    """(type, parameters) of a Content-Disposition value (RFC 2183), or None when it has no type."""
    match = _WORD.match(value)
    if match is None:
        return None
    return match[1], parameters(value, match.end())


def parameters(value: bytes, at: int) -> Parameters:
    """The parameters from offset `at` on, values unquoted.

    Continuations are joined under their plain name; a parameter with a charset keeps the `*` of its name and its
    percent octets (RFC 2231), for those who show it to decode.
    """
    found: list[tuple[bytes, bytes]] = []
    segmented = False
    while len(found) < MAX_PARAMETERS:
        at = value.find(b";", at)
        if at < 0:
            break
        gap = _GAP.match(value, at)
        at = gap.end() if gap else at
        match = _PARAMETER.match(value, at)
        if match is None:
            continue
        name, quoted, plain = match.groups()
        if quoted is not None:
            text = _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        else:
            # QUIRK: values with spaces and no quotes (old Outlook).
            text = plain.strip()
            if text.endswith(b")"):
                # A comment may follow (RFC 2045 section 5.1).
                text = text.partition(b" (")[0].rstrip()
        segmented = segmented or b"*" in name
        found.append((name, text))
        at = match.end()
    return _joined(found) if segmented else tuple(found)


def _joined(found: list[tuple[bytes, bytes]]) -> Parameters:
    """Continuations (RFC 2231 section 3) joined; the first of each name says where the result stands."""
    out: list[tuple[bytes, bytes] | bytes] = []
    parts: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    names: dict[bytes, bytes] = {}
    for name, value in found:
        match = _SEGMENT.match(name)
        if match is None:
            out.append((name, value))
            continue
        key = match[1].lower()
        if key not in parts:
            parts[key] = {}
            names[key] = match[1]
            out.append(key)
        if len(parts[key]) < MAX_SEGMENTS:
            parts[key].setdefault(int(match[2]), (value, bool(match[3])))
    return tuple(item if isinstance(item, tuple) else _one(names[item], parts[item]) for item in out)


def _one(name: bytes, segments: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    """One parameter of its segments, in order up to the first gap."""
    extended = any(starred for _, starred in segments.values())
    pieces: list[bytes] = []
    number = 0 if 0 in segments else min(segments)
    while number in segments:
        value, starred = segments[number]
        if extended and not starred:
            if not pieces:
                # QUIRK: charset missing at the first segment; RFC 2231 section 4 wants it there.
                value = b"''" + _encoded(value)
            else:
                value = _encoded(value)
        pieces.append(value)
        number += 1
    return (name + b"*" if extended else name), b"".join(pieces)


def _encoded(value: bytes) -> bytes:
    """Percent-encode what would be read wrongly in an extended value."""
    return value.replace(b"%", b"%25").replace(b"'", b"%27").replace(b" ", b"%20")


def parameter_text(found: Parameters, name: bytes) -> str | None:
    """The decoded text of a parameter (lower-case name): extended (RFC 2231), else plain, with encoded words."""
    plain: bytes | None = None
    for key, value in found:
        key = key.lower()
        if key == name + b"*":
            label, _, rest = value.partition(b"'")
            encoded = rest.partition(b"'")[2] if b"'" in rest else value
            octets = _PERCENT.sub(lambda hit: bytes((int(hit[1], 16),)), encoded)
            return text_of(octets, label if b"'" in rest else b"")
        if key == name and plain is None:
            plain = value
    # QUIRK: RFC 2047 words in file names (RFC 2047 section 5 forbids them), of most older mailers.
    return None if plain is None else decode(plain)
