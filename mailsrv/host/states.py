"""What was said of servers and services, written down for the next start (floor 6; S-017, S-025)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ..errors import ConfigError
from .config.edit import write_atomically

log = Logger()

#: The file in the data folder, and how long it may be.
FILE, MAX_OCTETS = "states.json", 2**20
STATES = ("running", "paused", "stopped")


@define
class Service:
    """One protocol.  `before`: how its servers were when it was stopped, or those running that it paused."""

    state: str = "running"
    before: dict[str, str] = field(factory=dict)


class States:
    """The file.  `said` is what was said of single servers by name; `services` is by protocol."""

    def __init__(self, site: Any, services: Mapping[str, Service]) -> None:
        self._site, self._services = site, services
        self.said: dict[str, str] = {}
        self._writing = DeferredLock()

    def _path(self) -> Path:
        found: Path = self._site.options.data / FILE
        return found

    def read(self) -> None:
        """Once, at the start.  A file that cannot be read keeps nobody from his mail: servers begin as the
        configuration says."""
        try:
            self._read(self._path())
        except (OSError, ValueError, RecursionError) as error:
            log.warn("states of servers are forgotten, {file}: {reason}", file=str(self._path()), reason=str(error))

    async def keep(self) -> str:
        """Write it down for the next start; gives a warning where that cannot be, else ""."""
        await self._writing.acquire()
        try:
            services = {name: {"state": one.state, "before": one.before} for name, one in self._services.items()}
            octets = json.dumps({"servers": self.said, "services": services}, indent=1).encode()
            await self._site.aside(write_atomically, self._path(), octets, 0o600)
        except ConfigError as error:
            log.warn("states of servers are not kept for the next start: {reason}", reason=str(error))
            return f"done, but not kept for the next start: {error}"
        finally:
            self._writing.release()
        return ""

    def _read(self, path: Path) -> None:
        """Raises OSError, ValueError."""
        if not path.exists():
            return
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_OCTETS))
        said = dict(_states(_table(found).get("servers")))
        services = {}
        for protocol, table in _table(_table(found).get("services")).items():
            one = Service(str(_table(table).get("state")), dict(_states(_table(table).get("before"))))
            if one.state not in STATES:
                raise ValueError(f"{protocol} has no such state")
            services[protocol] = one
        self.said.update(said)
        for protocol, one in services.items():
            if protocol in self._services:
                self._services[protocol].state, self._services[protocol].before = one.state, one.before


def _table(value: Any) -> Mapping[str, Any]:
    """Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("not what was written")
    return value


def _states(value: Any) -> Iterator[tuple[str, str]]:
    """Raises ValueError."""
    for name, state in _table(value).items():
        if state not in STATES:
            raise ValueError(f"{name} has no such state")
        yield name, state
