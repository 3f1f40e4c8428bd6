"""SMTP's grammar (floor 1): paths, parameters, replies (RFC 5321 section 4.1).

Reads return None or raise nothing: what cannot be read is None, the engine says so to the client.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from ..message.domains import u_labels
from ..values import Address, Reply

#: RFC 5321 section 4.5.3.1: local part 64, domain 255, path 256 octets; RFC 1035 section 2.3.4: label 63.
MAX_LOCAL, MAX_DOMAIN, MAX_LABEL = 64, 255, 63
#: Parameters of one command that are looked at.
MAX_PARAMETERS = 20

#: Beyond ASCII: no control, no space that cannot be seen, no end of line.
_UTF8 = r"\xa1-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_ATEXT = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_UTF8}-]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED = re.compile(rf'"(?:[ !#-\[\]-~{_UTF8}]|\\[ -~])*"')
_ALNUM = rf"A-Za-z0-9{_UTF8}"
_LABEL = rf"[{_ALNUM}](?:[{_ALNUM}_-]{{0,61}}[{_ALNUM}])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_LITERAL = re.compile(r"\[[A-Za-z0-9:.-]{1,60}\]")
_PARAMETER = re.compile(rf"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~{_UTF8}]+))?")
_UNFIT, _UNFIT_UTF8 = re.compile(r"[^ -~]"), re.compile(rf"[^ -~{_UTF8}]")
_PLAIN_PATH = re.compile(r"<([A-Za-z0-9._+=-]{1,64})@([A-Za-z0-9.-]{1,255})>")


def read_domain(text: str) -> str | None:
    """A domain or address literal in canonical form: lower case, U-labels, no final dot."""
    if _LITERAL.fullmatch(text):
        return text.lower()
    if len(text.encode("utf-8")) > MAX_DOMAIN or not _DOMAIN.fullmatch(text):
        return None
    text = text.rstrip(".").lower()
    if not text.isascii():
        text = normalize("NFC", text)
    elif "xn--" in text:
        try:
            text = u_labels(text)
        except UnicodeError:
            return None
    return text


def _read_local(text: str, at: int) -> tuple[str, int] | None:
    """The local part at `at`, unquoted, and where it ends."""
    if text[at : at + 1] == '"':
        found = _QUOTED.match(text, at)
        if not found or len(found.group()) > MAX_LOCAL:
            return None
        return re.sub(r"\\(.)", r"\1", found.group()[1:-1]), found.end()
    found = _DOT_STRING.match(text, at)
    if not found or len(found.group().encode("utf-8")) > MAX_LOCAL:
        return None
    return found.group(), found.end()


def read_path(text: str) -> tuple[Address | None, str] | None:
    """`<path>` at the start of `text` and what follows it; Address None for ``<>``; None when it is none.

    A path without a domain has domain "".  Source routes are not read (RFC 5321 appendix C deprecates them,
    and they serve relaying tricks only).
    """
    plain = _PLAIN_PATH.match(text)
    if plain:
        local, domain = plain.groups()
        # Nearly every path is of this shape; the full grammar below decides on what is left.
        if ".." not in local and local[0] != "." and local[-1] != "." and "xn--" not in domain:
            known = read_domain(domain)
            return (Address(local, known), text[plain.end() :]) if known else None
    if not text.startswith("<"):
        return None
    if text.startswith("<>"):
        return None, text[2:]
    part = _read_local(text, 1)
    if part is None:
        return None
    local, at = part
    if text[at : at + 1] == ">":
        return Address(local, ""), text[at + 1 :]
    end = text.find(">", at)
    if text[at : at + 1] != "@" or end < 0:
        return None
    read = read_domain(text[at + 1 : end])
    return None if read is None else (Address(local, read), text[end + 1 :])


def read_parameters(text: str) -> dict[str, str] | None:
    """ESMTP parameters as upper-case keyword -> value ("" without one); None when malformed or repeated."""
    if not text:
        return {}
    if text[0] != " ":
        return None
    words = text.split()
    if len(words) > MAX_PARAMETERS:
        return None
    out: dict[str, str] = {}
    for word in words:
        found = _PARAMETER.fullmatch(word)
        if not found or found.group(1).upper() in out:
            return None
        out[found.group(1).upper()] = found.group(2) or ""
    return out


def print_address(address: Address) -> str:
    """The address as a path without brackets, the local part quoted where it must be."""
    local = address.local
    if not _DOT_STRING.fullmatch(local):
        local = '"%s"' % re.sub(r'(["\\])', r"\\\1", local)
    return f"{local}@{address.domain}" if address.domain else local


def print_reply(reply: Reply, utf8: bool = False) -> bytes:
    """A reply with its enhanced status on every line (RFC 2034).  Text that is no printable ASCII is replaced (with
    `utf8` other characters stay, RFC 6531 section 3.7.4.2): nothing that a client sent can end a line here."""
    status = reply.status + " " if reply.status else ""
    unfit = _UNFIT_UTF8 if utf8 else _UNFIT
    lines = [unfit.sub("?", line) for line in reply.lines] or [""]
    out = [f"{reply.code}-{status}{line}\r\n" for line in lines[:-1]]
    out.append(f"{reply.code} {status}{lines[-1]}\r\n")
    return "".join(out).encode("utf-8")
