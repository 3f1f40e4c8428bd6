"""Annotations of mailboxes and rights on them: for a store with IMetadata, and with IGrants."""

from __future__ import annotations

from typing import Any

import pytest

from ..errors import LimitReached, NoSuchMailbox, Refused, TooBig
from ..interfaces import IGrants, IMetadata, INotices
from ..notices import FLAGS, GONE, NEW, Entries, Notice
from ..store import sharing_rules as rules
from ..values import Placement
from .store_suite_base import ALL, StoreCase, add, message


class MetadataContract(StoreCase):
    """RFC 5464: annotations."""

    @pytest.fixture(autouse=True)
    def _kept(self, _fresh_store: None) -> None:
        if not IMetadata.providedBy(self.store):
            pytest.skip("the store keeps no annotations")

    def _set(self, mailbox: int, account: int, **changes: bytes | None) -> None:
        """Names are given as shared_comment for /shared/comment."""
        named = {"/" + name.replace("_", "/"): value for name, value in changes.items()}
        self.run(self.store.annotate(mailbox, account, named))

    def _get(self, mailbox: int, account: int) -> dict[str, bytes]:
        return dict(self.run(self.store.annotations(mailbox, account)))

    def test_metadata_private_ones_belong_to_one_account_shared_ones_to_all(self) -> None:
        """Section 1: /private and /shared."""
        alice, bob = self.new_account("alice").account_id, self.new_account("bob").account_id
        box = self.run(self.run(self.store.account(alice)).open("INBOX")).mailbox_id
        self._set(box, alice, private_comment=b"mine", shared_comment=b"ours")
        self._set(box, bob, private_comment=b"\x01\xff\r\n")
        assert self._get(box, alice) == {"/private/comment": b"mine", "/shared/comment": b"ours"}
        assert self._get(box, bob) == {"/private/comment": b"\x01\xff\r\n", "/shared/comment": b"ours"}
        self._set(box, bob, private_comment=None, shared_comment=b"", private_nothing=None)
        assert self._get(box, bob) == {"/shared/comment": b""}
        assert self._get(box, alice) == {"/private/comment": b"mine", "/shared/comment": b""}

    def test_metadata_those_of_the_server_are_not_those_of_a_mailbox(self) -> None:
        """Mailbox 0 is the server."""
        alice = self.new_account("alice").account_id
        self._set(rules.SERVER, alice, private_comment=b"of all")
        box = self.run(self.run(self.store.account(alice)).open("INBOX")).mailbox_id
        assert self._get(box, alice) == {}
        assert self._get(rules.SERVER, alice) == {"/private/comment": b"of all"}

    def test_metadata_go_with_the_mailbox_and_stay_with_a_new_name(self) -> None:
        """They belong to the mailbox, whatever its name."""
        account = self.account()
        made = self.run(account.create("Work"))
        self._set(made.mailbox_id, account.account_id, private_comment=b"x", shared_comment=b"y")
        self.run(account.rename("Work", "Office"))
        assert len(self._get(made.mailbox_id, account.account_id)) == 2
        self.run(account.delete("Office"))
        assert self._get(made.mailbox_id, account.account_id) == {}
        with pytest.raises(NoSuchMailbox):
            self._set(made.mailbox_id, account.account_id, private_comment=b"x")

    def test_metadata_go_with_the_account(self) -> None:
        """What one account kept for itself."""
        alice, bob = self.new_account("alice").account_id, self.new_account("bob").account_id
        box = self.run(self.run(self.store.account(alice)).open("INBOX")).mailbox_id
        self._set(box, bob, private_comment=b"bob's", shared_comment=b"y")
        self.run(self.store.directory.remove_account(bob))
        assert self._get(box, bob) == {"/shared/comment": b"y"}

    def test_metadata_names_and_sizes_have_limits(self) -> None:
        """Refused, TooBig."""
        account = self.account()
        box = self.run(account.open("INBOX")).mailbox_id
        for name in ("/vendor/x", "comment", "/private", "/shared/" + "x" * rules.MAX_NAME_OCTETS):
            with pytest.raises(Refused):
                self.run(self.store.annotate(box, account.account_id, {name: b"x"}))
        with pytest.raises(TooBig):
            self._set(box, account.account_id, private_comment=b"x" * (rules.MAX_VALUE_OCTETS + 1))
        self._set(box, account.account_id, private_comment=b"x" * rules.MAX_VALUE_OCTETS)

    def test_metadata_there_can_only_be_so_many_and_too_many_change_nothing(self) -> None:
        """LimitReached, all or nothing."""
        account = self.account()
        box = self.run(account.open("INBOX")).mailbox_id
        many = {f"private_{number}": b"x" for number in range(rules.MAX_ENTRIES)}
        self._set(box, account.account_id, **many)
        self._set(box, account.account_id, shared_comment=b"counts by itself", private_1=b"y")
        with pytest.raises(LimitReached):
            self._set(box, account.account_id, private_1=b"z", private_new=b"x")
        assert self._get(box, account.account_id)["/private/1"] == b"y"
        self._set(box, account.account_id, private_1=None, private_new=b"x")
        assert len(self._get(box, account.account_id)) == rules.MAX_ENTRIES + 1


