"""Long work of the host, in slices (floor 6)."""

from __future__ import annotations

from typing import Any

#: Seconds of work between two turns of the reactor.
SLICE = 0.005


class Slices:
    """Work in slices: `breathe` lets others have their turn when this one has had its share."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._began = site.monotonic()

    async def breathe(self) -> None:
        """Between two small pieces of work."""
        if self._site.monotonic() - self._began > SLICE:
            await self._site.sleep(0)
            self._began = self._site.monotonic()
