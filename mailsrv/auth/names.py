"""Login names as addresses (floor 2b; S-106, decisions 33)."""

from __future__ import annotations

from collections.abc import Mapping

from ..values import Address
from ..wire.sasl.names import LOGIN_OCTETS as LOGIN_OCTETS
from ..wire.sasl.names import NO_DOMAINS, meant


def login_address(login: str, login_domain: str = "", domains: Mapping[str, str] = NO_DOMAINS) -> Address:
    """The address that a login name means: ``user@domain``, ``DOMAIN\\user``, or ``user`` in `login_domain`.

    As in `wire.sasl.names.meant`; `domain` is "" when there is none to complete by.  Raises AuthenticationFailed for
    what can be nobody's name.
    """
    return Address(*meant(login, login_domain, domains))
