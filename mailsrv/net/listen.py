"""Listening sockets (floor 2a): one binding becomes one or two ports of the reactor."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError

from ..errors import ConfigError

#: Connections the kernel keeps until they are accepted.
BACKLOG = 1024


def listen(reactor: Any, host: str, port: int, factory: Any) -> list[Any]:
    """Listen on an IP address, or on all addresses of both families for "*" (S-030).

    Gives the ports.  Raises ConfigError with the reason and the way out; then nothing listens.
    """
    opened: list[Any] = []
    try:
        if host != "*":
            opened.append(reactor.listenTCP(port, factory, backlog=BACKLOG, interface=host))
            return opened
        opened.append(reactor.listenTCP(port, factory, backlog=BACKLOG, interface="0.0.0.0"))
        if port and socket.has_ipv6:
            opened.extend(_all_ipv6(reactor, port, factory))
    except (CannotListenError, OSError) as error:
        for one in opened:
            one.stopListening()
        raise ConfigError(_reason(error, host, port)) from error
    return opened


def _all_ipv6(reactor: Any, port: int, factory: Any) -> list[Any]:
    """All IPv6 addresses, and nothing of IPv4: the other listener has those."""
    try:
        made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return []
    with made:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        try:
            made.bind(("::", port))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return []
            raise
        made.listen(BACKLOG)
        return [reactor.adoptStreamPort(made.fileno(), socket.AF_INET6, factory)]


def _reason(error: Exception, host: str, port: int) -> str:
    """Why a binding cannot be had, with the way out."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    where = f"{host}:{port}"
    if number == errno.EADDRINUSE:
        return f"cannot listen on {where}: another process has this port; stop it or choose another port"
    if number == errno.EACCES:
        return f"cannot listen on {where}: ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher port"
    if number == errno.EADDRNOTAVAIL:
        return f"cannot listen on {where}: this machine has no such address (S-033)"
    return f"cannot listen on {where}: {os.strerror(number) if number else cause}"
