"""[metrics]: counters for Prometheus (floor 6; `host/metrics`)."""

from __future__ import annotations

from attrs import frozen

from ...parts import option
from .values import PATH, Binding, bindings_but, or_empty

_PLACES = bindings_but(
    lambda one: one.tls or one.endpoint, "here ADDRESS:PORT or unix:PATH; for TLS put a proxy before it",
    "list of ADDRESS:PORT | unix:PATH",
)


@frozen
class MetricsTable:
    """[metrics]"""

    listen: tuple[Binding, ...] = option(
        _PLACES, (),
        "where counters are shown at /metrics in Prometheus' text format; default: nowhere",
    )
    token_file: str = option(
        or_empty(PATH), "",
        "file with a token: who does not send it as Bearer is shown nothing; default: everybody is who can connect",
    )
