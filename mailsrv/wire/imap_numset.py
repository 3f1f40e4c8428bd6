"""Sequence sets on the wire (floor 1; RFC 9051 section 9 sequence-set, RFC 5182 ``$``)."""

from __future__ import annotations

import re

from ..numbers import NumSet, Range
from .imap_lexer import MAX_32, BadSyntax

#: More intervals than this are refused; 32-bit UIDs that alternate fit a command's budget about as often.
MAX_INTERVALS = 32_768

# Ten digits at most and no leading zero; nothing here can match in two ways.
_SET = re.compile(rb"(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?"
                  rb"(?:,(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?)*+").fullmatch
SAVED = NumSet(saved=True)


def _number(octets: bytes) -> int:
    if octets == b"*":
        return 0
    value = int(octets)
    if value > MAX_32:
        raise BadSyntax("Number out of range")
    return value


def parse(octets: bytes) -> NumSet:
    """The set as the client wrote it, ``*`` as 0.  Raises BadSyntax."""
    if octets == b"$":
        return SAVED
    if octets.count(b",") >= MAX_INTERVALS:
        raise BadSyntax("Too many intervals in the message set")
    if _SET(octets) is None:
        raise BadSyntax("Not a message set")
    out: list[Range] = []
    for part in octets.split(b","):
        low, colon, high = part.partition(b":")
        first = _number(low)
        out.append((first, _number(high) if colon else first))
    return NumSet(out)


def encode(numbers: NumSet) -> bytes:
    """The octets that `parse` reads as `numbers`."""
    if numbers.saved:
        return b"$"
    return b",".join(
        _star(low) if low == high else b"%b:%b" % (_star(low), _star(high)) for low, high in numbers.ranges
    )


def _star(number: int) -> bytes:
    return b"%d" % number if number else b"*"
