"""A policy that puts another message in the place of the one that came, as a milter may (docs/decisions/0014)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import LogEvent

from mailsrv.access.policy import Policy
from mailsrv.interfaces import IContent
from mailsrv.message.content import MemoryContent
from mailsrv.testing.bed import Bed
from mailsrv.values import ACCEPT, Address, Transaction, Verdict

from .test_policies import MESSAGE, TWO, delivered, log, mailbox, say

__all__ = ["log"]

NEW = b"Subject: other\r\n\r\nThe attachment was taken out.\r\n"


class Content(MemoryContent):
    """Remembers whether it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class Rewriter(Policy):
    """Replaces the message."""

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict

    async def on_content(self, transaction: Transaction, content: IContent) -> Any:
        return self.verdict


class Reader(Policy):
    """Tells what it saw."""

    def __init__(self, verdict: Verdict = ACCEPT) -> None:
        self.seen, self.verdict = b"", verdict

    async def on_content(self, transaction: Transaction, content: IContent) -> Verdict:
        self.seen = await content.read(0, content.size)
        return self.verdict


def send(bed: Bed, protocol: str) -> list[str]:
    client = bed.connect(protocol)
    client.take()
    say(bed, client, TWO.replace(b"HELO", b"LHLO" if protocol == "lmtp" else b"HELO") + b"DATA\r\n")
    return [line[:3] for line in say(bed, client, MESSAGE)]


@pytest.mark.parametrize("protocol, answers", [("smtp", ["250"]), ("lmtp", ["250", "250"])])
def test_the_new_message_is_delivered_and_seen_by_those_who_follow(protocol: str, answers: list[str]) -> None:
    new, reader = Content(NEW), Reader()
    bed = Bed(policies=[lambda: Rewriter(Verdict(content=new, fields=(b"X-Filter: yes\r\n",))), lambda: reader])
    assert send(bed, protocol) == answers
    assert reader.seen == NEW and new.closed == 1
    for local in ("me", "you"):
        (message,) = mailbox(bed, local)
        assert message.endswith(b"X-Filter: yes\r\n" + NEW) and b"Subject: hi" not in message


@pytest.mark.parametrize("protocol, answers", [("smtp", ["554"]), ("lmtp", ["554", "554"])])
def test_a_refusal_that_follows_lets_go_of_it(protocol: str, answers: list[str]) -> None:
    new = Content(NEW)
    bed = Bed(policies=[lambda: Rewriter(Verdict(content=new)), lambda: Reader(Verdict("reject"))])
    assert send(bed, protocol) == answers and new.closed == 1 and delivered(bed) == (0, 0)


def test_the_last_of_several_holds_and_all_are_closed() -> None:
    first, second = Content(b"Subject: 1\r\n\r\n"), Content(NEW)
    bed = Bed(policies=[lambda: Rewriter(Verdict(content=first)), lambda: Rewriter(Verdict(content=second))])
    assert send(bed, "smtp") == ["250"] and (first.closed, second.closed) == (1, 1)
    assert mailbox(bed)[0].endswith(NEW)


def test_it_goes_where_the_same_verdict_puts_it() -> None:
    bed = Bed(policies=[lambda: Rewriter(Verdict("quarantine", mailbox="X", content=Content(NEW)))])
    assert send(bed, "smtp") == ["250"] and mailbox(bed, name="X")[0].endswith(NEW)


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_one_recipient_cannot_have_another_message_than_the_others(protocol: str, log: list[LogEvent]) -> None:
    one, two = Content(NEW), Content(NEW)
    verdicts = {
        Address("me", "example.org"): Verdict(content=one, part="swap", rule="r1"),
        # Shared, or of nobody: each is closed once.
        Address("you", "example.org"): Verdict(content=one),
        Address("x", "example.net"): Verdict(content=two),
    }
    bed = Bed(policies=[lambda: Rewriter(verdicts)])
    assert send(bed, protocol) == ["451"] and (one.closed, two.closed) == (1, 1) and delivered(bed) == (0, 0)
    (event,) = [event for event in log if "log_failure" in event]
    assert "policy Rewriter, swap (r1): a message out of place" in str(event["log_failure"].value)


@pytest.mark.parametrize("moment", ["on_sender", "on_recipient", "on_data"])
def test_there_is_no_message_to_be_replaced_before_it_is_here(moment: str, log: list[LogEvent]) -> None:
    new = Content(NEW)

    class Early(Policy):
        """Answers too soon."""

    async def early(self: Any, *about: Any) -> Verdict:
        return Verdict(content=new)

    setattr(Early, moment, early)
    bed = Bed(policies=[Early])
    assert send(bed, "smtp") == [] and new.closed == 1 and delivered(bed) == (0, 0)
    assert len([event for event in log if "log_failure" in event]) == 1


def test_with_a_verdict_that_is_none_it_is_closed_too(log: list[LogEvent]) -> None:
    new = Content(NEW)
    bed = Bed(policies=[lambda: Rewriter(Verdict("swap", content=new))])
    assert send(bed, "smtp") == ["451"] and new.closed == 1 and delivered(bed) == (0, 0)


def test_a_message_that_goes_on_is_the_new_one() -> None:
    bed = Bed(policies=[lambda: Rewriter(Verdict(content=Content(NEW)))], onward=True, domains="r.example:relay")
    client = bed.connect("smtp")
    client.take()
    say(bed, client, b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@r.example>\r\nDATA\r\n" + MESSAGE)
    (row,) = bed.loop.run(bed.store.queued())
    content = bed.loop.run(bed.store.queue_content(row))
    assert bed.loop.run(content.read(0, content.size)).endswith(NEW)
