"""Tokens for administration from elsewhere (floor 4; S-028)."""

from __future__ import annotations

from typing import Any

from ...errors import Refused
from ...parts import DURATION, did_you_mean
from ..audit import moment
from .roles import BUILT_IN
from .table import Asker, operation


def _shown(site: Any, token: Any) -> dict[str, Any]:
    """One token for JSON, without itself."""
    return {
        "name": token.name, "role": token.role, "created": moment(token.created), "by": token.by,
        "expires": moment(token.expires) if token.expires else "", "good": site.tokens.good(token),
    }  # fmt: skip


@operation("token.list")
async def list_tokens(site: Any) -> list[dict[str, Any]]:
    """The tokens of the site."""
    return [_shown(site, token) for token in site.tokens.all()]


@operation("token.create")
async def create(site: Any, name: str, role: str, asker: Asker, expires: str = "") -> dict[str, Any]:
    """A new token for a role: administrator, operator, auditor, or one of the configuration.  It is told this once."""
    roles = [*BUILT_IN, *site.options.roles]
    if role not in roles:
        raise Refused(f"there is no role {role[:100]}{did_you_mean(role, roles)}; there are {', '.join(roles)}")
    try:
        seconds = DURATION.read(expires) if expires else 0.0
    except ValueError as error:
        raise Refused(f"expires: {error}") from None
    text = site.tokens.create(name, role, seconds, asker.who)
    (made,) = (token for token in site.tokens.all() if token.name == name)
    return {**_shown(site, made), "token": text}


@operation("token.revoke")
async def revoke(site: Any, name: str) -> dict[str, Any]:
    """End a token, and the connections that were made with it."""
    return _shown(site, site.tokens.revoke(name))
