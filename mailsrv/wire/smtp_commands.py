"""The table of SMTP's commands (floor 1): a line becomes an event (RFC 5321 section 4.1.1, RFC 2033, RFC 3030)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ..values import Address
from .sasl import decode as read_base64
from .smtp_events import Auth, Chunk, Hello, Mail, Plain, Rcpt, Wrong
from .smtp_events import wrong as _wrong
from .smtp_syntax import MAX_LABEL, MAX_LOCAL, read_domain, read_parameters, read_path
from .smtp_xclient import read_xclient

#: Octets of a line that may be remembered.
_MOST = 300
#: The name of a queue.
_QUEUE = re.compile(r"#[!-~]{1,255}")


def _hello(verb: str, argument: str) -> Any:
    name = argument.strip()
    if not name:
        return _wrong(501, "5.5.4", f"{verb} needs a domain or address literal")
    return Hello(verb != "HELO", name[:255])


def _path(argument: str, word: str) -> tuple[Address | None, dict[str, str], bool] | Wrong:
    """FROM:<path> or TO:<path> with parameters, and whether the path is more than ASCII."""
    if argument[: len(word)].upper() != word:
        return _wrong(501, "5.5.4", f"Syntax: {word}<address>")
    # QUIRK: a space after the colon (RFC 5321 section 4.1.1.2 forbids it), sent by old scripts and devices.
    rest = argument[len(word) :].lstrip(" ")
    if rest[:1] not in ("<", ""):
        # QUIRK: a path without angle brackets, sent by people at a terminal and by old devices.
        bare, gap, tail = rest.partition(" ")
        rest = f"<{bare}>{gap}{tail}"
    read = read_path(rest)
    status = "5.1.7" if word == "FROM:" else "5.1.3"
    if read is None:
        return _wrong(501 if not rest.startswith("<@") else 553, status, "Bad address syntax")
    address, tail = read
    parameters = read_parameters(tail.rstrip(" "))
    if parameters is None:
        return _wrong(501, "5.5.4", "Bad parameters")
    return address, parameters, not (rest.isascii() or rest.partition(">")[0].isascii())


def _mail(verb: str, argument: str) -> Any:
    read = _path(argument, "FROM:")
    return read if isinstance(read, Wrong) else Mail(*read)


def _rcpt(verb: str, argument: str) -> Any:
    read = _path(argument, "TO:")
    if isinstance(read, Wrong):
        return read
    address, parameters, utf8 = read
    if address is None:
        return _wrong(501, "5.1.3", "A recipient is needed")
    return Rcpt(address, parameters, utf8)


def _bdat(verb: str, argument: str) -> Any:
    size, _, last = argument.strip().partition(" ")
    if not (size.isascii() and size.isdigit() and len(size) <= 19) or last.strip().upper() not in ("", "LAST"):
        # Octets follow, and nobody can know how many.
        return _wrong(501, "5.5.4", "Syntax: BDAT size [LAST]; closing", fatal=True)
    return Chunk(int(size), bool(last.strip()))


def _auth(verb: str, argument: str) -> Any:
    mechanism, _, initial = argument.strip().partition(" ")
    if not mechanism:
        return _wrong(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
    if not initial:
        return Auth(mechanism.upper(), None)
    octets = b"" if initial == "=" else read_base64(initial.encode("utf-8"))
    return Auth(mechanism.upper(), octets, valid=octets is not None)


def _bare(verb: str, argument: str) -> Any:
    # QUIRK: trailing spaces, sent by several embedded devices.
    if argument.strip():
        return _wrong(501, "5.5.4", f"{verb} takes no argument")
    return Plain(verb)


def _with_text(verb: str, argument: str) -> Any:
    return Plain(verb, argument.strip())


def _etrn(verb: str, argument: str) -> Any:
    """A domain, "@" and a domain, or "#" and the name of a queue (RFC 1985 section 5.1)."""
    node = argument.strip()
    if node.startswith("#"):
        if _QUEUE.fullmatch(node):
            return Plain(verb, node)
    else:
        domain = read_domain(node.removeprefix("@"))
        if domain is not None:
            return Plain(verb, f"@{domain}" if node.startswith("@") else domain)
    return _wrong(501, "5.5.4", "Syntax: ETRN domain, ETRN @domain, or ETRN #queue")


_Reader = Callable[[str, str], Any]
_SHARED: dict[str, _Reader] = {
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _bare,
    "BDAT": _bdat,
    "RSET": _bare,
    "QUIT": _bare,
    "STARTTLS": _bare,
    "AUTH": _auth,
    "NOOP": _with_text,
    "HELP": _with_text,
    "VRFY": _with_text,
}
#: The one table of commands; and that of LMTP, which has another greeting (RFC 2033 section 4.1).
SMTP: Mapping[str, _Reader] = {
    "EHLO": _hello, "HELO": _hello, "EXPN": _with_text, "ETRN": _etrn, "XCLIENT": read_xclient,
    **_SHARED,
}  # fmt: skip
LMTP: Mapping[str, _Reader] = {"LHLO": _hello, **_SHARED}

#: How other protocols begin a line.  Browsers can be made to say the rest of a request to a mail server.
_FOREIGN = frozenset("GET POST PUT HEAD OPTIONS CONNECT DELETE PATCH TRACE PROPFIND PRI".split())


#: Nearly every MAIL and RCPT begins like this, and means the same to the functions above.
_USUAL = re.compile(
    rb"(MAIL FROM|RCPT TO):<([A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*)@([a-z0-9]+(?:[.-][a-z0-9]+)*)>"
)
_DATA = Plain("DATA")


@lru_cache(maxsize=4096)
def _usual(octets: bytes) -> tuple[type[Mail] | type[Rcpt], Address] | None:
    """A usual MAIL or RCPT without its parameters: senders of much mail, and recipients of it, come again."""
    found = _USUAL.fullmatch(octets)
    if found is None or len(found[2]) > MAX_LOCAL or len(found[3]) > MAX_LABEL:
        return None
    return (Mail if found[1] == b"MAIL FROM" else Rcpt), Address(found[2].decode("ascii"), found[3].decode("ascii"))


def read_usual(line: bytes) -> Any:
    """The event of a line as most are; None: `read_command` must tell."""
    if line == b"DATA":
        return _DATA
    end = line.find(b"> ") + 1
    known = _usual(line[:end] if end else line) if len(line) <= _MOST else None
    if known is None:
        return None
    kind, address = known
    if not end:
        return kind(address, {})
    tail = line[end:].decode("latin-1")
    if not (tail.isascii() and tail.isprintable()):
        return None
    parameters = read_parameters(tail.rstrip(" "))
    return None if parameters is None else kind(address, parameters)


def read_command(line: bytes, commands: Mapping[str, _Reader]) -> Any:
    """The event of one line (without its CRLF)."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return _wrong(500, "5.5.2", "Commands are ASCII or UTF-8")
    if "\n" in text or "\r" in text or "\0" in text:
        return _wrong(500, "5.5.2", "A command ends with CRLF and holds no CR, LF or NUL")
    verb, _, argument = text.partition(" ")
    verb = verb.upper()
    reader = commands.get(verb)
    if reader is not None:
        return reader(verb, argument)
    if verb in _FOREIGN or verb.startswith("SSH-"):
        return foreign()
    return _wrong(500, "5.5.1", "Command not recognized")


def foreign() -> Wrong:
    """It is no mail client: nothing that follows is looked at."""
    return _wrong(421, "4.7.0", "This is a mail server; closing", fatal=True, foreign=True)
