"""Octets as IMAP writes them in an answer (floor 1): nstring, parameter lists (RFC 9051 section 9)."""

from __future__ import annotations

from collections.abc import Iterable

#: Octets that may stand in a quoted string without more ado.
_SAFE = bytes(octet for octet in range(1, 128) if octet not in b'\r\n"\\')
#: The same with those that a backslash makes possible.
_QUOTABLE = _SAFE + b'"\\'


def string(octets: bytes) -> bytes:
    """A quoted string when that is possible, else a literal."""
    if not octets.translate(None, _SAFE):
        return b'"%b"' % octets
    if not octets.translate(None, _QUOTABLE):
        return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    if b"\0" in octets:
        # QUIRK: NUL in header fields (spam); no IMAP string may hold it.
        octets = octets.replace(b"\0", b"?")
    return b"{%d}\r\n%b" % (len(octets), octets)


def nstring(octets: bytes | None) -> bytes:
    """A string, or NIL for None."""
    return b"NIL" if octets is None else string(octets)


def parameter_list(parameters: Iterable[tuple[bytes, bytes]]) -> bytes:
    """``("name" "value" ...)``, or NIL when there are none."""
    words = [b"%b %b" % (string(name), string(value)) for name, value in parameters]
    return b"(%b)" % b" ".join(words) if words else b"NIL"
