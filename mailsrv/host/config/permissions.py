"""Who may do what, as the configuration says it (floor 4): lists of patterns, and [role.NAME]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from ...auth.patterns import MAX_PATTERNS, read_pattern
from ...auth.roles import read_action, read_member, read_scope
from ...parts import TEXTS, Kind, option


def _texts(name: str, check: Callable[[str], Any], least: int = 0) -> Kind:
    """A list of texts that pass a check, kept as they are given."""

    def read(value: Any) -> tuple[str, ...]:
        """The texts."""
        given: tuple[str, ...] = TEXTS.read(value)
        if not least <= len(given) <= MAX_PATTERNS:
            raise ValueError(f"must have {least} to {MAX_PATTERNS} entries")
        for text in given:
            check(text)
        return given

    return Kind(name, read)


#: "*", "@example.org", "bob@example.org", each perhaps with "!" before it; the last one that matches holds.
USERS = _texts("list of patterns", read_pattern)
MEMBERS = _texts("list of patterns or unix:NAME", read_member)
ACTIONS = _texts("list of NOUN.VERB, NOUN.* or *", read_action)
SCOPE = _texts("list of site, domain/NAME, server/ID, user/ADDRESS", read_scope, 1)


@frozen
class RoleTable:
    """[role.NAME]: who may administer what, log in as others, send as others."""

    members: tuple[str, ...] = option(
        MEMBERS, (), 'logins as in `users` of a server, or "unix:NAME" (or number) of who comes to the control socket'
    )
    actions: tuple[str, ...] = option(
        ACTIONS, (), 'operations such as "session.list", "user.*", "*" for all; "login.as" and "send.as" must be named'
    )
    scope: tuple[str, ...] = option(SCOPE, ("site",), "to what: everything, or what belongs to these")
