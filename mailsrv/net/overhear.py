"""Listening to a connection (floor 2a): all that is said both ways, as the engine understood it.

Nothing of this is in the way of a connection that nobody listens to: its engine and the list of what it is about to say
are replaced by such that tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..wire.engine import NEED_DATA, PAUSED, Engine
from .pump import Pump

#: Octets of one event that are kept: those from its beginning, and from its end.
HEAD, TAIL = 16 * 1024, 16 * 1024


class Ear(Protocol):
    """Who listens."""

    def heard(self, event: Any, octets: bytes, left_out: int) -> None:
        """An event of the engine, with the octets that it is made of and those that were dropped before it; of very
        many some from the middle are left out.  b"" when they came before anybody listened."""

    def said(self, octets: bytes) -> None:
        """The session said something."""

    def ended(self) -> None:
        """The connection is gone."""


class _Engine:
    """Does as the connection's engine, and tells what it gives."""

    def __init__(self, engine: Engine, ear: Ear, lost: Callable[[], bool]) -> None:
        self.inner, self._ear, self._lost = engine, ear, lost
        #: Octets that the engine has, or had for an event that is not complete.
        self._octets = bytearray()
        self._unheard, self._left_out = engine.buffered, 0

    @property
    def buffered(self) -> int:
        """See Engine."""
        return self.inner.buffered

    def receive(self, octets: bytes) -> None:
        """See Engine.  What it refuses is nobody's."""
        before = self.inner.buffered
        self.inner.receive(octets)
        self._octets += octets[: max(self.inner.buffered - before, 0)]

    def next_event(self) -> Any:
        """See Engine."""
        event = self.inner.next_event()
        buffered = self.inner.buffered
        used = len(self._octets) - buffered
        if event is NEED_DATA or event is PAUSED:
            if used > HEAD + TAIL:
                del self._octets[HEAD : used - TAIL]
                self._left_out += used - TAIL - HEAD
            return event
        octets = b"" if self._unheard else bytes(self._octets[:used])
        # What the engine had before anybody listened comes first.
        self._unheard = max(-used, 0) if self._unheard else 0
        del self._octets[: max(used, 0)]
        left_out, self._left_out = self._left_out, 0
        self._ear.heard(event, octets, left_out)
        return event

    def eof(self) -> None:
        """See Engine."""
        self.inner.eof()
        if self._lost():
            self._ear.ended()

    def tls_started(self) -> None:
        """See Engine."""
        self.inner.tls_started()
        self._octets.clear()
        self._unheard = self._left_out = 0


class _Output(list[bytes]):
    """What is about to be said, and told when it is put there."""

    def __init__(self, octets: list[bytes], ear: Ear) -> None:
        super().__init__(octets)
        self._ear = ear

    def append(self, octets: bytes) -> None:
        """As of a list."""
        super().append(octets)
        self._ear.said(octets)


def overheard(connection: Pump) -> bool:
    """Whether somebody listens already; there is one ear for each connection."""
    return isinstance(connection.engine, _Engine)


def overhear(connection: Pump, ear: Ear) -> Callable[[], None]:
    """Tell `ear` all that is said from now on; gives what ends that."""
    engine = connection.engine = _Engine(connection.engine, ear, lambda: connection._lost)
    connection._out = _Output(connection._out, ear)

    def stop() -> None:
        """Nobody listens any more."""
        if connection.engine is engine:
            connection.engine = engine.inner
            connection._out = list(connection._out)

    return stop
