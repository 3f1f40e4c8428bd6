"""The tokens of one IMAP4 command (floor 1; RFC 3501 section 9, RFC 3516 literal8, RFC 7888).

The text of a command comes as one octet string in which each literal is a single NUL octet; the literals'
own octets are beside it, in order.  No NUL can come from a client's line: it is refused before.
Every method reads at the present position, moves behind what it read, and raises BadSyntax.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

#: Stands for a literal in the text of a command.
LITERAL = 0
MAX_32 = 2**32 - 1
MAX_63 = 2**63 - 1

# One character class each, or possessive: nothing here can backtrack.
_ATOM_CHARS = rb"\x21\x23\x24\x26\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e"
_ATOM = re.compile(rb"[%b]+" % _ATOM_CHARS).match
_ASTRING = re.compile(rb"[%b\x5d]+" % _ATOM_CHARS).match
_LIST = re.compile(rb"[%b\x5d\x25\x2a]+" % _ATOM_CHARS).match
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]++|\\["\\])*+)"').match
_ESCAPED = re.compile(rb"\\(.)").sub
_NUMBER = re.compile(rb"[0-9]+").match
_NUMBER_SET = re.compile(rb"[0-9:,*$]+").match
_FLAG = re.compile(rb"\\?[%b]+" % _ATOM_CHARS).match
_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})").fullmatch
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9]-[A-Za-z]{3}-[0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
).match
MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH = {name.upper(): number for number, name in enumerate(MONTHS, 1)}
EPOCH_DAY = date(1970, 1, 1).toordinal()
_MAX_FLAGS, _MAX_FLAG_OCTETS = 256, 255
_OPEN, _CLOSE, _SPACE, _QUOTE, _TILDE = b'() "~'


class BadSyntax(Exception):
    """The command is not what the grammar says; `text` is safe to show."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class Form(NamedTuple):
    """How names of mailboxes are written: in UTF-8 or in modified UTF-7, and what separates their levels, which is "/"
    inside."""

    utf8: bool = False
    separator: str = "/"


PLAIN = Form()


def day_of(octets: bytes) -> int:
    """The ordinal day of ``d-Mon-yyyy``.  Raises BadSyntax."""
    found = _DATE(octets)
    if found is None or (month := _MONTH.get(found[2].upper())) is None:
        raise BadSyntax("Not a date")
    try:
        return date(int(found[3]), month, int(found[1])).toordinal()
    except ValueError:
        raise BadSyntax("Not a date") from None


