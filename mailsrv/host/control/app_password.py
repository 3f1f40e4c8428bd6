"""App passwords (floor 4): made by the server for one program, shown once."""

from __future__ import annotations

import os
from typing import Any

from ...auth.app_passwords import new_app_password
from ...errors import Refused
from ...interfaces import IAppPasswords
from ...parts import quoted
from ...values import AppPassword
from ..sessions import end_user
from .common import account_of, shown
from .table import operation

#: What an app password can be good for; none named: all of them.
PROTOCOLS = ("smtp", "imap", "pop3")


def _holder(site: Any) -> Any:
    """The site's IAppPasswords.  Raises Refused."""
    if not IAppPasswords.providedBy(site.directory):
        raise Refused("this site's accounts have no app passwords")
    return site.directory


def _facts(one: AppPassword) -> dict[str, Any]:
    """One for JSON."""
    return {"name": one.name, "scopes": sorted(one.scopes), "created_at": one.created_at}


@operation("app_password.add")
async def add(site: Any, address: str, name: str, scopes: list[str]) -> dict[str, Any]:
    """Make an app password of that name, for these protocols (none: all); "password" is told this once."""
    unknown = set(scopes) - set(PROTOCOLS)
    if unknown:
        raise Refused(f"{quoted(sorted(unknown))}: an app password is good for some of {quoted(PROTOCOLS)}")
    facts = await account_of(site, address)
    password, digest = new_app_password(os.urandom)
    made = await _holder(site).add_app_password(facts.account_id, name, digest, frozenset(scopes))
    return {**_facts(made), "password": password}


@operation("app_password.list")
async def list_all(site: Any, address: str) -> list[dict[str, Any]]:
    """The app passwords of an account, without what nobody can tell any more."""
    facts = await account_of(site, address)
    return [_facts(one) for one in await _holder(site).app_passwords(facts.account_id)]


@operation("app_password.remove")
async def remove(site: Any, address: str, name: str) -> dict[str, Any]:
    """It opens nothing any more; all sessions of the account are ended, for nobody knows which it has opened."""
    facts = await account_of(site, address)
    await _holder(site).remove_app_password(facts.account_id, name)
    await end_user(site, facts.account_id, shown(facts.address))
    return {"name": name}
