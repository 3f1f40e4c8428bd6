"""A real connection over loopback, one end of it accepted for a transport under test."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def loopback() -> Iterator[tuple[socket.socket, Any, socket.socket]]:
    """The accepted socket, which does not block, the client's address, and the client's socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, address = listener.accept()
        accepted.setblocking(False)
        client.settimeout(5)
        yield accepted, address, client
