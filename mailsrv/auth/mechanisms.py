"""The SASL mechanisms that the configuration can name (floor 2b); they live in `wire/sasl.py`."""

from __future__ import annotations

from typing import Any

from ..wire.sasl import Login, Plain


def build_plain(options: Any, site: Any) -> Plain:
    """PLAIN (RFC 4616)."""
    return Plain()


def build_login(options: Any, site: Any) -> Login:
    """LOGIN."""
    return Login()
