"""The index of what is due, against the plainest model there is; and how long an answer takes."""

from __future__ import annotations

from typing import Any

from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailsrv.store.queue_index import QueueIndex
from mailsrv.values import Due
from tests.properties import tries

NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.integers(0, 9)


@define
class Row:
    """What the model knows of one."""

    destination: str
    due: float
    held: bool = False
    until: float = 0.0
    token: str = ""
    attempts: int = 0
    claimed: bool = False


class IndexModel(RuleBasedStateMachine):
    """Every answer is what going through all rows gives."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.rows = QueueIndex("n"), dict[int, Row]()
        self.now, self.tokens, self.last = 100.0, list[tuple[int, str]](), 0

    def free(self, row: Row) -> bool:
        return not row.held and not row.claimed and row.until <= self.now and row.due <= self.now

    def due_rows(self, name: str) -> list[int]:
        found = [(row.due, number) for number, row in self.rows.items() if row.destination == name and self.free(row)]
        return [number for _, number in sorted(found)]

    def change(self, number: int, **changes: Any) -> None:
        self.index.change(number, **changes)
        row = self.rows[number]
        row.until, row.token, row.claimed = 0.0, "", False
        for name, value in changes.items():
            setattr(row, name, value)

    @rule(name=NAMES, step=STEPS, held=st.booleans(), count=st.sampled_from([1, 1, 30]))
    def add(self, name: str, step: int, held: bool, count: int) -> None:
        for _ in range(count):
            self.last += 1
            self.rows[self.last] = Row(name, self.now + step - 5, held)
            self.index.add(self.last, name, self.now + step - 5, held)

    @rule(step=STEPS)
    def later(self, step: int) -> None:
        self.now += step

    @rule(name=NAMES, count=st.integers(0, 25), seconds=st.integers(1, 20))
    def lease(self, name: str, count: int, seconds: int) -> None:
        expected = self.due_rows(name)[:count]
        taken = self.index.lease(name, count, "me", self.now, seconds)
        assert [number for number, _ in taken] == expected
        for number, token in taken:
            assert (number, token) not in self.tokens and token
            self.rows[number].until, self.rows[number].token = self.now + seconds, token
        self.tokens += taken

    @rule(pick=st.integers(0, 10**6), what=st.sampled_from(["settle", "end", "fail", "release"]), step=STEPS)
    def with_token(self, pick: int, what: str, step: int) -> None:
        if not self.tokens:
            return
        number, token = self.tokens[pick % len(self.tokens)]
        row = self.rows.get(number)
        valid = row is not None and row.token == token
        if what == "release":
            self.index.release((number, token))
            if row is not None and valid:
                row.until, row.token = 0.0, ""
            return
        slot = self.index.claim(number, token)
        assert (slot is not None) == valid
        if row is None or not valid:
            return
        assert self.index.claim(number, token) is None
        if what == "settle":
            self.change(number, due=self.now + step, attempts=row.attempts + 1)
        elif what == "end":
            self.index.remove(number)
            del self.rows[number]
        else:
            self.index.unclaim([number])

    @rule(name=NAMES, most=st.integers(1, 40), step=STEPS, fails=st.booleans())
    def postpone(self, name: str, most: int, step: int, fails: bool) -> None:
        expected = self.due_rows(name)
        assert self.index.count_due(name, self.now) == len(expected)
        slots = self.index.claim_due(name, most, self.now)
        assert [slot.id for slot in slots] == expected[:most]
        for slot in slots:
            assert slot.attempts == self.rows[slot.id].attempts
            self.rows[slot.id].claimed = True
            if not fails:
                self.change(slot.id, due=self.now + step, attempts=slot.attempts + 1)
        if fails:
            self.index.unclaim(slot.id for slot in slots)
            for slot in slots:
                self.rows[slot.id].claimed, self.rows[slot.id].until = False, 0.0

    @rule(low=st.integers(1, 60), count=st.integers(1, 40), what=st.sampled_from(["held", "free", "move", "end", "no"]))
    def alter(self, low: int, count: int, what: str) -> None:
        numbers = range(low, low + count)
        expected = [number for number in numbers if number in self.rows and self.rows[number].until <= self.now]
        assert self.index.claim_idle(reversed(numbers), self.now) == expected
        if what == "no":
            self.index.unclaim(expected)
        elif what == "end":
            for number in expected:
                self.index.remove(number)
                del self.rows[number]
        else:
            changes = {"held": {"held": True}, "free": {"held": False}, "move": {"destination": "c"}}[what]
            self.index.change_all((number, changes) for number in expected)
            for number in expected:
                row = self.rows[number]
                row.until, row.token = 0.0, ""
                for name, value in changes.items():
                    setattr(row, name, value)

    @invariant()
    def what_is_due(self) -> None:
        expected = []
        for name in "abc":
            due = self.due_rows(name)
            if due:
                expected.append(Due(name, len(due), self.rows[due[0]].due))
        expected.sort(key=lambda due: (due.oldest, due.destination))
        assert self.index.due(self.now, 10) == expected
        instants = [
            row.until if row.until > self.now else row.due for row in self.rows.values() if not row.held
        ]
        assert self.index.next_due() == min(instants, default=None)
        assert len(self.index) == len(self.rows)


IndexModel.TestCase.settings = settings(max_examples=tries(40), stateful_step_count=30, deadline=None)
TestIndexModel = IndexModel.TestCase


def test_ten_times_the_rows_are_not_ten_times_the_work() -> None:
    """O(log n): counted in comparisons, not in seconds."""

    class Counted(float):
        """An instant that counts how often it is compared."""

        compared = 0

        def __lt__(self, other: float) -> bool:
            Counted.compared += 1
            return float.__lt__(self, other)

    def work(rows: int) -> int:
        index = QueueIndex("n")
        for row in range(rows):
            index.add(row, f"d{row % (rows // 100)}", Counted(row), False)
        Counted.compared = 0
        for _ in range(10):
            index.next_due()
            index.due(5.0, 3)
            taken = index.lease("d1", 2, "me", 10.0**6, 60.0)
            index.release(taken[0])
            assert index.claim(*taken[1])
            index.change(taken[1][0], due=Counted(rows))
        return Counted.compared

    assert work(20_000) < 3 * work(2000)


def test_leases_that_have_ended_leave_nothing_behind_while_another_goes_on() -> None:
    # Else whoever asks next after its end would have to clear away all of them.
    index = QueueIndex("n")
    index.add(0, "slow", 0.0, False)
    index.lease("slow", 1, "h", 1.0, 10.0)
    for number in range(1, 101):
        index.add(number, "busy", 0.0, False)
    some = index.lease("busy", 60, "h", 1.0, 20.0)
    index.release(*some)
    for row, token in index.lease("busy", 60, "h", 1.0, 20.0):
        assert index.claim(row, token)
        index.change(row, due=2.0)
    assert index._leases == [(11.0, 0)] and index.next_due() == 0.0
    assert index.claim_due("busy", 100, 5.0) and index.next_due() == 11.0
    assert [one.destination for one in index.due(11.0, 9)] == ["slow"]
