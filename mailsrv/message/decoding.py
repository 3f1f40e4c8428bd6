"""Content-Transfer-Encodings undone piece by piece (floor 1; RFC 2045 section 6).

What is wrong in encoded text is passed over as RFC 2045 has it: nothing here raises, nothing grows.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from typing import Protocol

from .structure import kept_fields

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_FOREIGN = bytes(set(range(256)) - set(_BASE64))
_PADDING = re.compile(rb"=+").sub
#: Section 6.7 rule 3: white space at the end of a line is not the sender's.
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)").sub
#: Octets of a line that are held until its end is there.
MAX_LINE = 8192
#: What stands for itself.
IDENTITY = frozenset({b"", b"7bit", b"8bit", b"binary"})


class Decoder(Protocol):
    """Encoded octets in, decoded ones out; never more than there came."""

    def take(self, octets: bytes) -> bytes:
        """What is certain now."""

    def finish(self) -> bytes:
        """What was held back, at the end."""


class Base64Decoder:
    """QUIRK: padding in the middle, where mailers joined encoded pieces; each is read by itself."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def take(self, octets: bytes) -> bytes:
        """Up to three characters wait for the rest of their four."""
        text = self._held + octets.translate(None, _FOREIGN)
        if b"=" not in text:
            whole = len(text) & ~3
            self._held = text[whole:]
            return a2b_base64(text[:whole])
        *ended, last = _PADDING(b"=", text).split(b"=")
        out = [_ended(piece) for piece in ended]
        self._held = b""
        out.append(self.take(last))
        return b"".join(out)

    def finish(self) -> bytes:
        """Text that was cut short gives what is whole of it."""
        held, self._held = self._held, b""
        return _ended(held)


def _ended(piece: bytes) -> bytes:
    """Base64 without its padding."""
    rest = len(piece) % 4
    return a2b_base64(piece[:-1] if rest == 1 else piece + b"=" * (-rest % 4))


class QuotedDecoder:
    """Quoted-printable, line by line."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def take(self, octets: bytes) -> bytes:
        """The last line waits for its end, if it is not too long for that."""
        text = self._held + octets
        end = text.rfind(b"\n") + 1
        if len(text) - end > MAX_LINE:
            # No code may be cut in two.
            at = text.find(b"=", len(text) - 2)
            end = at if at >= 0 else len(text)
        self._held = text[end:]
        return a2b_qp(_TRAILING(b"", text[:end]))

    def finish(self) -> bytes:
        """The line that has no end."""
        held, self._held = self._held, b""
        return a2b_qp(held.rstrip(b" \t"))


def encoding_of(block: bytes) -> bytes:
    """The transfer encoding that a header block names, in lower case; b"" when it names none."""
    value = kept_fields(block).get(b"content-transfer-encoding", b"")
    return value.partition(b"(")[0].partition(b";")[0].strip().strip(b'"').lower()


def decoder(encoding: bytes) -> Decoder | None:
    """What undoes an encoding that is not among IDENTITY; None: nobody here knows it."""
    if encoding == b"base64":
        return Base64Decoder()
    if encoding == b"quoted-printable":
        return QuotedDecoder()
    return None
