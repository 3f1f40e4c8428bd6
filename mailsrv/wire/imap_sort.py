"""Arguments of SORT and THREAD (floor 1; RFC 5256, RFC 5957, RFC 5267)."""

from __future__ import annotations

from typing import Any

from . import imap_query
from .imap_lexer import BadSyntax, Lexer

#: Sort keys, and how many one SORT may have (each makes sense once, forwards or backwards).
KEYS = frozenset({"ARRIVAL", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO", "FROM", "SIZE", "SUBJECT", "TO"})
MAX_KEYS = 20
ALGORITHMS = frozenset({"ORDEREDSUBJECT", "REFERENCES"})


def _criteria(lexer: Lexer) -> tuple[tuple[str, bool], ...]:
    found: list[tuple[str, bool]] = []
    lexer.open()
    while True:
        name, reverse = lexer.word(), False
        if name == "REVERSE":
            lexer.space()
            name, reverse = lexer.word(), True
        if name not in KEYS:
            raise BadSyntax("Unknown sort key")
        if len(found) >= MAX_KEYS:
            raise BadSyntax("Too many sort keys")
        found.append((name, reverse))
        if not lexer.more():
            return tuple(found)


def sort(lexer: Lexer) -> tuple[Any, ...]:
    """SP ["RETURN" SP options SP] "(" keys ")" SP charset SP search keys: the fields of `Sort`.

    Raises BadSyntax, UnknownCharset.
    """
    lexer.space()
    options, partial = imap_query.returns(lexer)
    criteria = _criteria(lexer)
    lexer.space()
    charset = imap_query.charset(lexer, options is not None and "SAVE" in options)
    return imap_query.keys(lexer, charset), options, partial, charset, criteria


def thread(lexer: Lexer) -> tuple[Any, ...]:
    """SP algorithm SP charset SP search keys: the fields of `Thread`.  Raises BadSyntax, UnknownCharset."""
    lexer.space()
    algorithm = lexer.word()
    if algorithm not in ALGORITHMS:
        raise BadSyntax("Unknown threading algorithm")
    lexer.space()
    charset = imap_query.charset(lexer, False)
    return algorithm, imap_query.keys(lexer, charset), charset
