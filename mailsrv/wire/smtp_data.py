"""The body of DATA (floor 1): where it ends, dots undone, and what is wrong with it (RFC 5321 section 4.5.2).

Only CRLF.CRLF ends a message, whatever a body holds besides: a lone CR or LF is counted, never an end of line.
"""

from __future__ import annotations

_END, _DOT = b"\r\n.\r\n", b"\r\n."


class BodyReader:
    """Takes octets as they come; each call gives body octets ready to keep.

    After the end: `rest` are the octets behind the terminator.  `size` counts the octets given out,
    `bare` tells of a CR or LF alone, `nul` of a NUL, `eight_bit` of octets above 127, `long_line` of a line
    longer than the limit (which counts its CRLF).
    """

    __slots__ = (
        "_current", "_first", "_limit", "_tail", "bare", "eight_bit", "ended", "long_line", "nul", "rest", "size",
    )  # fmt: skip

    def __init__(self, line_limit: int) -> None:
        # The line before the body ended with CRLF, so that a lone dot as the first line is an empty body.
        self._tail = b"\r\n"
        self._first = True
        self._limit = line_limit
        self._current = 0
        self.size = 0
        self.ended = self.bare = self.nul = self.eight_bit = self.long_line = False
        self.rest = b""

    def take(self, octets: bytes) -> bytes:
        """The body octets that are certain now, dot-stuffing undone."""
        data = self._tail + octets if self._tail else octets
        # One search for both, since the end looks like a stuffed line: most pieces hold neither.
        dot = data.find(_DOT)
        end = data.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            self.ended = True
            self.rest = data[end + 5 :]
            self._tail = b""
            piece = data[: end + 2]
        else:
            # What may be the beginning of the terminator, or of a stuffed line, waits for more octets.
            cut = data.find(b"\r", max(0, len(data) - 4))
            if cut < 0:
                self._tail, piece = b"", data
            else:
                self._tail, piece = data[cut:], data[:cut]
        return self._clean(piece, dot != end)

    def _clean(self, piece: bytes, stuffed: bool) -> bytes:
        if not piece:
            return piece
        if stuffed:
            piece = piece.replace(_DOT, b"\r\n")
        if self._first:
            self._first = False
            piece = piece[2:]
        self._examine(piece)
        self.size += len(piece)
        return piece

    def _examine(self, piece: bytes) -> None:
        lf = piece.count(b"\n")
        if not (lf == piece.count(b"\r") == piece.count(b"\r\n")):
            self.bare = True
        if b"\0" in piece:
            self.nul = True
        if not self.eight_bit and not piece.isascii():
            self.eight_bit = True
        self._measure_lines(piece)

    def _measure_lines(self, piece: bytes) -> None:
        """Find a line over the limit by leaps: within each stretch of `limit` octets there must be an LF."""
        limit, size = self._limit, len(piece)
        at = -self._current
        while size - at > limit and not self.long_line:
            end = piece.rfind(b"\n", max(at, 0), at + limit) if at + limit > 0 else -1
            self.long_line = end < 0
            at = end + 1
        if not self.long_line:
            end = piece.rfind(b"\n", max(at, 0))
            self._current = size - (end + 1) if end >= 0 else size - at
