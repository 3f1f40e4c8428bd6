"""COMPRESS (floor 3; RFC 4978): after its OK everything is deflated, in both directions, above TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...net.deflate import Deflate
from ...wire import imap_requests as r
from .answer import Bad, No

if TYPE_CHECKING:
    from .session import ImapSession


async def compress(session: ImapSession, request: r.Compress) -> bytes:
    """COMPRESS.  It outlives UNAUTHENTICATE (RFC 8437 section 4)."""
    if session.connection.layer is not None:
        raise No("COMPRESSIONACTIVE", "Compression is active already")
    if request.mechanism != "DEFLATE":
        raise No("CANNOT", "No such mechanism here")
    if session.engine.buffered:
        # Nobody could tell whether it is deflated.
        raise Bad("Nothing may follow COMPRESS before its answer")
    session.say(request.tag + b" OK DEFLATE active")
    session.connection.flush()
    session.connection.layer = Deflate()
    return b""


def rest(session: ImapSession) -> None:
    """What was said leaves, and nothing follows for a while: an idle client costs no deflater."""
    session.connection.flush()
    if session.connection.layer is not None:
        session.connection.layer.rest()
