"""A few words of a message, for lists of messages (floor 1; RFC 8970): the beginning of its first text.

One opaque, versioned record, as in `summary`.
"""

from __future__ import annotations

import re

from .charsets import text_of
from .decoding import IDENTITY, decoder, encoding_of
from .format.html_text import html_to_text
from .structure import LEAF, MESSAGE, Part, parse

#: Characters of a preview (RFC 8970 section 3.1 wants no more than 200).
LONGEST = 200
#: Octets that are looked at: of a message, and of the text in it.
OCTETS, TEXT_OCTETS = 256 * 1024, 32 * 1024
_VERSION = b"mp\x01"
_SECRET = frozenset((b"multipart/encrypted",))
#: What is no text of the sender's: links and pictures in words; white space, also what only looks like it; controls.
_WORDS = re.compile(r"<(?:https?|ftp|mailto|tel):[^<>\s]{0,2000}>|\[image: [^\[\]]{0,500}\]")
_BLANKS = re.compile(
    r"[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff]+"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufff9-\ufffb]")
_ARMOUR = "-----BEGIN PGP MESSAGE-----"


def make(octets: bytes) -> bytes:
    """The record of a message, or of its first octets; never raises, O(octets)."""
    return _VERSION + _preview(octets[:OCTETS]).encode("utf-8", "replace")


def current(record: bytes | None) -> bool:
    """Whether it is a record of this version."""
    return record is not None and record.startswith(_VERSION)


def shown(record: bytes) -> bytes:
    """UTF-8; b"": there is nothing to show."""
    return record[len(_VERSION) :]


def _preview(octets: bytes) -> str:
    html: Part | None = None
    for part in _texts(parse(octets)):
        if part.media.name == b"text/html":
            html = html or part
            continue
        words = _of_plain(_text(octets, part))
        if words:
            return words
    return "" if html is None else _shortened(_WORDS.sub(" ", html_to_text(_text(octets, html), False)))


def _texts(root: Part) -> list[Part]:
    """Texts that are to be read at once, in order; nothing of what is encrypted."""
    found: list[Part] = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.kind == LEAF:
            attached = part.fields.get(b"content-disposition", b"").lstrip().lower().startswith(b"attachment")
            if part.media.name in (b"text/plain", b"text/html") and not attached:
                found.append(part)
        elif part.kind != MESSAGE and part.media.name not in _SECRET:
            waiting += reversed(part.children)
    return found


def _text(octets: bytes, part: Part) -> str:
    body = octets[part.body_start : min(part.body_end, part.body_start + 2 * TEXT_OCTETS)]
    encoding = encoding_of(octets[part.header_start : part.body_start])
    made = None if encoding in IDENTITY else decoder(encoding)
    if made is not None:
        body = made.take(body) + made.finish()
    if len(body) > TEXT_OCTETS:
        # No character is to be cut in two; of UTF-8 it would make all the rest Latin-1.
        body = body[: body.rfind(b"\n", 0, TEXT_OCTETS) + 1 or TEXT_OCTETS]
    return text_of(body, part.media.parameter(b"charset"))


def _of_plain(text: str) -> str:
    """What is quoted is known already, and comes only where there is nothing else."""
    if _ARMOUR in text:
        return ""
    own = "\n".join([line for line in text.split("\n") if not line.startswith(">")])
    return _shortened(own) or _shortened(text)


def _shortened(text: str) -> str:
    words = _BLANKS.sub(" ", _CONTROLS.sub("", text)).strip()
    return words[:LONGEST].rstrip()
