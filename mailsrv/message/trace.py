"""Trace fields (floor 1): Received, Return-Path (RFC 5321 section 4.4), Delivered-To, and the hop count (S-080)."""

from __future__ import annotations

import re
from functools import lru_cache

from ..values import Address, TlsFacts
from .dates import rfc5322
from .domains import a_labels
from .header import header_end

__all__ = [
    "count_received", "delivered_to_field", "header_end", "received_field", "return_path_field", "verdict_field",
]  # fmt: skip

#: A client's words are cut to this many characters in a trace field (RFC 5321 section 4.5.3.1.2).
_MAX_WORD = 255
#: What may stand in a domain, address literal or keyword; all else becomes "?".
_FOREIGN = re.compile(r"[^A-Za-z0-9.\-_:\[\]\x80-\U0010ffff]")
_FOREIGN_ASCII = re.compile(r"[^A-Za-z0-9.\-_:\[\]]")
#: What a name of somebody who logged in may hold in a comment; and what names of parts and rules may.
_FOREIGN_USER = re.compile(r"[^A-Za-z0-9.\-_@+\x80-\U0010ffff]")
_FOREIGN_RULE = re.compile(r"[^ -~]")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]++"
_ATOMS = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*+\Z")


def received_field(
    helo: str,
    peer_host: str,
    peer_name: str | None,
    by: str,
    protocol: str,
    delivery_id: str,
    recipient: Address | None,
    epoch: float,
    zone: int,
    tls: TlsFacts | None = None,
    authenticated: bool = False,
    verified: bool | None = None,
    user: str = "",
    hidden: bool = False,
) -> bytes:
    """The folded Received field of one acceptance, with its CRLF.

    `peer_host` is IP text or "" (a UNIX socket), `protocol` SMTP, ESMTP, LMTP, UTF8SMTP or UTF8LMTP: the S and A of
    RFC 3848 are added here.  `recipient` is given when there is only one (RFC 5321 section 7.2).
    `verified` False: HELO is not shown to be true (S-093).  `user` is who logged in, "" to say nothing of it; `hidden`:
    nothing is said of the client, as in mail that begins here.
    """
    # All but what is of this message is the same for all of a connection.
    head = _received(
        "" if hidden else helo, peer_host, peer_name or "", by, protocol, tls and (tls.version, tls.cipher),
        authenticated, verified is False, user, hidden,
    )  # fmt: skip
    path = _for(recipient, protocol[:4].upper() == "UTF8") if recipient is not None else b""
    return b"".join((head, _identifier(delivery_id), path, b";\r\n\t", rfc5322(epoch, zone), b"\r\n"))


@lru_cache(maxsize=256)
def _received(
    helo: str, peer_host: str, peer_name: str, by: str, protocol: str, tls: tuple[str, str] | None,
    authenticated: bool, unverified: bool, user: str, hidden: bool,
) -> bytes:  # fmt: skip
    """The field up to what is its id; `tls` is version and cipher."""
    utf8 = protocol[:4].upper() == "UTF8"
    literal = _literal(peer_host)
    known = _word(peer_name, utf8) + " " if peer_name else ""
    client = f"{_word(helo, utf8) or literal} ({known}{literal}{' unverified' if unverified else ''})"
    lines = [] if hidden else [f"from {client}"]
    lines.append(f"by {_word(by, utf8)} with {with_protocol(protocol, tls is not None, authenticated)}")
    if tls is not None:
        lines.append(f"(version={_word(tls[0], False)} cipher={_word(tls[1], False)})")
    if user:
        lines.append(f"(authenticated as {_user(user, utf8)})")
    return "".join(["Received: ", *(f"{line}\r\n\t" for line in lines), "id "]).encode("utf-8", "replace")


@lru_cache(maxsize=1024)
def _for(recipient: Address, utf8: bool) -> bytes:
    """Whom it is for, on a line of its own; b"" for an address that cannot be written."""
    path = _path(recipient, utf8)
    return f"\r\n\tfor {path}".encode("utf-8", "replace") if path else b""


