"""One command with its literals, collected under one budget (floor 1; RFC 3501 section 4.3, RFC 7888)."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from ..limits import Limits
from .buffer import Buffer
from .engine import NEED_DATA
from .imap_commands import AUTHENTICATED, SELECTED, NoCommand, Row, find, tag_of
from .imap_framing import BadLine, Literal, check_unasked, literal_at_end
from .imap_lexer import BadSyntax, Lexer
from .imap_requests import Continue

_AFTER_LOGIN = (AUTHENTICATED, SELECTED)
#: Of a first line that is too long, the tag is looked for in so many octets.
_TAG_OCTETS = 128


#: What stands before a mailbox that comes as a literal in REPLACE.
_NUMBER = re.compile(rb" [0-9*]+ \0").fullmatch


def _names_mailbox(row: Row, text: bytes) -> bool:
    """The first literal of APPEND is the mailbox only when nothing stands before it, of REPLACE when only a number
    does."""
    return text == b" \0" if row.name == "APPEND" else _NUMBER(text) is not None


@frozen
class MessageComes:
    """An APPEND up to its first message's literal; the lexer stands behind the command's name."""

    tag: bytes
    row: Row
    lexer: Lexer
    literal: Literal


class Collector:
    """Text and literals of one command.

    The text is the lines joined, each literal's mark in them replaced by a NUL octet (see `imap_lexer`); all
    octets of both count against the budget of `Limits`, which is smaller before login.
    """

    __slots__ = ("_buffer", "_left", "_limits", "_need", "_partial", "_texts", "literals")

    def __init__(self, buffer: Buffer, limits: Limits) -> None:
        self._buffer, self._limits = buffer, limits
        self._partial = bytearray()
        self.clear()

    def clear(self) -> None:
        """Ready for the next command."""
        self._texts: list[bytes] = []
        self.literals: list[bytes] = []
        self._need = -1
        self._left = 0
        self._partial.clear()

    def tag(self) -> bytes | None:
        """The tag of the command that is being collected, as far as it can be told."""
        tag = tag_of(self._texts[0] if self._texts else self._buffer.peek(_TAG_OCTETS + 1))
        return tag if tag is not None and len(tag) <= _TAG_OCTETS else None

    def step(self, state: str) -> Any:
        """The text (bytes) of a whole command, with `literals`; Continue; MessageComes; NEED_DATA.

        Raises BadLine, LineTooLong.  The caller clears before the next command when there were literals.
        """
        limits = self._limits
        if not self._texts:
            if not self._buffer:
                # Asked once after every command.
                return NEED_DATA
            after = state in _AFTER_LOGIN
            self._left = limits.imap_command_octets if after else limits.imap_command_octets_before_login
        while True:
            if self._need >= 0 and not self._take_literal():
                return NEED_DATA
            # A line longer than what the connection keeps for us would never arrive.
            line = self._buffer.line(min(self._left, limits.pending_octets))
            if line is None:
                return NEED_DATA
            literal = literal_at_end(line)
            if b"\0" in line:
                raise BadLine(tag_of(self._texts[0] if self._texts else line), "NUL in the command", literal)
            if literal is not None:
                event = self._announced(line, literal, state)
                if event is not None:
                    return event
            elif self._texts:
                self._texts.append(line)
                return b"".join(self._texts)
            else:
                return line

    def _take_literal(self) -> bool:
        """The literal that is due, piece by piece: it may be longer than what the connection keeps for us."""
        partial = self._partial
        octets = None if partial else self._buffer.take(self._need)
        if octets is None:
            partial += self._buffer.take_up_to(self._need - len(partial))
            if len(partial) < self._need:
                return False
            octets = bytes(partial)
            partial.clear()
        self.literals.append(octets)
        self._need = -1
        return True

    def _announced(self, line: bytes, literal: Literal, state: str) -> Any:
        """`line` ends with the mark of `literal`: may it come?"""
        self._left -= len(line) + 2
        self._texts.append(line[: literal.start] + b"\0")
        try:
            tag, row, at = find(self._texts[0], state)
        except NoCommand as error:
            raise BadLine(error.tag, error.text, literal) from None
        try:
            check_unasked(literal, self._limits.imap_unasked_octets)
        except BadSyntax as error:
            raise BadLine(tag, error.text, literal) from None
        if row.then == "append" and not (len(self._texts) == 1 and _names_mailbox(row, self._texts[0][at:])):
            return MessageComes(tag, row, Lexer(b"".join(self._texts), at, self.literals), literal)
        allowed = self._left - 2
        if state not in _AFTER_LOGIN:
            allowed = min(allowed, self._limits.imap_literal_octets_before_login)
        if literal.size > allowed:
            raise BadLine(tag, "Literal too large", literal)
        self._left -= literal.size
        self._need = literal.size
        return Continue() if literal.synchronising else None
