"""Text of one part, read and written (floor 1): transfer encoding, character set, Content fields."""

from __future__ import annotations

import binascii

from ..charsets import text_of
from ..header import base64_octets
from ..parameters import Media
from .options import codec_of

#: Octets of the largest text that is rewritten; a larger one stays as it is.
MAX_TEXT = 4 * 2**20
#: Tags, links, line ends and their like in all texts of one message that are rewritten: what time is spent on.
MAX_MARKS = 200_000
#: A line of a message without encoding (RFC 5322 section 2.1.1).
MAX_LINE = 998

_IDENTITY = (b"", b"7bit", b"8bit", b"binary")
_BASE64_LINE = 57


def marks(text: bytes | str) -> int:
    """How much there is to do in a text: each takes a few microseconds at most."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return sum(map(text.count, "<&\n\r\\{}@:\t"))


def encoding_of(fields: dict[bytes, bytes]) -> bytes:
    """The Content-Transfer-Encoding in lower case, without comments; nothing when there is none."""
    return fields.get(b"content-transfer-encoding", b"").partition(b"(")[0].rstrip(b";, \t").strip().lower()


def is_identity(encoding: bytes) -> bool:
    """Whether octets stand for themselves in this transfer encoding."""
    return encoding in _IDENTITY


def decoded(body: bytes, encoding: bytes) -> bytes | None:
    """The octets that a transfer encoding stands for; None for an encoding nobody knows."""
    if encoding in _IDENTITY:
        return body
    if encoding == b"quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == b"base64":
        try:
            return binascii.a2b_base64(body.replace(b"\r\n", b""), strict_mode=True)
        except binascii.Error:
            return base64_octets(body)
    return None


def unicode_text(octets: bytes, media: Media, charset: bytes = b"") -> str:
    """The text of a part of this media type, with LF as line end; never raises.

    `charset` is what the text says of itself, for when the media type says nothing.
    """
    text = text_of(octets, media.parameter(b"charset") or charset)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def written(text: str, charset: str, references: bool = False) -> tuple[bytes, bytes]:
    """(octets with CRLF line ends, name of their charset) of text.

    In `charset` if nothing is lost by that, else UTF-8; with `references` in `charset` always: characters that it has
    not become references of HTML.
    """
    name = codec_of(charset) or "utf-8"
    text = text.replace("\n", "\r\n")
    try:
        return text.encode(name, "xmlcharrefreplace" if references else "strict"), charset.encode("ascii")
    except UnicodeEncodeError:
        # A lone surrogate is the only thing UTF-8 cannot write.
        return text.encode("utf-8", "replace"), b"utf-8"


def transfer(octets: bytes) -> tuple[bytes, bytes]:
    """(Content-Transfer-Encoding, body) for text with CRLF line ends."""
    lines = octets.split(b"\n")
    ends = octets.count(b"\r\n")
    if octets.isascii() and b"\0" not in octets and octets.count(b"\r") == ends == len(lines) - 1:
        if max(map(len, lines)) <= MAX_LINE:
            return b"7bit", octets
    foreign = len(octets) - len(octets.translate(None, _EIGHT))
    if foreign * 4 > len(octets):
        return b"base64", base64_lines(octets)
    return b"quoted-printable", quoted_printable(octets)


_EIGHT = bytes(range(128, 256)) + b"\0"
def quoted_printable(octets: bytes) -> bytes:
    """Text with CRLF line ends in quoted-printable (RFC 2045 section 6.7), lines of at most 76."""
    made = binascii.b2a_qp(octets, istext=True)
    # Its soft line ends are LF where the text had no line end to learn from.
    return made.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def base64_lines(octets: bytes) -> bytes:
    """Base64 in lines of 76 with CRLF, the last one too (RFC 2045 section 6.8)."""
    text = binascii.b2a_base64(octets, newline=False)
    step = _BASE64_LINE // 3 * 4
    return b"".join([text[at : at + step] + b"\r\n" for at in range(0, len(text), step)])
