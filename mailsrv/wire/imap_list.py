"""Argument readers of LIST, LSUB, STATUS, CREATE and of the quota commands (floor 1; RFC 3501, RFC 5258, RFC 5819,
RFC 6154, RFC 9208).

As those of `imap_arguments`: from behind the command's name to the fields of its event.  All raise BadSyntax.
"""

from __future__ import annotations

import re
from typing import Any

from . import imap_names
from .imap_lexer import MAX_63, BadSyntax, Lexer
from .imap_sharing import entries

Fields = tuple[Any, ...]
_OPEN, _CLOSE = 40, 41
_STATUS = frozenset(
    {
        "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ", "MAILBOXID",
        "APPENDLIMIT", "DELETED-STORAGE",
    }
)  # fmt: skip
_SELECT_OPTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_RETURN_OPTIONS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS", "METADATA", "MYRIGHTS"})
_USE = re.compile(rb"\\[A-Za-z]{1,32}").match
#: Patterns of one LIST, attributes of one CREATE.
_MAX_WORDS = 100


def create(lexer: Lexer) -> Fields:
    r"""SP mailbox [SP "(USE (\Sent ...))"] (RFC 6154)."""
    name = imap_names.mailbox(lexer)
    if lexer.peek() < 0:
        return name, ()
    lexer.space()
    lexer.open()
    if lexer.word() != "USE":
        raise BadSyntax("Unknown CREATE parameter")
    lexer.space()
    lexer.open()
    uses: list[bytes] = []
    if not lexer.accept(_CLOSE):
        while True:
            found = _USE(lexer.text, lexer.at)
            if found is None or len(uses) >= _MAX_WORDS:
                raise BadSyntax("Not a special-use attribute")
            lexer.at = found.end()
            uses.append(found[0])
            if not lexer.more():
                break
    lexer.close()
    lexer.end()
    return name, tuple(uses)


def _words(lexer: Lexer, known: frozenset[str], what: str) -> list[str]:
    """A list of words, possibly empty; each must be known."""
    out: list[str] = []
    lexer.open()
    if lexer.accept(_CLOSE):
        return out
    while True:
        word = lexer.word()
        if word not in known:
            raise BadSyntax("Unknown " + what)
        if word not in out:
            out.append(word)
        if not lexer.more():
            return out


def _status_items(lexer: Lexer) -> tuple[str, ...]:
    items = _words(lexer, _STATUS, "STATUS item")
    if not items:
        raise BadSyntax("STATUS item expected")
    return tuple(items)


def status(lexer: Lexer) -> Fields:
    """SP mailbox SP "(" items ")"."""
    name = imap_names.mailbox(lexer)
    lexer.space()
    items = _status_items(lexer)
    lexer.end()
    return name, items


def quota_root(lexer: Lexer) -> Fields:
    """SP quota-root-name: GETQUOTA (RFC 9208 section 4.1.1)."""
    lexer.space()
    root = lexer.astring()
    lexer.end()
    return (root,)


def quota_limits(lexer: Lexer) -> Fields:
    """SP quota-root-name SP "(" resource SP limit ... ")": SETQUOTA (RFC 9208 section 4.1.3)."""
    lexer.space()
    root = lexer.astring()
    lexer.space()
    lexer.open()
    limits: dict[str, int] = {}
    if not lexer.accept(_CLOSE):
        while True:
            resource = lexer.word()
            lexer.space()
            limits[resource] = lexer.number(MAX_63)
            if len(limits) > _MAX_WORDS:
                raise BadSyntax("Too many limits")
            if not lexer.more():
                break
    lexer.end()
    return root, limits


def _pattern(lexer: Lexer) -> str:
    return imap_names.decode(lexer.list_mailbox(), lexer.form)


def _returns(lexer: Lexer) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    """RETURN's options, STATUS's items (RFC 5819) and METADATA's entries (RFC 9590)."""
    options: set[str] = set()
    items: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    lexer.open()
    if lexer.accept(_CLOSE):
        return frozenset(), (), ()
    while True:
        word = lexer.word()
        if word not in _RETURN_OPTIONS:
            raise BadSyntax("Unknown LIST return option")
        if word == "STATUS":
            lexer.space()
            items = _status_items(lexer)
        elif word == "METADATA":
            lexer.space()
            annotations = entries(lexer)
        options.add(word)
        if not lexer.more():
            return frozenset(options), items, annotations


def list_mailboxes(lexer: Lexer) -> Fields:
    """SP [select options SP] reference SP pattern(s) [SP RETURN SP options] (RFC 3501, RFC 5258)."""
    lexer.space()
    chosen: frozenset[str] = frozenset()
    extended = lexer.peek() == _OPEN
    if extended:
        chosen = frozenset(_words(lexer, _SELECT_OPTIONS, "LIST selection option"))
        if "RECURSIVEMATCH" in chosen and not chosen - {"RECURSIVEMATCH", "REMOTE"}:
            raise BadSyntax("RECURSIVEMATCH needs another selection option")
        lexer.space()
    reference = imap_names.decode(lexer.astring(), lexer.form)
    lexer.space()
    if lexer.peek() == _OPEN:
        extended = True
        lexer.open()
        patterns = [_pattern(lexer)]
        while lexer.more():
            if len(patterns) >= _MAX_WORDS:
                raise BadSyntax("Too many patterns")
            patterns.append(_pattern(lexer))
    else:
        patterns = [_pattern(lexer)]
    if lexer.peek() < 0:
        return reference, tuple(patterns), chosen, frozenset(), (), extended
    lexer.space()
    if lexer.word() != "RETURN":
        raise BadSyntax("RETURN expected")
    lexer.space()
    returns, items, annotations = _returns(lexer)
    lexer.end()
    return reference, tuple(patterns), chosen, returns, items, True, annotations


def list_subscribed(lexer: Lexer) -> Fields:
    """SP reference SP pattern."""
    lexer.space()
    reference = imap_names.decode(lexer.astring(), lexer.form)
    lexer.space()
    pattern = _pattern(lexer)
    lexer.end()
    return reference, (pattern,)
