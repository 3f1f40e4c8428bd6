"""An octet buffer for engines (floor 1): append octets, take lines and counted octets, never search twice.

One read of the transport is kept as the `bytes` it came as: while it holds whole lines or whole literals,
nothing is copied but what is handed out.  Only when octets are left over and more arrive does it become a
growing array.
"""

from __future__ import annotations

import re

#: Octets already handed out are cut off a growing array above this many.
_COMPACT = 1 << 16


class LineTooLong(Exception):
    """No CRLF within the limit given to `Buffer.line`; the octets are still there, `skip_line` drops them."""


class Buffer:
    """Octets received and not yet consumed, at most `bound` of them (None: unbounded).

    `overflowed` tells that `feed` had to refuse octets: what follows what is buffered is lost, so that the
    owner must end the conversation.  `len()` is the number of octets buffered.
    """

    __slots__ = ("_at", "_data", "_searched", "bound", "overflowed")

    def __init__(self, bound: int | None = None) -> None:
        self.bound = bound
        self.overflowed = False
        self._data: bytes | bytearray = b""
        self._at = 0
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, octets: bytes) -> None:
        """Append `octets`; those above the bound are dropped and `overflowed` is set."""
        held = len(self._data) - self._at
        if self.overflowed:
            return
        if self.bound is not None and held + len(octets) > self.bound:
            self.overflowed = True
            octets = octets[: self.bound - held]
        if not held:
            self._data, self._at, self._searched = octets, 0, 0
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(memoryview(self._data)[self._at :])
            self._forget(self._at)
        elif self._at > _COMPACT:
            del self._data[: self._at]
            self._forget(self._at)
        self._data += octets

    def line(self, limit: int) -> bytes | None:
        """The next line without its CRLF, or None when none is complete.

        `limit` counts the CRLF.  Raises LineTooLong as soon as the first `limit` octets hold no CRLF, however
        the octets were split on arrival.  A lone CR or LF is part of the line.
        """
        at, data = self._at, self._data
        end = data.find(b"\r\n", self._searched if self._searched > at else at)
        if end < 0:
            if len(data) - at >= limit:
                raise LineTooLong
            # The last octet may be the CR of a CRLF still to come.
            self._searched = len(data) - 1
            return None
        if end + 2 - at > limit:
            self._searched = end
            raise LineTooLong
        self._at = end + 2
        return data[at:end] if isinstance(data, bytes) else bytes(data[at:end])

    def skip_line(self) -> bool:
        """Drop octets through the next CRLF.  False: its end has not arrived, call again when more has."""
        data = self._data
        end = data.find(b"\r\n", max(self._at, self._searched))
        if end >= 0:
            self._at = end + 2
            return True
        # A CR at the very end is kept: it may be half of the CRLF.
        self._at = len(data) - 1 if data[-1:] == b"\r" and self._at < len(data) else len(data)
        return False

    def take(self, n: int) -> bytes | None:
        """Exactly `n` octets, or None while fewer are there."""
        return self.take_up_to(n) if len(self._data) - self._at >= n else None

    def take_all(self) -> bytes:
        """All octets."""
        at, data = self._at, self._data
        if at == len(data):
            return b""
        self._data, self._at, self._searched = b"", 0, 0
        if at:
            return bytes(memoryview(data)[at:])
        return data if isinstance(data, bytes) else bytes(data)

    def take_up_to(self, n: int) -> bytes:
        """At most `n` octets, b"" when none are there.  A whole read is handed on without a copy."""
        at, data = self._at, self._data
        if at == 0 and len(data) <= n:
            self._data, self._searched = b"", 0
            return data if isinstance(data, bytes) else bytes(data)
        end = min(at + n, len(data))
        self._at = end
        return data[at:end] if isinstance(data, bytes) else bytes(memoryview(data)[at:end])

    def run(self, pattern: re.Pattern[bytes]) -> bytes:
        """What matches at the front, taken out; b"" when nothing does."""
        found = pattern.match(self._data, self._at)
        if found is None:
            return b""
        self._at = found.end()
        return bytes(found[0])

    def peek(self, n: int) -> bytes:
        """At most `n` octets from the front, left where they are."""
        return bytes(self._data[self._at : self._at + n])

    def clear(self) -> None:
        """Forget every octet, and that some were refused."""
        self._data, self._at, self._searched, self.overflowed = b"", 0, 0, False

    def _forget(self, count: int) -> None:
        """`count` octets were cut off the front."""
        self._at = 0
        self._searched = max(0, self._searched - count)
