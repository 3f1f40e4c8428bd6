"""Argument readers of the IMAP4 commands (floor 1): from behind the command's name to the fields of its event.

Each takes the lexer and gives the event's fields after `tag` and `name`, in order.  All raise BadSyntax.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from . import imap_condstore, imap_names, imap_numset, imap_query
from .imap_fetch_items import fetch_items
from .imap_lexer import BadSyntax, Lexer
from .imap_query import search as search

Fields = tuple[Any, ...]
_OPEN, _CLOSE, _MINUS, _DIGITS = 40, 41, 45, frozenset(b"0123456789*")
_ARGUMENT = re.compile(rb"[0-9:,*$-]+").match
#: One parameter's argument in parentheses: no strings, no nesting but one level (RFC 7162 QRESYNC).
_GROUP = re.compile(rb"\((?:[0-9:,*$ ]++|\([0-9:,*$ ]*+\))*+\)").match
#: RFC 2971 section 3.3: at most 30 pairs, 30 octets of field, 1024 of value.
_ID_PAIRS, _ID_FIELD, _ID_VALUE = 30, 30, 1024
#: Capabilities of one ENABLE, parameters of one command.
_MAX_WORDS = 100


def nothing(lexer: Lexer) -> Fields:
    """No arguments."""
    lexer.end()
    return ()


def _text(octets: bytes, what: str) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax(what + " is not valid UTF-8") from None


def mailbox(lexer: Lexer) -> Fields:
    """SP mailbox."""
    name = imap_names.mailbox(lexer)
    lexer.end()
    return (name,)


def two_mailboxes(lexer: Lexer) -> Fields:
    """SP mailbox SP mailbox."""
    old, new = imap_names.mailbox(lexer), imap_names.mailbox(lexer)
    lexer.end()
    return old, new


def login(lexer: Lexer) -> Fields:
    """SP userid SP password."""
    lexer.space()
    # QUIRK: 8-bit in quoted strings is UTF-8 in practice, though RFC 3501 has no 8-bit there.
    username = _text(lexer.astring(), "User name")
    lexer.space()
    password = _text(lexer.astring(), "Password")
    lexer.end()
    return username, password


def authenticate(lexer: Lexer) -> Fields:
    """SP mechanism [SP initial-response] (RFC 4959)."""
    lexer.space()
    mechanism = lexer.word()
    if lexer.peek() < 0:
        return mechanism, None
    lexer.space()
    octets = lexer.text[lexer.at :]
    if not octets:
        # QUIRK: mutt with GNU SASL sends the space also where it has no initial response (CRAM-MD5).
        return mechanism, None
    if octets == b"=":
        return mechanism, b""
    try:
        return mechanism, a2b_base64(octets, strict_mode=True)
    except (Base64Error, ValueError):
        raise BadSyntax("Initial response is not base64") from None


#: Name -> what reads its raw argument; what is not here stays raw.
_Readers = dict[str, Callable[[bytes], Any]]
_SELECT_READERS: _Readers = {"CONDSTORE": imap_condstore.no_argument, "QRESYNC": imap_condstore.qresync}
_FETCH_READERS: _Readers = {
    "CHANGEDSINCE": imap_condstore.modseq, "VANISHED": imap_condstore.no_argument, "PARTIAL": imap_query.partial,
}  # fmt: skip
_STORE_READERS: _Readers = {"UNCHANGEDSINCE": imap_condstore.modseq}


def _parameters(lexer: Lexer, readers: _Readers) -> dict[str, Any]:
    """A parenthesised list of name [SP argument] (RFC 4466)."""
    out: dict[str, Any] = {}
    lexer.open()
    while True:
        name, argument = lexer.word(), b""
        following = lexer.text[lexer.at + 1 : lexer.at + 2]
        if lexer.peek() == 32 and following and following[0] in (_OPEN, _MINUS, *_DIGITS):
            found = _GROUP(lexer.text, lexer.at + 1) or _ARGUMENT(lexer.text, lexer.at + 1)
            if found is None:
                raise BadSyntax("Not a parameter")
            argument, lexer.at = found[0], found.end()
        if name in out:
            raise BadSyntax("The same parameter twice")
        out[name] = readers[name](argument) if name in readers else argument
        if len(out) > _MAX_WORDS:
            raise BadSyntax("Too many parameters")
        if not lexer.more():
            return out


def select(lexer: Lexer) -> Fields:
    """SP mailbox [SP "(" parameters ")"]."""
    name = imap_names.mailbox(lexer)
    if lexer.peek() < 0:
        return name, {}
    lexer.space()
    parameters = _parameters(lexer, _SELECT_READERS)
    lexer.end()
    return name, parameters


def identification(lexer: Lexer) -> Fields:
    """SP NIL or a list of field and value pairs (RFC 2971)."""
    lexer.space()
    out: dict[str, str | None] = {}
    if lexer.peek() != _OPEN:
        if lexer.nstring() is not None:
            raise BadSyntax("List expected")
        lexer.end()
        return (out,)
    lexer.open()
    if not lexer.accept(_CLOSE):
        while True:
            field = _text(lexer.string(), "ID field")
            lexer.space()
            value = lexer.nstring()
            if len(field) > _ID_FIELD or len(out) >= _ID_PAIRS or (value is not None and len(value) > _ID_VALUE):
                raise BadSyntax("ID list is too long")
            out[field] = None if value is None else _text(value, "ID value")
            if not lexer.more():
                break
    lexer.end()
    return (out,)


def enable(lexer: Lexer) -> Fields:
    """1*(SP capability) (RFC 5161)."""
    out: list[str] = []
    while lexer.peek() >= 0 or not out:
        lexer.space()
        out.append(lexer.word())
        if len(out) > _MAX_WORDS:
            raise BadSyntax("Too many capabilities")
    return (tuple(out),)


def mechanism(lexer: Lexer) -> Fields:
    """SP algorithm (RFC 4978 section 3)."""
    lexer.space()
    name = lexer.word()
    lexer.end()
    return (name,)


def number_set(lexer: Lexer) -> Fields:
    """SP sequence-set."""
    lexer.space()
    numbers = imap_numset.parse(lexer.number_set())
    lexer.end()
    return (numbers,)


def fetch(lexer: Lexer) -> Fields:
    """SP sequence-set SP items [SP "(" modifiers ")"]."""
    lexer.space()
    numbers = imap_numset.parse(lexer.number_set())
    lexer.space()
    items = fetch_items(lexer)
    if lexer.peek() < 0:
        return numbers, items
    lexer.space()
    modifiers = _parameters(lexer, _FETCH_READERS)
    lexer.end()
    return numbers, items, modifiers


_ACTIONS = {
    "FLAGS": ("replace", False), "FLAGS.SILENT": ("replace", True),
    "+FLAGS": ("add", False), "+FLAGS.SILENT": ("add", True),
    "-FLAGS": ("remove", False), "-FLAGS.SILENT": ("remove", True),
}  # fmt: skip


def store(lexer: Lexer) -> Fields:
    """SP sequence-set SP ["(" modifiers ")" SP] action SP flags."""
    lexer.space()
    numbers = imap_numset.parse(lexer.number_set())
    lexer.space()
    modifiers: dict[str, Any] = {}
    if lexer.peek() == _OPEN:
        modifiers = _parameters(lexer, _STORE_READERS)
        lexer.space()
    action = _ACTIONS.get(lexer.word())
    if action is None:
        raise BadSyntax("FLAGS, +FLAGS or -FLAGS expected")
    lexer.space()
    flags = lexer.flags()
    lexer.end()
    return numbers, *action, flags, modifiers


def copy(lexer: Lexer) -> Fields:
    """SP sequence-set SP mailbox."""
    lexer.space()
    numbers = imap_numset.parse(lexer.number_set())
    name = imap_names.mailbox(lexer)
    lexer.end()
    return numbers, name
