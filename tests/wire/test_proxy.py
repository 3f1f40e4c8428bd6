"""PROXY headers, version 1 and 2 (haproxy's specification): read exactly, or refused."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.wire.proxy import MAX_V1, MAX_V2, BadHeader, ProxyHeader, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack(">HH", 40000, 25)
V6 = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + struct.pack(">HH", 40000, 25)
CLIENT4 = ProxyHeader(True, "192.0.2.7", 40000, "198.51.100.1", 25)
CLIENT6 = ProxyHeader(True, "2001:db8::7", 40000, "2001:db8::1", 25)


def v2(block: bytes, family: int = 0x11, command: int = 0x21, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block) if length is None else length) + block


def value(kind: int, octets: bytes) -> bytes:
    return struct.pack(">BH", kind, len(octets)) + octets


TLS = value(0x20, b"\x07\0\0\0\0" + value(0x22, b"bob") + value(0x21, b"TLSv1.3"))
GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n", CLIENT4),
    (b"PROXY TCP6 2001:DB8::7 2001:db8:0::1 40000 25\r\n", CLIENT6),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6401 40000 25\r\n", CLIENT4),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ProxyHeader(True, "0.0.0.0", 0, "255.255.255.255", 65535)),
    (b"PROXY UNKNOWN\r\n", ProxyHeader()),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ProxyHeader()),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", ProxyHeader()),
    (v2(V4), CLIENT4),
    (v2(V6, 0x21), CLIENT6),
    (v2(ip_address("::ffff:192.0.2.7").packed + ip_address("::ffff:198.51.100.1").packed + V4[8:], 0x21), CLIENT4),
    (v2(b"", 0x00, 0x20), ProxyHeader()),
    # LOCAL: whatever stands there is not looked at.
    (v2(b"\xff" * 20, 0x77, 0x20), ProxyHeader()),
    (v2(b"abc", 0x00), ProxyHeader()),
    (v2(bytes(216), 0x31), ProxyHeader()),
    (v2(V4 + value(0x04, bytes(9)) + TLS), ProxyHeader(True, "192.0.2.7", 40000, "198.51.100.1", 25, "TLSv1.3")),
    (v2(bytes(216) + TLS, 0x31), ProxyHeader(tls="TLSv1.3")),
    (v2(V4 + value(0x20, b"\0\0\0\0\1")), CLIENT4),
    (v2(V4 + value(0x20, bytes(5) + value(0x21, b"T\r\n" + b"x" * 99))),
     ProxyHeader(True, "192.0.2.7", 40000, "198.51.100.1", 25, "T??" + "x" * 29)),
    (v2(V4 + value(0xEE, bytes(MAX_V2 - 15))), CLIENT4),
]  # fmt: skip
BAD = [
    b"EHLO c\r\n", b"P\r\n", b"\r\n\r\nX", b"\x16\x03\x01", b"proxy TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"PROXY\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n", b"PROXY TCP4 192.0.2.7  198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 \r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 025\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n", b"PROXY TCP4 192.0.2.07 198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 40000 25\r\n", b"PROXY TCP4 ::1 ::1 40000 25\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 25\r\n", b"PROXY TCP6 fe80::1%eth0 fe80::2 40000 25\r\n",
    b"PROXY TCP6 ::1::2 ::1 40000 25\r\n", b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"PROXY UNKNOWNX\r\n", b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", b"PROXY " + b"x" * 101,
    v2(V4, command=0x11), v2(V4, command=0x22), v2(V4, 0x12), v2(V4, 0x10), v2(V4, 0x41), v2(V6[:35], 0x21),
    v2(V4[:11]), v2(bytes(215), 0x31), v2(b"", length=MAX_V2 + 1), v2(V4 + b"\x04"), v2(V4 + b"\x04\0"),
    v2(V4 + value(0x04, b"abc")[:-1]), v2(V4 + value(0x20, bytes(4))), v2(V4 + value(0x20, bytes(5) + b"\x21\0\x09x")),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "header"), GOOD, ids=lambda one: one[:40] if isinstance(one, bytes) else "")
def test_every_split_gives_the_same_and_what_follows_is_left(octets: bytes, header: ProxyHeader) -> None:
    steps = range(len(octets)) if len(octets) < 400 else (*range(40), len(octets) - 1)
    assert all(read_header(octets[:n]) is None for n in steps)
    for behind in (b"", b"EHLO c\r\n", b"\x16\x03\x01", octets):
        assert read_header(octets + behind) == (header, len(octets))


@pytest.mark.parametrize("octets", BAD, ids=lambda octets: octets[:60])
def test_what_is_no_header_is_refused(octets: bytes) -> None:
    with pytest.raises(BadHeader):
        read_header(octets)


def test_nothing_is_waited_for_beyond_the_budget() -> None:
    longest = b"PROXY " + b"x" * (MAX_V1 - 7)
    assert read_header(longest) is None
    with pytest.raises(BadHeader):
        read_header(longest + b"x")
    # The length of version 2 is judged when it is there, not when so much has come.
    assert read_header(v2(b"", length=MAX_V2)) is None


@given(st.binary(max_size=150).map(lambda tail: (b"PROXY TCP4 " + tail)) | st.binary(max_size=40))
def test_version_1_never_raises_anything_else(octets: bytes) -> None:
    try:
        found = read_header(octets)
    except BadHeader:
        return
    assert found is None or 0 < found[1] <= min(len(octets), MAX_V1)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300), st.integers(0, 300))
def test_version_2_never_raises_anything_else(command: int, family: int, block: bytes, length: int) -> None:
    octets = v2(block, family, command, length)
    try:
        found = read_header(octets)
    except BadHeader:
        return
    assert (found is None) == (length > len(block))
    assert found is None or found[1] == 16 + length


@given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=9))
def test_both_versions_tell_the_same(four: object, six: object, port: int, local: int, more: bytes) -> None:
    for family, address in ((4, four), (6, six)):
        text = f"PROXY TCP{family} {address} {address} {port} {local}\r\n".encode()
        packed = address.packed  # type: ignore[attr-defined]
        block = packed * 2 + struct.pack(">HH", port, local)
        first, second = read_header(text + more), read_header(v2(block, 0x11 if family == 4 else 0x21) + more)
        assert first is not None and second is not None and first[0] == second[0]
        assert (first[0].port, first[0].local_port) == (port, local)
