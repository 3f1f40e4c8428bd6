"""Roles (floor 2b): who may administer what, log in as others, send as others.

Pure but for the names of UNIX users, which the system is asked for when roles are made.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable

from ..values import Identity
from .patterns import Patterns, fold, read_pattern

#: `Identity.mechanism` of who came through the control socket; its `authcid` is "unix:NAME".
UNIX = "UNIX"
#: The same of who came from another machine with a token; "role:NAME" is among its `scopes`.
TOKEN = "TOKEN"
_PREFIX = "unix:"
#: Actions that are no operation of administration: only who names them has them.
PERSONAL = frozenset({"login.as", "send.as"})

_UNIX_NAME = re.compile(r"[^\s:/!@*]{1,256}")
_ACTION = re.compile(r"\*|[a-z][a-z0-9_-]*\.(?:\*|[a-z][a-z0-9_-]*)")
_SERVER = re.compile(r"(?:smtp|imap|pop3)/[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def unix_login(uid: int) -> str:
    """``unix:NAME`` of a user of this machine, ``unix:UID`` when it has no name (or one that looks like a number)."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    return f"{_PREFIX}{name if _UNIX_NAME.fullmatch(name) and not name.isdigit() else uid}"


def unix_identity(uid: int) -> Identity:
    """Who came through the control socket."""
    return Identity(0, unix_login(uid), mechanism=UNIX)


def read_member(text: str) -> str:
    """One member as it was given: a pattern of logins, ``unix:NAME`` or ``unix:UID``.  Raises ValueError."""
    if text.startswith(_PREFIX):
        if not _UNIX_NAME.fullmatch(text[len(_PREFIX) :]):
            raise ValueError(f'"{text}" must be unix: and the name or number of a user of this machine')
    else:
        read_pattern(text)
    return text


def read_action(text: str) -> str:
    """One action: ``noun.verb``, ``noun.*`` or ``*``.  Raises ValueError."""
    if not _ACTION.fullmatch(text):
        raise ValueError(f'"{text}" must be NOUN.VERB, NOUN.* or *, for example "user.*" or "session.list"')
    return text


def read_scope(text: str) -> str:
    """``site``, ``domain/NAME``, ``server/PROTOCOL/NAME`` or ``user/ADDRESS``, folded.  Raises ValueError."""
    kind, _, name = text.partition("/")
    if text == "site" or (kind == "server" and _SERVER.fullmatch(name)):
        return text
    if kind == "domain" and "@" not in name:
        return f"domain/{read_pattern('@' + name)[0][1:]}"
    if kind == "user" and name[:1] not in ("", "@", "!", "*"):
        return f"user/{read_pattern(name)[0]}"
    raise ValueError(f'"{text}" must be site, domain/NAME, server/PROTOCOL/NAME or user/ADDRESS')


def _canonical(member: str) -> str:
    """``unix:NAME`` as `unix_login` says it, which is what identities carry."""
    name = member[len(_PREFIX) :]
    if name.isdigit():
        return unix_login(int(name)) if len(name) <= 10 else member
    try:
        return unix_login(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return member


class Role:
    """Members, what they may do, and to what.  Raises ValueError for what `read_member` and the others refuse."""

    __slots__ = ("_actions", "_logins", "_nouns", "_scope", "_site", "_unix", "name")

    def __init__(
        self, name: str, members: Iterable[str], actions: Iterable[str], scope: Iterable[str] = ("site",)
    ) -> None:
        members, actions = [read_member(one) for one in members], [read_action(one) for one in actions]
        self.name = name
        self._logins = Patterns(one for one in members if not one.startswith(_PREFIX))
        self._unix = frozenset(_canonical(one) for one in members if one.startswith(_PREFIX))
        self._actions = frozenset(actions)
        self._nouns = frozenset(one[:-2] for one in actions if one.endswith(".*"))
        self._scope = frozenset(map(read_scope, scope))
        self._site = "site" in self._scope

    def has(self, identity: Identity) -> bool:
        """Whether that identity is a member.  Only its credentials count, not whom it acts as."""
        if identity.mechanism == UNIX:
            return identity.authcid in self._unix
        if identity.mechanism == TOKEN:
            return f"role:{self.name}" in identity.scopes
        return not identity.authcid.startswith(_PREFIX) and self._logins.match(identity.authcid)

    def allows(self, action: str) -> bool:
        """``noun.verb`` is among the actions; "*" holds all operations of administration and nothing else."""
        if action in PERSONAL:
            return action in self._actions
        return "*" in self._actions or action in self._actions or action.partition(".")[0] in self._nouns

    def covers(self, resource: str) -> bool:
        """``domain/NAME``, ``server/PROTOCOL/NAME`` or ``user/ADDRESS`` is in the scope; "" is the whole site."""
        if self._site:
            return True
        kind, _, name = resource.partition("/")
        if kind == "user":
            folded = fold(name)
            _, at, domain = folded.rpartition("@")
            return f"user/{folded}" in self._scope or (bool(at) and f"domain/{domain}" in self._scope)
        return (f"{kind}/{fold('@' + name)[1:]}" if kind == "domain" else resource) in self._scope


def owners() -> Role:
    """The user that the server runs as, and root: who can read its files may as well give it orders."""
    return Role("owner", {unix_login(0), unix_login(os.geteuid())}, ("*",))
