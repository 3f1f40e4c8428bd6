"""How much an account may be sent, may send and may hold (floor 3; S-117, S-120).

What is set for the account counts, even where it is more than the site says: the limit of a user beats the global one.
A quota is looked at before a message is taken, so that the last one may overrun it by what came at the same time.
"""

from __future__ import annotations

from attrs import frozen

from ..errors import QuotaExceeded, TooBig
from ..interfaces import IDirectory, IMessageStore, IQuota
from ..values import AccountFacts


@frozen
class SiteLimits:
    """What holds for accounts without limits of their own; octets, None: no limit."""

    quota: int | None = None
    max_in: int | None = None
    max_out: int | None = None


class Allowances:
    """Asked at RCPT, MAIL and APPEND.  A store that does not count (no IQuota) has no quotas."""

    def __init__(self, directory: IDirectory, store: IMessageStore, site: SiteLimits) -> None:
        self._directory, self._site = directory, site
        self._usage = store.usage if IQuota.providedBy(store) else None  # type: ignore[attr-defined]

    async def take_in(self, account_id: int, octets: int | None) -> None:
        """A message of so many octets (None: not known yet) is to be delivered to the account.

        Raises TooBig, QuotaExceeded.
        """
        facts = await self._directory.account(account_id)
        limit = self._limit(facts, "max_in")
        if limit is not None and octets is not None and octets > limit:
            raise TooBig("The message is larger than this recipient takes")
        await self._room(facts, octets or 1)

    async def keep(self, account_id: int, octets: int) -> None:
        """The account itself puts so many octets into its mailboxes (APPEND).  Raises QuotaExceeded."""
        await self._room(await self._directory.account(account_id), octets)

    async def send_out(self, account_id: int, octets: int) -> None:
        """The account sends a message of so many octets.  Raises TooBig."""
        limit = self._limit(await self._directory.account(account_id), "max_out")
        if limit is not None and octets > limit:
            raise TooBig("The message is larger than this account may send")

    async def largest(self, account_id: int) -> int | None:
        """Octets of the largest message the account may send, None without a limit."""
        return self._limit(await self._directory.account(account_id), "max_out")

    async def _room(self, facts: AccountFacts | None, octets: int) -> None:
        quota = self._limit(facts, "quota")
        if quota is None or facts is None or self._usage is None:
            return
        used, _ = await self._usage(facts.account_id)
        if used + octets > quota:
            raise QuotaExceeded()

    def _limit(self, facts: AccountFacts | None, name: str) -> int | None:
        own: int | None = getattr(facts, name, None)
        site: int | None = getattr(self._site, name)
        return site if own is None else own
