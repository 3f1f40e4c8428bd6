"""Parameters of MAIL and RCPT (floor 1): the grammar of their values (RFC 1870, 3030, 3461, 4954, 6152, 6531, 6533).

Values are kept as they were given; here is only said whether they can be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .smtp_syntax import read_path

#: RFC 3461 section 4.4 and 4.2: ENVID and ORCPT have at most so many octets.
MAX_ENVID, MAX_ORCPT = 100, 500

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
#: RFC 6533 section 3: an address of UTF-8 written in ASCII, or (with SMTPUTF8) as it is.
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~]|\\x\{(?:[1-9A-F][0-9A-F]{1,4}|10[0-9A-F]{4})\})+")
_UTF8_UNITEXT = re.compile(r"(?:[!-*,-<>-\[\]-~\xa0-\U0010ffff]|\\x\{(?:[1-9A-F][0-9A-F]{1,4}|10[0-9A-F]{4})\})+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30})")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


def read_xtext(text: str) -> str | None:
    """What xtext stands for, octets as Latin-1; None when it is none (RFC 3461 section 4)."""
    if not _XTEXT.fullmatch(text):
        return None
    return _HEX.sub(lambda found: chr(int(found.group(1), 16)), text)


def is_size(text: str) -> bool:
    """Octets in at most 20 digits (RFC 1870 section 5)."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def is_body(text: str) -> bool:
    """How the message is encoded (RFC 6152, RFC 3030 section 3)."""
    return text.upper() in ("7BIT", "8BITMIME", "BINARYMIME")


def is_auth(text: str) -> bool:
    """Who sent it first, or nobody to name (RFC 4954 section 5)."""
    if text == "<>":
        return True
    read = read_xtext(text)
    return read is not None and _is_mailbox(read)


def is_envid(text: str) -> bool:
    """The sender's name for the envelope: printable once it is read (RFC 3461 section 4.4)."""
    read = read_xtext(text)
    return read is not None and len(text) <= MAX_ENVID and all(" " <= c <= "~" for c in read)


def is_notify(text: str) -> bool:
    """NEVER alone, or the others, each once (RFC 3461 section 4.1)."""
    words = text.upper().split(",")
    return words == ["NEVER"] or (set(words) <= _NOTIFY and len(set(words)) == len(words))


def is_orcpt(text: str, utf8: bool) -> bool:
    """The recipient as the sender knew it; `utf8`: the transaction has SMTPUTF8 (RFC 3461 section 4.2, RFC 6533)."""
    kind, semicolon, address = text.partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(kind) or len(text.encode("utf-8")) > MAX_ORCPT:
        return False
    if kind.lower() == "utf-8":
        return bool((_UTF8_UNITEXT if utf8 else _UTF8_XTEXT).fullmatch(address))
    read = read_xtext(address)
    return read is not None and all(" " <= c <= "~" for c in read)


def _is_mailbox(text: str) -> bool:
    try:
        path = read_path(f"<{text.encode('latin-1').decode('utf-8')}>")
    except UnicodeDecodeError:
        return False
    return path is not None and path[0] is not None and path[1] == ""


def _is_nothing(text: str) -> bool:
    return text == ""


_MAIL: Mapping[str, Callable[[str], bool]] = {
    "SIZE": is_size,
    "BODY": is_body,
    "AUTH": is_auth,
    "SMTPUTF8": _is_nothing,
    "RET": lambda text: text.upper() in ("FULL", "HDRS"),
    "ENVID": is_envid,
}


def check_mail(parameters: Mapping[str, str]) -> str:
    """What is wrong with MAIL's parameters: "" nothing, "unknown" one nobody knows here, "value" one of them."""
    for name, value in parameters.items():
        rule = _MAIL.get(name)
        if rule is None:
            return "unknown"
        if not rule(value):
            return "value"
    return ""


def check_rcpt(parameters: Mapping[str, str], utf8: bool) -> str:
    """The same for RCPT's."""
    for name, value in parameters.items():
        if name == "NOTIFY":
            good = is_notify(value)
        elif name == "ORCPT":
            good = is_orcpt(value, utf8)
        else:
            return "unknown"
        if not good:
            return "value"
    return ""
