"""The text of a message as people read it, for searching (floor 1): transfer encodings and charsets undone."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from .charsets import ascii_compatible, text_of
from .header import base64_octets, decode, header_end, unfolded_lines
from .structure import MESSAGE, Part, parse


def folded(text: str) -> str:
    """Text in the form in which search compares (without case, i;unicode-casemap's intent)."""
    return text.casefold()


def header_text(block: bytes) -> str:
    """All fields of a header block decoded, one a line, in the form of `folded`."""
    end = header_end(block)
    return folded("\n".join([decode(line) for line in unfolded_lines(block[:end])]))


def is_in_body(needle: str, octets: bytes) -> bool:
    """Whether the body of a message holds `needle` (in the form of `folded`); reads no further than needed."""
    if not needle:
        return True
    # Octets can be compared instead of characters where both are ASCII.
    plain = needle.encode("ascii") if needle.isascii() else None
    for part in _parts(parse(octets)):
        if part.kind == MESSAGE:
            inner = part.children[0]
            if needle in header_text(octets[inner.header_start : inner.body_start]):
                return True
        elif part.media.name.startswith(b"text/"):
            body, label = _decoded(octets, part), part.media.parameter(b"charset")
            if plain is not None and body.isascii() and ascii_compatible(label):
                if plain in body.lower():
                    return True
            elif needle in folded(text_of(body, label)):
                return True
    return False


def _parts(root: Part) -> Iterator[Part]:
    """All leaves and messages, in the order of the octets."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.kind == MESSAGE or not part.children:
            yield part
        waiting.extend(reversed(part.children))


def _decoded(octets: bytes, part: Part) -> bytes:
    """A leaf's body with its transfer encoding undone (RFC 2045 section 6); never raises."""
    body = octets[part.body_start : part.body_end]
    encoding = part.fields.get(b"content-transfer-encoding", b"").strip().lower()
    if encoding.startswith(b"quoted-printable"):
        return binascii.a2b_qp(body)
    if encoding.startswith(b"base64"):
        return base64_octets(body)
    return body
