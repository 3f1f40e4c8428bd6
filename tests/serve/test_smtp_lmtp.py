"""LMTP sessions: each recipient has an answer of its own, one commit serves all that are not refused (RFC 2033)."""

from __future__ import annotations

from typing import Any

import pytest
from test_smtp import MESSAGE, Scripted, bed_with, codes, failures, say, stored

from mailsrv.errors import Refused, StoreFull, TryLater
from mailsrv.serve.allowances import Allowances, SiteLimits
from mailsrv.testing.bed import Bed
from mailsrv.testing.transport import MemoryTransport
from mailsrv.values import ACCEPT, Address, NewDelivery, Verdict

__all__ = ["failures"]

ME, YOU = Address("me", "example.org"), Address("you", "example.org")
OPEN = (
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
    b"RCPT TO:<you@example.org>\r\n"
)
GROUP = OPEN + b"DATA\r\n"


class Said(Scripted):
    """Answers content with whatever a test wants, also one verdict for each recipient."""

    async def on_content(self, transaction: Any, content: Any) -> Any:
        answer = self.answers["content"]()
        if isinstance(answer, Exception):
            raise answer
        return answer


def greeted(bed: Bed) -> MemoryTransport:
    client = bed.connect("lmtp")
    client.take()
    assert say(client, bed, b"LHLO c.example\r\n")[0] == "250-mx.example.org"
    return client


def commits(bed: Bed) -> list[NewDelivery]:
    """What is handed to the store from now on."""
    seen: list[NewDelivery] = []
    deliver = bed.store.deliver

    async def watched(delivery: NewDelivery) -> None:
        seen.append(delivery)
        await deliver(delivery)

    bed.store.deliver = watched  # type: ignore[method-assign]
    return seen


def test_rfc_2033_4_2_one_answer_for_each_accepted_recipient_and_one_commit(failures: list[Any]) -> None:
    bed = bed_with(Scripted())
    seen = commits(bed)
    client = greeted(bed)
    assert codes(say(client, bed, GROUP)) == ["250", "250", "550", "250", "354"]
    said = say(client, bed, MESSAGE + b".\r\n")
    assert codes(said) == ["250", "250"] and said[0] == said[1] and said[0].startswith("250 2.0.0 OK id=")
    assert len(seen) == 1 and len(seen[0].placements) == 2
    assert len(stored(bed)) == len(stored(bed, "you")) == 1
    assert b"with LMTP\r\n" in stored(bed)[0]


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({ME: Verdict("reject", "Not for me", "5.7.1")}, ["554 5.7.1 Not for me", "250"]),
        ({YOU: Verdict("tempfail", "Later", "4.2.0")}, ["250", "451 4.2.0 Later"]),
        ({ME: Verdict("reject"), YOU: Verdict("tempfail")}, ["554", "451"]),
        ({ME: Verdict("discard")}, ["250", "250"]),
        (Verdict("reject", "Spam", "5.7.1"), ["554 5.7.1 Spam", "554 5.7.1 Spam"]),
        (Verdict("discard"), ["250 2.0.0 OK", "250 2.0.0 OK"]),
        (TryLater(), ["451", "451"]),
        (Refused("Go away", "5.7.1"), ["554 5.7.1 Go away", "554 5.7.1 Go away"]),
    ],
)
def test_verdicts_are_told_to_the_recipients_they_are_about(
    answer: Any, said: list[str], way: str, failures: list[Any]
) -> None:
    bed = bed_with(Said(content=lambda: answer))
    client = greeted(bed)
    if way == "DATA":
        say(client, bed, GROUP)
        lines = say(client, bed, MESSAGE + b".\r\n")
    else:
        say(client, bed, OPEN)
        lines = say(client, bed, b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE)
    assert len(lines) == 2 and all(line.startswith(wanted) for line, wanted in zip(lines, said, strict=True))
    each = answer if isinstance(answer, dict) else {ME: answer, YOU: answer}
    for local, address in (("me", ME), ("you", YOU)):
        assert len(stored(bed, local)) == (each.get(address, ACCEPT) == ACCEPT)
    # The session goes on.
    assert codes(say(client, bed, b"RCPT TO:<me@example.org>\r\nNOOP\r\n")) == ["503", "250"]


def test_s120_the_full_mailbox_of_one_keeps_no_mail_from_the_other(failures: list[Any]) -> None:
    bed = Bed()
    bed.deliver(b"x" * 90)
    bed.settings["allowances"] = Allowances(bed.store.directory, bed.store, SiteLimits(quota=100))
    seen = commits(bed)
    client = greeted(bed)
    say(client, bed, GROUP)
    said = say(client, bed, MESSAGE + b".\r\n")
    assert said[0] == "552 5.2.2 Mailbox is full" and said[1].startswith("250 2.0.0")
    assert len(seen) == 1 and [one.account_id for one in seen[0].placements] == [bed.accounts["you"]]
    assert [one.address for one in seen[0].envelope.recipients] == [YOU]


def test_a_store_without_room_is_452_for_each(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    bed.store.fail_with(StoreFull())
    say(client, bed, GROUP)
    assert say(client, bed, MESSAGE + b".\r\n") == ["452 4.3.1 Insufficient system storage"] * 2


def test_a_recipient_dropped_at_rcpt_has_an_answer_too(failures: list[Any]) -> None:
    answers = iter([Verdict("discard"), ACCEPT, ACCEPT])
    bed = bed_with(Scripted(recipient=lambda: next(answers)))
    client = greeted(bed)
    assert codes(say(client, bed, GROUP)) == ["250", "250", "550", "250", "354"]
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250", "250"]
    assert stored(bed) == [] and len(stored(bed, "you")) == 1


def test_a_recipient_given_twice_has_two_answers_and_one_copy(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    say(client, bed, b"MAIL FROM:<>\r\n" + b"RCPT TO:<me@example.org>\r\n" * 2 + b"DATA\r\n")
    assert codes(say(client, bed, MESSAGE + b".\r\n")) == ["250", "250"] and len(stored(bed)) == 1


def test_header_limits_and_loops_are_refused_for_each(failures: list[Any]) -> None:
    bed = Bed()
    bed.limit(hops=10)
    client = greeted(bed)
    say(client, bed, GROUP)
    said = say(client, bed, b"Received: x\r\n" * 11 + MESSAGE + b".\r\n")
    assert said == ["554 5.4.6 Too many hops: maximum hop count exceeded"] * 2


def test_rfc_2033_5_nothing_is_sent_on_from_lmtp_whoever_asks(failures: list[Any]) -> None:
    bed = Bed()
    client = greeted(bed)
    assert codes(say(client, bed, b"AUTH PLAIN AG1lQGV4YW1wbGUub3JnAHNlY3JldA==\r\n")) == ["235"]
    assert codes(say(client, bed, b"MAIL FROM:<me@example.org>\r\nRCPT TO:<x@elsewhere.example>\r\n")) == ["250", "550"]


def test_too_many_refused_messages_end_the_connection(failures: list[Any]) -> None:
    bed = Bed()
    bed.limit(bad_commands=4)
    client = greeted(bed)
    for count in range(2):
        say(client, bed, GROUP)
        said = say(client, bed, b"\0\r\n.\r\n")
        assert codes(said) == ["550", "550"] + (["421"] if count else [])
    assert client.closed
