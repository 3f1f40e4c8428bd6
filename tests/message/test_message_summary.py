"""ENVELOPE, BODY, BODYSTRUCTURE (RFC 3501 section 7.4.2, RFC 9051 section 7.5.2) and sections (6.4.5)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_value_grammar import check_body, check_envelope, read_value
from test_message_structure import CASES, MESSAGES, crlf

from mailsrv.message.header import select_fields
from mailsrv.message.structure import LEAF, MESSAGE, MULTIPART, Part, parse
from mailsrv.message.summary import VERSION, Summary, summarise, texts
from tests.properties import tries

RFC_MAIL = (
    crlf(
        "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\n"
        "From: Terry Gray <gray@cac.washington.edu>\n"
        "Subject: IMAP4rev1 WG mtg summary and minutes\n"
        "To: imap@cac.washington.edu\n"
        "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n"
        "Message-Id: <B27397-0100000@cac.washington.edu>\n"
        "MIME-Version: 1.0\n"
        "Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\n"
    )
    + (b"x" * 31 + b"\r\n") * 91
    + b"x" * 23
    + b"\r\n"
)


def summary_of(text: str | bytes) -> Summary:
    return Summary(summarise(crlf(text) if isinstance(text, str) else text))


def test_rfc3501_8_envelope_and_body() -> None:
    summary = summary_of(RFC_MAIL)
    assert summary.envelope == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )
    assert summary.body == b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)'
    assert summary.bodystructure == summary.body[:-1] + b" NIL NIL NIL NIL)"
    assert summary.sent == (837595405, -420)
    assert summary.header_length == RFC_MAIL.index(b"\r\n\r\n") + 4


def test_rfc3501_7_4_2_body_structure_of_two_parts() -> None:
    octets = (
        crlf("Content-Type: MULTIPART/MIXED; boundary=q\n\n--q\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\n")
        + b"x" * 1106
        + b"\r\n" * 23
        + crlf(
            '\n--q\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME="cc.diff"\n'
            "Content-ID: <960723163407.20117h@cac.washington.edu>\nContent-Description: Compiler diff\n"
            "Content-Transfer-Encoding: BASE64\n\n"
        )
        + b"x" * 4408
        + b"\r\n" * 73
        + crlf("\n--q--\n")
    )
    assert summary_of(octets).body == (
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)'
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") '
        b'"<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 4554 73) "MIXED")'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Nothing at all.
        ("", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        # Absent is NIL, empty is the empty string; Sender and Reply-To default to From also when empty.
        (
            "Subject:\nDate: \nFrom: a@b\nSender:\nReply-To: ,\nIn-Reply-To:\n\n",
            b'("" "" ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) NIL NIL NIL "" NIL)',
        ),
        (
            "From: a@b\nSender: c@d\nReply-To: e@f\n\n",
            b'(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "c" "d")) ((NIL NIL "e" "f")) NIL NIL NIL NIL NIL)',
        ),
        # Quoting, and octets that need a literal.
        (
            'Subject: say "x\\y"\n\n',
            b'(NIL "say \\"x\\\\y\\"" NIL NIL NIL NIL NIL NIL NIL NIL)',
        ),
        ("Subject: é\n\n", b"(NIL {2}\r\n\xc3\xa9 NIL NIL NIL NIL NIL NIL NIL NIL)"),
        # Folding is undone, the white space stays.
        ("Subject: a\n  b\n\tc\n\n", b'(NIL "a  b\tc" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        # A group, and a route.
        (
            "To: g: a@b, <@r:c@d>;\n\n",
            b'(NIL NIL NIL NIL NIL ((NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL "@r" "c" "d")(NIL NIL NIL NIL))'
            b" NIL NIL NIL NIL)",
        ),
        # Repeated fields: addresses add up, of the others the first counts.
        (
            "To: a@b\nTo: c@d\nSubject: 1\nSubject: 2\n\n",
            b'(NIL "1" NIL NIL NIL ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL)',
        ),
        # A missing host is no group.
        ("To: root\n\n", b'(NIL NIL NIL NIL NIL ((NIL NIL "root" "")) NIL NIL NIL NIL)'),
    ],
)
def test_rfc9051_7_5_2_envelope(text: str, expected: bytes) -> None:
    assert summary_of(text).envelope == expected


def test_no_string_holds_a_nul() -> None:
    assert summary_of(b"Subject: a\0b\r\n\r\n").envelope.startswith(b"(NIL {3}\r\na?b NIL")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nbody\n", b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 6 1 NIL NIL NIL NIL)'),
        (
            'Content-Type: application/pdf; name="a b.pdf"\nContent-Transfer-Encoding: base64\n'
            'Content-Disposition: attachment; filename="a b.pdf"; size=3\nContent-MD5: Q2hlY2s=\n'
            "Content-Language: en, de\nContent-Location: http://x/\nContent-ID: <1@x>\n"
            'Content-Description: a "b"\n\nQUJD',
            b'("application" "pdf" ("name" "a b.pdf") "<1@x>" "a \\"b\\"" "base64" 4 "Q2hlY2s=" '
            b'("attachment" ("filename" "a b.pdf" "size" "3")) ("en" "de") "http://x/")',
        ),
        (
            "Content-Type: text/html\nContent-Disposition: inline\nContent-Language: en\n\n",
            b'("text" "html" NIL NIL NIL "7BIT" 0 0 NIL ("inline" NIL) "en" NIL)',
        ),
        # RFC 2231: continuations joined, charset kept for the client.
        (
            "Content-Type: application/x-stuff;\n title*0*=us-ascii'en'This%20is%20even%20more%20;\n"
            ' title*1*=%2A%2A%2Afun%2A%2A%2A%20;\n title*2="isn\'t it!"\n\n',
            b'("application" "x-stuff" ("title*" '
            b"\"us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!\")"
            b' NIL NIL "7BIT" 0 NIL NIL NIL NIL)',
        ),
        # A multipart must have a part.
        (
            "Content-Type: multipart/mixed; boundary=x\nContent-Language: en\n\nnone\n",
            b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL) "mixed" ("boundary" "x") '
            b'NIL "en" NIL)',
        ),
        (
            "Content-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\none\ntwo\n",
            b'("message" "rfc822" NIL NIL NIL "7BIT" 50 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
            b'("text" "html" NIL NIL NIL "7BIT" 10 2 NIL NIL NIL NIL) 5 NIL NIL NIL NIL)',
        ),
        (
            "Content-Type: multipart/alternative; boundary=x\n\n--x\n\na\n--x\nContent-Type: text/html\n"
            "Content-Transfer-Encoding: quoted-printable (comment)\n\nb\n\n--x--\n",
            b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1 0 NIL NIL NIL NIL)'
            b'("text" "html" NIL NIL NIL "quoted-printable" 3 1 NIL NIL NIL NIL) "alternative" ("boundary" "x") '
            b"NIL NIL NIL)",
        ),
        (
            "Content-Transfer-Encoding: (x)\n\n",
            b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)',
        ),
    ],
)
def test_rfc9051_7_5_2_body_structure(text: str, expected: bytes) -> None:
    assert summary_of(text).bodystructure == expected


SECTIONED = crlf(
    "From: a@b\nSubject: outer\nContent-Type: multipart/mixed; boundary=o\n\npreamble\n"
    "--o\nX-Part: 1\n\none\n"
    "--o\nContent-Type: message/rfc822\nX-Part: 2\n\nFrom: c@d\nContent-Type: multipart/mixed; boundary=i\n\n"
    "--i\nX-Part: 2.1\n\ninner one\n--i\nContent-Type: message/rfc822\n\nSubject: innermost\n\ndeep\n--i--\n"
    "--o\nContent-Type: multipart/alternative; boundary=m\nX-Part: 3\n\n--m\n\nthree one\n--m\n\nthree two\n--m--\n"
    "--o--\nepilogue\n"
)


@pytest.mark.parametrize(
    ("part", "text", "expected"),
    [
        ((), "", SECTIONED),
        ((), "HEADER", SECTIONED[: SECTIONED.index(b"preamble")]),
        ((), "TEXT", SECTIONED[SECTIONED.index(b"preamble") :]),
        ((), "MIME", None),
        ((1,), "", b"one"),
        ((1,), "MIME", b"X-Part: 1\r\n\r\n"),
        ((1,), "HEADER", None),
        ((1,), "TEXT", None),
        ((1, 1), "", None),
        ((2,), "MIME", b"Content-Type: message/rfc822\r\nX-Part: 2\r\n\r\n"),
        ((2,), "HEADER", b"From: c@d\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"),
        ((2, 1), "", b"inner one"),
        ((2, 1), "MIME", b"X-Part: 2.1\r\n\r\n"),
        ((2, 2), "", b"Subject: innermost\r\n\r\ndeep"),
        ((2, 2), "HEADER", b"Subject: innermost\r\n\r\n"),
        ((2, 2), "TEXT", b"deep"),
        ((2, 2, 1), "", b"deep"),
        ((2, 2, 1), "MIME", b"Subject: innermost\r\n\r\n"),
        ((2, 2, 2), "", None),
        ((2, 3), "", None),
        ((3, 1), "", b"three one"),
        ((3, 2), "", b"three two"),
        ((3,), "MIME", b"Content-Type: multipart/alternative; boundary=m\r\nX-Part: 3\r\n\r\n"),
        ((3,), "HEADER", None),
        ((3,), "", b"--m\r\n\r\nthree one\r\n--m\r\n\r\nthree two\r\n--m--"),
        ((4,), "", None),
        ((0,), "", None),
    ],
)
def test_rfc9051_6_4_5_sections(part: tuple[int, ...], text: str, expected: bytes | None) -> None:
    found = summary_of(SECTIONED).find(part, text)
    assert (None if found is None else SECTIONED[found[0] : found[0] + found[1]]) == expected


def test_rfc9051_6_4_5_part_one_of_a_message_without_parts_is_its_body() -> None:
    octets = crlf("Subject: x\n\nbody\n")
    summary = summary_of(octets)
    assert summary.find((1,)) == summary.find((), "TEXT") == (octets.index(b"body"), 6)
    assert summary.find((1,), "MIME") == summary.find((), "HEADER")
    assert summary.find((2,)) is summary.find((1, 1)) is None


def test_rfc9051_6_4_5_a_message_that_is_a_message() -> None:
    octets = crlf("Content-Type: message/rfc822\n\nSubject: in\n\nbody")
    summary = summary_of(octets)
    cut = {key: octets[found[0] : sum(found)] for key in ["", "HEADER", "TEXT"] if (found := summary.find((1,), key))}
    assert cut == {"": b"Subject: in\r\n\r\nbody", "HEADER": b"Subject: in\r\n\r\n", "TEXT": b"body"}
    found = summary.find((1, 1))
    assert found is not None and octets[found[0] : sum(found)] == b"body"
    assert select_fields(cut["HEADER"], [b"subject"], False) == b"Subject: in\r\n\r\n"


def sections(root: Part) -> dict[tuple[int, ...], Part]:
    """The part that each number names, written down from RFC 9051 section 6.4.5 independently of find()."""
    found: dict[tuple[int, ...], Part] = {}
    waiting: list[tuple[Part, tuple[int, ...], bool]] = [(root, (), True)]
    while waiting:
        part, number, top = waiting.pop()
        if part.kind == MULTIPART:
            if not top:
                found[number] = part
            waiting.extend((child, (*number, at), False) for at, child in enumerate(part.children, 1))
            continue
        own = (*number, 1) if top else number
        found[own] = part
        if part.kind == MESSAGE:
            waiting.append((part.children[0], own, True))
    return found


CHANGES = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 40), st.integers(0, 900), st.integers(0, 60)), min_size=1, max_size=6
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Real mail with stretches replaced by copies of other stretches."""
    octets = draw(st.sampled_from([SECTIONED, RFC_MAIL[:700], *(crlf(text) for text, _ in CASES.values())]))
    for at, gone, source, copied in draw(CHANGES):
        octets = octets[:at] + octets[source : source + copied] + octets[at + gone :]
    return octets


