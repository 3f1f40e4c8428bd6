"""BINARY and UTF8=ACCEPT where a conversation's text is not enough: long parts, broken stores, what POP3 sees."""

from __future__ import annotations

import base64
import quopri
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_imap_session import login, say

from mailsrv import errors
from mailsrv.message.content import MemoryContent
from mailsrv.serve.imap import binary
from mailsrv.testing.bed import Bed
from tests.properties import tries

#: More than is kept, with no two pieces alike.
LONG = b"".join(b"%07d\n" % number for number in range(binary.KEPT // 4))


def part(encoding: str, octets: bytes) -> bytes:
    encoded = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring, "8bit": bytes}[encoding](octets)
    return b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (encoding.encode(), encoded)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
@pytest.mark.parametrize("start, count", [(0, len(LONG)), (binary.KEPT, binary.KEPT + 5), (len(LONG) - 9, 100), (7, 1)])
def test_rfc3516_long_parts_are_counted_and_sent(encoding: str, start: int, count: int) -> None:
    bed = Bed()
    bed.deliver(part(encoding, LONG))
    client = login(bed)
    wanted = LONG[start : start + count]
    answer = say(bed, client, b"a FETCH 1 (BINARY.PEEK[1]<%d.%d> BINARY.SIZE[1])" % (start, count))
    assert answer == b"* 1 FETCH (BINARY[1]<%d> ~{%d}\r\n%b BINARY.SIZE[1] %d)\r\na OK FETCH completed\r\n" % (
        start, len(wanted), wanted, len(LONG),
    )  # fmt: skip


def test_rfc3516_a_slow_client_is_waited_for() -> None:
    bed = Bed()
    bed.deliver(part("base64", LONG))
    client = login(bed, window=100_000)
    client.send(b"a FETCH 1 BINARY.PEEK[1]\r\n")
    bed.settle()
    out, most = b"", 0
    while not out.endswith(b"FETCH completed\r\n"):
        most = max(most, len(client.output))
        out += client.take()
        bed.settle()
    assert out.startswith(b"* 1 FETCH (BINARY[1] ~{%d}\r\n%b)" % (len(LONG), LONG)) and most < 300_000


def test_a_literal_that_cannot_be_ended_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    bed.deliver(part("base64", LONG))
    client = login(bed)
    read, calls = MemoryContent.read, [0]

    async def failing(self: MemoryContent, offset: int, length: int) -> bytes:
        calls[0] += 1
        # It is counted, and then the sending begins.
        if calls[0] > 2 + len(part("base64", LONG)) // binary.PIECE + 8:
            raise errors.StoreUnavailable()
        return await read(self, offset, length)

    monkeypatch.setattr(MemoryContent, "read", failing)
    answer = say(bed, client, b"a FETCH 1 BINARY.PEEK[1]")
    assert answer.startswith(b"* 1 FETCH (BINARY[1] ~{") and b"a NO" not in answer and client.closed


def test_a_store_that_cannot_be_read_says_so_before_a_literal_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    bed.deliver(part("base64", b"x" * 100))
    client = login(bed)

    assert b"BINARY[1]" in say(bed, client, b"a FETCH 1 BINARY.PEEK[1]")
    read = MemoryContent.read

    async def empty(self: MemoryContent, offset: int, length: int) -> bytes:
        return b"" if offset else await read(self, offset, length)

    monkeypatch.setattr(MemoryContent, "read", empty)
    assert say(bed, client, b"a FETCH 1 BINARY.PEEK[1]").startswith(b"a NO [UNAVAILABLE] ")


@settings(max_examples=tries(40), deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["base64", "quoted-printable", "8bit"]), st.integers(0, 250))
def test_the_size_told_is_the_size_sent(octets: bytes, encoding: str, start: int) -> None:
    bed = Bed()
    bed.deliver(b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (encoding.encode(), octets))
    client = login(bed)
    answer = say(bed, client, b"a FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1]<%d.1000>)" % start)
    found = re.match(rb"\* 1 FETCH \(BINARY\.SIZE\[1\] (\d+) BINARY\[1\]<\d+> ~\{(\d+)\}\r\n", answer)
    assert found is not None
    rest = answer[found.end() + int(found[2]) :]
    assert rest == b")\r\na OK FETCH completed\r\n" and int(found[2]) == max(0, int(found[1]) - start)


def test_rfc6855_what_was_appended_so_is_shown_to_pop3_in_ascii() -> None:
    bed = Bed()
    client = login(bed)
    say(bed, client, b"a ENABLE UTF8=ACCEPT")
    message = "Subject: ü\r\n\r\nx\r\n".encode()
    assert b"APPENDUID" in say(bed, client, b"b APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(message), message))
    other = bed.connect("pop3")
    for line in (b"USER me", b"PASS secret", b"RETR 1"):
        other.send(line + b"\r\n")
        bed.settle()
    assert b"Subject: =?utf-8?b?w7w=?=" in other.take()


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_rfc3516_ranges_one_after_the_other_decode_a_part_once(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = Bed()
    bed.deliver(part(encoding, LONG))
    bed.deliver(part(encoding, LONG[::-1]))
    client = login(bed)
    read, octets = MemoryContent.read, [0]

    async def counted(self: MemoryContent, offset: int, length: int) -> bytes:
        found = await read(self, offset, length)
        octets[0] += len(found)
        return found

    monkeypatch.setattr(MemoryContent, "read", counted)
    step, got = 10_007, b""
    for start in range(0, len(LONG) + step, step):
        answer = say(bed, client, b"a FETCH 1 BINARY.PEEK[1]<%d.%d>" % (start, step))
        head, _, rest = answer.partition(b"}\r\n")
        got += rest[: int(head.rpartition(b"{")[2])]
    assert got == LONG
    # Of each range what was decoded too far is decoded again, and the headers are looked at.
    assert octets[0] < 8 * len(part(encoding, LONG))
    # Another message, an earlier place, and a place far behind are what they are.
    back = LONG[::-1]
    for number, whole, start in ((2, back, 50_000), (1, LONG, 100), (2, back, 100), (2, back, 90_000)):
        wanted = whole[start : start + 300]
        said = say(bed, client, b"a FETCH %d BINARY.PEEK[1]<%d.300>" % (number, start))
        assert said == b"* %d FETCH (BINARY[1]<%d> ~{300}\r\n%b)\r\na OK FETCH completed\r\n" % (number, start, wanted)
