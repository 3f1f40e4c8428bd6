"""The parts of a message (floor 1): one pass over the octets gives a tree of offsets (RFC 2046, RFC 2045).

Every octet is looked at a bounded number of times, however parts are nested: all open boundaries are looked for
at once, and a blank line once found is not looked for again.
"""

from __future__ import annotations

from .header import MAX_OCTETS, unfolded_lines
from .parameters import DIGEST_PART, TEXT_PLAIN, Media, media

#: Above these the rest of the message is opaque text of the part that is open.
MAX_PARTS = 10_000
MAX_DEPTH = 100
#: Lines that begin like a boundary but are none, in one message.
MAX_CANDIDATES = 1_000_000
#: Repeated address fields are joined up to this size.
_MAX_JOINED = 2**16
#: The longest line that is compared with a boundary.
_MAX_LINE = 1000

LEAF, MULTIPART, MESSAGE = 0, 1, 2
_MESSAGE_TYPES = frozenset({b"message/rfc822", b"message/global"})

#: The fields that are kept of every header; addresses of repeated fields are joined, else the first counts.
ADDRESS_FIELDS = frozenset({b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"})
ENVELOPE_FIELDS = ADDRESS_FIELDS | {b"date", b"subject", b"in-reply-to", b"message-id"}
CONTENT_FIELDS = frozenset(
    b"content-" + name for name in b"type transfer-encoding id description md5 disposition language location".split()
)
_KEPT = ENVELOPE_FIELDS | CONTENT_FIELDS


class Part:
    """One entity: its header is [header_start, body_start), its body [body_start, body_end).

    `kind` is LEAF, MULTIPART or MESSAGE; the only child of a MESSAGE is the top entity of the message inside, whose
    header starts where this body does.  `fields` maps lower-case names to unfolded values.
    """

    __slots__ = ("body_end", "body_start", "children", "fields", "header_start", "kind", "media")

    def __init__(self, start: int, body: int, media: Media, kind: int, fields: dict[bytes, bytes]) -> None:
        self.header_start = start
        self.body_start = body
        self.body_end = body
        self.media = media
        self.kind = kind
        self.fields = fields
        self.children: list[Part] = []


def kept_fields(block: bytes) -> dict[bytes, bytes]:
    """The fields of a header block that envelope and body structure need."""
    found: dict[bytes, bytes] = {}
    for line in unfolded_lines(block):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name not in _KEPT:
            name = name.rstrip(b" \t")
            if name not in _KEPT:
                continue
        if not colon:
            continue
        if name not in found:
            found[name] = value.strip()
        elif name in ADDRESS_FIELDS and len(found[name]) < _MAX_JOINED:
            # QUIRK: repeated To and Cc fields (RFC 5322 section 3.6 allows one), of scripts and list software.
            found[name] += b", " + value.strip()
    return found


def parse(octets: bytes) -> Part:
    """The tree of a message; never raises."""
    return _Scanner(octets).run()


class _Scanner:
    """The state of the one pass."""

    __slots__ = (
        "_active", "_at", "_bare", "_blank", "_boundaries", "_candidates", "_count", "_needle", "_octets", "_shadowed",
        "_size", "_stack",
    )  # fmt: skip

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._size = len(octets)
        #: Open entities, outermost first, beside the boundary each waits for and what that boundary hid.
        self._stack: list[Part] = []
        self._boundaries: list[bytes] = []
        self._shadowed: list[int | None] = []
        #: Boundary -> index in the stack; what all active boundaries begin with.
        self._active: dict[bytes, int] = {}
        self._needle = b""
        #: The first blank line found that is not yet passed: CRLF, bare LF.
        self._blank = self._bare = -1
        self._at = 0
        self._count = 0
        self._candidates = MAX_CANDIDATES

    def run(self) -> Part:
        """The whole tree."""
        self._begin(0, None)
        root = self._stack[0]
        while self._active:
            hit = self._delimiter(self._at, self._size)
            if hit is None:
                break
            at, after, level, closing = hit
            if self._count >= MAX_PARTS and not closing:
                break
            self._finish(level, at - 1 if at and self._octets[at - 1] == 13 else at)
            # The line end of a delimiter may begin the next one.
            self._at = after - 1
            if closing:
                self._retire(level)
            else:
                self._begin(after, self._stack[level])
        self._finish(-1, self._size)
        return root

    def _begin(self, start: int, parent: Part | None) -> None:
        """Read an entity's header, and those of the messages that it consists of."""
        while True:
            body = self._header_end(start)
            if self._active:
                # Parts without the blank line, as truncated and broken mail has.
                hit = self._delimiter(start - 1, body)
                if hit is not None:
                    body = hit[0] + 1
            part = self._entity(start, body, parent)
            if parent is not None:
                parent.children.append(part)
            self._count += 1
            self._stack.append(part)
            self._boundaries.append(b"")
            self._shadowed.append(None)
            self._at = max(body - 1, 0)
            if part.kind == MULTIPART:
                self._activate(part.media.boundary)
            if part.kind != MESSAGE:
                return
            start, parent = body, part

    def _entity(self, start: int, body: int, parent: Part | None) -> Part:
        """A part from its header; what lies too deep is opaque text."""
        fields = kept_fields(self._octets[start : min(body, start + MAX_OCTETS)])
        value = fields.get(b"content-type")
        digest = parent is not None and parent.media.name == b"multipart/digest"
        kind = LEAF
        found = media(value) if value is not None else (DIGEST_PART if digest else TEXT_PLAIN)
        if found.name in _MESSAGE_TYPES:
            kind = MESSAGE
        elif found.name.startswith(b"multipart/"):
            kind = MULTIPART if found.boundary else LEAF
            if not found.boundary:
                # QUIRK: multipart without a boundary, of broken forwarders: nothing can be found inside.
                found = TEXT_PLAIN
        if kind and (len(self._stack) >= MAX_DEPTH or self._count >= MAX_PARTS - 1):
            kind, found = LEAF, TEXT_PLAIN
        return Part(start, body, found, kind, fields)

    def _header_end(self, start: int) -> int:
        """As `header.header_end`, but every octet is searched once."""
        octets = self._octets
        if octets.startswith(b"\r\n", start):
            return start + 2
        if octets.startswith(b"\n", start):
            return start + 1
        if self._blank < start:
            found = octets.find(b"\n\r\n", start)
            self._blank = found if found >= 0 else self._size
        if self._bare < start:
            found = octets.find(b"\n\n", start, self._blank + 1)
            # Equal to the other: there is none before it.
            self._bare = found if found >= 0 else self._blank
        if self._bare < self._blank:
            return self._bare + 2
        return min(self._blank + 3, self._size)

    def _delimiter(self, at: int, limit: int) -> tuple[int, int, int, bool] | None:
        """The first boundary line: (its leading LF, after it, index of its entity, whether it closes)."""
        octets, active, needle, size = self._octets, self._active, self._needle, self._size
        while self._candidates:
            at = octets.find(needle, at, limit)
            if at < 0:
                return None
            end = octets.find(b"\n", at + 1, at + _MAX_LINE)
            if end < 0:
                end = min(size, at + _MAX_LINE)
            line = octets[at + 3 : end].rstrip()
            level = active.get(line)
            if level is not None:
                return at, min(end + 1, size), level, False
            if line.endswith(b"--"):
                level = active.get(line[:-2])
                if level is not None:
                    return at, min(end + 1, size), level, True
            self._candidates -= 1
            at = end
        return None

    def _activate(self, boundary: bytes) -> None:
        """Look for a boundary.  QUIRK: the same as an outer one (broken gateways): the inner entity has it first."""
        level = len(self._stack) - 1
        self._boundaries[level] = boundary
        self._shadowed[level] = self._active.get(boundary)
        self._active[boundary] = level
        self._aim()

    def _retire(self, level: int) -> None:
        """Look for that entity's boundary no more."""
        boundary = self._boundaries[level]
        if boundary:
            self._boundaries[level] = b""
            hidden = self._shadowed[level]
            if hidden is None:
                del self._active[boundary]
            else:
                self._active[boundary] = hidden
            self._aim()

    def _aim(self) -> None:
        """Search for what all active boundaries have in common."""
        if self._active:
            low, high = min(self._active), max(self._active)
            common = 0
            for one, other in zip(low, high):
                if one != other:
                    break
                common += 1
            self._needle = b"\n--" + low[:common]

    def _finish(self, level: int, end: int) -> None:
        """End all entities inside the one at `level`."""
        while len(self._stack) - 1 > level:
            part = self._stack[-1]
            end = max(end, part.body_start)
            part.body_end = end
            self._retire(len(self._stack) - 1)
            self._stack.pop()
            self._boundaries.pop()
            self._shadowed.pop()
