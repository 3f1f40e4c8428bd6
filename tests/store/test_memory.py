"""The memory store against the contract suite, and what it can do beyond."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mailsrv.errors import StoreFull, StoreUnavailable
from mailsrv.numbers import UidSet
from mailsrv.query import Larger, Not
from mailsrv.store.memory import MemoryStore
from mailsrv.testing.loop import Loop
from mailsrv.testing.store_suite import PersistentStoreContract, ShortHistoryContract, StoreContract
from mailsrv.testing.store_suite_base import ALL, StoreCase, add, message
from mailsrv.values import Placement


class TestMemoryStore(StoreContract):
    """The whole suite."""

    random_steps = 150

    def make(self, tmp_path: Path) -> tuple[MemoryStore, Loop]:
        seconds = itertools.count(1_800_000_000)
        return MemoryStore(lambda: next(seconds) + 0.5), Loop()


class TestShortHistory(ShortHistoryContract, StoreContract):
    """The whole suite with a history so short that `floor` happens all the time."""

    history = 2

    def make(self, tmp_path: Path) -> tuple[MemoryStore, Loop]:
        return MemoryStore(history=self.history), Loop()


class TestPersistentSuite(PersistentStoreContract):
    """The suite for stores that survive agrees with the reference, which here is not really gone."""

    def make(self, tmp_path: Path) -> tuple[MemoryStore, Loop]:
        return MemoryStore(), Loop()

    def reopen(self, store: MemoryStore) -> tuple[MemoryStore, Loop]:
        store.fail_with(None)
        return store, Loop()


class TestMemoryOnly(StoreCase):
    """What a test may ask of this store only."""

    def make(self, tmp_path: Path) -> tuple[MemoryStore, Loop]:
        return MemoryStore(capacity=1000), Loop()

    def test_capacity(self) -> None:
        """StoreFull, all or none; room comes back with an expunge, a deletion, an account's removal."""
        account = self.account()
        box, other = self.open(account, "INBOX"), self.open(account, "other")
        big, small = message(1, size=500), message(2)
        self.run(box.append([small, big]))
        used = self.store.room.used
        for coroutine in (
            box.append([small, big]), self.store.deliver(self.delivery(big, [Placement(account.account_id)])),
            box.copy(ALL, other.mailbox_id),
        ):
            with pytest.raises(StoreFull):
                self.run(coroutine)
        assert self.store.room.used == used == self.run(box.state()).octets
        self.run(box.copy(ALL, other.mailbox_id, True))
        self.run(other.expunge(UidSet.of(other.columns().uids[1:])))
        self.run(box.append([big]))
        self.run(account.delete("other"))
        self.run(self.store.directory.remove_account(account.account_id))
        assert self.store.room.used == 0

    def test_failure(self) -> None:
        """Every writing operation raises what was asked for, and changes nothing."""
        account = self.account()
        box = self.open(account, "INBOX")
        self.fill(box, 1)
        rows, names = self.rows(box), self.run(account.mailboxes())
        self.store.fail_with(StoreUnavailable())
        for coroutine in (
            box.append([message(1)]), box.update(ALL, add(b"\\Seen")), box.expunge(ALL),
            box.copy(ALL, box.mailbox_id), box.copy(ALL, box.mailbox_id, True), account.create("x"),
            account.delete("Sent"), account.rename("Sent", "y"),
            self.store.deliver(self.delivery(message(1), [Placement(account.account_id)])),
        ):
            with pytest.raises(StoreUnavailable):
                self.run(coroutine)
        assert self.rows(box) == rows and self.run(account.mailboxes()) == names
        self.store.fail_with(None)
        self.fill(box, 1)
        assert len(self.rows(box)) == 2

    def test_search_leaves_content_to_others(self) -> None:
        """It answers flags, UIDs and MODSEQ itself, nothing else."""
        box = self.mailbox()
        assert self.run(box.search(Not(Larger(5)))) is None

    def test_release_forgets(self) -> None:
        """The last handle that could read a removed message lets it go."""
        account = self.account()
        one, two = self.open(account, "INBOX"), self.open(account, "INBOX")
        (uid,) = self.fill(one, 1)
        self.run(one.expunge(ALL))
        assert self.run(one.facts([uid], frozenset({"size"})))[0].size == message(0).content.size
        one.release()
        two.release()
        assert self.run(one.contents([uid])) == [None]
