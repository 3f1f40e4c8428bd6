"""Networks as people write them (S-037, X-2), and the smallest of many around an address, against a slow oracle."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailsrv.access.entries import parse_entry
from mailsrv.access.networks import Matcher, Network, canonical, number_of, parse_network
from mailsrv.errors import Refused
from tests.properties import tries

#: written -> (as it is understood, kind, whether there is a warning)
WRITTEN = {
    "192.168.5.50": ("192.168.5.50", "computer", False),
    " 192.168.5.50 ": ("192.168.5.50", "computer", False),
    "192.168.5.50/32": ("192.168.5.50", "computer", False),
    "10.0.0.0/8": ("10.0.0.0/8", "group", False),
    "10.0.0.0/255.0.0.0": ("10.0.0.0/8", "group", False),
    "0.0.0.0/0": ("0.0.0.0/0", "group", False),
    "0.0.0.0/0.0.0.0": ("0.0.0.0/0", "group", False),
    # The book's own example, three numbers with the mask of two.
    "192.168.5/255.255.0.0": ("192.168.0.0/16", "group", True),
    "192.168.5/24": ("192.168.5.0/24", "group", True),
    "192.168.5.0/24": ("192.168.5.0/24", "group", False),
    "192.168.5.50/24": ("192.168.5.0/24", "group", True),
    "10/8": ("10.0.0.0/8", "group", True),
    "2001:db8::1": ("2001:db8::1", "computer", False),
    "2001:DB8:0::/32": ("2001:db8::/32", "group", False),
    "2001:db8::1/32": ("2001:db8::/32", "group", True),
    "2001:db8::/ffff:ffff::": ("2001:db8::/32", "group", False),
    "::/0": ("::/0", "group", False),
    # An IPv4 address inside IPv6 is IPv4.
    "::ffff:10.0.0.1": ("10.0.0.1", "computer", False),
    "::ffff:10.0.0.0/104": ("10.0.0.0/8", "group", False),
    "::ffff:0:0/96": ("0.0.0.0/0", "group", False),
    "eng.example.com": ("eng.example.com", "domain", False),
    "ENG.Example.COM.": ("eng.example.com", "domain", False),
    "bücher.example": ("xn--bcher-kva.example", "domain", False),
    # RFC 5891: not fass.example, which is somebody else's.
    "FAß.example": ("xn--fa-hia.example", "domain", False),
    "3com.example": ("3com.example", "domain", False),
    "localhost": ("localhost", "domain", False),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_entries_as_they_are_understood(text: str) -> None:
    """S-037, S-140: a computer, a group of computers, a domain."""
    entry = parse_entry(text, 7)
    assert (entry.normal, entry.kind, bool(entry.warning)) == WRITTEN[text] and entry.line == 7
    assert not entry.warning or entry.normal in entry.warning
    assert parse_entry(entry.normal).normal == entry.normal


@pytest.mark.parametrize(("text", "said"), [
    ("", "is no address, network or domain"),
    ("192.168.5", "write 192.168.5.0/24"),
    ("10", "write 10.0.0.0/8"),
    ("192.168.5.", "is no address"),
    ("192.168.5.256", "is no IP address"),
    ("192.168.5.050", "is no IP address"),
    ("1.2.3.4.5", "is no IP address"),
    ("10.0.0.0/33", "0 to 32"),
    ("10.0.0.0/-1", "0 to 32"),
    ("10.0.0.0/²", "0 to 32"),
    ("10.0.0.0/", "0 to 32"),
    ("10.0.0.0/8/8", "0 to 32"),
    ("10.0.0.0/255.0.255.0", "has holes"),
    # What routers call a wildcard mask would be all but the opposite.
    ("10.0.0.0/0.255.255.255", "has holes"),
    ("10.0.0.0/255.0.0", "0 to 32"),
    ("2001:db8::/129", "0 to 128"),
    ("2001:db8::/255.255.0.0", "0 to 128"),
    ("2001:db8::/ffff::ffff", "has holes"),
    ("fe80::1%eth0", "leave out"),
    ("[::1]", "is no IP address"),
    ("192.168.5.50:25", "is no IP address"),
    ("10.0.0.1-10.0.0.9", "is no IP address"),
    ("*.eng.example.com", 'write "eng.example.com"'),
    (".eng.example.com", 'write "eng.example.com"'),
    ("eng..example.com", "is no address, network or domain"),
    ("eng example.com", "is no address, network or domain"),
    ("-eng.example.com", "is no address, network or domain"),
    ("a" * 64 + ".example", "is no address, network or domain"),
    ("me@example.com", "is no address, network or domain"),
    ("x" * 301, "longer than 300"),
    ("10.0.0.1\0", "is no"),
    ("\ud800.example", "is no address, network or domain"),
])
def test_what_is_no_entry_is_told_with_the_way_out(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_entry(text)


@given(st.text(st.characters() | st.sampled_from("0123456789.:/abcdef%*"), max_size=40))
def test_no_text_is_anything_but_an_entry_or_a_mistake(text: str) -> None:
    try:
        entry = parse_entry(text)
    except ValueError as error:
        assert str(error)
    else:
        assert parse_entry(entry.normal).normal == entry.normal


@settings(max_examples=tries(40))
@given(st.ip_addresses(), st.data())
def test_networks_are_those_of_the_standard_library(address: ipaddress.IPv4Address, data: st.DataObject) -> None:
    prefix = data.draw(st.integers(0, address.max_prefixlen))
    wanted = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    network, changed = parse_network(f"{address}/{prefix}")
    if network.version == wanted.version:
        assert (network.first, network.last) == (int(wanted[0]), int(wanted[-1]))
        assert ipaddress.ip_network(str(network)) == wanted and changed == (wanted[0] != address)
    by_mask = parse_network(f"{address}/{wanted.netmask}")
    assert by_mask == (network, changed)


@pytest.mark.parametrize(("text", "found"), [
    ("192.0.2.1", (4, 0xC0000201)), ("::ffff:192.0.2.1", (4, 0xC0000201)), ("::FFFF:c000:201", (4, 0xC0000201)),
    ("::1", (6, 1)), ("fe80::1%eth0", (6, 0xFE80 << 112 | 1)), ("", None), ("localhost", None), ("1.2.3", None),
    ("::ffff:1.2.3", None), ("1.2.3.4\0", None), ("::192.0.2.1", (6, 0xC0000201)),
])
def test_addresses_of_peers(text: str, found: tuple[int, int] | None) -> None:
    assert number_of(text) == found
    if found is None:
        with pytest.raises(Refused, match="is no IP address"):
            canonical(text)
    else:
        assert number_of(canonical(text)) == found


#: Few addresses, so that networks lie in and beside each other.
_SMALL = st.builds(
    lambda version, first, bits: (version, first << 24, bits), st.sampled_from([4, 6]), st.integers(0, 255),
    st.integers(0, 8),
)


def network_of(version: int, first: int, host_bits: int) -> Network:
    """Of a few bits below the top of the low 32; 2 ** (24 + host_bits) addresses."""
    size = 24 + host_bits
    return Network(version, first >> size << size, (32 if version == 4 else 128) - size)


@settings(max_examples=tries(60))
@given(st.lists(_SMALL, max_size=30), st.lists(st.tuples(st.sampled_from([4, 6]), st.integers(0, 2**32 - 1))))
@example([(4, 0, 0), (4, 0, 0), (4, 0, 8)], [(4, 0)])
def test_the_smallest_network_around_an_address(
    small: list[tuple[int, int, int]], addresses: list[tuple[int, int]]
) -> None:
    networks = [network_of(*one) for one in small]
    matcher = Matcher((network, at) for at, network in enumerate(networks))
    edges = [(n.version, edge) for n in networks for edge in (n.first - 1, n.first, n.last, n.last + 1) if edge >= 0]
    for version, number in addresses + edges:
        if number >= 1 << (32 if version == 4 else 128):
            continue
        around = [
            (-network.prefix, at) for at, network in enumerate(networks)
            if network.version == version and network.first <= number <= network.last
        ]
        # Of equal networks the first.
        assert matcher.find(version, number) == (min(around)[1] if around else -1)


def as_four(network: Any) -> Any:
    """A network of IPv4-mapped IPv6 addresses is one of IPv4."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - 96))


