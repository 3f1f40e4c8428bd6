"""Argument readers of the annotation and rights commands (floor 1; RFC 5464, RFC 9590, RFC 4314).

As those of `imap_arguments`: from behind the command's name to the fields of its event.  All raise BadSyntax.
"""

from __future__ import annotations

import re
from typing import Any

from . import imap_names
from .imap_lexer import MAX_32, BadSyntax, Lexer

Fields = tuple[Any, ...]
_OPEN, _CLOSE = 40, 41
#: Entries of one command.
_MAX_ENTRIES = 100
#: RFC 5464 section 3.1: levels with something in each, without wildcards, of printable ASCII.
_ENTRY = re.compile(rb"(?:/[\x20-\x24\x26-\x29\x2b-\x2e\x30-\x7e]+)+").fullmatch
_RIGHTS = re.compile(rb"([+-]?)([a-z0-9]*)").fullmatch
_DEPTHS = {"0": 0, "1": 1, "INFINITY": None}


def _entry(lexer: Lexer) -> str:
    octets = lexer.astring()
    if _ENTRY(octets) is None:
        raise BadSyntax("Not the name of an annotation")
    # Section 3.1: compared without case.
    return octets.decode("ascii").lower()


def entries(lexer: Lexer) -> tuple[str, ...]:
    """One entry, or a list of them."""
    if lexer.peek() != _OPEN:
        return (_entry(lexer),)
    lexer.open()
    return _rest_of_entries(lexer)


def _rest_of_entries(lexer: Lexer) -> tuple[str, ...]:
    out: list[str] = []
    while True:
        entry = _entry(lexer)
        if entry not in out:
            out.append(entry)
        if len(out) > _MAX_ENTRIES:
            raise BadSyntax("Too many annotations")
        if not lexer.more():
            return tuple(out)


def _options(lexer: Lexer) -> dict[str, int | None]:
    """Behind "(": MAXSIZE and DEPTH, up to the ")"."""
    out: dict[str, int | None] = {}
    while True:
        option = lexer.word()
        if option in out:
            raise BadSyntax("The same option twice")
        lexer.space()
        if option == "MAXSIZE":
            out[option] = lexer.number(MAX_32)
        elif option == "DEPTH" and (depth := lexer.word()) in _DEPTHS:
            out[option] = _DEPTHS[depth]
        else:
            raise BadSyntax("Unknown option")
        if not lexer.more():
            return out


def get_metadata(lexer: Lexer) -> Fields:
    """[SP options] SP mailbox SP entries (RFC 5464 section 4.2)."""
    options: dict[str, int | None] = {}
    lexer.space()
    if lexer.peek() == _OPEN:
        lexer.open()
        options = _options(lexer)
        lexer.space()
    name = imap_names.decode(lexer.astring(), lexer.form)
    lexer.space()
    if not options and lexer.peek() == _OPEN and lexer.text[lexer.at + 1 : lexer.at + 2] in b"mMdD":
        # QUIRK: the examples of the RFC have the options here, against its grammar; so have clients.
        lexer.open()
        options = _options(lexer)
        lexer.space()
    wanted = entries(lexer)
    lexer.end()
    return name, wanted, options.get("MAXSIZE"), options.get("DEPTH", 0)


def set_metadata(lexer: Lexer) -> Fields:
    """SP mailbox SP "(" entry SP value ... ")" (RFC 5464 section 4.3)."""
    name = imap_names.mailbox(lexer)
    lexer.space()
    lexer.open()
    values: dict[str, bytes | None] = {}
    while True:
        entry = _entry(lexer)
        if entry in values:
            raise BadSyntax("The same annotation twice")
        lexer.space()
        values[entry] = lexer.value()
        if len(values) > _MAX_ENTRIES:
            raise BadSyntax("Too many annotations")
        if not lexer.more():
            break
    lexer.end()
    return name, values


def _identifier(lexer: Lexer) -> str:
    lexer.space()
    try:
        return lexer.astring().decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax("Identifier is not valid UTF-8") from None


def identifier(lexer: Lexer) -> Fields:
    """SP mailbox SP identifier: DELETEACL and LISTRIGHTS (RFC 4314 sections 3.2, 3.4)."""
    name, who = imap_names.mailbox(lexer), _identifier(lexer)
    lexer.end()
    return name, who


def set_rights(lexer: Lexer) -> Fields:
    """SP mailbox SP identifier SP rights (RFC 4314 section 3.1)."""
    name, who = imap_names.mailbox(lexer), _identifier(lexer)
    lexer.space()
    found = _RIGHTS(lexer.astring())
    if found is None:
        raise BadSyntax("Not a list of rights")
    lexer.end()
    return name, who, found[1].decode("ascii"), found[2].decode("ascii")
