"""Store suite: what is kept for logins: hash and secrets, app passwords, what an account may not use."""

from __future__ import annotations

from typing import Any

import pytest

from ..errors import NoSuchRecipient, Refused
from ..interfaces import IAppPasswords
from ..store import login_rules
from ..values import AccountFacts, AppPassword, StoredCredentials
from .store_suite_base import StoreCase, address

#: No account's.
NOBODY = 10**9
SECRETS = {"scram-sha-256": "s1", "ntlm": "n1"}


class _LoginCase(StoreCase):
    """One account, anna@example.org, and short ways to ask."""

    def anna(self, password_hash: str = "hash", **secrets: str) -> int:
        """Its id."""
        new = self.store.directory.add_account(address("anna"), password_hash, secrets or None)
        facts: AccountFacts = self.run(new)
        return facts.account_id

    def kept(self, login: str = "anna@example.org") -> StoredCredentials:
        """What its logins are checked against."""
        found: StoredCredentials = self.run(self.store.directory.credentials(login))
        return found

    def pair(self) -> tuple[str, dict[str, str]]:
        """Hash and secrets."""
        found = self.kept()
        return found.password_hash, dict(found.secrets)

    def ask(self, method: str, *arguments: Any) -> Any:
        """A method of the directory."""
        return self.run(getattr(self.store.directory, method)(*arguments))


