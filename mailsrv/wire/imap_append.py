"""APPEND as a conversation (floor 1; RFC 3501 section 6.3.11, RFC 3502 MULTIAPPEND): messages stream through.

The engine gives this reader the command up to the first message's literal; from there to the end of the
command the reader makes the events.  It holds no octets of a message.
"""

from __future__ import annotations

import re
from typing import Any

from ..limits import Limits
from ..numbers import NumSet
from . import imap_names, imap_numset
from .buffer import Buffer
from .engine import NEED_DATA, PAUSED
from .imap_framing import BadLine, Literal, check_unasked, literal_at_end
from .imap_lexer import LITERAL, MAX_63, BadSyntax, Lexer
from .imap_requests import Append, AppendEnd, AppendMessage, AppendOctets, Continue, Replace

_OPEN, _QUOTE, _TILDE = b'("~'
_UTF8 = b"UTF8 ("
_NUMBER = re.compile(rb"[0-9]+|\*").fullmatch
# What comes next.
_ANNOUNCE, _DECISION, _CONTINUE, _OCTETS, _LINE, _DONE = range(6)


def _message(lexer: Lexer, literal: Literal) -> AppendMessage:
    """SP [flags SP] [date-time SP] literal, literal8 or the beginning of UTF8 (RFC 6855 section 4); the lexer must
    end there."""
    lexer.space()
    flags: tuple[bytes, ...] = ()
    date: int | None = None
    zone = 0
    if lexer.peek() == _OPEN:
        flags = lexer.flags()
        lexer.space()
    if lexer.peek() == _QUOTE:
        date, zone = lexer.date_time()
        lexer.space()
    utf8 = lexer.text[lexer.at : lexer.at + len(_UTF8)].upper() == _UTF8
    if utf8:
        lexer.at += len(_UTF8)
    binary = lexer.accept(_TILDE)
    if not lexer.accept(LITERAL) or utf8 > binary:
        raise BadSyntax("Message literal expected")
    lexer.end()
    if literal.size > MAX_63:
        raise BadSyntax("Literal too large")
    return AppendMessage(flags, date, zone, literal.size, literal.synchronising, binary, utf8)


def _one(lexer: Lexer) -> NumSet:
    """The number of one message, or "*" (RFC 8508 section 4)."""
    octets = lexer.number_set()
    if _NUMBER(octets) is None:
        raise BadSyntax("Message number expected")
    return imap_numset.parse(octets)


class AppendReader:
    """One APPEND.  `line_limit` bounds each line between messages.  All raise BadLine, LineTooLong."""

    __slots__ = (
        "_buffer", "_line_limit", "_literal", "_message", "_messages", "_most", "_need", "_next", "_unasked", "tag",
    )  # fmt: skip

    def __init__(self, buffer: Buffer, limits: Limits, tag: bytes, line_limit: int) -> None:
        self._buffer, self._line_limit, self.tag = buffer, line_limit, tag
        self._most, self._unasked = limits.append_messages, limits.imap_unasked_octets
        self._messages = 0
        self._need = 0
        self._next = _DONE

    @property
    def done(self) -> bool:
        """The command was read to its end."""
        return self._next == _DONE

    def begin(self, lexer: Lexer, name: str, literal: Literal) -> Append:
        """The first line, behind the command's name; `literal` is the first message's."""
        numbers: NumSet | None = None
        try:
            lexer.space()
            if name.endswith("REPLACE"):
                self._most = 1
                numbers = _one(lexer)
                lexer.space()
            mailbox = imap_names.decode(lexer.astring(), lexer.form)
            self._announced(lexer, literal)
        except BadSyntax as error:
            raise BadLine(self.tag, error.text, literal) from None
        return Append(self.tag, name, mailbox) if numbers is None else Replace(self.tag, name, mailbox, numbers)

    def _announced(self, lexer: Lexer, literal: Literal) -> None:
        self._message = _message(lexer, literal)
        check_unasked(literal, self._unasked)
        self._messages += 1
        if self._messages > self._most:
            raise BadSyntax("Too many messages")
        self._need, self._literal, self._next = literal.size, literal, _ANNOUNCE

    def accept(self) -> None:
        """The session takes the message announced."""
        if self._next == _DECISION:
            self._next = _CONTINUE if self._literal.synchronising else _OCTETS

    def rest(self) -> int | None:
        """What must be dropped of the present literal when the session refuses; None: nothing more comes."""
        if self._next == _LINE:
            return 0
        unsent = self._next in (_ANNOUNCE, _DECISION, _CONTINUE) and self._literal.synchronising
        return None if unsent or self._next == _DONE else self._need

    def step(self) -> Any:
        """The next event, NEED_DATA or PAUSED."""
        if self._next == _OCTETS:
            if self._need:
                octets = self._buffer.take_up_to(self._need)
                if not octets:
                    return NEED_DATA
                self._need -= len(octets)
                return AppendOctets(octets)
            self._next = _LINE
        if self._next == _LINE:
            line = self._buffer.line(self._line_limit)
            if line is None:
                return NEED_DATA
            if self._message.utf8:
                line = self._closed(line)
            if not line:
                self._next = _DONE
                return AppendEnd(self.tag)
            self._following(line)
        if self._next == _ANNOUNCE:
            self._next = _DECISION
            return self._message
        if self._next == _CONTINUE:
            self._next = _OCTETS
            return Continue()
        return PAUSED

    def _closed(self, line: bytes) -> bytes:
        """What is behind the parenthesis that ends UTF8."""
        if not line.startswith(b")"):
            raise BadLine(self.tag, "Closing parenthesis expected", literal_at_end(line))
        return line[1:]

    def _following(self, line: bytes) -> None:
        """A line behind a message's octets that announces another message."""
        literal = literal_at_end(line)
        try:
            if literal is None or b"\0" in line:
                raise BadSyntax("Unexpected characters after the message")
            # QUIRK: two spaces between messages, as IMAPClient 3 sends them.
            start = 1 if line.startswith(b"  ") else 0
            self._announced(Lexer(line[: literal.start] + b"\0", start), literal)
        except BadSyntax as error:
            raise BadLine(self.tag, error.text, literal) from None