class GrantsContract(StoreCase):
    """RFC 4314: what others may do."""

    @pytest.fixture(autouse=True)
    def _kept(self, _fresh_store: None) -> None:
        if not IGrants.providedBy(self.store):
            pytest.skip("the store keeps no rights")

    def _granted(self, *identifiers: str) -> list[tuple[int, str, dict[str, str]]]:
        found: Any = self.run(self.store.granted(identifiers))
        return [(one.account_id, one.name, one.grants) for one in found]

    def test_grants_are_replaced_and_removed(self) -> None:
        """SETACL and DELETEACL."""
        account = self.account()
        box = self.run(account.open("INBOX")).mailbox_id
        self.run(self.store.grant(box, "anyone", "ril"))
        self.run(self.store.grant(box, "#7", "lr"))
        assert self.run(self.store.grants(box)) == {"anyone": "lri", "#7": "lr"}
        self.run(self.store.grant(box, "anyone", "l"))
        self.run(self.store.grant(box, "#7", ""))
        self.run(self.store.grant(box, "#8", ""))
        assert self.run(self.store.grants(box)) == {"anyone": "l"}

    def test_grants_are_told_to_who_has_the_mailbox_open(self) -> None:
        """Who idles in it may not see it any more."""
        alice = self.new_account("alice").account_id
        box = self.run(self.run(self.store.account(alice)).open("INBOX"))
        calls: list[int] = []
        stop = box.watch(lambda: calls.append(1))
        self.run(self.store.grant(box.mailbox_id, "anyone", "lr"))
        self.run(self.store.grant(box.mailbox_id, "anyone", ""))
        assert len(calls) == 2 and not self.run(box.changes(box.columns().modseq)).uids
        stop()
        box.release()

    def test_grants_say_which_mailboxes_an_identifier_reaches(self) -> None:
        """What LIST of shared mailboxes asks."""
        alice, bob = self.account("alice"), self.account("bob")
        for account, name in ((bob, "Shared"), (alice, "Work"), (alice, "Archive")):
            if name != "Archive":
                self.run(account.create(name))
        for account, name, who, rights in (
            (bob, "Shared", "anyone", "lr"), (alice, "Work", "#9", "lrs"), (alice, "Work", "-anyone", "s"),
            (alice, "Archive", "#10", "lr"),
        ):  # fmt: skip
            self.run(self.store.grant(self.run(account.status(name)).mailbox_id, who, rights))
        a, b = alice.account_id, bob.account_id
        assert self._granted("anyone", "#9") == [
            (a, "Work", {"#9": "lrs", "-anyone": "s"}), (b, "Shared", {"anyone": "lr"}),
        ]  # fmt: skip
        assert self._granted("#11") == self._granted() == []
        others: Any = self.run(self.store.granted(["anyone", "#9"], without=a))
        assert [one.name for one in others] == ["Shared"]
        self.run(alice.rename("Work", "Office"))
        assert self._granted("#9") == [(a, "Office", {"#9": "lrs", "-anyone": "s"})]

    def test_grants_go_with_the_mailbox_and_with_the_account(self) -> None:
        """Nothing is left of what is gone."""
        alice, bob = self.account("alice"), self.new_account("bob").account_id
        made = self.run(alice.create("Work"))
        self.run(self.store.grant(made.mailbox_id, f"#{bob}", "lr"))
        self.run(self.store.grant(made.mailbox_id, f"-#{bob}", "s"))
        self.run(self.store.grant(made.mailbox_id, "anyone", "l"))
        self.run(self.store.directory.remove_account(bob))
        assert self.run(self.store.grants(made.mailbox_id)) == {"anyone": "l"}
        self.run(alice.delete("Work"))
        assert self._granted("anyone") == []
        with pytest.raises(NoSuchMailbox):
            self.run(self.store.grant(made.mailbox_id, "anyone", "l"))

    def test_grants_have_limits(self) -> None:
        """Refused, LimitReached."""
        box = self.run(self.account().open("INBOX")).mailbox_id
        for who, rights in (("", "l"), ("x" * 301, "l"), ("a\nb", "l"), ("anyone", "lz")):
            with pytest.raises(Refused):
                self.run(self.store.grant(box, who, rights))
        for number in range(rules.MAX_GRANTS):
            self.run(self.store.grant(box, f"#{number}", "l"))
        with pytest.raises(LimitReached):
            self.run(self.store.grant(box, "anyone", "l"))
        self.run(self.store.grant(box, "#1", "lr"))


