"""[control]: administration from elsewhere (floor 6; S-028)."""

from __future__ import annotations

from attrs import frozen

from ...parts import TEXT, option
from .values import Binding, bindings_but

_PLACES = bindings_but(
    lambda one: one.path or one.endpoint, "here ADDRESS:PORT; it always has TLS",
    "list of ADDRESS:PORT",
)


@frozen
class ControlTable:
    """[control]"""

    listen: tuple[Binding, ...] = option(
        _PLACES, (),
        "where commands from other machines are taken, with TLS and a token (S-028); default: nowhere",
    )
    certificate: str = option(TEXT, "default", "which [tls.NAME] is shown there")
