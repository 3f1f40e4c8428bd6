"""The header by which a proxy tells whose connection it passes on (floor 1; haproxy's "PROXY protocol", 1 and 2).

Nothing is guessed: what is not exactly a header is `BadHeader`, and the caller closes.  Checksums (PP2_TYPE_CRC32C) are
not verified: TCP has its own, and the proxy is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct

from attrs import frozen

from ..errors import Refused

#: Octets of a version 1 line with CRLF, and of all that follows the first 16 octets of version 2.
MAX_V1 = 107
MAX_V2 = 8 * 2**10

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})")
_LOCAL, _PROXY = 0x20, 0x21
#: Family and transport -> octets of one address: TCP over IPv4, TCP over IPv6.  UNIX stream sockets (0x31) have none.
_ADDRESS = {0x11: 4, 0x21: 16}
_UNSPECIFIED, _UNIX, _UNIX_OCTETS = 0x00, 0x31, 216
_SHORT = Struct(">H")
_TLS, _TLS_VERSION = 0x20, 0x21


class BadHeader(Refused):
    """The octets are no header of the PROXY protocol."""

    text = "Not a PROXY header"


@frozen
class ProxyHeader:
    """What a proxy says.  `known` False: the connection is its own (a health check), or it does not know whose it is:
    then there are no addresses.  `tls` is the version of TLS between client and proxy ("TLSv1.3"), "" without.

    Addresses are IP text, as in `Peer`; IPv4 inside IPv6 is IPv4.
    """

    known: bool = False
    host: str = ""
    port: int = 0
    local_host: str = ""
    local_port: int = 0
    tls: str = ""


def read_header(octets: bytes) -> tuple[ProxyHeader, int] | None:
    """The header at the start, and its length; None: more octets are needed.  Raises BadHeader.

    At most MAX_V1 octets, or MAX_V2 + 16, are ever asked for.
    """
    if octets.startswith(_SIGNATURE):
        return _version_2(octets)
    if octets.startswith(_V1):
        return _version_1(octets)
    if _SIGNATURE.startswith(octets) or _V1.startswith(octets):
        return None
    raise BadHeader()


def _version_1(octets: bytes) -> tuple[ProxyHeader, int] | None:
    """A line of text (section 2.1)."""
    end = octets.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(octets) >= MAX_V1 or octets.find(b"\n", 0, MAX_V1) >= 0:
            raise BadHeader()
        return None
    line = octets[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(), end + 2
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadHeader()
    family, host, local_host, port, local_port = found.groups()
    version = int(family)
    header = ProxyHeader(
        True, _text(host, version), _port(port), _text(local_host, version), _port(local_port)
    )
    return header, end + 2


def _text(octets: bytes, version: int) -> str:
    """IP text of an address of that version."""
    try:
        address = ip_address(octets.decode("ascii"))
    except ValueError:
        raise BadHeader() from None
    if address.version != version:
        raise BadHeader()
    return _printed(address)


def _port(digits: bytes) -> int:
    """A number below 65536 without needless zeros."""
    number = int(digits)
    if number > 65535 or str(number).encode() != digits:
        raise BadHeader()
    return number


def _printed(address: IPv4Address | IPv6Address) -> str:
    """IP text; IPv4 inside IPv6 is IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _version_2(octets: bytes) -> tuple[ProxyHeader, int] | None:
    """Binary (section 2.2)."""
    if len(octets) < 16:
        return None
    (length,) = _SHORT.unpack_from(octets, 14)
    command, family = octets[12], octets[13]
    if command not in (_LOCAL, _PROXY) or length > MAX_V2:
        raise BadHeader()
    if len(octets) < 16 + length:
        return None
    block = octets[16 : 16 + length]
    if command == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader(), 16 + length
    size = _ADDRESS.get(family, 0)
    extra = _UNIX_OCTETS if family == _UNIX else 2 * size + 4
    if (not size and family != _UNIX) or length < extra:
        raise BadHeader()
    tls = _tls_version(block[extra:])
    if not size:
        return ProxyHeader(tls=tls), 16 + length
    header = ProxyHeader(
        True,
        _printed(ip_address(block[:size])),
        _SHORT.unpack_from(block, 2 * size)[0],
        _printed(ip_address(block[size : 2 * size])),
        _SHORT.unpack_from(block, 2 * size + 2)[0],
        tls,
    )
    return header, 16 + length


def _tls_version(octets: bytes) -> str:
    """From PP2_TYPE_SSL (section 2.2.6): one octet of flags, four of a verdict, then further values."""
    for kind, value in _values(octets):
        if kind == _TLS:
            if len(value) < 5:
                raise BadHeader()
            for inner, text in _values(value[5:]):
                if inner == _TLS_VERSION:
                    return "".join(chr(c) if 32 < c < 127 else "?" for c in text[:32])
    return ""


def _values(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type, length, value, one after the other.  Raises BadHeader for one that is cut off."""
    at = 0
    while at < len(octets):
        if at + 3 > len(octets):
            raise BadHeader()
        kind, (size,) = octets[at], _SHORT.unpack_from(octets, at + 1)
        at += 3
        if at + size > len(octets):
            raise BadHeader()
        yield kind, octets[at : at + size]
        at += size
