"""Store suite: messages that leave a mailbox or go into another - expunge, copy, move, and what handles promise."""

from __future__ import annotations

import pytest

from ..errors import NoSuchMailbox
from ..numbers import UidSet
from .store_suite_base import ALL, StoreCase, add, message, octets_of

_SIZE = frozenset({"size"})


class ExpungeContract(StoreCase):
    """IMailbox.expunge and what stays readable."""

    def test_expunge_gives_what_was_there(self) -> None:
        """Unknown UIDs are ignored; UIDs are never used again (RFC 9051 section 2.3.1.1)."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3, b"\\Deleted")
        before = self.run(box.state())
        assert self.run(box.expunge(UidSet.of([a, c, c + 50]))) == UidSet.of([a, c])
        assert self.run(box.state()).highest_modseq > before.highest_modseq
        assert list(self.rows(box)) == [b]
        self.check_counters(box)
        assert self.run(box.expunge(UidSet.of([a, c]))) == UidSet()
        assert self.run(box.expunge(ALL)) == UidSet.of([b])
        assert self.run(box.state()).uidnext == before.uidnext
        assert self.fill(box, 1)[0] >= before.uidnext

    def test_very_many_are_expunged(self) -> None:
        """In one change for the asker, wherever they are in the mailbox; copies elsewhere stay."""
        box, other = self.mailbox(), self.mailbox("bob")
        uids = self.fill(box, 700, b"\\Seen")
        self.run(box.copy(UidSet.of(uids[:3]), other.mailbox_id))
        gone = UidSet.of(uids[::2])
        assert self.run(box.expunge(gone, whole=True)) == gone
        self.check_counters(box)
        assert list(self.rows(box)) == list(uids[1::2])
        assert self.run(box.expunge(UidSet.of(uids), whole=True)) == UidSet.of(uids[1::2])
        self.check_counters(box)
        assert list(self.octets(other).values()) == [octets_of(message(number).content) for number in range(3)]

    def test_lists_are_replaced(self) -> None:
        """A session may keep an old `uids` list, with its own length, as its view."""
        box = self.mailbox()
        a, b, c = self.fill(box, 3)
        columns = box.columns()
        old = (columns.uids, columns.flags, columns.modseqs)
        self.run(box.expunge(UidSet.of([b])))
        self.fill(box, 1)
        assert old[0] == [a, b, c] and [len(column) for column in old] == [3, 3, 3]
        assert box.columns() is columns and columns.uids[:2] == [a, c] and len(columns.uids) == 3
        assert all(new is not was for new, was in zip((columns.uids, columns.flags, columns.modseqs), old, strict=True))

    def test_content_stays_readable_through_older_handles(self) -> None:
        """RFC 2180: who still sees the message can still fetch it, until the release."""
        account = self.account()
        one, two = self.open(account, "INBOX"), self.open(account, "INBOX")
        a, _ = self.fill(one, 2)
        (held,) = self.run(two.contents([a]))
        self.run(one.expunge(UidSet.of([a])))
        (again,) = self.run(two.contents([a]))
        assert octets_of(held) == octets_of(again) == octets_of(message(0).content)
        assert self.run(again.read(0, 5)) == b"From:"
        held.close()
        again.close()
        fresh = self.open(account, "INBOX")
        assert self.run(fresh.contents([a])) == [None]
        assert self.run(fresh.facts([a], _SIZE)) == [None] and self.run(fresh.sizes([a])) == [-1]
        for handle in (one, two, fresh):
            handle.release()
            handle.release()

    def test_release_leaves_the_others_alone(self) -> None:
        """A released handle says nothing about the mailbox."""
        account = self.account()
        one, two = self.open(account, "INBOX"), self.open(account, "INBOX")
        self.fill(one, 1)
        one.release()
        self.fill(two, 1)
        assert len(self.rows(two)) == 2
        two.release()
        assert self.run(account.status("INBOX")).exists == 2

    def test_handle_of_a_deleted_mailbox(self) -> None:
        """Everything is NoSuchMailbox, but what was seen can be read on."""
        account = self.account()
        box, inbox = self.open(account, "gone"), self.open(account, "INBOX")
        (uid,) = self.fill(box, 1)
        (content,) = self.run(box.contents([uid]))
        self.run(account.delete("gone"))
        for coroutine in (
            box.append([message(1)]),
            box.state(),
            box.changes(0),
            box.update(ALL, add(b"\\Seen")),
            box.expunge(ALL),
            box.copy(ALL, inbox.mailbox_id),
            inbox.copy(ALL, box.mailbox_id),
        ):
            with pytest.raises(NoSuchMailbox):
                self.run(coroutine)
        assert octets_of(content) == octets_of(message(0).content)
        box.release()

    def test_name_used_again_is_another_mailbox(self) -> None:
        """RFC 9051 section 2.3.1.1: a new UIDVALIDITY, a new id; the old handle does not see the new one."""
        account = self.account()
        old = self.open(account, "x")
        self.fill(old, 2)
        self.run(account.delete("x"))
        new = self.open(account, "x")
        assert new.mailbox_id != old.mailbox_id and new.uidvalidity > old.uidvalidity
        assert self.rows(new) == {}
        with pytest.raises(NoSuchMailbox):
            self.run(old.append([message(1)]))


class CopyContract(StoreCase):
    """IMailbox.copy, with and without move."""

    def test_copy_keeps_flags_keywords_dates_ids(self) -> None:
        """RFC 9051 section 6.4.7; keywords although the target's table has another order."""
        account = self.account()
        source, target = self.open(account, "INBOX"), self.open(account, "target")
        self.run(target.append([message(9, b"other", b"two")]))
        uids = self.fill(source, 2, b"\\Seen", b"one", b"Two")
        wanted = frozenset({"size", "dates", "ids"})
        before = self.run(source.facts(uids, wanted))
        copied = self.run(source.copy(UidSet.of([*uids, 77]), target.mailbox_id))
        assert copied.uidvalidity == target.uidvalidity
        assert [old for old, _ in copied.pairs] == list(uids)
        new = [uid for _, uid in copied.pairs]
        assert new == sorted(new) and new == target.columns().uids[1:]
        after = self.run(target.facts(new, wanted))
        for old_fact, new_fact in zip(before, after, strict=True):
            assert new_fact.saved_at >= old_fact.saved_at
            old_fact.uid = old_fact.saved_at = new_fact.uid = new_fact.saved_at = 0
            assert old_fact == new_fact
        assert [self.rows(target)[uid] for uid in new] == [{b"\\seen", b"one", b"two"}] * 2
        assert self.octets(target)[new[1]] == octets_of(message(1).content)
        assert list(self.rows(source)) == list(uids)
        for box in (source, target):
            self.check_counters(box)

    def test_copy_into_the_same_mailbox(self) -> None:
        """New rows with new UIDs."""
        box = self.mailbox()
        uids = self.fill(box, 2, b"\\Seen")
        copied = self.run(box.copy(ALL, box.mailbox_id))
        assert len(self.rows(box)) == 4 and [old for old, _ in copied.pairs] == list(uids)
        assert min(new for _, new in copied.pairs) > max(uids)
        self.check_counters(box)

    @pytest.mark.parametrize("same", [False, True])
    def test_move(self, same: bool) -> None:
        """RFC 6851: what is copied is gone from here, in one step."""
        account = self.account()
        source = self.open(account, "INBOX")
        target = source if same else self.open(account, "Archive")
        a, b, c = self.fill(source, 3, b"kept")
        moment = self.run(source.state()).highest_modseq
        copied = self.run(source.copy(UidSet.of([a, c]), target.mailbox_id, True))
        new = [uid for _, uid in copied.pairs]
        assert [old for old, _ in copied.pairs] == [a, c]
        assert list(self.rows(source)) == [b, *(new if same else [])]
        assert self.run(source.changes(moment)).vanished == UidSet.of([a, c])
        assert [self.rows(target)[uid] for uid in new] == [{b"kept"}] * 2
        assert self.octets(target)[new[1]] == octets_of(message(2).content)
        for box in (source, target):
            self.check_counters(box)

    def test_copy_to_another_account(self) -> None:
        """Mailbox ids are unique in the store."""
        mine, theirs = self.mailbox("alice"), self.mailbox("bob")
        self.fill(mine, 2, b"\\Flagged", b"word")
        copied = self.run(mine.copy(ALL, theirs.mailbox_id, True))
        assert len(copied.pairs) == 2 and self.rows(mine) == {}
        assert list(self.rows(theirs).values()) == [{b"\\flagged", b"word"}] * 2
        assert list(self.octets(theirs).values()) == [octets_of(message(n).content) for n in range(2)]

    def test_copies_are_independent(self) -> None:
        """Flags of one, expunging one: the other stays."""
        account = self.account()
        source, target = self.open(account, "INBOX"), self.open(account, "t")
        self.fill(source, 1)
        self.run(source.copy(ALL, target.mailbox_id))
        self.run(target.update(ALL, add(b"\\Seen")))
        assert list(self.rows(source).values()) == [frozenset()]
        self.run(source.expunge(ALL))
        source.release()
        assert list(self.octets(target).values()) == [octets_of(message(0).content)]

    def test_nothing_to_copy(self) -> None:
        """Messages that were gone are left out."""
        account = self.account()
        source, target = self.open(account, "INBOX"), self.open(account, "t")
        self.fill(source, 1)
        self.run(source.expunge(ALL))
        copied = self.run(source.copy(ALL, target.mailbox_id, True))
        assert copied.pairs == () and copied.uidvalidity == target.uidvalidity
        assert self.rows(target) == {}

    def test_missing_target(self) -> None:
        """NoSuchMailbox, and a move has not removed anything."""
        box = self.mailbox()
        self.fill(box, 1)
        for move in (False, True):
            with pytest.raises(NoSuchMailbox):
                self.run(box.copy(ALL, 10**9, move))
        assert len(self.rows(box)) == 1
