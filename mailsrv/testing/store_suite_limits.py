"""Store suite: the limits of accounts (S-120), and what they hold."""

from __future__ import annotations

import pytest

from ..errors import AccessDenied, NoSuchRecipient, Refused
from ..interfaces import IQuota
from .store_suite_base import ALL, StoreCase, message

#: No account's.
NOBODY = 10**9


class LimitsContract(StoreCase):
    """IAccountAdmin.set_limits; IQuota, where the store provides it."""

    def limits(self, account_id: int) -> tuple[int | None, int | None, int | None]:
        """(quota, max_in, max_out)."""
        facts = self.run(self.store.directory.account(account_id))
        return facts.quota, facts.max_in, facts.max_out

    def test_no_limits_unless_set(self) -> None:
        """A new account has what the site says."""
        assert self.limits(self.new_account("anna").account_id) == (None, None, None)

    def test_limits_are_replaced_together(self) -> None:
        """All three at a time; what is not named is what the site says again; nothing else of the account changes."""
        anna, bob = self.new_account("anna").account_id, self.new_account("bob").account_id
        directory = self.store.directory
        self.run(directory.set_denied(anna, frozenset({"pop3"})))
        self.run(directory.set_limits(anna, quota=10**12, max_in=5, max_out=0))
        assert self.limits(anna) == (10**12, 5, 0) and self.limits(bob) == (None, None, None)
        self.run(directory.set_limits(anna, max_in=7))
        assert self.limits(anna) == (None, 7, None)
        assert self.run(directory.account(anna)).denied == {"pop3"}
        found = {facts.account_id: facts.max_in for facts in self.run(directory.accounts())}
        assert found == {anna: 7, bob: None}

    def test_limits_that_cannot_be(self) -> None:
        """Refused, and nothing changes; nobody has none."""
        anna, directory = self.new_account("anna").account_id, self.store.directory
        self.run(directory.set_limits(anna, quota=1))
        for wrong in (-1, 2**62):
            with pytest.raises(Refused):
                self.run(directory.set_limits(anna, quota=wrong))
        with pytest.raises(NoSuchRecipient):
            self.run(directory.set_limits(NOBODY, quota=1))
        assert self.limits(anna) == (1, None, None)

    def test_usage_is_what_is_there(self) -> None:
        """Octets and messages of all mailboxes: deliveries, appends and copies count, what was expunged does not."""
        if not IQuota.providedBy(self.store):
            pytest.skip("this store does not count")
        anna, bob = self.new_account("anna").account_id, self.new_account("bob").account_id
        assert self.run(self.store.usage(anna)) == (0, 0)
        account = self.run(self.store.account(anna))
        inbox, sent = self.run(account.open("INBOX")), self.run(account.open("Sent"))
        one = message(1)
        size = one.content.size
        self.run(inbox.append([one, one]))
        self.run(inbox.copy(ALL, sent.mailbox_id))
        assert self.run(self.store.usage(anna)) == (4 * size, 4)
        assert self.run(self.store.usage(bob)) == (0, 0)
        self.run(inbox.expunge(ALL))
        assert self.run(self.store.usage(anna)) == (2 * size, 2)
        self.run(account.delete("Sent"))
        assert self.run(self.store.usage(anna)) == (0, 0)
        with pytest.raises(AccessDenied):
            self.run(self.store.usage(NOBODY))
