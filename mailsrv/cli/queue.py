"""mailsrv queue ...: mail that waits to go to other servers (floor 7)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from ..errors import Refused
from ..host.control.queue_rows import STATES
from .common import DONE, NO, UsageError, emit, noun, options_of, perform, table, verb

#: What chooses rows: name, placeholder, help.
_FILTERS = (
    ("server", "SMTP/NAME", "accepted by this virtual server, for example smtp/default"),
    ("sender", "ADDRESS", 'from this address; "@example.org": from that domain; "<>": reports'),
    ("recipient", "ADDRESS", "for this address, or @DOMAIN"),
    ("domain", "DOMAIN", "on the way to this domain or host"),
    ("older", "TIME", "accepted longer ago than 30m, 2h, 3d"),
    ("state", "STATE", "waiting, held or trying"),
    ("reply", "TEXT", "with this in what was last said"),
)
#: verb -> (what it does, what was done).
_VERBS = {
    "retry": ("try now, whatever the schedule says", "due now"),
    "hold": ("leave alone until released; nothing expires meanwhile", "held"),
    "release": ("undo hold", "released"),
    "reroute": ("send to another domain, host or [address]", "rerouted"),
    "fail": ("end with a report to the sender", "ended: told to the senders, or bad mail where no report can go"),
    "delete": ("forget for good; nobody is told", "deleted"),
}


def add_parsers(nouns: Any) -> None:
    """The noun queue."""
    verbs = noun(nouns, "queue", "mail that waits to go to other servers")
    parser = verb(verbs, "list", _list, "what waits, in the order it came")
    _filters(parser)
    parser.add_argument("--after", type=int, default=0, metavar="ID", help="what comes after this row")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="100 by default, at most 1000")
    parser = verb(verbs, "summary", _summary, "what waits for each destination, and why")
    parser.add_argument("--server", default="", metavar="SMTP/NAME")
    for name, run, text in (
        ("show", _show, "all about a row, or a message with all its rows"),
        ("simulate", _simulate, "what will happen when, if no attempt succeeds"),
    ):
        parser = verb(verbs, name, run, text)
        parser.add_argument("id", metavar="ID", help="of a row, as `queue list` shows it, or of a message")
        parser.add_argument("--server", default="", metavar="SMTP/NAME")
    for name, (text, _) in _VERBS.items():
        _change_parser(verb(verbs, name, _change, text), name)


def _filters(parser: argparse.ArgumentParser) -> None:
    for name, place, text in _FILTERS:
        choices = STATES if name == "state" else None
        parser.add_argument(f"--{name}", default="", metavar=place, help=text, choices=choices)


def _change_parser(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="of a row, or of a message with all its rows")
    if name == "reroute":
        parser.add_argument("destination", metavar="DESTINATION", help="example.org, mx.example.org or [192.0.2.1]")
    _filters(parser)
    parser.add_argument("--all", action="store_true", dest="everything", help="the whole queue")
    if name == "fail":
        parser.add_argument("--reason", default="", metavar="TEXT", help="what the senders are told")
    if name == "delete":
        parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(operation=name)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The filters, as the operations have them."""
    return {name: getattr(args, name) for name, _, _ in _FILTERS}


def moment(seconds: float | None) -> str:
    """UTC, to the second; "-" for never."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


# ---------------------------------------------------------------- looking


def _list(args: argparse.Namespace) -> int:
    """A table, and how to see more."""
    call = {**_given(args), "after": args.after, "limit": args.limit}
    found = perform(options_of(args), [("queue.list", call)])[0]
    rows = [
        [str(one["id"]), one["message"], one["state"], _age(found["now"] - one["received_at"]), str(one["attempts"]),
         _due(one), one["sender"], _for(one), one["destination"], one["reply"][:80]]
        for one in found["rows"]
    ]  # fmt: skip
    head = ("ID", "MESSAGE", "STATE", "AGE", "TRIED", "DUE (UTC)", "FROM", "FOR", "GOES TO", "LAST REPLY")
    more = [f"{server} does not run: its mail waits until it is started" for server in found["stopped"]]
    more += [f"there is more: --after {found['next']}"] if found["next"] else []
    return emit(args, found, [*table(rows, head), *more])


def _age(seconds: float) -> str:
    """As `--older` has it, rounded down: 45s, 12m, 7h, 3d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _due(row: dict[str, Any]) -> str:
    return moment(row["due"]) if row["state"] == "waiting" else "-"


def _for(row: dict[str, Any]) -> str:
    """The first recipient, and how many besides."""
    others = row["recipient_count"] - 1
    return f"{row['recipients'][0]} and {others} more" if others else str(row["recipients"][0])


