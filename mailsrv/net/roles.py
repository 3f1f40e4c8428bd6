"""What a connection asks of others (floor 2a): of its session and of its virtual server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ..values import Peer, Verdict
from ..wire.engine import Engine

if TYPE_CHECKING:
    from .connection import Connection


class ConnectionSession(Protocol):
    """What a connection asks of a session (`serve/session.py`)."""

    engine: Engine

    #: Whether a message is coming in: an orderly end waits for the rest of it.
    midway: bool

    def arriving(self) -> Coroutine[Any, Any, Verdict] | None:
        """Whom to ask before the greeting (and before TLS from the start); None: nobody.  A verdict that does not
        accept, or a MailError, ends the connection."""

    def greet(self) -> None:
        """The connection is there: write the greeting."""

    def handle(self, event: Any) -> Coroutine[Any, Any, None] | None:
        """Work on one event of the engine; what is left of the work is awaited before the next one."""

    def limit(self, connected: float, active: float) -> float | None:
        """The monotonic instant at which the connection has been idle for too long, or None."""

    def dismiss(self, why: str) -> None:
        """Write the protocol's last words; `why` is one of idle, shutdown, terminated, input."""

    def fail(self, incident: str) -> None:
        """Write the protocol's words for an internal error."""

    def closed(self) -> None:
        """The connection is gone and no handler runs: let go of everything."""


class Host(Protocol):
    """What a connection asks of its virtual server."""

    pending_octets: int
    monotonic: Callable[[], float]

    def session(self, connection: Connection) -> ConnectionSession:
        """A session for a new connection."""

    def tls_context(self) -> Any:
        """An IOpenSSLServerConnectionCreator for the server's certificate."""

    def left(self, connection: Connection) -> None:
        """The connection is gone."""

    async def replace(self, connection: Connection, peer: Peer) -> bytes:
        """Another client is at the far end; last words, or b"" when it is admitted."""

    def call_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call after the reactor has looked at the others."""
