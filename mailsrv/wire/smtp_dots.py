"""A message on its way out through DATA (floor 2; RFC 5321 sections 2.3.8 and 4.5.2)."""

from __future__ import annotations

import re

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class DotStuffer:
    """Doubles the dots at the beginnings of lines, whatever pieces the message comes in.

    A CR or LF alone becomes CRLF: what follows it may be a line to the next server, and a dot there the end of the
    message ("SMTP smuggling").
    """

    __slots__ = ("_begins", "_held")

    def __init__(self) -> None:
        #: The next octet begins a line; a CR was last and waits for its LF.
        self._begins = True
        self._held = False

    def take(self, piece: bytes) -> bytes:
        """What of the message is to be sent now."""
        if self._held:
            piece = b"\r" + piece
        self._held = piece.endswith(b"\r")
        if self._held:
            piece = piece[:-1]
        if not piece:
            return b""
        lf = piece.count(b"\n")
        if not (lf == piece.count(b"\r") == piece.count(b"\r\n")):
            piece = _BARE.sub(b"\r\n", piece)
        begins, self._begins = self._begins, piece.endswith(b"\n")
        if b"\n." in piece:
            piece = piece.replace(b"\n.", b"\n..")
        return b"." + piece if begins and piece.startswith(b".") else piece

    def finish(self) -> bytes:
        """The end: CRLF where the last line has none, and the dot."""
        return b".\r\n" if self._begins and not self._held else b"\r\n.\r\n"
