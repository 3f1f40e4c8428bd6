"""SEARCH programs into query trees (floor 1; RFC 3501 section 6.4.4, RFC 9051 section 6.4.4)."""

from __future__ import annotations

from collections.abc import Callable

from ..query import (
    All,
    And,
    BodyContains,
    ChangedSince,
    HasFlag,
    HeaderContains,
    Internal,
    Larger,
    Not,
    Numbers,
    Or,
    Query,
    Recent,
    Sent,
    Smaller,
    TextContains,
    UidNumbers,
)
from . import imap_condstore, imap_numset
from .imap_lexer import MAX_63, BadSyntax, Lexer

#: Nesting of parentheses, NOT and OR together, and keys in one program.
MAX_DEPTH, MAX_KEYS = 50, 2000
CHARSETS = (b"UTF-8", b"US-ASCII")
_OPEN = ord("(")
_SET_STARTS = frozenset(b"0123456789*$")
_RETURNS = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE"})


class UnknownCharset(BadSyntax):
    """SEARCH names a CHARSET other than `CHARSETS` (RFC 5530 BADCHARSET)."""

    def __init__(self) -> None:
        super().__init__("Character set not supported")


class _Program:
    """Reads keys; counts them and their depth."""

    __slots__ = ("depth", "keys", "lexer")

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.depth = 0
        self.keys = 0

    def text(self) -> str:
        self.lexer.space()
        # QUIRK: without CHARSET the text should be US-ASCII (RFC 3501); many clients send UTF-8, as RFC 9051 allows.
        return _decoded(self.lexer.astring())

    def key(self) -> Query:
        """One search key, with what is inside it."""
        self.keys += 1
        self.depth += 1
        if self.keys > MAX_KEYS or self.depth > MAX_DEPTH:
            raise BadSyntax("Search is too complex")
        query = self._key()
        self.depth -= 1
        return query

    def _key(self) -> Query:
        lexer = self.lexer
        first = lexer.peek()
        if first == _OPEN:
            lexer.at += 1
            children = [self.key()]
            # Not Lexer.open: the depth of a search is counted with that of NOT and OR.
            while lexer.accept(32):
                children.append(self.key())
            if not lexer.accept(41):
                raise BadSyntax("Closing parenthesis expected")
            return children[0] if len(children) == 1 else And(tuple(children))
        if first in _SET_STARTS:
            return Numbers(imap_numset.parse(lexer.number_set()))
        name = lexer.atom().upper()
        plain = _PLAIN.get(name)
        if plain is not None:
            return plain
        read = _READERS.get(name)
        if read is None:
            raise BadSyntax("Unknown search key")
        return read(self)


def _decoded(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax("Search text is not valid UTF-8") from None


def _flag(program: _Program) -> Query:
    program.lexer.space()
    return HasFlag(program.lexer.atom())


def _header(program: _Program) -> Query:
    program.lexer.space()
    name = _decoded(program.lexer.astring())
    return HeaderContains(name.lower(), program.text())


def _of_header(name: str) -> Callable[[_Program], Query]:
    return lambda program: HeaderContains(name, program.text())


def _of_date(node: type[Internal] | type[Sent], relation: str) -> Callable[[_Program], Query]:
    def read(program: _Program) -> Query:
        program.lexer.space()
        return node(relation, program.lexer.date())

    return read


def _of_size(node: type[Larger] | type[Smaller]) -> Callable[[_Program], Query]:
    def read(program: _Program) -> Query:
        program.lexer.space()
        return node(program.lexer.number(MAX_63))

    return read


def _uid(program: _Program) -> Query:
    program.lexer.space()
    return UidNumbers(imap_numset.parse(program.lexer.number_set()))


def _not(program: _Program) -> Query:
    program.lexer.space()
    return Not(program.key())


def _or(program: _Program) -> Query:
    program.lexer.space()
    left = program.key()
    program.lexer.space()
    return Or(left, program.key())


_SEEN = HasFlag(b"\\Seen")
#: Keys without arguments.
_PLAIN: dict[bytes, Query] = {
    b"ALL": All(),
    b"ANSWERED": HasFlag(b"\\Answered"),
    b"DELETED": HasFlag(b"\\Deleted"),
    b"DRAFT": HasFlag(b"\\Draft"),
    b"FLAGGED": HasFlag(b"\\Flagged"),
    b"SEEN": _SEEN,
    b"RECENT": Recent(),
    b"NEW": And((Recent(), Not(_SEEN))),
    b"OLD": Not(Recent()),
    b"UNANSWERED": Not(HasFlag(b"\\Answered")),
    b"UNDELETED": Not(HasFlag(b"\\Deleted")),
    b"UNDRAFT": Not(HasFlag(b"\\Draft")),
    b"UNFLAGGED": Not(HasFlag(b"\\Flagged")),
    b"UNSEEN": Not(_SEEN),
}
_READERS: dict[bytes, Callable[[_Program], Query]] = {
    b"BCC": _of_header("bcc"),
    b"CC": _of_header("cc"),
    b"FROM": _of_header("from"),
    b"SUBJECT": _of_header("subject"),
    b"TO": _of_header("to"),
    b"HEADER": _header,
    b"BODY": lambda program: BodyContains(program.text()),
    b"TEXT": lambda program: TextContains(program.text()),
    b"KEYWORD": _flag,
    b"UNKEYWORD": lambda program: Not(_flag(program)),
    b"BEFORE": _of_date(Internal, "<"),
    b"ON": _of_date(Internal, "="),
    b"SINCE": _of_date(Internal, ">="),
    b"SENTBEFORE": _of_date(Sent, "<"),
    b"SENTON": _of_date(Sent, "="),
    b"SENTSINCE": _of_date(Sent, ">="),
    b"LARGER": _of_size(Larger),
    b"SMALLER": _of_size(Smaller),
    b"UID": _uid,
    b"MODSEQ": lambda program: ChangedSince(imap_condstore.search_modseq(program.lexer)),
    b"NOT": _not,
    b"OR": _or,
}


def _keyword_follows(lexer: Lexer, keyword: bytes) -> bool:
    """Whether `keyword` and a space come next; moves over both."""
    end = lexer.at + len(keyword)
    if lexer.text[lexer.at : end + 1].upper() != keyword + b" ":
        return False
    lexer.at = end + 1
    return True


def _returns(lexer: Lexer) -> frozenset[str]:
    """RETURN's options (RFC 4731); none means ALL."""
    lexer.open()
    if lexer.accept(41):
        return frozenset({"ALL"})
    out = {lexer.word()}
    while lexer.more():
        out.add(lexer.word())
    if not out <= _RETURNS:
        raise BadSyntax("Unknown search return option")
    return frozenset(out)


def search(lexer: Lexer) -> tuple[Query, frozenset[str] | None]:
    """All that follows SEARCH: (query, RETURN's options or None).  Raises BadSyntax, UnknownCharset."""
    lexer.space()
    returns = None
    if _keyword_follows(lexer, b"RETURN"):
        returns = _returns(lexer)
        lexer.space()
    if _keyword_follows(lexer, b"CHARSET"):
        if lexer.astring().upper() not in CHARSETS:
            raise UnknownCharset
        lexer.space()
    program = _Program(lexer)
    keys = [program.key()]
    while lexer.accept(32):
        keys.append(program.key())
    lexer.end()
    return (keys[0] if len(keys) == 1 else And(tuple(keys))), returns
