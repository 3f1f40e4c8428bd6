"""Line ends of stored mail, which are CRLF, and of files on Unix, which are LF (floor 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def crlf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces with CRLF at the end of every line; another CR stays: `crlf(lf(x))` is x if not `bare(x)`."""
    held = b""
    for piece in pieces:
        octets = held + piece
        held = b"\r" if octets.endswith(b"\r") else b""
        octets = octets[: len(octets) - len(held)]
        if octets:
            yield octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if held:
        yield held


def lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces with each CRLF as LF."""
    held = b""
    for piece in pieces:
        octets = held + piece
        held = b"\r" if octets.endswith(b"\r") else b""
        octets = octets[: len(octets) - len(held)]
        if octets:
            yield octets.replace(b"\r\n", b"\n")
    if held:
        yield held


def bare(pieces: Iterable[bytes]) -> bool:
    """Whether LF stands in for CRLF badly: there is a LF without CR, or a CR in front of CRLF."""
    tail = b""
    for piece in pieces:
        octets = tail + piece
        if b"\r\r\n" in octets or octets.count(b"\n") != octets.count(b"\r\n"):
            return True
        # A LF at the very start of the next piece must find its CR; one that is kept has found it already.
        tail = b"\r\r" if octets.endswith(b"\r\r") else b"\r" if octets.endswith(b"\r") else b""
    return False
