"""The contract of whatever counts what it does (floor 0)."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import Interface


class IFigures(Interface):
    """Add-on of a store: figures for administrators, at hand without reading anything."""

    def figures() -> Mapping[str, float]:
        """Since the start: "commits", "operations" that shared them, batches that were "refused"; and as it is now:
        "queue", rows that wait.  Any of them may be missing."""
