"""The roles that every site has for its tokens (floor 4; S-028).

A table [role.NAME] of the same name takes the place of one.
"""

from __future__ import annotations

from ...auth.roles import Role
from .table import OPERATIONS, TRYING, Operation

#: Role -> what it may do, in words.
BUILT_IN = {
    "administrator": "everything",
    "operator": "everything but the configuration, passwords of accounts, tokens, and reading mail",
    "auditor": "looking: lists, states, events and the audit log",
}
#: Nouns whose operations change the configuration, who can log in, or the roles; looking is free.
_CLOSED = frozenset({"config", "access", "token", "app_password"})
#: Other operations that do, or that show the mail of users.
_NOT_FOR_OPERATORS = frozenset({
    "domain.add", "domain.remove", "server.create", "server.delete", "certificate.assign", "user.password", "auth.test",
    "mailbox.read", "mailbox.messages", "mailbox.grant", "session.transcript",
})


def _operates(operation: Operation) -> bool:
    """Whether it is one for operators."""
    noun, _, verb = operation.name.partition(".")
    if operation.name in _NOT_FOR_OPERATORS:
        return False
    return noun not in _CLOSED or operation.looks or verb in TRYING


def built_in_roles() -> list[Role]:
    """Those of `BUILT_IN`; the nouns must have been imported."""
    every = OPERATIONS.values()
    return [
        Role("administrator", (), ("*",)),
        Role("operator", (), [one.name for one in every if _operates(one)]),
        Role("auditor", (), [one.name for one in every if one.looks]),
    ]
