"""Access and relay lists of a bed, from words of its settings.

    smtp_access, imap_access, pop3_access    "only:192.0.2.0/24,eng.example.com", or "except:..."
    relay_list                               the same, for SMTP
    reverse_lookup                           True: clients are looked up (S-090)
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..access.entries import parse_entry
from ..access.filter import AccessFilter
from ..access.lists import AccessList
from ..access.relay import RelayList
from ..access.reverse import ClientCheck, ReverseNames
from .dns import NameTable


def list_of(text: str, name: str = "list") -> AccessList:
    """The list that "MODE:ENTRY,ENTRY" stands for; the entries stand in the lines 1, 2 ... of FILE."""
    mode, _, entries = text.partition(":")
    written = [entry for entry in entries.split(",") if entry]
    return AccessList(name, mode, [parse_entry(entry, line) for line, entry in enumerate(written, 1)], "FILE")


def apply_lists(protocol: str, settings: dict[str, Any], table: NameTable, clock: Any) -> dict[str, RelayList]:
    """Replace the words in `settings` by what services hold; the relay lists by server."""
    names = ReverseNames(table)
    access = {one: settings.pop(f"{one}_access", "") for one in ("smtp", "imap", "pop3")}.get(protocol)
    if access:
        settings["access"] = AccessFilter(list_of(access), names, lambda what: None)
    if settings.pop("reverse_lookup", False):
        settings["reverse"] = partial(ClientCheck, names, clock)
    relay = settings.pop("relay_list", "")
    return {f"{protocol}/default": RelayList(list_of(relay), names, clock)} if relay else {}
