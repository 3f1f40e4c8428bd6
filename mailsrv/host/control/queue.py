"""The queue: mail that waits to go to other servers (floor 6).

All verbs choose rows alike: by ids, or by filters that must all fit.  With `server` nothing but mail that this server
has accepted is seen or changed: who may administer one server needs no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from attrs import define

from ...errors import MailError, Refused
from ...message.report_text import harmless
from ...parts import did_you_mean
from ...transfer import schedule
from ...transfer.success import told_here
from ...values import Queued
from ..config.routes import route_name
from .queue_rows import MAX_SHOWN, Wanted, facts_of, header_text, named, scan, state_of, wanted_of
from .table import Function, of_server, operation

#: Rows of one answer, destinations of a summary, instants of a simulation.
MAX_ROWS, MAX_DESTINATIONS, MAX_INSTANTS = 1000, 1000, 500
#: Characters of a reason.
MAX_REASON = 200
GIVEN_UP = "The administrator has given this message up"


def delivery_of(site: Any) -> Any:
    """What sends mail on.  Raises Refused for a site that does not."""
    if getattr(site, "delivery", None) is None:
        raise Refused(f"this site sends nothing on: its store {site.options.store.use!r} has no queue")
    return site.delivery


def lane_of(site: Any, row: Queued) -> Any:
    """How the server of a row sends on; the first one for a server that is gone.  Raises Refused."""
    lanes = delivery_of(site).lanes
    found = lanes.get(row.server) or next(iter(lanes.values()), None)
    if found is None:
        raise Refused("this site has no SMTP server that could send it on")
    return found


async def _chosen(site: Any, ids: Sequence[str], everything: bool, wanted: Wanted) -> list[Queued]:
    """The rows that a change is about.  Raises Refused, StoreUnavailable."""
    queue = delivery_of(site).queue
    if ids:
        if everything:
            raise Refused("either ids or everything")
        return await named(queue, ids, wanted)
    if not everything and wanted == Wanted():
        raise Refused("say which: ids, a filter, or everything")
    return [row async for row in scan(queue, wanted)]


# ---------------------------------------------------------------- looking


@operation("queue.list", resource=of_server)
async def list_rows(
    site: Any, server: str = "", sender: str = "", recipient: str = "", domain: str = "", older: str = "",
    state: str = "", reply: str = "", after: int = 0, limit: int = 100,
) -> dict[str, Any]:
    """Rows in the order they were made: at most `limit` after the row `after`; "next" is for the next page, 0: no more.

    `sender` and `recipient` are addresses or @DOMAIN, the sender <> is that of reports; `domain` is where it goes;
    `older` a duration; `reply` a part of what was last said.
    """
    if not 1 <= limit <= MAX_ROWS or after < 0:
        raise Refused(f"limit must be 1 to {MAX_ROWS}, after the id of a row")
    wanted = wanted_of(site.clock(), server, sender, recipient, domain, older, state, reply)
    found: list[Queued] = []
    async for row in scan(delivery_of(site).queue, wanted, after):
        if len(found) == limit:
            return _page(site, found, found[-1].id)
        found.append(row)
    if not found and server and server not in site.options.servers:
        raise Refused(f'no virtual server "{server}"{did_you_mean(server, site.options.servers)}')
    return _page(site, found, 0)


def _page(site: Any, rows: Sequence[Queued], following: int) -> dict[str, Any]:
    """Rows of a list; `stopped` are those of their servers that do not run, so that nothing is tried."""
    stopped = {row.server for row in rows if not lane_of(site, row).active()}
    return {"rows": [facts_of(row) for row in rows], "next": following, "now": site.clock(), "stopped": sorted(stopped)}


@operation("queue.show", resource=of_server)
async def show(site: Any, id: str, server: str = "") -> dict[str, Any]:
    """All about a row, or the rows of a message: recipients, parameters, instants, and the message's header."""
    queue = delivery_of(site).queue
    rows = await named(queue, [id], Wanted(server))
    content = await queue.queue_content(rows[0])
    try:
        header = await header_text(content)
    finally:
        content.close()
    return {"rows": [_whole(site, row) for row in rows], "header": header}


