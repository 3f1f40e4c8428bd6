"""A header for clients that know no UTF-8 (floor 1): RFC 6858, simple downgrading, as RFC 6856 section 2.1 wants it.

What reads well stays readable: names and subjects become encoded words (RFC 2047), parameters are encoded by RFC 2231.
An address that has no ASCII form becomes one to which nothing can be sent, with what it was as its name.  Other fields
with UTF-8 are left out.  A header that is no UTF-8 is nobody's international mail, and stays as it is.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import quote_from_bytes

from . import header
from .addresses import parse_addresses

#: Stands for addresses that have no ASCII form; its domain can never exist (RFC 2606 section 2).
NOBODY = b"<invalid@internationalized-address.invalid>"

_ADDRESSES = frozenset(
    b"from sender reply-to to cc bcc resent-from resent-sender resent-reply-to resent-to resent-cc resent-bcc "
    b"disposition-notification-to".split()
)
_TEXT = frozenset((b"subject", b"comments", b"content-description"))
_PARAMETERS = frozenset((b"content-type", b"content-disposition"))
#: A parameter whose value has octets above 127.
_PARAMETER = re.compile(rb';\s*([!#$&+\-.^_`|~0-9A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*[\x80-\xff](?:[^"\\]|\\.)*)"|'
                        rb'([^\s";]*[\x80-\xff][^\s";]*))')
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
#: Octets of text in one encoded word: as base64, with what is around it, less than 75 (RFC 2047 section 2).
_WORD = 42


def surrogate(block: bytes) -> bytes:
    """A header block, blank line included, in ASCII; the same one when it is ASCII, or no UTF-8."""
    if block.isascii():
        return block
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return block
    out, at = [], 0
    for field in header.fields(block):
        # What lies between fields is no field, and may go if it is not ASCII.
        out.append(_kept(block[at : field.start]))
        octets = block[field.start : field.end]
        if not octets.isascii():
            octets = _field(field.name, block[field.start : field.value], block[field.value : field.end])
        out.append(octets)
        at = field.end
    out.append(_kept(block[at:]))
    return b"".join(out)


def _kept(octets: bytes) -> bytes:
    if octets.isascii():
        return octets
    # The blank line, at least.
    return b"\r\n" if octets.endswith((b"\n\r\n", b"\n\n")) else b""


def _field(name: bytes, label: bytes, value: bytes) -> bytes:
    """A field with UTF-8 in its value, or in its name, in ASCII; b"": it is left out."""
    if not label.isascii():
        return b""
    text = header.unfold(value).strip()
    if name in _TEXT:
        shown = words(text)
    elif name in _ADDRESSES:
        shown = b",\r\n ".join(filter(None, map(_address, parse_addresses(text))))
    elif name in _PARAMETERS:
        shown = _PARAMETER.sub(_parameter, text)
    else:
        return b""
    return label + b" " + shown + b"\r\n" if shown.isascii() and shown else b""


def _address(entry: tuple[bytes | None, bytes | None, bytes | None, bytes | None]) -> bytes:
    """One of a list; members of a group stand for themselves."""
    phrase, _, mailbox, host = entry
    if mailbox is None or host is None:
        return b""
    address = mailbox + b"@" + host
    if address.isascii():
        if not phrase:
            return address
        shown = words(phrase) if not phrase.isascii() else b'"%b"' % re.sub(rb'(["\\])', rb"\\\1", phrase)
        return shown + b" <" + address + b">"
    return words((phrase + b" " if phrase else b"") + b"<" + address + b">") + b"\r\n " + NOBODY


def _parameter(found: re.Match[bytes]) -> bytes:
    """RFC 2231 section 4."""
    value = found[3] if found[2] is None else _ESCAPED.sub(rb"\1", found[2])
    return b"; %b*=utf-8''%b" % (found[1], quote_from_bytes(value, "").encode("ascii"))


def words(text: bytes) -> bytes:
    """UTF-8 text as encoded words (RFC 2047), folded where there are several; no character is cut in two."""
    pieces, piece = [], b""
    for character in text.decode("utf-8", "replace"):
        octets = character.encode("utf-8")
        if len(piece) + len(octets) > _WORD:
            pieces.append(piece)
            piece = b""
        piece += octets
    pieces.append(piece)
    return b"\r\n ".join(b"=?utf-8?b?%b?=" % binascii.b2a_base64(one, newline=False) for one in pieces)
