"""Store suite: the one durable door, and who is told of what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from ..numbers import UidSet
from ..values import Envelope, Placement
from .store_suite_base import ALL, DATE, ZONE, StoreCase, add, message, octets_of, remove


class DeliveryContract(StoreCase):
    """IMessageStore.deliver."""

    def test_one_content_to_several_accounts(self) -> None:
        """A row for each placement, with its flags; the time received is INTERNALDATE."""
        alice, bob = self.account("alice"), self.account("bob")
        self.run(bob.create("lists/x"))
        self.deliver(
            message(1, size=300_000),
            [
                Placement(alice.account_id),
                Placement(bob.account_id, "lists/x", frozenset({b"\\Seen", b"tag"})),
                Placement(bob.account_id, "inbox"),
            ],
        )
        wanted = frozenset({"size", "dates", "ids"})
        found = []
        for account, name, flags in (
            (alice, "INBOX", frozenset()),
            (bob, "lists/x", {b"\\seen", b"tag"}),
            (bob, "INBOX", frozenset()),
        ):
            box = self.open(account, name)
            (uid,) = self.rows(box)
            assert self.rows(box)[uid] == flags
            assert self.octets(box)[uid] == octets_of(message(1, size=300_000).content)
            (facts,) = self.run(box.facts([uid], wanted))
            assert (facts.internal_date, facts.zone) == (DATE, ZONE) and facts.saved_at > 0
            assert facts.email_id and facts.size == len(self.octets(box)[uid])
            found.append(box)
            self.check_counters(box)
        assert len({box.mailbox_id for box in found}) == 3

    def test_unknown_mailbox_goes_to_inbox(self) -> None:
        """Also a name that cannot be one, and one that was deleted."""
        account = self.account()
        self.run(account.create("gone"))
        self.run(account.delete("gone"))
        for name in ("gone", "never/was", "bad//name", ""):
            self.deliver(message(1), [Placement(account.account_id, name, frozenset({b"\\Flagged"}))])
        inbox = self.open(account, "INBOX")
        assert list(self.rows(inbox).values()) == [{b"\\flagged"}] * 4
        assert not {"gone", "never/was"} & set(self.names(account))

    def test_missing_account_is_left_out(self) -> None:
        """The others get theirs; with nobody left nothing happens."""
        account = self.account()
        self.deliver(message(1), [Placement(10**9), Placement(account.account_id), Placement(10**9 + 1)])
        self.deliver(message(2), [Placement(10**9)])
        self.deliver(message(3), [])
        assert list(self.octets(self.open(account, "INBOX")).values()) == [octets_of(message(1).content)]

    def test_content_may_be_closed_afterwards(self) -> None:
        """The store has its own copy when it answers."""
        account = self.account()
        new = message(1)
        self.deliver(new, [Placement(account.account_id)])
        new.content.close()
        assert list(self.octets(self.open(account, "INBOX")).values()) == [octets_of(message(1).content)]

    def test_uids_in_the_order_of_delivery(self) -> None:
        """What was acknowledged earlier has the lower UID; APPEND and delivery share the numbers."""
        account = self.account()
        box = self.open(account, "INBOX")
        for number in range(0, 6, 2):
            self.deliver(message(number), [Placement(account.account_id)], f"d{number}")
            self.run(box.append([message(number + 1)]))
        assert list(self.octets(box).values()) == [octets_of(message(n).content) for n in range(6)]
        assert box.columns().modseqs == sorted(set(box.columns().modseqs))

    def test_concurrent_deliveries(self) -> None:
        """Each arrives once in each mailbox, whatever shares a commit."""
        accounts = [self.account(f"user{number}") for number in range(3)]
        boxes = [self.open(account, "INBOX") for account in accounts]
        placements = [Placement(account.account_id) for account in accounts]
        self.loop.gather(
            [self.store.deliver(self.delivery(message(n), placements[: 1 + n % 3], f"d{n}")) for n in range(40)]
        )
        for place, box in enumerate(boxes):
            want = sorted(octets_of(message(n).content) for n in range(40) if n % 3 >= place)
            assert sorted(self.octets(box).values()) == want
            self.check_counters(box)

    def test_concurrent_changes_of_one_mailbox(self) -> None:
        """Deliveries, appends, flags and removals side by side: the columns stay true and UIDs unique."""
        account = self.account()
        box = self.open(account, "INBOX")
        first = self.fill(box, 10)
        moment = self.run(box.state()).highest_modseq
        work: list[Any] = []
        for n in range(10):
            work += [
                self.store.deliver(self.delivery(message(100 + n), [Placement(account.account_id)], f"d{n}")),
                box.append([message(200 + n), message(300 + n)]),
                box.update(ALL, add(b"k%d" % n)),
                box.expunge(UidSet.of(first[n : n + 1])),
            ]
        self.loop.gather(work)
        rows = self.rows(box)
        assert len(rows) == 30 and not set(first) & set(rows)
        changes = self.run(box.changes(moment))
        assert changes.floor or set(first) <= set(changes.vanished)
        assert set(changes.uids) == set(rows)
        self.check_counters(box)

    def test_international_messages_are_known(self) -> None:
        """RFC 6531: who fetches them may know no UTF-8; copies are such too."""
        box, other = self.mailbox(), self.mailbox("bob")
        placements = [Placement(self.new_account("carl").account_id)]
        international = Envelope(None, parameters={"SMTPUTF8": ""})
        self.fill(box, 2)
        for number in range(2):
            new = self.delivery(message(10 + number), placements, f"u{number}")
            self.run(self.store.deliver(evolve(new, envelope=international)))
        carl = self.open(self.run(self.store.account(placements[0].account_id)), "INBOX")
        a, b = carl.columns().uids
        assert list(self.run(carl.peculiar()).international) == [a, b]
        assert list(self.run(box.peculiar()).international) == []
        self.run(carl.copy(UidSet.of([b]), box.mailbox_id, True))
        assert list(self.run(carl.peculiar()).international) == [a]
        assert list(self.run(box.peculiar()).international) == box.columns().uids[2:]
        self.run(carl.expunge(ALL))
        self.run(box.expunge(ALL))
        assert [list(self.run(one.peculiar()).international) for one in (box, carl, other)] == [[], [], []]

    def test_mailbox_without_name_after_a_rename(self) -> None:
        """A delivery to the new name arrives there; one to the old name goes to INBOX."""
        account = self.account()
        self.run(account.create("a"))
        self.run(account.rename("a", "b"))
        self.deliver(message(1), [Placement(account.account_id, "b"), Placement(account.account_id, "a")])
        assert self.run(account.status("b")).exists == self.run(account.status("INBOX")).exists == 1

    def test_close_is_idempotent(self) -> None:
        """Twice is as good as once."""
        self.account()
        self.run(self.store.close())
        self.run(self.store.close())


class WatchContract(StoreCase):
    """IMailbox.watch and claim_recent."""

    def counting(self, box: Any) -> tuple[list[int], Callable[[], None]]:
        """A list that grows with every call, and the way to stop it."""
        calls: list[int] = []
        return calls, box.watch(lambda: calls.append(1))

    def told(self, calls: list[int]) -> bool:
        """Whether the watcher was called since it was last asked."""
        self.loop.turn()
        found = bool(calls)
        calls.clear()
        return found

    def test_watch_tells_of_every_change_by_anybody(self) -> None:
        """Delivery, append, flags, expunge, copy into, move out; through other handles and accounts."""
        alice, bob = self.account("alice"), self.account("bob")
        box, other, theirs = self.open(alice, "INBOX"), self.open(alice, "INBOX"), self.open(bob, "INBOX")
        calls, stop = self.counting(box)
        self.deliver(message(1), [Placement(bob.account_id), Placement(alice.account_id)])
        assert self.told(calls)
        self.run(other.append([message(2)]))
        assert self.told(calls)
        self.run(box.append([message(3)]))
        assert self.told(calls)
        self.run(other.update(ALL, add(b"\\Seen")))
        assert self.told(calls)
        self.run(theirs.copy(ALL, box.mailbox_id))
        assert self.told(calls)
        self.run(other.copy(ALL, theirs.mailbox_id, True))
        assert self.told(calls)
        self.fill(theirs, 1)
        assert not self.told(calls)
        self.fill(other, 1)
        assert self.told(calls)
        self.run(other.expunge(ALL))
        assert self.told(calls)
        stop()
        stop()
        self.fill(other, 1)
        assert not self.told(calls)

    def test_watcher_sees_the_change(self) -> None:
        """When it is called, the columns have it."""
        box = self.mailbox()
        seen: list[int] = []
        box.watch(lambda: seen.append(len(box.columns().uids)))
        self.fill(box, 3)
        self.loop.turn()
        assert seen and seen[-1] == 3

    def test_watch_tells_of_deletion(self) -> None:
        """So that an idle session learns of it."""
        account = self.account()
        box = self.open(account, "x")
        calls, _ = self.counting(box)
        self.run(account.delete("x"))
        assert self.told(calls)

    def test_watchers_may_stop_themselves_and_others(self) -> None:
        """Inside a call; who was stopped is not called again."""
        account = self.account()
        boxes = [self.open(account, "INBOX") for _ in range(3)]
        calls: list[int] = []
        stops: list[Callable[[], None]] = []

        def watcher(number: int) -> Callable[[], None]:
            def call() -> None:
                calls.append(number)
                for stop in stops:
                    stop()

            return call

        stops += [box.watch(watcher(number)) for number, box in enumerate(boxes)]
        self.fill(boxes[0], 1)
        self.fill(boxes[1], 1)
        self.loop.turn()
        assert len(calls) == 1
        again, _ = self.counting(boxes[2])
        self.fill(boxes[0], 1)
        assert self.told(again) and len(calls) == 1

    def test_recent_is_claimed_once(self) -> None:
        """RFC 3501 section 2.3.2: one session is told that a message is recent."""
        account = self.account()
        one, two = self.open(account, "INBOX"), self.open(account, "INBOX")
        uids = self.fill(one, 2)
        assert self.run(account.status("INBOX")).recent == 2
        for box in (one, two, one):
            assert self.run(box.claim_recent(False)) <= uids[0]
        assert self.run(two.claim_recent(True)) <= uids[0]
        for claim in (False, True):
            assert self.run(one.claim_recent(claim)) > uids[-1]
        assert self.run(account.status("INBOX")).recent == 0
        (new,) = self.fill(one, 1)
        assert uids[-1] < self.run(one.claim_recent(False)) <= new
        self.check_counters(two)
        assert self.run(one.claim_recent(True)) <= new < self.run(two.claim_recent(True))

    def test_recent_counter_without_messages(self) -> None:
        """What was expunged is not recent."""
        box = self.mailbox()
        self.fill(box, 3)
        self.run(box.update(ALL, remove(b"\\Seen")))
        self.run(box.expunge(UidSet.of(box.columns().uids[:2])))
        assert self.run(box.state()).recent == 1
        self.check_counters(box)
