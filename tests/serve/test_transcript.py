"""Transcripts of sessions: what is said both ways, without secrets and without the octets of messages."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.net.overhear import overhear, overheard
from mailsrv.net.pump import Pump
from mailsrv.serve.transcript import Transcript
from mailsrv.serve.transcript_lines import clean
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from tests.properties import tries

SECRET = "hunter2hunter2"


class Watched:
    """A client whose session is read along."""

    def __init__(self, protocol: str, before: bytes = b"", content: bool = False, **more: Any) -> None:
        self.bed = Bed(**more)
        self.client: MemoryTransport = self.bed.connect(protocol)
        self.lines: list[str] = []
        self.gone = False
        if before:
            self.say(before)
        self.protocol = protocol
        self.listen(content)
        self.lines.clear()

    def listen(self, content: bool = False) -> None:
        connection = self.client.protocol
        ear = Transcript(self.protocol, self._tell, self._end, content, connection.busy)
        self.stop = overhear(connection, ear)

    def _tell(self, who: str, text: str) -> None:
        self.lines.append(f"{who[0].upper()}: {text}")

    def _end(self) -> None:
        self.gone = True

    def say(self, *pieces: bytes) -> list[str]:
        """Say it, in so many reads; all that was said since the last time."""
        for octets in pieces:
            self.client.send(octets)
            self.bed.settle()
        return self.take()

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


def client(lines: list[str]) -> list[str]:
    """What the client said."""
    return [line for line in lines if line.startswith("C:")]


# ---------------------------------------------------------------- what is shown


def test_a_transcript_of_smtp_has_both_sides_and_the_size_of_the_message() -> None:
    watched = Watched("smtp")
    assert watched.say(b"EHLO c.example\r\nNOOP\r\n")[:2] == ["C: EHLO c.example", "S: 250-mx.example.org"]
    said = watched.say(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\n", b"DATA\r\n")
    assert said == [
        "C: MAIL FROM:<a@b.example>", "S: 250 2.1.0 Sender OK",
        "C: RCPT TO:<me@example.org>", "S: 250 2.1.5 Recipient OK",
        "C: DATA", "S: 354 End data with <CRLF>.<CRLF>",
    ]
    said = watched.say(b"Subject: x\r\n", b"\r\nvery private\r\n", b".\r\nQUIT\r\n")
    assert said[0] == "C: (31 octets of a message)" and said[1].startswith("S: 250 2.0.0 OK id=")
    assert said[2:] == ["C: QUIT", "S: 221 2.0.0 Goodbye"] and watched.gone


def test_a_chunk_that_nobody_takes_is_no_command() -> None:
    watched = Watched("smtp", b"EHLO c\r\n")
    assert watched.say(b"BDAT 13\r\nQUIT\r\nprivateNOOP\r\n") == [
        "C: BDAT 13", "S: 503 5.5.1 MAIL first", "C: (13 octets of a message)", "C: NOOP", "S: 250 2.0.0 OK",
    ]
    # More than is kept of one event.
    said = watched.say(b"BDAT 100000\r\n" + b"private\r\n" * 11111, b"x" + b"NOOP\r\n")
    assert said == ["C: BDAT 100000", "S: 503 5.5.1 MAIL first", "C: (100000 octets of a message)", "C: NOOP",
                    "S: 250 2.0.0 OK"]  # fmt: skip


def test_a_transcript_of_imap_has_literals_of_commands_and_numbers_for_messages() -> None:
    watched = Watched("imap", b"a LOGIN me secret\r\n")
    said = watched.say(
        b"b CREATE {3}\r\n", b"box\r\nc SELECT box\r\nd APPEND box (\\Seen) {9}\r\n", b"A: b\r\n\r\nx\r\n"
    )
    assert client(said) == [
        "C: b CREATE {3}\\r\\nbox", "C: c SELECT box", "C: d APPEND box (\\Seen) {9}", "C: (9 octets of a message)",
    ]
    assert watched.say(b"e FETCH 1 (FLAGS BODY[])\r\n") == [
        "C: e FETCH 1 (FLAGS BODY[])", "S: * 1 FETCH (FLAGS (\\Seen \\Recent) BODY[] {9}",
        "S: (9 octets of a message)", "S: )", "S: e OK FETCH completed",
    ]
    assert watched.say(b"f IDLE\r\n", b"DONE\r\n") == [
        "C: f IDLE", "S: + idling", "C: DONE", "S: f OK IDLE completed",
    ]


def test_what_belongs_to_a_refused_append_is_no_command() -> None:
    watched = Watched("imap", b"a LOGIN me secret\r\n")
    said = watched.say(b"b APPEND none {20+}\r\nx LOGIN private\r\nxyz\r\nc NOOP\r\n")
    assert client(said) == ["C: b APPEND none {20+}", "C: c NOOP"]


def test_a_transcript_of_pop3_has_lists_and_numbers_for_messages() -> None:
    watched = Watched("pop3")
    watched.bed.deliver(b"Subject: x\r\n\r\nvery private\r\n")
    said = watched.say(
        b"USER me\r\nPASS secret\r\nLIST\r\nRETR 1\r\nTOP 1 0\r\nRETR 7\r\nDELE 1\r\nDELE 2\r\nQUIT\r\n"
    )
    assert said == [
        "C: USER me", "S: +OK Password, please", "C: PASS ***", "S: +OK 1 messages (28 octets)",
        "C: LIST", "S: +OK 1 messages (28 octets)", "S: 1 28", "S: .",
        "C: RETR 1", "S: +OK 28 octets", "S: (31 octets of a message)",
        "C: TOP 1 0", "S: +OK Top of message follows", "S: (17 octets of a message)",
        "C: RETR 7", "S: -ERR No such message", "C: DELE 1", "C: DELE 2", "S: +OK Marked", "S: -ERR No such message",
        "C: QUIT", "S: +OK Goodbye",
    ]


def test_messages_are_shown_where_that_is_wanted() -> None:
    watched = Watched("smtp", b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<me@example.org>\r\nDATA\r\n", content=True)
    assert client(watched.say(b"Subject: x\r\n\r\nhello\r\n.\r\n")) == [
        "C: Subject: x", "C: ", "C: hello", "C: .",
    ]
    imap = Watched("imap", b"a LOGIN me secret\r\n", content=True)
    imap.bed.deliver(b"Subject: x\r\n\r\nhello\r\n")
    said = imap.say(b"b EXAMINE INBOX\r\nc FETCH 1 BODY[]\r\n")
    assert ["S: Subject: x", "S: ", "S: hello"] == said[-5:-2]


def test_a_line_is_shown_with_what_is_no_text_escaped_and_no_longer_than_a_thousand_octets() -> None:
    watched = Watched("smtp", b"EHLO c\r\n")
    said = client(watched.say(b"NOOP \x1b[31m\r\n", "NOOP \u202e\u00e4\r\n".encode(), b"NOOP " + b"x" * 1500 + b"\r\n"))
    assert said[:2] == ["C: NOOP \\x1b[31m", "C: NOOP \\u202e\u00e4"]
    assert said[2] == f"C: NOOP {'x' * 995} ... (505 octets more)"
    assert clean(b"a\xe4b\r\n") == "a\\xe4b\\r\\n"


# ---------------------------------------------------------------- secrets

SECRETS = [
    ("smtp", [b"EHLO c\r\n", b"AUTH PLAIN %b\r\n" % b64(f"\0me\0{SECRET}")]),
    ("smtp", [b"EHLO c\r\n", b"AUTH PLAIN\r\n", b"%b\r\n" % b64(f"\0me\0{SECRET}"), b"NOOP\r\n"]),
    ("smtp", [b"EHLO c\r\n", b"AUTH LOGIN\r\n", b"%b\r\n" % b64("me"), b"%b\r\n" % b64(SECRET), b"NOOP\r\n"]),
    ("smtp", [b"EHLO c\r\n", b"AUTH LOGIN %b\r\n" % b64("me"), b"*\r\n", b"%b\r\n" % b64(SECRET)]),
    ("smtp", [b"AUTH %b\r\n" % SECRET.encode(), b"AUTH PLAIN %b x\r\n" % SECRET.encode()]),
    ("smtp", [b"EHLO c\r\n", b"PASS %b\r\n" % SECRET.encode(), b"%b\r\n" % SECRET.encode()]),
    ("smtp", [b"EHLO c\r\n", b"AUTH PLAIN\r\n", SECRET.encode() * 2000 + b"\r\n"]),
    ("smtp", [b"EHLO c\r\n", b"AUTH PLAIN " + SECRET.encode() * 2000 + b"\r\n"]),
    ("smtp", [b"GET / HTTP/1.1\r\nAuthorization: Basic %b\r\n" % SECRET.encode()]),
    ("smtp", [b"EHLO c\r\n", b"STARTTLS\r\nAUTH PLAIN %b\r\n" % SECRET.encode(), b"EHLO c\r\n"]),
    ("smtp", [b"EHLO c\r\n", b"QUIT\r\nAUTH PLAIN %b\r\n" % SECRET.encode()]),
    ("imap", [b"a LOGIN me %b\r\n" % SECRET.encode()]),
    ("imap", [b"a login {2}\r\n", b"me {14}\r\n", SECRET.encode() + b"\r\n"]),
    ("imap", [b"a LOGIN {2+}\r\nme {14+}\r\n%b\r\nb NOOP\r\n" % SECRET.encode()]),
    ("imap", [b'a LOGIN me "%b" more\r\n' % SECRET.encode(), b"LOGIN me %b\r\n" % SECRET.encode()]),
    ("imap", [b"a LOGIN me {14+}\r\n%b {3\r\n" % SECRET.encode()]),
    ("imap", [b"a AUTHENTICATE PLAIN\r\n", b"%b\r\n" % b64(f"\0me\0{SECRET}"), b"b NOOP\r\n"]),
    ("imap", [b"a AUTHENTICATE PLAIN %b\r\n" % b64(f"\0me\0{SECRET}")]),
    ("imap", [b"a AUTHENTICATE %b\r\n" % SECRET.encode(), b"%b\r\n" % SECRET.encode()]),
    ("imap", [b"a LOGOUT\r\nb LOGIN me %b\r\n" % SECRET.encode()]),
    ("imap", [b"a IDLE\r\n", b"b LOGIN me secret\r\n", b"c IDLE\r\n", SECRET.encode() + b"\r\n"]),
    ("pop3", [b"USER me\r\n", b"PASS %b\r\n" % SECRET.encode(), b"%b\r\n" % SECRET.encode()]),
    ("pop3", [b"PASS\t%b\r\n" % SECRET.encode(), b"pass %b\r\nPASS %b x\r\n" % ((SECRET.encode(),) * 2)]),
    ("pop3", [b"APOP me %b\r\n" % SECRET.encode(), b"APOP %b\r\n" % SECRET.encode()]),
    ("pop3", [b"AUTH PLAIN\r\n", b"%b\r\n" % b64(f"\0me\0{SECRET}"), b"AUTH %b\r\n" % SECRET.encode()]),
    ("pop3", [b"QUIT\r\nPASS %b\r\n" % SECRET.encode()]),
]


def shows(lines: list[str]) -> bool:
    """Whether the secret, or base64 with it, can be read in there."""
    text = "\n".join(lines)
    marks = [SECRET, *(b64("x" * at + SECRET).decode()[4:-4] for at in range(3))]
    return any(mark in text for mark in marks)


@pytest.mark.parametrize(("protocol", "pieces"), SECRETS)
@pytest.mark.parametrize("content", [False, True])
def test_no_secret_of_a_login_is_shown(protocol: str, pieces: list[bytes], content: bool) -> None:
    watched = Watched(protocol, content=content)
    lines = watched.say(*pieces)
    assert client(lines) and not shows(lines), lines
    # Whatever is read together, and whenever somebody begins to listen.
    together = Watched(protocol, content=content)
    assert not shows(together.say(b"".join(pieces)))
    for begun in range(1, len(pieces)):
        late = Watched(protocol, b"".join(pieces[:begun]), content=content)
        assert not shows(late.say(*pieces[begun:])), begun


@settings(max_examples=tries(20), deadline=None)
@given(st.sampled_from(SECRETS), st.data())
def test_no_secret_is_shown_however_it_comes(script: tuple[str, list[bytes]], data: st.DataObject) -> None:
    protocol, pieces = script
    octets = b"".join(pieces)[:600]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    begin = data.draw(st.integers(0, len(cuts)))
    parts = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)])]
    watched = Watched(protocol, b"".join(parts[:begin]))
    assert not shows(watched.say(*parts[begin:]))


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
@settings(max_examples=tries(15), deadline=None)
@given(st.data())
def test_the_conversation_is_the_same_with_a_listener(protocol: str, data: st.DataObject) -> None:
    words = [
        b"EHLO c\r\n", b"MAIL FROM:<>\r\n", b"BDAT 5\r\n", b"DATA\r\n", b".\r\n", b"a LOGIN me secret\r\n",
        b"b SELECT", b" INBOX\r\n", b"c APPEND INBOX {5+}\r\n", b"{3}\r\n", b"USER me\r\n", b"PASS secret\r\n",
        b"LIST\r\n", b"\0\xff",
    ]
    parts = data.draw(st.lists(st.lists(st.sampled_from(words), max_size=4).map(b"".join), max_size=5))
    plain, watched = Bed().connect(protocol), Watched(protocol)
    watched.client.take()
    plain.take()
    for part in parts:
        plain.send(part)
        watched.client.send(part)
    watched.bed.settle()
    assert len(plain.take()) == len(watched.client.take()) and plain.closed == watched.client.closed


# ---------------------------------------------------------------- listening


def test_who_does_not_listen_any_more_has_left_nothing_behind() -> None:
    watched = Watched("imap")
    connection: Pump = watched.client.protocol
    assert overheard(connection)
    watched.say(b"a LOGIN me sec")
    watched.stop()
    assert not overheard(connection) and type(connection._out) is list
    assert watched.say(b"ret\r\nb NOOP\r\n") == []
    assert b"b OK" in watched.client.take()


def test_who_begins_in_the_middle_hears_from_the_next_command_on() -> None:
    watched = Watched("smtp", b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<me@example.org>\r\nDATA\r\nprivate\r\npri")
    assert client(watched.say(b"vate\r\n.\r\nNOOP\r\n")) == ["C: (9 octets of a message)", "C: NOOP"]


def test_the_end_of_the_connection_is_told() -> None:
    watched = Watched("imap")
    watched.client.drop()
    assert watched.gone


def test_what_a_server_says_by_itself_is_there() -> None:
    watched = Watched("imap", b"a LOGIN me secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
    watched.bed.deliver(b"Subject: x\r\n\r\n")
    assert "S: * 1 EXISTS" in watched.take()
    watched.client.protocol.dismiss("terminated")
    assert watched.take() == ["S: * BYE Session terminated by an administrator"] and watched.gone
