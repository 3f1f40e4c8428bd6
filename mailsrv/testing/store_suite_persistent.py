"""Store suite, for stores that survive: everything that was acknowledged is there after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from ..interfaces import IAppPasswords, IQueue
from ..numbers import UidSet
from ..values import DomainFacts, Envelope, NewDelivery, NewQueued, Placement, Recipient
from .store_suite_base import ALL, DATE, DOMAINS, ZONE, StoreCase, add, address, message, octets_of, remove

_ALL_FACTS = frozenset({"size", "dates", "ids"})


def queue_of(store: Any) -> Any:
    """The store as IQueue; the test is skipped when it is none."""
    if not IQueue.providedBy(store):
        pytest.skip("this store has no queue")
    return store


def recipient(local: str, **parameters: str) -> Recipient:
    """A recipient elsewhere."""
    return Recipient(address(f"{local}@far.example"), parameters)


class PersistentStoreContract(StoreCase):
    """`reopen` is called after `close`; the same `make` as for `StoreContract`."""

    def reopen(self, store: Any) -> tuple[Any, Any]:
        """A store on the data of the closed `store`, and its loop."""
        raise NotImplementedError

    def restart(self) -> None:
        """Close and open again; `self.store` and `self.loop` are the new ones."""
        self.run(self.store.close())
        self.store, self.loop = self.reopen(self.store)
        self.run(self.store.directory.set_domains(DOMAINS))

    def again(self, account_id: int, name: str = "INBOX") -> Any:
        """The mailbox in the store as it is now."""
        return self.open(self.run(self.store.account(account_id)), name)

    def picture(self, box: Any) -> Any:
        """All that a client can know of a mailbox, but \\Recent."""
        self.check_counters(box)
        columns = box.columns()
        uids = list(columns.uids)
        state = self.run(box.state())
        facts = self.run(box.facts(uids, _ALL_FACTS))
        return (
            (state.mailbox_id, state.uidvalidity, state.uidnext, state.highest_modseq, state.octets),
            self.rows(box),
            list(columns.modseqs),
            list(columns.keywords),
            facts,
            self.octets(box),
        )

    def test_messages_survive(self) -> None:
        """UIDs, flags, keywords, MODSEQs, dates, ids, content; from every way in."""
        account = self.account()
        box, other = self.open(account, "INBOX"), self.open(account, "other/box")
        self.run(box.append([message(1, b"Key", b"\\Seen"), message(2), message(3, size=2**20 + 17)]))
        self.deliver(
            message(4),
            [
                Placement(account.account_id, "INBOX", frozenset({b"second"})),
                Placement(account.account_id, "other/box"),
            ],
        )
        self.run(box.update(UidSet.of(box.columns().uids[1:2]), add(b"third", b"\\Flagged")))
        self.run(box.update(UidSet.of(box.columns().uids[:1]), remove(b"\\Seen")))
        self.run(box.copy(UidSet.of(box.columns().uids[:2]), other.mailbox_id))
        self.run(box.copy(UidSet.of(box.columns().uids[1:2]), other.mailbox_id, True))
        self.run(box.expunge(UidSet.of(box.columns().uids[-1:])))
        before = self.picture(box), self.picture(other)
        for _ in range(2):
            self.restart()
            boxes = self.again(account.account_id), self.again(account.account_id, "other/box")
            assert (self.picture(boxes[0]), self.picture(boxes[1])) == before
        assert self.fill(boxes[0], 1)[0] >= before[0][0][2]

    def test_vanished_history_survives(self) -> None:
        """RFC 7162: QRESYNC from before the restart."""
        box = self.mailbox()
        account_id = self.run(self.store.directory.accounts())[0].account_id
        a, b, c, d = self.fill(box, 4)
        moments = [self.run(box.state()).highest_modseq]
        for uid in (b, d):
            self.run(box.expunge(UidSet.of([uid])))
            moments.append(self.run(box.state()).highest_modseq)
        self.restart()
        again = self.again(account_id)
        for moment, gone in zip(moments, ([b, d], [d], []), strict=True):
            changes = self.run(again.changes(moment))
            assert changes.vanished == UidSet.of(gone) and list(changes.uids) == [] and not changes.floor
        assert list(self.rows(again)) == [a, c]

    def test_numbers_go_on(self) -> None:
        """UIDNEXT, MODSEQ, UIDVALIDITY and ids never go back, also when the last row or mailbox is gone."""
        account = self.account()
        box = self.open(account, "INBOX")
        uids = self.fill(box, 3)
        self.run(box.expunge(ALL))
        modseq = self.run(box.state()).highest_modseq
        temporary = self.run(account.create("temporary"))
        self.run(account.delete("temporary"))
        removed = self.new_account("removed")
        self.run(self.store.directory.remove_account(removed.account_id))
        self.restart()
        box = self.again(account.account_id)
        assert self.run(box.state()).highest_modseq == modseq
        assert self.fill(box, 1)[0] > max(uids)
        assert self.run(box.state()).highest_modseq > modseq
        made = self.run(self.run(self.store.account(account.account_id)).create("temporary"))
        assert made.uidvalidity > temporary.uidvalidity and made.mailbox_id != temporary.mailbox_id
        assert self.new_account("new").account_id not in (removed.account_id, account.account_id)

    def test_mailboxes_survive(self) -> None:
        """Names, parents, special uses, subscriptions, renames, deletions."""
        account = self.account()
        self.run(account.create("a/b/ü", b"\\Flagged"))
        self.run(account.rename("a/b", "moved/here"))
        self.run(account.delete("Junk"))
        self.run(account.subscribe("not/there", True))
        self.run(account.subscribe("Sent", False))
        self.fill(self.open(account, "INBOX"), 2)
        self.run(account.rename("INBOX", "old"))
        before = self.run(account.mailboxes())
        self.restart()
        again = self.run(self.store.account(account.account_id))
        assert self.run(again.mailboxes()) == before
        assert [self.run(again.status(name)).exists for name in ("INBOX", "old", "moved/here/ü")] == [0, 2, 0]

    def test_directory_survives(self) -> None:
        """Accounts with hashes and state, aliases; domains are the configuration's and set anew."""
        directory = self.store.directory
        anna, bob = self.new_account("Anna", "hash one"), self.new_account("bob@example.net", "hash two")
        gone = self.new_account("gone")
        self.run(directory.set_password(anna.account_id, "hash three"))
        self.run(directory.set_enabled(bob.account_id, False))
        self.run(directory.remove_account(gone.account_id))
        self.run(directory.add_alias(address("Info"), [address("anna"), address("x@foreign.example")]))
        self.run(directory.add_alias(address("old"), [address("anna")]))
        self.run(directory.remove_alias(address("old")))
        accounts, aliases = self.run(directory.accounts()), self.run(directory.aliases())
        resolved = self.run(directory.resolve(address("info")))
        self.restart()
        directory = self.store.directory
        assert self.run(directory.accounts()) == accounts and [facts.enabled for facts in accounts] == [False, True]
        assert self.run(directory.aliases()) == aliases and len(aliases) == 1
        assert self.run(directory.resolve(address("INFO"))) == resolved
        assert self.run(directory.credentials("anna@example.org")).password_hash == "hash three"
        assert not self.run(directory.credentials("bob@example.net")).enabled
        self.run(directory.set_domains([DomainFacts("example.net")]))
        assert self.run(directory.credentials("anna@example.org")) is None

    def test_logins_survive(self) -> None:
        """Secrets, kinds that are kept, what is denied, app passwords: as they were, forgotten ones stay forgotten."""
        directory, secrets = self.store.directory, {"scram-sha-256": "s", "ntlm": "n"}
        anna, bob = self.new_account("anna", "one"), self.new_account("bob", "one")
        self.run(directory.set_password(anna.account_id, "two", secrets))
        self.run(directory.set_password(bob.account_id, "two", secrets))
        self.run(directory.set_keep(bob.account_id, frozenset({"scram-sha-256"})))
        self.run(directory.set_denied(bob.account_id, frozenset({"pop3", "smtp/submission"})))
        self.run(directory.set_limits(bob.account_id, quota=2**40, max_out=0))
        assert self.run(directory.refresh(bob.account_id, "two", "three", {"scram-sha-256": "s3"}))
        apart = IAppPasswords.providedBy(directory)
        if apart:
            for name in ("phone", "lost", "printer"):
                self.run(directory.add_app_password(anna.account_id, name, "d", frozenset({"smtp"})))
            self.run(directory.remove_app_password(anna.account_id, "lost"))
        logins = ("anna@example.org", "bob@example.org")
        before = [self.run(directory.credentials(login)) for login in logins]
        accounts = self.run(directory.accounts())
        assert before[0].secrets == secrets and before[1].secrets == {"scram-sha-256": "s3"}
        for _ in range(2):
            self.restart()
            directory = self.store.directory
            assert [self.run(directory.credentials(login)) for login in logins] == before
            assert self.run(directory.accounts()) == accounts
        if apart:
            assert [kept.name for kept in before[0].app_passwords] == ["phone", "printer"]
            made = self.run(directory.add_app_password(anna.account_id, "lost", "d", frozenset()))
            assert made.id > max(kept.id for kept in before[0].app_passwords)

    def test_queue_survives(self) -> None:
        """What waits, as it was; what ended stays ended; ids and tokens go on."""
        queue = queue_of(self.store)
        rows = [NewQueued(f"{name}.example", (recipient("x"), recipient("y", NOTIFY="NEVER"))) for name in "abcdef"]
        envelope = Envelope(address("ann@foreign.example"), (), {"RET": "HDRS"})
        content = message(1, size=3000).content
        new = NewDelivery("q1", envelope, content, (), DATE + 0.75, ZONE, "smtp/default", tuple(rows), "local")
        self.run(queue.deliver(new))
        now = DATE + 1.0
        a, b, c, d, e, f = self.run(queue.queued())
        for row in (a, b, c):
            (leased,) = self.run(queue.lease(row.destination, 1, "one", now, 60.0))
            if row is not c:
                left = row.recipients[1:] if row is a else ()
                assert self.run(queue.settle(leased, left, due=now + 9, reply="451 later", noticed=True))
        self.run(queue.alter([d.id], "hold"))
        self.run(queue.alter([e.id], "reroute", destination="smart"))
        self.run(queue.postpone("f.example", now, (30.0,), "no route"))
        before = self.run(queue.queued(ids=[a.id, d.id, e.id, f.id]))
        assert len(before) == 4 and before[0].noticed and before[1].held
        for _ in range(2):
            self.restart()
            queue = queue_of(self.store)
            assert self.run(queue.queued(ids=[a.id, b.id, d.id, e.id, f.id])) == before
        (again,) = self.run(queue.lease("c.example", 1, "two", now + 60.0, 60.0))
        assert again.id == c.id and again.token != leased.token and not self.run(queue.settle(leased, (), due=now))
        assert octets_of(self.run(queue.queue_content(again))) == octets_of(content)
        assert [due.destination for due in self.run(queue.due(now + 60.0))] == ["smart", "a.example", "f.example"]
        self.run(queue.deliver(new))
        assert min(row.id for row in self.run(queue.queued(after=f.id))) > f.id

    def test_removed_account_stays_removed(self) -> None:
        """Its mail does not come back with a new account of that address."""
        account = self.account("anna")
        self.fill(self.open(account, "INBOX"), 2)
        self.run(self.store.directory.remove_account(account.account_id))
        again = self.account("anna")
        self.restart()
        assert self.rows(self.again(again.account_id)) == {}

    def test_concurrent_deliveries_survive(self) -> None:
        """Each acknowledged one, once."""
        accounts = [self.account(name).account_id for name in ("a", "b")]
        self.loop.gather(
            [
                self.store.deliver(self.delivery(message(n), [Placement(a) for a in accounts], f"d{n}"))
                for n in range(30)
            ]
        )
        orders = [list(self.octets(self.again(account_id)).values()) for account_id in accounts]
        self.restart()
        for account_id, order in zip(accounts, orders, strict=True):
            assert list(self.octets(self.again(account_id)).values()) == order
            assert sorted(order) == sorted(octets_of(message(n).content) for n in range(30))