class SecretsContract(_LoginCase):
    """IAccountAdmin: secrets, kinds that are kept, what is denied."""

    def test_no_secrets_unless_given(self) -> None:
        """A plain account has no secrets, keeps what the site keeps, and may use everything."""
        facts, found = self.new_account("anna", "hash"), self.kept()
        assert (found.secrets, found.app_passwords, found.keep, found.denied) == ({}, (), None, frozenset())
        assert (facts.keep, facts.denied) == (None, frozenset())

    def test_add_account_with_secrets(self) -> None:
        """They are there from the first login on, for an alias too, and nobody else has them."""
        facts = self.run(self.store.directory.add_account(address("anna"), "hash", SECRETS))
        self.new_account("bob", "other")
        self.ask("add_alias", address("boss@example.net"), [address("anna")])
        for login in ("anna@example.org", "ANNA@example.org", "boss@example.net"):
            found = self.kept(login)
            assert (found.account_id, found.password_hash, found.secrets) == (facts.account_id, "hash", SECRETS)
        assert self.kept("bob@example.org").secrets == {}

    def test_a_new_password_replaces_all_secrets(self) -> None:
        """None of the old password is left, of whatever kind."""
        anna = self.anna("one", **{"scram-sha-256": "s1", "ntlm": "n1"})
        assert self.kept().secrets == SECRETS
        self.ask("set_password", anna, "two", {"scram-sha-256": "s2", "cram-md5": "c2"})
        assert self.pair() == ("two", {"scram-sha-256": "s2", "cram-md5": "c2"})
        self.ask("set_password", anna, "three")
        assert self.pair() == ("three", {})
        self.ask("set_password", anna, "", SECRETS)
        assert self.pair() == ("", SECRETS)

    def test_refresh_only_of_the_same_password(self) -> None:
        """Compare and set: a password that was changed meanwhile stays, with its secrets."""
        anna = self.anna("one", ntlm="n1")
        assert self.ask("refresh", anna, "one", "better", {"scram-sha-256": "s1"}) is True
        assert self.pair() == ("better", {"scram-sha-256": "s1"})
        self.ask("set_password", anna, "two", {"ntlm": "n2"})
        for was in ("one", "better", "", "Two"):
            assert self.ask("refresh", anna, was, "stale", SECRETS) is False
        assert self.pair() == ("two", {"ntlm": "n2"})
        assert self.ask("refresh", NOBODY, "two", "stale", SECRETS) is False

    def test_of_two_refreshes_one_wins(self) -> None:
        """Also side by side, and beside a new password."""
        anna, directory = self.anna("one"), self.store.directory
        results = self.loop.gather([directory.refresh(anna, "one", f"r{n}", {"ntlm": str(n)}) for n in range(4)])
        assert sorted(results) == [False, False, False, True]
        won = results.index(True)
        assert self.pair() == (f"r{won}", {"ntlm": str(won)})
        self.loop.gather([
            directory.set_password(anna, "new", {"ntlm": "new"}),
            directory.refresh(anna, f"r{won}", "stale", {"ntlm": "stale"}),
        ])
        assert self.pair() == ("new", {"ntlm": "new"})

    def test_what_is_not_kept_is_forgotten(self) -> None:
        """At once, and it does not come back with the kind; what the account does not keep is not stored either."""
        anna = self.anna("one", **SECRETS)
        self.ask("set_keep", anna, frozenset({"scram-sha-256", "cram-md5"}))
        assert self.kept().secrets == {"scram-sha-256": "s1"}
        assert self.kept().keep == self.ask("account", anna).keep == {"scram-sha-256", "cram-md5"}
        self.ask("set_keep", anna, None)
        assert (self.kept().keep, self.kept().secrets) == (None, {"scram-sha-256": "s1"})
        self.ask("set_keep", anna, frozenset())
        assert (self.kept().keep, self.kept().secrets) == (frozenset(), {})
        assert self.ask("account", anna).keep == frozenset()
        self.ask("set_keep", anna, frozenset({"ntlm"}))
        self.ask("set_password", anna, "two", SECRETS)
        assert self.kept().secrets == {"ntlm": "n1"}
        assert self.ask("refresh", anna, "two", "three", SECRETS | {"ntlm": "n3"})
        assert self.pair() == ("three", {"ntlm": "n3"})

    def test_denied(self) -> None:
        """S-104: protocols and virtual servers, in the facts as well; each setting leaves the others alone."""
        anna = self.anna("one", **SECRETS)
        self.new_account("bob")
        self.ask("set_denied", anna, frozenset({"pop3", "smtp/submission"}))
        self.ask("set_keep", anna, frozenset({"ntlm"}))
        self.ask("set_enabled", anna, False)
        self.ask("set_password", anna, "two", {"ntlm": "n2"})
        facts, found = self.ask("account", anna), self.kept()
        assert facts.denied == found.denied == {"pop3", "smtp/submission"}
        assert facts.keep == found.keep == {"ntlm"} and not facts.enabled and not found.enabled
        assert [facts.denied for facts in self.ask("accounts")] == [facts.denied, frozenset()]
        self.ask("set_denied", anna, frozenset())
        assert (self.kept().denied, self.kept().keep, self.kept().secrets) == (frozenset(), {"ntlm"}, {"ntlm": "n2"})

    @pytest.mark.parametrize(("method", "arguments"), [
        ("set_password", ("hash", SECRETS)), ("set_keep", (None,)), ("set_denied", (frozenset(),)),
    ])
    def test_nobody_has_secrets(self, method: str, arguments: tuple[Any, ...]) -> None:
        """NoSuchRecipient."""
        with pytest.raises(NoSuchRecipient):
            self.ask(method, NOBODY, *arguments)

    @pytest.mark.parametrize(("method", "arguments"), [
        ("set_password", ("h" * (login_rules.MAX_KEYS + 1),)),
        ("set_password", ("hash", {"ntlm": "k" * (login_rules.MAX_KEYS + 1)})),
        ("set_password", ("hash", {"NTLM": "k"})),
        ("set_password", ("hash", {"": "k"})),
        ("set_password", ("hash", {"a kind": "k"})),
        ("set_password", ("hash", {f"k{n}": "k" for n in range(login_rules.MAX_KINDS + 1)})),
        ("refresh", ("one", "hash", {"ntlm": "k" * (login_rules.MAX_KEYS + 1)})),
        ("set_keep", (frozenset({"k" * 33}),)),
        ("set_keep", (frozenset({"ntlm\n"}),)),
        ("set_denied", (frozenset({""}),)),
        ("set_denied", (frozenset({"smtp submission"}),)),
        ("set_denied", (frozenset({"smtp/" + "x" * 100}),)),
        ("set_denied", (frozenset(f"smtp/{n}" for n in range(login_rules.MAX_WORDS + 1)),)),
    ])
    def test_limits_of_secrets(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Refused, and nothing is changed."""
        anna = self.anna("one", **SECRETS)
        self.ask("set_keep", anna, frozenset(SECRETS))
        before = self.kept()
        with pytest.raises(Refused) as caught:
            self.ask(method, anna, *arguments)
        assert not isinstance(caught.value, NoSuchRecipient) and self.kept() == before

    def test_secrets_up_to_the_limits(self) -> None:
        """All of it comes back as it was given."""
        secrets = {f"kind-{n:02d}-{'x' * 24}": "k" * login_rules.MAX_KEYS for n in range(login_rules.MAX_KINDS)}
        denied = frozenset(f"{n:03d}" + "~" * 97 for n in range(login_rules.MAX_WORDS))
        anna = self.anna("h" * login_rules.MAX_KEYS)
        self.ask("set_keep", anna, frozenset(secrets))
        self.ask("set_denied", anna, denied)
        self.ask("set_password", anna, "h" * login_rules.MAX_KEYS, secrets)
        found = self.kept()
        assert (found.secrets, found.keep, found.denied) == (secrets, frozenset(secrets), denied)

    def test_an_account_with_secrets_is_removed(self) -> None:
        """A new one of that address has none of them."""
        anna = self.anna("one", **SECRETS)
        self.ask("set_denied", anna, frozenset({"imap"}))
        self.ask("remove_account", anna)
        self.new_account("anna", "two")
        assert (self.kept().password_hash, self.kept().secrets, self.kept().denied) == ("two", {}, frozenset())

    def test_secrets_are_not_shown(self) -> None:
        """Not in a text that could come into a log."""
        self.anna("the-hash", ntlm="the-keys")
        assert "the-" not in repr(self.kept())


class AppPasswordsContract(_LoginCase):
    """IAppPasswords, where the directory provides it."""

    def holder(self, password_hash: str = "hash", **secrets: str) -> int:
        """The id of anna@example.org; without app passwords there is nothing to test."""
        # Not a fixture: it would hold for all subjects of a suite.
        if not IAppPasswords.providedBy(self.store.directory):
            pytest.skip("the directory keeps no app passwords")
        return self.anna(password_hash, **secrets)

    def make_one(self, account_id: int, name: str, digest: str = "digest", *scopes: str) -> AppPassword:
        """A new one."""
        made: AppPassword = self.ask("add_app_password", account_id, name, digest, frozenset(scopes))
        return made

    def named(self, account_id: int) -> list[str]:
        """Of all, in order; logins see the same ones."""
        found = self.ask("app_passwords", account_id)
        assert tuple(found) == self.kept().app_passwords
        return [password.name for password in found]

    def test_app_passwords(self) -> None:
        """As they were made, in that order; ids differ."""
        anna, bob = self.holder(), self.new_account("bob")
        assert self.named(anna) == []
        phone, printer = self.make_one(anna, "my phone", "d1"), self.make_one(anna, "Büro", "d2", "smtp", "imap/office")
        other = self.make_one(bob.account_id, "my phone", "d3")
        assert (phone.name, phone.digest, phone.scopes) == ("my phone", "d1", frozenset())
        assert (printer.name, printer.digest, printer.scopes) == ("Büro", "d2", {"smtp", "imap/office"})
        assert phone.created_at > 0 and len({phone.id, printer.id, other.id}) == 3
        assert self.kept().app_passwords == (phone, printer)
        assert self.kept("bob@example.org").app_passwords == (other,)
        assert self.named(anna) == ["my phone", "Büro"]

    def test_remove_app_password(self) -> None:
        """That one only; the name is free again, the id is not."""
        anna, bob = self.holder(), self.new_account("bob")
        first = [self.make_one(anna, name) for name in ("c", "b", "a")]
        self.make_one(bob.account_id, "b")
        self.ask("remove_app_password", anna, "b")
        assert self.named(anna) == ["c", "a"]
        again = self.make_one(anna, "b", "new")
        assert again.id not in [password.id for password in first]
        assert self.named(anna) == ["c", "a", "b"]
        assert len(self.kept("bob@example.org").app_passwords) == 1

    def test_names_of_app_passwords_are_unique(self) -> None:
        """In an account, to the letter; one that is not there cannot be removed."""
        anna = self.holder()
        self.make_one(anna, "phone", "d1")
        with pytest.raises(Refused):
            self.make_one(anna, "phone", "d2")
        self.make_one(anna, "Phone")
        assert self.named(anna) == ["phone", "Phone"] and self.kept().app_passwords[0].digest == "d1"
        for name in ("PHONE", "", "x" * 200, "\ud800"):
            with pytest.raises(Refused) as caught:
                self.ask("remove_app_password", anna, name)
            assert not isinstance(caught.value, NoSuchRecipient)
        assert self.named(anna) == ["phone", "Phone"]

    def test_app_passwords_stay_with_a_new_password(self) -> None:
        """A new password, settings, an account that is disabled for a while: they stay."""
        anna = self.holder("one", **SECRETS)
        made = self.make_one(anna, "phone")
        self.ask("set_password", anna, "two")
        self.ask("set_keep", anna, frozenset())
        self.ask("set_enabled", anna, False)
        assert self.kept().app_passwords == (made,)

    def test_nobody_has_app_passwords(self) -> None:
        """NoSuchRecipient."""
        self.holder()
        for method, arguments in (
            ("app_passwords", ()), ("add_app_password", ("n", "d", frozenset())), ("remove_app_password", ("n",)),
        ):
            with pytest.raises(NoSuchRecipient):
                self.ask(method, NOBODY, *arguments)

    def test_an_account_with_app_passwords_is_removed(self) -> None:
        """They go with it; a new account of that address has none."""
        anna, bob = self.holder(), self.new_account("bob")
        self.make_one(anna, "phone")
        kept = self.make_one(bob.account_id, "phone")
        self.ask("remove_account", anna)
        with pytest.raises(NoSuchRecipient):
            self.ask("app_passwords", anna)
        assert self.named(self.holder()) == []
        assert self.kept("bob@example.org").app_passwords == (kept,)

    @pytest.mark.parametrize(("name", "digest", "scopes"), [
        ("", "d", ()), ("x" * (login_rules.MAX_APP_NAME + 1), "d", ()), ("two\nlines", "d", ()), ("\x00", "d", ()),
        ("\ud800", "d", ()), ("n", "", ()), ("n", "d" * (login_rules.MAX_KEYS + 1), ()), ("n", "d", ("",)),
        ("n", "d", ("smtp imap",)), ("n", "d", tuple(f"smtp/{n}" for n in range(login_rules.MAX_WORDS + 1))),
    ])
    def test_limits_of_app_passwords(self, name: str, digest: str, scopes: tuple[str, ...]) -> None:
        """Refused, and nothing is made."""
        anna = self.holder()
        with pytest.raises(Refused) as caught:
            self.make_one(anna, name, digest, *scopes)
        assert not isinstance(caught.value, NoSuchRecipient) and self.named(anna) == []

    def test_a_hundred_app_passwords(self) -> None:
        """No more; there is room again when one is removed."""
        anna = self.holder()
        names = [f"{n:03d}" + "ü" * (login_rules.MAX_APP_NAME - 3) for n in range(login_rules.MAX_APP_PASSWORDS)]
        self.loop.gather(
            [self.store.directory.add_app_password(anna, name, "d" * 100, frozenset()) for name in names]
        )
        with pytest.raises(Refused):
            self.make_one(anna, "one more")
        assert self.named(anna) == names
        self.ask("remove_app_password", anna, names[0])
        self.make_one(anna, "one more")
        assert self.named(anna) == [*names[1:], "one more"]

    def test_digests_are_not_shown(self) -> None:
        """Not in a text that could come into a log."""
        anna = self.holder()
        assert "the-digest" not in repr(self.make_one(anna, "phone", "the-digest")) + repr(self.kept())
