"""Store suite: the queue (IQueue): whole destinations, listing, the administrator's hand, watching, bounds."""

from __future__ import annotations

import pytest
from attrs import evolve

from ..errors import Refused
from ..numbers import UidSet
from ..store import queue_rules
from ..values import Address, Due, NewQueued, Placement, Wanted
from .store_suite_base import ALL, message, octets_of
from .store_suite_queue import START, QueueCase, for_, to

NAMES = ("ann", "Ann", 'o"a', "grün", "GRÜN", "b\\c")
#: What administrators ask for, with traps: quotes, letters of other alphabets, parts of a domain.
WISHES = (
    *(Wanted(sender=f"{name}@s{at}.example") for name in ("ann", "grün", 'o"a', "b\\c") for at in range(2)),
    *(Wanted(sender=text) for text in ("@s1.example", "@1.example", "<>")),
    *(Wanted(recipient=f"{name.lower()}@d{at}.example") for name in (*NAMES, "") for at in range(3)),
    *(Wanted(recipient=text) for text in ("also@grün.example", "@grün.example", "@rün.example", "ann", "@")),
    *(Wanted(state=text) for text in ("waiting", "held", "trying")),
    *(Wanted(reply=text) for text in ("full", "4.2.0", "später", "45")),
    *(Wanted(server=text) for text in ("smtp/none", "smtp/default")),
    Wanted(destination="d1.example"), Wanted(before=START + 5),
    Wanted(sender="@s0.example", recipient="@d0.example", state="waiting"),
)  # fmt: skip


