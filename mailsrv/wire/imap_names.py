"""Mailbox names on the wire (floor 1): modified UTF-7 (RFC 3501 section 5.1.3) or UTF-8 (RFC 9051 section 5.1, RFC
9755 section 3), as the client enabled it, and quoting.

Inside, names are NFC text.  Decoding is strict: only the one canonical form of a name is taken, so that two
spellings never mean one mailbox.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from functools import lru_cache
from unicodedata import normalize

from .imap_lexer import PLAIN, BadSyntax, Form, Lexer

_PRINTABLE = re.compile(rb"[\x20-\x7e]*").fullmatch
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
#: RFC 6855 section 3: no controls, no line or paragraph separator.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]").search
_ATOM = re.compile(rb"[\x21\x23\x24\x26\x27\x2b-\x5b\x5d-\x7a\x7c-\x7e]+").fullmatch
_INVALID = "Mailbox name is not valid modified UTF-7"
_NOT_UTF8 = "Mailbox name is not valid UTF-8"


def _shift(run: str) -> str:
    octets = b2a_base64(run.encode("utf-16-be"), newline=False).rstrip(b"=")
    return "&" + octets.replace(b"/", b",").decode("ascii") + "-"


def encode(name: str) -> bytes:
    """Text to modified UTF-7."""
    if name.isascii() and "&" not in name and name.isprintable():
        return name.encode("ascii")
    return _UNPRINTABLE.sub(lambda run: _shift(run[0]), name.replace("&", "&-")).encode("ascii")


def _unshift(octets: bytes) -> str:
    if not octets:
        return "&"
    padded = octets.replace(b",", b"/") + b"=" * (-len(octets) % 4)
    return a2b_base64(padded, strict_mode=True).decode("utf-16-be")


def _decode_utf8(octets: bytes) -> str:
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax(_NOT_UTF8) from None
    if _FORBIDDEN(name):
        raise BadSyntax(_NOT_UTF8)
    return "INBOX" if name.upper() == "INBOX" else normalize("NFC", name)


def _swapped(name: str, separator: str) -> str:
    """Inside is "/" what outside is the separator, and the other way round: so no two names become one."""
    return name if separator == "/" else name.translate(str.maketrans("/" + separator, separator + "/"))


def decode(octets: bytes, form: Form = PLAIN) -> str:
    """Modified UTF-7, or UTF-8, to NFC text; INBOX in any case becomes "INBOX".  Raises BadSyntax."""
    return _swapped(_decode_utf8(octets) if form.utf8 else _decode(octets), form.separator)


def _decode(octets: bytes) -> str:
    if _PRINTABLE(octets) is None:
        raise BadSyntax(_INVALID)
    if b"&" not in octets:
        return "INBOX" if octets.upper() == b"INBOX" else octets.decode("ascii")
    out: list[str] = []
    at = 0
    try:
        for found in _SHIFTED.finditer(octets):
            out += octets[at : found.start()].decode("ascii"), _unshift(found[1])
            at = found.end()
    except (Base64Error, UnicodeDecodeError):
        raise BadSyntax(_INVALID) from None
    out.append(octets[at:].decode("ascii"))
    name = "".join(out)
    # Printable characters in base64, needless shifts, stray "&", dirty padding: none of them comes back alike.
    if _FORBIDDEN(name) or encode(name) != octets:
        raise BadSyntax(_INVALID)
    return normalize("NFC", name)


def mailbox(lexer: Lexer) -> str:
    """SP mailbox.  A name in UTF-8 that is not in its usual form is kept in `lexer.spelled`.  Raises BadSyntax."""
    lexer.space()
    octets = lexer.astring()
    name = decode(octets, lexer.form)
    spelled = _swapped(octets.decode("utf-8"), lexer.form.separator) if lexer.form.utf8 else name
    lexer.spelled = spelled if spelled != name else ""
    return name


@lru_cache(maxsize=1024)
def wire(name: str, form: Form = PLAIN) -> bytes:
    """The name as an astring: an atom where it can be one, else quoted."""
    name = _swapped(name, form.separator)
    octets = name.encode("utf-8") if form.utf8 else encode(name)
    if _ATOM(octets) and octets.upper() != b"NIL":
        return octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
