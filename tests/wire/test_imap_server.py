"""The IMAP4 engine: whole conversations, however their octets arrive, and what is never taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.limits import Limits
from mailsrv.wire import imap_requests as r
from mailsrv.wire.engine import NEED_DATA, PAUSED
from mailsrv.wire.imap_server import SLACK_OCTETS, ImapServerEngine
from tests.properties import tries

LIMITS = Limits()
NOT, AUTH, SELECTED = "not authenticated", "authenticated", "selected"


class Talk:
    """A session of few words: it logs everybody in, takes or refuses messages, and keeps the events.

    `refuse` numbers the messages (from 0, over all) that are refused; `challenges` is how many responses
    AUTHENTICATE takes.
    """

    def __init__(
        self, state: str = SELECTED, limits: Limits = LIMITS, refuse: Iterable[int] = (), challenges: int = 1
    ) -> None:
        self.engine = ImapServerEngine(limits)
        self.engine.state = state
        self.refuse, self.challenges = set(refuse), challenges
        self.events: list[Any] = []
        self.messages = self.responses = 0

    def feed(self, octets: bytes) -> Talk:
        self.engine.receive(octets)
        while True:
            event = self.engine.next_event()
            if event is NEED_DATA or event is PAUSED:
                return self
            self.handle(event)
            if type(event) is r.AppendOctets and self.events and type(self.events[-1]) is r.AppendOctets:
                self.events[-1] = r.AppendOctets(self.events[-1].octets + event.octets)
            else:
                self.events.append(event)

    def handle(self, event: Any) -> None:
        engine = self.engine
        if type(event) is r.Login:
            engine.state = AUTH
        elif type(event) is r.Select:
            engine.state = SELECTED
        elif type(event) is r.Authenticate:
            self.responses = self.challenges
            if not self.responses:
                engine.auth_done()
        elif type(event) is r.AuthResponse:
            self.responses -= 1
            if event.octets is None or not self.responses:
                engine.auth_done()
        elif type(event) is r.AppendMessage:
            if self.messages in self.refuse:
                engine.refuse_append()
            else:
                engine.accept_literal()
            self.messages += 1
        elif type(event) is r.Simple and event.name == "IDLE":
            engine.idle()
        elif type(event) is r.Simple and event.name == "STARTTLS":
            engine.tls_refused()


def events(octets: bytes, *cuts: int, **options: Any) -> list[Any]:
    """All events of a conversation that arrives cut at these places."""
    talk, at = Talk(**options), 0
    for cut in [*cuts, len(octets)]:
        talk.feed(octets[at:cut])
        at = cut
    return talk.events


def names(found: list[Any]) -> list[str]:
    return [getattr(event, "name", type(event).__name__) for event in found]


NOOP = r.Simple(b"z", "NOOP")
LAST = b"z NOOP\r\n"

# ---------------------------------------------------------------- conversations

MESSAGE = b"From: a@example.test\r\n\r\nz LOGOUT\r\n.\r\n{3+}\r\n\0\xff"
SIZE = b"%d" % len(MESSAGE)
CONVERSATIONS: dict[str, tuple[dict[str, Any], bytes, list[str]]] = {
    "login": (
        {"state": NOT},
        b"a CAPABILITY\r\nb LOGIN {3}\r\njoe {6+}\r\nsecret\r\nc SELECT INBOX\r\nd UID FETCH 1:* (FLAGS)\r\n"
        b"e LOGOUT\r\nf NOOP\r\n",
        ["CAPABILITY", "Continue", "LOGIN", "SELECT", "UID FETCH", "LOGOUT"],
    ),
    "authenticate": (
        {"state": NOT, "challenges": 2},
        b"a AUTHENTICATE X\r\nYQ==\r\n\r\nb AUTHENTICATE X AGE=\r\n*\r\nc AUTHENTICATE X\r\n!\r\nd NOOP\r\nz NOOP\r\n",
        ["AUTHENTICATE", "AuthResponse", "AuthResponse", "AUTHENTICATE", "AuthResponse", "AUTHENTICATE", "AuthResponse",
         "NOOP", "NOOP"],
    ),
    "starttls refused": ({"state": NOT}, b"a STARTTLS\r\nb NOOP\r\n", ["STARTTLS", "NOOP"]),
    "idle": ({}, b"a IDLE\r\ndone\r\nb IDLE\r\nc NOOP\r\nz NOOP\r\n", ["IDLE", "Done", "IDLE", "Done", "NOOP"]),
    "append": (
        {},
        b'a APPEND INBOX (\\Seen) "17-Jul-1996 02:44:25 -0700" {%b}\r\n%b\r\n' % (SIZE, MESSAGE) + LAST,
        ["APPEND", "AppendMessage", "Continue", "AppendOctets", "AppendEnd", "NOOP"],
    ),
    "multiappend": (
        {},
        b"a APPEND {5+}\r\ninbox {%b+}\r\n%b (\\Draft) {%b}\r\n%b ~{0+}\r\n\r\n" % (SIZE, MESSAGE, SIZE, MESSAGE)
        + LAST,
        ["APPEND", "AppendMessage", "AppendOctets", "AppendMessage", "Continue", "AppendOctets", "AppendMessage",
         "AppendEnd", "NOOP"],
    ),
    "append refused before its octets": (
        {"refuse": [0]}, b"a APPEND x {%b}\r\n" % SIZE + LAST, ["APPEND", "AppendMessage", "NOOP"],
    ),
    "append refused, octets on their way": (
        {"refuse": [0]},
        b"a APPEND x {%b+}\r\n%b (\\Seen) {%b+}\r\n%b\r\n" % (SIZE, MESSAGE, SIZE, MESSAGE) + LAST,
        ["APPEND", "AppendMessage", "NOOP"],
    ),
    "second message refused": (
        {"refuse": [1]},
        b"a APPEND x {%b+}\r\n%b {%b}\r\n" % (SIZE, MESSAGE, SIZE) + LAST,
        ["APPEND", "AppendMessage", "AppendOctets", "AppendMessage", "NOOP"],
    ),
    "append goes wrong after its message": (
        {},
        b"a APPEND x {%b+}\r\n%b(\\Seen)\r\nb APPEND x {%b+}\r\n%b (\\Seen {%b+}\r\n%b\r\n"
        % (SIZE, MESSAGE, SIZE, MESSAGE, SIZE, MESSAGE) + LAST,
        ["APPEND", "AppendMessage", "AppendOctets", "Invalid", "APPEND", "AppendMessage", "AppendOctets", "Invalid",
         "NOOP"],
    ),
    "append that is wrong at once": (
        {},
        b"a APPEND x (\\Seen {%b+}\r\n%b\r\nb APPEND &x {%b}\r\n" % (SIZE, MESSAGE, SIZE)
        + b"c APPEND x\r\nd APPEND ~{3+}\r\nfoo\r\n" + LAST,
        ["Invalid", "Invalid", "Invalid", "Invalid", "NOOP"],
    ),
    "refused commands with literals": (
        {},
        b"a FOO {8+}\r\nx NOOP\r\n {5}\r\nb LOGIN {3}\r\nc UID FETCH {5+}\r\n\r\n\r\n\r\n\r\n"
        b"d COPY 1 {3}\r\nfoo x\r\n" + LAST,
        ["Invalid", "Invalid", "Invalid", "Continue", "Invalid", "NOOP"],
    ),
    "garbage": (
        {"state": NOT},
        b"\r\n \r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01\0\xa5\r\n"
        b"a\0 NOOP\r\na NOOP\nb NOOP\r\na NOOP\r\r\n" + LAST,
        ["Invalid"] * 9 + ["NOOP"],
    ),
    "pipelined": (
        {},
        b"".join(b"a%d UID FETCH %d (BODY.PEEK[])\r\n" % (n, n) for n in range(1, 20))
        + b"b UID SEARCH CHARSET UTF-8 SUBJECT {2+}\r\n\xc3\xa9 UNSEEN\r\nc SEARCH CHARSET X ALL\r\n" + LAST,
        ["UID FETCH"] * 19 + ["UID SEARCH", "SEARCH", "NOOP"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", CONVERSATIONS)
def test_conversations(title: str) -> None:
    options, octets, expected = CONVERSATIONS[title]
    assert names(events(octets, **options)) == expected


@pytest.mark.parametrize("title", CONVERSATIONS)
def test_every_cut_gives_the_same_events(title: str) -> None:
    options, octets, _ = CONVERSATIONS[title]
    whole = events(octets, **options)
    assert whole == events(octets, *range(len(octets)), **options)
    for cut in range(len(octets)):
        assert events(octets, cut, **options) == whole


@settings(max_examples=tries(80), deadline=None)
@given(st.data())
def test_any_cuts_give_the_same_events(data: st.DataObject) -> None:
    options, octets, _ = CONVERSATIONS[data.draw(st.sampled_from(sorted(CONVERSATIONS)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    assert events(octets, *cuts, **options) == events(octets, **options)


# ---------------------------------------------------------------- the parts of a conversation


def test_rfc4959_authenticate_responses() -> None:
    found = events(b"a AUTHENTICATE X\r\nYQ==\r\n\r\n!\r\n*\r\n" + LAST, state=NOT, challenges=9)
    assert found[1:] == [
        r.AuthResponse(b"a"),
        r.AuthResponse(b""),
        r.AuthResponse(None, False),
        r.Invalid(None, "Tag expected"),
        NOOP,
    ]
    assert events(b"a AUTHENTICATE X\r\n*\r\n" + LAST, state=NOT, challenges=9)[1:] == [r.AuthResponse(None), NOOP]


def test_rfc2177_idle() -> None:
    assert events(b"t IDLE\r\nDONE\r\nu IDLE\r\nDONE \r\n")[1::2] == [r.Done(b"t"), r.Done(b"u", False)]


def test_a_session_that_refuses_idle_reads_commands() -> None:
    engine = ImapServerEngine(LIMITS)
    engine.state = AUTH
    engine.receive(b"a IDLE\r\n" + LAST)
    assert engine.next_event() == r.Simple(b"a", "IDLE")
    assert engine.next_event() == NOOP


def test_rfc3501_section_6_2_1_starttls_forgets_what_came_before() -> None:
    engine = ImapServerEngine(LIMITS)
    engine.receive(b"a STARTTLS\r\nb LOGIN joe x\r\nc NO")
    assert engine.next_event() == r.Simple(b"a", "STARTTLS")
    assert engine.next_event() is PAUSED
    engine.receive(b"OP\r\n")
    assert engine.next_event() is PAUSED
    engine.tls_started()
    assert engine.buffered == 0 and engine.next_event() is NEED_DATA and engine.state == NOT
    engine.receive(LAST)
    assert engine.next_event() == NOOP


def test_starttls_forgets_half_a_literal() -> None:
    engine = ImapServerEngine(LIMITS)
    engine.receive(b"a LOGIN {10+}\r\nabc")
    assert engine.next_event() is NEED_DATA
    engine.tls_started()
    engine.receive(LAST)
    assert engine.next_event() == NOOP


def test_nothing_comes_after_logout() -> None:
    talk = Talk().feed(b"a LOGOUT\r\nb NOOP\r\n").feed(LAST)
    assert names(talk.events) == ["LOGOUT"]
    assert talk.engine.next_event() is PAUSED and talk.engine.buffered == 0


def test_a_session_may_end_it() -> None:
    talk = Talk()
    talk.engine.state = "logout"
    assert talk.feed(LAST).events == [] and talk.engine.next_event() is PAUSED and talk.engine.buffered == 0


def test_what_is_incomplete_at_the_end_is_no_event() -> None:
    talk = Talk()
    talk.engine.receive(b"a NOOP\r\nb NOOP")
    talk.engine.eof()
    talk.engine.receive(b"\r\n")
    assert names(talk.feed(b"").events) == ["NOOP"]


def test_append_waits_for_the_session() -> None:
    engine = ImapServerEngine(LIMITS)
    engine.state = AUTH
    engine.receive(b"a APPEND x (\\Seen kw) \" 1-Jan-1970 00:00:10 +0001\" {3}\r\nfoo\r\n")
    engine.accept_literal()
    engine.refuse_append()
    assert engine.next_event() == r.Append(b"a", "APPEND", "x")
    engine.accept_literal()
    assert engine.next_event() == r.AppendMessage((b"\\Seen", b"kw"), -50, 1, 3, True)
    assert engine.next_event() is PAUSED is engine.next_event()
    engine.accept_literal()
    assert [engine.next_event() for _ in range(4)] == [
        r.Continue(), r.AppendOctets(b"foo"), r.AppendEnd(b"a"), NEED_DATA,
    ]  # fmt: skip


@pytest.mark.parametrize("after", range(1, 6))
def test_append_can_be_refused_at_any_moment(after: int) -> None:
    engine = ImapServerEngine(LIMITS)
    engine.state = AUTH
    engine.receive(b"a APPEND x {6+}\r\nfoo")
    steps = [
        r.Append(b"a", "APPEND", "x"), r.AppendMessage((), None, 0, 6, False), r.AppendOctets(b"foo"), NEED_DATA,
        r.AppendOctets(b"bar"),
    ]  # fmt: skip
    for number, expected in enumerate(steps[:after]):
        if number == 4:
            engine.receive(b"bar")
        assert engine.next_event() == expected
        engine.accept_literal()
    engine.refuse_append()
    if after < 5:
        engine.receive(b"bar")
    engine.receive(b" {8+}\r\nx NOOP\r\n\r\n" + LAST)
    assert engine.next_event() == NOOP


def test_append_streams_in_constant_memory() -> None:
    engine = ImapServerEngine(Limits(append_octets=None))
    engine.state = AUTH
    total = 200 * 2**20
    engine.receive(b"a APPEND x {%d+}\r\n" % total)
    assert type(engine.next_event()) is r.Append and engine.next_event().size == total
    engine.accept_literal()
    chunk, seen = bytes(64 * 1024), 0
    while seen < total:
        engine.receive(chunk)
        event = engine.next_event()
        assert event.octets is chunk and engine.buffered == 0
        seen += len(chunk)
    assert engine.next_event() is NEED_DATA
    engine.receive(b"\r\n")
    assert engine.next_event() == r.AppendEnd(b"a")


def test_rfc3502_number_of_messages_is_bounded() -> None:
    found = events(b"a APPEND x" + b" {1+}\r\nx" * 4 + b"\r\n" + LAST, limits=Limits(append_messages=3))
    assert names(found).count("AppendMessage") == 3
    assert found[-2:] == [r.Invalid(b"a", "Too many messages"), NOOP]


# ---------------------------------------------------------------- budgets


def test_a_line_above_the_budget_ends_the_conversation() -> None:
    limit = LIMITS.imap_command_octets_before_login
    fits = b"a LOGIN joe " + b"x" * (limit - 14) + b"\r\n"
    assert len(fits) == limit and names(events(fits, state=NOT)) == ["LOGIN"]
    late = b"a LOGIN {4000+}\r\n" + b"y" * 4000 + b" " + b"x" * limit
    for octets in (fits[:-2] + b"x\r\n", b"a " + b"x" * limit, late):
        talk = Talk(NOT).feed(octets + LAST)
        assert talk.events == [r.Invalid(b"a", "Line too long", True)]
        assert talk.feed(LAST).events == talk.events[:1] and talk.engine.next_event() is PAUSED


def test_literals_share_the_budget_of_the_text() -> None:
    one = b"{2000+}\r\n" + b"y" * 2000
    found = events(b"a LOGIN " + b" ".join([one] * 9) + b"\r\n" + LAST, state=NOT)
    assert found == [r.Invalid(b"a", "Literal too large"), NOOP]


def test_a_synchronising_literal_that_is_too_large_is_not_waited_for() -> None:
    for size in (b"4097", b"9" * 30, b"0" * 30 + b"5000"):
        assert events(b"a LOGIN {%b}\r\n" % size + LAST, state=NOT) == [r.Invalid(b"a", "Literal too large"), NOOP]


def test_rfc7888_a_large_literal_is_dropped_up_to_a_bound() -> None:
    found = events(b"a LOGIN {5000+}\r\n" + LAST * 625 + b" x\r\n" + LAST, state=NOT)
    assert found == [r.Invalid(b"a", "Literal too large"), NOOP]
    for size in (b"40000", b"9" * 30):
        talk = Talk(NOT).feed(b"a LOGIN {%b+}\r\n" % size + LAST)
        assert talk.events == [r.Invalid(b"a", "Literal too large", True)] and talk.engine.next_event() is PAUSED


def test_an_endless_refused_command_ends() -> None:
    talk = Talk(NOT).feed(b"a FOO {8000+}\r\n")
    for _ in range(100):
        talk.feed(b"x" * 8000 + b" {8000+}\r\n")
    assert talk.events == [r.Invalid(b"a", "Literal too large", True)]


def test_a_refused_message_is_dropped_whatever_its_size_within_bounds() -> None:
    limits = Limits(append_octets=2**20)
    talk = Talk(limits=limits, refuse=[0, 1]).feed(b"a APPEND x {%d+}\r\n" % 2**21)
    for _ in range(2**21 // 2**16):
        talk.feed(LAST * (2**16 // 8))
        assert talk.engine.buffered == 0
    assert names(talk.feed(b"\r\n" + LAST).events) == ["APPEND", "AppendMessage", "NOOP"]
    talk.feed(b"b APPEND x {%d+}\r\n" % 2**40)
    assert talk.events[-1] == r.Invalid(None, "Literal too large", True)


def test_literals_may_be_larger_than_what_the_connection_keeps() -> None:
    size = LIMITS.pending_octets + 50_000
    talk = Talk().feed(b"a SEARCH TEXT {%d+}\r\n" % size)
    for _ in range(size // 1000):
        talk.feed(b"x" * 1000)
        assert talk.engine.buffered == 0
    talk.feed(b"x" * (size % 1000) + b"\r\n")
    assert len(talk.events[0].query.text) == size


def test_a_line_longer_than_what_the_connection_keeps_does_not_hang() -> None:
    talk = Talk().feed(b"a UID FETCH ")
    while not talk.events:
        talk.feed(b"1," * 500)
        assert talk.engine.buffered <= LIMITS.pending_octets
    assert talk.events == [r.Invalid(b"a", "Line too long", True)]


def test_lines_of_authenticate_and_idle_are_bounded() -> None:
    limit = LIMITS.imap_command_octets_before_login
    assert events(b"a AUTHENTICATE X\r\n" + b"A" * limit, state=NOT)[1:] == [r.Invalid(b"a", "Line too long", True)]
    assert events(b"a IDLE\r\n" + b"A" * limit)[1:] == [r.Invalid(b"a", "Line too long", True)]


def test_what_a_peer_sends_while_it_is_not_asked_is_bounded() -> None:
    engine = ImapServerEngine(LIMITS)
    bound = LIMITS.pending_octets + SLACK_OCTETS
    for _ in range(100):
        engine.receive(LAST * 8192)
        assert engine.buffered <= bound
    count = 0
    while (event := engine.next_event()) == NOOP:
        count += 1
    assert count == bound // 8 and event == r.Invalid(None, "Too much input", True)


# ---------------------------------------------------------------- anything at all

_PIECES = st.sampled_from(
    [b"a ", b"b ", b"NOOP", b"UID ", b"FETCH ", b"SEARCH ", b"APPEND x ", b"LOGIN ", b"LIST ", b"IDLE", b"STORE ",
     b"DONE", b"AUTHENTICATE X", b"STARTTLS", b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b"\0", b" ", b"(", b")", b'"',
     b"\\", b"{3+}\r\n", b"{3}\r\n", b"~{4+}\r\n", b"{0}\r\n", b"{99999}\r\n", b"{9999999+}\r\n", b"1:*", b"BODY[",
     b"]", b"<0.1>", b"NOT ", b"OR ", b"*", b"&", b"-", b"\xff", b"RETURN (", b"xyz", b"+FLAGS ", b"(\\Seen)",
     b"UTF8 (~{3+}\r\n", b"REPLACE 1 x ", b"REPLACE 1 {3+}\r\n", b"BINARY.PEEK[1]", b"PREVIEW (LAZY)", b"COMPRESS X"]
)  # fmt: skip
_STATES = st.sampled_from([NOT, AUTH, SELECTED])
_KNOWN = {value for value in vars(r).values() if isinstance(value, type)}


def _all_is_well(octets: bytes, cuts: list[int], state: str) -> None:
    talk, at = Talk(state, refuse=[1]), 0
    for cut in [*sorted(cuts), len(octets)]:
        talk.feed(octets[at:cut])
        at = max(at, cut)
        assert talk.engine.buffered <= LIMITS.pending_octets
    assert all(type(event) in _KNOWN for event in talk.events)
    assert talk.events == events(octets, state=state, refuse=[1])


@settings(max_examples=tries(300), deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4), _STATES)
def test_random_octets_never_raise(octets: bytes, cuts: list[int], state: str) -> None:
    _all_is_well(octets, cuts, state)


@settings(max_examples=tries(500), deadline=None)
@given(st.lists(_PIECES, max_size=30), st.lists(st.integers(0, 100), max_size=4), _STATES)
def test_scrambled_commands_never_raise(pieces: list[bytes], cuts: list[int], state: str) -> None:
    _all_is_well(b"".join(pieces), cuts, state)


@settings(max_examples=tries(200), deadline=None)
@given(st.data())
def test_damaged_conversations_never_raise(data: st.DataObject) -> None:
    options, octets, _ = CONVERSATIONS[data.draw(st.sampled_from(sorted(CONVERSATIONS)))]
    at = data.draw(st.integers(0, len(octets)))
    gone = data.draw(st.integers(0, 5))
    octets = octets[:at] + data.draw(st.one_of(st.binary(max_size=3), _PIECES)) + octets[at + gone :]
    _all_is_well(octets, data.draw(st.lists(st.integers(0, len(octets)), max_size=3)), options.get("state", SELECTED))
