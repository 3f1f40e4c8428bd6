"""Sizes of renderings, made behind deliveries so that a login finds them (floor 5; decisions 30).

Who shows messages in a format has to render each to tell its size.  That is done once for a content and a format,
after the message was accepted, in a thread, for a share of the time.  Mailboxes that get mail after a change of the
format have their last messages measured with it; what is missed, because too much waits or nothing comes, is made when
somebody asks for it.  Where nothing is rendered deliveries do not know of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import MailError
from ..transfer.intake import Intake
from ..values import Placement
from .formatted import FormattedStore
from .session import Services

log = Logger()

#: Seconds after a delivery: its answer goes first, and many to one mailbox are looked at together.
SETTLE = 0.05
#: Mailboxes that wait; beyond it deliveries are left to the login.
MOST = 10_000
#: Messages of before that are looked at with the first delivery to a mailbox, the last ones first.
BACKLOG = 2000
#: Messages between two rests; a rest is so many times as long as the work was, and at most so many seconds.
SLICE, REST, LONGEST_REST = 5, 3, 0.25

#: The mailbox of POP3.
_INBOX = "INBOX"


class Measuring:
    """One for a site.  `await sleep(seconds)` lets others work."""

    def __init__(
        self, intake: Intake, sleep: Callable[[float], Awaitable[None]], monotonic: Callable[[], float]
    ) -> None:
        self._intake, self._sleep, self._monotonic = intake, sleep, monotonic
        #: Each format once, with whether all mailboxes are shown in it or INBOX alone.
        self._stores: dict[str, tuple[FormattedStore, bool]] = {}
        #: (account, mailbox) -> deliveries.
        self._waiting: dict[tuple[int, str], int] = {}
        #: Those whose messages of before were looked at.
        self._seen: set[tuple[int, str]] = set()
        self._work: Deferred[None] | None = None
        self._closed = False

    def adopt(self, services: Iterable[Services]) -> None:
        """Measure for these servers from now on."""
        stores: dict[str, tuple[FormattedStore, bool]] = {}
        for one in services:
            store = one.store
            if isinstance(store, FormattedStore) and store.measured:
                known = stores.get(store.fingerprint)
                stores[store.fingerprint] = store.patient(), one.protocol != "pop3" or (known is not None and known[1])
        if stores.keys() != self._stores.keys():
            self._seen.clear()
        self._stores = stores
        self._intake.delivered = self._delivered if stores else None

    async def close(self) -> None:
        """Measure nothing more; what is under way ends."""
        self._closed = True
        self._waiting.clear()
        if self._work is not None:
            await self._work

    def _delivered(self, placements: Collection[Placement]) -> None:
        """A message has come."""
        waiting = self._waiting
        for placement in placements:
            key = placement.account_id, placement.mailbox
            if not self._closed and (key in waiting or len(waiting) < MOST):
                waiting[key] = waiting.get(key, 0) + 1
        if waiting and self._work is None:
            self._work = Deferred.fromCoroutine(self._run())
            self._work.addErrback(lambda failure: log.failure("sizes of renderings could not be made", failure))

    async def _run(self) -> None:
        try:
            await self._sleep(SETTLE)
            while self._waiting:
                account, mailbox = key = next(iter(self._waiting))
                count = self._waiting.pop(key)
                if key not in self._seen:
                    count += BACKLOG
                    if len(self._seen) >= MOST:
                        self._seen.clear()
                    self._seen.add(key)
                for store, everywhere in tuple(self._stores.values()):
                    if everywhere or mailbox == _INBOX:
                        await self._measure(store, account, mailbox, count)
        finally:
            self._work = None

    async def _measure(self, store: FormattedStore, account: int, mailbox: str, count: int) -> None:
        """The last messages of a mailbox that are not measured yet, if it is still there."""
        try:
            opened = await (await store.account(account)).open(mailbox)
        except MailError:
            return
        try:
            uids = opened.columns().uids[: -count - 1 : -1]
            missing = [uid for uid, record in zip(uids, await opened.records(uids, "size")) if not record]
            for first in range(0, len(missing), SLICE):
                if self._closed:
                    return
                began = self._monotonic()
                await opened.sizes(missing[first : first + SLICE][::-1])
                await self._sleep(min(REST * (self._monotonic() - began), LONGEST_REST))
        except MailError as error:
            log.warn("sizes of renderings could not be made: {error}", error=error.text)
        finally:
            opened.release()
