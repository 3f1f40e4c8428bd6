"""SMTP sessions with BDAT, SMTPUTF8, long headers: what is kept, what is forgotten, and when (RFC 3030)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from test_smtp import Scripted, bed_with, codes, failures, greeted, say, stored

from mailsrv.errors import StoreFull
from mailsrv.host.leaving import GRACE
from mailsrv.serve.allowances import Allowances, SiteLimits
from mailsrv.testing.bed import Bed
from mailsrv.testing.smuggling import EVIL, FALSE_ENDS
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import Address, NewDelivery, Verdict

__all__ = ["failures"]

OPEN = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\n"


def bdat(octets: bytes, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if last else b"", octets)


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_in_many_chunks_is_the_one_that_was_sent(failures: list[Any]) -> None:
    bed = bed_with(Scripted())
    client = greeted(bed)
    text = b"Subject: x\r\n\r\n" + b"".join(b".%d\r\n" % k for k in range(2000))
    pieces = [text[k : k + 97] for k in range(0, len(text), 97)]
    said = say(client, bed, OPEN + b"".join(map(bdat, pieces)) + bdat(b"", True))
    assert codes(said) == ["250"] * (len(pieces) + 3)
    (message,) = stored(bed)
    assert message.endswith(text)


@pytest.mark.parametrize("end", ["RSET", "HELO", "STARTTLS", "QUIT", "vanishes", "too big", "refused", "delivered",
                                 "in the middle", "stopped", "idle"])  # fmt: skip
def test_no_spool_file_outlasts_its_chunks(end: str, failures: list[Any], tmp_path: Path) -> None:
    bed = Bed(spool_folder=str(tmp_path))
    bed.limit(memory_octets=100, message_octets=5000, idle_timeout=60.0)
    client = greeted(bed)
    before = fds()
    assert codes(say(client, bed, OPEN + bdat(b"x" * 80 + b"\r\n") + bdat(b"y" * 80 + b"\r\n"))) == ["250"] * 4
    assert fds() == before + 1 and os.listdir(tmp_path) == []
    if end == "vanishes":
        client.drop()
    elif end == "stopped":
        bed.server("smtp").stop()
        # What is under way may come to its end for so long.
        bed.settle(GRACE + 1)
    elif end == "in the middle":
        client.send(b"BDAT 900\r\nabc")
        client.drop()
    elif end == "idle":
        bed.settle(61)
    else:
        words = {"too big": bdat(b"z" * 5000), "refused": bdat(b"\0", True), "delivered": bdat(b"z", True),
                 "HELO": b"HELO x\r\n"}.get(end, end.encode() + b"\r\n")  # fmt: skip
        said = say(client, bed, words)
        assert codes(said)[0] == {"too big": "552", "refused": "550", "STARTTLS": "220", "QUIT": "221"}.get(end, "250")
    bed.settle()
    assert fds() == before
    assert len(stored(bed)) == (end == "delivered")


def test_a_client_that_leaves_within_a_chunk_leaves_nothing(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    say(client, bed, OPEN + b"BDAT 9 LAST\r\nA: b\r\n")
    client.drop()
    bed.settle()
    assert stored(bed) == [] and bed.server("smtp").sessions() == []


def test_policies_are_asked_at_the_first_chunk_and_at_the_last(failures: list[Any]) -> None:
    policy = Scripted(content=lambda: Verdict("reject", "Spam", "5.7.1"))
    bed = bed_with(policy)
    client = greeted(bed)
    assert codes(say(client, bed, OPEN + bdat(b"A: b\r\n"))) == ["250"] * 3
    assert [asked.split()[0] for asked in policy.asked] == ["sender", "recipient"]
    assert say(client, bed, bdat(b"", True)) == ["554 5.7.1 Spam"]
    said = say(client, bed, b"MAIL FROM:<>\r\n" + bdat(b"", True))
    assert said == ["250 2.1.0 Sender OK", "503 5.5.1 No valid recipients"]


def test_no_room_is_452_at_the_chunk_and_the_rest_is_503(failures: list[Any], tmp_path: Path) -> None:
    bed = Bed(spool_folder=str(tmp_path / "nowhere"))
    bed.limit(memory_octets=10)
    client = greeted(bed)
    said = say(client, bed, OPEN + bdat(b"x" * 20) + bdat(b"y") + bdat(b"", True) + b"RSET\r\n")
    assert codes(said) == ["250", "250", "452", "503", "503", "250"]


def test_a_store_without_room_is_452_at_the_last_chunk(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    bed.store.fail_with(StoreFull())
    assert codes(say(client, bed, OPEN + bdat(b"A: b\r\n", True))) == ["250", "250", "452"]
    bed.store.fail_with(None)
    assert codes(say(client, bed, OPEN + bdat(b"A: b\r\n", True))) == ["250", "250", "250"]
    assert len(stored(bed)) == 1


def test_chunks_with_a_lone_newline_end_the_connection_at_the_third_as_data_does(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    for count in range(1, 4):
        said = codes(say(client, bed, OPEN + bdat(b"a\nb\r\n", last=count == 2) + b"NOOP\r\n"))
        assert said == (["250", "250", "550", "250"] if count < 3 else ["250", "250", "550", "421"])
    assert client.closed


def test_binary_parts_count_as_what_they_become(failures: list[Any]) -> None:
    """Base64 is a third more, and the limit is of what is kept (S-117)."""
    head = b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    bed = Bed()
    bed.limit(message_octets=1200)
    client = greeted(bed)
    begin = OPEN.replace(b"example>", b"example> BODY=BINARYMIME", 1)
    assert codes(say(client, bed, begin + bdat(head + b"\0" * 600, True))) == ["250", "250", "250"]
    assert codes(say(client, bed, begin + bdat(head + b"\0" * 1000, True))) == ["250", "250", "552"]
    assert len(stored(bed)) == 1 and b"\0" not in stored(bed)[0]


@pytest.mark.parametrize("normalise", [False, True], ids=["refuse", "normalise"])
@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_smuggling_gives_one_reply_and_at_most_one_message(end: bytes, normalise: bool, failures: list[Any]) -> None:
    bed = Bed(bare_newlines="normalise" if normalise else "refuse")
    client = greeted(bed)
    say(client, bed, OPEN + b"DATA\r\n")
    said = say(client, bed, b"Subject: x\r\n\r\nfirst" + end + EVIL + b".\r\nNOOP\r\n")
    assert len(said) == 2 and said[1] == "250 2.0.0 OK"
    messages = stored(bed)
    assert len(messages) == (said[0][:3] == "250")
    for message in messages:
        assert message.startswith(b"Return-Path: <a@b.example>") and b"evil@x.example" in message
        assert message.count(b"\n") == message.count(b"\r") == message.count(b"\r\n")


def test_a_header_without_end_is_refused_after_the_message(failures: list[Any]) -> None:
    bed = Bed()
    bed.limit(header_octets=20_000)
    client = greeted(bed)
    for size, code in ((300, "250"), (600, "552")):
        say(client, bed, OPEN + b"DATA\r\n")
        lines = b"".join(b"X-%d: %030d\r\n" % (k, k) for k in range(size))
        assert codes(say(client, bed, lines + b".\r\n")) == [code]
    # A body may be as long as it likes.
    say(client, bed, OPEN + b"DATA\r\n")
    assert codes(say(client, bed, b"A: b\r\n\r\n" + b"x" * 70 + b"\r\n" * 30_000 + b".\r\n")) == ["250"]


def test_other_protocols_have_a_counter_of_their_own() -> None:
    bed = Bed()
    client = bed.connect("smtp")
    client.take()
    client.send(b"GET / HTTP/1.1\r\n" + b"MAIL FROM:<a@b.example>\r\n" * 9)
    bed.settle()
    assert client.take() == b"421 4.7.0 This is a mail server; closing\r\n" and client.closed
    assert bed.server("smtp").services.counters["foreign protocols"] == 1


def test_rfc_6531_3_7_4_2_vrfy_and_expn_tell_addresses_of_utf8_with_smtputf8_alone() -> None:
    bed = Bed(vrfy="on", expn="on")
    bed.add_account("jürgen")
    bed.loop.run(bed.store.directory.add_alias(
        Address("all", "example.org"), (Address("jürgen", "example.org"), Address("me", "example.org"))))  # fmt: skip
    client = greeted(bed)

    def said(words: str) -> list[str]:
        client.send(words.encode() + b"\r\n")
        bed.settle()
        return client.take().decode().splitlines()

    assert said("VRFY jürgen SMTPUTF8") == ["250 2.1.5 <jürgen@example.org>"]
    assert said("VRFY jürgen") == ["501 5.1.3 Bad address syntax"]
    assert said("EXPN all") == ["252 2.6.8 The answer needs SMTPUTF8; send the message and see"]
    assert said("EXPN all smtputf8") == ["250-2.1.5 <jürgen@example.org>", "250 2.1.5 <me@example.org>"]
    assert said("VRFY all") == ["250 2.1.5 <all@example.org>"]
    assert said("VRFY x@elsewhere.example")[0].startswith("550 5.7.1")
    assert said("EXPN x@elsewhere.example") == ["550 5.1.1 No list has this name"]


def test_rfc_3461_parameters_are_kept_with_the_envelope_and_rfc_4954_5_auth_of_nobody_is_nobodys() -> None:
    bed = Bed()
    seen: list[NewDelivery] = []
    deliver = bed.store.deliver

    async def watched(delivery: NewDelivery) -> None:
        seen.append(delivery)
        await deliver(delivery)

    bed.store.deliver = watched  # type: ignore[method-assign]
    client = greeted(bed)
    group = (
        b"MAIL FROM:<a@b.example> RET=FULL ENVID=x+2B AUTH=boss@example.org BODY=BINARYMIME\r\n"
        b"RCPT TO:<me@example.org> NOTIFY=NEVER ORCPT=rfc822;you@elsewhere.example\r\n"
    )
    assert codes(say(client, bed, group + bdat(b"A: b\r\n\r\n", True))) == ["250"] * 3
    assert codes(say(client, bed, b"AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==\r\n")) == ["235"]
    assert codes(say(client, bed, group + bdat(b"A: b\r\n\r\n", True))) == ["250"] * 3
    first, second = (delivery.envelope for delivery in seen)
    # What was binary is text now, and is sent on as such.
    assert first.parameters == {"RET": "FULL", "ENVID": "x+2B", "AUTH": "<>", "BODY": "8BITMIME"}
    assert second.parameters["AUTH"] == "boss@example.org"
    assert first.recipients[0].parameters == {"NOTIFY": "NEVER", "ORCPT": "rfc822;you@elsewhere.example"}


# ---------------------------------------------------------------- limits of accounts (S-117, S-120)


def allowing(bed: Bed, **site: int) -> MemoryTransport:
    bed.settings["allowances"] = Allowances(bed.store.directory, bed.store, SiteLimits(**site))
    return greeted(bed)


def test_s120_what_a_recipient_takes_is_looked_at_with_size_and_after_the_message(failures: list[Any]) -> None:
    bed = Bed()
    bed.loop.run(bed.store.directory.set_limits(bed.accounts["me"], max_in=50))
    client = allowing(bed)
    rcpt = b"RCPT TO:<me@example.org>\r\nRCPT TO:<you@example.org>\r\n"
    assert codes(say(client, bed, b"MAIL FROM:<> SIZE=51\r\n" + rcpt + b"RSET\r\n")) == ["250", "552", "250", "250"]
    assert codes(say(client, bed, b"MAIL FROM:<> SIZE=50\r\n" + rcpt + b"DATA\r\n")) == ["250", "250", "250", "354"]
    # The other one does not go without it.
    assert codes(say(client, bed, b"x" * 60 + b"\r\n.\r\n")) == ["250"]
    assert (len(stored(bed)), len(stored(bed, "you"))) == (0, 1)
    alone = b"MAIL FROM:<>\r\nRCPT TO:<me@example.org>\r\nDATA\r\n"
    assert codes(say(client, bed, alone)) == ["250", "250", "354"]
    assert say(client, bed, b"x" * 60 + b"\r\n.\r\n") == ["552 5.3.4 The message is larger than this recipient takes"]
    assert codes(say(client, bed, b"MAIL FROM:<>\r\n" + rcpt + b"DATA\r\n")) == ["250", "250", "250", "354"]
    assert codes(say(client, bed, b"x\r\n.\r\n")) == ["250"] and len(stored(bed)) == 1


def test_s120_a_full_mailbox_is_552_at_rcpt(failures: list[Any]) -> None:
    bed = Bed()
    bed.deliver(b"x" * 90)
    client = allowing(bed, quota=100)
    said = say(client, bed, b"MAIL FROM:<> SIZE=20\r\nRCPT TO:<me@example.org>\r\nRCPT TO:<you@example.org>\r\n")
    assert said[1:] == ["552 5.2.2 Mailbox is full", "250 2.1.5 Recipient OK"]


def test_s120_what_an_account_may_send_is_looked_at_with_size_and_after_the_message(failures: list[Any]) -> None:
    bed = Bed()
    client = allowing(bed, max_out=50)
    assert codes(say(client, bed, b"AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==\r\n")) == ["235"]
    assert codes(say(client, bed, b"MAIL FROM:<me@example.org> SIZE=51\r\n")) == ["552"]
    group = b"MAIL FROM:<me@example.org>\r\nRCPT TO:<you@example.org>\r\nDATA\r\n"
    assert codes(say(client, bed, group)) == ["250", "250", "354"]
    assert say(client, bed, b"x" * 60 + b"\r\n.\r\n") == ["552 5.3.4 The message is larger than this account may send"]
