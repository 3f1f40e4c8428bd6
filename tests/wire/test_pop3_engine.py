"""The POP3 engine: RFC 1939, RFC 2449, RFC 2595, RFC 5034; what a client sends never makes it raise or grow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.limits import Limits
from mailsrv.wire import pop3_events as e
from mailsrv.wire.engine import NEED_DATA, PAUSED
from mailsrv.wire.pop3 import COMMANDS, RESPONSE_OCTETS, SKIPPED_OCTETS, SLACK_OCTETS, TRANSACTION, Pop3ServerEngine
from tests.properties import tries

LIMITS = Limits(pending_octets=4096)


def engine(logged_in: bool = False) -> Pop3ServerEngine:
    made = Pop3ServerEngine(LIMITS)
    if logged_in:
        made.logged_in()
    return made


def drive(engine: Pop3ServerEngine, pieces: list[bytes]) -> list[Any]:
    """All events; the session's part is played: AUTH without initial response is answered by a challenge, a
    second STLS is refused, PASS logs in."""
    events = []
    for piece in pieces:
        engine.receive(piece)
        while (event := engine.next_event()) not in (NEED_DATA, PAUSED):
            events.append(event)
            if isinstance(event, e.Auth) and event.initial is None:
                engine.expect_response()
            elif isinstance(event, e.Pass):
                engine.logged_in()
            elif isinstance(event, e.Stls):
                engine.resume()
    return events


def flat(events: list[Any]) -> list[Any]:
    """Events, with a DELE for each number: how many come together depends on what has arrived."""
    out: list[Any] = []
    for event in events:
        out += [e.Dele((number,)) for number in event.numbers] if isinstance(event, e.Dele) else [event]
    return out


def one(line: bytes, logged_in: bool = False) -> Any:
    """The only event of a line."""
    (event,) = drive(engine(logged_in), [line + b"\r\n"])
    return event


@pytest.mark.parametrize(
    ("line", "logged_in", "event"),
    [
        (b"USER me", False, e.User("me")),
        (b"user J\xc3\xbcrgen x", False, e.User("Jürgen x")),
        (b"PASS a b  c ", False, e.Pass("a b  c ")),
        (b"APOP Ren\xc3\xa9 B " + b"c4" * 16, False, e.Apop("René B", b"c4" * 16)),
        (b"UTF8", False, e.Utf8()),
        (b"LANG", False, e.Lang(None)),
        (b"LANG en-GB", True, e.Lang("en-GB")),
        (b"lang *", True, e.Lang("*")),
        (b"AUTH", False, e.Mechanisms()),
        (b"AUTH plain", False, e.Auth("PLAIN")),
        (b"AUTH SCRAM-SHA-256 =", False, e.Auth("SCRAM-SHA-256", b"")),
        (b"AUTH PLAIN AG1lAHg=", False, e.Auth("PLAIN", b"\0me\0x")),
        (b"CAPA", False, e.Capa()),
        (b"capa ", True, e.Capa()),
        (b"STLS", False, e.Stls()),
        (b"QUIT", False, e.Quit()),
        (b"QUIT", True, e.Quit()),
        (b"STAT", True, e.Stat()),
        (b"LIST", True, e.List(None)),
        (b"LIST 12", True, e.List(12)),
        (b"UIDL", True, e.Uidl(None)),
        (b"uidl 3 ", True, e.Uidl(3)),
        (b"RETR 0", True, e.Retr(0)),
        (b"Retr 0007", True, e.Retr(7)),
        (b"TOP 1 0", True, e.Top(1, 0)),
        (b"TOP  2  99999999", True, e.Top(2, 99999999)),
        (b"DELE 4294967295", True, e.Dele((4294967295,))),
        (b"NOOP", True, e.Noop()),
        (b"RSET", True, e.Rset()),
    ],
)
def test_rfc1939_section_9_commands(line: bytes, logged_in: bool, event: Any) -> None:
    assert one(line, logged_in) == event


@pytest.mark.parametrize(
    "line",
    [
        b"RETR",
        b"RETR x",
        b"RETR -1",
        b"RETR 1 2",
        b"RETR 99999999999",
        b"RETR \xd9\xa1",
        b"TOP 1",
        b"TOP 1 x",
        b"TOP 1 2 3",
        b"LIST 1 2",
        b"UIDL *",
        b"DELE",
        b"STAT 1",
        b"NOOP x",
        b"RSET x",
        b"QUIT x",
        b"CAPA x",
        b"LANG en_GB",
        b"LANG en de",
        b"LANG \xc3\xa4",
    ],
)
def test_arguments_that_are_none(line: bytes) -> None:
    assert one(line, True) == e.Mistake("Syntax error in arguments")


@pytest.mark.parametrize(
    "line",
    [
        b"USER",
        b"PASS",
        b"USER \xff",
        b"PASS \xc3",
        b"AUTH PLAIN !",
        b"AUTH PLAIN AA== x",
        b"AUTH P\xc3\xa4",
        b"STLS x",
        b"AUTH ABCDEFGHIJKLMNOPQRSTU",
        b"AUTH PLAIN *",
        b"APOP me",
        b"APOP c4c9334bac560ecc979e58001b3e22fb",
        b"APOP me C4C9334BAC560ECC979E58001B3E22FB",
        b"APOP \xff c4c9334bac560ecc979e58001b3e22fb",
        b"UTF8 x",
    ],
)
def test_arguments_that_are_none_before_login(line: bytes) -> None:
    assert one(line) == e.Mistake("Syntax error in arguments")


def test_rfc1939_states_are_kept_for_every_command() -> None:
    for verb, rule in COMMANDS.items():
        for state, logged_in in ((1, False), (2, True)):
            refused = one(verb, logged_in) in (e.Mistake("Not before login"), e.Mistake("Not after login"))
            assert refused == (not rule.states & state), verb


@pytest.mark.parametrize("line", [b"NOOP\nNOOP", b"NOOP\rX", b"NO\0OP", b"\n"])
def test_a_bare_cr_lf_or_nul_spoils_the_whole_line(line: bytes) -> None:
    events = drive(engine(True), [line + b"\r\nSTAT\r\n"])
    assert isinstance(events[0], e.Mistake) and events[1:] == [e.Stat()]


def test_rfc2449_section_4_a_command_has_up_to_255_octets() -> None:
    assert one(b"USER " + b"u" * 248) == e.User("u" * 248)
    assert drive(engine(), [b"USER " + b"u" * 249 + b"\r\nCAPA\r\n"]) == [e.Mistake("Line too long"), e.Capa()]


def test_rfc5034_section_4_an_answer_has_up_to_12_kib() -> None:
    made = engine()
    made.expect_response()
    assert drive(made, [b"A" * (RESPONSE_OCTETS - 4) + b"\r\n"]) == [
        e.Response(b"\0" * ((RESPONSE_OCTETS - 4) // 4 * 3))
    ]
    made.expect_response()
    assert drive(made, [b"A" * RESPONSE_OCTETS + b"\r\nCAPA\r\n"]) == [e.Mistake("Line too long"), e.Capa()]


def test_a_long_initial_response_is_read_all_the_same() -> None:
    assert one(b"auth PLAIN " + b"A" * 4000) == e.Auth("PLAIN", b"\0" * 3000)
    assert one(b"AUTH PLAIN " + b"A" * RESPONSE_OCTETS) == e.Mistake("Line too long")


@pytest.mark.parametrize(
    ("line", "event"),
    [(b"*", e.Abort()), (b"", e.Response(b"")), (b"AA==", e.Response(b"\0")), (b"A", e.Mistake("Malformed base64"))],
)
def test_rfc5034_answers_to_a_challenge(line: bytes, event: Any) -> None:
    assert drive(engine(), [b"AUTH PLAIN\r\n" + line + b"\r\nCAPA\r\n"]) == [e.Auth("PLAIN"), event, e.Capa()]


def test_rfc2595_section_4_stls_pauses_and_drops_what_came_before_tls() -> None:
    made = engine()
    made.receive(b"STLS\r\nUSER injected\r\nPASS x\r\n")
    assert made.next_event() == e.Stls()
    assert made.next_event() is PAUSED
    made.receive(b"CAPA\r\n")
    assert made.next_event() is PAUSED
    made.tls_started()
    assert made.buffered == 0 and made.next_event() is NEED_DATA
    made.receive(b"CAPA\r\n")
    assert made.next_event() == e.Capa()


def test_tls_forgets_half_a_line_that_was_too_long() -> None:
    made = engine()
    assert drive(made, [b"x" * 300]) == [e.Mistake("Line too long")]
    made.tls_started()
    assert drive(made, [b"CAPA\r\n"]) == [e.Capa()]


def test_rfc2449_section_6_6_dele_in_a_row_is_one_event_with_a_number_for_each() -> None:
    lines = b"".join(b"DELE %d\r\n" % n for n in range(1, 1201))
    *rows, mistake, late, last = drive(engine(True), [lines + b"DELE x\r\ndele 7\r\nDELE 8\r\nSTAT\r\n"])
    assert [number for row in rows for number in row.numbers] == list(range(1, 1201))
    assert max(len(row.numbers) for row in rows) == 501
    assert (mistake, late, last) == (e.Mistake("Syntax error in arguments"), e.Dele((7, 8)), e.Stat())


def test_nothing_follows_quit() -> None:
    made = engine()
    assert drive(made, [b"QUIT\r\nCAPA\r\n", b"CAPA\r\n"]) == [e.Quit()]
    assert made.next_event() is PAUSED and made.buffered == 0


def test_an_unfinished_line_at_the_end_is_no_event() -> None:
    made = engine(True)
    made.receive(b"NOOP\r\nDELE 1")
    made.eof()
    made.receive(b"\r\n")
    assert [made.next_event(), made.next_event()] == [e.Noop(), NEED_DATA]


def test_a_line_without_end_ends_the_conversation() -> None:
    made = engine(True)
    events = []
    for _ in range(SKIPPED_OCTETS // 1000 + 2):
        events += drive(made, [b"x" * 1000])
        assert made.buffered <= 1001
    assert events == [e.Mistake("Line too long"), e.Overflow()]
    assert made.next_event() is PAUSED


def test_what_nobody_takes_is_bounded() -> None:
    made = engine(True)
    for _ in range(100):
        made.receive(b"NOOP\r\n" * 1000)
        assert made.buffered <= LIMITS.pending_octets + SLACK_OCTETS
    events = drive(made, [b""])
    assert events[-1] == e.Overflow() and set(map(type, events)) == {e.Noop, e.Overflow}


SCRIPT = (
    b"CAPA\r\nUSER me\r\nNO\nOP\r\nAUTH PLAIN\r\nAG1lAHg=\r\nAUTH LOGIN\r\n*\r\nSTLS\r\nUSER "
    + b"u" * 260
    + b"\r\nAUTH PLAIN "
    + b"A" * 300
    + b"\r\nPASS x y\r\nSTAT\r\nRETR 1\r\r\nTOP 1 2\r\n\r\nbogus\r\nQUIT\r\nNOOP\r\n"
)


def test_split_at_every_octet_gives_the_same_events() -> None:
    whole = drive(engine(), [SCRIPT])
    assert len(whole) == 17 and whole[-1] == e.Quit()
    assert drive(engine(), [SCRIPT[i : i + 1] for i in range(len(SCRIPT))]) == whole
    for cut in range(len(SCRIPT)):
        assert drive(engine(), [SCRIPT[:cut], SCRIPT[cut:]]) == whole


WORDS = st.sampled_from(
    [
        b"RETR",
        b"USER",
        b"PASS",
        b"AUTH",
        b"TOP",
        b"LIST",
        b"STLS",
        b" ",
        b" 1",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"*",
        b"=",
        b"PLAIN",
        b"AAAA",
        b"x" * 250,
        b"A" * 13000,
        b"\xff",
        b"9" * 11,
        b"NOOP\r\n",
        b"CAPA\r\n",
        b"DELE 1\r\n",
        b"DELE 2",
        b"APOP x ",
        b"LANG",
    ]
)


@settings(max_examples=tries(150), deadline=None)
@given(st.lists(WORDS | st.binary(max_size=8), max_size=25), st.booleans(), st.randoms(use_true_random=False))
def test_no_input_makes_it_raise_grow_or_depend_on_the_cuts(words: list[bytes], logged_in: bool, random: Any) -> None:
    octets = b"".join(words)
    whole_engine = engine(logged_in)
    whole = flat(drive(whole_engine, [octets]))
    assert whole_engine.buffered <= RESPONSE_OCTETS
    places = sorted(random.randrange(len(octets) + 1) for _ in range(6))
    cuts = [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)])]
    assert flat(drive(engine(logged_in), cuts)) == whole


def test_secrets_are_not_in_the_text_of_events() -> None:
    for event in (e.Pass("hunter2"), e.Auth("PLAIN", b"hunter2"), e.Response(b"hunter2")):
        assert "hunter2" not in repr(event)


def test_logging_in_is_a_state_of_the_engine() -> None:
    assert engine(True).state == TRANSACTION
