"""Arguments of CONDSTORE and QRESYNC (floor 1; RFC 7162): a parameter's raw octets into what they mean.

All raise BadSyntax.
"""

from __future__ import annotations

import re

from ..numbers import UidSet
from . import imap_numset
from .imap_lexer import MAX_32, MAX_63, BadSyntax, Lexer
from .imap_requests import Qresync

#: ``entry-name`` of RFC 7162 section 7: a flag's name, for SEARCH MODSEQ.
_ENTRY = re.compile(rb"/flags/[\x21\x23-\x5b\x5d-\x7e\\]{1,255}").fullmatch
_ENTRY_TYPES = frozenset({"PRIV", "SHARED", "ALL"})
_OPEN, _QUOTE, _SPACE = b'(" '


def no_argument(octets: bytes) -> None:
    """CONDSTORE, VANISHED."""
    if octets:
        raise BadSyntax("The parameter has no argument")


def modseq(octets: bytes) -> int:
    """One mod-sequence-valzer.

    QUIRK: CHANGEDSINCE 0, which should be at least 1, is sent by Mail of iOS 16; it means everything.
    """
    lexer = Lexer(octets)
    value = lexer.number(MAX_63)
    lexer.end()
    return value


def _plain_set(lexer: Lexer) -> UidSet:
    """A set without ``*`` and ``$``."""
    numbers = imap_numset.parse(lexer.number_set())
    if numbers.saved or any(not low or not high for low, high in numbers.ranges):
        raise BadSyntax("Only numbers can be known")
    return numbers.resolve(0)


def qresync(octets: bytes) -> Qresync:
    """``(uidvalidity modseq [known-uids] [(known-sequence-set known-uid-set)])`` (section 3.2.5)."""
    lexer = Lexer(octets)
    lexer.open()
    found = Qresync(lexer.number(MAX_32, 1), 0)
    lexer.space()
    found.modseq = lexer.number(MAX_63)
    more = lexer.accept(_SPACE)
    if more and lexer.peek() != _OPEN:
        found.known = _plain_set(lexer)
        more = lexer.accept(_SPACE)
    if more:
        _matches(lexer, found)
    lexer.close()
    lexer.end()
    return found


def _matches(lexer: Lexer, found: Qresync) -> None:
    """The numbers and the UIDs that the client knows to belong together."""
    lexer.open()
    numbers = _plain_set(lexer)
    lexer.space()
    uids = _plain_set(lexer)
    lexer.close()
    if len(numbers) != len(uids):
        raise BadSyntax("As many numbers as UIDs expected")
    found.matches = numbers, uids


def search_modseq(lexer: Lexer) -> int:
    """``[entry-name entry-type] modseq`` behind SEARCH's MODSEQ (section 3.1.5).

    There is one MODSEQ for all flags of a message, so the entry decides nothing.
    """
    lexer.space()
    if lexer.peek() == _QUOTE:
        if _ENTRY(lexer.string()) is None:
            raise BadSyntax("Not the name of a flag's entry")
        lexer.space()
        if lexer.word() not in _ENTRY_TYPES:
            raise BadSyntax("priv, shared or all expected")
        lexer.space()
    return lexer.number(MAX_63)
