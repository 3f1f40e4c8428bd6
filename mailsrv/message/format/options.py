"""How one server shows messages (floor 1): the options of a format table and their fingerprint (S-154..S-163)."""

from __future__ import annotations

import codecs
from functools import lru_cache

from attrs import Attribute, field, frozen, validators

from ..charsets import codec as known

#: Of the rules by which renderings are made.  It rises with every change that gives other octets for some message:
#: clients that hold the old ones must fetch again.
VERSION = 1

BODIES = ("text", "html", "both")
ATTACHMENTS = ("mime", "uuencode", "binhex")
RICH_TEXTS = ("stored", "unpack")
#: S-163.
CHARSET = "iso-8859-1"

#: A character set for mail has ASCII in the octets below 128, or escapes that are ASCII.
_PROBE = "Az09 <>&@\r\n"


@lru_cache(maxsize=128)
def codec_of(charset: str) -> str | None:
    """Python's codec that writes exactly this character set; None when it is unknown or unfit for mail text."""
    if len(charset) > 40 or not charset.isascii() or known(charset.encode("ascii")) is None:
        return None
    try:
        found = codecs.lookup(charset).name
        plain = _PROBE.encode(found) == _PROBE.encode("ascii")
    except (LookupError, ValueError):
        return None
    # A plus sign or a tilde is an escape in these, and a mark stands before the text.
    return found if plain and found not in ("utf-7", "utf-8-sig", "hz") else None


def _lower(text: str) -> str:
    return text.lower()


def _known(_: object, __: Attribute[str], value: str) -> None:
    if codec_of(value) is None:
        raise ValueError(f"not a character set for mail: {value}")


@frozen
class FormatOptions:
    """The format of one server's messages.

    body         "text", "html", or "both": as it is stored (S-159..S-161)
    charset      of all text that is rewritten (S-163)
    attachments  "mime"; for POP3 also "uuencode", "binhex" (S-157, S-158)
    rich_text    "stored", or "unpack": winmail.dat becomes body and attachments (S-155, S-162)

    Raises ValueError for any other value.
    """

    body: str = field(default="both", validator=validators.in_(BODIES))
    charset: str = field(default=CHARSET, converter=_lower, validator=_known)
    attachments: str = field(default="mime", validator=validators.in_(ATTACHMENTS))
    rich_text: str = field(default="stored", validator=validators.in_(RICH_TEXTS))

    @property
    def stored(self) -> bool:
        """Whether every message is served as it is stored: nothing needs to be read."""
        return self.body == "both" and self.attachments == "mime" and self.rich_text == "stored"

    @property
    def unpacks(self) -> bool:
        """Whether winmail.dat is opened: rich text has no place beside an HTML body (S-162)."""
        return self.rich_text == "unpack" or self.body == "html"

    @property
    def retypes(self) -> bool:
        """Whether attachments without a type get one from their names (S-155)."""
        return self.rich_text == "unpack" or self.body != "both"


def attachments_of(encoding: str, binhex: bool) -> str:
    """The `attachments` that the keys `encoding` and `binhex` of a POP3 server mean (S-157, S-158)."""
    return "binhex" if encoding == "uuencode" and binhex else encoding


def fingerprint(options: FormatOptions) -> str:
    """A short name for the octets that these options give: equal names, equal renderings of every message.

    At most 80 ASCII characters without spaces; "stored" when nothing is rendered.
    """
    if options.stored:
        return "stored"
    words = (options.body, options.charset, options.attachments, options.rich_text)
    return f"{VERSION}." + ".".join(words)
