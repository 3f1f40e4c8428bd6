"""Store suite: domains, accounts and aliases."""

from __future__ import annotations

from typing import Any

import pytest

from ..errors import AccessDenied, NoSuchMailbox, NoSuchRecipient, Refused
from ..values import Address, DomainFacts, Forward, Owner, Placement, Unknown
from .store_suite_base import DOMAINS, StoreCase, address, message


class _DirectoryCase(StoreCase):
    """Short ways to ask a directory."""

    def resolve(self, text: str) -> Any:
        """`IDirectory.resolve`."""
        return self.run(self.store.directory.resolve(address(text)))

    def alias(self, text: str, *targets: str) -> None:
        """`IAccountAdmin.add_alias`."""
        self.run(self.store.directory.add_alias(address(text), [address(target) for target in targets]))

    def domains(self, *facts: DomainFacts) -> None:
        """`IAccountAdmin.set_domains`."""
        self.run(self.store.directory.set_domains(facts))


class AccountsContract(_DirectoryCase):
    """IDirectory and IAccountAdmin without aliases."""

    def test_domains(self) -> None:
        """Facts of ours in any case; None for a foreign one."""
        directory = self.store.directory
        assert self.run(directory.domain("example.org")) == DOMAINS[0]
        assert self.run(directory.domain("Example.NET")) == DOMAINS[1]
        for name in ("foreign.example", "", "sub.example.org", "org"):
            assert self.run(directory.domain(name)) is None
        self.domains(DomainFacts("other.example", "relay", "-", "x"))
        assert self.run(directory.domain("other.example")) == DomainFacts("other.example", "relay", "-", "x")
        assert self.run(directory.domain("example.org")) is None

    def test_account_facts(self) -> None:
        """What `add_account` gives is what is found again; ids differ."""
        directory = self.store.directory
        made = [self.new_account(name) for name in ("zoe", "Anna.Lena", "max@example.net")]
        for facts, text in zip(made, ("zoe", "Anna.Lena", "max@example.net"), strict=True):
            assert facts.address == address(text) and facts.enabled and facts.created_at > 0
            assert self.run(directory.account(facts.account_id)) == facts
        assert len({facts.account_id for facts in made}) == 3
        assert self.run(directory.account(10**9)) is None
        assert self.run(directory.accounts()) == [made[2], made[1], made[0]]

    def test_resolve_own(self) -> None:
        """Local parts are compared without case, in NFC."""
        anna, umlaut = self.new_account("Anna.Lena"), self.new_account("Jörg")
        for text in ("Anna.Lena", "anna.lena", "ANNA.LENA"):
            assert self.resolve(text) == Owner(anna.account_id)
        for text in ("jörg", "JÖRG", "jo\u0308rg"):
            assert self.resolve(text) == Owner(umlaut.account_id)
        for text in ("anna", "annalena", "anna.lena@foreign.example", "nobody", ""):
            assert self.resolve(text) == Unknown()

    def test_subaddress_after_the_whole(self) -> None:
        """The whole local part first, then without what follows the domain's separator."""
        user, whole = self.new_account("user"), self.new_account("user+whole")
        assert self.resolve("user+anything+more") == Owner(user.account_id)
        assert self.resolve("User+") == Owner(user.account_id)
        assert self.resolve("user+whole") == Owner(whole.account_id)
        for text in ("+user", "nobody+user", "user-tag"):
            assert self.resolve(text) == Unknown()
        self.domains(DomainFacts("example.org", subaddress="-"))
        assert self.resolve("user-tag") == Owner(user.account_id)
        assert self.resolve("user+tag") == Unknown()
        self.domains(DomainFacts("example.org", subaddress=""))
        assert self.resolve("user-tag") == self.resolve("user+tag") == Unknown()

    def test_catch_all(self) -> None:
        """A whole address or a local part; what has an owner does not get there."""
        alice, max_ = self.new_account("alice"), self.new_account("max@example.net")
        assert self.resolve("whoever@example.net") == Owner(alice.account_id)
        assert self.resolve("max+tag@example.net") == Owner(max_.account_id)
        self.domains(DomainFacts("example.net", catch_all="MAX"))
        assert self.resolve("whoever@example.net") == Owner(max_.account_id)
        self.domains(DomainFacts("example.net", catch_all="all@foreign.example"))
        assert self.resolve("whoever@example.net") == Forward((Address("all", "foreign.example"),))
        self.domains(DomainFacts("example.net", catch_all="missing"))
        assert self.resolve("whoever@example.net") == Unknown()

    def test_postmaster(self) -> None:
        """RFC 5321 section 4.5.1: always accepted; the first account of the domain, until there is one."""
        assert self.resolve("postmaster") == Unknown()
        first = self.new_account("zoe")
        self.new_account("anna")
        assert self.resolve("Postmaster") == Owner(first.account_id)
        assert self.resolve("postmaster@example.net") == Owner(first.account_id)
        net = self.new_account("max@example.net")
        assert self.resolve("postmaster@example.net") == Owner(net.account_id)
        assert self.resolve("postmaster@foreign.example") == Unknown()
        own = self.new_account("postmaster")
        assert self.resolve("POSTMASTER") == Owner(own.account_id)
        self.alias("postmaster@example.net", "ops@foreign.example")
        assert self.resolve("postmaster@example.net") == Forward((Address("ops", "foreign.example"),))

    def test_taken_addresses(self) -> None:
        """Refused without case, for accounts and aliases; nothing is made."""
        directory = self.store.directory
        self.new_account("anna")
        self.alias("info", "anna")
        for text in ("anna", "ANNA", "Info"):
            with pytest.raises(Refused):
                self.new_account(text)
        with pytest.raises(Refused):
            self.alias("Anna", "other@foreign.example")
        assert len(self.run(directory.accounts())) == 1
        assert self.new_account("anna@example.net").account_id

    def test_credentials(self) -> None:
        """By the full address without case; the hash as it was stored."""
        directory = self.store.directory
        facts = self.new_account("Anna", "$argon2id$one")
        for login in ("Anna@example.org", "anna@EXAMPLE.org"):
            found = self.run(directory.credentials(login))
            assert (found.account_id, found.password_hash, found.enabled) == (facts.account_id, "$argon2id$one", True)
        assert self.run(directory.credentials("Anna@example.org")).login == "Anna@example.org"
        for login in ("anna", "", "@", "@example.org", "anna@", "anna@foreign.example", "anna+x@example.org", "a@b@c"):
            assert self.run(directory.credentials(login)) is None
        self.run(directory.set_password(facts.account_id, ""))
        assert self.run(directory.credentials("anna@example.org")).password_hash == ""

    def test_disabled_account_still_gets_mail(self) -> None:
        """It cannot log in, which its credentials say."""
        directory = self.store.directory
        account = self.account("anna")
        self.run(directory.set_enabled(account.account_id, False))
        assert not self.run(directory.account(account.account_id)).enabled
        assert not self.run(directory.credentials("anna@example.org")).enabled
        assert self.resolve("anna") == Owner(account.account_id)
        self.deliver(message(1), [Placement(account.account_id)])
        assert self.run(account.status("INBOX")).exists == 1
        self.run(directory.set_enabled(account.account_id, True))
        assert self.run(directory.credentials("anna@example.org")).enabled

    def test_domain_that_left(self) -> None:
        """Its accounts stay, unreachable, and come back with it."""
        directory = self.store.directory
        account = self.account("anna")
        self.fill(self.open(account, "INBOX"), 1)
        self.domains(DOMAINS[1])
        assert self.resolve("anna") == Unknown()
        assert self.run(directory.credentials("anna@example.org")) is None
        assert [facts.account_id for facts in self.run(directory.accounts())] == [account.account_id]
        self.domains(*DOMAINS)
        assert self.resolve("anna") == Owner(account.account_id)
        again = self.run(self.store.account(account.account_id))
        assert self.run(again.status("INBOX")).exists == 1

    def test_remove_account(self) -> None:
        """With all its mail, for good; the id is never used again, the address may be."""
        directory = self.store.directory
        self.new_account("first")
        account = self.account("anna")
        box = self.open(account, "INBOX")
        self.fill(box, 2)
        self.run(directory.remove_account(account.account_id))
        assert self.resolve("anna") == Unknown()
        assert self.run(directory.account(account.account_id)) is None
        assert self.run(directory.credentials("anna@example.org")) is None
        with pytest.raises(AccessDenied):
            self.run(self.store.account(account.account_id))
        with pytest.raises(NoSuchMailbox):
            self.run(box.append([message(1)]))
        box.release()
        self.deliver(message(1), [Placement(account.account_id)])
        again = self.account("anna")
        assert again.account_id != account.account_id
        new = self.open(again, "INBOX")
        assert new.mailbox_id != box.mailbox_id and self.rows(new) == {}


