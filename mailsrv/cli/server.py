"""mailsrv server ...: virtual servers and their life (floor 7)."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .common import emit, noun, options_of, perform, table, verb

#: verb -> what it does.
_VERBS = {
    "start": "let it run, or try again when a port was taken",
    "stop": "accept and send nothing; sessions end after the command under way",
    "pause": "let nobody connect; sessions and queue go on",
    "resume": "end a pause",
    "restart": "stop, a short pause, start",
}


def add_parsers(nouns: Any) -> None:
    """The noun server."""
    verbs = noun(nouns, "server", "virtual servers")
    verb(verbs, "list", _list, "state, addresses, connections")
    _name(verb(verbs, "show", _show, "one server with its limits and counters"))
    for name, text in _VERBS.items():
        parser = verb(verbs, name, _change, text)
        _name(parser)
        parser.set_defaults(operation=f"server.{name}")
    parser = verb(verbs, "create", _create, "make a server; it starts at once if servers of its protocol do")
    _name(parser)
    parser.add_argument("--title", default="", metavar="TEXT", help="what people call it")
    parser.add_argument(
        "--listen", action="append", default=[], metavar="ADDRESS",
        help="ADDRESS:PORT, or an address alone for the usual port; may be given again; default: all addresses",
    )
    parser.add_argument("--role", default="", metavar="ROLE", help="of SMTP: relay, submission, lmtp")
    parser = verb(verbs, "delete", _delete, "remove a server with its settings")
    _name(parser)
    parser.add_argument("--force", action="store_true", help="although mail that it has accepted waits in the queue")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="PROTOCOL/NAME", help="for example smtp/default")


def _list(args: argparse.Namespace) -> int:
    """A table."""
    servers = perform(options_of(args), [("server.list", {})])[0]
    rows = [[one["name"], one["state"], _where(one), str(one["connections"]), one["reason"]] for one in servers]
    return emit(args, servers, table(rows, ("SERVER", "STATE", "ADDRESSES", "CONNECTIONS", "REASON")))


def _where(server: dict[str, Any]) -> str:
    """What a server listens on, or would."""
    return ", ".join(server["addresses"] or server["bindings"])


def _show(args: argparse.Namespace) -> int:
    """Key by key."""
    facts = perform(options_of(args), [("server.show", {"name": args.name})])[0]
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{key}.{inner}: {'off' if one is None else one}" for inner, one in value.items()]
        else:
            lines.append(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    return emit(args, facts, lines)


def _change(args: argparse.Namespace) -> int:
    """start, stop, pause, resume, restart."""
    facts = perform(options_of(args), [(args.operation, {"name": args.name})])[0]
    warn(facts["warning"])
    return emit(args, facts, [told(facts)])


def _create(args: argparse.Namespace) -> int:
    """As the orders; one that stands still says why."""
    given = {"name": args.name, "title": args.title, "listen": args.listen, "role": args.role}
    facts = perform(options_of(args), [("server.create", given)])[0]
    return emit(args, facts, [told(facts)])


def _delete(args: argparse.Namespace) -> int:
    """What goes on without it."""
    done = perform(options_of(args), [("server.delete", {"name": args.name, "force": args.force})])[0]
    lines = [f"{done['name']} is deleted"]
    if done["waiting"]:
        lines.append("the mail in the queue that it had accepted goes on by the rules of the first SMTP server")
    return emit(args, done, lines)


def told(facts: dict[str, Any]) -> str:
    """The state of a server in a line."""
    reason = f" ({facts['reason']})" if facts["reason"] else ""
    if facts["state"] == "stopped":
        left = f"; {facts['connections']} connections are about to leave" if facts["connections"] else ""
        return f"{facts['name']} is stopped{reason}{left}"
    return f"{facts['name']} is {facts['state']}{reason}: {_where(facts)}"


def warn(text: str) -> None:
    """What went wrong although the order was carried out."""
    if text:
        sys.stderr.write(f"mailsrv: {text}\n")
