"""Routing to local accounts: aliases, lists, loops, and that nobody of a list is left out in silence."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface import implementer

from mailsrv.errors import NoSuchRecipient, Refused, RelayDenied
from mailsrv.interfaces import IDirectory
from mailsrv.testing.loop import Loop
from mailsrv.transfer.router import MAX_DEPTH, MAX_TARGETS, LocalRouter
from mailsrv.values import Address, DomainFacts, Forward, Owner, Transaction, Unknown

DOMAIN = "example.org"


@implementer(IDirectory)
class Plain:
    """A directory of somebody's own, which opens no alias by itself."""

    def __init__(self, **entries: Any) -> None:
        self.entries = entries
        self.learnt: list[str] = []

    async def domain(self, name: str) -> DomainFacts | None:
        return DomainFacts(name) if name == DOMAIN else None

    async def resolve(self, address: Address) -> Any:
        return self.entries.get(address.local, Unknown())


def to(*locals_: str) -> Forward:
    return Forward(tuple(Address(*local.split("@")) if "@" in local else Address(local, DOMAIN) for local in locals_))


def owners(directory: Plain, local: str, domain: str = DOMAIN) -> list[int]:
    router = LocalRouter(directory, lambda: DOMAIN)
    route = Loop().run(router.route(Address(local, domain), Transaction("smtp/default", None)))  # type: ignore[arg-type]
    return [owner.account_id for owner in route.placements]


def test_an_account_an_alias_and_a_list_whose_members_count_once() -> None:
    directory = Plain(a=Owner(1), b=Owner(2), c=to("a"), all=to("a", "b", "c", "a"))
    assert owners(directory, "a") == [1]
    assert owners(directory, "c") == [1]
    assert owners(directory, "all") == [1, 2]
    assert owners(directory, "a", "") == [1]


def test_nobody_and_other_domains_are_refused() -> None:
    with pytest.raises(NoSuchRecipient):
        owners(Plain(), "x")
    with pytest.raises(RelayDenied):
        owners(Plain(x=Owner(1)), "x", "elsewhere.example")


def test_an_alias_that_leads_elsewhere_or_to_nobody_is_refused_as_a_whole() -> None:
    """What cannot go on is never accepted: not even for the members that could have it."""
    with pytest.raises(Refused, match="another server"):
        owners(Plain(a=Owner(1), out=to("a", "x@elsewhere.example")), "out")
    with pytest.raises(NoSuchRecipient):
        owners(Plain(a=Owner(1), dead=to("a", "gone")), "dead")


@pytest.mark.parametrize("entries", [{"a": to("a")}, {"a": to("b"), "b": to("a")}, {"a": Forward(())}])
def test_an_alias_that_leads_to_nobody_but_itself_is_refused(entries: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        owners(Plain(**entries), "a")


def test_a_chain_may_be_so_long_and_no_longer() -> None:
    chain: dict[str, Any] = {f"n{k}": to(f"n{k + 1}") for k in range(MAX_DEPTH)}
    chain[f"n{MAX_DEPTH}"] = Owner(7)
    assert owners(Plain(**chain), "n0") == [7]
    with pytest.raises(Refused) as refused:
        owners(Plain(**chain, start=to("n0")), "start")
    assert refused.value.status == "5.4.6"


def test_a_list_of_too_many_is_refused_and_never_cut_short() -> None:
    members = {f"m{k}": Owner(k) for k in range(MAX_TARGETS + 1)}
    assert len(owners(Plain(**members, most=to(*list(members)[:-1])), "most")) == MAX_TARGETS
    with pytest.raises(Refused) as refused:
        owners(Plain(**members, all=to(*members)), "all")
    assert refused.value.status == "5.2.4"
