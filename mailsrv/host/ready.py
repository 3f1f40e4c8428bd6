"""`ready.json` in the data folder: who listens where, for scripts and tests (floor 6; decisions 27).

It is there once the site accepts, follows what starts, stops and moves while it runs, and goes at the end.  Mail can be
read from a full disk: that this file cannot be written keeps nobody from it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import ConfigError
from .config.edit import write_atomically

log = Logger()


class Ready:
    """One for a site."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._begun = self._stale = False
        self._writing: Deferred[None] | None = None

    @property
    def _path(self) -> Path:
        path: Path = self._site.options.data / "ready.json"
        return path

    async def begin(self) -> None:
        """The site accepts: write it, and follow from now on."""
        # A server that was killed has left it.
        self._path.unlink(missing_ok=True)
        self._begun = True
        self.tell()
        if self._writing is not None:
            await self._writing

    def tell(self) -> None:
        """What it says has changed: it is written soon, and once for much that changes together."""
        self._stale = True
        if self._begun and self._writing is None:
            self._writing = Deferred.fromCoroutine(self._write())
            self._writing.addErrback(lambda failure: log.failure("ready.json is not written", failure=failure))

    async def end(self) -> None:
        """The site ends."""
        self._begun = False
        if self._writing is not None:
            await self._writing
        self._path.unlink(missing_ok=True)

    async def _write(self) -> None:
        try:
            while self._stale and self._begun:
                await self._site.sleep(0)
                self._stale = False
                octets = json.dumps(facts_of(self._site), indent=1).encode()
                await self._site.aside(_replace, self._path, octets)
        finally:
            self._writing = None


def facts_of(site: Any) -> dict[str, Any]:
    """What it says."""
    return {
        "pid": os.getpid(),
        "control": str(site.options.control),
        "servers": {
            name: {"state": server.state, "reason": server.reason, "addresses": server.addresses()}
            for name, server in site.servers.items()
        },
        "metrics": site.metrics.addresses(),
        "remote": site.remote.addresses(),
    }


def _replace(path: Path, octets: bytes) -> None:
    """Blocks.  What is not true any more must not stay, and its room may be what is missing."""
    try:
        write_atomically(path, octets, 0o600)
    except ConfigError:
        try:
            path.unlink(missing_ok=True)
            write_atomically(path, octets, 0o600)
        except (ConfigError, OSError) as error:
            log.error("running, but not told in a file: {reason}", reason=str(error))
