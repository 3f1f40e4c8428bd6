"""The sender filter (floor 4): mail of some addresses and domains is not taken, by the envelope's sender (S-045)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from ..parts import TEXTS, Kind, choice, option
from ..values import ACCEPT, Address, Transaction, Verdict
from ..wire.smtp_syntax import read_domain, read_path
from .policy import Policy

#: Entries of one list, and characters of one entry (RFC 5321 section 4.5.3.1).
MAX_ENTRIES = 1_000_000
MAX_ENTRY = 400
#: What the list keeps for the null path.
_NULL = "<>"


def _fold(address: Address) -> str:
    """The form in which addresses are compared: no case, wherever the domain is."""
    return f"{address.local.casefold()}@{address.domain}"


def read_entry(text: str) -> str:
    """One entry in its normal form.  Raises ValueError with a text that completes "KEY: ...".

    "bob@example.com"  that address, without case
    "example.com"      the domain and all below it
    "@example.com"     the domain alone
    ".example.com"     all below it alone
    "<>"               the null path, which reports have
    """
    written = text.strip()
    if written == _NULL:
        return _NULL
    local, at, name = written.rpartition("@")
    if local:
        path = read_path(f"<{written}>") if len(written) <= MAX_ENTRY else None
        if path is not None and path[0] is not None and path[0].domain and not path[1]:
            return _fold(path[0])
    else:
        mark = at or ("." if name.startswith(".") else "")
        domain = read_domain(name.removeprefix(".") if mark == "." else name)
        if domain is not None:
            return mark + domain
    raise ValueError(f'"{written[:MAX_ENTRY]}" must be NAME@DOMAIN, DOMAIN, @DOMAIN, .DOMAIN or <>')


def _read_entries(value: Any) -> tuple[str, ...]:
    """The entries of a list, each once."""
    texts = TEXTS.read(value)
    if len(texts) > MAX_ENTRIES:
        raise ValueError(f"more than {MAX_ENTRIES} entries")
    return tuple(dict.fromkeys(read_entry(text) for text in texts))


ENTRIES = Kind("list of addresses and domains", _read_entries)


class SenderList:
    """Entries in normal form; a sender is found in as many look-ups as its domain has labels, whatever their number."""

    __slots__ = ("_addresses", "_below", "_domains")

    def __init__(self, entries: Iterable[str]) -> None:
        self._addresses: set[str] = set()
        self._domains: dict[str, str] = {}
        self._below: dict[str, str] = {}
        for entry in entries:
            if entry == _NULL or entry.find("@") > 0:
                self._addresses.add(entry)
                continue
            name = entry.lstrip("@.")
            if not entry.startswith("."):
                self._domains.setdefault(name, entry)
            if not entry.startswith("@"):
                self._below.setdefault(name, entry)

    def match(self, sender: Address | None) -> str:
        """The entry that means this sender (None: the null path), or ""."""
        whole = _NULL if sender is None else _fold(sender)
        if whole in self._addresses:
            return whole
        if sender is None:
            return ""
        domain = sender.domain
        found = self._domains.get(domain)
        at = domain.find(".")
        while found is None and at >= 0:
            found = self._below.get(domain[at + 1 :])
            at = domain.find(".", at + 1)
        return found or ""


@frozen
class Options:
    """[filter.NAME], and the options of the part `senders`."""

    list: tuple[str, ...] = option(
        ENTRIES, (), '"bob@example.com", "example.com" with all below it, "@example.com" alone, "<>" the null path'
    )
    action: str = option(
        choice("reject", "tempfail", "drop"), "reject", "refuse for good, refuse for now, or take it and throw it away"
    )


class SenderFilter(Policy):
    """Refuses or drops what the list names."""

    def __init__(self, options: Options) -> None:
        self._list = SenderList(options.list)
        self._action = "discard" if options.action == "drop" else options.action

    def for_connection(self) -> SenderFilter:
        """Nothing is remembered of a connection."""
        return self

    async def on_sender(self, transaction: Transaction) -> Verdict:
        """The sender of the envelope is looked up."""
        entry = self._list.match(transaction.reverse_path)
        if not entry:
            return ACCEPT
        return Verdict(self._action, "Mail from this sender is not taken here", self._status(), rule=entry)

    def _status(self) -> str:
        return {"reject": "5.7.1", "tempfail": "4.7.1"}.get(self._action, "")


def build(options: Options, site: Any) -> SenderFilter:
    """The part."""
    return SenderFilter(options)