def _summary(args: argparse.Namespace) -> int:
    """A table."""
    found = perform(options_of(args), [("queue.summary", {"server": args.server})])[0]
    rows = [
        [one["destination"], str(one["count"]), str(one["held"]), str(one["trying"]), moment(one["oldest"]),
         moment(one["next_attempt"]), one["reply"][:80]]
        for one in found["summary"]
    ]  # fmt: skip
    lines = table(rows, ("GOES TO", "ROWS", "HELD", "TRYING", "OLDEST (UTC)", "NEXT (UTC)", "LAST REPLY"))
    if rows:
        lines.append(f"{found['rows']} rows for {found['destinations']} destinations")
    if "restored" in found:
        when = moment(found["restored"]["taken"])
        lines.append(
            f"{found['restored']['held']} on hold since the store was restored from a backup of {when}: they may have"
            " been sent since then; `mailsrv queue release --all` lets them go"
        )
    if found["counters"]:
        counts = ", ".join(f"{count} {action}" for action, count in sorted(found["counters"].items()))
        lines.append(f"since the start, recipients: {counts}")
    return emit(args, found, lines)


def _show(args: argparse.Namespace) -> int:
    """A paragraph for each row, and the header."""
    found = perform(options_of(args), [("queue.show", {"id": args.id, "server": args.server})])[0]
    lines: list[str] = []
    for row in found["rows"]:
        lines += [*_row(row), ""]
    return emit(args, found, [*lines, *found["header"].split("\n")])


def _row(row: dict[str, Any]) -> list[str]:
    """Line by line."""
    stopped = "" if row["server_runs"] else " (it does not run, so nothing is tried)"
    facts = {
        "row": f"{row['id']} of message {row['message']}",
        "state": row["state"],
        "from": row["sender"] + _said(row["parameters"]),
        "goes to": row["destination"],
        "server": f"{row['server']}, {row['origin']}{stopped}",
        "size": f"{row['size']} octets",
        "accepted": moment(row["received_at"]),
        "attempts": str(row["attempts"]) + (f", the last at {moment(row['tried_at'])}" if row["tried_at"] else ""),
        "due": moment(row["due"]),
        "delay notice": "sent" if row["noticed"] else moment(row["notice_at"]),
        "expires": moment(row["expires_at"]),
        "last reply": row["reply"] or "-",
    }
    lines = [f"{name:<13} {value}" for name, value in facts.items()]
    lines += [f"{'for':<13} {one['address']}{_said(one['parameters'])}" for one in row["recipients"]]
    left = row["recipient_count"] - len(row["recipients"])
    return [*lines, f"{'':<13} and {left} more"] if left else lines


def _said(parameters: dict[str, str]) -> str:
    """Parameters of MAIL or RCPT."""
    return "".join(f" {name}={value}" if value else f" {name}" for name, value in parameters.items())


def _simulate(args: argparse.Namespace) -> int:
    """A table for each row."""
    found = perform(options_of(args), [("queue.simulate", {"id": args.id, "server": args.server})])[0]
    lines: list[str] = []
    for row in found:
        held = " (held: nothing happens until it is released)" if row["state"] == "held" else ""
        lines += ["", f"row {row['id']} for {row['destination']}, if no attempt succeeds{held}"]
        lines += table([[moment(one["at"]), one["what"]] for one in row["events"]], ("WHEN (UTC)", "WHAT"))
        lines += ["and so on"] * row["more"]
    return emit(args, found, lines[1:])


# ---------------------------------------------------------------- changing


def _change(args: argparse.Namespace) -> int:
    """retry, hold, release, reroute, fail, delete.  Status 1 when something was left as it was."""
    given = _given(args)
    if not args.ids and not args.everything and not any(given.values()):
        raise UsageError(f"queue {args.operation}: which?  IDs, a filter such as --domain example.org, or --all")
    call = {"ids": args.ids, "everything": args.everything, **given}
    call |= {name: getattr(args, name) for name in ("destination", "reason") if hasattr(args, name)}
    if args.operation == "delete" and not args.yes:
        confirm(f"Forget {_what(args.ids, 'the rows chosen')} for good, without a report to the sender?")
    done = perform(options_of(args), [(f"queue.{args.operation}", call)])[0]
    emit(args, done, _told(args.operation, done))
    return NO if done["busy"] or done.get("failed") else DONE


def _told(operation: str, done: dict[str, Any]) -> list[str]:
    """What came of it."""
    where = f" to {done['destination']}" if "destination" in done else ""
    lines = [f"{done['changed']} {_VERBS[operation][1]}{where}"]
    if done["busy"]:
        lines.append(f"{done['busy']} left alone: an attempt is under way, or they have just ended; look again")
    if operation == "reroute" and done["changed"]:
        lines.append("they are due as before: `mailsrv queue retry` sends them now")
    if operation == "retry" and done["held"]:
        lines.append(f"{done['held']} of them are held: `mailsrv queue release` lets them go")
    return lines + [f"row {one['id']}: {one['error']}" for one in done.get("failed", ())]


def _what(names: Sequence[str], otherwise: str) -> str:
    return ", ".join(names[:5]) + " ..." * (len(names) > 5) if names else otherwise


def confirm(question: str) -> None:
    """Ask at the terminal.  Raises UsageError where there is none, Refused when the answer is not yes."""
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here: say --yes")
    sys.stderr.write(f"{question} [yes/no] ")
    sys.stderr.flush()
    if sys.stdin.readline(100).strip().lower() not in ("y", "yes"):
        raise Refused("nothing was done")
