"""mailsrv trace (floor 7)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from .common import UsageError, emit, options_of, perform, table, verb


def add_parsers(nouns: Any) -> None:
    """This command, which has no verbs."""
    parser = verb(nouns, "trace", _trace, "the way a message took, step by step; or find messages")
    parser.add_argument("id", nargs="?", default="", metavar="ID", help="as in the reply 250, in Received, in the log")
    parser.add_argument("--from", dest="sender", default="", metavar="ADDRESS", help='or @DOMAIN; "<>": reports')
    parser.add_argument("--to", dest="recipient", default="", metavar="ADDRESS", help="or @DOMAIN")
    parser.add_argument("--since", default="1d", metavar="TIME", help="accepted in the last 2h, 7d; default: 1d")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="100 by default, at most 1000")


def _trace(args: argparse.Namespace) -> int:
    """A timeline, or a table."""
    if bool(args.id) == bool(args.sender or args.recipient):
        raise UsageError("say which: the ID of a message, or --from and --to")
    if args.id:
        found = perform(options_of(args), [("trace.show", {"id": args.id})])[0]
        # What others said is in it.
        lines = ["".join(sign if sign.isprintable() else "?" for sign in line) for line in _timeline(found)]
        return emit(args, found, lines)
    wanted = {"sender": args.sender, "recipient": args.recipient, "since": args.since, "limit": args.limit}
    messages = perform(options_of(args), [("trace.search", wanted)])[0]
    rows = [
        [_instant(one["at"])[:19], one["message"], one["sender"] or "<>", _some(one["recipients"], one["count"]),
         str(one["octets"]), one["server"]]
        for one in messages
    ]  # fmt: skip
    return emit(args, messages, table(rows, ("ACCEPTED (UTC)", "ID", "FROM", "TO", "OCTETS", "SERVER")))


def _instant(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}"


def _some(names: list[str], count: int) -> str:
    """The first of a list, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if count <= 3 else f"{shown} and {count - 3} more"


def _timeline(found: dict[str, Any]) -> Iterator[str]:
    """A line for each step, and those below it."""
    yield f"message {found['message']}"
    for event in found["events"]:
        first, *others = _LINES.get(event["kind"], _other)(event)
        yield f"{_instant(event['at'])}  {first}"
        yield from (f"{'':25}{line}" for line in others)
    for row in found["queue"]:
        due = f", next attempt {_instant(row['due'])[:19]}" if row["state"] == "waiting" else ""
        yield f"in the queue now: row {row['id']} for {row['destination']}: {row['state']}{due}"
    if not found["events"]:
        yield "(older steps are not kept any more, or were never)"


def _accepted(event: dict[str, Any]) -> Iterator[str]:
    """How it came, and where it went at once."""
    peer = event["peer"] or "this host"
    name = f" ({event['name']})" if event.get("name") else ""
    yield f"accepted on {event['server']} from {peer}{name}, {event['octets']} octets, {event['origin']}"
    yield f"{event['with']}, helo {event['helo'] or '-'}" + (f", {event['tls']}" if "tls" in event else ", without TLS")
    if "user" in event:
        yield f"logged in as {event['user']} by {event['mechanism'] or '-'}"
    yield f"from <{event['sender']}>"
    yield f"to {', '.join(f'<{one}>' for one in event['recipients'])}{_more(event['count'], event['recipients'])}"
    for one in event.get("mailboxes", ()):
        yield f"delivered: {one['mailbox']} of {one['account']}"
    for destination, address in event.get("onward", ()):
        yield f"queued: <{address}> by way of {destination}"
    for key in ("mailboxes", "onward"):
        more = event.get(f"{key}_count", 0) - len(event.get(key, ()))
        if more > 0:
            yield f"and {more} more"
    if "note" in event:
        yield event["note"].strip(" ;,")


def _more(count: int, shown: list[Any]) -> str:
    return f" and {count - len(shown)} more" if count > len(shown) else ""


def _attempt(event: dict[str, Any]) -> Iterator[str]:
    """What became of each recipient."""
    due = f"; next {_instant(event['due'])[:19]}" if event["due"] else ""
    reached = "" if event["reached"] else ", not reached"
    yield f"attempt {event['attempt']} at {event['destination']}{reached}{due}"
    for address, action, status, reply, host in event["outcomes"]:
        said = f" {host}:" if host else ""
        yield f"{action}: <{address}>{said} {reply or status}".rstrip()
    if event["count"] > len(event["outcomes"]):
        yield f"and {event['count'] - len(event['outcomes'])} more"


def _report(event: dict[str, Any]) -> Iterator[str]:
    yield f"report {event['report']} to <{event['to']}>: {event['about']}"


def _badmail(event: dict[str, Any]) -> Iterator[str]:
    yield f"bad mail of {event['server']}: {event['key']}"


def _action(event: dict[str, Any]) -> Iterator[str]:
    where = f" to {event['destination']}" if event.get("destination") else ""
    yield f"queue: {event['action']}{where} (row {event['row']})"


def _other(event: dict[str, Any]) -> Iterator[str]:
    yield event["kind"]


_LINES = {
    "accepted": _accepted, "attempt": _attempt, "report": _report, "badmail": _badmail, "action": _action
}
