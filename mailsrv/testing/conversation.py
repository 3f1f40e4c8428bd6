"""Conversations as text: what a client says and what the server must answer, readable without knowing Python.

    # a comment
    @limits message_octets=100        limits of the bed, before @connect
    @settings require_tls=true        attributes of Services, before @connect
    @connect smtp                     or: @connect imap tls as 2 from 198.51.100.7
    @deliver me Subject: hi\\r\\n\\r\\nbody\\r\\n     a message into the INBOX of me@example.org
    @deliver me/utf8 Subject: ü       it came with SMTPUTF8
    @name 198.51.100.7 a.example      the host of that address has this name; "fails": it cannot be looked up
    @asked 2                          so many questions went to the name system since the last time
    @settings parts=rates:interval=1m;messages_per_user=2   policies and submission: see testing/policies.py
    @advance 60                       the clock moves by so many seconds
    @slow imap 6                      from now on, between two looks of that server at its clock too
    @alias staff@example.org me@example.org x@b.example    an alias or a list
    @account me max_in=100 quota=2000   what the account may be sent, may send, may hold
    @fails directory                  from now on it cannot answer; also: store, queue, and disk: which is full
    @queued a@b.example c@d.example   these recipients wait to be sent on, and no others; @due: those that are due
    @put_off b.example 300            an attempt for that destination fails; the next is so many seconds away
    S: 220 {any}                      the next line from the server
    C: EHLO client.example            a line to the server (CRLF is added)
    C2: NOOP                          the same on connection 2
    C<: NOOP\\r\\nRS                  octets as they are (escapes of Python bytes)
    S<: octets exactly, as they are   the next octets from the server
    @half 2 / @drop 2                 the client sends no more / vanishes
    @closed 2                         the server has closed
    @tls 2                            the server has begun TLS
    @deflate 2                        from now on connection 2 speaks deflated, and the server must

In S: lines `{any}` is any text, `{n}` a number, `{word}` text without spaces, `{id}` a message id.  When the
client speaks again, or at the end, nothing may be left unread.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import TryLater
from .bed import Bed
from .onward import QueueLines
from .transport import MemoryTransport

_LINE = re.compile(r"([CS])(\w*)(<?): ?(.*)")
_PATTERNS = {"any": ".*", "n": r"\d+", "word": r"\S+", "id": "[0-9a-z]{13}"}


def _octets(text: str) -> bytes:
    """Text with the escapes of a bytes literal; other characters as UTF-8."""
    quoted = text.replace('"', '\\"')
    plain = "".join(c if c.isascii() else "".join(f"\\x{b:02x}" for b in c.encode()) for c in quoted)
    return bytes(ast.literal_eval(f'b"{plain}"'))


def _pattern(text: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(any|n|word|id)\}", text)
    return re.compile("".join(_PATTERNS[p] if k % 2 else re.escape(p) for k, p in enumerate(pieces)))


class ClientLines:
    """The lines about what becomes of a connection."""

    _clients: dict[str, MemoryTransport]
    _at: str

    def _do_half(self, rest: str) -> None:
        self._clients[rest].half_close()

    def _do_drop(self, rest: str) -> None:
        self._clients[rest].drop()

    def _do_closed(self, rest: str) -> None:
        assert self._clients[rest].closed, f"{self._at}\nthe server has not closed"

    def _do_open(self, rest: str) -> None:
        assert not self._clients[rest].closed, f"{self._at}\nthe server has closed"

    def _do_tls(self, rest: str) -> None:
        assert self._clients[rest].tls, f"{self._at}\nthe server has not begun TLS"

    def _do_deflate(self, rest: str) -> None:
        self._clients[rest].deflate()


class Conversation(QueueLines, ClientLines):
    """Plays one text against a bed."""

    def __init__(self, bed: Bed | None = None, name: str = "conversation") -> None:
        self.bed = bed or Bed()
        self._name = name
        self._clients: dict[str, MemoryTransport] = {}
        self._unread: dict[str, bytes] = {}
        self._at = ""

    def play(self, text: str) -> None:
        """Go through all lines; raises AssertionError with the place."""
        for number, line in enumerate(text.splitlines(), 1):
            self._at = f"{self._name}:{number}: {line.strip()}"
            line = line.rstrip("\r\n")
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if line.startswith("@"):
                self._direct(line[1:])
                continue
            found = _LINE.fullmatch(line)
            assert found, f"{self._at}\nnot a line of a conversation"
            side, client, raw, rest = found.groups()
            if side == "C":
                self._say(client, _octets(rest) if raw else _octets(rest) + b"\r\n")
            elif raw:
                self._expect_octets(client, _octets(rest))
            else:
                self._expect_line(client, rest)
        self._at = f"{self._name}: at the end"
        for client in self._clients:
            self._silent(client)

    def _direct(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        action: Callable[[str], None] | None = getattr(self, f"_do_{verb}", None)
        assert action is not None, f"{self._at}\nunknown directive"
        action(rest.strip())
        self.bed.settle()

    def _do_limits(self, rest: str) -> None:
        self.bed.limit(**_assignments(rest))

    def _do_settings(self, rest: str) -> None:
        self.bed.settings.update(_assignments(rest))

    def _do_connect(self, rest: str) -> None:
        words = rest.split()
        client = words[words.index("as") + 1] if "as" in words else ""
        host = words[words.index("from") + 1] if "from" in words else "192.0.2.1"
        self._clients[client] = self.bed.connect(words[0], tls="tls" in words, host=host)
        self._unread[client] = b""

    def _do_name(self, rest: str) -> None:
        address, name = rest.split()
        self.bed.names.host(address, name)
        if name == "fails":
            self.bed.names.table = dict.fromkeys(self.bed.names.table, TryLater)

    def _do_asked(self, rest: str) -> None:
        asked = list(self.bed.names.asked)
        self.bed.names.asked.clear()
        assert len(asked) == int(rest), f"{self._at}\nasked were {asked}"

    def _do_deliver(self, rest: str) -> None:
        local, _, text = rest.partition(" ")
        self.bed.deliver(_octets(text), local.removesuffix("/utf8"), utf8=local.endswith("/utf8"))

    def _do_advance(self, rest: str) -> None:
        self.bed.settle(float(rest))

    def _fetch(self, client: str) -> bytes:
        self.bed.settle()
        self._unread[client] += self._clients[client].take()
        self.bed.settle()
        self._unread[client] += self._clients[client].take()
        return self._unread[client]

    def _silent(self, client: str) -> None:
        left = self._fetch(client)
        assert not left, f"{self._at}\nthe server also said {left!r}"

    def _say(self, client: str, octets: bytes) -> None:
        self._silent(client)
        self._clients[client].send(octets)
        self.bed.settle()

    def _expect_line(self, client: str, text: str) -> None:
        line, end, rest = self._fetch(client).partition(b"\r\n")
        assert end, f"{self._at}\nthe server said {line!r}"
        self._unread[client] = rest
        said = line.decode("utf-8", "backslashreplace")
        assert _pattern(text).fullmatch(said), f"{self._at}\nthe server said {said}"

    def _expect_octets(self, client: str, octets: bytes) -> None:
        unread = self._fetch(client)
        assert unread.startswith(octets), f"{self._at}\nthe server said {unread[: len(octets) + 80]!r}"
        self._unread[client] = unread[len(octets) :]


def _assignments(text: str) -> dict[str, object]:
    """``a=1 b=true c=none d=word`` as a dict."""
    words = {"true": True, "false": False, "none": None}
    out: dict[str, object] = {}
    for item in text.split():
        key, _, value = item.partition("=")
        if value in words:
            out[key] = words[value]
        elif re.fullmatch(r"-?\d+(\.\d+)?", value):
            out[key] = float(value) if "." in value else int(value)
        else:
            out[key] = value
    return out


def run_conversation(path: Path, bed: Bed | None = None) -> None:
    """Play one file."""
    Conversation(bed, path.name).play(path.read_text(encoding="utf-8"))
