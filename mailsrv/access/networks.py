"""IP networks (floor 4): how they are written, and finding the smallest of many that holds an address."""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Iterable

from attrs import frozen

from ..errors import Refused

#: The first 96 bits of ``::ffff:0:0/96``: an IPv4 address inside IPv6 (RFC 4291 section 2.5.5.2).
_MAPPED = 0xFFFF << 32


@frozen
class Network:
    """All addresses that share the first `prefix` bits of the number `first`; `version` is 4 or 6."""

    version: int
    first: int
    prefix: int

    @property
    def bits(self) -> int:
        """Of an address: 32 or 128."""
        return 32 if self.version == 4 else 128

    @property
    def last(self) -> int:
        """The highest address as a number."""
        return self.first | ((1 << (self.bits - self.prefix)) - 1)

    def __str__(self) -> str:
        """An address alone for a single one, else with "/prefix"."""
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        text = socket.inet_ntop(family, self.first.to_bytes(self.bits // 8, "big"))
        return text if self.prefix == self.bits else f"{text}/{self.prefix}"


def number_of(address: str) -> tuple[int, int] | None:
    """(version, number) of IP text, as `Peer.host` has it; an IPv4 address inside IPv6 is IPv4, a zone ("%eth0") is
    nothing to it.  None for what is no address."""
    try:
        if ":" not in address:
            return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address.partition("%")[0]), "big")
    except (OSError, ValueError):
        return None
    return (4, number & 0xFFFFFFFF) if number >> 32 == 0xFFFF else (6, number)


def canonical(address: str) -> str:
    """The one way to write that address.  Raises Refused for what is no address."""
    found = number_of(address)
    if found is None:
        raise Refused(f'"{address}" is no IP address')
    return str(Network(*found, 32 if found[0] == 4 else 128))


def parse_network(text: str) -> tuple[Network, bool]:
    """The network of "192.0.2.7", "10.0.0.0/8", "192.168.5/255.255.0.0", "2001:db8::/32"; and whether it was written
    otherwise than it is: a short address (padded with 0), or bits beyond the mask (X-2).

    Raises ValueError with what is wrong.
    """
    address, slash, mask = text.partition("/")
    if "%" in address:
        raise ValueError(f'"{text}": a zone belongs to one machine; leave out "%" and what follows')
    version = 6 if ":" in address else 4
    padded = _padded(address) if version == 4 and slash else address
    found = _pton(version, padded)
    if found is None:
        raise ValueError(f'"{text}" is no IP address' if not slash else f'"{text}" is no IP network')
    bits = 32 if version == 4 else 128
    prefix = _prefix(text, mask, version, bits) if slash else bits
    first = found >> (bits - prefix) << (bits - prefix)
    changed = padded != address or first != found
    if version == 6 and prefix >= 96 and first >> 32 << 32 == _MAPPED:
        return Network(4, first & 0xFFFFFFFF, prefix - 96), changed
    return Network(version, first, prefix), changed


def _pton(version: int, address: str) -> int | None:
    try:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        return int.from_bytes(socket.inet_pton(family, address), "big")
    except (OSError, ValueError):
        return None


def _padded(address: str) -> str:
    """Four numbers from one to four of them."""
    parts = address.split(".")
    return ".".join([*parts, *["0"] * (4 - len(parts))])


def client_key(host: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of IPv6, which is one customer's; "" for no address."""
    number = number_of(host)
    if number is None:
        return ""
    return f"{number[1]:x}" if number[0] == 4 else f"{number[1] >> 64:x}/64"


def _prefix(text: str, mask: str, version: int, bits: int) -> int:
    """The length of a mask, which is a number of bits or written like an address.  Raises ValueError."""
    if mask.isascii() and mask.isdigit() and len(mask) <= 3 and int(mask) <= bits:
        return int(mask)
    number = _pton(version, mask)
    if number is None:
        like = "255.255.255.0" if version == 4 else "ffff:ffff::"
        raise ValueError(f'"{text}": after "/" stands a mask: 0 to {bits}, or as in {like}')
    prefix = bits - (number ^ ((1 << bits) - 1)).bit_length()
    if number != ((1 << prefix) - 1) << (bits - prefix):
        raise ValueError(f'"{text}": the mask {mask} has holes; from the left there are ones, then zeros')
    return prefix


class Matcher:
    """Finds the smallest of many networks that holds an address, in O(log n).

    Networks lie side by side or one inside the other.  So they cut the addresses into pieces, each of which belongs to
    one network or none: the pieces are sorted, and one search finds the piece.  Of equal networks the first counts.
    """

    __slots__ = ("_owners", "_starts")

    def __init__(self, networks: Iterable[tuple[Network, int]]) -> None:
        """`networks` are given with a number each, which `find` gives back: 0 or more."""
        of_version: dict[int, list[tuple[int, int, int, int]]] = {4: [], 6: []}
        for order, (network, number) in enumerate(networks):
            of_version[network.version].append((network.first, network.prefix, order, number))
        self._starts: dict[int, list[int]] = {}
        self._owners: dict[int, list[int]] = {}
        for version, found in of_version.items():
            self._starts[version], self._owners[version] = _pieces(found, 32 if version == 4 else 128)

    def find(self, version: int, number: int) -> int:
        """The number that was given with the smallest network around this address; -1: there is none."""
        return self._owners[version][bisect_right(self._starts[version], number) - 1]


def _pieces(networks: list[tuple[int, int, int, int]], bits: int) -> tuple[list[int], list[int]]:
    """Where pieces start, in order, and who each belongs to; the first starts at 0."""
    starts, owners = [0], [-1]

    def begin(start: int, owner: int) -> None:
        if starts[-1] == start:
            owners[-1] = owner
        else:
            starts.append(start)
            owners.append(owner)

    # What is around the present address, the smallest at the end: (first address behind it, who it belongs to).
    around: list[tuple[int, int]] = []
    before = (-1, -1)

    def leave(until: int) -> None:
        while around and around[-1][0] <= until:
            behind, _ = around.pop()
            begin(behind, around[-1][1] if around else -1)

    for first, prefix, _, number in sorted(networks):
        if (first, prefix) == before:
            continue
        before = (first, prefix)
        leave(first)
        begin(first, number)
        around.append((first + (1 << (bits - prefix)), number))
    leave(1 << bits)
    return starts, owners
