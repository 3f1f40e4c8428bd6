"""What somebody who has logged in may still do (floor 5; S-104): a connection may last for days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from ..errors import AccessDenied, TryLater
from ..values import Identity

if TYPE_CHECKING:
    from .smtp import SmtpSession


async def entitled(session: SmtpSession, identity: Identity) -> Identity:
    """Who has logged in, with what has been taken away from the account since.

    Raises AccessDenied, TryLater.
    """
    door = session.services.door
    denied = identity.denied
    if identity.account_id:
        facts = await door.directory.account(identity.account_id)
        if facts is None or not facts.enabled:
            raise AccessDenied()
        denied |= facts.denied
    if identity.authzid:
        stored = await door.directory.credentials(identity.authcid)
        if stored is not None:
            if not stored.enabled:
                raise AccessDenied()
            denied |= stored.denied
    if denied != identity.denied:
        identity = evolve(identity, denied=denied)
    verdict = await door.authorizer.permits(identity, "server.use", door.server)
    if verdict.action != "accept":
        raise TryLater(verdict.text or None) if verdict.action == "tempfail" else AccessDenied(verdict.text or None)
    return identity
