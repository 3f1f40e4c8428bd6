"""How people log in (floor 4): what each server offers, and whether a login would work."""

from __future__ import annotations

import os
from typing import Any

from ...auth.attempt import Attempt
from ...auth.names import login_address
from ...auth.offers import WORDS
from ...auth.outbound import rehearse
from ...errors import AuthenticationFailed, NotPermitted, Refused
from ...interfaces import ISecrets
from ...parts import did_you_mean, quoted
from ...values import AuthContext, ClientContext, Peer, TlsFacts
from .common import checked_password
from .table import operation

#: What both sides of a rehearsal take for the TLS connection between them.
_BINDINGS = {"tls-exporter": bytes(32), "tls-server-end-point": bytes(32)}
_TLS = TlsFacts("TLSv1.3", "", bindings=_BINDINGS)


@operation("auth.list")
async def list_auth(site: Any) -> dict[str, Any]:
    """Authenticators in the order they are asked, and what each server offers with and without TLS."""
    given = len(site.given_authenticators)
    names = ["(given by the program)"] * given + [choice.name for choice in site.options.authenticators]
    authenticators = [
        {
            "name": name,
            "schemes": sorted(authenticator.schemes),
            "secrets": sorted(authenticator.kinds) if ISecrets.providedBy(authenticator) else [],
        }
        for name, authenticator in zip(names, site.logins.authenticators)
    ]
    servers = [_offers(site, server) for server in site.options.servers.values()]
    return {"authenticators": authenticators, "servers": servers}


def _offers(site: Any, server: Any) -> dict[str, Any]:
    """What one server offers, and why not the rest."""
    offers = site.logins.offers(server)
    return {
        "server": server.id,
        "methods": sorted(server.authentication),
        "without_tls": list(offers.names(False)),
        "with_tls": list(offers.names(True)),
        "with_certificate": [name for name in offers.names(True, True) if name not in offers.names(True)],
        "not_offered": {name: WORDS[why] for name in offers.every() if (why := offers.refusal(name, True, True))},
    }


@operation("auth.test", secret=("password",), audit="always")
async def test(
    site: Any, address: str, password: str, server: str = "", mechanism: str = "PLAIN", tls: bool = True
) -> dict[str, Any]:
    """Would this login work?  A whole exchange is made, of both sides, without a network; nothing is counted."""
    options = site.options.servers.get(server or next(iter(site.options.servers)))
    if options is None:
        raise Refused(f'no virtual server "{server}"{did_you_mean(server, site.options.servers)}')
    offers, name = site.logins.offers(options), mechanism.upper()
    why = offers.refusal(name, tls, False)
    if why:
        known = f"; known: {quoted(offers.every())}" if why == "unknown" else ""
        raise Refused(f"{options.id} does not offer {name} {'with' if tls else 'without'} TLS: {WORDS[why]}{known}")
    peer = Peer("", tls=_TLS if tls else None)
    context = AuthContext(
        options.protocol, options.id, peer, options.hostname, options.login_domain or site.first_domain(),
        os.urandom, site.clock, site.logins.domains, site.logins.decoy,
    )  # fmt: skip
    door = site.logins.door(options, guarded=False)
    secret = checked_password(password)
    client = ClientContext(
        address, secret, token=secret, service=options.protocol, hostname=options.hostname,
        # A client that knows bindings and picks SCRAM without them says that it was made to: it would be refused.
        bindings=_BINDINGS if tls and ("SCRAM" in name) == name.endswith("-PLUS") else {},
        random=os.urandom, now=site.clock,
    )  # fmt: skip
    try:
        identity = await rehearse(Attempt(door, context), offers.get(name), client)
    except AuthenticationFailed as error:
        raise Refused(await _reason(site, context, address, offers.get(name), error), error.status) from None
    if identity is None:
        raise Refused(f"{name}: the client side gave up")
    return {"login": identity.authcid, "account": identity.account_id, "mechanism": name, "server": options.id}


async def _reason(site: Any, context: AuthContext, login: str, mechanism: Any, error: AuthenticationFailed) -> str:
    """Why it failed: for administrators, who may know more than a client."""
    try:
        address = login_address(login, context.login_domain, context.domains)
    except AuthenticationFailed:
        return f"{login!r} can be nobody's login name"
    stored = await site.directory.credentials(str(address))
    if stored is None:
        others = [choice.name for choice in site.options.authenticators if choice.use != "directory"]
        known = f", and {' and '.join(others)} did not let in a user of this name" if others else ""
        return f"no account of the directory has the name {address}{known}"
    if not stored.enabled:
        return f"{stored.login} is disabled; `mailsrv user enable {stored.login}` undoes it"
    if isinstance(error, NotPermitted):
        return f"the credentials are right, but {context.server} is not for {error.why}"
    if mechanism.scheme == "secret" and mechanism.secret not in stored.secrets:
        return (
            f"wrong password, or {stored.login} has no {mechanism.secret} secrets: they are made when the password is "
            f"set or next used with PLAIN, if auth.directory.keep and the account want them"
        )
    return f"wrong {'token' if mechanism.scheme == 'token' else 'password'} for {stored.login}"
