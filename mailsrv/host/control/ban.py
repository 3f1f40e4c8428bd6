"""Bans: who is kept from guessing passwords (floor 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict

from ...auth.patterns import fold
from ...errors import Refused
from .table import of_address, operation, whole_site

#: Longest ban by hand: 30 days.
MAX_MINUTES = 30 * 24 * 60
#: So many bans of a kind are listed.
MAX_LISTED = 1000


def _of_subject(arguments: Mapping[str, Any]) -> str:
    """The account, for those who look after it; an address of the network concerns the site."""
    return of_address(arguments, "subject") if "@" in arguments["subject"] else whole_site(arguments)


@operation("ban.list", running=True)
async def list_bans(site: Any) -> list[dict[str, Any]]:
    """Banned addresses, then slowed accounts: the last 1000 of each, the newest at the end."""
    return [asdict(ban) for ban in site.guard.bans(MAX_LISTED)]


@operation("ban.lift", running=True, resource=_of_subject)
async def lift(site: Any, subject: str) -> dict[str, Any]:
    """End the ban of an address, network or account and forget its failed logins."""
    wanted = fold(subject.strip())
    if not site.guard.lift(wanted):
        raise Refused(f"{wanted!r} is not banned; `mailsrv ban list` tells who is")
    return {"subject": wanted}


@operation("ban.add", running=True, resource=whole_site)
async def add(site: Any, address: str, minutes: int) -> dict[str, Any]:
    """Ban an address (of IPv6: its /64) until that many minutes from now, or the next start."""
    if not 1 <= minutes <= MAX_MINUTES:
        raise Refused(f"minutes must be 1 to {MAX_MINUTES}")
    return asdict(site.guard.ban(address.strip(), minutes * 60.0))
