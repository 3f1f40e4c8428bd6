"""Ports that are still free when a test, or a server that it starts, comes to use them."""

from __future__ import annotations

import contextlib
import random
import socket

#: Below what kernels give to connections: of those, one is somebody's before it is bound again.
LOWEST, HIGHEST = 10_000, 32_000


def free_ports(number: int) -> list[int]:
    """So many, all different, that nobody has at any address."""
    found = list[int]()
    with contextlib.ExitStack() as held:
        while len(found) < number:
            # Not from `random` itself, which Hypothesis makes the same in all processes.
            port = random.SystemRandom().randrange(LOWEST, HIGHEST)
            with contextlib.suppress(OSError):
                held.enter_context(listener(port))
                found.append(port)
    return found


def listener(port: int) -> socket.socket:
    """A socket at all addresses of the machine.  Raises OSError when the port is taken at one of them."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
