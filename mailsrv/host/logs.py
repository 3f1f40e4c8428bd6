"""The log of `twistd mailsrv` (floor 6): the lines that Twisted writes, made in a fifth of the time.

Several lines are written for each message, and Twisted works out the zone of each one's time anew.  Lines keep the
form of Twisted, so that whoever reads them need not know the difference.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from twisted.logger import FileLogObserver, formatEventAsClassicLogText, formatTime
from twisted.python.logfile import LogFile

#: The file that a daemon writes to when none is named, as everywhere with Twisted.
USUAL_FILE = "twistd.log"


class Lines:
    """Makes a line of an event."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def time(self, when: float | None) -> str:
        """As Twisted's formatTime, worked out once a second."""
        if when is None:
            return "-"
        second = int(when)
        if second != self._second:
            self._second, self._text = second, formatTime(when)
        return self._text

    def line(self, event: Any) -> str | None:
        """As Twisted's formatEventAsClassicLogText; None: nothing to say."""
        if event.get("log_format") == "{text}" and "log_failure" not in event and "log_system" not in event:
            # What is written for every message and login comes in this one form.
            text = str(event["text"]).replace("\n", "\n\t")
            level = event["log_level"].name
            return f"{self.time(event['log_time'])} [{event['log_namespace']}#{level}] {text}\n" if text else None
        return formatEventAsClassicLogText(event, formatTime=self.time)


def terminal() -> FileLogObserver:
    """For `twistd --logger`: writes to the standard output, as `twistd -n` does (and systemd reads)."""
    return FileLogObserver(sys.stdout, Lines().line)


def usual_file() -> FileLogObserver:
    """For `twistd --logger`: writes to twistd.log, as a daemon does without --logfile; SIGUSR1 begins a new file."""
    file: Any = LogFile(USUAL_FILE, ".")

    def rotate(number: int, frame: Any) -> None:
        """Begin a new file."""
        from twisted.internet import reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return FileLogObserver(file, Lines().line)


def logger_for(logfile: str, nodaemon: bool) -> str:
    """The name to give `twistd --logger`; "" where its own log is to be used: `twistd` calls a logger without saying
    which file was named, so that a log with a name of its own costs some 20 us more a line."""
    if nodaemon:
        return f"{__name__}.terminal" if logfile in ("", "-") else ""
    return "" if logfile else f"{__name__}.usual_file"
