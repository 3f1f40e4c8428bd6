"""The record of the usual header fields: what it gives is what the header itself would give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv import query as q
from mailsrv.message import head as h
from mailsrv.message.head import COMMON, SEARCHED, Head, extract, might_hold, needle_of, numbers_of, select
from mailsrv.message.header import MAX_OCTETS, select_fields
from mailsrv.message.query import Candidate, by_day, matches, needs, sieve
from mailsrv.message.text import folded

_NAMES = st.sampled_from([b"Subject", b"FROM", b"to", b"Cc", b"x-other", b"Message-ID", b"Subject ", b"", b"su bject"])
_VALUES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b" hello", b" =?utf-8?q?Gr=C3=BC=C3=9Fe?=", b" one\r\n two", b" one\n\tTwo", b"\r", b" \xff\xfe"]),
)
_LINES = st.lists(
    st.one_of(st.tuples(_NAMES, _VALUES).map(lambda pair: b":".join(pair)), st.binary(max_size=20)), max_size=12
)
_ENDS = st.sampled_from([b"\r\n", b"\n"])
_HEADERS = st.tuples(_LINES, _ENDS, st.sampled_from([b"", b"\r\n", b"\r\n\r\nbody", b"\n\nSubject: below"])).map(
    lambda made: made[1].join(made[0]) + made[2]
)


@given(_HEADERS, st.lists(st.sampled_from(COMMON), min_size=1, max_size=5))
def test_rfc9051_6_4_5_fields_are_those_of_the_header(header: bytes, names: list[bytes]) -> None:
    numbers = numbers_of(tuple(name.upper() for name in names))
    assert numbers is not None
    assert Head(extract(header)).select(numbers) == select_fields(header, names, False)


@given(st.lists(_HEADERS, max_size=4), st.lists(st.sampled_from(COMMON), min_size=1, max_size=5))
def test_many_at_once_are_what_each_is(headers: list[bytes], names: list[bytes]) -> None:
    numbers = numbers_of(tuple(names))
    assert numbers is not None
    records = [extract(header) for header in headers]
    assert select(records, numbers) == [select_fields(header, names, False) for header in headers]
    assert select([*records, b"mh\x01" + bytes(20)], numbers) is None
    assert select([*records, extract(b"Subject: " + b"x" * h.MAX_RECORD)], numbers) is None


@given(_HEADERS, st.sampled_from([*COMMON[:12], b"x-other"]), st.sampled_from(["", "hello", "GRÜSSE", "one two", "o"]))
def test_rfc9051_6_4_4_search_answers_alike(header: bytes, name: bytes, text: str) -> None:
    query = q.HeaderContains(name.decode(), text)
    by_record = Candidate(1, head=Head(extract(header)), header=header)
    assert matches(query, by_record) == matches(query, Candidate(1, header=header))


_ASKED = st.builds(
    q.HeaderContains,
    st.sampled_from(["SUBJECT", "from", "message-id", "x-other"]),
    st.sampled_from(["", "hello", "GRÜSSE", "one two", "o", "e\ni"]),
)
_QUERIES = st.recursive(
    _ASKED,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda children: q.And(tuple(children))),
        st.builds(q.Or, inner, inner),
        st.builds(q.Not, inner),
    ),
    max_leaves=5,
)


@given(_HEADERS, _QUERIES)
def test_what_matches_is_never_sieved_out(header: bytes, query: q.Query) -> None:
    record, needles = extract(header), sieve(query)
    if needles and matches(query, Candidate(1, head=Head(record), header=header)):
        assert might_hold([record], needles) == [True]


def test_a_sieve_is_what_every_match_has() -> None:
    one, two = q.HeaderContains("SUBJECT", "One"), q.HeaderContains("FROM", "two")
    other = q.HeaderContains("X-Other", "x")
    assert sieve(q.And((other, q.Or(one, two)))) == (b"one", b"two")
    assert sieve(q.Or(one, other)) == sieve(q.Not(one)) == ()
    records = [extract(b"Subject: ONE\r\n\r\n"), extract(b"Subject: two\r\n\r\n")]
    assert might_hold(records, (b"one",)) == [True, False]
    large = extract(b"Subject: " + b"x" * h.MAX_RECORD)
    assert might_hold([*records, large], (b"one", b"three")) == [True, False, True]
    assert might_hold([b"mh\x01", *records], (b"one",)) is None


def test_days_of_arrival_alone() -> None:
    day, instant = q.Internal(">=", 738000), q.Arrived(True, 7)
    assert by_day(day) and by_day(q.And((q.Not(day), q.HasFlag(b"\\Seen"), q.TextContains("x"))))
    assert not by_day(q.Or(day, instant)) and not by_day(q.HasFlag(b"\\Seen")) and not by_day(q.Saved("=", 738000))


def test_a_search_asks_for_the_record_where_that_tells() -> None:
    assert needs(q.HeaderContains("SUBJECT", "x")) == {"head"}
    assert needs(q.HeaderContains("message-id", "x")) == {"head"}
    assert needs(q.HeaderContains("X-Other", "x")) == {"header"}


def test_a_field_that_is_not_there_differs_from_an_empty_one() -> None:
    record = Head(extract(b"Subject:\r\nFrom: a@b.example\r\n\r\n"))
    assert record.text(SEARCHED.index(b"subject")) == b""
    assert record.text(SEARCHED.index(b"cc")) is None
    assert record.text(SEARCHED.index(b"from")) == b"a@b.example"


def test_a_needle_with_a_line_end_is_looked_for_in_each_field_by_itself() -> None:
    header = b"Subject: one\r\nSubject: two\r\n\r\n"
    assert needle_of(folded("one\ntwo")) is None
    assert not matches(q.HeaderContains("subject", "one\ntwo"), Candidate(1, head=Head(extract(header))))


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: " + b"x" * h.MAX_RECORD + b"\r\n\r\n",
        b"Subject: x\r\n" * 300 + b"\r\n",
        b"X: y\r\n" * (MAX_OCTETS // 6 + 1) + b"\r\n",
    ],
    ids=["octets", "fields", "header"],
)
def test_of_a_large_header_there_is_no_record(header: bytes) -> None:
    record = extract(header)
    assert not Head(record).told and Head.current(record) and len(record) < 50
    candidate = Candidate(1, head=Head(record))
    assert candidate.header is None and not matches(q.HeaderContains("subject", "x"), candidate)
    candidate.header = header
    assert matches(q.HeaderContains("subject", "x"), candidate) == (b"Subject" in header)


@pytest.mark.parametrize("record", [b"", b"mh", b"ms" + bytes(12), b"mh\xff" + bytes(11)])
def test_octets_of_others_are_no_record(record: bytes) -> None:
    assert not Head.current(record)
    with pytest.raises(ValueError, match="no head"):
        Head(record)
