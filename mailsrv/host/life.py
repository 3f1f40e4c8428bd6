"""Starting, stopping and pausing servers and services, and what of that outlasts the process (floor 6; S-013,
S-017..S-027, decisions 23).

A service is all servers of one protocol.  It remembers how its servers were when it was stopped or paused: a start or
a resume gives each its state back, and a server that somebody had stopped stays stopped.  What was said by hand holds
after a restart of the process too.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from ..errors import Refused
from ..parts import did_you_mean
from .config.options import SERVER_TABLES
from .states import Service, States
from .vserver import VirtualServer

log = Logger()

#: Seconds between the two halves of a restart (S-026).
PAUSE = 0.5
BY_HAND = "by hand"


class Life:
    """One for a site.  Names of servers are "smtp/default", of services "smtp"."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self.services = {protocol: Service() for protocol in SERVER_TABLES}
        self._states = States(site, self.services)
        self._said = self._states.said
        # Those under way: anything that is said meanwhile ends them.
        self._restarts: dict[str, object] = {}

    # ------------------------------------------------------------ the start of the site

    def prepare(self) -> None:
        """Read what was said before this process; every server is told how it is to begin."""
        self._states.read()
        for server in self._site.servers.values():
            self.join(server)

    def join(self, server: VirtualServer) -> None:
        """A server that has not begun yet: how it is to (S-013)."""
        service = self.services[_protocol(server.name)]
        name = server.name
        own = self._said.get(name) or ("running" if server.automatic else "stopped")
        if service.state == "stopped":
            # One that is new starts with the others.
            service.before.setdefault(name, own)
            server.wanted = "stopped", _of_service(name, "stopped")
        elif service.state == "paused" and own == "running" and (name in service.before or name not in self._said):
            service.before[name] = "running"
            server.wanted = "paused", _of_service(name, "paused")
        elif own == "running":
            server.wanted = own, ""
        else:
            server.wanted = own, BY_HAND if name in self._said else 'startup = "manual"'

    def forget(self, name: str) -> None:
        """A server is gone; one of the same name is another."""
        self._restarts.pop(name, None)
        self._said.pop(name, None)
        self.services[_protocol(name)].before.pop(name, None)

    # ------------------------------------------------------------ one server

    async def start(self, name: str) -> str:
        """Start or resume; gives a warning or "".  Raises Refused when it cannot, with the reason (S-014)."""
        server = self._free(name)
        self._say(name, "running")
        # A socket that was closed a moment ago is closed by the reactor's next turn.
        await self._site.sleep(0)
        self._start(server, "running")
        warning = await self._states.keep()
        if server.state != "running":
            raise Refused(f"{name} stays stopped: {server.reason}")
        return warning

    async def pause(self, name: str) -> str:
        """Let nobody in; sessions and queue go on (S-019..S-022).  Raises Refused for one that is stopped."""
        server = self._free(name)
        if server.state == "stopped":
            raise Refused(f"{name} is stopped, which is more than paused; `mailsrv server start {name}` starts it")
        self._say(name, "paused")
        self._start(server, "paused", BY_HAND)
        return await self._states.keep()

    async def resume(self, name: str) -> str:
        """The end of a pause.  Raises Refused for a server that is stopped."""
        if self._free(name).state == "stopped":
            raise Refused(f"{name} is stopped, not paused; `mailsrv server start {name}` starts it")
        return await self.start(name)

    async def stop(self, name: str) -> str:
        """Accept nothing, send nothing (S-018); sessions end after the command under way, and are not waited for."""
        server, service = server_of(self._site, name), self.services[_protocol(name)]
        self._say(name, "stopped")
        if service.state == "stopped":
            service.before[name] = "stopped"
        _stop(server, BY_HAND)
        return await self._states.keep()

    async def restart(self, name: str) -> str:
        """Stop, wait for the sessions, a short pause, start (S-026).  Raises Refused as `start`, and when somebody has
        said otherwise meanwhile."""
        server = self._free(name)
        self._say(name, "running")
        mine = self._restarts[name] = object()
        try:
            await server.stop("it restarts")
            await self._site.sleep(PAUSE)
            if self._restarts.get(name) is not mine:
                raise Refused(f"{name} was given another order meanwhile; it is {server.state}")
        finally:
            if self._restarts.get(name) is mine:
                del self._restarts[name]
        return await self.start(name)

    # ------------------------------------------------------------ a service

    def protocols(self, name: str) -> list[str]:
        """Those that a name stands for: one, or "all".  Raises Refused."""
        if name not in ("all", *self.services):
            known = ", ".join(self.services)
            raise Refused(f"there is no service {name}{did_you_mean(name, self.services)}; there are {known} and all")
        return list(self.services) if name == "all" else [name]

    async def start_service(self, protocol: str) -> str:
        """Give every server the state it had when the service was stopped (S-025), or paused."""
        service = self.services[protocol]
        if service.state == "paused":
            return await self.resume_service(protocol)
        before, service.before, service.state = service.before, {}, "running"
        await self._site.sleep(0)
        for server in self._of(protocol):
            wanted = before.get(server.name, "")
            if wanted in ("running", "paused"):
                self._start(server, wanted, "" if wanted == "running" else BY_HAND)
            elif server.reason == _of_service(server.name, "stopped"):
                server.reason = BY_HAND if server.name in self._said else 'startup = "manual"'
        return await self._states.keep()

    async def stop_service(self, protocol: str) -> str:
        """Stop all of its servers, with all delivery of theirs (S-024), and remember which ran."""
        service = self.services[protocol]
        if service.state == "stopped":
            return ""
        paused, service.state = service.before, "stopped"
        service.before = {}
        for server in self._of(protocol):
            name = server.name
            restarts = name in self._restarts
            self._restarts.pop(name, None)
            state = "running" if restarts else server.state
            service.before[name] = paused.get(name, state) if state == "paused" else state
            if server.state != "stopped" or restarts:
                _stop(server, _of_service(name, "stopped"))
        return await self._states.keep()

    async def pause_service(self, protocol: str) -> str:
        """Pause those of its servers that run.  Raises Refused when it is stopped."""
        service = self.services[protocol]
        if service.state == "stopped":
            raise Refused(f"the {protocol} service is stopped; `mailsrv service start {protocol}` starts it")
        service.state = "paused"
        for server in self._of(protocol):
            if server.state == "running":
                service.before[server.name] = "running"
                self._start(server, "paused", _of_service(server.name, "paused"))
        return await self._states.keep()

    async def resume_service(self, protocol: str) -> str:
        """Let those go on that the pause of the service had paused (S-027).  Raises Refused when it is stopped."""
        service = self.services[protocol]
        if service.state == "stopped":
            raise Refused(f"the {protocol} service is stopped; `mailsrv service start {protocol}` starts it")
        before, service.before, service.state = service.before, {}, "running"
        for server in self._of(protocol):
            if server.name in before and server.state == "paused":
                self._start(server, "running")
        return await self._states.keep()

    async def restart_service(self, protocol: str) -> str:
        """Stop, wait for the sessions, a short pause, start (S-026)."""
        await self.stop_service(protocol)
        for server in self._of(protocol):
            await server.stopped()
        await self._site.sleep(PAUSE)
        return await self.start_service(protocol)

    # ------------------------------------------------------------ inside

    def _of(self, protocol: str) -> list[VirtualServer]:
        return [server for name, server in self._site.servers.items() if _protocol(name) == protocol]

    def _free(self, name: str) -> VirtualServer:
        """One whose service lets it run.  Raises Refused."""
        found, protocol = server_of(self._site, name), _protocol(name)
        if self.services[protocol].state == "stopped":
            raise Refused(f"the {protocol} service is stopped; `mailsrv service start {protocol}` starts it")
        return found

    def _start(self, server: VirtualServer, state: str, reason: str = "") -> None:
        if not server.running:
            # The site stops.
            return
        server.start(state, reason)
        log.info("{server} is {state} {reason}", server=server.name, state=server.state, reason=server.reason)
        _publish(server)
        if self._site.delivery is not None:
            # What was left alone while it was stopped.
            self._site.delivery.runner.wake()

    def _say(self, name: str, state: str) -> None:
        """Something was said of one server: it is no longer the service's to resume."""
        self._restarts.pop(name, None)
        self._said[name] = state
        self.services[_protocol(name)].before.pop(name, None)


def server_of(site: Any, name: str) -> VirtualServer:
    """Raises Refused."""
    found: VirtualServer | None = site.servers.get(name)
    if found is None:
        raise Refused(f"there is no server {name}{did_you_mean(name, site.servers)}")
    return found


def _stop(server: VirtualServer, reason: str) -> None:
    server.stop(reason)
    log.info("{server} is stopped: {reason}", server=server.name, reason=reason)
    _publish(server)


def _publish(server: VirtualServer) -> None:
    """Tell those who follow what happens."""
    server.services.publish("server.state", server=server.name, state=server.state, reason=server.reason)


def _protocol(name: str) -> str:
    return name.partition("/")[0]


def _of_service(name: str, state: str) -> str:
    return f"the {_protocol(name)} service is {state}"
