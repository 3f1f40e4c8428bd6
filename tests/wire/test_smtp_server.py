"""The SMTP engine: what octets become which events, however they arrive (RFC 5321, RFC 2920, RFC 3207)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsrv.limits import Limits
from mailsrv.values import Address, Reply
from mailsrv.wire import smtp_server as wire
from mailsrv.wire.engine import NEED_DATA, PAUSED
from mailsrv.wire.smtp_commands import SMTP, read_command, read_usual
from mailsrv.wire.smtp_data import BodyReader
from mailsrv.wire.smtp_syntax import print_address, print_reply, read_domain, read_parameters, read_path
from tests.properties import tries

LIMITS = Limits(command_octets=200, text_line_octets=100)

SCRIPT = (
    b"EHLO client.example\r\nMAIL FROM:<a.b@c.example> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<\"x y\"@d.example>\r\n"
    b"BOGUS\r\n" + b"N" * 300 + b"\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.a\r\n\r\n.\r\nRSET\r\n"
    b"AUTH PLAIN AAAA\r\nQUIT\r\n"
)


def events_of(pieces: list[bytes]) -> list[object]:
    """All events, a session's part being played: a body after DATA; body pieces are joined."""
    engine = wire.SmtpServerEngine(LIMITS)
    out: list[object] = []
    body = b""
    for piece in pieces:
        engine.receive(piece)
        while (event := engine.next_event()) is not NEED_DATA:
            if isinstance(event, wire.Body):
                body += event.octets
                if event.last:
                    out.append(("body", body, event.reader.size, event.reader.bare, event.reader.long_line))
                    body = b""
                continue
            out.append(event)
            if isinstance(event, wire.Plain) and event.verb == "DATA":
                engine.start_body()
    return out


WHOLE = events_of([SCRIPT])


def test_a_script_gives_these_events() -> None:
    assert WHOLE == [
        wire.Hello(True, "client.example"),
        wire.Mail(Address("a.b", "c.example"), {"SIZE": "10", "BODY": "8BITMIME"}),
        wire.Rcpt(Address("x y", "d.example"), {}),
        wire.Wrong(Reply(500, "5.5.1", ("Command not recognized",))),
        wire.Wrong(Reply(500, "5.5.2", ("Line too long",))),
        wire.Plain("DATA"),
        ("body", b"Subject: x\r\n\r\n.\r\na\r\n\r\n", 22, False, False),
        wire.Plain("RSET"),
        wire.Auth("PLAIN", b"\0\0\0"),
        wire.Plain("QUIT"),
    ]


@pytest.mark.parametrize("at", range(1, len(SCRIPT)))
def test_split_anywhere_the_events_are_the_same(at: int) -> None:
    assert events_of([SCRIPT[:at], SCRIPT[at:]]) == WHOLE


def test_octet_by_octet_the_events_are_the_same() -> None:
    assert events_of([SCRIPT[k : k + 1] for k in range(len(SCRIPT))]) == WHOLE


@given(st.lists(st.binary(max_size=40), max_size=12))
@settings(max_examples=tries(150), deadline=None)
def test_no_octets_make_the_engine_raise_or_grow(pieces: list[bytes]) -> None:
    engine = wire.SmtpServerEngine(LIMITS)
    for piece in pieces:
        engine.receive(piece)
        while (event := engine.next_event()) not in (NEED_DATA, PAUSED):
            if isinstance(event, wire.Plain) and event.verb == "DATA":
                engine.start_body()
        assert engine.buffered <= LIMITS.command_octets + 1


def test_a_line_without_end_is_not_kept() -> None:
    engine = wire.SmtpServerEngine(LIMITS)
    for _ in range(100):
        engine.receive(b"x" * 1000)
        assert engine.next_event() is NEED_DATA
        assert engine.buffered <= 1


def test_rfc_3207_starttls_pauses_and_forgets_what_came_with_it() -> None:
    engine = wire.SmtpServerEngine(LIMITS)
    engine.receive(b"STARTTLS\r\nMAIL FROM:<a@b.example>\r\n")
    assert engine.next_event() == wire.Plain("STARTTLS")
    assert engine.next_event() is PAUSED
    engine.tls_started()
    assert engine.next_event() is NEED_DATA
    assert engine.buffered == 0


# ---------------------------------------------------------------- the body


def read_body(pieces: list[bytes], limit: int = 100) -> tuple[bytes, BodyReader]:
    reader = BodyReader(limit)
    out = b"".join(reader.take(piece) for piece in pieces if not reader.ended)
    return out, reader


