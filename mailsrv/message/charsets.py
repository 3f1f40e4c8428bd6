"""Character sets of mail as Python knows them (floor 1): RFC 2045 section 2.2, RFC 2978 names.

Text made here is for reading and searching, never for the wire, so what cannot be decoded becomes U+FFFD.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases
from functools import lru_cache

#: Codecs that are not character sets, or cost more than linear time.
_UNFIT = frozenset(
    "base64_codec bz2_codec hex_codec quopri_codec rot_13 uu_codec zlib_codec mbcs oem idna punycode undefined "
    "unicode_escape raw_unicode_escape tactis".split()
)
_CODECS = (frozenset(aliases.values()) | {"hp_roman8", "cp720", "cp874", "cp875", "koi8_u", "utf_8_sig"}) - _UNFIT
#: Labels that Python does not know, or that mean something else than they say.
_REALLY = {
    # QUIRK: Windows mailers label windows-1252 as Latin-1 and ASCII, and GBK as GB 2312.
    "latin_1": "cp1252", "iso8859_1": "cp1252", "ascii": "utf_8", "gb2312": "gb18030", "gbk": "gb18030",
    # QUIRK: Outlook and Lotus Notes for Korean, Hebrew, Thai and Japanese.
    "euc_kr": "cp949", "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8", "windows_874": "cp874",
    "shift_jis": "cp932", "x_sjis": "cp932", "x_euc_jp": "euc_jp", "x_mac_roman": "mac_roman",
    "unicode_1_1_utf_7": "utf_7", "unicode_1_1_utf_8": "utf_8", "utf8mb4": "utf_8",
    # QUIRK: labels of gateways that did not know (RFC 1428) and of form mailers.
    "unknown_8bit": "utf_8", "x_unknown": "utf_8", "default": "utf_8", "8bit": "utf_8", "binary": "utf_8",
}  # fmt: skip
_SEPARATORS = re.compile(r"[^a-z0-9]+")
#: In these an octet below 128 need not be the ASCII character.
_NOT_ASCII = re.compile(r"utf_?(?:7|16|32)|iso_?2022|hz|cp(?:037|273|424|500|1026|1140|864|875)|johab|ptcp154|hp_")


@lru_cache(maxsize=512)
def codec(label: bytes) -> str | None:
    """The name of Python's codec for a charset label; None for one that is unknown.

    Only names from a fixed table are given: `codecs.lookup` would remember every unknown name for ever.
    """
    name = _SEPARATORS.sub("_", label[:64].decode("latin-1").lower()).strip("_")
    # QUIRK: win-1251, cp-850.
    for spelling in (name, name.replace("win_", "cp"), name.replace("cp_", "cp")):
        found = aliases.get(spelling, spelling)
        found = _REALLY.get(found, found)
        if found in _CODECS:
            return found
    return None


@lru_cache(maxsize=512)
def ascii_compatible(label: bytes) -> bool:
    """Whether octets below 128 are always the ASCII characters in this charset (unknown ones are taken so)."""
    return not _NOT_ASCII.match(codec(label) or "")


def text_of(octets: bytes, label: bytes = b"") -> str:
    """Octets of a labelled charset as text; never raises.

    Without a label: UTF-8, or Latin-1 where it is not.
    """
    if octets.isascii() and (not label or ascii_compatible(label)):
        return octets.decode("ascii")
    name = codec(label) if label else "utf_8"
    if name is None:
        # QUIRK: charset names invented by mailers; Latin-1 shows at least the ASCII part.
        return octets.decode("latin-1")
    if name == "utf_8":
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            # QUIRK: raw 8-bit octets in header fields and unlabelled text, mostly of western mailers.
            return octets.decode("utf-8", "replace") if label and not _weak(label) else octets.decode("latin-1")
    return octets.decode(name, "replace")


def _weak(label: bytes) -> bool:
    """Whether a label that leads to UTF-8 only guessed it."""
    return b"utf" not in label.lower()
