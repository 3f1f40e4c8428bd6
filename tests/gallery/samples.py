"""Pieces of messages for the tests of formats: TNEF, AppleDouble and compressed RTF, written from scratch."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)

Property = tuple[int, int, bytes]


def string(number: int, text: str) -> Property:
    """A property of UTF-16."""
    return number, 0x001F, text.encode("utf-16-le") + b"\0\0"


def binary(number: int, octets: bytes) -> Property:
    """A property of octets."""
    return number, 0x0102, octets


def integer(number: int, value: int) -> Property:
    """A property of 32 bits."""
    return number, 0x0003, value.to_bytes(4, "little")


def properties(found: Sequence[Property]) -> bytes:
    """A list of MAPI properties."""
    out = struct.pack("<I", len(found))
    for number, kind, value in found:
        out += struct.pack("<HH", kind, number)
        if kind in (0x001E, 0x001F, 0x0102, 0x000D):
            out += struct.pack("<II", 1, len(value))
        out += value + b"\0" * (-len(value) % 4)
    return out


def tnef(
    found: Sequence[Property] = (),
    files: Sequence[tuple[str, bytes, Sequence[Property]]] = (),
    *,
    message_class: bytes = b"IPM.Microsoft Mail.Note",
) -> bytes:
    """A TNEF of message properties, and files of (name, octets, further properties)."""
    out = struct.pack("<IH", 0x223E9F78, 1)
    out += _attribute(1, 0x00089006, b"\0\0\1\0") + _attribute(1, 0x00069007, struct.pack("<II", 1252, 0))
    out += _attribute(1, 0x00078008, message_class + b"\0")
    if found:
        out += _attribute(1, 0x00069003, properties(found))
    for name, octets, more in files:
        out += _attribute(2, 0x00069002, b"\1\0" + b"\xff" * 4 + b"\0" * 8)
        if octets:
            out += _attribute(2, 0x0006800F, octets)
        out += _attribute(2, 0x00018010, name.encode("cp1252", "replace") + b"\0")
        out += _attribute(2, 0x00069005, properties([string(0x3707, name), *more]))
    return out


def _attribute(level: int, number: int, value: bytes) -> bytes:
    return struct.pack("<BII", level, number, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def attached(inner: bytes) -> Property:
    """A message inside of an attachment: its TNEF after the interface's name."""
    return 0x3701, 0x000D, bytes.fromhex("0703020000000000c000000000000046") + inner


def stored_rtf(rtf: bytes) -> bytes:
    """RTF in its compressed wrapper, not compressed."""
    return struct.pack("<II4sI", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf


def apple_double(name: str, resource: bytes, kind: bytes = b"TEXT", creator: bytes = b"ttxt") -> bytes:
    """The header file of an AppleDouble."""
    parts = [(3, name.encode("mac_roman")), (9, kind + creator + b"\1\0" + b"\0" * 22), (2, resource)]
    out, at = struct.pack(">II16xH", 0x00051607, 0x00020000, len(parts)), 26 + 12 * len(parts)
    for number, value in parts:
        out += struct.pack(">III", number, at, len(value))
        at += len(value)
    return out + b"".join([value for _, value in parts])


def lines64(octets: bytes) -> bytes:
    """Base64 as mail has it, without the last line end."""
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")[:-2]


def part(headers: str, body: bytes) -> bytes:
    """A part of these header lines (LF between them)."""
    return headers.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def multipart(subtype: str, *parts: bytes, boundary: str = "") -> bytes:
    """A multipart with its own header line."""
    boundary = boundary or f"{subtype}-{len(b''.join(parts))}"
    mark = b"--" + boundary.encode()
    body = b"".join([mark + b"\r\n" + one + b"\r\n" for one in parts]) + mark + b"--\r\n"
    return b'Content-Type: multipart/%b; boundary="%b"\r\n\r\n' % (subtype.encode(), boundary.encode()) + body


def message(subject: str, entity: bytes) -> bytes:
    """A whole message around an entity."""
    head = f"""From: Ann <ann@example.org>
To: Ben <ben@example.com>
Subject: {subject}
Date: Tue, 24 Nov 2026 09:00:00 +0000
Message-ID: <{subject.lower().replace(" ", "-")}@example.org>
MIME-Version: 1.0
"""
    return head.replace("\n", "\r\n").encode() + entity
