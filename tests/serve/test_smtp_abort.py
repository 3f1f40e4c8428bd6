"""Policies hear of transactions that end without a message, before they are asked about the next one."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsrv.access.policy import Policy
from mailsrv.testing.bed import Bed
from mailsrv.values import ACCEPT, Transaction, Verdict

MAIL, RCPT = b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<me@example.org>\r\n"
MESSAGE = b"DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n"


class Counter(Policy):
    """Looks at contents, and at the ends of transactions, which take as long as `hold`."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.hold: Deferred[None] | None = None

    async def on_content(self, transaction: Transaction, content: Any) -> Verdict:
        """See IMessagePolicy."""
        self.heard.append("content")
        return ACCEPT

    async def on_abort(self, transaction: Transaction) -> None:
        """See IConnectionPolicy."""
        if self.hold is not None:
            await self.hold
        self.heard.append("abort")


@pytest.mark.parametrize(("said", "heard"), [
    (MAIL + b"RSET\r\n", ["abort"]),
    (MAIL + b"RSET\r\nRSET\r\n", ["abort"]),
    (MAIL + RCPT + b"EHLO c.example\r\n", ["abort"]),
    (MAIL + RCPT + MESSAGE, ["content"]),
    (MAIL + RCPT + b"DATA\r\na\nb\r\n.\r\n", ["abort"]),
    (MAIL + RCPT + b"BDAT 1 LAST\r\n\0", ["abort"]),
    (b"MAIL FROM:<a@b.example> SIZE=99999999999\r\n", []),
])
def test_each_transaction_ends_once(said: bytes, heard: list[str]) -> None:
    policy = Counter()
    client = Bed(policies=[lambda: policy]).connect("smtp")
    client.send(b"EHLO c.example\r\n" + said)
    assert policy.heard == heard


def test_who_is_still_told_of_an_end_is_waited_for() -> None:
    policy = Counter()
    policy.hold = Deferred()
    bed = Bed(policies=[lambda: policy])
    client = bed.connect("smtp")
    client.send(b"EHLO c.example\r\n" + MAIL + b"RSET\r\n")
    client.take()
    client.send(MAIL + RCPT)
    assert client.take() == b""
    policy.hold.callback(None)
    assert client.take() == b"250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n"
    client.send(MESSAGE)
    assert policy.heard == ["abort", "content"]
