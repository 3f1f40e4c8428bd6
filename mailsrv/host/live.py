"""Other options for a running site (floor 6; S-015, S-016, S-179, S-180): all of them at once, or none.

First everything is made that can fail: authenticators, policies, routes with their logins, certificates, bindings.
Then it takes the place of what there was, between two turns of the reactor.  Connections that come then go by the new
options; those that are open keep the settings they began with, while rights, access and relay lists, local domains and
limits of accounts hold for them too.  Mail in the queue goes by the new options from its next attempt.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import DeferredLock
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from ..errors import ConfigError, MailError
from ..parts import dotted
from ..serve.session import Services
from .certificates import certificates_of
from .config.derive import domain_facts, limits_of, site_limits
from .config.explain import AT_START, waits
from .config.options import SiteOptions
from .config.show import Path, flatten
from .config.values import Binding
from .formats import Formats
from .recipients import Recipients
from .wiring import settings_of

log = Logger()

#: Keys in a line of the log: a server that comes has sixty.
MAX_TOLD = 10
#: Seconds that look-ups of before may still take.
LEAVING = 60.0


def changed(old: SiteOptions, new: SiteOptions) -> list[Path]:
    """The keys whose values differ, also those that only one of them has."""
    before, after = ({shown.path: shown.value for shown in flatten(one)} for one in (old, new))
    return [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]


def _sorted(old: SiteOptions, new: SiteOptions) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The same: those that can be in effect now, and those that wait for the next start.  There may be thousands."""
    keys = changed(old, new)
    return tuple(key for key in keys if not waits(key)), tuple(key for key in keys if waits(key))


@frozen
class Change:
    """Keys that changed: in effect now, and those that wait for the next start."""

    applied: tuple[Path, ...] = ()
    restart: tuple[Path, ...] = ()


def in_effect(old: SiteOptions, new: SiteOptions) -> SiteOptions:
    """The new options, but for what waits for the next start."""
    kept = {key[1]: getattr(old.site, key[1]) for key in AT_START if key[0] == "site"}
    return evolve(new, site=evolve(new.site, **kept), store=old.store)


def _with_listen(new: SiteOptions, old: SiteOptions, servers: set[str]) -> SiteOptions:
    """The new options, but for bindings that could not be had now."""
    if not servers:
        return new
    kept = {name: evolve(new.servers[name], listen=old.servers[name].listen) for name in servers}  # type: ignore[attr-defined, call-arg]
    return evolve(new, servers={**new.servers, **kept})


