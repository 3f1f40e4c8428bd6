"""A message of BODY=BINARYMIME on its way in (floor 1; RFC 3030 section 3): binary parts become base64 at once.

What is kept is text with CRLF like every other message (`docs/decisions/0013`), so that no reader of it meets a NUL or
a line without end.  Only the structure is read here: boundaries, Content-Type and Content-Transfer-Encoding; whatever a
sender makes of them, what is given out was examined as text.
"""

from __future__ import annotations

import re
from base64 import encodebytes

from .smtp_data import TextRules

#: Octets of one header, parts of a message, multiparts in multiparts, octets of a line with a boundary.
MAX_HEADER, MAX_PARTS, MAX_DEPTH, MAX_BOUNDARY_LINE = 64 * 1024, 1000, 20, 200

_FIELD = re.compile(
    rb"^content-(type|transfer-encoding)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE
)
_COMMENT = re.compile(rb"\([^()]*\)")
_BOUNDARY = re.compile(
    rb';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;()<>@,:\\"\[\]]+))', re.IGNORECASE | re.DOTALL
)
#: Octets that make one line of base64.
_LINE = 57


class BinaryReader(TextRules):
    """The message of several BDATs with BODY=BINARYMIME.  `malformed`: it could not be converted."""

    def __init__(self, line_limit: int, normalise: bool = False) -> None:
        super().__init__(line_limit, normalise)
        #: Octets that wait for more, and how many of them are done with.
        self._held, self._at = b"", 0
        #: Whether a header comes, whether a body is made base64, whether a line begins with what is held.
        self._heading, self._encoding, self._begins = True, False, True
        #: The boundaries, outermost first, and a pattern of all lines with one; octets that do not fill a line yet.
        self._stack: list[bytes] = []
        self._boundary: re.Pattern[bytes] | None = None
        self._carry = b""
        self._parts = 0
        self._ends = True

    def take(self, octets: bytes) -> bytes:
        """The octets that are certain now, as they are kept."""
        if self.malformed:
            return b""
        self._held += octets
        out: list[bytes] = []
        while self._header(out) if self._heading else self._body(out):
            pass
        self._held, self._at = self._held[self._at :], 0
        return b"".join(out)

    def finish(self) -> bytes:
        """What is left at the end of the message."""
        out: list[bytes] = []
        if self._heading and self._held:
            self._held += b"\r\n" if self._held.endswith(b"\r\n") else b"\r\n\r\n"
        elif self._boundary is not None:
            # The last boundary may be the end of the message, without a CRLF.
            whole = self._held + b"\r\n"
            if any(found.end() == len(whole) for found in self._boundary.finditer(whole)):
                self._held = whole
        out.append(self.take(b""))
        held, self._held = self._held, b""
        self._emit(held, out)
        self._flush(out)
        if not self._ends:
            self._text(b"\r\n", out)
        return b"".join(out)

    # ------------------------------------------------------------ output

    def _text(self, octets: bytes, out: list[bytes]) -> None:
        if octets:
            self._ends = octets.endswith(b"\r\n")
            out.append(self.check(octets))

    def _emit(self, octets: bytes, out: list[bytes]) -> None:
        """Octets of a body."""
        if not octets:
            return
        self._begins = False
        if not self._encoding:
            self._text(octets, out)
            return
        octets = self._carry + octets
        whole = len(octets) - len(octets) % _LINE
        self._carry = octets[whole:]
        self._base64(octets[:whole], out)

    def _flush(self, out: list[bytes]) -> None:
        """The end of a body."""
        self._base64(self._carry, out)
        self._carry, self._encoding = b"", False

    def _base64(self, octets: bytes, out: list[bytes]) -> None:
        if octets:
            self._text(encodebytes(octets).replace(b"\n", b"\r\n"), out)

    # ------------------------------------------------------------ structure; each says whether there is more to do

    def _header(self, out: list[bytes]) -> bool:
        held, at = self._held, self._at
        blank = at - 2 if held.startswith(b"\r\n", at) else held.find(b"\r\n\r\n", at)
        if blank == -1:
            if len(held) - at > MAX_HEADER:
                self._give_up()
            return False
        self._at = end = blank + 4
        self._begins = True
        self._text(self._read_header(held[at:end]), out)
        return not self.malformed

    def _read_header(self, block: bytes) -> bytes:
        """What the header says of the body; gives the header as it is kept."""
        self._parts += 1
        found: dict[bytes, re.Match[bytes]] = {}
        for field in _FIELD.finditer(block):
            found.setdefault(field.group(1).lower(), field)
        kind = found[b"type"].group(2) if b"type" in found else b""
        media = _COMMENT.sub(b"", kind.partition(b";")[0]).strip().lower()
        encoding = found.get(b"transfer-encoding")
        binary = encoding is not None and _COMMENT.sub(b"", encoding.group(2)).strip().lower() == b"binary"
        container = media.startswith(b"multipart/")
        self._heading = media in (b"message/rfc822", b"message/global")
        if container:
            self._push(kind)
        self._encoding = binary and not container and not self._heading
        if self._parts > MAX_PARTS:
            self._give_up()
        if encoding is None or not binary:
            return block
        word = b" base64" if self._encoding else b" 8bit"
        return block[: encoding.start(2)] + word + block[encoding.end(2) :]

    def _push(self, kind: bytes) -> None:
        found = _BOUNDARY.search(kind)
        if found is None or len(self._stack) >= MAX_DEPTH:
            self._give_up()
            return
        boundary = re.sub(rb"\\(.)", rb"\1", found.group(1)) if found.group(2) is None else found.group(2)
        boundary = boundary.rstrip(b" \t")
        if not boundary or len(boundary) > MAX_BOUNDARY_LINE - 10 or b"\r" in boundary or b"\n" in boundary:
            self._give_up()
        self._stack.append(boundary)
        self._compile()

    def _compile(self) -> None:
        """One pattern for all boundaries: text is full of what looks like the beginning of one."""
        names = b"|".join(map(re.escape, reversed(self._stack)))
        pattern = rb"(?:\r\n|\A)--(%s)(--)?[ \t]{0,60}\r\n" % names
        self._boundary = re.compile(pattern) if self._stack else None

    def _give_up(self) -> None:
        self.malformed = True
        self._held, self._at = b"", 0

    def _body(self, out: list[bytes]) -> bool:
        """Look for the next line between parts."""
        held, start = self._held, self._at
        if self._boundary is None:
            return self._hold(out)
        if self._begins:
            self._held = held = held[start:]
            start = self._at = 0
        found = self._boundary.search(held, start)
        if found is not None and not self._begins and held.startswith(b"--", found.start()):
            # It is the beginning of what is held, not of a line.
            found = self._boundary.search(held, start + 1)
        if found is None:
            return self._hold(out)
        self._emit(held[start : found.start()], out)
        self._flush(out)
        self._text(found.group(), out)
        last, level = found.group(2) is not None, self._stack.index(found.group(1))
        if len(self._stack) > level + (not last):
            del self._stack[level if last else level + 1 :]
            self._compile()
        self._heading, self._begins, self._at = not last, True, found.end()
        return True

    def _hold(self, out: list[bytes]) -> bool:
        """No line between parts is in sight: keep only what may begin one."""
        held, start = self._held, self._at
        if self._boundary is None:
            cut = len(held) - held.endswith(b"\r")
        else:
            if self._begins and len(held) - start < MAX_BOUNDARY_LINE and b"--".startswith(held[start : start + 2]):
                return False
            cut = held.find(b"\r\n--", max(start, len(held) - MAX_BOUNDARY_LINE))
            if cut < 0:
                cut = held.find(b"\r", max(start, len(held) - 3))
        cut = len(held) if cut < 0 else max(cut, start)
        self._emit(held[start:cut], out)
        self._at = cut
        return False
