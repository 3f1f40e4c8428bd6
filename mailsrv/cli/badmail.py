"""mailsrv badmail ...: what could be neither delivered nor returned (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import DONE, NO, UsageError, emit, noun, options_of, perform, table, verb
from .queue import confirm, moment


def add_parsers(nouns: Any) -> None:
    """The noun badmail."""
    verbs = noun(nouns, "badmail", "mail that could be neither delivered nor returned")
    parser = verb(verbs, "list", _list, "what lies there, the oldest first")
    parser.add_argument("--after", default="", metavar="KEY", help="what comes after this one")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="100 by default, at most 1000")
    _server(parser)
    parser = verb(verbs, "show", _show, "who it was for, what was said, and the message's header")
    parser.add_argument("key", metavar="KEY", help="as `badmail list` shows it")
    _server(parser)
    parser = verb(verbs, "resubmit", _resubmit, "send it as a new message; it leaves bad mail when that is accepted")
    parser.add_argument("keys", nargs="+", metavar="KEY")
    parser.add_argument("--to", action="append", default=[], metavar="ADDRESS", help="instead of its recipients")
    _server(parser)
    parser = verb(verbs, "delete", _delete, "forget it for good")
    parser.add_argument("keys", nargs="*", metavar="KEY")
    parser.add_argument("--all", action="store_true", dest="everything", help="all of the server")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _server(parser)


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", default="", metavar="SMTP/NAME", help="default: the first SMTP server")


def _list(args: argparse.Namespace) -> int:
    """A table, and how to see more."""
    call = {"server": args.server, "after": args.after, "limit": args.limit}
    found = perform(options_of(args), [("badmail.list", call)])[0]
    rows = [
        [one["key"], moment(one["when"]), one["sender"], _for(one), str(one["size"]), _why(one)]
        for one in found["entries"]
    ]
    more = [f"there is more: --after {found['next']}"] if found["next"] else []
    return emit(args, found, [*table(rows, ("KEY", "SINCE", "FROM", "FOR", "OCTETS", "WHY")), *more])


def _for(entry: dict[str, Any]) -> str:
    """The first recipient, and how many besides."""
    if not entry["recipients"]:
        return "-"
    others = entry["recipient_count"] - 1
    return str(entry["recipients"][0]["address"]) + (f" and {others} more" if others else "")


def _why(entry: dict[str, Any]) -> str:
    """What was said about the first recipient."""
    first = entry["recipients"][0] if entry["recipients"] else {"status": "", "reply": ""}
    return f"{first['status']} {first['reply']}".strip()[:80]


def _show(args: argparse.Namespace) -> int:
    """Line by line, then the header."""
    found = perform(options_of(args), [("badmail.show", {"key": args.key, "server": args.server})])[0]
    lines = [
        f"message       {found['message']} of {found['server']}, {found['origin']}",
        f"from          {found['sender']}",
        f"size          {found['size']} octets",
        f"accepted      {moment(found['received_at'])}",
        f"here since    {moment(found['when'])}",
    ]
    for one in found["recipients"]:
        host = f"{one['host']}: " if one["host"] else ""
        lines.append(f"for           {one['address']}: {one['status']} {host}{one['reply']}".rstrip())
    left = found["recipient_count"] - len(found["recipients"])
    lines += [f"              and {left} more"] if left else []
    return emit(args, found, [*lines, "", *found["header"].split("\n")])


def _resubmit(args: argparse.Namespace) -> int:
    """A line for each; status 1 when one was not accepted."""
    call = {"keys": args.keys, "to": args.to, "server": args.server}
    found = perform(options_of(args), [("badmail.resubmit", call)])[0]
    lines = [f"{one['key']} is message {one['message']} now" for one in found["sent"]]
    emit(args, found, [*lines, *(f"{one['key']} stays: {one['error']}" for one in found["failed"])])
    return NO if found["failed"] else DONE


def _delete(args: argparse.Namespace) -> int:
    """How many."""
    if bool(args.keys) == args.everything:
        raise UsageError("badmail delete takes either KEYs or --all")
    if not args.yes:
        confirm("Forget all bad mail of this server for good?" if args.everything else "Forget it for good?")
    call = {"keys": args.keys, "server": args.server, "everything": args.everything}
    found = perform(options_of(args), [("badmail.delete", call)])[0]
    return emit(args, found, [f"{found['deleted']} deleted"])
