"""Logging in at other servers (floor 2b): which mechanism, and the talk itself (S-108..S-112)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from attrs import field, frozen

from ..errors import AuthenticationFailed, Refused
from ..interfaces import IClientMechanism, ISaslMechanism
from ..values import ClientContext, Identity
from .attempt import Attempt

#: What a route or server can be set to, besides the name of a mechanism (S-108..S-110).
METHODS = ("anonymous", "basic", "ntlm", "sasl")


@frozen
class OutboundLogin:
    """How to log in at one other server: `method` is one of METHODS, or the name of one mechanism ("SCRAM-SHA-256").

    `plain`: a password may be shown without TLS.  `domain` is the Windows domain of NTLM.
    """

    method: str = "anonymous"
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    domain: str = ""
    plain: bool = False


def choose(
    mechanisms: Iterable[ISaslMechanism],
    offered: Collection[str],
    login: OutboundLogin,
    bindings: Collection[str] = (),
    *,
    secure: bool,
) -> Any:
    """The mechanism (an IClientMechanism) to use at a server that offers these names; None: send as nobody (S-108).

    `mechanisms` in the order they are preferred; `bindings` are the channel bindings that this connection has.
    Raises Refused with what is missing: a message whose route asks for a login never goes out without one.
    """
    if login.method == "anonymous":
        return None
    names = {name.upper() for name in offered}
    found = [m for m in mechanisms if IClientMechanism.providedBy(m) and _fits(m, login)]
    usable = [m for m in found if m.name in names and (secure or login.plain or not m.plaintext)]
    for mechanism in usable:
        if mechanism.channel != "binding" or (secure and bindings):
            return mechanism
    if any(m.name in names for m in found) and not usable:
        raise Refused("The server takes passwords in clear text only, and there is no TLS", "5.7.11")
    shown = ", ".join(sorted(names)) or "nothing"
    raise Refused(f"The server offers no way to log in by {login.method}; it offers {shown}", "5.7.4")


def _fits(mechanism: ISaslMechanism, login: OutboundLogin) -> bool:
    """Whether a mechanism is of the method, and what it needs is there."""
    if login.method not in METHODS:
        return bool(mechanism.name == login.method.upper())
    needed = login.token if mechanism.scheme == "token" else login.password
    if login.method != "sasl":
        return bool(mechanism.method == login.method and needed)
    # "Any SASL" means the strongest that works, down to a password under TLS.
    return bool(mechanism.scheme in ("secret", "password", "token") and needed)


async def rehearse(attempt: Attempt, mechanism: Any, context: ClientContext) -> Identity | None:
    """Both sides of a mechanism against one another, for `auth test`.

    Raises AuthenticationFailed, TryLater; Refused for a mechanism without a client side.
    """
    if not IClientMechanism.providedBy(mechanism):
        raise Refused(f"{mechanism.name} has no client side here")
    talk = mechanism.respond(context)
    said = next(talk)

    async def ask(challenge: bytes) -> bytes | None:
        """What the client says to a challenge; it gives up when it has nothing more to say."""
        nonlocal said
        try:
            said = talk.send(challenge)
        except StopIteration:
            return None
        return said.octets or b""

    identity = await attempt.run(mechanism, said.octets, ask)
    if identity is not None and not said.final:
        raise AuthenticationFailed("The server did not prove itself")
    return identity
