"""Reading along in one session (floor 6): its lines on their way to an administrator, within bounds."""

from __future__ import annotations

from typing import Any

from ..net.overhear import overhear
from ..serve.session import Session
from ..serve.transcript import Transcript
from .events import Feed

#: The longest transcript: seconds, and characters of its lines.
MAX_SECONDS, MAX_TEXT = 3600, 16 * 2**20


class Follower:
    """Puts what is said in a session into `feed`, until it ends or is stopped.

    Items are ``{"at": UTC epoch seconds, "who": "client" | "server", "text": line}``, and ``{"lost": lines}`` where the
    reader was too slow.  `why` it ended: session, time, size, or "" while it goes on.
    """

    def __init__(self, site: Any, session: Session, seconds: float, content: bool) -> None:
        self._site = site
        self.feed = Feed()
        self.lines = self._text = 0
        self.why = ""
        connection = session.connection
        ear = Transcript(session.services.protocol, self._tell, lambda: self._end("session"), content, connection.busy)
        self._stop = overhear(connection, ear)
        self._timer = site.reactor.callLater(seconds, self._end, "time")

    def stop(self) -> None:
        """Nobody reads any more; idempotent."""
        self._stop()
        if self._timer.active():
            self._timer.cancel()
        self.feed.close()

    def _end(self, why: str) -> None:
        if not self.why:
            self.why = why
            self.stop()

    def _tell(self, who: str, text: str) -> None:
        if self.why:
            return
        self.lines += 1
        self._text += len(text)
        self.feed.push({"at": self._site.clock(), "who": who, "text": text})
        if self._text > MAX_TEXT:
            self._end("size")
