"""What becomes of a message after the verdicts (floor 4): whose mailboxes get it, and the one answer for all."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field
from twisted.logger import Logger

from ..errors import BadMailboxName, MailboxExists, NoSuchMailbox, Refused, Unroutable
from ..interfaces import IContent, IMessageStore, IRouter
from ..message.trace import verdict_field
from ..transfer.success import arrival, passed_on, without_room
from ..values import ACCEPT, Address, Owner, Recipient, Route, Transaction, Verdict

log = Logger()

#: Where a quarantined message goes when the verdict names no mailbox.
JUNK = "Junk"
#: Addresses that one verdict may redirect a message to.
MAX_TARGETS = 100
#: Verdicts after which nobody else is asked.
ENDS = frozenset({"reject", "tempfail", "discard"})
REFUSES = frozenset({"reject", "tempfail"})


@define(eq=False)
class Share:
    """A recipient that was accepted, whose mailboxes get its mail, and where else it goes (`Route.onward`); `verdict`
    is quarantine or redirect when a policy changed them; then `redirected` tells that it is for others than it was, and
    `left_out` how many addresses elsewhere a quarantine keeps it from.  `full` are those of the mailboxes that do not
    take the message (`smtp_room`): their address, and the status that says why."""

    recipient: Recipient
    owners: tuple[Owner, ...]
    verdict: Verdict = ACCEPT
    onward: tuple[tuple[str, Address], ...] = ()
    redirected: bool = False
    left_out: int = 0
    full: tuple[tuple[Address, str], ...] = ()

    @property
    def special(self) -> bool:
        """Whether there is more to it than mailboxes that get the message."""
        return bool(self.onward or self.full or self.recipient.parameters or self.redirected or self.left_out)

    @property
    def astray(self) -> bool:
        """Whether somebody of those who are meant does not get it."""
        return self.redirected or self.left_out > 0

    @property
    def taken(self) -> bool:
        """Whether anybody gets it."""
        return bool(self.owners or self.onward)


@define(eq=False)
class Answers:
    """What the policies say of a whole message: `whole`, and `each` for recipients that are to be treated in another
    way.  `content`: it is another message now."""

    whole: Verdict = ACCEPT
    each: dict[Address, Verdict] = field(factory=dict)
    content: IContent | None = None

    def of(self, address: Address) -> Verdict:
        """The verdict for one recipient."""
        return self.each.get(address, self.whole) if self.whole.action not in ENDS else self.whole

    def refusal(self) -> Verdict | None:
        """The one answer where there is one for all: who wants the message is not to lose it by it, so it is
        refused for good only when nobody is refused for now.  None: take it."""
        if self.whole.action in REFUSES:
            return self.whole
        if not self.each:
            return None
        refused = [verdict for verdict in self.each.values() if verdict.action in REFUSES]
        return next((one for one in refused if one.action == "tempfail"), refused[0] if refused else None)


async def admit(router: IRouter, transaction: Transaction, recipient: Recipient, verdict: Verdict) -> Share:
    """The share of a recipient that policies took, as their verdict wants it.  Raises MailError."""
    if verdict.action == "redirect":
        route = await redirected(router, transaction, verdict)
        return Share(recipient, route.placements, verdict, route.onward, redirected=True)
    share = share_of(recipient, await router.route(recipient.address, transaction))
    return _quarantined(share, verdict) if verdict.action == "quarantine" else share


def share_of(recipient: Recipient, route: Route) -> Share:
    """The share of a recipient whom no verdict has changed.  Raises Unroutable."""
    if not route.placements and not route.onward:
        # Whoever has a router of its own: what nobody gets is never accepted.
        raise Unroutable()
    return Share(recipient, route.placements, ACCEPT, route.onward)


async def redirected(router: IRouter, transaction: Transaction, verdict: Verdict) -> Route:
    """Who gets what a verdict redirects; policies are not asked again.  Raises MailError."""
    if not 0 < len(verdict.targets) <= MAX_TARGETS:
        raise Refused("Redirected to nobody, or to too many", "5.4.6")
    owners: dict[Owner, None] = {}
    onward: dict[tuple[str, Address], None] = {}
    for target in verdict.targets:
        route = await router.route(target, transaction)
        if not route.placements and not route.onward:
            raise Unroutable()
        owners.update(dict.fromkeys(route.placements))
        onward.update(dict.fromkeys(route.onward))
    return Route(tuple(owners), tuple(onward))


def _quarantined(share: Share, verdict: Verdict) -> Share:
    """Into the mailbox of the verdict.  What goes on to another server cannot be put aside there, and is not sent:
    where that is all, the message is refused.  Raises Refused."""
    if not share.owners and not share.full:
        raise Refused(verdict.text or "Refused by policy", "5.7.1")
    owners = tuple(evolve(owner, mailbox=verdict.mailbox or JUNK) for owner in share.owners)
    left_out = share.left_out + len(share.onward)
    return Share(share.recipient, owners, verdict, (), share.redirected, left_out, share.full)


async def placed(
    router: IRouter, transaction: Transaction, shares: Sequence[Share], whole: Verdict, answers: Answers
) -> list[Share]:
    """The shares of a message that is taken, after all that policies said of it: `whole` before its content was seen.

    Without those that are dropped or refused.  Raises MailError.
    """
    found: list[Share] = []
    for share in shares:
        verdict = answers.of(share.recipient.address)
        if verdict.action in ENDS:
            continue
        if verdict.action == "accept":
            verdict = whole
        if verdict.action == "redirect":
            route = await redirected(router, transaction, verdict)
            share = Share(share.recipient, route.placements, verdict, route.onward, redirected=True)
        elif verdict.action == "quarantine":
            share = _quarantined(share, verdict)
        found.append(share)
    return found


async def make_mailboxes(store: IMessageStore, shares: Sequence[Share]) -> None:
    """Make the mailboxes that quarantine needs and that are not there.  Raises StoreUnavailable and the like."""
    for owner in {owner for share in shares if share.verdict.action == "quarantine" for owner in share.owners}:
        account = await store.account(owner.account_id)
        try:
            await account.status(owner.mailbox)
        except NoSuchMailbox:
            try:
                await account.create(owner.mailbox)
            except MailboxExists:
                pass
            except BadMailboxName:
                log.error("quarantine into {mailbox!r} is not possible: it goes to INBOX", mailbox=owner.mailbox)


def onward_of(shares: Sequence[Share]) -> list[tuple[str, Address, Recipient]]:
    """What goes on to other servers, for `Intake.accept`."""
    found = []
    for share in shares:
        if share.onward:
            asked = passed_on(
                share.recipient, share.owners, share.onward, astray=share.astray, full=len(share.full)
            )
            found += [(destination, address, asked) for destination, address in share.onward]
    return found


def arrivals_of(shares: Sequence[Share]) -> list[tuple[str, Recipient]]:
    """Recipients whose sender is to hear that their mail is here, for `Intake.accept`."""
    found = []
    for share in shares:
        if share.recipient.parameters:
            where = arrival(share.recipient, share.owners, share.onward, astray=share.astray, full=len(share.full))
            if where:
                found.append((where, share.recipient))
    return found


def full_of(shares: Sequence[Share]) -> list[tuple[str, Address, Recipient]]:
    """Mailboxes whose failure is told, for `Intake.accept`: of what a policy has put aside nobody hears."""
    return [one for share in shares if share.verdict is ACCEPT for one in without_room(share.recipient, share.full)]


def left_out(shares: Sequence[Share]) -> str:
    """What a quarantine has kept from being sent on, and who had no room, for the log."""
    count, full = sum(share.left_out for share in shares), [str(one) for share in shares for one, _ in share.full]
    text = f"; kept from {count} elsewhere by quarantine" if count else ""
    return f"{text}; no room at {', '.join(full[:MAX_TARGETS])}" if full else text


def moved_field(shares: Sequence[Share]) -> bytes:
    """The header field that tells why a copy is where it is, b"" when not all of them were moved by one verdict: what
    happened to one recipient is nothing to the others."""
    verdict = shares[0].verdict if shares else ACCEPT
    if verdict.action == "accept" or any(share.verdict is not verdict for share in shares):
        return b""
    return verdict_field(verdict.action, verdict.part, verdict.rule)
