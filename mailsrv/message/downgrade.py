"""A message for servers that take seven bits only (floor 1): RFC 6152 section 3, RFC 2045 section 6, RFC 1428.

Text becomes quoted-printable, all else base64.  What is signed is never touched: whoever converts it breaks it.
"""

from __future__ import annotations

import binascii
import re

from ..errors import Refused
from . import header
from .structure import LEAF, MESSAGE, Part, parse

#: Octets of the largest message that is converted.
MAX_OCTETS = 8 * 2**20

_SIGNATURE = re.compile(rb"(?im)^(?:dkim-signature|domainkey-signature|arc-message-signature)[ \t]*:")
_SIGNED = frozenset(
    b"multipart/signed multipart/encrypted application/pkcs7-mime application/x-pkcs7-mime application/pgp "
    b"application/pgp-encrypted".split()
)
_PGP = b"-----BEGIN PGP SIGNED MESSAGE-----"
_IDENTITY = (b"", b"7bit", b"8bit", b"binary")
_EIGHT = re.compile(rb"[\x80-\xff\0]")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
#: Base64 in lines of 76 (RFC 2045 section 6.8).
_LINE = 57
#: Octets that are converted in one call, to the end of a line.
_PIECE = 64 * 2**10


def downgrade(octets: bytes) -> bytes:
    """The same message with a body of seven bits.

    Octets above 127 in a header stay as they are.  Raises Refused (5.6.3) when it is too big, signed, or broken.
    """
    if len(octets) > MAX_OCTETS:
        raise Refused("The message is too big to be converted for a server without 8BITMIME", "5.6.3")
    out: list[bytes] = []
    _emit(octets, parse(octets), out, True)
    return b"".join(out)


def header_beyond_ascii(octets: bytes) -> bool:
    """Whether the header of the message, or of a part of it, has octets above 127."""
    waiting = [parse(octets)]
    while waiting:
        part = waiting.pop()
        if not octets[part.header_start : part.body_start].isascii():
            return True
        waiting += part.children
    return False


def _emit(octets: bytes, part: Part, out: list[bytes], top: bool = False) -> None:
    block = octets[part.header_start : part.body_start]
    body = octets[part.body_start : part.body_end]
    if not _needs(body):
        out += (block, body)
        return
    if part.media.name in _SIGNED or _SIGNATURE.search(block):
        raise Refused("The message is signed and cannot be converted for a server without 8BITMIME", "5.6.3")
    if part.kind == LEAF:
        out += _leaf(part, block, body, top)
        return
    if _encoding(part) in (b"8bit", b"binary"):
        block = _with(block, b"Content-Transfer-Encoding", b"7bit")
    elif _encoding(part) not in _IDENTITY:
        raise _broken()
    out.append(block)
    at = part.body_start
    for child in part.children:
        # Before a nested message is nothing; of a multipart this is a delimiter and perhaps a preamble.
        out.append(_EIGHT.sub(b"?", octets[at : child.header_start]))
        _emit(octets, child, out, part.kind == MESSAGE)
        at = child.body_end
    out.append(_EIGHT.sub(b"?", octets[at : part.body_end]))


def _needs(body: bytes) -> bool:
    """Whether a body cannot go as it is."""
    return not body.isascii() or _bare(body)


def _bare(octets: bytes) -> bool:
    """Whether there is a lone CR or LF, or a NUL.  Counting takes a thirtieth of the time of looking."""
    lf = octets.count(b"\n")
    return not lf == octets.count(b"\r") == octets.count(b"\r\n") or b"\0" in octets


def _quoted(body: bytes) -> bytes:
    """Text as quoted-printable; a piece at a time, as the interpreter is given to nobody else meanwhile."""
    out, at = [], 0
    while at < len(body):
        end = body.find(b"\n", at + _PIECE) + 1 or len(body)
        # What has no line end breaks its lines with LF.
        piece = binascii.b2a_qp(body[at:end], istext=True)
        out.append(_BARE.sub(b"\r\n", piece) if _bare(piece) else piece)
        at = end
    return b"".join(out)


def _leaf(part: Part, block: bytes, body: bytes, top: bool) -> tuple[bytes, bytes]:
    """Header and body of a part without parts."""
    if _encoding(part) not in _IDENTITY:
        raise _broken()
    if _PGP in body:
        raise Refused("The message is signed and cannot be converted for a server without 8BITMIME", "5.6.3")
    if top and b"content-type" not in part.fields:
        block = _labelled(block, body)
    if part.media.name.startswith(b"text/") and not _bare(body):
        block = _with(block, b"Content-Transfer-Encoding", b"quoted-printable")
        return block, _quoted(body)
    lines = [binascii.b2a_base64(body[at : at + _LINE], newline=False) for at in range(0, len(body), _LINE)]
    return _with(block, b"Content-Transfer-Encoding", b"base64"), b"\r\n".join(lines) + (b"\r\n" if top else b"")


def _labelled(block: bytes, body: bytes) -> bytes:
    """QUIRK: eight bits without a word of MIME, of old mailers and scripts (RFC 1428 section 3)."""
    try:
        body.decode("utf-8")
        charset = b"utf-8"
    except UnicodeDecodeError:
        charset = b"unknown-8bit"
    return _with(_with(block, b"MIME-Version", b"1.0"), b"Content-Type", b"text/plain; charset=" + charset)


def _with(block: bytes, name: bytes, value: bytes) -> bytes:
    """A header block where that field has that value."""
    line = b"%b: %b\r\n" % (name, value)
    found = [one for one in header.fields(block) if one.name == name.lower()]
    for one in reversed(found):
        block = block[: one.start] + block[one.end :]
    if found:
        return block[: found[0].start] + line + block[found[0].start :]
    # The blank line stays last; a part that was cut off may have none.
    blank = next((end for end in (b"\r\n", b"\n") if block == end or block.endswith(b"\n" + end)), b"")
    kept = block[: len(block) - len(blank)]
    if kept and not kept.endswith(b"\n"):
        kept += b"\r\n"
    return kept + line + (blank or b"\r\n")


def _encoding(part: Part) -> bytes:
    return part.fields.get(b"content-transfer-encoding", b"").partition(b"(")[0].strip().lower()


def _broken() -> Refused:
    return Refused("The message has eight bits where its encoding has none, and cannot be converted", "5.6.3")
