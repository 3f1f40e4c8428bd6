"""What is counted for an address (floor 2a)."""

from __future__ import annotations

import socket

#: IPv4 in IPv6: mapped (RFC 4291 section 2.5.5.2), and as a translator shows it (RFC 6052 section 2.1; a server behind
#: one sees the whole IPv4 world in one /64).
_FOURS = (bytes(10) + b"\xff\xff", b"\0\x64\xff\x9b" + bytes(8))


def subject_of(address: str) -> str:
    """What is counted and banned for an address: the IPv4 address, or the /64 of an IPv6 address as ``2001:db8::/64``.

    "" (a UNIX socket) stays "", and so does any text that is no IPv6 address.
    """
    if ":" not in address:
        return address
    try:
        octets = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return address
    if octets[:12] in _FOURS:
        return socket.inet_ntop(socket.AF_INET, octets[12:])
    return socket.inet_ntop(socket.AF_INET6, octets[:8] + bytes(8)) + "/64"
