"""What systemd is told of the process (floor 6; sd_notify(3)): ready, stopping, alive.

Datagrams to the socket that NOTIFY_SOCKET names; without it nothing is told.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger

log = Logger()


class Notifier:
    """One for a process.  `environment` is os.environ, `call_later` the reactor's."""

    def __init__(self, environment: Mapping[str, str], call_later: Callable[..., Any]) -> None:
        place = environment.get("NOTIFY_SOCKET", "")
        #: "@" stands for an abstract socket, which has no file.
        self._address = "\0" + place[1:] if place.startswith("@") else place if place.startswith("/") else ""
        self._call_later = call_later
        self._timer: Any = None
        self._interval = _interval(environment)

    def ready(self, status: str) -> None:
        """All servers accept; from now on the watchdog is told, where one is there."""
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")
        if self._interval and self._timer is None:
            self._alive()

    def status(self, text: str) -> None:
        """A line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def stopping(self, text: str) -> None:
        """The end has begun; the watchdog is told until the process is gone, as it still works."""
        self._send("STOPPING=1", f"STATUS={text}")

    def _alive(self) -> None:
        """The reactor turns."""
        self._send("WATCHDOG=1")
        self._timer = self._call_later(self._interval, self._alive)

    def _send(self, *lines: str) -> None:
        """One datagram.  A system that does not listen costs no mail."""
        if not self._address:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
                out.sendto(text.encode(), self._address)
        except OSError as error:
            log.warn("systemd is not told: {reason}", reason=str(error))


def _interval(environment: Mapping[str, str]) -> float:
    """Seconds between two signs of life: half of what the watchdog waits; 0: there is none, or it is another's."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return 0.0
    return microseconds / 2e6 if microseconds > 0 and pid == os.getpid() else 0.0
