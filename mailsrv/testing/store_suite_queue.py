"""Store suite: the queue (IQueue): rows made with deliveries, leases, settling.

A store that has no queue skips this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from ..errors import Refused
from ..interfaces import IContent, IQueue
from ..values import Address, Due, Envelope, NewDelivery, NewQueued, Placement, Queued, Recipient
from .store_suite_base import ALL, ZONE, StoreCase, address, message, octets_of

#: When the deliveries of the suite are received: an instant with a fraction.
START = 1767303245.75
SENDER = Address("Ann", "foreign.example")
MINUTE = 60.0


def to(text: str, **parameters: str) -> Recipient:
    """A recipient, with parameters of RCPT."""
    return Recipient(address(text), parameters)


def for_(destination: str, *locals_: str, held: bool = False) -> NewQueued:
    """A row for recipients (default: one) of a destination."""
    return NewQueued(destination, tuple(to(f"{local}@{destination}") for local in locals_ or ("bob",)), held)


class QueueCase(StoreCase):
    """Short ways to ask."""

    @property
    def queue(self) -> Any:
        """The store as IQueue; the test is skipped when it is none."""
        if not IQueue.providedBy(self.store):
            pytest.skip("this store has no queue")
        return self.store

    def put(
        self, *queued: NewQueued, number: int = 0, at: float = START, placements: Sequence[Placement] = (),
        sender: Address | None = SENDER, **parameters: str,
    ) -> IContent:
        """Deliver message `number`; gives its content."""
        envelope = Envelope(sender, tuple(one for new in queued for one in new.recipients), parameters)
        content = message(number).content
        new = NewDelivery(
            f"q{number}", envelope, content, tuple(placements), at, ZONE, "smtp/default", tuple(queued), "local"
        )
        self.run(self.queue.deliver(new))
        return content

    def take(self, destination: str, count: int = 100, now: float = START, seconds: float = 5 * MINUTE) -> Any:
        """Lease rows."""
        return self.run(self.queue.lease(destination, count, "test/1", now, seconds))

    def all(self, **filters: Any) -> list[Queued]:
        """Rows as an administrator sees them."""
        return list(self.run(self.queue.queued(**filters)))

    def dues(self, now: float = START, most: int = 1000) -> list[Due]:
        """Destinations that are due."""
        return list(self.run(self.queue.due(now, most)))

    def settle(self, row: Queued, *remaining: Recipient, due: float = START, **more: Any) -> bool:
        """An attempt is over."""
        done: bool = self.run(self.queue.settle(row, remaining, due=due, **more))
        return done

    def octets_for(self, row: Queued) -> bytes:
        """The message."""
        content = self.run(self.queue.queue_content(row))
        try:
            assert content.size == row.size
            return octets_of(content)
        finally:
            content.close()


class QueueContract(QueueCase):
    """IQueue: rows, leases, settling."""

    def test_a_row_is_what_was_delivered(self) -> None:
        """Every field; recipients and MAIL keep their DSN parameters as given (RFC 3461), in order."""
        bob = to("Bob@far.example", NOTIFY="SUCCESS,DELAY", ORCPT="rfc822;B+40x@far.example")
        eve = to("ève@far.example")
        content = self.put(NewQueued("far.example", (bob, eve)), RET="HDRS", ENVID="QQ314159", BODY="8BITMIME")
        (row,) = self.all()
        assert row == Queued(
            row.id, "q0", "far.example", SENDER, (bob, eve), "smtp/default", "local",
            {"RET": "HDRS", "ENVID": "QQ314159", "BODY": "8BITMIME"}, content.size, START, 0, START,
        )
        assert row.id > 0 and not (row.held or row.noticed or row.reply or row.token)
        (leased,) = self.take("far.example")
        assert leased.token and evolve(leased, token="") == row
        assert self.octets_for(leased) == octets_of(content)

    def test_null_reverse_path(self) -> None:
        """RFC 5321 section 4.5.5: a report has none, and that is not the same as an empty one."""
        self.put(for_("far.example"), sender=None)
        assert self.all()[0].reverse_path is None and self.take("far.example")[0].reverse_path is None

    def test_what_is_in_a_mailbox_too_is_settled_beside_international_mail(self) -> None:
        """Nothing goes with the row: its content stays, and so does what is known of others (RFC 6531)."""
        box = self.mailbox()
        account = self.run(self.store.directory.accounts())[0].account_id
        self.put(for_("far.example"), placements=[Placement(account)], SMTPUTF8="")
        self.put(for_("other.example"), number=1, placements=[Placement(account)])
        for destination in ("other.example", "far.example"):
            assert self.settle(self.take(destination)[0])
        assert self.all() == [] and list(self.run(box.peculiar()).international) == box.columns().uids[:1]

    def test_one_delivery_for_mailboxes_and_queue(self) -> None:
        """decisions 1: local recipients and others, the content once."""
        box = self.mailbox()
        account = self.run(self.store.directory.accounts())[0].account_id
        content = self.put(for_("a.example"), for_("b.example", "x", "y"), placements=[Placement(account)])
        assert list(self.octets(box).values()) == [octets_of(content)]
        rows = self.all()
        assert [(row.destination, len(row.recipients)) for row in rows] == [("a.example", 1), ("b.example", 2)]
        assert rows[0].id < rows[1].id and {row.delivery for row in rows} == {"q0"}
        assert [self.octets_for(row) for row in rows] == [octets_of(content)] * 2

    def test_the_content_stays_until_the_last_reference_is_gone(self) -> None:
        """The mailbox's copy may be expunged, other rows may end."""
        box = self.mailbox()
        account = self.run(self.store.directory.accounts())[0].account_id
        content = self.put(for_("a.example"), for_("b.example"), placements=[Placement(account)])
        self.run(box.expunge(ALL))
        assert self.settle(self.take("a.example")[0])
        (row,) = self.take("b.example")
        assert self.octets_for(row) == octets_of(content)
        held = self.run(self.queue.queue_content(row))
        assert self.settle(row)
        # Who has it open may read on.
        assert octets_of(held) == octets_of(content)
        held.close()
        with pytest.raises(Refused):
            self.run(self.queue.queue_content(row))

    def test_due_destinations(self) -> None:
        """Counted by destination, the longest due first, at most so many; nothing before its time."""
        assert self.dues(START + 10**9) == [] and self.run(self.queue.next_due()) is None
        for number, (name, seconds) in enumerate([("c", 2), ("a", 1), ("c", 0.5), ("b", 3), ("b", 9)]):
            self.put(for_(f"{name}.example"), number=number, at=START + seconds)
        assert self.dues(START) == []
        assert self.run(self.queue.next_due()) == START + 0.5
        assert self.dues(START + 1) == [Due("c.example", 1, START + 0.5), Due("a.example", 1, START + 1)]
        every = [
            Due("c.example", 2, START + 0.5), Due("a.example", 1, START + 1), Due("b.example", 2, START + 3)
        ]
        assert self.dues(START + 9) == every and self.dues(START + 9, 2) == every[:2]
        some = {"c.example", "a.example", "x.example"}
        assert list(self.run(self.queue.due(START + 9, 1, some))) == every[2:]
        assert list(self.run(self.queue.due(START + 9, 2, {"a.example"}))) == [every[0], every[2]]
        assert list(self.run(self.queue.due(START + 2, 9, some))) == []

    def test_lease_takes_the_longest_due(self) -> None:
        """At most so many, of that destination alone, and nobody else gets them."""
        for number, seconds in enumerate([3, 1, 2, 5]):
            self.put(for_("a.example"), for_("b.example"), number=number, at=START + seconds)
        first = self.take("a.example", 2, START + 3)
        assert [row.received_at - START for row in first] == [1, 2]
        assert [row.received_at - START for row in self.take("a.example", 2, START + 3)] == [3]
        assert list(self.take("a.example", 2, START + 3)) == [] and list(self.take("c.example", 2, START + 3)) == []
        assert self.dues(START + 3) == [Due("b.example", 3, START + 1)]
        assert {row.id for row in self.all() if row.token} >= {row.id for row in first}
        assert len([row for row in self.all() if row.token]) == 3
        assert list(self.take("b.example", 0, START + 9)) == []

    def test_a_lease_runs_out(self) -> None:
        """Then the row is due again, and `next_due` says when that is."""
        self.put(for_("a.example"))
        (row,) = self.take("a.example", seconds=MINUTE)
        assert self.run(self.queue.next_due()) == START + MINUTE
        assert self.dues(START + MINUTE - 1) == []
        assert self.dues(START + MINUTE) == [Due("a.example", 1, START)]
        (again,) = self.take("a.example", now=START + MINUTE)
        assert again.id == row.id and again.token != row.token and again.attempts == 0

    def test_a_stale_token_changes_nothing(self) -> None:
        """The lease has passed to somebody else, or ended: the answer is no (house 5)."""
        self.put(for_("a.example"))
        (stale,) = self.take("a.example", seconds=1)
        (row,) = self.take("a.example", now=START + 1)
        before = self.all()
        for foreign in (stale, evolve(row, token=""), evolve(row, id=row.id + 1)):
            assert self.settle(foreign) is False
            assert self.settle(foreign, to("x@a.example"), due=START + 9, reply="no", noticed=True) is False
            self.run(self.queue.release(foreign))
        assert self.all() == before and before[0].token == row.token
        assert self.settle(row, *row.recipients, due=START + 9) is True
        assert self.settle(row) is False
        (row,) = self.take("a.example", now=START + 9)
        assert self.settle(row) is True and self.settle(row) is False and self.all() == []

    def test_settling_late(self) -> None:
        """A lease that ran out and that nobody else took may still be settled: what was sent is not sent again."""
        self.put(for_("a.example"))
        (row,) = self.take("a.example", seconds=1)
        assert len(self.dues(START + 2)) == 1
        assert self.settle(row) is True and self.all() == [] and self.dues(START + 2) == []

    def test_recipients_are_settled_by_themselves(self) -> None:
        """Those that remain are tried again, one attempt more each time; what was said is kept."""
        self.put(for_("a.example", "x", "y", "z"))
        (row,) = self.take("a.example")
        left = row.recipients[1:]
        assert self.settle(row, *left, due=START + MINUTE, reply="451 4.7.1 later")
        (kept,) = self.all()
        assert kept == evolve(
            row, recipients=left, due=START + MINUTE, attempts=1, reply="451 4.7.1 later", token=""
        )
        assert self.run(self.queue.next_due()) == START + MINUTE and self.dues(START + MINUTE - 1) == []
        (row,) = self.take("a.example", now=START + MINUTE)
        assert self.settle(row, *left, due=START + 2 * MINUTE, noticed=True)
        (row,) = self.take("a.example", now=START + 2 * MINUTE)
        assert row.noticed and row.attempts == 2
        # A delay notification that was sent stays sent.
        assert self.settle(row, left[1], due=START + 3 * MINUTE)
        (row,) = self.take("a.example", now=START + 3 * MINUTE)
        assert row.noticed and (row.attempts, row.recipients) == (3, left[1:])
        assert self.settle(row) and self.all() == []

    def test_release(self) -> None:
        """As if it had not been taken: no attempt is counted."""
        self.put(for_("a.example"))
        before = self.all()
        (row,) = self.take("a.example")
        self.run(self.queue.release(row))
        assert self.all() == before and self.dues() == [Due("a.example", 1, START)]
        assert self.settle(row) is False
        (again,) = self.take("a.example")
        assert again.token != row.token
        self.put(*[for_("a.example", f"r{number}") for number in range(50)], number=1)
        taken = self.take("a.example")
        self.run(self.queue.release(*taken[::2], taken[0], row, again))
        self.run(self.queue.release())
        assert self.dues() == [Due("a.example", 26, START)]

    def test_tokens_never_repeat(self) -> None:
        """Whatever becomes of the leases."""
        self.put(for_("a.example"), for_("a.example"))
        tokens = []
        for number in range(5):
            rows = self.take("a.example", now=START + number, seconds=1)
            tokens += [row.token for row in rows]
            if number % 2:
                for row in rows:
                    self.run(self.queue.release(row))
        assert len(tokens) == len(set(tokens)) == 10

    def test_ids_are_never_used_again(self) -> None:
        """Also that of the last row."""
        self.put(for_("a.example"))
        (row,) = self.take("a.example")
        assert self.settle(row)
        self.put(for_("a.example"))
        assert self.all()[0].id > row.id

    def test_concurrent_settlements(self) -> None:
        """Of two for one lease one wins; others of the same batch go their way."""
        for number in range(10):
            self.put(for_("a.example"), number=number)
        rows = list(self.take("a.example"))
        answers = self.loop.gather([self.queue.settle(row, (), due=START) for row in rows + rows[:5]])
        assert answers == [True] * 10 + [False] * 5 and self.all() == []
