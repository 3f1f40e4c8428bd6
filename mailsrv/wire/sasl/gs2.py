"""The GS2 header (RFC 5801 section 4, RFC 5802 section 7) and the names in it."""

from __future__ import annotations

from ...errors import AuthenticationFailed
from . import base


def read_name(octets: bytes) -> str:
    """A saslname: "," is ``=2C`` and "=" is ``=3D``; any other "=" is malformed.  Raises AuthenticationFailed."""
    if b"=" in octets:
        if octets.count(b"=") != octets.count(b"=2C") + octets.count(b"=3D"):
            raise AuthenticationFailed()
        # In this order: what "=3D2C" stands for is no escape.
        octets = octets.replace(b"=2C", b",").replace(b"=3D", b"=")
    found = base.name(octets)
    if not found:
        raise AuthenticationFailed()
    return found


def print_name(value: str) -> bytes:
    """The saslname of a text.  Raises AuthenticationFailed for what has none."""
    octets = base.said(value)
    if not octets:
        raise AuthenticationFailed()
    return octets.replace(b"=", b"=3D").replace(b",", b"=2C")


def read_authzid(octets: bytes) -> str:
    """The second field of the header: "" or ``a=NAME``.  Raises AuthenticationFailed."""
    if not octets:
        return ""
    if not octets.startswith(b"a="):
        raise AuthenticationFailed()
    return read_name(octets[2:])


def print_header(flag: bytes, authzid: str) -> bytes:
    """``FLAG,[a=NAME],``.  Raises AuthenticationFailed."""
    return b"%b,%b," % (flag, b"a=" + print_name(authzid) if authzid else b"")
