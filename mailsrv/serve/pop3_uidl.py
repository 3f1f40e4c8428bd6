"""Unique ids (RFC 1939 section 7, floor 3): made of UIDVALIDITY and UID by a format, or kept from another server.

A format is that of Dovecot, Cyrus and Courier: ``%v`` is the UIDVALIDITY, ``%u`` the UID, in decimal; ``%X`` in
hexadecimal, ``%08X`` with so many digits; all else stands for itself.  An id has 1 to 70 octets from ! to ~.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

#: What this server gave since it was there: 16 digits.
DEFAULT = "%08Xv%08Xu"
MAX_OCTETS = 70

_FIELD = re.compile(r"%(?:(0?[0-9]{1,2})?(X)?([uv])|(%)|)", re.ASCII)
_LITERAL = re.compile(r"[!-~]*")


class UidlFormat:
    """A format that was read.  Raises ValueError, with words for an administrator."""

    __slots__ = ("_pieces", "text")

    def __init__(self, text: str = DEFAULT) -> None:
        self.text = text
        #: Literal octets, or (what, printf conversion).
        self._pieces: list[bytes | tuple[str, bytes]] = []
        at = octets = 0
        for found in _FIELD.finditer(text):
            self._literal(text[at : found.start()])
            octets += found.start() - at
            at = found.end()
            octets += self._field(text, *found.groups())
        self._literal(text[at:])
        octets += len(text) - at
        if sum(isinstance(piece, tuple) and piece[0] == "u" for piece in self._pieces) != 1:
            raise ValueError(f"{text!r}: %u must stand in it once, else messages had the same id")
        if octets > MAX_OCTETS:
            raise ValueError(f"{text!r} makes ids of up to {octets} octets, {MAX_OCTETS} may be (RFC 1939 section 7)")

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UidlFormat) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def _literal(self, text: str) -> None:
        if not _LITERAL.fullmatch(text):
            raise ValueError(f"{self.text!r}: an id has characters from ! to ~ (RFC 1939 section 7)")
        if text:
            self._pieces.append(text.encode("ascii"))

    def _field(self, text: str, width: str | None, hexadecimal: str | None, what: str | None, percent: str) -> int:
        """Take one %; the most octets it makes."""
        if percent:
            self._pieces.append(b"%")
            return 1
        if what is None:
            raise ValueError(f"{text!r}: after % stands u or v, perhaps with X and a width: %u, %Xv, %08Xu")
        if width and not width.startswith("0"):
            raise ValueError(f"{text!r}: an id has no blanks, so a width begins with 0: %0{width}X{what}")
        digits = int(width or 0)
        self._pieces.append((what, b"%%%b%b" % (b"0%d" % digits if digits else b"", b"x" if hexadecimal else b"d")))
        return max(digits, 8 if hexadecimal else 10)

    def template(self, uidvalidity: int) -> bytes:
        """What makes an id of a UID by printf formatting, as ``template % uid``."""
        out = []
        for piece in self._pieces:
            if isinstance(piece, bytes):
                out.append(piece.replace(b"%", b"%%"))
            elif piece[0] == "u":
                out.append(piece[1])
            else:
                out.append(piece[1] % uidvalidity)
        return b"".join(out)


def unique_ids(template: bytes, uids: Sequence[int], kept: Mapping[int, bytes]) -> list[bytes]:
    """The ids of messages, of which some are `kept` (UID -> id) from the server they came from.

    A made id that is somebody's kept one gets a tilde.
    """
    taken = set(kept.values())
    ids = []
    for uid in uids:
        found = kept.get(uid)
        if found is None:
            found = template % uid
            if found in taken:
                found += b"~"
        ids.append(found)
    return ids


def possible(unique_id: bytes) -> bool:
    """Whether these octets can be an id."""
    return 0 < len(unique_id) <= MAX_OCTETS and all(0x21 <= octet <= 0x7E for octet in unique_id)
