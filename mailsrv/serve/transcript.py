"""A conversation as administrators may read it (floor 5): lines both ways, without secrets.

What is secret is decided by what the engine understood, never by reading a second time: of events that carry
credentials the arguments are not shown; a line that was no command is shown only when it begins with the name of one,
and no further than a word after which credentials come.  Octets of messages become a number, unless they are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..wire import imap_requests as imap
from ..wire import pop3_events as pop3
from ..wire import smtp_events as smtp
from ..wire.imap_commands import ROWS
from ..wire.imap_framing import literal_at_end
from ..wire.pop3 import COMMANDS
from ..wire.sasl import mechanisms
from ..wire.smtp_commands import LMTP, SMTP
from .answers_heard import Answers
from .transcript_lines import BLANK, LINE, Tell, clean, counted

_BODIES = (smtp.Body, imap.AppendOctets)
_RESPONSES = (smtp.AuthResponse, imap.AuthResponse, pop3.Response, pop3.Abort)
_MISTAKES = (smtp.Wrong, imap.Invalid, pop3.Mistake, pop3.Overflow)
#: Credentials follow.
_KEYWORD = re.compile(rb"(?i)\b(?:LOGIN|AUTH|AUTHENTICATE|PASS|APOP)\b")
_VERBS = {
    "smtp": frozenset(name.encode("ascii") for name in (*SMTP, *LMTP)),
    "imap": frozenset(row.name.encode("ascii").split()[0] for row in ROWS),
    "pop3": frozenset(COMMANDS),
}
_MECHANISMS = frozenset({*mechanisms(), "NTLM", "GSSAPI", "GSS-SPNEGO", "DIGEST-MD5", "SCRAM-SHA-512"})
_CRLF = b"\r\n"


class Transcript:
    """An ear of a connection (`net/overhear.py`): `tell(who, text)` is called for each line, `who` is "client" or
    "server"; `gone()` at the end of the connection.

    `content`: octets of messages are shown, too.  `busy`: it begins in the middle of a command, whose answer is left
    out.
    """

    def __init__(
        self, protocol: str, tell: Tell, gone: Callable[[], None], content: bool = False, busy: bool = False
    ) -> None:
        self._protocol, self._tell, self._gone, self._content = protocol, tell, gone, content
        self._answers = Answers(protocol, tell, content, busy)
        self._first = True
        #: Octets of a message that were not told yet; of a chunk that will be dropped if nobody takes it; and a
        #: command that waits for its literal.
        self._octets = self._chunk = 0
        self._begun = b""

    def heard(self, event: Any, octets: bytes, left_out: int) -> None:
        """See Ear."""
        self._answers.turn(event)
        if isinstance(event, imap.Continue):
            self._begun = (self._begun + octets)[: 2 * LINE]
            return
        octets, self._begun = self._begun + octets, b""
        if isinstance(event, _BODIES):
            self._body(event, octets, left_out)
            return
        self._flush()
        first, self._first = self._first, False
        if not octets:
            return
        if self._chunk:
            # Nobody took it.
            self._octets, command = self._chunk, len(octets) + left_out - self._chunk
            octets, self._chunk = octets[-command:] if command > 0 else b"", 0
            self._flush()
        if isinstance(event, smtp.Chunk):
            self._chunk = event.size
        for text in self._lines(event, octets, first):
            self._tell("client", text)

    def said(self, octets: bytes) -> None:
        """See Ear."""
        self._answers.said(octets)

    def ended(self) -> None:
        """See Ear."""
        self._flush()
        self._answers.flush()
        self._gone()

    def _body(self, event: Any, octets: bytes, left_out: int) -> None:
        """Octets of a message."""
        self._chunk, self._first = 0, False
        if self._content:
            for line in octets.removesuffix(_CRLF).split(_CRLF):
                self._tell("client", clean(line))
        else:
            self._octets += len(octets) + left_out
            if getattr(event, "last", False):
                self._flush()

    def _flush(self) -> None:
        octets, self._octets = self._octets, 0
        if octets:
            self._tell("client", counted(octets))

    def _lines(self, event: Any, octets: bytes, first: bool) -> list[str]:
        """What is shown of an event that is no body."""
        if isinstance(event, _RESPONSES):
            return [BLANK]
        if isinstance(event, _MISTAKES):
            shown = "" if first else self._mistake(octets)
            if not shown:
                # The answer begins with its first word.
                self._answers.hidden = getattr(event, "tag", None)
            return [shown or f"({len(octets)} octets that are no command)"]
        blanked = _blanked(event)
        if blanked:
            return [blanked]
        if isinstance(event, imap.Done) and not event.valid:
            return [f"({len(octets)} octets instead of DONE)"]
        if isinstance(event, pop3.Dele):
            return [clean(line) for line in octets.removesuffix(_CRLF).split(_CRLF)]
        tag = getattr(event, "tag", None)
        if isinstance(event, imap.Request | imap.BadCharset) and tag is not None:
            octets = _from_tag(octets, tag)
            return [clean(octets[: _extent(octets)].removesuffix(_CRLF))] if octets else [clean(tag + b" (a command)")]
        line = octets.partition(_CRLF)[0]
        return [clean(line)] if line else []

    def _mistake(self, octets: bytes) -> str:
        """A line that was no command, without credentials; "" when nothing of it can be shown."""
        line = octets.partition(_CRLF)[0]
        words = line.split(b" ")
        at = 1 if self._protocol == "imap" else 0
        if len(words) <= at or words[at].upper() not in _VERBS[self._protocol]:
            return ""
        found = _KEYWORD.search(line)
        return clean(line) if found is None else f"{clean(line[: found.end()])} {BLANK}"


def _blanked(event: Any) -> str:
    """A command with credentials, without them; "" for any other."""
    if isinstance(event, smtp.Auth | pop3.Auth | imap.Authenticate):
        name = event.mechanism if event.mechanism in _MECHANISMS else BLANK
        more = "" if event.initial is None and getattr(event, "valid", True) else f" {BLANK}"
        tag = f"{clean(event.tag)} AUTHENTICATE" if isinstance(event, imap.Authenticate) else "AUTH"
        return f"{tag} {name}{more}"
    if isinstance(event, imap.Login):
        return f"{clean(event.tag)} LOGIN {BLANK}"
    if isinstance(event, pop3.Pass | pop3.Apop):
        return f"{type(event).__name__.upper()} {BLANK}"
    return ""


def _from_tag(octets: bytes, tag: bytes) -> bytes:
    """From where the command with that tag begins: before it there may be what was dropped.  b"" when it is not
    there."""
    if octets.startswith(tag + b" "):
        return octets
    at = octets.rfind(_CRLF + tag + b" ")
    return octets[at + 2 :] if at >= 0 else b""


def _extent(octets: bytes) -> int:
    """Where the command that begins there ends: its line, and as long as that announces a literal the literal and a
    further line."""
    at = 0
    while True:
        end = octets.find(_CRLF, at)
        if end < 0:
            return len(octets)
        literal = literal_at_end(octets[at:end])
        if literal is None:
            return end
        at = end + 2 + literal.size
        if at >= len(octets):
            return len(octets)