def _whole(site: Any, row: Queued) -> dict[str, Any]:
    """A row with everything that is known of it."""
    lane = lane_of(site, row)
    notice, end = schedule.ages(lane.policy, row.origin)
    return {
        **facts_of(row, MAX_SHOWN),
        "recipients": [
            {"address": one, "parameters": dict(recipient.parameters)}
            for one, recipient in zip(facts_of(row, MAX_SHOWN)["recipients"], row.recipients)
        ],
        "parameters": dict(row.parameters),
        "notice_at": None if notice is None or row.noticed else row.received_at + notice,
        "expires_at": None if end is None else row.received_at + end,
        "server_runs": bool(lane.active()),
        "tried_at": delivery_of(site).runner.attempts.tried.get(row.id),
    }


@operation("queue.simulate", resource=of_server)
async def simulate(site: Any, id: str, server: str = "") -> list[dict[str, Any]]:
    """What will happen to it when, if no attempt succeeds; for each row of a message."""
    told, tried = [], delivery_of(site).runner.attempts.tried
    for row in await named(delivery_of(site).queue, [id], Wanted(server)):
        told_of = schedule.simulate(lane_of(site, row).policy, row, site.clock(), tried.get(row.id, 0.0))
        events = list(islice(told_of, MAX_INSTANTS + 1))
        told.append({
            **facts_of(row),
            "events": [{"at": at, "what": what} for at, what in events[:MAX_INSTANTS]],
            "more": len(events) > MAX_INSTANTS,
        })  # fmt: skip
    return told


@define
class _Destination:
    """What waits for one destination."""

    destination: str
    count: int = 0
    held: int = 0
    trying: int = 0
    size: int = 0
    oldest: float = 0.0
    next_attempt: float | None = None
    reply: str = ""
    said: float = -1.0

    def add(self, row: Queued) -> None:
        """One row more."""
        self.count += 1
        self.size += row.size
        self.oldest = min(self.oldest or row.received_at, row.received_at)
        state = state_of(row)
        if state == "held":
            self.held += 1
        elif state == "trying":
            self.trying += 1
        elif self.next_attempt is None or row.due < self.next_attempt:
            self.next_attempt = row.due
        # The last attempt is not known, but who was tried last is tried last again.
        if row.reply and row.due > self.said:
            self.reply, self.said = row.reply, row.due

    @property
    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "destination": self.destination, "count": self.count, "held": self.held, "trying": self.trying,
            "size": self.size, "oldest": self.oldest, "next_attempt": self.next_attempt,
            "reply": harmless(self.reply, 500),
        }  # fmt: skip


@operation("queue.summary", resource=of_server)
async def summary(site: Any, server: str = "") -> dict[str, Any]:
    """For each destination: how many rows, since when, what was said last, when it is tried next; most rows first."""
    delivery, found = delivery_of(site), dict[str, _Destination]()
    restored = getattr(site.store, "restored", None)
    since = 0
    async for row in scan(delivery.queue, Wanted(server)):
        since += restored is not None and row.held and row.received_at <= restored["at"]
        of = found.get(row.destination)
        if of is None:
            of = found[row.destination] = _Destination(row.destination)
        of.add(row)
    ordered = sorted(found.values(), key=lambda one: (-one.count, one.destination))
    return {
        "rows": sum(one.count for one in ordered),
        "destinations": len(ordered),
        "summary": [one.facts for one in ordered[:MAX_DESTINATIONS]],
        "attempts_under_way": delivery.runner.shares.workers,
        "counters": dict(delivery.runner.counters),
        **({"restored": {**restored, "held": since}} if restored is not None and since else {}),
    }


# ---------------------------------------------------------------- changing


