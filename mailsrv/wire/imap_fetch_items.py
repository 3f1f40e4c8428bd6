"""FETCH data items (floor 1; RFC 3501 section 6.4.5): macros, BODY sections, partials, response labels.

Clients repeat the same few lists for ever, so what short lists mean is kept in a small cache.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .imap_lexer import MAX_32, MAX_63, BadSyntax, Lexer
from .imap_requests import FetchItem, Section

#: Items in one FETCH, part numbers in a section, header fields in one section.
MAX_ITEMS, MAX_PARTS, MAX_FIELDS = 200, 100, 1000
#: Longer lists are not kept: the cache holds at most 256 of these.
_CACHED_OCTETS = 1024

_NAME = re.compile(rb"[A-Za-z0-9.]+").match
_PART = re.compile(rb"[1-9][0-9]{0,9}").match
_ATOM = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5d-\x7a\x7c-\x7e]+").fullmatch
_LAZY = re.compile(rb" \(LAZY\)", re.IGNORECASE).match
_OPEN, _CLOSE, _LESS, _GREATER, _DOT, _END, _BEGIN = b"()<>.]["

_ENVELOPE, _BODY = FetchItem("ENVELOPE"), FetchItem("BODY")
_FAST = (FetchItem("FLAGS"), FetchItem("INTERNALDATE"), FetchItem("RFC822.SIZE"))
_MACROS = {b"FAST": _FAST, b"ALL": (*_FAST, _ENVELOPE), b"FULL": (*_FAST, _ENVELOPE, _BODY)}
_PLAIN = {
    name.encode("ascii"): FetchItem(name)
    for name in (
        "FLAGS", "UID", "MODSEQ", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "SAVEDATE", "EMAILID",
        "THREADID",
    )
} | {
    b"RFC822": FetchItem("SECTION", Section(), peek=False, label=b"RFC822"),
    b"RFC822.HEADER": FetchItem("SECTION", Section(text="HEADER"), peek=True, label=b"RFC822.HEADER"),
    b"RFC822.TEXT": FetchItem("SECTION", Section(text="TEXT"), peek=False, label=b"RFC822.TEXT"),
}
_TEXTS = {b"HEADER", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT", b"TEXT", b"MIME"}


def _field_name(octets: bytes) -> bytes:
    """A header field's name as an astring of the response."""
    if _ATOM(octets):
        return octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _fields(lexer: Lexer) -> tuple[bytes, ...]:
    lexer.space()
    lexer.open()
    out: list[bytes] = []
    while True:
        field = lexer.astring()
        # Field names are printable ASCII (RFC 5322 section 2.2); they come back in the response's label.
        if not field or len(out) >= MAX_FIELDS or not field.isascii() or not field.decode("ascii").isprintable():
            raise BadSyntax("Not a list of header field names")
        out.append(field)
        if not lexer.more():
            return tuple(out)


def _section(lexer: Lexer) -> tuple[Section, bytes]:
    """What is between the brackets, and how the response writes it."""
    start = lexer.at
    part: list[int] = []
    while (found := _PART(lexer.text, lexer.at)) is not None:
        number = int(found[0])
        if number > MAX_32 or len(part) >= MAX_PARTS:
            raise BadSyntax("Not a body section")
        part.append(number)
        lexer.at = found.end()
        if not lexer.accept(_DOT):
            return Section(tuple(part)), lexer.text[start : lexer.at]
    name = _NAME(lexer.text, lexer.at)
    if name is None:
        if part:
            raise BadSyntax("Not a body section")
        return Section(), b""
    numbers = lexer.text[start : lexer.at]
    lexer.at = name.end()
    text = name[0].upper()
    if text not in _TEXTS or (text == b"MIME" and not part):
        raise BadSyntax("Not a body section")
    label = numbers + text
    fields: tuple[bytes, ...] = ()
    if text.startswith(b"HEADER.FIELDS"):
        fields = _fields(lexer)
        label += b" (%b)" % b" ".join(map(_field_name, fields))
    return Section(tuple(part), text.decode("ascii"), fields), label


