"""Search: RFC 9051 section 6.4.4, on decoded text."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_message_structure import MESSAGES, crlf

from mailsrv import query as q
from mailsrv.message.query import Candidate, keyword_masks, matcher, matches, needs
from mailsrv.numbers import NumSet, UidSet
from mailsrv.values import FLAGGED, SEEN
from tests.properties import tries

MAIL = crlf(
    "From: =?utf-8?Q?J=C3=B6rg?= <joerg@example.org>\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\n aus Wien\nX-Empty:\n"
    "Content-Type: multipart/mixed; boundary=b\n\nneedle in the preamble\n"
    "--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n"
    "Soft=\n ware costs 5 =80, M=FCnchen\n"
    "--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+U3RyYcOfZTwvYj4=\n"
    "--b\nContent-Type: application/octet-stream\n\nneedle in an attachment\n"
    "--b\nContent-Type: message/rfc822\n\nSubject: =?utf-8?Q?=C3=84pfel?=\n\ninner body\n"
    "--b--\n"
)


def found(query: q.Query, octets: bytes = MAIL) -> bool:
    return matches(query, Candidate(1, content=octets))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("From", "jörg", True),
        ("FROM", "JÖRG <JOERG", True),
        ("from", "=?utf-8", False),
        ("subject", "grüsse", True),
        ("subject", "Grüße aus wien", True),
        ("subject", "Äpfel", False),
        ("x-empty", "", True),
        ("x-empty", "x", False),
        ("x-missing", "", False),
    ],
)
def test_rfc9051_6_4_4_header(name: str, text: str, expected: bool) -> None:
    assert found(q.HeaderContains(name, text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SOFT WARE COSTS 5 \u20ac", True),
        ("münchen", True),
        ("MÜNCHEN", True),
        ("strasse", True),
        ("<b>straße", True),
        ("äpfel", True),
        ("inner body", True),
        ("attachment", False),
        ("preamble", False),
        ("Wien", False),
        ("", True),
    ],
)
def test_rfc9051_6_4_4_body(text: str, expected: bool) -> None:
    assert found(q.BodyContains(text)) is expected
    assert found(q.TextContains(text)) is (expected or text == "Wien")


def test_rfc9051_6_4_4_text_reads_the_header_too() -> None:
    assert found(q.TextContains("aus wien"))
    assert found(q.TextContains("jörg"))
    assert not found(q.TextContains("nowhere"))


@pytest.mark.parametrize(
    ("fields", "body", "needle", "expected"),
    [
        (b"Content-Type: text/plain; charset=utf-16", "Hé".encode("utf-16"), "hé", True),
        (b"Content-Type: text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "日本", True),
        (b"Content-Type: text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "$B", False),
        (b"Content-Type: text/plain", "ü".encode(), "Ü", True),
        (b"Content-Type: text/plain", b"\xfc", "Ü", True),
        (b"Content-Type: text/plain; charset=x-nobody", b"abc \xfc", "ABC", True),
        (b"Content-Transfer-Encoding: base64", b"!!!SGVsbG8", "hello", True),
        (b"Content-Transfer-Encoding: quoted-printable", b"a=ZZ=3Db=", "=b", True),
        (b"Content-Type: image/gif", b"x", "", True),
        (b"Content-Type: image/gif", b"x", "x", False),
        (b"", "K\u212a".encode(), "kk", True),
    ],
)
def test_bodies_are_decoded(fields: bytes, body: bytes, needle: str, expected: bool) -> None:
    assert found(q.BodyContains(needle), fields + b"\r\n\r\n" + body) is expected


def test_flags_and_keywords() -> None:
    keywords = keyword_masks([b"$Junk", b"work"])
    one = Candidate(7, flags=SEEN | keywords[b"work"], keywords=keywords, modseq=9, recent=True, size=100)
    for query, expected in [
        (q.HasFlag(b"\\seen"), True),
        (q.HasFlag(b"\\Flagged"), False),
        (q.HasFlag(b"WORK"), True),
        (q.HasFlag(b"$junk"), False),
        (q.HasFlag(b"unknown"), False),
        (q.HasFlag(b"\\Recent"), True),
        (q.Recent(), True),
        (q.All(), True),
        (q.Uids(UidSet([(5, 7)])), True),
        (q.Uids(UidSet([(8, 9)])), False),
        (q.ChangedSince(9), True),
        (q.ChangedSince(10), False),
        (q.Larger(99), True),
        (q.Larger(100), False),
        (q.Smaller(101), True),
        (q.Smaller(100), False),
        (q.Not(q.HasFlag(b"\\Seen")), False),
        (q.And(()), True),
    ]:
        assert matches(query, one) is expected, query


def test_rfc9051_6_4_4_dates_disregard_time_and_zone() -> None:
    day = date(2026, 11, 24).toordinal()
    # 23:30 on the 23rd in UTC is half past midnight of the 24th in its own zone.
    late = Candidate(1, internal_date=1795476600, zone=60, sent=(1795476600, 0))
    assert matches(q.Internal("=", day), late) and matches(q.Internal(">=", day), late)
    assert not matches(q.Internal("<", day), late)
    assert matches(q.Sent("=", day - 1), late) and matches(q.Sent("<", day), late)
    assert not matches(q.Sent(">=", day), late)


def test_a_message_without_a_date_matches_no_sent_day() -> None:
    query = q.Sent(">=", 1)
    assert matcher(query)(Candidate(1)) is None
    assert matcher(query)(Candidate(1, dated=True)) is False
    assert matcher(q.Not(query))(Candidate(1, dated=True)) is True


def test_needs() -> None:
    assert needs(q.And((q.All(), q.HasFlag(b"x"), q.Uids(UidSet()), q.ChangedSince(1)))) == frozenset()
    assert needs(q.Or(q.Larger(1), q.Not(q.Sent("<", 1)))) == {"size", "summary"}
    assert needs(q.And((q.Internal("<", 1), q.HeaderContains("a", "b")))) == {"dates", "header"}
    assert needs(q.Not(q.Or(q.BodyContains("x"), q.TextContains("y")))) == {"content"}


def test_numbers_must_have_been_resolved() -> None:
    for node in (q.Numbers(NumSet()), q.UidNumbers(NumSet())):
        with pytest.raises(TypeError):
            matcher(q.Not(node))


def test_cheap_keys_are_asked_first_and_decide() -> None:
    unread = Candidate(1, flags=0, size=5)
    expensive = q.BodyContains("x")
    assert matcher(q.And((expensive, q.HasFlag(b"\\Seen"))))(unread) is False
    assert matcher(q.Or(expensive, q.Smaller(6)))(unread) is True
    assert matcher(q.And((expensive, q.Smaller(6))))(unread) is None
    assert matcher(q.Not(expensive))(unread) is None
    assert matches(q.And((expensive, q.Smaller(6))), unread) is False


LEAVES = st.sampled_from(
    [
        q.All(),
        q.HasFlag(b"\\Seen"),
        q.HasFlag(b"\\Flagged"),
        q.Larger(10),
        q.Smaller(20),
        q.Uids(UidSet([(1, 3)])),
        q.HeaderContains("subject", "x"),
        q.BodyContains("y"),
    ]
)
QUERIES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(q.Not, inner)
        | st.builds(q.Or, inner, inner)
        | st.builds(q.And, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=8,
)


def plainly(query: q.Query, candidate: Candidate) -> bool:
    """The meaning of the logical nodes, without any order."""
    if isinstance(query, q.And):
        return all([plainly(child, candidate) for child in query.children])
    if isinstance(query, q.Or):
        return plainly(query.left, candidate) | plainly(query.right, candidate)
    if isinstance(query, q.Not):
        return not plainly(query.child, candidate)
    return matches(query, candidate)


@given(QUERIES, st.integers(0, 40), st.sampled_from([0, SEEN, FLAGGED, SEEN | FLAGGED]), st.booleans(), st.booleans())
@settings(max_examples=tries(200), deadline=None)
def test_what_is_decided_early_stays_decided(query: q.Query, size: int, flags: int, subject: bool, body: bool) -> None:
    content = (b"Subject: x\r\n" if subject else b"") + b"\r\n" + (b"y" if body else b"")
    stages = [
        Candidate(2, flags=flags),
        Candidate(2, flags=flags, size=size),
        Candidate(2, flags=flags, size=size, header=content[: content.index(b"\r\n\r\n") + 4] if subject else b"\r\n"),
        Candidate(2, flags=flags, size=size, content=content),
    ]
    answers = [matcher(query)(stage) for stage in stages]
    assert answers[-1] is plainly(query, stages[-1])
    for answer in answers:
        assert answer is None or answer is answers[-1]


@given(MESSAGES, st.sampled_from(["a", "ü", "\0", "x", "\ufffd", "a\u0308"]))
@settings(max_examples=tries(200), deadline=None)
def test_any_octets_can_be_searched(octets: bytes, needle: str) -> None:
    candidate = Candidate(1, content=octets)
    in_body = matches(q.BodyContains(needle), candidate)
    assert matches(q.TextContains(needle), candidate) >= in_body
    assert isinstance(matches(q.HeaderContains("subject", needle), candidate), bool)