class NoticesContract(StoreCase):
    """RFC 5465: what happens in mailboxes that nobody has open."""

    @pytest.fixture(autouse=True)
    def _told(self, _fresh_store: None) -> None:
        if not INotices.providedBy(self.store):
            pytest.skip("the store tells nothing")
        self.notices: list[Notice] = []
        self.watched = self.store.notices(self.notices.append)

    def _news(self) -> list[dict[int, set[str]]]:
        """What became of messages since the last time."""
        found = [{mailbox: set(kinds) for mailbox, kinds in one.messages.items()} for one in self.notices]
        self.notices.clear()
        return found

    def test_notices_of_messages_are_for_the_mailboxes_that_are_named(self) -> None:
        """One notice for each commit, of what it did."""
        box, other = self.mailbox(), self.mailbox("bob")
        self.notices.clear()
        self.fill(box, 1)
        assert self._news() == []
        self.watched.mailboxes_are([box.mailbox_id])
        self.fill(box, 2)
        self.fill(other, 1)
        self.run(box.update(ALL, add(b"\\Seen")))
        self.run(box.update(ALL, add(b"\\Seen")))
        self.run(box.expunge(ALL))
        assert self._news() == [{box.mailbox_id: {kind}} for kind in (NEW, FLAGS, GONE)]
        self.run(other.copy(ALL, box.mailbox_id, True))
        assert [one[box.mailbox_id] for one in self._news()] == [{NEW}]
        self.watched.mailboxes_are([other.mailbox_id])
        self.run(other.append([message(2)]))
        assert self._news() == [{other.mailbox_id: {NEW}}]
        self.watched.stop()
        self.run(other.append([message(3)]))
        assert self._news() == []

    def test_notices_of_deliveries(self) -> None:
        """A delivery is a change like any other."""
        account = self.account()
        mailbox = self.run(account.status("INBOX")).mailbox_id
        self.watched.mailboxes_are([mailbox])
        self.notices.clear()
        self.deliver(message(1), [Placement(account.account_id)])
        assert self._news() == [{mailbox: {NEW}}]

    def test_notices_of_names_subscriptions_and_rights_come_to_all(self) -> None:
        """Whoever watches may see them now, or no more."""
        account = self.account()
        for operation in (
            account.create("a/b"), account.rename("a", "c"), account.subscribe("x", True),
            account.subscribe("x", False), account.delete("c/b"),
        ):  # fmt: skip
            self.notices.clear()
            self.run(operation)
            assert [one.names for one in self.notices] == [True]
        if IGrants.providedBy(self.store):
            mailbox = self.run(account.open("INBOX")).mailbox_id
            self.notices.clear()
            self.run(self.store.grant(mailbox, "anyone", "lr"))
            assert [one.names for one in self.notices] == [True]

    def test_notices_of_annotations_name_them(self) -> None:
        """With the account that sees them."""
        if not IMetadata.providedBy(self.store):
            pytest.skip("the store keeps no annotations")
        account = self.account()
        mailbox = self.run(account.open("INBOX")).mailbox_id
        self.notices.clear()
        changes = {"/private/comment": b"x", "/shared/comment": b"y"}
        self.run(self.store.annotate(mailbox, account.account_id, changes))
        (notice,) = self.notices
        assert not notice.names and set(notice.entries) == {
            Entries(mailbox, account.account_id, ("/private/comment",)), Entries(mailbox, 0, ("/shared/comment",)),
        }  # fmt: skip