def _body(lexer: Lexer, peek: bool) -> FetchItem:
    """``BODY[`` was read."""
    section, label = _section(lexer)
    partial, label = _range(lexer, b"BODY[%b]" % label)
    return FetchItem("SECTION", section, peek, partial, label)


def _range(lexer: Lexer, label: bytes) -> tuple[tuple[int, int] | None, bytes]:
    """"]" and perhaps a partial range; with the label as the response has it."""
    if not lexer.accept(_END):
        raise BadSyntax("Closing bracket expected")
    if not lexer.accept(_LESS):
        return None, label
    offset = lexer.number(MAX_63)
    if not lexer.accept(_DOT):
        raise BadSyntax("Not a partial range")
    count = lexer.number(MAX_63, 1)
    if not lexer.accept(_GREATER):
        raise BadSyntax("Not a partial range")
    return (offset, count), b"%b<%d>" % (label, offset)


def _preview(lexer: Lexer) -> FetchItem:
    """RFC 8970 section 6: perhaps with modifiers, of which there is one; another list is of the command's."""
    lazy = _LAZY(lexer.text, lexer.at)
    if lazy is None:
        return FetchItem("PREVIEW")
    lexer.at = lazy.end()
    return FetchItem("PREVIEW", label=b"LAZY")


_BINARY = {b"BINARY": False, b"BINARY.PEEK": True, b"BINARY.SIZE": True}


def _binary(lexer: Lexer, name: bytes) -> FetchItem:
    """``BINARY[`` and the like was read (RFC 3516 section 7): part numbers only; of a size no range."""
    section, label = _section(lexer)
    if section.text:
        raise BadSyntax("Not a body section")
    if name == b"BINARY.SIZE":
        if not lexer.accept(_END):
            raise BadSyntax("Closing bracket expected")
        return FetchItem("BINARY.SIZE", section, True, None, b"BINARY.SIZE[%b]" % label)
    partial, label = _range(lexer, b"BINARY[%b]" % label)
    return FetchItem("BINARY", section, _BINARY[name], partial, label)


def _item(lexer: Lexer) -> FetchItem:
    found = _NAME(lexer.text, lexer.at)
    if found is None:
        raise BadSyntax("Data item expected")
    lexer.at = found.end()
    name = found[0].upper()
    if lexer.accept(_BEGIN):
        if name == b"BODY" or name == b"BODY.PEEK":
            return _body(lexer, name == b"BODY.PEEK")
        if name in _BINARY:
            return _binary(lexer, name)
        raise BadSyntax("Unknown data item")
    if name == b"PREVIEW":
        return _preview(lexer)
    item = _BODY if name == b"BODY" else _PLAIN.get(name)
    if item is None:
        raise BadSyntax("Unknown data item")
    return item


def _items(lexer: Lexer) -> tuple[FetchItem, ...]:
    """One item, a macro or a list; the lexer stands behind it."""
    if lexer.peek() != _OPEN:
        start = lexer.at
        found = _NAME(lexer.text, start)
        macro = _MACROS.get(found[0].upper()) if found else None
        if found is not None and macro is not None:
            lexer.at = found.end()
            return macro
        return (_item(lexer),)
    lexer.open()
    out = [_item(lexer)]
    while lexer.more():
        if len(out) >= MAX_ITEMS:
            raise BadSyntax("Too many data items")
        out.append(_item(lexer))
    return tuple(out)


@lru_cache(maxsize=256)
def _cached(octets: bytes) -> tuple[FetchItem, ...] | None:
    """The items when `octets` are nothing but items; None: something follows them, read it with care."""
    lexer = Lexer(octets)
    items = _items(lexer)
    return items if lexer.at == len(octets) else None


def fetch_items(lexer: Lexer) -> tuple[FetchItem, ...]:
    """The data items at the lexer's position; macros are expanded.  Raises BadSyntax.

    The items are shared between commands: they are read, never changed.
    """
    rest = lexer.text[lexer.at :]
    if len(rest) <= _CACHED_OCTETS and b"\0" not in rest:
        items = _cached(rest)
        if items is not None:
            lexer.at += len(rest)
            return items
    return _items(lexer)
