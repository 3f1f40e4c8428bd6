"""Replies of an SMTP or LMTP server, read strictly and with bounds (floor 2; RFC 5321 section 4.2, RFC 2034)."""

from __future__ import annotations

import re

from ..errors import TryLater
from ..values import Reply
from .buffer import Buffer, LineTooLong

#: Octets of one line with its CRLF (RFC 5321 section 4.5.3.1.5 says 512), and lines of one reply.
MAX_LINE, MAX_LINES = 2048, 100
#: A line of an AUTH exchange (RFC 4954 section 4).
MAX_AUTH_LINE = 12288 + 8
#: Replies of one line that are remembered: a server has few, and says them for every message.
MAX_KNOWN, MAX_KNOWN_LINE = 32, 200
#: Octets that are not yet replies; who sends more than that unasked is not listened to.
MAX_BUFFERED = 128 * 2**10

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?: |$)")


class PeerLost(TryLater):
    """The connection is good for nothing more: lost, closed by a 421, silent, or the peer speaks no SMTP."""

    status = "4.4.2"
    text = "Connection lost"


class ReplyReader:
    """Takes octets, gives replies.  `line_limit` may be raised while an AUTH goes on."""

    __slots__ = ("_buffer", "_code", "_cr", "_known", "_lines", "line_limit")

    def __init__(self) -> None:
        self.line_limit = MAX_LINE
        self._buffer = Buffer(MAX_BUFFERED)
        self._cr = False
        self._code = b""
        self._lines: list[str] = []
        self._known: dict[bytes, Reply] = {}

    @property
    def buffered(self) -> int:
        """Octets and lines that are not yet given out as a reply: 0 when there is nothing."""
        return len(self._buffer) + len(self._lines)

    @property
    def flooded(self) -> bool:
        """More came than is kept; nothing that follows can be understood."""
        return self._buffer.overflowed

    def receive(self, octets: bytes) -> None:
        """Take what the transport read."""
        if octets.count(b"\n") != octets.count(b"\r\n"):
            # QUIRK: scripts and devices end replies with LF alone; unheard, their 250 would have mail sent again and
            # again.
            first = b"\n" if self._cr and octets.startswith(b"\n") else b""
            octets = first + _BARE_LF.sub(b"\r\n", octets[len(first) :])
        self._cr = octets.endswith(b"\r") if octets else self._cr
        self._buffer.feed(octets)

    def clear(self) -> None:
        """Forget what was read: it came before TLS."""
        self._buffer.clear()
        self._lines.clear()

    def next(self) -> Reply | None:
        """The next whole reply; None: not there yet.  Raises PeerLost (4.5.0) for what is none."""
        while True:
            try:
                line = self._buffer.line(self.line_limit)
            except LineTooLong:
                raise garbled("a line too long") from None
            if line is None:
                if self._buffer.overflowed:
                    raise garbled("more than was asked for")
                return None
            if not self._lines and line in self._known:
                return self._known[line]
            found = _LINE.fullmatch(line)
            if found is None:
                raise garbled("no reply code")
            code, mark, text = found.groups()
            if self._lines and code != self._code:
                raise garbled("two codes in one reply")
            if len(self._lines) >= MAX_LINES:
                raise garbled("too many lines")
            self._code = code
            self._lines.append(_text(text or b""))
            if mark != b"-":
                lines, self._lines = self._lines, []
                reply = _reply(int(code), lines)
                if len(lines) == 1 and len(line) <= MAX_KNOWN_LINE and len(self._known) < MAX_KNOWN:
                    self._known[line] = reply
                return reply


def garbled(what: str) -> PeerLost:
    """The peer has said something that is no answer."""
    return PeerLost(f"The server does not speak SMTP as it should: {what}", "4.5.0")


def _reply(code: int, lines: list[str]) -> Reply:
    """The status (RFC 2034) is taken off every line that has it; one of another class than the code is text."""
    found = _STATUS.match(lines[0]) if code // 100 != 3 else None
    if found is None or int(found[1]) != code // 100:
        return Reply(code, "", tuple(lines))
    prefix = found[0].rstrip(" ")
    bare = [line[len(prefix) :].removeprefix(" ") if line.startswith(prefix) else line for line in lines]
    return Reply(code, prefix, tuple(bare))


def _text(octets: bytes) -> str:
    """A line's text; nothing in it can end a line or steer a terminal where it is shown."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def words(reply: Reply) -> str:
    """A reply as one line, for queue, report and log."""
    text = " ".join(line for line in reply.lines if line)
    return " ".join(part for part in (str(reply.code), reply.status, text) if part)[:1000]


def status_of(reply: Reply) -> str:
    """Its RFC 3463 status; without one the class alone."""
    return reply.status or f"{reply.code // 100}.0.0"
