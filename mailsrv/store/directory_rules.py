"""How an address finds its owner, for every directory kept in a store (decisions 33, RFC 5321 section 4.5.1; pure).

A directory offers four look-ups with folded local parts (`Lookup`); the order of the attempts is here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Protocol

from ..values import Address, DomainFacts, Forward, Owner, Unknown

#: An alias that leads to an alias is followed this far; so loops end.
MAX_ALIAS_DEPTH = 10
#: After so many addresses no further alias is opened; it stays as it is, for the router.
MAX_ALIAS_TARGETS = 10_000
POSTMASTER = "postmaster"


class Lookup(Protocol):
    """What the rules ask of a directory; `local` is folded, `domain` in lower case."""

    def find_domain(self, name: str) -> DomainFacts | None:
        """The facts of a domain that is ours."""

    def find_account(self, local: str, domain: str) -> Owner | None:
        """The account with exactly this address."""

    def find_alias(self, local: str, domain: str) -> tuple[Address, ...] | None:
        """The targets of the alias with exactly this address."""

    def first_account(self, domain: str) -> Owner | None:
        """The account of the domain that was created first; "" asks among all domains."""


def fold_local(local: str) -> str:
    """A local part in the form in which those of local domains are compared: NFC without case."""
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


def address_key(address: Address) -> tuple[str, str]:
    """(domain, folded local part): the order of accounts and aliases, and the key to store them by."""
    return address.domain.lower(), fold_local(address.local)


def resolve(lookup: Lookup, address: Address) -> Owner | Forward | Unknown:
    """Whose an address of a domain of ours is: exact, without subaddress, postmaster, catch-all, in this order.

    An alias gives a Forward with its final targets (aliases of ours among them resolved on), which the router
    asks for in turn; one that leads nowhere but in a circle is Unknown, as is a foreign domain.
    """
    domain = lookup.find_domain(address.domain.lower())
    if domain is None:
        return Unknown()
    folded = fold_local(address.local)
    found = _exact(lookup, folded, domain.name)
    if found is None and domain.subaddress:
        base, separated, _ = folded.partition(domain.subaddress)
        found = _exact(lookup, base, domain.name) if separated and base else None
    if found is not None:
        return found
    if folded == POSTMASTER and domain.kind != "relay":
        owner = lookup.first_account(domain.name) or lookup.first_account("")
        if owner is not None:
            return owner
    return _catch_all(lookup, domain) if domain.catch_all else Unknown()


def login_account(lookup: Lookup, login: str) -> int | None:
    """The account of a login "local@domain": its address, or an alias that leads to one account only."""
    local, _, name = login.rpartition("@")
    domain = lookup.find_domain(name.lower()) if local else None
    if domain is None:
        return None
    owner = lookup.find_account(fold_local(local), domain.name)
    if owner is None:
        targets = _expand(lookup, fold_local(local), domain.name)
        if targets is None or len(targets) != 1:
            return None
        home = lookup.find_domain(targets[0].domain)
        owner = lookup.find_account(fold_local(targets[0].local), home.name) if home else None
    return None if owner is None else owner.account_id


def _spellings(folded: str, separator: str) -> Iterator[str]:
    """The local parts to try: the whole, then what stands before the subaddress."""
    yield folded
    if separator:
        base, found, _ = folded.partition(separator)
        if found and base:
            yield base


def _exact(lookup: Lookup, local: str, domain: str) -> Owner | Forward | Unknown | None:
    """The account or alias of this very address; None when there is none."""
    owner = lookup.find_account(local, domain)
    if owner is not None:
        return owner
    targets = _expand(lookup, local, domain)
    if targets is None:
        return None
    return Forward(targets) if targets else Unknown()


def _catch_all(lookup: Lookup, domain: DomainFacts) -> Owner | Forward | Unknown:
    """Where everything else of a domain goes: a local part of it, or a whole address."""
    local, found, name = domain.catch_all.rpartition("@")
    target = Address(local, name.lower()) if found else Address(name, domain.name)
    if lookup.find_domain(target.domain) is None:
        return Forward((target,))
    # Not `resolve`: a catch-all that names nobody must not catch itself.
    return _exact(lookup, fold_local(target.local), target.domain) or Unknown()


def _alias(lookup: Lookup, address: Address) -> tuple[Address, ...] | None:
    """The targets when `address` is an alias of ours (with or without subaddress), and no account."""
    domain = lookup.find_domain(address.domain)
    if domain is None:
        return None
    for local in _spellings(fold_local(address.local), domain.subaddress):
        if lookup.find_account(local, domain.name) is not None:
            return None
        targets = lookup.find_alias(local, domain.name)
        if targets is not None:
            return targets
    return None


def _expand(lookup: Lookup, local: str, domain: str) -> tuple[Address, ...] | None:
    """The final targets of an alias in order, each once; None when there is no such alias."""
    first = lookup.find_alias(local, domain)
    if first is None:
        return None
    seen = {(domain, local)}
    final: dict[tuple[str, str], Address] = {}
    level = list(first)
    for _ in range(MAX_ALIAS_DEPTH):
        below: list[Address] = []
        for target in level:
            ours = lookup.find_domain(target.domain) is not None
            key = (target.domain, fold_local(target.local) if ours else target.local)
            if key in seen:
                continue
            seen.add(key)
            further = _alias(lookup, target) if len(seen) <= MAX_ALIAS_TARGETS else None
            if further is None:
                final[key] = target
            else:
                below.extend(further)
        level = below
        if not level:
            break
    # What is deeper is not dropped: the router asks for it once more, and refuses it if it must.
    final.update((address_key(target), target) for target in level if address_key(target) not in seen)
    return tuple(final.values())
