"""[metrics]: counters for Prometheus (floor 6; `host/metrics`)."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ...parts import Kind, option
from .values import BINDINGS, PATH, Binding, or_empty


def _read_places(value: Any) -> tuple[Binding, ...]:
    """Bindings of plain HTTP."""
    found: tuple[Binding, ...] = BINDINGS.read(value)
    for one in found:
        if one.tls or one.endpoint:
            raise ValueError(f'"{one}": here ADDRESS:PORT or unix:PATH; for TLS put a proxy before it')
    return found


@frozen
class MetricsTable:
    """[metrics]"""

    listen: tuple[Binding, ...] = option(
        Kind("list of ADDRESS:PORT | unix:PATH", _read_places), (),
        "where counters are shown at /metrics in Prometheus' text format; default: nowhere",
    )
    token_file: str = option(
        or_empty(PATH), "",
        "file with a token: who does not send it as Bearer is shown nothing; default: everybody is who can connect",
    )
