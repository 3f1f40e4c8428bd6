"""How POP3 shows a message (floor 1): byte-stuffing (RFC 1939 section 3) and TOP (section 7), in any pieces."""

from __future__ import annotations

import re

#: CPython's search for two octets takes three times as long where the first of them is frequent.
_DOT = re.compile(rb"\n\.")


def _stuffed(octets: bytes) -> bytes:
    return octets if _DOT.search(octets) is None else octets.replace(b"\n.", b"\n..")


class Stuffer:
    """Doubles the dot that begins a line; remembers across pieces whether a line begins.

    QUIRK: a line begins after a bare LF too.  To RFC 1939 section 3 it does not, but most clients read so (poplib,
    fetchmail, mpop, curl), and to them a dot alone after it would end the message, and what follows it be answers.
    """

    __slots__ = ("_crlf", "_last")

    def __init__(self) -> None:
        self._crlf = True
        self._last = b"\n"

    def stuff(self, octets: bytes) -> bytes:
        """The next piece as it is sent; a piece without such dots is handed on without a copy."""
        if not octets:
            return octets
        out = _stuffed(octets)
        if octets[0] == 0x2E and self._last == b"\n":
            out = b"." + out
        end = octets[-2:]
        self._crlf = end == b"\r\n" or (end == b"\n" and self._last == b"\r")
        self._last = end[-1:]
        return out

    def end(self) -> bytes:
        """The terminator; a last line without CRLF gets one."""
        return b".\r\n" if self._crlf else b"\r\n.\r\n"


def whole(first: bytes, octets: bytes) -> bytes:
    """A multi-line response that is there at once: its first line, a message in memory, the terminator."""
    out = _stuffed(octets)
    end = b".\r\n" if octets.endswith(b"\r\n") or not octets else b"\r\n.\r\n"
    return b"".join((first, b"." if octets.startswith(b".") else b"", out, end))


class Cutter:
    """Lets the header, the empty line and `lines` lines of the body pass; `done` when the rest is not wanted."""

    __slots__ = ("_cr", "_left", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        #: The last octets of the header seen so far; None in the body.  A message may begin with the empty line.
        self._tail: bytes | None = b"\r\n"
        self._cr = False
        self.done = False

    def cut(self, octets: bytes) -> bytes:
        """What of the next piece is wanted."""
        if self.done or not octets:
            return b""
        at = 0
        if self._tail is not None:
            at = self._header(octets)
        if self._tail is None and not self.done:
            at = self._body(octets, at)
        return octets if at == len(octets) else octets[:at]

    def _header(self, octets: bytes) -> int:
        """Where the body begins in `octets`, their length when they are all header."""
        tail = self._tail or b""
        # The empty line may be split between pieces: look at the seam first, then at the piece alone.
        seam = (tail + octets[:3]).find(b"\r\n\r\n")
        found = seam + 4 - len(tail) if seam >= 0 else octets.find(b"\r\n\r\n") + 4
        if seam < 0 and found < 4:
            self._tail = (tail + octets[-3:])[-3:]
            return len(octets)
        self._tail = None
        self.done = self._left == 0
        return found

    def _body(self, octets: bytes, at: int) -> int:
        """Where the wanted lines end in `octets`, their length when more are wanted."""
        split = self._cr and at == 0 and octets[:1] == b"\n"
        self._cr = octets.endswith(b"\r")
        if split:
            at = 1
            self._left -= 1
        ends = octets.count(b"\r\n", at)
        if ends < self._left:
            self._left -= ends
            return len(octets)
        while self._left:
            at = octets.find(b"\r\n", at) + 2
            self._left -= 1
        self.done = True
        return at
