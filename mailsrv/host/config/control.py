"""[control]: administration from elsewhere (floor 6; S-028)."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ...parts import TEXT, Kind, option
from .values import BINDINGS, Binding


def _read_places(value: Any) -> tuple[Binding, ...]:
    """Bindings that have TLS from the start, without saying so."""
    found: tuple[Binding, ...] = BINDINGS.read(value)
    for one in found:
        if one.path or one.endpoint:
            raise ValueError(f'"{one}": here ADDRESS:PORT; it always has TLS')
    return found


@frozen
class ControlTable:
    """[control]"""

    listen: tuple[Binding, ...] = option(
        Kind("list of ADDRESS:PORT", _read_places), (),
        "where commands from other machines are taken, with TLS and a token (S-028); default: nowhere",
    )
    certificate: str = option(TEXT, "default", "which [tls.NAME] is shown there")
