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
from ..message.report_text import harmless
from ..values import Address
from ..wire.smtp_probe import Probed, probe
from .routes import Routes
from .smtp_open import Opener

log = Logger()

#: Seconds for which a yes and a no are believed, and addresses that are remembered.
YES, NO, MEMORY = 4 * 3600.0, 600.0, 10_000
#: Seconds for which a no without a status is believed, that may be meant for us as well, and an answer that is none.
BARE_NO, UNCLEAR = 60.0, 60.0
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
        #: Domains whose server's answers were none, and the log has it: until when.
        self._told: dict[str, float] = {}
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
        if answer.answer is None:
            self._tell(domain, answer.reply)
        if answer.anybody:
            self._rest(domain)
        elif answer.answer is None:
            self._remember(address, True, UNCLEAR)
        else:
            self._remember(address, answer.answer, YES if answer.answer else NO if answer.sure else BARE_NO)
        return answer.answer is not False

    async def _within(self, address: Address) -> Probed:
        """The answer, if it comes in time."""
        work = Deferred.fromCoroutine(self._ask(address))
        work.addTimeout(PATIENCE, self._clock)
        try:
            return await work
        except (MailError, TimeoutError, CancelledError) as error:
            reason = error.text if isinstance(error, MailError) else "no answer in time"
            return Probed(None, anybody=True, reply=reason)

    async def _ask(self, address: Address) -> Probed:
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
                answer: Probed = await made.run(probe(made.client, address))
                return answer
            except Refused:
                # An address that cannot be written: whoever could say so would have every recipient taken.
                return Probed(None, reply="an address that cannot be written")
            except TryLater as error:
                last = error
            finally:
                made.quit()
        raise last

    def _remember(self, address: Address, answer: bool, seconds: float) -> None:
        self._known[address] = _Known(answer, self._monotonic() + seconds)
        self._known.move_to_end(address)
        if len(self._known) > MEMORY:
            self._known.popitem(last=False)

    def _rest(self, domain: str) -> None:
        now = self._monotonic()
        self._resting = _pruned(self._resting, now)
        self._resting[domain] = now + REST

    def _tell(self, domain: str, reason: str) -> None:
        """One line for a domain and its rest, however many are asked about."""
        now = self._monotonic()
        if now < self._told.get(domain, 0.0):
            return
        self._told = _pruned(self._told, now)
        self._told[domain] = now + REST
        log.info("recipients of {domain} cannot be asked about: {reason}", domain=domain, reason=harmless(reason))


def _pruned(instants: dict[str, float], now: float) -> dict[str, float]:
    """Without those that are past, when there are too many."""
    return instants if len(instants) < MEMORY else {name: until for name, until in instants.items() if until > now}
