"""Installed parts (floor 4)."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError
from ...parts import all_parts, fields_of, kind_of
from .table import operation


def installed() -> list[dict[str, Any]]:
    """Every part, with the kinds of its options."""
    found = []
    for part in all_parts():
        entry: dict[str, Any] = {"contract": part.contract.__name__, "name": part.name, "source": part.source}
        try:
            entry["options"] = {key: kind_of(part.options, key).name for key in fields_of(part.options)}
        except ConfigError as error:
            entry["error"] = error.text
        found.append(entry)
    return found


@operation("part.list")
async def list_parts(site: Any) -> list[dict[str, Any]]:
    """Every part that the configuration can name, with its options."""
    return installed()