def test_a_network_of_mapped_addresses_is_one_of_ipv4() -> None:
    parsed = [parse_network(text)[0] for text in ("0.0.0.0/0", "::ffff:0:0/97")]
    matcher = Matcher((network, at) for at, network in enumerate(parsed))
    assert (matcher.find(4, 0), matcher.find(4, 1 << 31)) == (1, 0)


@settings(max_examples=tries(25))
@given(st.lists(st.ip_addresses(), max_size=20), st.data())
def test_networks_anywhere_against_the_standard_library(
    found: list[ipaddress.IPv4Address], data: st.DataObject
) -> None:
    networks = [
        ipaddress.ip_network(f"{one}/{data.draw(st.integers(0, one.max_prefixlen))}", strict=False) for one in found
    ]
    parsed = [parse_network(str(network))[0] for network in networks]
    matcher = Matcher((network, at) for at, network in enumerate(parsed))
    networks = [as_four(network) for network in networks]
    for address in [*found, ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")]:
        version, number = number_of(str(address)) or (0, 0)
        around = [
            (-network.prefixlen, at) for at, network in enumerate(networks)
            if parsed[at].version == version and address.version == network.version and address in network
        ]
        if version == address.version:
            assert matcher.find(version, number) == (min(around)[1] if around else -1)


def test_a_thousand_networks_cut_the_addresses_into_few_pieces() -> None:
    matcher = Matcher((Network(4, at << 8, 24), at) for at in range(1000))
    assert len(matcher._starts[4]) <= 2 * 1000 + 1