def _identifier(delivery_id: str) -> bytes:
    """The id; of one that somebody else has made what is harmless."""
    if delivery_id.isalnum() and delivery_id.isascii() and len(delivery_id) <= _MAX_WORD:
        return delivery_id.encode("ascii")
    return _word(delivery_id, False).encode("ascii")


def with_protocol(protocol: str, tls: bool, authenticated: bool) -> str:
    """The "with" keyword of RFC 3848 and RFC 6531 section 4.3."""
    keyword = _FOREIGN_ASCII.sub("?", protocol[:32]).upper()
    if keyword in ("ESMTP", "LMTP", "UTF8SMTP", "UTF8LMTP"):
        keyword += ("S" if tls else "") + ("A" if authenticated else "")
    return keyword


@lru_cache(maxsize=1024)
def return_path_field(path: Address | None) -> bytes:
    """Return-Path with its CRLF; None is the null path."""
    written = _path(path, True) if path is not None else ""
    return b"Return-Path: " + (written or "<>").encode("utf-8", "replace") + b"\r\n"


@lru_cache(maxsize=1024)
def delivered_to_field(address: Address) -> bytes:
    """Delivered-To with its CRLF: the one recipient that this copy is for; b"" for what cannot be written."""
    written = _path(address, True)
    return f"Delivered-To: {written[1:-1]}\r\n".encode("utf-8", "replace") if written else b""


def verdict_field(action: str, part: str, rule: str) -> bytes:
    """X-Mailsrv-Verdict with its CRLF: which policy moved the message, and why."""
    why = f" ({rule})" if rule else ""
    text = _FOREIGN_RULE.sub("?", f"{action} by {part}{why}")
    return f"X-Mailsrv-Verdict: {text[:_MAX_WORD]}\r\n".encode("ascii")


def count_received(header: bytes) -> int:
    """Received fields in the header block at the beginning of `header` (the rest is not counted)."""
    block = b"\n" + header[: header_end(header)].lower()
    count = block.count(b"\nreceived:")
    # White space before the colon is obsolete, but must not hide a loop (RFC 5322 section 4.5).
    at = -1 if b"\nreceived " not in block and b"\nreceived\t" not in block else 0
    while at >= 0:
        at = block.find(b"\nreceived", at)
        if at < 0:
            break
        at += 9
        gap = block[at : at + 100].lstrip(b" \t")
        count += gap.startswith(b":") and block[at] != 58
    return count


def _word(text: str, utf8: bool) -> str:
    """A client's word, harmless: no control, space, bracket or quote that could end it."""
    cut = text[:_MAX_WORD]
    # Without UTF-8 nothing is left that could be a control character.
    return _CONTROL.sub("?", _FOREIGN.sub("?", cut)) if utf8 else _FOREIGN_ASCII.sub("?", cut)


def _user(name: str, utf8: bool) -> str:
    """A login name for a comment."""
    cut = _CONTROL.sub("?", _FOREIGN_USER.sub("?", name[:_MAX_WORD]))
    return cut if utf8 else cut.encode("ascii", "replace").decode("ascii")


def _literal(host: str) -> str:
    """An address literal (RFC 5321 section 4.1.3)."""
    if not host:
        return "unix"
    plain = _word(host, False)
    return f"[IPv6:{plain}]" if ":" in plain else f"[{plain}]"


def _path(address: Address, utf8: bool) -> str:
    """``<local@domain>``, or "" for an address that cannot be written in this field."""
    local, domain = address.local, address.domain
    if not utf8 and not domain.isascii():
        domain = a_labels(domain)
    if not utf8 and not local.isascii():
        return ""
    if _CONTROL.search(local.replace(" ", "")) or len(local) + len(domain) > 2 * _MAX_WORD:
        return ""
    if not _ATOMS.match(local):
        local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"<{local}@{_word(domain, utf8)}>" if domain else f"<{local}>"
