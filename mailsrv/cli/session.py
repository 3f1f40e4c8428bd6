"""mailsrv session (floor 7)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from operator import itemgetter
from typing import Any

from .common import DONE, emit, follow, noun, options_of, perform, table, verb


def add_parsers(nouns: Any) -> None:
    """This noun."""
    verbs = noun(nouns, "session", "who is connected")
    parser = verb(verbs, "list", _list, "all sessions, or some of them")
    parser.add_argument("server", nargs="?", default="", metavar="PROTOCOL/NAME")
    parser.add_argument("--user", default="", metavar="ADDRESS", help="only those of a user")
    parser.add_argument("--peer", default="", metavar="NETWORK", help="only those from an address, or a network")
    _numbered(verb(verbs, "show", _show, "all that is known of one session"))
    _numbered(verb(verbs, "terminate", _terminate, "end a session at once"))
    parser = verb(verbs, "terminate-all", _terminate_all, "end all sessions of a server")
    parser.add_argument("server", metavar="PROTOCOL/NAME")
    parser = verb(verbs, "terminate-user", _terminate_user, "end all sessions of a user, on all servers")
    parser.add_argument("address", metavar="ADDRESS")
    parser = verb(verbs, "transcript", _transcript, "read along in a session, until it ends")
    _numbered(parser)
    parser.add_argument("--seconds", type=int, default=0, metavar="N", help="end after that time; default: an hour")
    parser.add_argument("--content", action="store_true", help="with the octets of messages, not only their number")


def _numbered(parser: argparse.ArgumentParser) -> None:
    """One session."""
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--server", default="", metavar="PROTOCOL/NAME", help="it has to be on this server")


def _list(args: argparse.Namespace) -> int:
    """A table."""
    given = {"server": args.server, "user": args.user, "peer": args.peer}
    sessions: list[dict[str, Any]] = []
    follow(
        options_of(args), ("session.list", given),
        lambda item: sessions.extend(dict(zip(item["keys"], row)) for row in item["rows"]),
    )
    sessions.sort(key=itemgetter("id"))
    rows = [
        [
            str(one["id"]), one["server"], _user(one) or "-", _peer(one), one["tls"] or "-", one["state"],
            one["verb"] or "-", str(one["octets_in"]), str(one["octets_out"]), _span(one["age"]), _span(one["idle"]),
        ]
        for one in sessions
    ]
    head = ("ID", "SERVER", "USER", "PEER", "TLS", "STATE", "LAST", "IN", "OUT", "AGE", "IDLE")
    return emit(args, sessions, table(rows, head))


def _user(one: dict[str, Any]) -> str:
    """Who logged in, and for whom."""
    return f"{one['user']} as {one['acting_as']}" if one["acting_as"] else str(one["user"])


def _peer(one: dict[str, Any]) -> str:
    """The address, with the name that is known to be its, or else the one that was said."""
    name = one["host"] or (f"({one['helo']})" if one["helo"] else "")
    return f"{one['peer'] or 'local'} {name}".rstrip()


def _span(seconds: float) -> str:
    """A length of time, short."""
    whole = int(max(seconds, 0))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    hours = whole // 3600
    return f"{hours}h{whole // 60 % 60:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def _show(args: argparse.Namespace) -> int:
    """Key by key."""
    one = perform(options_of(args), [("session.show", {"id": args.id, "server": args.server})])[0]
    shown = {
        **one,
        "since": time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one["since"])),
        "age": _span(one["age"]), "idle": _span(one["idle"]), "secure": "yes" if one["secure"] else "no",
    }
    return emit(args, one, [f"{key}: {'-' if value == '' else value}" for key, value in shown.items()])


def _terminate(args: argparse.Namespace) -> int:
    """Who it was."""
    one = perform(options_of(args), [("session.terminate", {"id": args.id, "server": args.server})])[0]
    return emit(args, one, [f"session {one['id']} of {_user(one) or 'nobody'} from {_peer(one)} is ended"])


def _terminate_all(args: argparse.Namespace) -> int:
    """How many."""
    done = perform(options_of(args), [("session.terminate_all", {"server": args.server})])[0]
    return emit(args, done, [_ended(done, args.server)])


def _terminate_user(args: argparse.Namespace) -> int:
    """How many."""
    done = perform(options_of(args), [("session.terminate_user", {"address": args.address})])[0]
    return emit(args, done, [_ended(done, args.address)])


def _ended(done: dict[str, Any], whose: str) -> str:
    """How many."""
    count = done["terminated"]
    return f"1 session of {whose} is ended" if count == 1 else f"{count} sessions of {whose} are ended"


def _transcript(args: argparse.Namespace) -> int:
    """Line by line as they come, with --json one object a line."""
    given = {"id": args.id, "seconds": args.seconds, "content": args.content, "server": args.server}

    def show(item: dict[str, Any]) -> None:
        """At once, for whoever looks on."""
        sys.stdout.write((json.dumps(item, ensure_ascii=False) if args.json else _said(item)) + "\n")
        sys.stdout.flush()

    done = follow(options_of(args), ("session.transcript", given), show)
    if args.json:
        show(done)
    else:
        sys.stdout.write(f"{_WHY[done['why']]}; {done['lines']} lines\n")
    return DONE


_WHY = {"session": "the session has ended", "time": "the time is over", "size": "more than one transcript can have"}


def _said(item: dict[str, Any]) -> str:
    """One line of a conversation."""
    if "lost" in item:
        return f"({item['lost']} lines left out)"
    when = time.strftime("%H:%M:%S", time.gmtime(item["at"]))
    return f"{when} {item['who'][0].upper()}: {item['text']}"
