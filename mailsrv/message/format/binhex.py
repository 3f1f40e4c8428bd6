"""BinHex 4.0 (floor 1): S-158, RFC 1741, the form with both forks of a file in lines of text."""

from __future__ import annotations

import binascii
import re

from .appledouble import MacFile

#: Octets of a name on a Macintosh of that time.
MAX_NAME = 63
_BANNER = b"(This file must be converted with BinHex 4.0)\r\n\r\n"
_LINE = 64
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HQX = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_TABLE = bytes.maketrans(_BASE64, _HQX)
#: Means a run: octet, mark, count.  The mark itself is the mark and a count of nothing.
_MARK, _LITERAL = b"\x90", b"\x90\0"
#: Runs that files have, when each mark has its nothing behind it already; that nothing is no part of a run.
_RUN = re.compile(rb"(?<!\x90)\0{4,255}|\xff{4,255}| {4,255}")
#: Flags that say how the sender's desk looked: on it, and inited.
_DESK = 0x0101

_KINDS = {
    "txt": (b"TEXT", b"ttxt"), "pdf": (b"PDF ", b"CARO"), "jpg": (b"JPEG", b"ogle"), "jpeg": (b"JPEG", b"ogle"),
    "gif": (b"GIFf", b"ogle"), "png": (b"PNGf", b"ogle"), "doc": (b"W8BN", b"MSWD"), "xls": (b"XLS8", b"XCEL"),
    "ppt": (b"SLD8", b"PPT3"), "zip": (b"ZIP ", b"SITx"), "sit": (b"SIT!", b"SIT!"), "html": (b"TEXT", b"MOSS"),
    "mp3": (b"MPG3", b"TVOD"), "mov": (b"MooV", b"TVOD"), "tif": (b"TIFF", b"ogle"), "rtf": (b"RTF ", b"MSWD"),
}  # fmt: skip


def kind_of(name: str) -> tuple[bytes, bytes]:
    """Type and creator of a file that has only a name."""
    return _KINDS.get(name.rpartition(".")[2].lower(), (b"????", b"????"))


def binhexed(file: MacFile) -> bytes:
    """A file as BinHex 4.0 text with CRLF line ends, the line before it that says so included."""
    name = file.name.replace(":", "_").encode("mac_roman", "replace")[:MAX_NAME] or b"file"
    header = bytes((len(name),)) + name + b"\0" + file.kind + file.creator
    header += (file.flags & 0xFFFF & ~_DESK).to_bytes(2, "big")
    header += len(file.data).to_bytes(4, "big") + len(file.resource).to_bytes(4, "big")
    pieces = b"".join([part + _checksum(part) for part in (header, file.data, file.resource)])
    packed = pieces.replace(_MARK, _LITERAL)
    if any(octet * 4 in packed for octet in (b"\0", b"\xff", b" ")):
        packed = _RUN.sub(_shortened, packed)
    text = b":" + binascii.b2a_base64(packed, newline=False).rstrip(b"=").translate(_TABLE) + b":"
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return _BANNER + b"\r\n".join(lines) + b"\r\n"


def _checksum(part: bytes) -> bytes:
    return binascii.crc_hqx(part, 0).to_bytes(2, "big")


def _shortened(run: re.Match[bytes]) -> bytes:
    return run[0][:1] + _MARK + bytes((len(run[0]),))
