"""Where a command ends (floor 1): literals at line ends (RFC 3501 section 4.3, RFC 7888, RFC 3516), and dropping
what belongs to a refused command, so that a literal's octets are never taken for commands."""

from __future__ import annotations

import re

from attrs import frozen

from .buffer import Buffer
from .imap_lexer import MAX_63, BadSyntax

_MARK = re.compile(rb"\{([0-9]+)(\+?)\}").fullmatch
#: 2**63 - 1 has 19 digits; longer numbers are not converted, they are too large.
_DIGITS = 19
_FRAMING_OCTETS = 2


@frozen
class Literal:
    """A literal announced at the end of a line: `start` is where its mark begins in the line."""

    size: int
    synchronising: bool
    start: int


def literal_at_end(line: bytes) -> Literal | None:
    """The literal that `line` (without CRLF) announces.  A size that is too large for 63 bits is 2**63."""
    if not line.endswith(b"}"):
        return None
    start = line.rfind(b"{")
    found = _MARK(line, start) if start >= 0 else None
    if found is None:
        return None
    digits = found[1].lstrip(b"0")
    size = min(int(digits or b"0"), MAX_63 + 1) if len(digits) <= _DIGITS else MAX_63 + 1
    return Literal(size, not found[2], start)


def check_unasked(literal: Literal, most: int | None) -> None:
    """Raises BadSyntax of a literal that comes unasked and is too large for that (RFC 7888 section 5)."""
    if most is not None and not literal.synchronising and literal.size > most:
        raise BadSyntax("Literal too large to come unasked")


class BadLine(BadSyntax):
    """A command goes wrong at a line that may announce `literal`; `tag` None: nobody to answer to."""

    def __init__(self, tag: bytes | None, text: str, literal: Literal | None) -> None:
        super().__init__(text)
        self.tag, self.literal = tag, literal


class Overrun(Exception):
    """What would have to be dropped is more than its bound: the conversation cannot go on."""


class Drop:
    """The rest of a refused command: `need` octets of a literal, then its line, with further literals.

    A synchronising literal ends it: the client sees the refusal and does not send it.  `left` bounds all that
    is dropped, `line_limit` each line.
    """

    __slots__ = ("_buffer", "_left", "_line_limit", "_need")

    def __init__(self, buffer: Buffer, line_limit: int, need: int, left: int) -> None:
        self._buffer, self._line_limit = buffer, line_limit
        self._need, self._left = need, left

    def step(self) -> bool:
        """Drop what is there; True when the command's end was reached.  Raises Overrun, LineTooLong."""
        while True:
            if self._need > self._left:
                raise Overrun
            if self._need:
                dropped = len(self._buffer.take_up_to(self._need))
                self._need -= dropped
                self._left -= dropped
                if self._need:
                    return False
            line = self._buffer.line(self._line_limit)
            if line is None:
                return False
            self._left -= len(line) + _FRAMING_OCTETS
            literal = literal_at_end(line)
            if literal is None or literal.synchronising:
                return True
            self._need = literal.size
