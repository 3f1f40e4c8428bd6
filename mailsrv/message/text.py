"""The text of a message as people read it, for searching (floor 1): transfer encodings and charsets undone."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from .charsets import ascii_compatible, codec, text_of
from .header import MAX_FIELDS, MAX_OCTETS, base64_octets, decode, header_end, unfold, unfolded_lines, values
from .parameters import TEXT_PLAIN, Media, media
from .structure import MESSAGE, Part, parse


def folded(text: str) -> str:
    """Text in the form in which search compares (without case, i;unicode-casemap's intent)."""
    return text.casefold()


#: An encoded word (RFC 2047 section 2), as `header.decode` reads it, of usual length; what is looked at for them.
_WORD = re.compile(rb"=\?[^?\s\x00-\x1f]{1,80}\?[bBqQ]\?[^?\r\n]{0,150}+\?=")
_MAX_LINE = 2000
#: Names come again and again.
_word = lru_cache(maxsize=1024)(lambda word: folded(decode(word)))


def _line(line: bytes) -> str:
    """``folded(decode(line))`` of a line in ASCII."""
    if len(line) > _MAX_LINE:
        return folded(decode(line))
    pieces: list[str] = []
    end = 0
    for word in _WORD.finditer(line):
        between = line[end : word.start()]
        if b"=?" in between or (end and not between.strip()):
            # Neighbours belong together.
            return folded(decode(line))
        pieces += between.lower().decode("ascii"), _word(word[0])
        end = word.end()
    rest = line[end:]
    if b"=?" in rest:
        return folded(decode(line))
    pieces.append(rest.lower().decode("ascii"))
    return "".join(pieces)


def header_text(block: bytes) -> str:
    """All fields of a header block decoded, one a line, in the form of `folded`."""
    octets = unfold(block[: min(header_end(block), MAX_OCTETS)])
    if octets.count(b"\n") > MAX_FIELDS:
        octets = b"\n".join(unfolded_lines(octets))
    if not octets.isascii():
        return folded("\n".join([decode(line) for line in octets.split(b"\n")]))
    # Most lines need no decoding; and what is not ASCII takes long to fold.
    pieces: list[str] = []
    at, word = 0, octets.find(b"=?")
    while word >= 0:
        start, end = octets.rfind(b"\n", at, word) + 1 or at, octets.find(b"\n", word)
        end = end if end >= 0 else len(octets)
        pieces += octets[at:start].lower().decode("ascii"), _line(octets[start:end])
        at, word = end, octets.find(b"=?", end)
    pieces.append(octets[at:].lower().decode("ascii"))
    return "".join(pieces)


#: What hides text, or holds messages with headers of their own.
_HIDING = b"base64", b"quoted-printable", b"message/", b"/digest"
#: Labels of character sets looked at in one message.
_MAX_LABELS = 100


def surely_absent(plain: bytes, octets: bytes) -> bool:
    """Whether ASCII text, in the form of `folded`, is in no text of a message's body, told without looking for its
    parts.  False: perhaps it is there.
    """
    lower = octets.lower()
    if not lower.isascii() or plain in lower or any(mark in lower for mark in _HIDING):
        return False
    return _plain_labels(lower)


def _plain_labels(lower: bytes) -> bool:
    """Whether all that looks like the label of a character set is UTF-8 or ASCII."""
    at = lower.find(b"charset")
    for _ in range(_MAX_LABELS):
        if at < 0:
            return True
        label = lower[at + 7 : at + 40]
        if not label.startswith(_LABELS):
            # Unusual spellings are left to those who read them whole.
            return False
        at = lower.find(b"charset", at + 7)
    return False


_LABELS = tuple(
    b"=%b%b%b" % (quote, name, end)
    for name in (b"utf-8", b"us-ascii")
    for quote, ends in ((b"", (b"\r\n", b"\n", b";", b" ")), (b'"', (b'"',)))
    for end in ends
)


#: A leaf or a message of a body: its kind; where its header starts, its body starts and its body ends.  Of a message
#: the latter are the start and the end of the header inside.
Place = tuple[int, int, int, int]


def is_in_body(needle: str, octets: bytes, places: Iterable[Place] | None = None) -> bool:
    """Whether the body of a message holds `needle` (in the form of `folded`); reads no further than needed.

    `places` are those of `Summary.places`, where they are known already.
    """
    if not needle:
        return True
    # Octets can be compared instead of characters where both are ASCII.
    plain = needle.encode("ascii") if needle.isascii() else None
    if places is None:
        if plain is not None and surely_absent(plain, octets):
            return False
        places = _places(parse(octets))
    for kind, start, body_start, end in places:
        if kind == MESSAGE:
            if needle in header_text(octets[body_start:end]):
                return True
            continue
        header = octets[start:body_start]
        found, encoding = _leaf_remembered(header) if len(header) <= _REMEMBERED else _leaf(header)
        if found.name.startswith(b"text/"):
            body, label = _decoded(encoding, octets[body_start:end]), found.parameter(b"charset")
            if _is_in_text(needle, plain, body, label):
                return True
    return False


#: UTF-8 of the characters, or of their first octets, whose `folded` form has ASCII in it, and the letters in it.
_BECOME_ASCII = (
    (b"\xc3\x9f", b"s"), (b"\xc4\xb0", b"i"), (b"\xc5\x89", b"n"), (b"\xc5\xbf", b"s"), (b"\xc7\xb0", b"j"),
    (b"\xe1\xba", b"htwyas"), (b"\xe2\x84\xaa", b"k"), (b"\xef\xac", b"filst"),
)  # fmt: skip


def _is_in_text(needle: str, plain: bytes | None, body: bytes, label: bytes) -> bool:
    """Whether text of that character set holds `needle`, which is `plain` when it is ASCII."""
    if plain is not None:
        lower = body.lower()
        if body.isascii() and ascii_compatible(label):
            return plain in lower
        # To fold what is not ASCII takes long.
        if codec(label) == "utf_8" and b"utf" in label.lower():
            if plain in lower:
                return True
            letters = frozenset(plain)
            if not any(mark in lower for mark, become in _BECOME_ASCII if not letters.isdisjoint(become)):
                return False
    return needle in folded(text_of(body, label))


def _places(root: Part) -> Iterator[Place]:
    """All leaves and messages, in the order of the octets."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.kind == MESSAGE:
            inner = part.children[0]
            yield MESSAGE, part.header_start, inner.header_start, inner.body_start
        elif not part.children:
            yield part.kind, part.header_start, part.body_start, part.body_end
        waiting.extend(reversed(part.children))


def _first(header: bytes, lower: bytes, name: bytes) -> bytes | None:
    """The value of the first field of that name; `lower` is the header in lower case behind a line end."""
    at = lower.find(b"\n" + name)
    if at < 0:
        return None
    found = values(header[at:], name)
    return found[0] if found else None


def _leaf(header: bytes) -> tuple[Media, bytes]:
    """The type of a leaf and its transfer encoding; what only looks like several parts is plain text (`structure`)."""
    lower = b"\n" + header.lower()
    value = _first(header, lower, b"content-type")
    found = TEXT_PLAIN if value is None else media(value)
    if found.name.startswith((b"multipart/", b"message/rfc822", b"message/global")):
        found = TEXT_PLAIN
    return found, (_first(header, lower, b"content-transfer-encoding") or b"").lower()


#: Headers of parts are mostly short, and the same again and again.
_REMEMBERED = 300
_leaf_remembered = lru_cache(maxsize=512)(_leaf)


def _decoded(encoding: bytes, body: bytes) -> bytes:
    """A leaf's body with its transfer encoding undone (RFC 2045 section 6); never raises."""
    if encoding.startswith(b"quoted-printable"):
        return binascii.a2b_qp(body)
    if encoding.startswith(b"base64"):
        return base64_octets(body)
    return body
