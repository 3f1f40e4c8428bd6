"""Texts and header fields of MAPI properties (floor 1): [MS-OXPROPS], [MS-OXCMAIL]."""

from __future__ import annotations

import binascii
import re

from ..charsets import codec, text_of
from ..dates import rfc5322
from ..parameters import media
from .leaf import MAX_TEXT
from .tnef import STRING8, UNICODE, Properties, Tnef

#: Characters of one field made of a property.
MAX_FIELD = 1000
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_ATTRIBUTE = b"!#$&+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: From 1601 to 1970 in seconds; FILETIME counts tenths of microseconds.
_EPOCH = 11_644_473_600


def codepage_of(tnef: Tnef) -> bytes:
    """The charset label of a TNEF's strings of octets."""
    return label_of((3, tnef.codepage.to_bytes(4, "little"))) or label_of(tnef.properties.get(0x3FFD)) or b"cp1252"


def label_of(value: tuple[int, bytes] | None) -> bytes:
    """The charset label of a code page's number; nothing for one that is unknown."""
    number = int.from_bytes(value[1][:4], "little") if value else 0
    special = {65001: b"utf-8", 20127: b"us-ascii", 50220: b"iso-2022-jp", 51949: b"euc-kr", 20866: b"koi8-r"}
    label = special.get(number) or (b"iso-8859-%d" % (number - 28590) if 28591 <= number <= 28605 else b"cp%d" % number)
    return label if number and codec(label) else b""


def text_of_label(octets: bytes, label: bytes) -> str:
    """Octets as text with LF line ends."""
    return text_of(octets, label).replace("\r\n", "\n").replace("\r", "\n")


def text_in(properties: Properties, number: int, page: bytes) -> str:
    """The text of a string property, with LF line ends; nothing when there is none."""
    kind, value = properties.get(number, (0, b""))
    value = value[: 2 * MAX_TEXT]
    if kind == UNICODE:
        text = value.decode("utf-16-le", "replace")
        return text.rstrip("\0").replace("\r\n", "\n").replace("\r", "\n")
    return text_of_label(value.rstrip(b"\0"), page) if kind == STRING8 else ""


def media_of(tag: str) -> bytes | None:
    """The media type that a property names, where it is one for a file."""
    found = media(tag.encode("ascii", "replace")).name if "/" in tag and len(tag) < 100 else b""
    fit = re.fullmatch(rb"(?!multipart/|message/)[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", found)
    return found if fit else None


def parameter_lines(kind: bytes, name: str) -> bytes:
    """A Content-Disposition with a file name, as RFC 2231 writes what is not ASCII."""
    if name.isascii():
        return kind + b'; filename="' + name.replace("\\", "_").encode("ascii") + b'"'
    octets = name.encode("utf-8", "replace")
    words = b"".join([bytes((one,)) if one in _ATTRIBUTE else b"%%%02X" % one for one in octets])
    if len(words) <= 60:
        return kind + b";\r\n filename*=utf-8''" + words
    pieces = []
    while words:
        cut = 60 if len(words) > 60 else len(words)
        cut -= next((back for back in (1, 2) if words[cut - back : cut - back + 1] == b"%" and len(words) > cut), 0)
        pieces.append(words[:cut])
        words = words[cut:]
    return kind + b"".join(
        [b";\r\n filename*%d*=%b%b" % (at, b"" if at else b"utf-8''", piece) for at, piece in enumerate(pieces)]
    )


def header_of(tnef: Tnef, name: str) -> bytes:
    """The header of a message that was attached, with its blank line."""
    page = codepage_of(tnef)
    texts = {
        b"Subject": text_in(tnef.properties, 0x0037, page) or text_of_label(tnef.subject, page) or name,
        b"To": text_in(tnef.properties, 0x0E04, page),
        b"Cc": text_in(tnef.properties, 0x0E03, page),
    }
    lines = []
    author = _sender(tnef.properties, page)
    if author:
        lines.append(b"From: " + author)
    for field, text in texts.items():
        text = _CONTROLS.sub(" ", text).strip()[:MAX_FIELD]
        if text:
            # Names for display are no addresses: they become the name of an empty group (RFC 5322 section 3.4).
            lines.append(field + b": " + (words(text) if field == b"Subject" else words(text, phrase=True) + b":;"))
    kind, value = tnef.properties.get(0x0039, (0, b""))
    epoch = int.from_bytes(value, "little") // 10_000_000 - _EPOCH if kind == 0x0040 else 0
    if 0 < epoch < 2**33:
        lines.append(b"Date: " + rfc5322(epoch, 0))
    return b"".join([line + b"\r\n" for line in [*lines, b"MIME-Version: 1.0", b""]])


def _sender(properties: Properties, page: bytes) -> bytes:
    """The author, where the address is one of the Internet."""
    name = _CONTROLS.sub(" ", text_in(properties, 0x0C1A, page)).strip()[:200]
    for number in (0x5D01, 0x5D02, 0x0C1F):
        address = text_in(properties, number, page).strip()
        if re.fullmatch(r"[A-Za-z0-9._%+=/!#$&'*?^`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}", address):
            return (words(name, phrase=True) + b" " if name else b"") + b"<%b>" % address.encode("ascii")
    return words(name, phrase=True) + b":;" if name else b""


def words(text: str, phrase: bool = False) -> bytes:
    """Text of a field: as it is, quoted, or in encoded words of UTF-8 (RFC 2047), folded."""
    if text.isascii() and "=?" not in text and len(text) < 200:
        if not phrase:
            return text.encode("ascii")
        return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'
    pieces = []
    while text:
        cut = min(len(text), 42)
        while len(text[:cut].encode("utf-8", "replace")) > 42:
            cut -= 1
        pieces.append(b"=?utf-8?b?%b?=" % binascii.b2a_base64(text[:cut].encode("utf-8", "replace"), newline=False))
        text = text[cut:]
    return b"\r\n ".join(pieces)