def stuffed(body: bytes) -> bytes:
    return (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


LINES = st.lists(st.sampled_from([b"", b".", b"..", b"a", b".\r", b"\n.", b"x" * 50]), max_size=8)


@given(LINES, st.lists(st.integers(1, 7), max_size=200))
@settings(max_examples=tries(300), deadline=None)
def test_rfc_5321_4_5_2_dots_and_end_survive_every_split(lines: list[bytes], cuts: list[int]) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    wire_form, pieces, at = stuffed(body), [], 0
    for cut in cuts:
        pieces.append(wire_form[at : at + cut])
        at += cut
    pieces.append(wire_form[at:])
    got, reader = read_body([p for p in pieces if p])
    assert got == body and reader.ended and reader.size == len(body)
    crlf = body.count(b"\r\n")
    assert reader.bare == (not body.count(b"\r") == body.count(b"\n") == crlf)


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n"], ids=lambda e: repr(e)
)
def test_smuggling_nothing_but_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    _, reader = read_body([b"first" + end + b"MAIL FROM:<evil@x.example>\r\n"])
    assert not reader.ended


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 25))
@settings(max_examples=tries(200), deadline=None)
def test_long_lines_are_found_wherever_the_pieces_end(lengths: list[int], step: int) -> None:
    text = b"".join(b"y" * n + b"\r\n" for n in lengths) + b".\r\n"
    _, reader = read_body([text[k : k + step] for k in range(0, len(text), step)], limit=20)
    assert reader.long_line == any(n + 2 > 20 for n in lengths)


# ---------------------------------------------------------------- grammar


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<a@b.example>", Address("a", "b.example")),
        ("<A.b+c@B.EXAMPLE>", Address("A.b+c", "b.example")),
        ('<"a b"@c.example>', Address("a b", "c.example")),
        (r'<"a\"b"@c.example>', Address('a"b', "c.example")),
        ("<postmaster>", Address("postmaster", "")),
        ("<a@[192.0.2.1]>", Address("a", "[192.0.2.1]")),
        ("<a@[IPv6:2001:DB8::1]>", Address("a", "[ipv6:2001:db8::1]")),
        ("<a@xn--bcher-kva.example>", Address("a", "bücher.example")),
        ("<a@c.example.>", Address("a", "c.example")),
    ],
)
def test_rfc_5321_4_1_2_paths_are_read(text: str, address: Address) -> None:
    assert read_path(text) == (address, "")


@pytest.mark.parametrize(
    "text",
    ["", "a@b", "<a@b", "<a b@c.example>", "<.a@c.example>", "<a.@c.example>", "<a..b@c.example>", "<a@>", "<@b>",
     "<a@-b.example>", "<a@b..example>", "<@r.example:a@b.example>", f"<{'x' * 65}@b.example>", '<"a@b.example>',
     "<a@b.example\0>", f"<a@{'x.' * 130}example>"],
)  # fmt: skip
def test_what_is_no_path_is_not_read(text: str) -> None:
    assert read_path(text) is None


def test_the_null_path_is_no_address() -> None:
    assert read_path("<> SIZE=1") == (None, " SIZE=1")


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
@settings(deadline=None)
def test_an_address_that_is_printed_is_read_again(local: str) -> None:
    address = Address(local, "b.example")
    printed = f"<{print_address(address)}>"
    if len(printed) - len("<@b.example>") <= 64:
        assert read_path(printed) == (address, "")


def test_parameters_are_read_once_each() -> None:
    assert read_parameters(" size=1 BODY=7BIT SMTPUTF8") == {"SIZE": "1", "BODY": "7BIT", "SMTPUTF8": ""}
    assert read_parameters(" SIZE=1 size=2") is None
    assert read_parameters("SIZE=1") is None
    assert read_parameters(" " + " ".join(f"A{n}=1" for n in range(21))) is None


def test_a_reply_never_carries_a_clients_line_end() -> None:
    reply = Reply(550, "5.1.1", ("one\r\nQUIT", "bücher"))
    assert print_reply(reply) == b"550-5.1.1 one??QUIT\r\n550 5.1.1 b?cher\r\n"


def test_domains_are_canonical() -> None:
    assert read_domain("MX.Example.") == "mx.example"
    assert read_domain("a b") is None


_PIECES = st.sampled_from([
    "MAIL FROM:<", "RCPT TO:<", "DATA", "a", "b.c", "@", "d.example", ">", "> ", " ", " SIZE=1", " SIZE=2", "BODY=7BIT",
    "\n", "\r", "\0", "\t", "\x0b", "ü", "X" * 70, "..", "-", '"', "mail from:<", "\x7f", "=", " > ",
])  # fmt: skip


@given(st.lists(_PIECES, max_size=9).map(lambda pieces: "".join(pieces).encode()))
@settings(max_examples=tries(300), deadline=None)
def test_the_short_way_to_a_command_leads_where_the_long_one_does(line: bytes) -> None:
    usual = read_usual(line)
    assert usual is None or usual == read_command(line, SMTP)


def test_a_usual_command_takes_the_short_way_and_one_with_a_line_end_in_its_parameters_does_not() -> None:
    line = b"MAIL FROM:<a@b.example> SIZE=1"
    assert read_usual(line) == wire.Mail(Address("a", "b.example"), {"SIZE": "1"})
    assert read_usual(b"RCPT TO:<a@b.example>") == wire.Rcpt(Address("a", "b.example"), {})
    assert read_usual(line).parameters is not read_usual(line).parameters
    for end in (b"\nBODY=7BIT", b"\rBODY=7BIT", b"\tBODY=7BIT", b"\0"):
        assert read_usual(line + end) is None
