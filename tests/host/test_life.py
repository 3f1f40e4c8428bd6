"""Orders that cross each other, and servers that come while their service does not run (S-013, S-025, S-026)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from mailsrv.errors import Refused
from mailsrv.host.life import PAUSE, Life
from mailsrv.host.vserver import VirtualServer
from mailsrv.limits import Limits


class Site:
    """Servers without addresses and without clients."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.clock = Clock()
        self.options = SimpleNamespace(data=folder)
        self.servers: dict[str, VirtualServer] = {}
        self.delivery = None
        self.life = Life(self)
        for name in names:
            self.servers[name] = self.made(name)
        self.life.prepare()
        for server in self.servers.values():
            server.startService()

    def made(self, name: str, automatic: bool = True) -> VirtualServer:
        server = VirtualServer(
            name, Limits(), lambda *_: None, self.clock,  # type: ignore[arg-type, return-value]
            monotonic=self.clock.seconds, numbers=lambda: 1, automatic=automatic,
        )  # fmt: skip
        server.equip(SimpleNamespace(publish=lambda *_, **__: None))  # type: ignore[arg-type]
        return server

    def come(self, name: str, automatic: bool = True) -> str:
        """A server that is made while the site runs; its state."""
        server = self.servers[name] = self.made(name, automatic)
        self.life.join(server)
        server.startService()
        return server.state

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.clock, seconds)

    async def aside(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def begin(self, order: Any) -> list[Any]:
        """What comes of an order, as soon as it does."""
        out: list[Any] = []
        Deferred.fromCoroutine(order).addBoth(out.append)
        return out

    def obey(self, order: Any) -> None:
        out = self.begin(order)
        for _ in range(10):
            self.clock.advance(PAUSE)
        if isinstance(out[0], Failure):
            out[0].raiseException()
        assert out == [""]

    def states(self) -> list[str]:
        return [server.state for server in self.servers.values()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, "smtp/a", "smtp/b")


def test_s_026_a_restart_ends_when_something_else_is_ordered(site: Site) -> None:
    restart = site.begin(site.life.restart("smtp/a"))
    assert site.states() == ["stopped", "running"]
    site.obey(site.life.stop("smtp/a"))
    (failure,) = restart
    assert failure.check(Refused) and "was given another order meanwhile" in str(failure.value)
    assert site.states() == ["stopped", "running"]


def test_s_026_of_two_restarts_the_second_starts_it(site: Site) -> None:
    first = site.begin(site.life.restart("smtp/a"))
    site.clock.advance(PAUSE / 2)
    site.obey(site.life.restart("smtp/a"))
    assert first[0].check(Refused) and site.states() == ["running", "running"]


def test_s_025_a_server_that_restarts_counts_as_running(site: Site) -> None:
    restart = site.begin(site.life.restart("smtp/a"))
    site.obey(site.life.stop_service("smtp"))
    assert restart[0].check(Refused) and site.states() == ["stopped", "stopped"]
    site.obey(site.life.start_service("smtp"))
    assert site.states() == ["running", "running"]


def test_s_025_one_that_is_stopped_while_its_service_is_stays_stopped(site: Site) -> None:
    site.obey(site.life.stop_service("smtp"))
    site.obey(site.life.stop("smtp/b"))
    site.obey(site.life.start_service("smtp"))
    assert site.states() == ["running", "stopped"]


def test_s_013_a_server_that_comes_while_its_service_is_stopped_starts_with_it(site: Site) -> None:
    site.obey(site.life.stop_service("smtp"))
    assert site.come("smtp/c") == "stopped" and site.come("smtp/hand", automatic=False) == "stopped"
    assert site.servers["smtp/c"].reason == "the smtp service is stopped"
    assert site.come("imap/a") == "running"
    site.obey(site.life.start_service("smtp"))
    assert site.states() == ["running", "running", "running", "stopped", "running"]


def test_s_027_one_that_comes_while_its_service_is_paused_is_paused_with_it(site: Site) -> None:
    site.obey(site.life.pause_service("smtp"))
    assert site.come("smtp/c") == "paused" and site.come("smtp/hand", automatic=False) == "stopped"
    # What is ordered of one server alone holds.
    site.obey(site.life.resume("smtp/a"))
    site.obey(site.life.pause("smtp/b"))
    site.obey(site.life.resume_service("smtp"))
    assert site.states() == ["running", "paused", "running", "stopped"]


def test_a_server_of_the_name_of_one_that_is_gone_is_another(site: Site) -> None:
    site.obey(site.life.stop("smtp/a"))
    site.life.forget("smtp/a")
    del site.servers["smtp/a"]
    assert site.come("smtp/a") == "running"


def test_nothing_starts_once_the_site_ends(site: Site) -> None:
    restart = site.begin(site.life.restart("smtp/a"))
    for server in site.servers.values():
        server.stopService()
    for _ in range(10):
        site.clock.advance(PAUSE)
    assert restart[0].check(Refused) and site.states() == ["stopped", "stopped"]
    assert site.clock.getDelayedCalls() == []
