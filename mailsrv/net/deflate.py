"""A deflate layer over a connection's transport (floor 2a; RFC 4978, RFC 1951): raw blocks, no header, no checksum.

Each write ends with a sync flush, so that the peer can read all of it (section 4).  What a few octets may grow to is
inflated piece by piece, as the engine asks for it: a peer that sends much in little waits like one that sends much.

Memory: the deflater has the largest window, for the best ratio, and is forgotten while nothing is said; a new one goes
on in the same stream, as a sync flush ends at an octet and new blocks need not refer to old ones.  What stays is the
inflater's window, 32 KiB, which is the client's to use.  Figures: docs/performance.md.
"""

from __future__ import annotations

import zlib
from typing import Any

#: About half the time of the usual level 6, for a tenth more octets.
LEVEL, WINDOW_BITS, MEMORY = 3, 15, 8
#: Octets inflated at a time.
PIECE = 64 * 1024
#: On the whole, inflated octets may be so many times what came, and these besides (more than the largest message of
#: the usual limits, which may be all blanks).  Deflate can do 1032.
RATIO, GRACE = 250, 64 * 2**20


class Corrupt(Exception):
    """The peer's octets are no deflate stream, or far too dense."""


class Deflate:
    """Both directions of one connection."""

    __slots__ = ("_came", "_deflater", "_full", "_gave", "_held", "_inflater", "_over")

    def __init__(self) -> None:
        self._deflater: Any = None
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        #: What came and is not inflated yet; whether there may be more in the inflater itself.
        self._held = b""
        self._full = self._over = False
        self._came = self._gave = 0

    # ------------------------------------------------------------ to the peer

    def deflate(self, octets: bytes) -> bytes:
        """The octets to send, in which the peer finds all of these."""
        deflater = self._deflater
        if deflater is None:
            deflater = self._deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY)
        packed: bytes = deflater.compress(octets) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return packed

    def rest(self) -> None:
        """Nothing is said for a while."""
        self._deflater = None

    # ------------------------------------------------------------ from the peer

    def feed(self, octets: bytes) -> None:
        """Take what the transport read."""
        self._came += len(octets)
        if not self._over:
            self._held += octets

    @property
    def pending(self) -> bool:
        """Whether `inflate` may give something."""
        return bool(self._held) or self._full

    @property
    def held(self) -> int:
        """Octets that wait to be inflated."""
        return len(self._held)

    def inflate(self) -> bytes:
        """At most PIECE octets.  Raises Corrupt."""
        try:
            octets = self._inflater.decompress(self._held, PIECE)
        except zlib.error as error:
            raise Corrupt from error
        self._held = self._inflater.unconsumed_tail
        self._full = len(octets) == PIECE
        if self._inflater.eof:
            # The peer ended its stream, as it may before it closes; nothing can follow.
            self._over, self._full, self._held = True, False, b""
        self._gave += len(octets)
        if self._gave > self._came * RATIO + GRACE:
            raise Corrupt
        return octets
