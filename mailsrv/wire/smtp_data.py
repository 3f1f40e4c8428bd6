"""The body of DATA and BDAT (floor 1): where it ends, dots undone, and what is wrong with it.

RFC 5321 section 4.5.2: only CRLF.CRLF ends the message of a DATA, whatever a body holds besides: a lone CR or LF is
never an end of line there.  RFC 3030: a BDAT counts its octets, and dots mean nothing.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder

_END, _DOT, _CRLF = b"\r\n.\r\n", b"\r\n.", b"\r\n"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
#: As `bytes.find`, in half the time.
_DOT_LINE = re.compile(rb"\r\n\.")


class TextRules:
    """What a message of text must keep to.

    `size` counts the octets given out, `bare` tells of a CR or LF alone (with `normalise` they become CRLF instead),
    `nul` of a NUL, `eight_bit` of octets above 127, `long_line` of a line longer than the limit (which counts its
    CRLF), `malformed` of a structure that cannot be converted.
    """

    # As of a message of which nothing has come: most readers never have anything else to tell.
    bare = nul = eight_bit = long_line = malformed = False
    size = _current = 0

    def __init__(self, line_limit: int, normalise: bool = False) -> None:
        self._limit = line_limit
        self._normalise = normalise

    def check(self, piece: bytes) -> bytes:
        """Examine the next octets, of which no CR is the last unless it is alone; they are given as they are kept."""
        # Nothing else looks at line ends as quickly: it tells which kinds of them there were.
        ends = IncrementalNewlineDecoder(None, False)
        ends.decode(piece.decode("latin-1"), True)
        if ends.newlines is not None and ends.newlines != "\r\n":
            if self._normalise:
                piece = _BARE.sub(_CRLF, piece)
            else:
                self.bare = True
        if b"\0" in piece:
            self.nul = True
        if not self.eight_bit and not piece.isascii():
            self.eight_bit = True
        size = len(piece)
        self.size += size
        if size > self._limit - self._current or self._current:
            self._measure_lines(piece)
        else:
            # No line in it can be too long: all that matters is how long the last one is so far.
            self._current = size - piece.rfind(b"\n") - 1
        return piece

    def _measure_lines(self, piece: bytes) -> None:
        """Find a line over the limit by leaps: within each stretch of `limit` octets there must be an LF."""
        limit, size, find = self._limit, len(piece), piece.rfind
        # The line under way may only go on so far.
        at = 0
        if self._current and size > limit - self._current:
            at = find(b"\n", 0, max(limit - self._current, 0)) + 1
            self.long_line |= not at
        while size - at > limit and not self.long_line:
            end = find(b"\n", at, at + limit)
            self.long_line = end < 0
            at = end + 1
        if not self.long_line:
            end = find(b"\n", at)
            self._current = size - (end + 1) if end >= 0 else size - at + (0 if at else self._current)


class BodyReader(TextRules):
    """The message of a DATA: takes octets as they come; each call gives body octets ready to keep.

    After the end (`ended`): `rest` are the octets behind the terminator.
    """

    _begun = ended = False
    #: Octets of `_tail` that are not of the body.
    _lead = 0
    _tail = rest = b""

    def take(self, octets: bytes) -> bytes:
        """The body octets that are certain now, dot-stuffing undone."""
        if not self._begun:
            self._begun = True
            if octets.startswith(b"."):
                # The line before the body ended with CRLF: a lone dot as the first line is an empty body.
                self._tail, self._lead = _CRLF, 2
        data = self._tail + octets if self._tail else octets
        begin = self._lead
        # In most pieces the end is all there is to find.
        found = _DOT_LINE.search(data)
        turn = -1 if found is None else found.start()
        plain = turn < 0 or data.startswith(_END, turn)
        end = turn if plain else data.find(_END, turn)
        if end >= 0:
            self.ended = True
            self.rest = data[end + 5 :]
            self._tail = b""
            stop = end + 2
        else:
            # What may be the beginning of the terminator, or of a stuffed line, waits for more octets.
            stop = data.find(b"\r", max(0, len(data) - 4))
            if stop < 0:
                stop = len(data)
            self._tail = data[stop:]
        if not stop:
            return b""
        self._lead = 0
        # A dot that is undone may stand at the beginning, so that nothing is cut off before.
        piece = data[begin:stop] if plain else data[:stop].replace(_DOT, _CRLF)[begin:]
        return self.check(piece) if piece else piece


class ChunkReader(TextRules):
    """The message of several BDATs, which are text like that of DATA; chunks may end anywhere, in a CRLF too."""

    _held = _ends = False

    def take(self, octets: bytes) -> bytes:
        """The octets that are certain now."""
        if self._held:
            octets = b"\r" + octets
        # A CR at the end may be half of a CRLF.
        self._held = octets.endswith(b"\r")
        if self._held:
            octets = octets[:-1]
        if not octets:
            return b""
        self._ends = octets.endswith(b"\n")
        return self.check(octets)

    def finish(self) -> bytes:
        """What is left at the end of the message: a last line without CRLF gets one, as all that read it expect."""
        left = b""
        if self._held:
            self._held = False
            self._ends = self._normalise
            left = self.check(b"\r")
        if self.size and not self._ends:
            self._ends = True
            left += self.check(b"\r\n")
        return left
