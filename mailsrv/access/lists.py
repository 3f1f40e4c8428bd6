"""Lists of who is granted or denied (floor 4): access lists (S-035..S-037) and relay lists (S-138..S-140).

Addresses decide first.  Only a client that no address entry speaks of, on a list that holds a domain, is asked of the
name system (S-042): its names, confirmed forward, are compared with the domains.

A look-up that fails is no answer: whoever could be denied is not let in, in either mode, but may come again.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..errors import TryLater
from .entries import Entry
from .networks import Matcher, number_of
from .reverse import ReverseNames


@frozen
class Decision:
    """What a list says of one client.  `rule` tells it in words; `entry` decided, None: no entry speaks of the client.
    `failed`: a host name could not be looked up, and `allowed` is False."""

    allowed: bool
    rule: str
    entry: Entry | None = None
    failed: bool = False


class AccessList:
    """One named list.  `mode` is "only" (the entries are granted) or "except" (the entries are denied).

    `file` is where it stands, for messages.
    """

    def __init__(self, name: str, mode: str, entries: Sequence[Entry], file: str = "") -> None:
        self.name, self.mode, self.entries, self.file = name, mode, tuple(entries), file
        self._matcher = Matcher((e.network, at) for at, e in enumerate(self.entries) if e.network is not None)
        self._domains: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.domain:
                self._domains.setdefault(entry.domain, entry)
        # Decisions are made once: most of the time of one is its words.
        self._unlisted = Decision(mode == "except", f"{self._title}: not listed")
        self._decided: dict[int, Decision] = {}

    def adopt(self, other: AccessList) -> None:
        """Be that list from now on; whoever holds this one need not know."""
        for slot in ("mode", "entries", "_matcher", "_domains", "_unlisted", "_decided"):
            setattr(self, slot, getattr(other, slot))

    @property
    def asks_names(self) -> bool:
        """Whether it holds a domain, so that clients are looked up (S-042)."""
        return bool(self._domains)

    def by_address(self, host: str) -> Decision | None:
        """What the addresses alone say; None: the names must be asked.  `host` is IP text; "" is a UNIX socket, which
        is on no list."""
        found = number_of(host)
        if found is not None:
            at = self._matcher.find(*found)
            if at >= 0:
                decision = self._decided.get(at)
                if decision is None:
                    decision = self._decided[at] = self._listed(self.entries[at])
                return decision
            if self._domains:
                return None
        return self._unlisted

    async def decide(self, host: str, names: ReverseNames) -> Decision:
        """What the list says of that client."""
        decision = self.by_address(host)
        if decision is not None:
            return decision
        try:
            return await self._by_name(host, names)
        except TryLater:
            return Decision(False, f"{self._title}: the host name of {host} cannot be looked up now", failed=True)

    def by_name(self, name: str) -> Decision:
        """What the domains say of a client of that (confirmed) name."""
        entry = self._entry_of(name)
        return self._unlisted if entry is None else self._listed(entry, name)

    async def _by_name(self, host: str, names: ReverseNames) -> Decision:
        """Raises TryLater."""
        failure: TryLater | None = None
        for name in await names.pointers(host):
            # A name that matches nothing need not be confirmed.
            if self._entry_of(name) is None:
                continue
            try:
                if await names.confirmed(name, host):
                    return self.by_name(name)
            except TryLater as error:
                failure = error
        if failure is not None:
            raise failure
        return self._unlisted

    def _entry_of(self, name: str) -> Entry | None:
        """The entry of the longest domain that holds the name."""
        domain = name
        while domain:
            if domain in self._domains:
                return self._domains[domain]
            domain = domain.partition(".")[2]
        return None

    @property
    def _title(self) -> str:
        return f'list "{self.name}" ({self.mode})'

    def _listed(self, entry: Entry, name: str = "") -> Decision:
        place = f" at {self.file}:{entry.line}" if entry.line and self.file else ""
        known = f" holds {name}" if name else ""
        return Decision(self.mode == "only", f'{self._title}: "{entry.text}"{place}{known}', entry)
