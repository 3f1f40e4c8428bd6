"""How much an account may be sent, may send and may hold (floor 3; S-117, S-120, RFC 9208).

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
    #: Messages and mailboxes of an account.
    messages: int | None = None
    mailboxes: int | None = 10_000


@frozen
class Standing:
    """What an account holds, and what it may hold (None: no limit).  Octets."""

    octets: int
    messages: int
    octets_limit: int | None
    messages_limit: int | None


class Allowances:
    """Asked at RCPT, MAIL and APPEND.  A store that does not count (no IQuota) has no quotas."""

    def __init__(self, directory: IDirectory, store: IMessageStore, site: SiteLimits) -> None:
        self._directory, self._site = directory, site
        self._usage = store.usage if IQuota.providedBy(store) else None  # type: ignore[attr-defined]

    def adopt(self, site: SiteLimits) -> None:
        """These hold from now on for accounts without limits of their own."""
        self._site = site

    async def take_in(self, account_id: int, octets: int | None) -> None:
        """A message of so many octets (None: not known yet) is to be delivered to the account.

        Raises TooBig, QuotaExceeded.
        """
        facts = await self._directory.account(account_id)
        limit = self._limit(facts, "max_in")
        if limit is not None and octets is not None and octets > limit:
            raise TooBig("The message is larger than this recipient takes")
        await self._room(facts, octets or 1)

    @property
    def counts(self) -> bool:
        """Whether the store counts, so that there are quotas."""
        return self._usage is not None

    @property
    def mailboxes(self) -> int | None:
        """How many mailboxes an account may have; None: no limit."""
        return self._site.mailboxes

    async def keep(self, account_id: int, octets: int, messages: int = 1) -> None:
        """The account itself puts so much into its mailboxes (APPEND, COPY).  Raises QuotaExceeded."""
        await self._room(await self._directory.account(account_id), octets, messages)

    async def limited(self, account_id: int) -> bool:
        """Whether there is a limit to what the account holds."""
        facts = await self._directory.account(account_id)
        return self.counts and (self._limit(facts, "quota") is not None or self._site.messages is not None)

    async def standing(self, account_id: int) -> Standing:
        """How full the account is.  Raises AccessDenied when there is none; for a store that `counts`."""
        assert self._usage is not None
        octets, messages = await self._usage(account_id)
        facts = await self._directory.account(account_id)
        return Standing(octets, messages, self._limit(facts, "quota"), self._site.messages)

    async def send_out(self, account_id: int, octets: int) -> None:
        """The account sends a message of so many octets.  Raises TooBig."""
        limit = self._limit(await self._directory.account(account_id), "max_out")
        if limit is not None and octets > limit:
            raise TooBig("The message is larger than this account may send")

    async def largest(self, account_id: int) -> int | None:
        """Octets of the largest message the account may send, None without a limit."""
        return self._limit(await self._directory.account(account_id), "max_out")

    async def _room(self, facts: AccountFacts | None, octets: int, messages: int = 1) -> None:
        quota, most = self._limit(facts, "quota"), self._site.messages
        if (quota is None and most is None) or facts is None or self._usage is None:
            return
        used, count = await self._usage(facts.account_id)
        if (quota is not None and used + octets > quota) or (most is not None and count + messages > most):
            raise QuotaExceeded()

    def _limit(self, facts: AccountFacts | None, name: str) -> int | None:
        own: int | None = getattr(facts, name, None)
        site: int | None = getattr(self._site, name)
        return site if own is None else own
