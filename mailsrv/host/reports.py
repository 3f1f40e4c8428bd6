"""Reports and bad mail of one server (floor 6): made of the site's own parts, and accepted as mail of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.logger import Logger

from ..errors import Refused
from ..interfaces import IContent
from ..message.report import Issuer, Reported, make
from ..message.report_text import TOO_MANY_HOPS
from ..transfer.badmail import BadMail, entry_of
from ..transfer.bounce import NEWS, Asked, lots, wants
from ..transfer.tracing import MOST
from ..values import Address, Envelope, Outcome, Queued
from .config.delivery import badmail_folder
from .config.options import SmtpOptions

log = Logger()


class Reporter:
    """See `transfer.attempts.Reporter` (S-125..S-130).  `copy_to` gets a copy of every report of a failure, and is
    where answers to reports go (S-126, S-127)."""

    def __init__(self, site: Any, name: str, server: SmtpOptions) -> None:
        self._site, self._name = site, name
        table = server.delivery
        self.copy_to = table.ndr_copy if isinstance(table.ndr_copy, Address) else None
        sender = Address("postmaster", server.default_domain or server.hostname)
        self._issuer = Issuer(server.hostname, sender, self.copy_to)
        self._bound = table.report_size
        short = name.partition("/")[2]
        self.badmail = BadMail(
            lambda: badmail_folder(short, table, site.base, site.options.data), octets=table.badmail_size
        )

    async def report(self, row: Queued, content: IContent, asked: Asked, until: float | None) -> None:
        """See Reporter."""
        site = self._site
        original = await site.delivery.queue.queue_content(row)
        try:
            made = await make(
                Reported(original, row.delivery, row.received_at, row.parameters), asked.to, asked.outcomes,
                self._issuer, id=site.ids.next(), now=site.clock(), until=until, whole=asked.whole, bound=self._bound,
            )  # fmt: skip
            envelope = made.envelope
            if all(one.action != "failed" for one in asked.outcomes):
                envelope = evolve(envelope, parameters={**envelope.parameters, NEWS: ""})
            report = await site.delivery.submit(envelope, made.content, self._name)
            about = ", ".join(f"{one.recipient.address} {one.action}" for one in asked.outcomes[:MOST])
            self._note(row, "report", report=report, to=str(asked.to or ""), about=about)
        finally:
            original.close()

    async def keep_bad(self, row: Queued, content: IContent, outcomes: Sequence[Outcome]) -> None:
        """See Reporter."""
        site = self._site
        key = await site.aside(self.badmail.keep, content, entry_of(row, outcomes, site.clock()))
        log.warn("message {id} is bad mail of {server} now: {key}", id=row.delivery, server=self._name, key=key)
        self._note(row, "badmail", server=self._name, key=key)

    def _note(self, row: Queued, kind: str, **facts: Any) -> None:
        """For `mailsrv trace`."""
        if self._site.trace is not None:
            self._site.trace.note(row.delivery, kind, facts)

    async def circling(self, envelope: Envelope, content: IContent) -> tuple[Envelope, IContent]:
        """What is accepted in place of a message that has passed too many servers: the report to its sender (S-081).
        Of several the others are accepted here.

        Raises Refused when nobody can be told, or nobody wants to be; TryLater.
        """
        site, (status, text) = self._site, TOO_MANY_HOPS
        told = [one for one in envelope.recipients if wants(one, "FAILURE")]
        if envelope.reverse_path is None or not told:
            raise Refused(text, status)
        *others, last = lots([Outcome(one, "failed", status, text) for one in told])
        for lot in (*others, last):
            made = await make(
                Reported(content, parameters=envelope.parameters), envelope.reverse_path, lot, self._issuer,
                id=site.ids.next(), now=site.clock(), bound=self._bound,
            )  # fmt: skip
            if lot is not last:
                await site.delivery.submit(made.envelope, made.content, self._name)
        log.info("a message from {sender} has gone round in circles: returned", sender=str(envelope.reverse_path))
        return made.envelope, made.content
