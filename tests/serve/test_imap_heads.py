"""HEADER.FIELDS and SEARCH of header fields from the kept record (RFC 9051 sections 6.4.4 and 6.4.5)."""

from __future__ import annotations

from typing import Any

from test_imap_session import hook, inbox, login, raiser, say

from mailsrv import errors
from mailsrv.testing.bed import Bed

ASK = b" FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (Subject X-Mailer)])"


def message(subject: bytes, more: bytes = b"") -> bytes:
    return b"Subject: " + subject + b"\r\nX-Mailer: m\r\nX-Other: o\r\n" + more + b"\r\nbody\r\n"


def test_messages_are_read_once() -> None:
    bed = Bed()
    for subject in (b"one", b"two"):
        bed.deliver(message(subject))
    client = login(bed)
    read: list[Any] = []
    hook(client, contents=lambda uids: read.extend(uids))
    assert b"* SEARCH 2\r\n" in say(bed, client, b"a SEARCH SUBJECT two")
    first = say(bed, client, b"b" + ASK)
    assert b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (Subject X-Mailer)] {29}\r\nSubject: " in first
    assert say(bed, client, b"b" + ASK) == first
    assert b"* SEARCH 1\r\n" in say(bed, client, b"c SEARCH OR SUBJECT ONE FROM nobody")
    assert b"* SEARCH 1 2\r\n" in say(bed, client, b"d SEARCH HEADER X-MAILER M")
    assert read == [1, 2]
    assert b"* SEARCH 1 2\r\n" in say(bed, client, b"e SEARCH HEADER X-OTHER o")
    assert read == [1, 2, 1, 2]


def test_fields_that_are_no_usual_ones_come_from_the_header() -> None:
    bed = Bed()
    bed.deliver(message(b"one"))
    client = login(bed)
    both = b"BODY.PEEK[HEADER.FIELDS (Subject X-Other)] BODY.PEEK[HEADER.FIELDS (Subject)]"
    said = say(bed, client, b"a FETCH 1 (%b)" % both)
    assert b"{28}\r\nSubject: one\r\nX-Other: o\r\n\r\n BODY[HEADER.FIELDS (Subject)] {16}\r\nSubject: one\r\n" in said


def test_a_part_of_the_fields_and_the_mark_of_having_seen_them() -> None:
    bed = Bed()
    bed.deliver(message(b"one"))
    client = login(bed)
    said = say(bed, client, b"a FETCH 1 (BODY[HEADER.FIELDS (Subject)]<9.3>)")
    assert b"BODY[HEADER.FIELDS (Subject)]<9> {3}\r\none" in said and b"\\Seen" in said


def test_a_header_too_large_for_a_record_is_read() -> None:
    bed = Bed()
    bed.deliver(message(b"one", b"References: " + b"\r\n ".join([b"<" + b"r" * 80 + b"@b.example>"] * 400) + b"\r\n"))
    bed.deliver(message(b"two"))
    client = login(bed)
    for tag in (b"a", b"b"):
        said = say(bed, client, tag + ASK)
        assert said.count(b"{29}\r\nSubject: ") == 2 and said.endswith(b"OK FETCH completed\r\n")
        assert b"* SEARCH 1\r\n" in say(bed, client, tag + b" SEARCH SUBJECT one")


def test_records_that_cannot_be_kept_are_made_again_and_others_made_anew() -> None:
    bed = Bed()
    bed.deliver(message(b"one"))
    bed.loop.run(inbox(bed).keep_summaries([(1, b"mh\xffgarbage")], "head"))
    client = login(bed)
    hook(client, keep_summaries=raiser(errors.StoreUnavailable()))
    for tag in (b"a", b"b"):
        assert b"Subject: one" in say(bed, client, tag + ASK)


def test_a_message_that_is_gone_is_told_of() -> None:
    bed = Bed()
    bed.deliver(message(b"one"))
    client = login(bed)
    hook(client, contents=lambda uids: [None])
    assert b"EXPUNGEISSUED" in say(bed, client, b"a" + ASK)