class Live:
    """One for a site.  `also` are told last, in their order: functions of (options before, options now) that give what
    can be awaited."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._lock = DeferredLock()
        #: The call that ends it -> what look-ups of before still use.
        self._leaving: dict[Any, Recipients] = {}
        self.also: list[Callable[[SiteOptions, SiteOptions], Any]] = []

    async def apply(self, new: SiteOptions) -> Change:
        """Go by these options from now on.  Raises ConfigError, StoreUnavailable; then nothing has changed."""
        await self._lock.acquire()
        try:
            old = self._site.options
            applied, restart = await self._site.aside(_sorted, old, new)
            if not applied:
                await self._tell(old, old)
                return Change((), restart)
            later = await self._take_up(old, in_effect(old, new))
            late = tuple(key for key in applied if key[-1] == "listen" and "/".join(key[:2]) in later)
            applied = tuple(key for key in applied if key not in late) if late else applied
            shown = ", ".join(map(dotted, applied[:MAX_TOLD])) + " ..." * (len(applied) > MAX_TOLD)
            log.info("{count} options changed: {keys}", count=len(applied), keys=shown)
            self._site.events.publish("config.applied", keys=[dotted(key) for key in applied[:100]])
            return Change(applied, restart + late)
        finally:
            self._lock.release()

    def end(self) -> None:
        """The site ends: nothing of before is waited for."""
        leaving, self._leaving = self._leaving, {}
        for call, before in leaving.items():
            call.cancel()
            before.stop()

    async def _take_up(self, old: SiteOptions, new: SiteOptions) -> set[str]:
        """All of it.  Gives the servers whose bindings wait for the next start."""
        site = self._site
        lists = await site.access.prepare(new)
        undo: list[Callable[[], None]] = [partial(setattr, site, "options", old)]
        site.options = new
        done = False
        try:
            undo.append(lists())
            undo.append(site.logins.swap(new))
            delivery = await site.delivery.prepare(new) if site.delivery is not None else None
            certificates = certificates_of(site, site.certificates)
            recipients = Recipients(site, delivery.lanes if delivery is not None else {})
            formats = Formats(new, site.aside, site.clock)
            services = await site.wiring.services(formats, recipients)
            later = await Bindings(site).move(old, new)
            await self._keep(formats, old, new)
            new = site.options = _with_listen(new, old, later)
            done = True
        finally:
            if not done:
                for step in reversed(undo):
                    step()
        site.certificates = certificates
        if delivery is not None:
            site.delivery.adopt(delivery)
        self._finish(new, recipients, services)
        await self._tell(old, new)
        site.ready.tell()
        return later

    async def _tell(self, old: SiteOptions, new: SiteOptions) -> None:
        """The others; those that could not listen try again, although nothing has changed."""
        for one in self.also:
            await one(old, new)

    async def _keep(self, formats: Formats, old: SiteOptions, new: SiteOptions) -> None:
        """What is written down, or nothing has moved."""
        try:
            formats.keep()
            await self._site.apply_domains(domain_facts(new))
        except MailError:
            await Bindings(self._site).move(new, old)
            raise

    def _finish(self, new: SiteOptions, recipients: Recipients, services: Mapping[str, Services]) -> None:
        """What cannot fail."""
        site = self._site
        site.logins.settle(new)
        site.allowances.adopt(site_limits(new))
        site.measuring.adopt(services.values())
        before, site.recipients = site.recipients, recipients
        if before.asks:
            call = site.reactor.callLater(LEAVING, lambda: self._leaving.pop(call).stop())
            self._leaving[call] = before
        for name in [name for name in site.servers if name not in new.servers]:
            site.remove_server(name)
            site.wiring.forget(name)
        for name, options in new.servers.items():
            server = site.servers.get(name)
            if server is None:
                site.add_server(options, services[name])
            else:
                server.adopt(limits_of(options, new), **settings_of(site, options))
                server.equip(services[name])


class Bindings:
    """The bindings of a site's servers on their way from some options to others."""

    def __init__(self, site: Any) -> None:
        self._site = site

    async def move(self, old: SiteOptions, new: SiteOptions) -> set[str]:
        """First close what another server is to have, then open what is new.  All else is swapped binding by binding,
        so that nothing is let go that could not be had again (`places.py`).

        Gives the servers whose bindings wait for the next start, because this process may not have them any more
        (decisions 22).  Raises ConfigError when one cannot be had; then all are as they were.
        """
        later: set[str] = set()
        wanted = {name: self._of(new, name) for name in self._site.servers}
        moving = {name: pair for name, pair in ((n, (self._of(old, n), w)) for n, w in wanted.items())
                  if pair[0] != pair[1]}  # fmt: skip
        try:
            for name, (had, want) in moving.items():
                others = [one for other, (_, theirs) in moving.items() if other != name for one in theirs]
                if any(one.clashes(other) for one in had for other in others):
                    await self._site.servers[name].rebind([one for one in had if one in want])
            for name, (had, want) in moving.items():
                try:
                    await self._site.servers[name].rebind(want)
                except ConfigError as error:
                    if not forbidden(error):
                        raise
                    later.add(name)
                    await self._site.servers[name].rebind(had)
        except ConfigError as error:
            await self._back({name: had for name, (had, _) in moving.items()})
            key = f"{dotted(tuple(name.split('/')))}.listen"
            raise ConfigError(error.text, file=str(new.file or ""), key=key) from error
        return later

    async def _back(self, had: Mapping[str, Sequence[Binding]]) -> None:
        for name, bindings in had.items():
            try:
                await self._site.servers[name].rebind(bindings)
            except ConfigError as error:
                log.error("{server} has lost a binding: {reason}", server=name, reason=error.text)

    def _of(self, options: SiteOptions, name: str) -> list[Binding]:
        server = options.servers.get(name)
        return [] if server is None else [one.below(self._site.base) for one in server.listen]  # type: ignore[attr-defined]


def forbidden(error: ConfigError) -> bool:
    """Whether a binding could not be had because the rights for it were given up."""
    cause = error.__cause__
    cause = cause.socketError if isinstance(cause, CannotListenError) else cause
    return getattr(cause, "errno", None) == errno.EACCES
