"""SEARCH, SORT and THREAD against a plain model of them, in other states of a session, and on large mailboxes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from test_imap_session import hook, inbox, login, raiser, say, session_of

from mailsrv import errors
from mailsrv.numbers import UidSet
from mailsrv.serve.imap import results, search, sort
from mailsrv.testing.bed import Bed
from mailsrv.values import FlagChange
from tests.properties import tries

# ---------------------------------------------------------------- a model


@frozen
class Mail:
    """What the model knows of a message; its number is its place."""

    subject: str
    sender: str
    day: int
    body: str
    seen: bool
    flagged: bool

    def octets(self) -> bytes:
        head = f"From: {self.sender}@example.com\r\nSubject: {self.subject}\r\n"
        if self.day:
            head += f"Date: {self.day} Feb 1994 12:00:00 +0000\r\n"
        return f"{head}\r\n{self.body}\r\n".encode()


MAILS = st.lists(
    st.builds(
        Mail, st.sampled_from(["apple", "Pear", "Re: apple", "fig"]), st.sampled_from(["ann", "Bob", "cat"]),
        st.integers(0, 5), st.sampled_from(["one", "Two", "three"]), st.booleans(), st.booleans(),
    ),
    min_size=1, max_size=7,
)  # fmt: skip
Test = Callable[[int, Mail], bool]
#: Search keys and what they mean.
KEYS: list[tuple[str, Test]] = [
    ("ALL", lambda at, mail: True),
    ("SEEN", lambda at, mail: mail.seen),
    ("UNFLAGGED", lambda at, mail: not mail.flagged),
    ("SUBJECT pp", lambda at, mail: "pp" in mail.subject),
    ("FROM BOB", lambda at, mail: mail.sender == "Bob"),
    ("BODY t", lambda at, mail: "t" in mail.body.lower()),
    ("TEXT re", lambda at, mail: "re" in mail.octets().decode().lower()),
    ("SENTSINCE 3-Feb-1994", lambda at, mail: mail.day >= 3),
    ("2:4", lambda at, mail: 2 <= at <= 4),
    ("LARGER 90", lambda at, mail: len(mail.octets()) > 90),
    ("UID 3:9", lambda at, mail: at >= 3),
    ("SAVEDSINCE 24-Nov-2026", lambda at, mail: True),
    ("SAVEDBEFORE 24-Nov-2026", lambda at, mail: False),
    ("YOUNGER 60", lambda at, mail: True),
    ("THREADID T1", lambda at, mail: False),
    ("HEADER X-None x", lambda at, mail: False),
]


def combined(left: tuple[str, Test], right: tuple[str, Test]) -> list[tuple[str, Test]]:
    return [
        (f"{left[0]} {right[0]}", lambda at, mail: left[1](at, mail) and right[1](at, mail)),
        (f"OR ({left[0]}) ({right[0]})", lambda at, mail: left[1](at, mail) or right[1](at, mail)),
        (f"NOT ({left[0]})", lambda at, mail: not left[1](at, mail)),
    ]


QUERIES = st.recursive(
    st.sampled_from(KEYS), lambda inner: st.tuples(inner, inner).flatmap(lambda two: st.sampled_from(combined(*two))),
    max_leaves=4,
)  # fmt: skip


def filled(mails: list[Mail]) -> Bed:
    bed = Bed()
    for mail in mails:
        bed.deliver(mail.octets())
    box = inbox(bed)
    for flag, wanted in ((b"\\Seen", lambda mail: mail.seen), (b"\\Flagged", lambda mail: mail.flagged)):
        uids = UidSet.of(at for at, mail in enumerate(mails, 1) if wanted(mail))
        if uids:
            bed.loop.run(box.update(uids, FlagChange("add", frozenset([flag]))))
    box.release()
    return bed


def numbers(said: bytes, name: bytes) -> list[int]:
    """What one untagged answer of that name holds."""
    found = re.search(rb"^\* %b((?: \d+)*)\r\n" % name, said, re.MULTILINE)
    assert found, said
    return [int(word) for word in found[1].split()]


@settings(max_examples=tries(30), deadline=None)
@given(MAILS, st.lists(QUERIES, min_size=1, max_size=6))
def test_rfc_9051_section_6_4_4_search_finds_what_the_model_finds(
    mails: list[Mail], queries: list[tuple[str, Test]]
) -> None:
    bed = filled(mails)
    client = login(bed)
    for text, meaning in queries:
        expected = [at for at, mail in enumerate(mails, 1) if meaning(at, mail)]
        assert numbers(say(bed, client, b"a SEARCH " + text.encode()), b"SEARCH") == expected, text
        said = say(bed, client, b"b UID SEARCH RETURN (ALL COUNT) " + text.encode())
        every = b" ALL " + UidSet.of(expected).encode() if expected else b""
        assert b'* ESEARCH (TAG "b") UID COUNT %d%b\r\n' % (len(expected), every) in said, text


BASE = {"Re: apple": "apple"}
SORT_KEYS: dict[str, Callable[[Mail], Any]] = {
    "SUBJECT": lambda mail: BASE.get(mail.subject, mail.subject).lower(),
    "FROM": lambda mail: mail.sender.lower(),
    "SIZE": lambda mail: len(mail.octets()),
    "DATE": lambda mail: mail.day or 99,
    "DISPLAYFROM": lambda mail: mail.sender.lower(),
    "ARRIVAL": lambda mail: 0,
    "CC": lambda mail: 0,
}


@settings(max_examples=tries(25), deadline=None)
@given(MAILS, st.lists(st.tuples(st.sampled_from(sorted(SORT_KEYS)), st.booleans()), min_size=1, max_size=3))
def test_rfc_5256_section_3_sort_is_a_stable_permutation(mails: list[Mail], keys: list[tuple[str, bool]]) -> None:
    bed = filled(mails)
    client = login(bed)
    words = " ".join(("REVERSE " if reverse else "") + name for name, reverse in keys).encode()
    expected = list(range(1, len(mails) + 1))
    for name, reverse in reversed(keys):
        expected.sort(key=lambda at: SORT_KEYS[name](mails[at - 1]), reverse=reverse)
    assert numbers(say(bed, client, b"a SORT (%b) UTF-8 ALL" % words), b"SORT") == expected
    said = say(bed, client, b"b SORT RETURN (MIN MAX COUNT) (%b) UTF-8 ALL" % words)
    assert b"MIN %d MAX %d COUNT %d\r\n" % (expected[0], expected[-1], len(expected)) in said


@settings(max_examples=tries(20), deadline=None)
@given(MAILS)
def test_rfc_5256_section_3_every_message_is_in_one_thread(mails: list[Mail]) -> None:
    bed = filled(mails)
    client = login(bed)
    for algorithm in (b"REFERENCES", b"ORDEREDSUBJECT"):
        said = say(bed, client, b"a THREAD %b UTF-8 ALL" % algorithm).splitlines()[0]
        assert sorted(map(int, re.findall(rb"\d+", said))) == list(range(1, len(mails) + 1))


# ---------------------------------------------------------------- states


def test_rfc_9051_section_6_4_4_rev2_has_esearch_alone() -> None:
    bed = filled([Mail("fig", "ann", 1, "one", False, False)])
    client = login(bed)
    session = session_of(client)
    session.enabled |= {"IMAP4REV2"}
    assert b'* ESEARCH (TAG "a") ALL 1\r\n' in say(bed, client, b"a SEARCH ALL")
    assert b'* ESEARCH (TAG "b") UID\r\n' in say(bed, client, b"b UID SEARCH SEEN")


def test_rfc_5182_section_2_1_a_search_that_fails_leaves_nothing_saved() -> None:
    bed = filled([Mail("fig", "ann", 1, "one", False, False)] * 2)
    client = login(bed)
    say(bed, client, b"a SEARCH RETURN (SAVE) ALL")
    hooked = hook(client, contents=raiser(errors.StoreUnavailable()))
    assert b"b NO [UNAVAILABLE]" in say(bed, client, b"b SEARCH BODY x")
    assert b"* SEARCH 1 2\r\n" in say(bed, client, b"c SEARCH $")
    assert b"d NO [UNAVAILABLE]" in say(bed, client, b"d SEARCH RETURN (SAVE) BODY x")
    assert b"* SEARCH\r\n" in say(bed, client, b"e SEARCH $")
    del hooked


def test_rfc_5182_section_2_5_what_is_too_large_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_SAVED", 1)
    bed = filled([Mail("fig", "ann", 1, "one", at != 1, False) for at in range(3)])
    client = login(bed)
    assert b"a OK" in say(bed, client, b"a SEARCH RETURN (SAVE) ALL")
    assert b"b NO [NOTSAVED]" in say(bed, client, b"b SEARCH RETURN (SAVE) SEEN")
    assert b"* SEARCH\r\n" in say(bed, client, b"c SEARCH $")


def test_messages_that_are_gone_are_not_sorted_or_threaded() -> None:
    bed = filled([Mail("fig", "ann", 1, "one", False, False)] * 2)
    client = login(bed)
    hook(client, facts=lambda uids, wanted: [None for _ in uids])
    assert b"* SORT\r\n" in say(bed, client, b"a SORT (DATE) UTF-8 ALL")
    assert b"* THREAD\r\n" in say(bed, client, b"b THREAD REFERENCES UTF-8 ALL")


def test_a_header_too_large_for_a_record_is_read_for_sort_and_thread() -> None:
    bed = Bed()
    ids = b"\r\n ".join([b"<" + b"r" * 80 + b"@b.example>"] * 400)
    for name in (b"zeta", b"alpha"):
        bed.deliver(b"From: %b <x@y>\r\nSubject: %b\r\nReferences: %b\r\n <t@a>\r\n\r\nbody\r\n" % (name, name, ids))
    client = login(bed)
    assert b"* SORT 2 1\r\n" in say(bed, client, b"a SORT (SUBJECT) UTF-8 ALL")
    assert b"* SORT 2 1\r\n" in say(bed, client, b"b SORT (DISPLAYFROM) UTF-8 ALL")
    assert b"* THREAD ((1)(2))\r\n" in say(bed, client, b"c THREAD REFERENCES UTF-8 ALL")


# ---------------------------------------------------------------- many messages


def test_answers_in_pieces_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PIECE", 3)
    monkeypatch.setattr(search, "BLOCK", 4)
    monkeypatch.setattr(search, "FLAGS_BLOCK", 4)
    monkeypatch.setattr(sort, "BLOCK", 2)
    monkeypatch.setattr(sort, "LARGE", 2)
    mails = [Mail("fig", "ann", at % 5, "one", at % 4 != 2, False) for at in range(11)]
    bed = filled(mails)
    client = login(bed)
    seen = [at for at, mail in enumerate(mails, 1) if mail.seen]
    assert numbers(say(bed, client, b"a SEARCH SEEN"), b"SEARCH") == seen
    assert b" ALL 1:2,4:6,8:10\r\n" in say(bed, client, b"b SEARCH RETURN (ALL) SEEN")
    assert b" ALL 1:11\r\n" in say(bed, client, b"c SEARCH RETURN (ALL) BODY one")
    order = sorted(range(1, 12), key=lambda at: mails[at - 1].day or 99)
    assert numbers(say(bed, client, b"e SORT (DATE) UTF-8 ALL"), b"SORT") == order
    said = say(bed, client, b"f THREAD ORDEREDSUBJECT UTF-8 ALL").splitlines()[0]
    assert sorted(map(int, re.findall(rb"\d+", said))) == list(range(1, 12))


def test_rfc_5182_the_saved_result_narrows_what_is_read() -> None:
    bed = filled([Mail("fig", "ann", 1, "one", at == 1, False) for at in range(5)])
    client = login(bed)
    say(bed, client, b"a SEARCH RETURN (SAVE) SEEN")
    read: list[int] = []
    hook(client, contents=read.extend)
    assert b"* SEARCH 2\r\n" in say(bed, client, b"b SEARCH $ BODY one")
    assert read == [2]
