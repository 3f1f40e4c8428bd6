"""The log of `twistd mailsrv` (floor 6): the lines that Twisted writes, made in a fifth of the time.

Several lines are written for each message, and Twisted works out the zone of each one's time anew.  Lines keep the
form of Twisted, so that whoever reads them need not know the difference.
"""

from __future__ import annotations

import atexit
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, formatEventAsClassicLogText, formatTime
from twisted.python.logfile import LogFile
from twisted.python.threadable import isInIOThread
from zope.interface import implementer

#: The file that a daemon writes to when none is named, as everywhere with Twisted.
USUAL_FILE = "twistd.log"
#: Lines that wait for the end of a turn; more are written at once.
MOST = 1000
#: Lines of these are written at once, with all that wait: the process may be about to end.
_URGENT = (LogLevel.error, LogLevel.critical)


@implementer(ILogObserver)
class Turns:
    """Writes lines to a file, those of one turn of the reactor together: a write for each line costs as much as making
    it.  Before the reactor runs and after it, and what another thread says first, is written at once."""

    def __init__(self, file: Any, line: Callable[[Any], str | None]) -> None:
        self._file, self._line = file, line
        #: Other threads add to it too.
        self._lines: deque[str] = deque()
        #: The end of this turn will write them.
        self._due = False
        # A turn that stops the reactor may be the last one.
        atexit.register(self.flush)

    def __call__(self, event: Any) -> None:
        """One event."""
        text = self._line(event)
        if not text:
            return
        lines = self._lines
        lines.append(text)
        if event.get("log_level") in _URGENT or len(lines) > MOST or not self._later():
            self.flush()

    def _later(self) -> bool:
        """Whether the end of the turn will write what there is."""
        from twisted.internet import reactor

        if not reactor.running:  # type: ignore[attr-defined]
            return False
        if not self._due:
            if not isInIOThread():
                return False
            self._due = True
            reactor.callLater(0, self._turn)  # type: ignore[attr-defined]
        return True

    def _turn(self) -> None:
        self._due = False
        self.flush()

    def flush(self) -> None:
        """Write what there is."""
        lines, some = self._lines, []
        while lines:
            some.append(lines.popleft())
        if some:
            self._file.write("".join(some))
            self._file.flush()


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


class JsonLines:
    """Makes a line of JSON of an event: time (UTC), level, logger, text, and the event's own fields."""

    #: Of Twisted's older way to log, and what the text is made of.
    _OTHERS = frozenset({"time", "message", "isError", "system", "format", "failure", "why", "level", "logger", "text"})

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def _time(self, when: float) -> str:
        second = int(when)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int(when % 1 * 1000):03d}Z"

    def line(self, event: Any) -> str | None:
        """None: nothing to say."""
        text = str(event["text"]) if event.get("log_format") == "{text}" else formatEvent(event)
        failure = event.get("log_failure")
        if not text and failure is None:
            return None
        level = event.get("log_level")
        made: dict[str, Any] = {
            "time": self._time(event.get("log_time") or time.time()), "level": level.name if level else "info",
            "logger": event.get("log_namespace", "-"), "text": text,
        }  # fmt: skip
        for key, value in event.items():
            if not key.startswith("log_") and key not in self._OTHERS:
                made[key] = value if isinstance(value, int | float | str | None) else str(value)
        if failure is not None:
            made["traceback"] = failure.getTraceback()
        return json.dumps(made, ensure_ascii=False, default=str) + "\n"


def json_terminal() -> Turns:
    """As `terminal`, an object in each line."""
    return Turns(sys.stdout, JsonLines().line)


def json_usual_file() -> Turns:
    """As `usual_file`, an object in each line."""
    return _rotated(JsonLines().line)


def terminal() -> Turns:
    """For `twistd --logger`: writes to the standard output, as `twistd -n` does (and systemd reads)."""
    return Turns(sys.stdout, Lines().line)


def usual_file() -> Turns:
    """For `twistd --logger`: writes to twistd.log, as a daemon does without --logfile; SIGUSR1 begins a new file."""
    return _rotated(Lines().line)


def _rotated(line: Callable[[Any], str | None]) -> Turns:
    file: Any = LogFile(USUAL_FILE, ".")

    def rotate(number: int, frame: Any) -> None:
        """Begin a new file."""
        from twisted.internet import reactor

        reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return Turns(file, line)


def logger_for(logfile: str, nodaemon: bool, as_json: bool = False) -> str:
    """The name to give `twistd --logger`; "" where its own log is to be used: `twistd` calls a logger without saying
    which file was named, so that a log with a name of its own costs some 20 us more a line."""
    if as_json:
        return f"{__name__}.json_terminal" if nodaemon else f"{__name__}.json_usual_file"
    if nodaemon:
        return f"{__name__}.terminal" if logfile in ("", "-") else ""
    return "" if logfile else f"{__name__}.usual_file"
