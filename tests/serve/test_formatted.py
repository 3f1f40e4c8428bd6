"""Servers with a message format (S-154..S-163): what clients are shown, and that all they are told fits it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mailsrv.errors import StoreUnavailable
from mailsrv.message.content import MemoryContent
from mailsrv.message.format import FormatOptions, render
from mailsrv.serve import formatted
from mailsrv.serve.formatted import Cache, Format, FormattedStore
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport

TRACE = b"Return-Path: <a@b.example>\r\nReceived: from x by mx.example.org\r\n"
HTML = (
    b"From: a@b.example\r\nSubject: News\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<h1>News</h1><p>Caf\xc3\xa9 <a href='https://example.org/'>here</a></p>\r\n"
)
PLAIN = b"From: a@b.example\r\nSubject: Plain\r\n\r\nHello\r\n"
TEXT = FormatOptions(body="text")


def site(options: FormatOptions = TEXT, since: int = 0, approximate: bool = False) -> tuple[Bed, Format, list[bytes]]:
    """A bed with a format, and what was rendered."""
    bed = Bed()
    made: list[bytes] = []

    async def aside(function: Any, stored: list[bytes], more: Any) -> Any:
        made.extend(stored)
        return function(stored, more)

    shown = Format(options, aside, since, approximate)
    bed.settings["store"] = FormattedStore(bed.store, shown)  # type: ignore[arg-type]
    return bed, shown, made


def say(bed: Bed, client: MemoryTransport, line: bytes) -> bytes:
    client.send(line + b"\r\n")
    bed.settle()
    return client.take()


def pop3(bed: Bed) -> MemoryTransport:
    client = bed.connect("pop3")
    say(bed, client, b"USER me")
    say(bed, client, b"PASS secret")
    return client


def imap(bed: Bed) -> MemoryTransport:
    client = bed.connect("imap")
    say(bed, client, b"l LOGIN me secret")
    return client


def test_s_159_pop3_shows_html_as_text_and_tells_its_sizes() -> None:
    bed, _, _ = site()
    bed.deliver(TRACE + HTML)
    bed.deliver(TRACE + PLAIN)
    client = pop3(bed)
    want = render(TRACE + HTML, TEXT)
    assert b"Content-Type: text/plain; charset=iso-8859-1" in want and b"News\r\n=3D=3D=3D=3D" in want
    assert say(bed, client, b"LIST") == b"+OK 2 messages (%d octets)\r\n1 %d\r\n2 %d\r\n.\r\n" % (
        len(want) + len(TRACE + PLAIN), len(want), len(TRACE + PLAIN)
    )
    assert say(bed, client, b"RETR 1") == b"+OK %d octets\r\n" % len(want) + want + b".\r\n"
    assert say(bed, client, b"TOP 1 1").endswith(b"\r\nNews\r\n.\r\n")
    assert say(bed, client, b"RETR 2").endswith(TRACE + PLAIN + b".\r\n")


def test_s_157_uuencode_for_a_client_without_mime() -> None:
    bed, _, _ = site(FormatOptions(attachments="uuencode"))
    body = b'--b\r\nContent-Type: text/plain\r\n\r\nsee\r\n--b\r\nContent-Type: application/pdf; name="a.pdf"\r\n' \
        b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\n"
    bed.deliver(TRACE + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + body)
    assert b"begin 644 a.pdf\r\n#04)#\r\n" in say(bed, pop3(bed), b"RETR 1")


def test_a_rendering_is_made_once_and_its_size_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bed, shown, made = site()
    bed.deliver(TRACE + HTML)
    client = pop3(bed)
    say(bed, client, b"RETR 1")
    say(bed, client, b"QUIT")
    assert len(made) == 1
    monkeypatch.setattr(formatted, "CACHE", 0)
    shown.cache.keep((0, 0), b"another")
    client = pop3(bed)
    assert len(made) == 1 and b"(%d octets)" % len(render(TRACE + HTML, TEXT)) in say(bed, client, b"LIST")
    say(bed, client, b"RETR 1")
    assert len(made) == 2


def test_all_that_imap_tells_is_of_the_rendering() -> None:
    bed, shown, made = site()
    bed.deliver(TRACE + HTML)
    client = imap(bed)
    say(bed, client, b"s SELECT INBOX")
    want = render(TRACE + HTML, TEXT)
    items = b"RFC822.SIZE BODYSTRUCTURE EMAILID BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (CONTENT-TYPE)]"
    said = say(bed, client, b"a FETCH 1 (%b)" % items)
    assert b"RFC822.SIZE %d " % len(want) in said and b'("text" "plain" ("charset" "iso-8859-1"' in said
    assert b"BODY[] {%d}\r\n%b" % (len(want), want) in said and b"Content-Type: text/plain" in said
    assert b"* SEARCH 1\r\n" in say(bed, client, b"b SEARCH BODY ====")
    assert b"* SEARCH 1\r\n" in say(bed, client, b"c SEARCH HEADER CONTENT-TYPE plain LARGER %d" % (len(want) - 1))
    assert b"* SEARCH\r\n" in say(bed, client, b"d SEARCH LARGER %d" % len(want))
    assert len(made) == 1
    email_id = re.search(rb"EMAILID \(([A-Za-z0-9_-]+)\)", said)
    assert email_id is not None and email_id[1].endswith(shown.mark.encode())


def test_two_servers_show_one_message_differently() -> None:
    bed, shown, _ = site()
    bed.deliver(TRACE + HTML)
    box = bed.loop.run(bed.loop.run(bed.store.account(bed.accounts["me"])).open("INBOX"))
    client = imap(bed)
    say(bed, client, b"s SELECT INBOX")
    say(bed, client, b"a FETCH 1 (BODYSTRUCTURE)")
    (facts,) = bed.loop.run(box.facts([1], frozenset({"summary", "size"})))
    assert facts.summary is None and facts.size == len(TRACE + HTML)
    assert bed.loop.run(box.records([1], f"summary.{shown.name}"))[0] is not None


def test_another_format_is_another_uidvalidity_wherever_it_is_told() -> None:
    bed, _, _ = site(since=3_000_000_000)
    bed.deliver(TRACE + HTML)
    client = imap(bed)
    assert b"UIDVALIDITY 3000000000" in say(bed, client, b"a STATUS INBOX (UIDVALIDITY)")
    assert b"[UIDVALIDITY 3000000000]" in say(bed, client, b"b SELECT INBOX")
    assert b"[COPYUID 3000000000 1 2]" in say(bed, client, b"c COPY 1 INBOX")
    client.send(b"d APPEND INBOX {%d+}\r\n" % len(PLAIN) + PLAIN + b"\r\n")
    bed.settle()
    assert b"[APPENDUID 3000000000 3]" in client.take()


def test_what_a_client_wrote_is_shown_as_it_is() -> None:
    bed, _, made = site()
    client = imap(bed)
    say(bed, client, b"s SELECT INBOX")
    client.send(b"d APPEND INBOX {%d+}\r\n" % len(HTML) + HTML + b"\r\n")
    bed.settle()
    client.take()
    assert b"BODY[] {%d}\r\n%b" % (len(HTML), HTML) in say(bed, client, b"a FETCH 1 BODY.PEEK[]")
    assert made == []


def test_s_148_fast_retrieval_tells_the_stored_size_and_renders_nothing_for_it() -> None:
    bed, _, made = site(approximate=True)
    bed.deliver(TRACE + HTML)
    client = imap(bed)
    say(bed, client, b"s SELECT INBOX")
    assert b"RFC822.SIZE %d)" % len(TRACE + HTML) in say(bed, client, b"a FETCH 1 RFC822.SIZE")
    assert made == []
    want = render(TRACE + HTML, TEXT)
    assert b"BODY[] {%d}\r\n%b" % (len(want), want) in say(bed, client, b"b FETCH 1 BODY.PEEK[]")


def test_a_message_that_cannot_be_read_keeps_nobody_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bed, _, _ = site()
    for octets in (HTML, PLAIN, HTML):
        bed.deliver(TRACE + octets)
    real = MemoryContent.read

    async def read(content: MemoryContent, offset: int, length: int) -> bytes:
        if content.size == len(TRACE + PLAIN):
            raise StoreUnavailable("the disk is broken there")
        return await real(content, offset, length)

    monkeypatch.setattr(MemoryContent, "read", read)
    client = pop3(bed)
    size = len(render(TRACE + HTML, TEXT))
    assert b"\r\n1 %d\r\n2 %d\r\n3 %d\r\n" % (size, len(TRACE + PLAIN), size) in say(bed, client, b"LIST")
    assert say(bed, client, b"RETR 2").startswith(b"-ERR [SYS/TEMP] ")
    assert say(bed, client, b"RETR 3").startswith(b"+OK %d octets" % size)


def test_the_cache_is_bounded() -> None:
    cache = Cache()
    for number in range(40):
        cache.keep((1, number), bytes(2**20))
    assert sum(cache.get((1, number)) is not None for number in range(40)) == formatted.CACHE // 2**20
    cache.keep((2, 1), bytes(formatted.LARGEST + 1))
    assert cache.get((2, 1)) is None


def test_rfc8438_2_the_size_of_a_mailbox_is_that_of_the_messages_as_they_are_shown() -> None:
    grown = FormatOptions(body="html")
    for options, approximate in ((grown, False), (TEXT, False), (TEXT, True)):
        bed, _, _ = site(options, approximate=approximate)
        bed.deliver(TRACE + HTML)
        bed.deliver(TRACE + PLAIN)
        client = bed.connect("imap")
        say(bed, client, b"a LOGIN me secret")
        told = re.search(rb"SIZE (\d+)", say(bed, client, b"a STATUS INBOX (SIZE)"))
        say(bed, client, b"a SELECT INBOX")
        sizes = re.findall(rb"RFC822.SIZE (\d+)", say(bed, client, b"a FETCH 1:* RFC822.SIZE"))
        assert told is not None and int(told[1]) == sum(map(int, sizes)) and len(sizes) == 2
