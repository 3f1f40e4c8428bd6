"""Store suite: the mailboxes of an account - names, create, delete, rename, subscriptions, counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from ..errors import AccessDenied, BadMailboxName, MailboxExists, NoSuchMailbox
from ..interfaces import IAccount, IAccountAdmin, IDirectory, IMailbox, IMessageStore
from ..store.names import DEFAULT_MAILBOXES
from ..values import MailboxInfo
from .store_suite_base import ALL, StoreCase, add, message, octets_of

BAD_NAMES = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "a\0b",
    "a\rb",
    "a\nb",
    "tab\there",
    "del\x7f",
    "c1\x85",
    "a\u2028b",
    "x" * 1001,
    "ü" * 501,
    "/".join("x" * 33),
    "lone\ud800",
]


class MailboxesContract(StoreCase):
    """IAccount.mailboxes, create, delete, subscribe, status, open."""

    def info(self, account: IAccount, name: str) -> Any:
        """The MailboxInfo with exactly this name, or None."""
        found = [info for info in self.run(account.mailboxes()) if info.name == name]
        assert len(found) <= 1
        return found[0] if found else None

    def test_provides_the_contracts(self) -> None:
        """Every object has every method with its arguments."""
        account = self.account()
        verifyObject(IMessageStore, self.store)
        verifyObject(IDirectory, self.store.directory)
        verifyObject(IAccountAdmin, self.store.directory)
        verifyObject(IAccount, account)
        verifyObject(IMailbox, self.run(account.open("INBOX")))

    def test_new_account_has_the_default_mailboxes(self) -> None:
        """INBOX and the RFC 6154 ones, subscribed, each with an id of its own."""
        account = self.account()
        infos = self.run(account.mailboxes())
        assert {(info.name, info.special_use) for info in infos} == set(DEFAULT_MAILBOXES)
        assert all(info.exists and info.subscribed for info in infos)
        assert [info.name for info in infos] == sorted(info.name for info in infos)
        assert len({info.mailbox_id for info in infos}) == len({info.uidvalidity for info in infos}) == len(infos)
        assert all(0 < info.mailbox_id and 0 < info.uidvalidity < 2**32 for info in infos)

    def test_account_of_nobody(self) -> None:
        """AccessDenied."""
        with pytest.raises(AccessDenied):
            self.run(self.store.account(10**9))

    def test_accounts_are_apart(self) -> None:
        """The same name in two accounts is two mailboxes."""
        alice, bob = self.account("alice"), self.account("bob")
        assert alice.account_id != bob.account_id
        one, two = self.open(alice, "INBOX"), self.open(bob, "INBOX")
        assert one.mailbox_id != two.mailbox_id
        self.fill(one, 1)
        assert self.rows(two) == {}
        self.run(alice.create("only-hers"))
        assert "only-hers" not in self.names(bob)

    def test_create(self) -> None:
        """Gives its line of the list; a special use is kept."""
        account = self.account()
        made = self.run(account.create("Projects", b"\\Flagged"))
        assert made == self.info(account, "Projects")
        assert made.special_use == b"\\Flagged" and made.exists and not made.subscribed
        state = self.run(account.status("Projects"))
        assert (state.mailbox_id, state.uidvalidity, state.exists) == (made.mailbox_id, made.uidvalidity, 0)
        box = self.run(account.open("Projects"))
        assert (box.mailbox_id, box.uidvalidity) == (made.mailbox_id, made.uidvalidity)

    def test_create_makes_missing_parents(self) -> None:
        """RFC 9051 section 6.3.4."""
        account = self.account()
        self.run(account.create("a/b/c", b"\\All"))
        assert {"a", "a/b", "a/b/c"} <= set(self.names(account))
        assert self.info(account, "a/b").special_use is None
        self.run(account.create("a/b/d"))
        with pytest.raises(MailboxExists):
            self.run(account.create("a/b"))

    def test_uidvalidity_rises(self) -> None:
        """One strictly rising counter per account, also over deletions."""
        account = self.account()
        seen = [max(info.uidvalidity for info in self.run(account.mailboxes()))]
        ids = {info.mailbox_id for info in self.run(account.mailboxes())}
        for _ in range(3):
            made = self.run(account.create("again"))
            self.run(account.delete("again"))
            seen.append(made.uidvalidity)
            assert made.mailbox_id not in ids
            ids.add(made.mailbox_id)
        assert seen == sorted(set(seen))

    def test_existing_names(self) -> None:
        """MailboxExists; INBOX without case."""
        account = self.account()
        for name in ("INBOX", "inbox", "InBox", "Sent"):
            with pytest.raises(MailboxExists):
                self.run(account.create(name))

    def test_inbox_has_no_case_as_first_level(self) -> None:
        """RFC 9051 section 5.1: only INBOX, only as a whole level; what is below keeps its case."""
        account = self.account()
        self.run(account.create("inbox/Sub"))
        self.run(account.create("Inboxes"))
        self.run(account.create("a/inbox"))
        self.run(account.create("sent"))
        assert {"INBOX/Sub", "Inboxes", "a/inbox", "sent", "Sent"} <= set(self.names(account))
        assert self.run(account.status("iNBOX/Sub")).exists == 0
        assert self.run(account.open("inbox")).mailbox_id == self.info(account, "INBOX").mailbox_id
        with pytest.raises(NoSuchMailbox):
            self.run(account.open("inbox/sub"))

    def test_names_are_nfc(self) -> None:
        """Both spellings of a letter with an accent are one name; other letters are kept."""
        account = self.account()
        self.run(account.create("Cafe\u0301/日本語"))
        assert {"Caf\u00e9", "Caf\u00e9/日本語"} <= set(self.names(account))
        assert self.run(account.open("Caf\u00e9/日本語")).uidvalidity
        with pytest.raises(MailboxExists):
            self.run(account.create("Caf\u00e9"))

    @pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
    def test_impossible_names(self, name: str) -> None:
        """BadMailboxName to create, NoSuchMailbox to use; nothing is made."""
        account = self.account()
        before = self.run(account.mailboxes())
        with pytest.raises(BadMailboxName):
            self.run(account.create(name))
        with pytest.raises(BadMailboxName):
            self.run(account.rename("Sent", name))
        for method in (account.status, account.open, account.delete):
            with pytest.raises(NoSuchMailbox):
                self.run(method(name))
        assert self.run(account.mailboxes()) == before

    def test_longest_and_deepest_names(self) -> None:
        """1000 octets and 32 levels are possible; wildcards and quotes are letters like others."""
        account = self.account()
        for name in ("x" * 1000, "ü" * 500, "/".join("y" * 32), 'q"u%o*t\\e', "&", "~peter/#x", "a b"):
            self.run(account.create(name))
            assert self.run(account.status(name)).exists == 0
            assert name in self.names(account)

    def test_delete_keeps_children(self) -> None:
        """RFC 9051 section 6.3.5: a name with inferior names can go, they stay."""
        account = self.account()
        self.run(account.create("a/b/c"))
        self.fill(self.open(account, "a/b"), 2)
        self.run(account.delete("a/b"))
        assert {"a", "a/b/c"} <= set(self.names(account)) and "a/b" not in self.names(account)
        for method in (account.status, account.open, account.delete):
            with pytest.raises(NoSuchMailbox):
                self.run(method("a/b"))
        self.run(account.create("a/b"))
        assert self.run(account.status("a/b")).exists == 0

    def test_inbox_cannot_be_deleted(self) -> None:
        """BadMailboxName, in any case; its messages stay."""
        account = self.account()
        self.fill(self.open(account, "INBOX"), 1)
        for name in ("INBOX", "inbox"):
            with pytest.raises(BadMailboxName):
                self.run(account.delete(name))
        assert self.run(account.status("INBOX")).exists == 1

    def test_subscriptions(self) -> None:
        """RFC 9051 sections 6.3.7 and 6.3.5: also of names that do not exist; a deletion does not end one."""
        account = self.account()
        self.run(account.subscribe("not/there", True))
        assert self.info(account, "not/there") == MailboxInfo("not/there", subscribed=True, exists=False)
        with pytest.raises(NoSuchMailbox):
            self.run(account.status("not/there"))
        assert self.run(account.create("not/there")).subscribed
        assert not self.info(account, "not").subscribed
        self.run(account.delete("not/there"))
        assert self.info(account, "not/there") == MailboxInfo("not/there", subscribed=True, exists=False)
        for _ in range(2):
            self.run(account.subscribe("not/there", False))
            assert self.info(account, "not/there") is None
        for name in ("inbox", "INBOX"):
            self.run(account.subscribe(name, name == "INBOX"))
            assert self.info(account, "INBOX").subscribed == (name == "INBOX")
        assert self.info(account, "INBOX").exists

    def test_list_is_ordered(self) -> None:
        """By name (code points), existing and subscribed ones mixed."""
        account = self.account()
        for name in ("b", "a/x", "a-b", "B", "é"):
            self.run(account.create(name))
        self.run(account.subscribe("aa", True))
        listed = [info.name for info in self.run(account.mailboxes())]
        assert listed == sorted(set(listed)) and {"a", "a-b", "a/x", "aa", "b", "B", "é"} <= set(listed)

    def test_status_agrees_with_state(self) -> None:
        """RFC 9051 section 6.3.11: without opening, the same counters."""
        account = self.account()
        box = self.open(account, "counted")
        steps: list[Callable[[], Any]] = [
            lambda: box.append([message(1), message(2, b"\\Seen"), message(3, b"\\Deleted", size=9000)]),
            lambda: box.update(ALL, add(b"\\Seen")),
            lambda: box.update(ALL, add(b"\\Deleted")),
            lambda: box.copy(ALL, box.mailbox_id),
            lambda: box.expunge(ALL),
        ]
        for step in steps:
            self.run(step())
            assert self.run(account.status("counted")) == self.run(box.state())
            self.check_counters(box)


class RenameContract(StoreCase):
    """IAccount.rename."""

    def test_rename_takes_everything_along(self) -> None:
        """Messages, UIDs, UIDVALIDITY, id, special use; an open handle goes on."""
        account = self.account()
        self.run(account.create("old", b"\\Flagged"))
        box = self.open(account, "old")
        uids = self.fill(box, 3, b"kw")
        self.run(account.rename("old", "new"))
        assert "old" not in self.names(account)
        again = self.run(account.open("new"))
        assert (again.mailbox_id, again.uidvalidity) == (box.mailbox_id, box.uidvalidity)
        assert list(self.rows(again)) == list(uids)
        (info,) = [info for info in self.run(account.mailboxes()) if info.name == "new"]
        assert info.special_use == b"\\Flagged" and info.mailbox_id == box.mailbox_id
        self.fill(box, 1)
        assert len(self.rows(again)) == 4 and self.run(account.status("new")).exists == 4
        with pytest.raises(NoSuchMailbox):
            self.run(account.status("old"))

    def test_children_are_renamed(self) -> None:
        """RFC 9051 section 6.3.6; a name that only begins alike is not a child; missing parents are made."""
        account = self.account()
        for name in ("a/b/c", "a/b%/x", "a-x", "A/b"):
            self.run(account.create(name))
        ids = {info.name: info.mailbox_id for info in self.run(account.mailboxes())}
        self.run(account.rename("a", "x/y"))
        after = {info.name: info.mailbox_id for info in self.run(account.mailboxes())}
        assert {"x", "x/y", "x/y/b", "x/y/b/c", "x/y/b%", "x/y/b%/x", "a-x", "A/b"} <= set(after)
        assert not any(name == "a" or name.startswith("a/") for name in after)
        for old, new in (("a", "x/y"), ("a/b/c", "x/y/b/c"), ("a-x", "a-x"), ("A/b", "A/b")):
            assert ids[old] == after[new]

    def test_refusals_change_nothing(self) -> None:
        """NoSuchMailbox, MailboxExists (also of a child), BadMailboxName (too deep, too long, below itself)."""
        account = self.account()
        for name in ("a/c", "b/c", "deep/" + "/".join("d" * 20)):
            self.run(account.create(name))
        self.run(account.delete("b"))
        before = self.run(account.mailboxes())
        for old, new, error in (
            ("missing", "x", NoSuchMailbox),
            ("b", "x", NoSuchMailbox),
            ("a", "Sent", MailboxExists),
            ("a", "a", MailboxExists),
            ("a", "inbox", MailboxExists),
            ("INBOX", "a", MailboxExists),
            ("a", "b", MailboxExists),
            ("a", "a/c/d", BadMailboxName),
            ("deep", "/".join("e" * 13), BadMailboxName),
            ("deep", "f" * 990, BadMailboxName),
        ):
            with pytest.raises(error):
                self.run(account.rename(old, new))
            assert self.run(account.mailboxes()) == before

    def test_rename_of_inbox_moves_its_messages(self) -> None:
        """RFC 9051 section 6.3.6: INBOX stays, empty; its children are not touched."""
        account = self.account()
        self.run(account.create("INBOX/child"))
        inbox = self.open(account, "INBOX")
        uids = self.fill(inbox, 3, b"\\Seen", b"kw")
        before = self.run(inbox.state())
        self.run(account.rename("inbox", "old/mail"))
        assert {"INBOX", "INBOX/child", "old", "old/mail"} <= set(self.names(account))
        after = self.run(inbox.state())
        assert (after.mailbox_id, after.uidvalidity, after.exists) == (before.mailbox_id, before.uidvalidity, 0)
        assert after.uidnext >= before.uidnext and self.run(inbox.changes(before.highest_modseq)).vanished
        moved = self.run(account.open("old/mail"))
        assert moved.mailbox_id != inbox.mailbox_id and moved.uidvalidity > inbox.uidvalidity
        assert list(self.rows(moved).values()) == [{b"\\seen", b"kw"}] * 3
        assert list(self.octets(moved).values()) == [octets_of(message(n).content) for n in range(3)]
        assert self.fill(inbox, 1)[0] > max(uids)
        for box in (inbox, moved):
            self.check_counters(box)

    def test_one_name(self) -> None:
        """`about` tells what `mailboxes` tells of the name, without looking at the others."""
        account = self.account()
        for name in ("a/b/c", "a-", "a0"):
            self.run(account.create(name))
        self.run(account.subscribe("a/b", True))
        self.run(account.subscribe("gone/below", True))
        infos = {info.name: info for info in self.run(account.mailboxes())}
        below = {name for name in infos if any(other.startswith(f"{name}/") for other in infos)}
        assert below == {"a", "a/b"}
        for name in (*infos, "gone", "none", "a/b/c/d"):
            assert self.run(account.about(name)) == (infos.get(name), name in below)

    def test_subscriptions_do_not_move(self) -> None:
        """RFC 9051 section 6.3.6: the old name stays subscribed, the new one is not."""
        account = self.account()
        self.run(account.rename("Sent", "Gone out"))
        infos = {info.name: info for info in self.run(account.mailboxes())}
        assert infos["Sent"].subscribed and not infos["Sent"].exists
        assert infos["Gone out"].exists and not infos["Gone out"].subscribed
        assert infos["Gone out"].special_use == b"\\Sent"

    def test_name_is_free_again(self) -> None:
        """A renamed mailbox leaves its name to a new one with another UIDVALIDITY."""
        account = self.account()
        old = self.run(account.create("n"))
        self.run(account.rename("n", "m"))
        new = self.run(account.create("n"))
        assert new.uidvalidity > old.uidvalidity and new.mailbox_id != old.mailbox_id
