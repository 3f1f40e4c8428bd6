"""mailsrv service ...: all servers of a protocol together (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import emit, noun, options_of, perform, table, verb
from .server import warn

#: verb -> what it does.
_VERBS = {
    "start": "start those servers that ran when the service was stopped",
    "stop": "stop all servers of the service, and all delivery of theirs",
    "pause": "let nobody connect to its servers; sessions and queue go on",
    "resume": "end the pause of a service",
    "restart": "stop, a short pause, start",
    "status": "the state of services and their servers",
}


def add_parsers(nouns: Any) -> None:
    """The noun service."""
    verbs = noun(nouns, "service", "all servers of a protocol together")
    for name, text in _VERBS.items():
        parser = verb(verbs, name, _run, text)
        parser.add_argument("service", nargs="?", default="all", metavar="SERVICE", help="smtp, imap, pop3 or all")
        parser.set_defaults(operation=f"service.{name}")


def _run(args: argparse.Namespace) -> int:
    """A table of what is then."""
    services = perform(options_of(args), [(args.operation, {"service": args.service})])[0]
    rows = []
    for service in services:
        rows.append([service["service"], service["state"], ""])
        rows += [[f"  {one['name']}", one["state"], one["reason"]] for one in service["servers"]]
    for text in dict.fromkeys(one.get("warning", "") for one in services):
        warn(text)
    return emit(args, services, table(rows, ("SERVICE", "STATE", "REASON")))
