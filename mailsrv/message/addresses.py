"""Address lists of header fields (floor 1): RFC 5322 sections 3.4 and 4.4, for IMAP's ENVELOPE.

An address is (name, route, mailbox, host), octets as written with quoting undone, None for NIL; a group is an
address with only a mailbox (its name), its members, and one of four None (RFC 9051 section 7.5.2).
"""

from __future__ import annotations

import re

#: Addresses read of one field.
MAX_ADDRESSES = 10_000

Entry = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
_GROUP_END: Entry = (None, None, None, None)

#: The shapes of nearly all addresses: `a@b`, `Name <a@b>`, `"Name" <a@b>`.
_USUAL = re.compile(
    rb'[ \t]*+(?:(?:"([^"\\]*+)"[ \t]*+|([^"<>@,;:()\[\]\\]*+))<([^"<>@,;:()\[\]\\ \t]++)@([^"<>@,;:()\[\]\\ \t]++)>'
    rb"|([^\"<>@,;:()\[\]\\ \t]++)@([^\"<>@,;:()\[\]\\ \t]++))[ \t]*+(?:,|\Z)"
)
_TOKEN = re.compile(
    rb'[ \t\r\n]++|"((?:[^"\\]++|\\.)*+)"?+|(\()|(\[[^\]]*+\]?+)|([<>@,;:])|([^ \t\r\n"()<>\[,;:@]++)', re.DOTALL
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_IN_COMMENT = re.compile(rb"[()]|\\.", re.DOTALL)


def parse_addresses(value: bytes) -> list[Entry]:
    """The addresses of a field's unfolded value; never raises, at most about `MAX_ADDRESSES`."""
    found: list[Entry] = []
    at, end = 0, len(value)
    match = _USUAL.match
    while at < end and len(found) < MAX_ADDRESSES:
        usual = match(value, at)
        if usual is None:
            return _Reader(value).read()
        quoted, phrase, mailbox, host, bare, bare_host = usual.groups()
        if bare is not None:
            found.append((None, None, bare, bare_host))
        elif quoted is not None:
            found.append((quoted or None, None, mailbox, host))
        else:
            found.append((b" ".join(phrase.split()) or None, None, mailbox, host))
        at = usual.end()
    return found


class _Reader:
    """Reads any address list token by token, one address at a time."""

    __slots__ = ("angle", "comment", "domain", "found", "group", "inside", "phrase", "route", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.found: list[Entry] = []
        self.group = False
        self._clear()

    def _clear(self) -> None:
        #: Words before "<" or the whole address without one; True marks punctuation.
        self.phrase: list[tuple[bytes, bool]] = []
        self.inside: list[tuple[bytes, bool]] = []
        self.comment: bytes | None = None
        #: 0: no "<" yet, 1: between "<" and ">", 2: after ">".
        self.angle = 0
        #: An "@" was read outside "<"; a source route is being read inside.
        self.domain = self.route = False

    def read(self) -> list[Entry]:
        """All addresses."""
        at, end, value = 0, len(self.value), self.value
        while at < end and len(self.found) < MAX_ADDRESSES:
            token = _TOKEN.match(value, at)
            if token is None:  # a stray "]" or ")" has no meaning
                at += 1
                continue
            at = token.end()
            kind = token.lastindex
            if kind == 1:
                quoted = token[1]
                self._word(_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
            elif kind == 2:
                at = self._comment(at)
            elif kind == 4:
                self._mark(token[4])
            elif kind is not None:
                self._word(token[kind])
        self._finish()
        if self.group:
            self.found.append(_GROUP_END)
        return self.found

    def _word(self, word: bytes) -> None:
        if self.angle == 0:
            self.phrase.append((word, False))
        elif self.angle == 1:
            self.inside.append((word, False))

    def _comment(self, at: int) -> int:
        """Skip a comment whose "(" was read; remember the text of the last one: it may be a name."""
        start, depth = at, 1
        for mark in _IN_COMMENT.finditer(self.value, at):
            if mark[0] == b"(":
                depth += 1
            elif mark[0] == b")":
                depth -= 1
                if not depth:
                    text = self.value[start : mark.start()]
                    self.comment = _ESCAPED.sub(rb"\1", text) if b"\\" in text else text
                    return mark.end()
        self.comment = self.value[start:]
        return len(self.value)

    def _mark(self, mark: bytes) -> None:
        """One of < > @ , ; :"""
        if self.angle == 1:
            if mark == b">":
                self.angle = 2
            elif mark == b";" or (mark == b"," and not self.route):
                # QUIRK: a lost ">"; the next address must not be swallowed with it.
                self._separate(mark)
            elif mark != b"<":
                self.route = mark != b":" and (self.route or not self.inside)
                self.inside.append((mark, True))
        elif mark == b"<":
            # QUIRK: two addresses without a comma between them.
            if self.angle == 2:
                self._finish()
            self.angle = 1
        elif mark in b",;":
            self._separate(mark)
        elif mark == b":":
            self._colon()
        elif mark == b"@" and self.angle == 0:
            self.domain = True
            self.phrase.append((mark, True))

    def _colon(self) -> None:
        """The end of a group's name; elsewhere it means nothing."""
        if self.angle:
            return
        if not self.group and not self.domain:
            name = b" ".join(word for word, _ in self.phrase)
            self.found.append((None, None, name, None))
            self.group = True
            self._clear()
        elif self.phrase:
            self.phrase.append((b":", True))

    def _separate(self, mark: bytes) -> None:
        self._finish()
        if mark == b";" and self.group:
            self.group = False
            self.found.append(_GROUP_END)

    def _finish(self) -> None:
        """Make an address of what was read since the last one."""
        if self.angle:
            route, mailbox, host = _addr_spec(self.inside)
            name = b" ".join(word for word, _ in self.phrase).strip()
            self.found.append((name or self.comment or None, route, mailbox, host))
        elif self.phrase:
            route, mailbox, host = _addr_spec(self.phrase)
            self.found.append((self.comment or None, route, mailbox, host))
        self._clear()


def _addr_spec(tokens: list[tuple[bytes, bool]]) -> tuple[bytes | None, bytes, bytes]:
    """Route, mailbox and host; a missing mailbox or host is empty, for NIL would mean a group."""
    route: bytes | None = None
    if tokens and tokens[0] == (b"@", True):
        # Obsolete source route (RFC 5322 section 4.4): @a,@b:mailbox@host.
        for at, token in enumerate(tokens):
            if token == (b":", True):
                route = b"".join(text for text, _ in tokens[:at])
                tokens = tokens[at + 1 :]
                break
    for at in range(len(tokens) - 1, -1, -1):
        if tokens[at] == (b"@", True):
            return route, _joined(tokens[:at]), b"".join(text for text, _ in tokens[at + 1 :])
    return route, _joined(tokens), b""


def _joined(tokens: list[tuple[bytes, bool]]) -> bytes:
    """A mailbox of its words; a space where two words meet that no dot joins."""
    out: list[bytes] = []
    last = b"."
    for text, mark in tokens:
        if out and not mark and last[-1:] not in (b".", b"@", b":") and text[:1] != b".":
            out.append(b" ")
        out.append(text)
        last = text or b" "
    return b"".join(out)
