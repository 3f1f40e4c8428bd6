"""SEARCH programs into query trees (floor 1; RFC 9051 section 6.4.4), with the keys of RFC 5032, RFC 7162, RFC 8474
and RFC 8514, and RETURN (RFC 4731, RFC 5182, RFC 9394)."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..message.charsets import codec
from ..query import (
    All,
    And,
    BodyContains,
    ChangedSince,
    EmailId,
    HasFlag,
    HeaderContains,
    Internal,
    Larger,
    Not,
    Numbers,
    Or,
    Query,
    Recent,
    Saved,
    Sent,
    Smaller,
    TextContains,
    ThreadId,
    UidNumbers,
    Within,
)
from . import imap_condstore, imap_numset
from .imap_lexer import MAX_32, MAX_63, BadSyntax, Lexer

#: Nesting of parentheses, NOT and OR together, and keys in one program.
MAX_DEPTH, MAX_KEYS = 50, 2000
_OPEN, _CLOSE = b"()"
_SET_STARTS = frozenset(b"0123456789*$")
_RETURNS = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "PARTIAL"})
_PLACES = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})(?![0-9])").match
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}").fullmatch

#: RETURN's options, or None without RETURN, and the places of PARTIAL.
Returns = tuple[frozenset[str] | None, tuple[int, int] | None]


class UnknownCharset(BadSyntax):
    """SEARCH names a CHARSET that nobody here knows (RFC 5530 BADCHARSET); `saving`: its RETURN has SAVE."""

    def __init__(self, saving: bool = False) -> None:
        self.saving = saving
        super().__init__("Character set not supported")


class _Program:
    """Reads keys; counts them and their depth.  `codec`: what undoes the strings."""

    __slots__ = ("codec", "depth", "keys", "lexer")

    def __init__(self, lexer: Lexer, codec: str) -> None:
        self.lexer, self.codec = lexer, codec
        self.depth = 0
        self.keys = 0

    def text(self) -> str:
        self.lexer.space()
        # QUIRK: without CHARSET the text should be US-ASCII (RFC 3501); many clients send UTF-8, as RFC 9051 allows.
        return self.decoded(self.lexer.astring())

    def decoded(self, octets: bytes) -> str:
        """A string of the search as text."""
        try:
            return octets.decode(self.codec)
        except UnicodeError:
            raise BadSyntax("Search text is not valid in its character set") from None

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


def _flag(program: _Program) -> Query:
    program.lexer.space()
    return HasFlag(program.lexer.atom())


def _header(program: _Program) -> Query:
    program.lexer.space()
    name = program.decoded(program.lexer.astring())
    return HeaderContains(name.lower(), program.text())


def _of_header(name: str) -> Callable[[_Program], Query]:
    return lambda program: HeaderContains(name, program.text())


def _of_date(node: type[Internal] | type[Sent], relation: str) -> Callable[[_Program], Query]:
    def read(program: _Program) -> Query:
        program.lexer.space()
        return node(relation, program.lexer.date())

    return read


def _saved(relation: str) -> Callable[[_Program], Query]:
    def read(program: _Program) -> Query:
        program.lexer.space()
        return Saved(relation, program.lexer.date())

    return read


def _within(younger: bool) -> Callable[[_Program], Query]:
    def read(program: _Program) -> Query:
        program.lexer.space()
        return Within(younger, program.lexer.number(least=1))

    return read


def _object_id(program: _Program) -> str:
    program.lexer.space()
    found = program.lexer.astring()
    if _OBJECT_ID(found) is None:
        raise BadSyntax("Not an object identifier")
    return found.decode("ascii")


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
    b"SAVEDATESUPPORTED": All(),
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
    b"YOUNGER": _within(True),
    b"OLDER": _within(False),
    b"SAVEDBEFORE": _saved("<"),
    b"SAVEDON": _saved("="),
    b"SAVEDSINCE": _saved(">="),
    b"EMAILID": lambda program: EmailId(_object_id(program)),
    b"THREADID": lambda program: ThreadId(_object_id(program)),
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


def places(octets: bytes, at: int = 0) -> tuple[tuple[int, int], int]:
    """PARTIAL's ``1:100`` or ``-1:-100``, smaller number first by size, and the position behind it (RFC 9394)."""
    found = _PLACES(octets, at)
    if found is None or found[1] != found[3]:
        raise BadSyntax("PARTIAL needs a range")
    low, high = sorted((int(found[2]), int(found[4])))
    if high > MAX_32:
        raise BadSyntax("Number out of range")
    return ((-low, -high) if found[1] else (low, high)), found.end()


def partial(octets: bytes) -> tuple[int, int]:
    """The argument of FETCH's PARTIAL (RFC 9394 section 3.3).  Raises BadSyntax."""
    found, end = places(octets)
    if end != len(octets):
        raise BadSyntax("PARTIAL needs a range")
    return found


def returns(lexer: Lexer) -> Returns:
    """``RETURN (options)`` and a space, when they come next; no option means ALL.  Raises BadSyntax."""
    if not _keyword_follows(lexer, b"RETURN"):
        return None, None
    options: set[str] = set()
    some = None
    lexer.open()
    more = not lexer.accept(_CLOSE)
    while more:
        option = lexer.word()
        if option not in _RETURNS:
            raise BadSyntax("Unknown search return option")
        if option == "PARTIAL":
            if some is not None:
                raise BadSyntax("PARTIAL twice")
            lexer.space()
            some, lexer.at = places(lexer.text, lexer.at)
        options.add(option)
        more = lexer.more()
    if options >= {"PARTIAL", "ALL"}:
        raise BadSyntax("PARTIAL and ALL exclude each other")
    lexer.space()
    return frozenset(options or {"ALL"}), some


def charset(lexer: Lexer, saving: bool) -> bytes:
    """The name of a character set, in upper case, and a space.  Raises BadSyntax, UnknownCharset."""
    name = lexer.astring().upper()
    if codec(name) is None:
        raise UnknownCharset(saving)
    lexer.space()
    return name


def keys(lexer: Lexer, named: bytes) -> Query:
    """The search keys up to the end, in the character set `named` (b"": none).  Raises BadSyntax."""
    program = _Program(lexer, codec(named or b"UTF-8") or "utf_8")
    found = [program.key()]
    while lexer.accept(32):
        found.append(program.key())
    lexer.end()
    return found[0] if len(found) == 1 else And(tuple(found))


def search(lexer: Lexer) -> tuple[Query, frozenset[str] | None, tuple[int, int] | None, bytes]:
    """All that follows SEARCH: the query, `Returns`, the character set.  Raises BadSyntax, UnknownCharset."""
    lexer.space()
    options, some = returns(lexer)
    named = b""
    if _keyword_follows(lexer, b"CHARSET"):
        named = charset(lexer, options is not None and "SAVE" in options)
    return keys(lexer, named), options, some, named
