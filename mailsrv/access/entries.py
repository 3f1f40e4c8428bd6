"""The entries of access and relay lists (floor 4): a computer, a group of computers, a domain (S-037, S-140)."""

from __future__ import annotations

import re
from unicodedata import normalize

from attrs import field, frozen

from ..message.domains import a_labels, u_labels
from .networks import Network, parse_network

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
#: Longest entry; a domain has at most 253 characters.
MAX_ENTRY = 300


@frozen
class Entry:
    """One entry.  `text` is as somebody wrote it, in `line` of the file (0: not known); either `network` or `domain`
    (lower case, A-labels) is set.  `warning` says how it was understood where that is not what it looks like."""

    text: str
    network: Network | None = None
    domain: str = ""
    warning: str = field(default="", eq=False)
    line: int = field(default=0, eq=False)

    @property
    def kind(self) -> str:
        """computer, group or domain."""
        if self.network is None:
            return "domain"
        return "computer" if self.network.prefix == self.network.bits else "group"

    @property
    def normal(self) -> str:
        """The entry as it is understood."""
        return self.domain or str(self.network)


def parse_entry(text: str, line: int = 0) -> Entry:
    """One entry of a list.  Raises ValueError with what is wrong and how to write it."""
    written = text.strip()
    if len(written) > MAX_ENTRY:
        raise ValueError(f'"{written[:40]}..." is longer than {MAX_ENTRY} characters')
    if _looks_like_address(written):
        return _network_entry(written, line)
    return Entry(written, domain=_domain(written), line=line)


def _looks_like_address(text: str) -> bool:
    """A host name has no colon or slash, and does not end in a number (RFC 3696 section 2)."""
    return ":" in text or "/" in text or text.rpartition(".")[2].isdigit()


def _network_entry(text: str, line: int) -> Entry:
    if "/" not in text and ":" not in text and text.count(".") < 3 and text.replace(".", "").isdigit():
        padded = ".".join([*text.split("."), *["0"] * (3 - text.count("."))])
        given = 8 * (text.count(".") + 1)
        raise ValueError(f'"{text}" is a short address, which needs a mask: write {padded}/{given} or another')
    network, changed = parse_network(text)
    warning = f'"{text}" is taken as {network}' if changed else ""
    return Entry(text, network, warning=warning, line=line)


def _domain(text: str) -> str:
    """Lower case, A-labels, no final dot (RFC 5890)."""
    if text.startswith(("*.", ".")):
        raise ValueError(f'"{text}": write "{text.lstrip("*.")}"; names below a domain are meant with it')
    try:
        name = a_labels(normalize("NFKC", text).removesuffix(".").lower())
        if not text.isascii():
            u_labels(name)
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if len(name) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f'"{text}" is no address, network or domain, such as 192.0.2.7, 10.0.0.0/8 or eng.example.com')
    return name
