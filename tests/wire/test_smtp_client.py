"""The client's side of SMTP and LMTP: replies, hello, STARTTLS, AUTH, dots on the way out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smtp_client_drive import Drive, client

from mailsrv.errors import AuthenticationFailed, MailError, TryLater
from mailsrv.values import Address, ClientContext, Recipient, Reply, Respond
from mailsrv.wire.sasl import mechanisms
from mailsrv.wire.smtp_client import Handshake, SmtpClient, Unwilling
from mailsrv.wire.smtp_data import BodyReader
from mailsrv.wire.smtp_dots import DotStuffer
from mailsrv.wire.smtp_features import Features, a_labels, parameters, print_path, print_rcpt, read_features
from mailsrv.wire.smtp_replies_reader import MAX_BUFFERED, MAX_LINE, MAX_LINES, PeerLost, ReplyReader, status_of, words

# ---------------------------------------------------------------- replies


def read(octets: bytes) -> list[Reply]:
    reader, found = ReplyReader(), []
    reader.receive(octets)
    while (reply := reader.next()) is not None:
        found.append(reply)
    return found


def test_replies_of_one_and_several_lines_rfc5321_4_2() -> None:
    assert read(b"250 ok\r\n") == [Reply(250, "", ("ok",))]
    assert read(b"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n") == [Reply(250, "", ("mx", "SIZE 1", "HELP"))]
    assert read(b"250\r\n250-\r\n250\r\n") == [Reply(250, "", ("",)), Reply(250, "", ("", ""))]


@given(st.lists(st.integers(0, 30), max_size=8))
def test_a_line_may_end_with_lf_alone_wherever_it_is_cut(cuts: list[int]) -> None:
    """QUIRK: scripts and devices as servers."""
    octets, reader, at = b"250-a\n250-b\r\n250 c\n221 d\r\n", ReplyReader(), 0
    for cut in [*sorted(cuts), len(octets)]:
        reader.receive(octets[at:cut])
        at = max(at, cut)
    assert [reader.next(), reader.next(), reader.next()] == [
        Reply(250, "", ("a", "b", "c")), Reply(221, "", ("d",)), None,
    ]  # fmt: skip


def test_the_status_is_taken_off_every_line_rfc2034() -> None:
    assert read(b"550-5.1.1 No such\r\n550 5.1.1 user\r\n") == [Reply(550, "5.1.1", ("No such", "user"))]
    assert read(b"250 2.0.0\r\n") == [Reply(250, "2.0.0", ("",))]


def test_a_status_of_another_class_is_text() -> None:
    (reply,) = read(b"450 5.1.1 well\r\n")
    assert reply == Reply(450, "", ("5.1.1 well",)) and status_of(reply) == "4.0.0"
    assert read(b"354 3.1.1 go\r\n")[0].status == ""


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n", b"25 ok\r\n", b"150 ok\r\n", b"650 ok\r\n", b"2500\r\n", b"250_ok\r\n", b"\r\n",
        b"250 ok\n\r\n1\r\n",
        b"250-a\r\n251 b\r\n", b"250-a\r\n" * (MAX_LINES + 1), b"250 " + b"x" * MAX_LINE, b"x" * MAX_LINE,
        b"250 a" + b"b" * MAX_BUFFERED,
    ],
)  # fmt: skip
def test_what_is_no_reply_ends_the_connection(octets: bytes) -> None:
    with pytest.raises(PeerLost):
        read(octets)


def test_the_longest_line_and_reply() -> None:
    assert len(read(b"250 " + b"x" * (MAX_LINE - 6) + b"\r\n")[0].lines[0]) == MAX_LINE - 6
    assert len(read(b"250-a\r\n" * (MAX_LINES - 1) + b"250 a\r\n")[0].lines) == MAX_LINES


def test_a_reply_is_shown_as_one_line_of_printable_text() -> None:
    (reply,) = read(b"550-5.7.1 caf\xc3\xa9\x1b[31m\r\n550 5.7.1 \xe9\r\n")
    assert words(reply) == "550 5.7.1 café?[31m é"


def test_a_flood_is_bounded() -> None:
    reader = ReplyReader()
    for _ in range(100):
        reader.receive(b"250 ok\r\n" * 8192)
    assert reader.buffered == MAX_BUFFERED
    with pytest.raises(PeerLost):
        while reader.next() is not None:
            pass


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"250-a\r\n", b"250 b\r\n", b"\r\n", b"4"]), max_size=20))
def test_reading_raises_nothing_but_peer_lost(pieces: list[bytes]) -> None:
    reader = ReplyReader()
    try:
        for piece in pieces:
            reader.receive(piece)
            while (reply := reader.next()) is not None:
                assert 200 <= reply.code < 600 and reply.lines and "\n" not in words(reply)
    except PeerLost:
        pass


@given(st.binary(max_size=300), st.integers(1, 7))
def test_pieces_do_not_matter(octets: bytes, size: int) -> None:
    def outcome(pieces: list[bytes]) -> Any:
        reader, found = ReplyReader(), []
        try:
            for piece in pieces:
                reader.receive(piece)
                while (reply := reader.next()) is not None:
                    found.append(reply)
        except PeerLost as error:
            return found, error.text
        return found, ""

    octets = b"250-a\r\n250 b\r\n" + octets
    assert outcome([octets]) == outcome([octets[at : at + size] for at in range(0, len(octets), size)])


# ---------------------------------------------------------------- what a server offers


def test_features_of_ehlo_rfc5321_4_1_1_1() -> None:
    found = read_features(
        Reply(250, "", ("mx.example.org at your service", "SIZE 1000", "auth PLAIN login", "AUTH=LOGIN CRAM-MD5", "X "))
    )
    assert found.host == "mx.example.org" and found.size == 1000 and "X" in found and "DSN" not in found
    assert found.mechanisms == ("PLAIN", "LOGIN", "CRAM-MD5")
    assert read_features(Reply(250, "", ("mx", "SIZE", "AUTH"))).size == 0
    assert read_features(Reply(250, "", ("mx", "SIZE -5"))).size == 0


def test_domains_are_written_in_ascii_without_smtputf8() -> None:
    assert a_labels("bücher.example") == "xn--bcher-kva.example"
    assert a_labels("straße.example") == "xn--strae-oqa.example"
    assert print_path(Address("a", "bücher.example"), False) == "<a@xn--bcher-kva.example>"
    assert print_path(Address("a", "bücher.example"), True) == "<a@bücher.example>"
    assert print_path(Address("a b", "example.org"), False) == '<"a b"@example.org>'
    assert print_path(None, False) == "<>"


@pytest.mark.parametrize("local", ["a\r\nRSET", "a\0", "a\n", "\x85"])
def test_an_address_cannot_bring_a_command_along(local: str) -> None:
    with pytest.raises(MailError) as caught:
        print_path(Address(local, "example.org"), True)
    assert caught.value.status == "5.1.3"
    with pytest.raises(MailError):
        print_path(Address("a", "b> SIZE=1"), True)


def test_dsn_parameters_go_on_where_they_are_known_rfc3461() -> None:
    one = Recipient(Address("a", "b.org"), {"NOTIFY": "SUCCESS,DELAY", "ORCPT": "rfc822;x+40b.org", "X": "y"})
    assert print_rcpt(one, Features("", {"DSN": ""}), False) == (
        b"RCPT TO:<a@b.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+40b.org\r\n"
    )
    assert print_rcpt(one, Features(), False) == b"RCPT TO:<a@b.org>\r\n"


def test_an_original_recipient_beyond_ascii_is_written_as_the_transaction_can_rfc6533() -> None:
    given = {"ORCPT": "utf-8;é@b.org", "NOTIFY": "bad value"}
    assert parameters(given, ("ORCPT", "NOTIFY"), True) == ["ORCPT=utf-8;é@b.org"]
    assert parameters(given, ("ORCPT",), False) == ["ORCPT=utf-8;\\x{E9}@b.org"]


# ---------------------------------------------------------------- dots


@pytest.mark.parametrize(
    "content, sent",
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n.b\r\n", b"a\r\n..\r\n..b\r\n.\r\n"),
        (b"a\n.\r\nRSET\r\n", b"a\r\n..\r\nRSET\r\n.\r\n"),
        (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r", b"a\r\n.\r\n"),
        (b"a\r\r\n.", b"a\r\n\r\n..\r\n.\r\n"),
    ],
)
def test_dots_are_doubled_and_no_line_end_is_left_alone_rfc5321_4_5_2(content: bytes, sent: bytes) -> None:
    for size in (1, 2, 3, 100):
        dots = DotStuffer()
        out = b"".join(dots.take(content[at : at + size]) for at in range(0, len(content), size))
        assert out + dots.finish() == sent


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=30), st.integers(1, 5))
def test_the_other_side_reads_one_message_and_nothing_behind_it(parts: list[bytes], size: int) -> None:
    content = b"".join(parts)
    dots, reader = DotStuffer(), BodyReader(1000)
    sent = b"".join(dots.take(content[at : at + size]) for at in range(0, len(content), size)) + dots.finish()
    got = reader.take(sent)
    assert reader.ended and reader.rest == b"" and not reader.bare
    if reader.size:
        assert got.replace(b"\r\n", b"").replace(b"\r", b"") == content.replace(b"\r", b"").replace(b"\n", b"")


# ---------------------------------------------------------------- hello


def test_greeting_and_ehlo() -> None:
    one = SmtpClient()
    drive = Drive(one, [b"220 mx\r\n", b"250-mx.example.org\r\n250 SIZE 5\r\n"])
    drive.run(one.greet("me.example.com"))
    assert drive.said == [b"EHLO me.example.com\r\n"] and one.features.size == 5 and not one.over


def test_helo_for_servers_that_do_not_know_ehlo_rfc5321_3_2() -> None:
    one = SmtpClient()
    drive = Drive(one, [b"220 mx\r\n", b"502 what\r\n", b"250 mx\r\n"])
    drive.run(one.greet("me"))
    assert drive.said[-1] == b"HELO me\r\n" and not one.features.names


def test_lmtp_says_lhlo_and_has_no_helo_rfc2033() -> None:
    one = SmtpClient(lmtp=True)
    drive = Drive(one, [b"220 mx\r\n", b"500 what\r\n", b"250 mx\r\n"])
    with pytest.raises(Unwilling):
        drive.run(one.greet("me"))
    assert drive.said == [b"LHLO me\r\n"]


@pytest.mark.parametrize(
    "replies, kind, status",
    [
        ([b"554 5.7.1 no mail\r\n"], Unwilling, "4.7.1"),
        ([b"521 no mail here\r\n"], Unwilling, "4.0.0"),
        ([b"450 later\r\n"], Unwilling, "4.0.0"),
        ([b"421 4.3.2 closing\r\n"], PeerLost, "4.3.2"),
        ([b"250 hello\r\n"], PeerLost, "4.5.0"),
        ([b"HTTP/1.1 400 Bad\r\n"], PeerLost, "4.5.0"),
        ([], PeerLost, "4.4.2"),
        ([b"220 mx\r\n", b"451 4.3.0 later\r\n"], Unwilling, "4.3.0"),
        ([b"220 mx\r\n", b"500 what\r\n", b"554 5.7.1 go away\r\n"], Unwilling, "4.7.1"),
        ([b"220 mx\r\n", b"354 what\r\n"], PeerLost, "4.5.0"),
        ([b"220 mx\r\n250 too early\r\n"], PeerLost, "4.5.0"),
    ],
)
def test_a_server_that_will_not_serve_is_a_temporary_matter(
    replies: list[bytes], kind: type[MailError], status: str
) -> None:
    one = SmtpClient()
    with pytest.raises(kind) as caught:
        Drive(one, replies).run(one.greet("me"))
    assert not caught.value.permanent and (status == "2" or caught.value.status == status)


# ---------------------------------------------------------------- STARTTLS


def test_starttls_forgets_what_was_said_before_rfc3207_4_2() -> None:
    one = client("STARTTLS", "SMTPUTF8")
    drive = Drive(one, [b"220 go\r\n", b"250-mx\r\n250 DSN\r\n"])
    drive.run(one.start_tls("me"))
    assert drive.said == [b"STARTTLS\r\n", Handshake(), b"EHLO me\r\n"]
    assert one.secure and "DSN" in one.features and "SMTPUTF8" not in one.features


@pytest.mark.parametrize("more", [b"250 injected\r\n", b"2", b"\r\n"])
def test_octets_behind_the_220_are_an_attack(more: bytes) -> None:
    one = client("STARTTLS")
    drive = Drive(one, [b"220 go\r\n" + more])
    with pytest.raises(PeerLost):
        drive.run(one.start_tls("me"))
    assert one.over and not one.secure and Handshake() not in drive.said


def test_a_refused_starttls_leaves_the_connection_as_it_was() -> None:
    one = client("STARTTLS")
    with pytest.raises(Unwilling):
        Drive(one, [b"454 not now\r\n"]).run(one.start_tls("me"))
    assert not one.over and not one.secure


# ---------------------------------------------------------------- AUTH


class Said:
    """A mechanism that says these responses; the last is final."""

    name = "TEST"

    def __init__(self, *responses: bytes | None, final: bool = True) -> None:
        self.responses, self.final = responses, final
        self.heard: list[bytes] = []

    def respond(self, context: ClientContext) -> Any:
        last = len(self.responses) - 1
        for number, octets in enumerate(self.responses):
            self.heard.append((yield Respond(octets, self.final and number == last)))


CONTEXT = ClientContext("me", "secret")


@pytest.mark.parametrize(
    "initial, line",
    [
        (b"abc", [b"AUTH TEST YWJj\r\n"]),
        (b"", [b"AUTH TEST =\r\n"]),
        (None, [b"AUTH TEST\r\n"]),
    ],
)
def test_initial_responses_rfc4954_4(initial: bytes | None, line: list[bytes]) -> None:
    one = client()
    drive = Drive(one, [b"235 ok\r\n"])
    drive.run(one.login(Said(initial), CONTEXT))
    assert drive.said == line


def test_an_initial_response_that_makes_the_line_too_long_waits_for_a_challenge_rfc4954_4() -> None:
    for size, lines in ((375, 1), (376, 2)):
        one, mechanism = client(), Said(b"x" * size)
        drive = Drive(one, [b"334 \r\n", b"235 ok\r\n"] if lines == 2 else [b"235 ok\r\n"])
        drive.run(one.login(mechanism, CONTEXT))
        assert len(drive.said) == lines and mechanism.heard == []
        assert max(map(len, drive.said[:1])) <= 512


def test_challenges_go_to_the_mechanism() -> None:
    one, mechanism = client(), Said(None, b"", b"two")
    drive = Drive(one, [b"334 \r\n", b"334 YQ==\r\n", b"235 ok\r\n"])
    drive.run(one.login(mechanism, CONTEXT))
    assert drive.said == [b"AUTH TEST\r\n", b"\r\n", b"dHdv\r\n"] and mechanism.heard == [b"", b"a"]


@pytest.mark.parametrize(
    "mechanism, replies, kind, last",
    [
        (Said(b"a"), [b"535 5.7.8 no\r\n"], AuthenticationFailed, b"AUTH TEST YQ==\r\n"),
        (Said(b"a"), [b"454 4.7.0 later\r\n"], TryLater, b"AUTH TEST YQ==\r\n"),
        (Said(b"a"), [b"250 ok\r\n"], PeerLost, b"AUTH TEST YQ==\r\n"),
        (Said(b"a"), [b"334 !\r\n", b"501 ok\r\n"], AuthenticationFailed, b"*\r\n"),
        (Said(b"a"), [b"334-YQ==\r\n334 YQ==\r\n", b"501 ok\r\n"], AuthenticationFailed, b"*\r\n"),
        (Said(b"a"), [b"334 YQ==\r\n", b"501 ok\r\n"], AuthenticationFailed, b"*\r\n"),
        (Said(b"a", b"b", final=False), [b"235 come in\r\n"], AuthenticationFailed, b"AUTH TEST YQ==\r\n"),
        (Said(b"a"), [], PeerLost, b"AUTH TEST YQ==\r\n"),
        (Said(*[b"a"] * 50), [b"334 YQ==\r\n"] * 40, PeerLost, b"YQ==\r\n"),
    ],
)
def test_refusals_of_a_login(mechanism: Said, replies: list[bytes], kind: type[MailError], last: bytes) -> None:
    one = client()
    drive = Drive(one, replies)
    with pytest.raises(kind):
        drive.run(one.login(mechanism, CONTEXT))
    assert drive.said[-1] == last


def test_a_server_that_believes_us_without_a_proof_of_its_own_is_left_at_once_rfc5802() -> None:
    one = client()
    with pytest.raises(AuthenticationFailed):
        Drive(one, [b"235 2.7.0 sure\r\n"]).run(one.login(mechanisms()["SCRAM-SHA-256"], CONTEXT))
    assert one.over


AUTH_REPLY = st.sampled_from(
    [
        b"334 \r\n", b"334 YQ==\r\n", b"334 %\r\n", b"334 cj1h\r\n", b"235 ok\r\n", b"535 no\r\n", b"421 x\r\n",
        b"x\r\n", b"250 ok\r\n", b"454 x\r\n", b"235 a\r\n235 b\r\n",
    ]
)  # fmt: skip
NAMES = st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "XOAUTH2", "EXTERNAL"])


@given(st.lists(AUTH_REPLY, max_size=14), NAMES)
def test_whatever_a_server_says_to_auth_is_a_mail_error_or_a_login(replies: list[bytes], name: str) -> None:
    one = client()
    drive = Drive(one, replies)
    try:
        drive.run(one.login(mechanisms()[name], ClientContext("me", "secret", token="t")))
    except MailError:
        return
    assert any(reply.startswith(b"235") for reply in replies) and not name.startswith("SCRAM")