async def _alter(
    site: Any, rows: Sequence[Queued], action: str, *, due: float = 0.0, destination: str = ""
) -> dict[str, Any]:
    """Change them: those that an attempt is under way for are left alone and told as busy."""
    queue = delivery_of(site).queue
    changed = await queue.alter([row.id for row in rows], action, due=due, destination=destination)
    if site.trace is not None:
        for row in rows[:MAX_ROWS]:
            site.trace.note(row.delivery, "action", {"action": action, "row": row.id, "destination": destination})
    return {"changed": changed, "busy": len(rows) - changed, "held": sum(row.held for row in rows)}


def _changing(action: str, text: str) -> Function:
    """The operation queue.ACTION."""

    async def change(
        site: Any, ids: list[str], server: str = "", sender: str = "", recipient: str = "", domain: str = "",
        older: str = "", state: str = "", reply: str = "", everything: bool = False,
    ) -> dict[str, Any]:
        now = site.clock()
        wanted = wanted_of(now, server, sender, recipient, domain, older, state, reply)
        return await _alter(site, await _chosen(site, ids, everything, wanted), action, due=now)

    change.__doc__ = text
    return operation(f"queue.{action}", resource=of_server)(change)


retry = _changing("retry", "Try now; what is held stays held.  Without a running server: at its next start.")
hold = _changing("hold", "Leave them alone until they are released; they do not expire meanwhile.")
release = _changing("release", "Undo `queue.hold`: they are due as before.")
delete = _changing("delete", "Forget them for good; nobody is told.")


@operation("queue.reroute", resource=of_server)
async def reroute(
    site: Any, ids: list[str], destination: str, server: str = "", sender: str = "", recipient: str = "",
    domain: str = "", older: str = "", state: str = "", reply: str = "", everything: bool = False,
) -> dict[str, Any]:
    """Send them to another domain, host or [address] from now on; the recipients stay.  They are due as before."""
    try:
        name = route_name(destination.strip())
    except ValueError:
        name = ""
    if not name or name.startswith((".", "*")):
        raise Refused(f'"{destination[:MAX_REASON]}" is no destination: a domain, a host, or [192.0.2.1]', "5.1.2")
    wanted = wanted_of(site.clock(), server, sender, recipient, domain, older, state, reply)
    # What is here already has no way to go: sent somewhere it would be a second copy.
    rows = [row for row in await _chosen(site, ids, everything, wanted) if not told_here(row)]
    return {**await _alter(site, rows, "reroute", destination=name), "destination": name}


@operation("queue.fail", resource=of_server)
async def fail(
    site: Any, ids: list[str], server: str = "", sender: str = "", recipient: str = "", domain: str = "",
    older: str = "", state: str = "", reply: str = "", everything: bool = False, reason: str = "",
) -> dict[str, Any]:
    """End them with a report to each sender, who is told the reason."""
    why = harmless(reason, MAX_REASON) or GIVEN_UP
    wanted = wanted_of(site.clock(), server, sender, recipient, domain, older, state, reply)
    delivery, rows = delivery_of(site), await _chosen(site, ids, everything, wanted)
    before = {row.id: row for row in rows}
    # Held, no attempt begins while the report is made; those that are under way are left alone.
    await delivery.queue.alter(list(before), "hold")
    failed, errors = 0, list[dict[str, Any]]()
    for at in range(0, len(rows), MAX_ROWS):
        ids_now = [row.id for row in rows[at : at + MAX_ROWS]]
        for row in await delivery.queue.queued(ids_now, most=len(ids_now)):
            if not row.held or row.token:
                continue
            try:
                await delivery.fail(row, why)
                failed += 1
            except MailError as error:
                errors.append({"id": row.id, "error": str(error)})
                if not before[row.id].held:
                    await delivery.queue.alter([row.id], "release")
    return {"changed": failed, "busy": len(rows) - failed - len(errors), "failed": errors[:MAX_ROWS], "reason": why}
