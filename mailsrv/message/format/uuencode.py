"""UUENCODE (floor 1): the attachments of mail before MIME (S-157), as POSIX `uuencode` writes them."""

from __future__ import annotations

import binascii
import re

#: Octets of a line.
_LINE = 45
#: A line of text that would be read as the start of a file.
# QUIRK: Outlook and others take any line like this for one, wherever it is.
_BEGIN = re.compile(r"^(?=begin(?:-base64)? +[0-7]{1,4} )", re.MULTILINE | re.IGNORECASE)


def uuencoded(data: bytes) -> bytes:
    """The lines of a file between `begin 644 name` and after, with CRLF; spaces are written as backquotes."""
    lines = [binascii.b2a_uu(data[at : at + _LINE], backtick=True) for at in range(0, len(data), _LINE)]
    return b"".join([*lines, b"`\nend\n"]).replace(b"\n", b"\r\n")


def harmless(text: str) -> str:
    """Text without lines that begin a file: those have a space before them."""
    return _BEGIN.sub(" ", text)
