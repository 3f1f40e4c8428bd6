"""What another server offers (floor 2; RFC 5321 section 4.1.1.1), and its commands as octets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from ..errors import Refused
from ..message.domains import a_labels
from ..values import Address, Recipient, Reply
from .smtp_syntax import print_address

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_VALUE = re.compile(r"[!-<>-~]+")
_SIZE = re.compile(r"[0-9]{1,20}")


@frozen
class Features:
    """`names` maps the keywords of EHLO, in upper case, to their parameters; `host` is what the server calls itself.

    None at all after HELO.
    """

    host: str = ""
    names: Mapping[str, str] = field(factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def size(self) -> int:
        """Octets of the largest message it takes; 0: it does not tell (RFC 1870 section 4)."""
        text = self.names.get("SIZE", "")
        return int(text) if _SIZE.fullmatch(text) else 0

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms, in upper case."""
        return tuple(dict.fromkeys(self.names.get("AUTH", "").upper().split()))


def read_features(reply: Reply) -> Features:
    """What the answer to EHLO or LHLO says."""
    names: dict[str, str] = {}
    for line in reply.lines[1:]:
        word, _, rest = line.strip().partition(" ")
        word = word.upper()
        if word.startswith("AUTH="):
            # QUIRK: the form of an early draft, beside or instead of the other (old Exchange and its imitators).
            rest = f"{word[5:]} {rest}"
            word = "AUTH"
        names[word] = f"{names[word]} {rest}".strip() if word == "AUTH" and word in names else rest
    return Features(reply.lines[0].partition(" ")[0] if reply.lines else "", names)


def needs_utf8(address: Address | None) -> bool:
    """Whether no server without SMTPUTF8 can be told this address (RFC 6531 section 3.3)."""
    return address is not None and not address.local.isascii()


def print_path(address: Address | None, utf8: bool) -> str:
    """An address in angle brackets.  Raises Refused (5.1.3) for what would be more than an address."""
    if address is None:
        return "<>"
    path = print_address(address if utf8 else Address(address.local, a_labels(address.domain)))
    if _CONTROL.search(path) or " " in address.domain or ">" in address.domain:
        raise Refused("The address cannot be written", "5.1.3")
    return f"<{path}>"


def print_mail(path: str, words: list[str]) -> bytes:
    """MAIL with its parameters."""
    return f"MAIL FROM:{' '.join([path, *words])}\r\n".encode()


def print_rcpt(recipient: Recipient, features: Features, utf8: bool) -> bytes:
    """RCPT with what it has of DSN (RFC 3461 section 4) if the server knows that.  Raises Refused."""
    path = print_path(recipient.address, utf8)
    if not recipient.parameters or "DSN" not in features:
        return f"RCPT TO:{path}\r\n".encode()
    words = [path, *parameters(recipient.parameters, ("NOTIFY", "ORCPT"), utf8)]
    return f"RCPT TO:{' '.join(words)}\r\n".encode()


def parameters(given: Mapping[str, str], wanted: tuple[str, ...], utf8: bool = False) -> list[str]:
    """Those parameters that are wanted, as words of a command; what can be no value is left out."""
    found = []
    for name in wanted:
        value = given.get(name, "")
        if value and not value.isascii() and not utf8:
            # RFC 6533 section 3: the same address written in ASCII.
            value = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in value)
        if value and (_VALUE.fullmatch(value) or (utf8 and not value.isascii() and value.isprintable())):
            found.append(f"{name}={value}")
    return found