@given(MESSAGES | mutated())
@settings(max_examples=tries(200), deadline=None)
def test_any_octets_have_a_summary(octets: bytes) -> None:
    record = summarise(octets)
    assert Summary.current(record) and summarise(memoryview(octets)) == record
    summary = Summary(record)
    check_envelope(read_value(summary.envelope))
    check_body(read_value(summary.body), False)
    check_body(read_value(summary.bodystructure), True)
    assert summary.find(()) == (0, len(octets))
    root = parse(octets)
    named = sections(root)
    for number, part in named.items():
        assert summary.find(number) == (part.body_start, part.body_end - part.body_start)
        assert summary.find(number, "MIME") == (part.header_start, part.body_start - part.header_start)
        assert (summary.find(number, "HEADER") is not None) == (part.kind == MESSAGE)
        if part.kind == LEAF:
            assert summary.find((*number, 1)) is None or (*number, 1) in named
        assert summary.find((*number, 99)) is None


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_the_structure_have_summaries(name: str) -> None:
    summary = summary_of(CASES[name][0])
    check_body(read_value(summary.bodystructure), True)
    check_envelope(read_value(summary.envelope))


def test_another_version_is_not_current() -> None:
    record = summarise(b"Subject: x\r\n\r\n")
    assert Summary.current(record) and not Summary.current(None) and not Summary.current(b"")
    other = record[:2] + bytes((VERSION + 1,)) + record[3:]
    assert not Summary.current(other)
    for broken in (other, b"", record[:-1], record + b"x", b"xx" + record[2:]):
        with pytest.raises(ValueError):
            Summary(broken)


def test_lines_of_messages_in_messages() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\n" * 3 + b"\r\na\r\nb\r\n"
    value = read_value(summary_of(octets).body)
    lines = []
    while value[0].lower() == b"message":
        lines.append(value[9])
        value = value[8]
    assert (lines, value[7]) == ([7, 5, 3], 2)


@given(st.lists(MESSAGES, max_size=4))
def test_texts_of_many_are_those_of_each(messages: list[bytes]) -> None:
    records = [summarise(octets) for octets in messages]
    read = [Summary(record) for record in records]
    assert texts(records, "ENVELOPE") == [summary.envelope for summary in read]
    assert texts(records, "BODY") == [summary.body for summary in read]
    assert texts(records, "BODYSTRUCTURE") == [summary.bodystructure for summary in read]
    assert texts([*records, b"ms\xff" + bytes(40)], "BODY") is None
