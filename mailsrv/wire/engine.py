"""What all engines share (floor 1).

An engine is fed with `receive(octets)` and asked with `next_event()`.  The caller handles one event at a time
and asks for the next only when the answer to the last is known, so pipelined commands are answered strictly in
order however long an answer takes.  What a client sends never makes an engine raise: a mistake is an event.
"""

from __future__ import annotations

from typing import Any, Protocol, final


@final
class Signal:
    """A named answer that is not an event."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


#: Nothing complete is buffered: wait for more octets.
NEED_DATA = Signal("NEED_DATA")
#: The peer may have sent more, but the present exchange must be finished first (TLS handshake, closing).
PAUSED = Signal("PAUSED")


class Engine(Protocol):
    """The verbs of every engine."""

    #: Octets received and not yet consumed; the connection stops reading above its limit.
    buffered: int

    def receive(self, octets: bytes) -> None:
        """Take what the transport read."""

    def next_event(self) -> Any:
        """The next event, NEED_DATA or PAUSED."""

    def eof(self) -> None:
        """The peer sent its last octet; what is incomplete never becomes an event."""

    def tls_started(self) -> None:
        """The plaintext phase is over: forget every buffered octet and all protocol state (RFC 3207)."""