class AliasesContract(_DirectoryCase):
    """Aliases (RFC 5321 section 3.9)."""

    def test_forward(self) -> None:
        """To foreign addresses and accounts, in order, each once, foreign local parts as they are."""
        self.new_account("anna")
        self.alias("Team", "Anna", "Ext@foreign.example", "ext@foreign.example", "anna")
        want = Forward((address("Anna"), Address("Ext", "foreign.example"), Address("ext", "foreign.example")))
        assert self.resolve("team") == self.resolve("TEAM") == self.resolve("team+tag") == want
        assert self.resolve("team@example.net") == Unknown(), "the alias is of the other domain"

    def test_alias_of_aliases(self) -> None:
        """Those of ours are resolved on, across our domains; an unknown target stays, for the router to refuse."""
        self.new_account("anna")
        self.alias("a", "b@example.net", "anna")
        self.alias("b@example.net", "c", "nobody")
        self.alias("c", "x@foreign.example", "anna")
        want = {address("anna"), address("nobody"), Address("x", "foreign.example")}
        found = self.resolve("a")
        assert isinstance(found, Forward) and set(found.targets) == want and len(found.targets) == 3

    def test_loops_end(self) -> None:
        """A circle is left out; when nothing else is left, the address is nobody's."""
        self.alias("a", "b")
        self.alias("b", "a")
        self.alias("self", "self")
        assert self.resolve("a") == self.resolve("self") == Unknown()
        self.alias("b", "a", "out@foreign.example", "b+tag")
        assert self.resolve("a") == self.resolve("b") == Forward((Address("out", "foreign.example"),))

    def test_long_chain_ends(self) -> None:
        """Ten steps are followed to the end; of a longer chain some address is left."""
        for number in range(30):
            self.alias(f"n{number}", f"n{number + 1}")
        self.alias("n30", "end@foreign.example")
        assert self.resolve("n25") == Forward((Address("end", "foreign.example"),))
        found = self.resolve("n0")
        assert isinstance(found, Forward) and len(found.targets) == 1

    def test_list_replace_remove(self) -> None:
        """In order of domain and local part, as spelt; NoSuchRecipient for what is not there."""
        directory = self.store.directory
        self.alias("b", "x@foreign.example")
        self.alias("A.l", "y@foreign.example", "z@foreign.example")
        self.alias("c@example.net", "b")
        assert [
            (str(alias), [str(target) for target in targets]) for alias, targets in self.run(directory.aliases())
        ] == [
            ("c@example.net", ["b@example.org"]),
            ("A.l@example.org", ["y@foreign.example", "z@foreign.example"]),
            ("b@example.org", ["x@foreign.example"]),
        ]
        self.alias("B", "new@foreign.example")
        assert self.resolve("b") == Forward((Address("new", "foreign.example"),))
        assert len(self.run(directory.aliases())) == 3
        self.run(directory.remove_alias(address("B")))
        assert self.resolve("b") == Unknown() and len(self.run(directory.aliases())) == 2
        for text in ("b", "nobody", "a.l@example.net"):
            with pytest.raises(NoSuchRecipient):
                self.run(directory.remove_alias(address(text)))
        assert self.new_account("b").account_id

    def test_login_by_alias(self) -> None:
        """An alias of one account logs in there; a list or a foreign alias does not."""
        directory = self.store.directory
        facts = self.new_account("anna", "hash")
        self.new_account("bob", "other")
        self.alias("boss@example.net", "chief")
        self.alias("chief", "Anna")
        self.alias("both", "anna", "bob")
        self.alias("out", "x@foreign.example")
        for login in ("boss@example.net", "CHIEF@example.org"):
            found = self.run(directory.credentials(login))
            assert (found.account_id, found.password_hash) == (facts.account_id, "hash")
        for login in ("both@example.org", "out@example.org", "boss@example.org"):
            assert self.run(directory.credentials(login)) is None

    def test_alias_outlives_its_target(self) -> None:
        """The target is then nobody's, which the router finds out."""
        directory = self.store.directory
        facts = self.new_account("anna")
        self.alias("info", "anna")
        self.run(directory.remove_account(facts.account_id))
        assert self.resolve("info") == Forward((address("anna"),)) and self.resolve("anna") == Unknown()
