"""Arguments of SORT, THREAD and RETURN, and the search keys of extensions."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv import query as q
from mailsrv.wire.imap_commands import SELECTED, read
from mailsrv.wire.imap_requests import BadCharset, Fetch, Invalid, Search, Sort, Thread
from mailsrv.wire.imap_sort import MAX_KEYS

DAY = date(1994, 2, 1).toordinal()


def command(text: bytes) -> Any:
    return read(b"a " + text, SELECTED, [], 16)[0]


@pytest.mark.parametrize(
    ("key", "query"),
    [
        (b"OLDER 60", q.Within(False, 60)),
        (b"YOUNGER 4294967295", q.Within(True, 4294967295)),
        (b"SAVEDBEFORE 1-Feb-1994", q.Saved("<", DAY)),
        (b"SAVEDON 1-Feb-1994", q.Saved("=", DAY)),
        (b"SAVEDSINCE 1-Feb-1994", q.Saved(">=", DAY)),
        (b"SAVEDATESUPPORTED", q.All()),
        (b"EMAILID e1-7", q.EmailId("e1-7")),
        (b'EMAILID "M_1"', q.EmailId("M_1")),
        (b"THREADID T1", q.ThreadId("T1")),
    ],
)
def test_keys_of_rfc_5032_rfc_8474_rfc_8514(key: bytes, query: q.Query) -> None:
    assert command(b"SEARCH " + key) == Search(b"a", "SEARCH", query)


@pytest.mark.parametrize(
    "key",
    [
        b"OLDER 0",
        b"YOUNGER -1",
        b"OLDER 4294967296",
        b"SAVEDON x",
        b"EMAILID a.b",
        b"THREADID",
        b"EMAILID " + b"x" * 256,
    ],
)
def test_keys_that_are_refused(key: bytes) -> None:
    assert type(command(b"SEARCH " + key)) is Invalid


@pytest.mark.parametrize(
    ("text", "returns", "partial"),
    [
        (b"(SAVE)", {"SAVE"}, None),
        (b"(PARTIAL 1:5)", {"PARTIAL"}, (1, 5)),
        (b"(COUNT PARTIAL 7:3 MIN)", {"COUNT", "PARTIAL", "MIN"}, (3, 7)),
        (b"(PARTIAL -1:-100)", {"PARTIAL"}, (-1, -100)),
        (b"(PARTIAL -9:-2)", {"PARTIAL"}, (-2, -9)),
    ],
)
def test_rfc_4731_rfc_5182_rfc_9394_return(text: bytes, returns: set[str], partial: tuple[int, int] | None) -> None:
    event = command(b"UID SEARCH RETURN " + text + b" ALL")
    assert (event.returns, event.partial) == (returns, partial)
    event = command(b"UID SORT RETURN " + text + b" (DATE) UTF-8 ALL")
    assert (event.returns, event.partial) == (returns, partial)


@pytest.mark.parametrize(
    "text",
    [
        b"(PARTIAL)",
        b"(PARTIAL 1)",
        b"(PARTIAL 1:-1)",
        b"(PARTIAL 0:1)",
        b"(PARTIAL 1:4294967296)",
        b"(PARTIAL 1:2:3)",
        b"(PARTIAL 1:2 PARTIAL 1:2)",
        b"(ALL PARTIAL 1:2)",
        b"(MIN",
        b"(,)",
    ],
)
def test_return_that_is_refused(text: bytes) -> None:
    assert type(command(b"SEARCH RETURN " + text + b" ALL")) is Invalid


def test_rfc_5256_rfc_5957_sort() -> None:
    event = command(b"UID SORT (reverse date Subject REVERSE DISPLAYFROM) utf-8 UNSEEN FROM x")
    keys = (("DATE", True), ("SUBJECT", False), ("DISPLAYFROM", True))
    query = q.And((q.Not(q.HasFlag(b"\\Seen")), q.HeaderContains("from", "x")))
    assert event == Sort(b"a", "UID SORT", query, charset=b"UTF-8", keys=keys)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" DATE UTF-8 ALL",
        b" () UTF-8 ALL",
        b" (DATE REVERSE) UTF-8 ALL",
        b" (DATE)",
        b" (BCC) UTF-8 ALL",
        b" (DATE) UTF-8 FOO",
        b" (REVERSE REVERSE DATE) UTF-8 ALL",
        b" (DATE" * 9,
    ],
)
def test_sort_that_is_refused(text: bytes) -> None:
    assert type(command(b"SORT" + text)) is Invalid


def test_sort_keys_are_bounded() -> None:
    keys = b" ".join([b"DATE"] * MAX_KEYS)
    assert type(command(b"SORT (%b) UTF-8 ALL" % keys)) is Sort
    assert type(command(b"SORT (%b SIZE) UTF-8 ALL" % keys)) is Invalid


def test_rfc_5256_thread() -> None:
    assert command(b"THREAD references US-ASCII ALL") == Thread(b"a", "THREAD", "REFERENCES", q.All(), b"US-ASCII")
    assert command(b"UID THREAD ORDEREDSUBJECT UTF-8 1:*").algorithm == "ORDEREDSUBJECT"
    for text in (b"THREAD", b"THREAD REFS UTF-8 ALL", b"THREAD REFERENCES UTF-8", b"THREAD REFERENCES"):
        assert type(command(text)) is Invalid


def test_rfc_5182_section_2_1_a_refusal_tells_whether_something_was_to_be_saved() -> None:
    assert command(b"SEARCH RETURN (SAVE) CHARSET X ALL") == BadCharset(b"a", "SEARCH", saving=True)
    assert command(b"SORT RETURN (SAVE) (DATE) X ALL") == BadCharset(b"a", "SORT", saving=True)
    assert command(b"SORT RETURN (ALL) (DATE) X ALL") == BadCharset(b"a", "SORT")
    assert command(b"THREAD REFERENCES X ALL") == BadCharset(b"a", "THREAD")


def test_rfc_9394_section_3_3_fetch() -> None:
    event = command(b"UID FETCH 1:* (UID) (PARTIAL -1:-30)")
    assert type(event) is Fetch and event.modifiers == {"PARTIAL": (-1, -30)}
    for argument in (b"", b" 1", b" 1:2,3", b" (1:2)", b" -1:2"):
        assert type(command(b"UID FETCH 1:* (UID) (PARTIAL%b)" % argument)) is Invalid


WORDS = st.sampled_from(
    b'RETURN|(|)|()|SAVE|PARTIAL|1:2|-1:-2|-|ALL|REVERSE|DATE|SIZE|UTF-8|X|REFERENCES|OLDER|7|$|UID|NOT|{|"|\\'.split(
        b"|"
    )
)


@given(st.sampled_from([b"SEARCH", b"UID SORT", b"THREAD"]), st.lists(st.tuples(st.sampled_from([b"", b" "]), WORDS)))
def test_whatever_comes_is_a_request_or_refused(name: bytes, words: list[tuple[bytes, bytes]]) -> None:
    event = command(name + b"".join(space + word for space, word in words))
    assert isinstance(event, (Search, Thread, Invalid, BadCharset))
