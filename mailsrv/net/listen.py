"""Listening sockets (floor 2a): TCP ports, UNIX sockets, endpoints of Twisted; the kernel's refusal while paused."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from functools import cache
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from ..errors import ConfigError
from .accepted import Accepted

#: Connections the kernel keeps until they are accepted.
BACKLOG = 1024
#: The number of the capability for ports below 1024 (capabilities(7)).
CAP_NET_BIND_SERVICE = 10
#: Who may connect to a UNIX socket.
UNIX_MODE = 0o660


def listen(reactor: Any, host: str, port: int, factory: Any) -> Any:
    """Listen on an IP address; on all addresses of its family for "0.0.0.0" and "::" (S-030).

    Gives the port; None for "::" on a machine without IPv6.  Raises ConfigError with the reason and the way out.
    """
    try:
        if host == "::":
            return _all_ipv6(reactor, port, factory) if socket.has_ipv6 else None
        return _ours(reactor.listenTCP(port, factory, backlog=BACKLOG, interface=host))
    except (CannotListenError, OSError) as error:
        raise ConfigError(_reason(error, host, port)) from error


def _all_ipv6(reactor: Any, port: int, factory: Any) -> Any:
    """All IPv6 addresses, and nothing of IPv4: the other listener has those."""
    try:
        made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    with made:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        try:
            made.bind(("::", port))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return None
            raise
        made.listen(BACKLOG)
        return _ours(reactor.adoptStreamPort(made.fileno(), socket.AF_INET6, factory))


def _ours(port: Any) -> Any:
    """Have a TCP port make connections of our kind; another port stays as it is."""
    if getattr(port, "transport", None) is tcp.Server:
        port.transport = Accepted
    return port


def must_exist(host: str, port: int) -> None:
    """Raises ConfigError for an address that this machine does not have (S-033)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind(socket.getaddrinfo(host, 0, probe.family, flags=socket.AI_NUMERICHOST)[0][4])
        except OSError as error:
            raise ConfigError(_reason(error, host, port)) from error


def may_bind(port: int) -> bool:
    """Whether this process could be bound to a port of that number now, by its rights (decisions 22)."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            first = int(file.read())
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            capabilities = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    except (OSError, ValueError, StopIteration):
        return port >= 1024 or os.geteuid() == 0
    return port >= first or bool(capabilities & 1 << CAP_NET_BIND_SERVICE)


# ---------------------------------------------------------------- refusing for a while


def step_aside(port: Any) -> bool:
    """Have the kernel refuse whoever connects, and keep the address bound; False where the system cannot do that.

    Another socket with SO_REUSEADDR may be bound to the address, of any user: `shut_out` does not let it.
    """
    port.stopReading()
    try:
        port.socket.shutdown(socket.SHUT_RD)
    except OSError:
        # QUIRK: only Linux knows how to end listening and nothing else.
        port.startReading()
        return False
    return True


def shut_out(port: Any) -> bool:
    """Refuse as `step_aside` does, and let nobody else have the address (decisions 21).

    The port must have been bound by its number: one that the kernel chose is given back to it.
    """
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    if step_aside(port):
        return True
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return False


def let_in(port: Any) -> None:
    """Listen again, but accept nothing yet.  Needs no privilege.  Raises ConfigError when somebody has the address."""
    # Those of its connections that are open have the address too.
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        port.socket.listen(BACKLOG)
    except OSError as error:
        at = port.getHost()
        raise ConfigError(_reason(error, at.host, at.port)) from error


# ---------------------------------------------------------------- UNIX sockets


class UnixPort(unix.Port):
    """As Twisted's, but its end is no failure when somebody has removed or replaced the socket."""

    _made: tuple[int, int] | None = None

    def startListening(self) -> None:
        """Twisted: take the path."""
        super().startListening()
        found = os.stat(self._bindPath)
        self._made = (found.st_dev, found.st_ino)

    def connectionLost(self, reason: Any) -> None:
        """Twisted: the port is closed."""
        with suppress(FileNotFoundError):
            found = os.lstat(self._bindPath)
            if self._made == (found.st_dev, found.st_ino):
                os.unlink(self._bindPath)
        tcp.Port.connectionLost(self, reason)


def listen_unix(reactor: Any, path: str, factory: Any) -> Any:
    """Listen on a UNIX socket for the user and the group of this process (0660).

    A socket at that path to which nobody listens is left over, and replaced.  Gives the port, which removes the socket
    when it is closed.  Raises ConfigError with the reason and the way out.
    """
    try:
        _make_way(path)
        # The mode is set between bind and listen, so there is no moment in which others can connect.
        port = UnixPort(path, factory, BACKLOG, UNIX_MODE, reactor)
        port.startListening()
        return port
    except (CannotListenError, OSError) as error:
        raise ConfigError(_reason_unix(error, path)) from error


def _make_way(path: str) -> None:
    """Remove a socket that nobody listens to.  Raises OSError for what stays."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens who has much to do
    raise OSError(errno.EADDRINUSE, "taken")


def _reason_unix(error: Exception, path: str) -> str:
    """Why a UNIX socket cannot be had, with the way out."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    where = f"unix:{path}"
    if number == errno.EADDRINUSE:
        return f"cannot listen on {where}: another process listens there; stop it or choose another path"
    if number == errno.EEXIST:
        return f"cannot listen on {where}: there is a file that is no socket; choose another path"
    if number == errno.ENOENT:
        return f"cannot listen on {where}: there is no such folder; make it, or choose another path"
    return f"cannot listen on {where}: {os.strerror(number) if number else cause}"


# ---------------------------------------------------------------- endpoints


@cache
def endpoint_names() -> frozenset[str]:
    """How descriptions of Twisted's endpoints begin: "tcp", "systemd" and those of installed plug-ins."""
    from twisted.internet.interfaces import IStreamServerEndpointStringParser
    from twisted.plugin import getPlugins

    return frozenset({"tcp", *(one.prefix for one in getPlugins(IStreamServerEndpointStringParser))})


def listen_endpoint(reactor: Any, text: str, factory: Any) -> Deferred[Any]:
    """Listen on an endpoint by its description.  Gives the port, most at once; fails with ConfigError."""
    from twisted.internet.endpoints import serverFromString

    def refused(failure: Any) -> Any:
        """Whatever went wrong in a plug-in, told in one line."""
        cause = failure.value.socketError if failure.check(CannotListenError) else failure.value
        number = getattr(cause, "errno", None)
        reason = os.strerror(number) if number else f"{type(cause).__name__}: {cause}".removesuffix(": ")
        raise ConfigError(f"cannot listen on {text}: {reason}") from cause

    return maybeDeferred(lambda: serverFromString(reactor, text).listen(factory)).addCallbacks(_ours, refused)


def _reason(error: Exception, host: str, port: int) -> str:
    """Why a binding cannot be had, with the way out."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if number == errno.EADDRINUSE:
        return f"cannot listen on {where}: another process has this port; stop it or choose another port"
    if number == errno.EACCES:
        return f"cannot listen on {where}: ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher port"
    if number == errno.EADDRNOTAVAIL:
        return f"cannot listen on {where}: this machine has no such address (S-033)"
    return f"cannot listen on {where}: {os.strerror(number) if number else cause}"
