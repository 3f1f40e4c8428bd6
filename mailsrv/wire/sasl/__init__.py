"""SASL mechanisms, both sides (floor 1): a module for each, those of a family together.

A mechanism is a generator (`ISaslMechanism`): it yields `Challenge` and is resumed with the client's octets, yields
`NeedSecrets` and is resumed with what is kept, yields `Verify` and is resumed with the Identity that an authenticator
made.  Base64 is the business of the protocol that carries the exchange; `decode` is the strict reader for all of
them.  NTLM is in `mailsrv.wire.ntlm`.
"""

from __future__ import annotations

from ...interfaces import ISaslMechanism
from .anonymous import Anonymous
from .base import NAME_OCTETS, PASSWORD_OCTETS, Steps, decode
from .cram_md5 import CramMd5
from .external import External
from .login import Login
from .oauthbearer import OAuthBearer
from .plain import Plain
from .scram import ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus
from .xoauth2 import XOAuth2

__all__ = [
    "NAME_OCTETS", "PASSWORD_OCTETS", "Anonymous", "CramMd5", "External", "Login", "OAuthBearer", "Plain", "ScramSha1",
    "ScramSha1Plus", "ScramSha256", "ScramSha256Plus", "Steps", "XOAuth2", "decode", "mechanisms",
]  # fmt: skip


def mechanisms() -> dict[str, ISaslMechanism]:
    """The mechanisms of this package by name, in the order they are offered: the strongest first."""
    every = (
        ScramSha256Plus(), ScramSha1Plus(), ScramSha256(), ScramSha1(), External(), OAuthBearer(), XOAuth2(),
        CramMd5(), Plain(), Login(), Anonymous(),
    )  # fmt: skip
    return {mechanism.name: mechanism for mechanism in every}
