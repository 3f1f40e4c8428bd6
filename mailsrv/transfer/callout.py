"""Call-outs (floor 4): the server that has the mailboxes is asked whether there is such a recipient (decisions 39).

What is taken for nobody comes back to a sender that is often forged; so it is better refused.  A server that does not
answer refuses nobody: its mail waits, as it would without a call-out.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from ..errors import MailError, Refused, TryLater
from ..values import Address
from ..wire.smtp_probe import probe
from .routes import Routes
from .smtp_open import Opener

log = Logger()

#: Seconds for which a yes and a no are believed, and addresses that are remembered.
YES, NO, MEMORY = 4 * 3600.0, 600.0, 10_000
#: Seconds for one question, and for which a server that did not answer is left alone.
PATIENCE, REST = 20.0, 60.0
#: Servers and addresses that are tried, and questions about one domain at a time.
MAX_PLACES, AT_ONCE = 3, 10


@define
class _Known:
    """An answer, believed until that instant (monotonic)."""

    answer: bool
    until: float


class Callout:
    """Asks about recipients of any domain.  `clock` is Twisted's, `monotonic` gives seconds."""

    def __init__(self, routes: Routes, opener: Opener, clock: Any, monotonic: Callable[[], float]) -> None:
        self._routes, self._opener = routes, opener
        self._clock, self._monotonic = clock, monotonic
        self._known: OrderedDict[Address, _Known] = OrderedDict()
        #: Domains whose server does not answer: until when it is left alone.  Questions under way.
        self._resting: dict[str, float] = {}
        self._asking: Counter[str] = Counter()

    async def takes(self, address: Address) -> bool:
        """False only when the server has said that there is nobody.  Raises TryLater for too many questions at once."""
        now, domain = self._monotonic(), address.domain
        known = self._known.get(address)
        if known is not None and now < known.until:
            return known.answer
        if now < self._resting.get(domain, 0.0):
            return True
        if self._asking[domain] >= AT_ONCE:
            raise TryLater("Too many recipients are asked about at once", "4.3.2")
        self._asking[domain] += 1
        try:
            answer = await self._within(address)
        finally:
            self._asking -= Counter({domain: 1})
        if answer is not None:
            self._remember(address, answer)
        return answer is not False

    async def _within(self, address: Address) -> bool | None:
        """The answer, if it comes in time."""
        work = Deferred.fromCoroutine(self._ask(address))
        work.addTimeout(PATIENCE, self._clock)
        try:
            return await work
        except (MailError, TimeoutError, CancelledError) as error:
            reason = error.text if isinstance(error, MailError) else "no answer in time"
            log.info("recipients of {domain} cannot be asked about: {reason}", domain=address.domain, reason=reason)
            self._rest(address.domain)
            return None

    async def _ask(self, address: Address) -> bool | None:
        """Raises MailError when nobody can be reached."""
        plan = await self._routes.hops(address.domain)
        places = [(hop, one) for hop in plan.hops for one in hop.addresses][:MAX_PLACES]
        last: MailError = TryLater("There is no server to ask", "4.4.4")
        for hop, one in places:
            try:
                made = await self._opener.open(hop, one, plan.login)
            except TryLater as error:
                last = error
                continue
            try:
                answer: bool | None = await made.run(probe(made.client, address))
                return answer
            except Refused:
                # An address that cannot be written: whoever could say so would have every recipient taken.
                return None
            except TryLater as error:
                last = error
            finally:
                made.quit()
        raise last

    def _remember(self, address: Address, answer: bool) -> None:
        self._known[address] = _Known(answer, self._monotonic() + (YES if answer else NO))
        self._known.move_to_end(address)
        if len(self._known) > MEMORY:
            self._known.popitem(last=False)

    def _rest(self, domain: str) -> None:
        now = self._monotonic()
        if len(self._resting) >= MEMORY:
            self._resting = {name: until for name, until in self._resting.items() if until > now}
        self._resting[domain] = now + REST