class Lexer:
    """A position in one command."""

    __slots__ = ("_depth", "_literals", "_used", "at", "form", "max_depth", "spelled", "text")

    def __init__(
        self,
        text: bytes,
        at: int = 0,
        literals: list[bytes] | None = None,
        max_depth: int = 16,
        form: Form = PLAIN,
    ) -> None:
        self.text, self.at = text, at
        self._literals = literals or []
        self._used = 0
        self._depth = 0
        self.max_depth = max_depth
        self.form = form
        #: The last name of a mailbox as the client wrote it, "" when that is how it is kept.
        self.spelled = ""

    def peek(self) -> int:
        """The next octet, -1 at the end."""
        return self.text[self.at] if self.at < len(self.text) else -1

    def accept(self, octet: int) -> bool:
        """Move over `octet` when it is next."""
        if self.at < len(self.text) and self.text[self.at] == octet:
            self.at += 1
            return True
        return False

    def space(self) -> None:
        """Exactly one space."""
        if self.at >= len(self.text):
            raise BadSyntax("Missing argument")
        if self.text[self.at] != _SPACE:
            raise BadSyntax("Space expected")
        self.at += 1

    def end(self) -> None:
        """Nothing may follow."""
        if self.at != len(self.text):
            raise BadSyntax("Unexpected characters after the command")

    def open(self) -> None:
        """The "(" of a list; counts depth."""
        if not self.accept(_OPEN):
            raise BadSyntax("List expected")
        self._depth += 1
        if self._depth > self.max_depth:
            raise BadSyntax("Lists nested too deeply")

    def close(self) -> None:
        """The ")" of a list."""
        if not self.accept(_CLOSE):
            raise BadSyntax("Closing parenthesis expected")
        self._depth -= 1

    def more(self) -> bool:
        """Inside a list, after an item: True and over the space when another follows; else over the ")"."""
        if self.accept(_SPACE):
            return True
        self.close()
        return False

    def atom(self) -> bytes:
        """An atom."""
        found = _ATOM(self.text, self.at)
        if found is None:
            raise BadSyntax("Atom expected")
        self.at = found.end()
        return found[0]

    def word(self) -> str:
        """An atom in upper case, as text: keywords of the grammar."""
        return self.atom().upper().decode("ascii")

    def string(self) -> bytes:
        """A quoted string or a literal.  Octets above 127 are let through; who decodes them decides."""
        found = _QUOTED(self.text, self.at)
        if found is not None:
            self.at = found.end()
            octets = found[1]
            return _ESCAPED(rb"\1", octets) if b"\\" in octets else octets
        if self.peek() == LITERAL and self._used < len(self._literals):
            self.at += 1
            self._used += 1
            return self._literals[self._used - 1]
        raise BadSyntax("String expected")

    def astring(self) -> bytes:
        """An atom (with "]") or a string."""
        found = _ASTRING(self.text, self.at)
        if found is None:
            return self.string()
        self.at = found.end()
        return found[0]

    def nstring(self) -> bytes | None:
        """A string, or None for NIL."""
        if self.text[self.at : self.at + 3].upper() == b"NIL":
            self.at += 3
            return None
        return self.string()

    def value(self) -> bytes | None:
        """A string, None for NIL, or a literal8 (RFC 5464 section 5)."""
        if self.text[self.at : self.at + 2] == b"~\0":
            self.at += 1
        return self.nstring()

    def list_mailbox(self) -> bytes:
        """A pattern of LIST: list-char atom or string."""
        found = _LIST(self.text, self.at)
        if found is None:
            return self.string()
        self.at = found.end()
        return found[0]

    def number(self, largest: int = MAX_32, least: int = 0) -> int:
        """A number in [least, largest]."""
        found = _NUMBER(self.text, self.at)
        # 19 digits hold 2**63 - 1; more are not converted at all.
        if found is None or found.end() - self.at > 19 or not least <= (value := int(found[0])) <= largest:
            raise BadSyntax("Number expected" if found is None else "Number out of range")
        self.at = found.end()
        return value

    def number_set(self) -> bytes:
        """The octets of a sequence set; `imap_numset.parse` reads them."""
        found = _NUMBER_SET(self.text, self.at)
        if found is None:
            raise BadSyntax("Message set expected")
        self.at = found.end()
        return found[0]

    def flags(self) -> tuple[bytes, ...]:
        """A flag list in parentheses, or (STORE) flags without them."""
        listed = self.peek() == _OPEN
        out: list[bytes] = []
        if listed:
            self.open()
            if self.accept(_CLOSE):
                self._depth -= 1
                return ()
        while True:
            found = _FLAG(self.text, self.at)
            if found is None:
                raise BadSyntax("Flag expected")
            if found.end() - self.at > _MAX_FLAG_OCTETS or len(out) >= _MAX_FLAGS:
                raise BadSyntax("Too many or too long flags")
            self.at = found.end()
            out.append(found[0])
            if not (self.more() if listed else self.accept(_SPACE)):
                return tuple(out)

    def date(self) -> int:
        """A date, quoted or not, as the ordinal of its day."""
        return day_of(self.astring())

    def date_time(self) -> tuple[int, int]:
        """``"17-Jul-1996 02:44:25 -0700"`` as (UTC epoch seconds, zone in minutes east)."""
        found = _DATE_TIME(self.text, self.at)
        if found is None:
            raise BadSyntax("Not a date and time")
        hour, minute, second, zone_hour, zone_minute = map(int, found.group(2, 3, 4, 6, 7))
        if hour > 23 or minute > 59 or second > 60 or zone_hour > 23 or zone_minute > 59:
            raise BadSyntax("Not a date and time")
        zone = zone_hour * 60 + zone_minute
        if found[5] == b"-":
            zone = -zone
        day = day_of(found[1].lstrip(b" ")) - EPOCH_DAY
        self.at = found.end()
        return day * 86400 + hour * 3600 + minute * 60 + min(second, 59) - zone * 60, zone
