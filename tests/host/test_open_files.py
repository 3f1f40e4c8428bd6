"""The limit of open files (decisions 28): raised at the start, as far as the reactor and the system can use it."""

from __future__ import annotations

import resource
from types import SimpleNamespace
from typing import Any

import pytest

from mailsrv.host import arrivals
from mailsrv.host.arrivals import MOST_FILES, SELECTABLE, Ceiling, raise_open_files

INFINITY = resource.RLIM_INFINITY


class System:
    """The limits of a process."""

    def __init__(self, soft: int, hard: int, refuses: bool = False) -> None:
        self.limits, self.refuses = (soft, hard), refuses

    def getrlimit(self, which: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


class EPollReactor:
    """By name."""


class SelectReactor:
    """By name."""


@pytest.mark.parametrize("soft, hard, reactor, raised", [
    (1024, 4096, EPollReactor(), 4096),
    (4096, 4096, EPollReactor(), 4096),
    (1024, 2**30, EPollReactor(), MOST_FILES),
    (1024, INFINITY, EPollReactor(), MOST_FILES),
    (INFINITY, INFINITY, EPollReactor(), INFINITY),
    (2**25, 2**30, EPollReactor(), 2**25),
    # select() breaks at a file of a higher number: there the limit turns clients away before.
    (256, 4096, SelectReactor(), SELECTABLE),
    (1024, 4096, SelectReactor(), 1024),
])
def test_the_limit_of_open_files_is_raised(
    soft: int, hard: int, reactor: Any, raised: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(soft, hard)
    names = {"getrlimit": system.getrlimit, "setrlimit": system.setrlimit}
    fake = SimpleNamespace(RLIMIT_NOFILE=resource.RLIMIT_NOFILE, RLIM_INFINITY=INFINITY, **names)
    monkeypatch.setattr(arrivals, "resource", fake)
    raise_open_files(reactor)
    assert system.limits == (raised, hard)
    # Clients get what is left above what the server itself needs.
    assert Ceiling.of_process().most == (None if raised == INFINITY else raised - arrivals.FILES_KEPT)


@pytest.mark.parametrize(("files", "clients"), [(1024, 824), (400, 200), (256, 128), (20, 10), (1, 1)])
def test_of_few_open_files_clients_have_half(files: int, clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"getrlimit": System(files, files).getrlimit}
    fake = SimpleNamespace(RLIMIT_NOFILE=resource.RLIMIT_NOFILE, RLIM_INFINITY=INFINITY, **names)
    monkeypatch.setattr(arrivals, "resource", fake)
    assert Ceiling.of_process().most == clients


def test_a_system_that_refuses_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(1024, 4096, refuses=True)
    names = {"getrlimit": system.getrlimit, "setrlimit": system.setrlimit}
    fake = SimpleNamespace(RLIMIT_NOFILE=resource.RLIMIT_NOFILE, RLIM_INFINITY=INFINITY, **names)
    monkeypatch.setattr(arrivals, "resource", fake)
    raise_open_files(EPollReactor())
    assert system.limits == (1024, 4096)