class QueueAdminContract(QueueCase):
    """IQueue: postponing, listing, altering, watching, bounds."""

    def test_postpone(self) -> None:
        """decisions 34: the attempt counts for every row of the destination that is due, each by its own schedule."""
        for number, seconds in enumerate([0, 0, 500]):
            self.put(for_("a.example"), for_("b.example"), number=number, at=START + seconds)
        self.run(self.queue.alter([self.all()[2].id], "hold"))
        steps = (10.0, 20.0, 40.0)
        ask = self.queue.postpone
        assert self.run(ask("a.example", START, steps, "no route")) == 1
        seen = {row.id: (row.attempts, row.due - START, row.reply) for row in self.all(destination="a.example")}
        assert list(seen.values()) == [(1, 10.0, "no route"), (0, 0.0, ""), (0, 500.0, "")]
        assert self.run(ask("a.example", START, steps, "again")) == 0
        for number, expected in enumerate([30.0, 70.0, 110.0, 150.0], 1):
            due = self.all(destination="a.example")[0].due
            assert self.run(ask("a.example", due, steps, "again")) == 1
            first = self.all(destination="a.example")[0]
            assert (first.attempts, first.due) == (number + 1, START + expected)
        assert [row.attempts for row in self.all(destination="b.example")] == [0, 0, 0]

    def test_postpone_spares_what_is_leased(self) -> None:
        """Who holds a row settles it; a lease that ran out ends with the postponement."""
        self.put(for_("a.example"))
        self.put(for_("a.example"), number=1)
        (row,) = self.take("a.example", 1, seconds=5)
        assert self.run(self.queue.postpone("a.example", START, (9.0,), "")) == 1
        assert self.all()[0].attempts == 0 and self.all()[0].token == row.token
        assert self.run(self.queue.postpone("a.example", START + 5, (9.0,), "")) == 1
        assert self.settle(row) is False and self.all()[0].attempts == 1

    def test_postpone_very_many(self) -> None:
        """More rows than a transaction may have."""
        self.put(*[for_("a.example", f"r{number}") for number in range(2500)])
        assert self.dues() == [Due("a.example", 2500, START)]
        assert self.run(self.queue.postpone("a.example", START, (60.0,), "down")) == 2500
        assert self.dues() == [] and self.dues(START + 60) == [Due("a.example", 2500, START + 60)]
        ids = [row.id for row in self.all(most=3000)]
        assert len(ids) == 2500 and self.run(self.queue.alter(ids, "delete")) == 2500 and self.all() == []

    def test_postpone_so_many(self) -> None:
        """The longest due first; what is not due is never among them."""
        for number, seconds in enumerate([3, 1, 2, 500]):
            self.put(for_("a.example"), number=number, at=START + seconds)
        ask = self.queue.postpone
        assert self.run(ask("a.example", START + 5, (60.0,), "down", 2)) == 2
        assert [row.attempts for row in self.all()] == [0, 1, 1, 0]
        assert self.run(ask("a.example", START + 5, (60.0,), "down", 0)) == 0
        assert self.run(ask("a.example", START + 5, (60.0,), "down", 2)) == 1

    def test_recall(self) -> None:
        """decisions 24: what a clock that was ahead has put off is due now, in its order; nothing else is changed."""
        for number, destination in enumerate(["a.example", "a.example", "b.example", "b.example", "c.example"]):
            self.put(for_(destination), number=number)
        ids = [row.id for row in self.all()]
        self.run(self.queue.alter([ids[1], ids[2], ids[4]], "retry", due=START + 10**7))
        self.run(self.queue.alter([ids[4]], "hold"))
        self.run(self.queue.alter([ids[3]], "retry", due=START + 900))
        assert self.run(self.queue.recall(START + 5, START + 1000)) == 2
        assert [row.due - START for row in self.all()] == [0, 5, 5, 900, 10**7]
        assert [row.attempts for row in self.all()] == [0] * 5
        assert self.run(self.queue.recall(START + 5, START + 1000)) == 0
        (row,) = self.take("b.example", now=START + 5)
        self.settle(row, *row.recipients, due=START + 10**7)
        assert [one.destination for one in self.dues(START + 5)] == ["a.example"]
        assert self.run(self.queue.recall(START + 6, START + 1000)) == 1

    def test_listing(self) -> None:
        """In the order they were made, page by page, by destination, sender and id."""
        for number in range(6):
            self.put(
                for_("a.example" if number % 2 else "b.example"), number=number,
                sender=None if number == 5 else Address("Ann" if number < 3 else "bo", "foreign.example"),
            )
        rows = self.all()
        assert [row.delivery for row in rows] == [f"q{number}" for number in range(6)]
        assert rows == sorted(rows, key=lambda row: row.id)
        assert self.all(most=2) + self.all(after=rows[1].id, most=100) == rows
        assert [row.delivery for row in self.all(destination="a.example")] == ["q1", "q3", "q5"]
        assert [row.delivery for row in self.all(sender="ann@foreign.example")] == ["q0", "q1", "q2"]
        assert [row.delivery for row in self.all(sender="")] == ["q5"]
        assert [row.delivery for row in self.all(destination="b.example", sender="bo@foreign.example")] == ["q4"]
        assert self.all(ids=[rows[4].id, rows[1].id, 10**9]) == [rows[1], rows[4]]
        assert self.all(ids=[]) == [] and self.all(most=0) == []
        (leased,) = self.take("a.example", 1)
        assert self.all(ids=[leased.id]) == [leased]

    def test_listing_what_is_wanted(self) -> None:
        """Whatever is wanted, a store leaves out nothing that fits."""
        for number in range(12):
            sender = None if number % 5 == 4 else Address(NAMES[number % 6], f"s{number % 2}.example")
            recipients = [to(f"{NAMES[number % 6]}@d{number % 3}.example"), *[to("also@grün.example")] * (number % 2)]
            row = NewQueued(f"d{number % 3}.example", tuple(recipients), held=number % 4 == 3)
            self.put(row, number=number, sender=sender, at=START + number)
        (trying,) = self.take("d0.example", 1, now=START + 99)
        for number, reply in enumerate(["450 4.2.0 Full", "451 später", ""]):
            for row in self.take(f"d{number}.example", 2, now=START + 99):
                self.settle(row, *row.recipients, reply=reply)
        rows, some = self.all(), 0
        for wanted in WISHES:
            fitting = [row for row in rows if wanted.fits(row)]
            assert [row for row in self.all(wanted=wanted) if wanted.fits(row)] == fitting, wanted
            some += bool(fitting)
        assert [row.id for row in rows if Wanted(state="trying").fits(row)] == [trying.id]
        assert some > 25, "most wishes are fulfilled"
        wanted = Wanted(sender="@s0.example")
        first = self.all(wanted=wanted, most=2)
        assert len(first) == 2
        assert first + self.all(wanted=wanted, after=first[-1].id) == self.all(wanted=wanted)

    def test_hold_and_release(self) -> None:
        """A held row is never due; released it is due as before."""
        self.put(for_("a.example", held=True))
        self.put(for_("a.example"), number=1, at=START + 5)
        one, two = self.all()
        assert one.held and not two.held
        assert self.dues(START + 9) == [Due("a.example", 1, START + 5)]
        assert self.run(self.queue.alter([one.id, two.id], "hold")) == 2
        assert self.dues(START + 9) == [] and self.run(self.queue.next_due()) is None
        assert list(self.take("a.example", now=START + 9)) == []
        assert self.run(self.queue.alter([one.id, two.id, 10**9], "release")) == 2
        assert self.dues(START + 9) == [Due("a.example", 2, START)]
        assert self.all() == [evolve(one, held=False), two]

    def test_retry_and_reroute(self) -> None:
        """Another instant, another destination; the rest stays.  A row that is held stays held."""
        self.put(for_("a.example"))
        self.put(for_("a.example", held=True), number=1)
        one, two = self.all()
        assert self.run(self.queue.alter([one.id, two.id], "retry", due=START + 7)) == 2
        assert self.all() == [evolve(one, due=START + 7), evolve(two, due=START + 7)]
        assert self.dues(START + 6) == [] and self.dues(START + 7) == [Due("a.example", 1, START + 7)]
        assert self.run(self.queue.alter([one.id, two.id], "reroute", destination="smart-host")) == 2
        assert self.dues(START + 7) == [Due("smart-host", 1, START + 7)] and list(self.take("a.example")) == []
        (row,) = self.take("smart-host", now=START + 7)
        assert row.recipients == one.recipients and self.settle(row)
        assert self.run(self.queue.alter([two.id], "release")) == 1
        assert [row.id for row in self.take("smart-host", now=START + 7)] == [two.id]

    def test_delete(self) -> None:
        """Gone, with its content when that was the last."""
        self.put(for_("a.example"), for_("b.example"))
        one, two = self.all()
        assert self.run(self.queue.alter([one.id], "delete")) == 1
        assert self.all() == [two] and self.dues() == [Due("b.example", 1, START)]
        with pytest.raises(Refused):
            self.run(self.queue.queue_content(one))
        self.octets_for(two)
        assert self.run(self.queue.alter([one.id, two.id], "delete")) == 1 and self.dues() == []

    def test_what_is_under_way_is_not_altered(self) -> None:
        """An attempt holds its row: nothing is done to it, and it is not counted."""
        self.put(for_("a.example"))
        (row,) = self.take("a.example", seconds=5)
        for action in sorted(queue_rules.ACTIONS):
            assert self.run(self.queue.alter([row.id], action, due=START, destination="x")) == 0
        assert self.all() == [row]
        self.dues(START + 5)
        assert self.run(self.queue.alter([row.id], "hold")) == 1
        assert self.settle(row) is False and self.all()[0].held

    def test_watching(self) -> None:
        """Told of rows that were made or altered; not of local mail, not after it was stopped."""
        calls: list[int] = []
        stop = self.queue.watch_queue(lambda: calls.append(len(self.all())))
        account = self.new_account().account_id
        self.deliver(message(9), [Placement(account)])
        assert calls == []
        self.put(for_("a.example"), placements=[Placement(account)])
        assert calls
        seen = len(calls)
        assert self.run(self.queue.alter([10**9], "hold")) == 0 and len(calls) == seen
        assert self.run(self.queue.alter([self.all()[0].id], "hold")) == 1 and len(calls) > seen
        stop()
        stop()
        seen = len(calls)
        self.put(for_("a.example"))
        assert len(calls) == seen

    @pytest.mark.parametrize("queued", [
        NewQueued("", (to("x@a.example"),)), NewQueued("a" * 256, (to("x@a.example"),)),
        NewQueued("a.example\n", (to("x@a.example"),)), NewQueued("a.example", ()),
        NewQueued("a.example", (to("x@a.example", ORCPT="r" * 5000),)),
        NewQueued("a.example", (to("x" * 2000 + "@a.example"),)),
        NewQueued("a.example", (to("x@a.example", **{f"X{n}": "" for n in range(100)}),)),
    ])
    def test_bounds(self, queued: NewQueued) -> None:
        """What nobody could have sent is refused, and nothing of the delivery is kept."""
        box = self.mailbox()
        account = self.run(self.store.directory.accounts())[0].account_id
        with pytest.raises(Refused):
            self.put(for_("b.example"), queued, placements=[Placement(account)])
        assert self.all() == [] and self.rows(box) == {}

    def test_bounds_of_what_is_said(self) -> None:
        """A reply is cut to a bounded length; impossible actions, intervals and recipients are refused."""
        self.put(for_("a.example"))
        (row,) = self.take("a.example")
        with pytest.raises(Refused):
            self.settle(row, to("x" * 2000 + "@a.example"))
        assert self.settle(row, *row.recipients, reply="550 " + "x" * 10_000 + "\x1b[2J")
        assert len(self.all()[0].reply) == queue_rules.MAX_REPLY
        (row,) = self.take("a.example")
        assert self.settle(row, *row.recipients, reply="550 \x1b[2J\nné")
        assert self.all()[0].reply == "550 ?[2J\nné"
        for coroutine in (
            self.queue.alter([row.id], "explode"), self.queue.alter([row.id], "reroute"),
            self.queue.alter([row.id], "retry", due=float("nan")),
            self.queue.postpone("a.example", START, (), ""), self.queue.postpone("a.example", START, (-1.0,), ""),
        ):
            with pytest.raises(Refused):
                self.run(coroutine)
        assert self.all()[0].attempts == 2 and self.dues() == [Due("a.example", 1, START)]

    def test_uids_and_rows_do_not_meet(self) -> None:
        """A copy in a mailbox is moved and flagged while the row waits."""
        box = self.mailbox()
        account = self.run(self.store.directory.accounts())[0].account_id
        content = self.put(for_("a.example"), placements=[Placement(account)])
        self.run(box.copy(UidSet.of(box.columns().uids), box.mailbox_id, True))
        self.run(box.expunge(ALL))
        assert self.octets_for(self.all()[0]) == octets_of(content)
