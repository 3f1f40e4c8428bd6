"""mailsrv log: what happens in the running site, as it happens (floor 7)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from ..happenings import KINDS
from .common import DONE, emit, follow, options_of, table, verb


def add_parsers(nouns: Any) -> None:
    """This noun, which is its own verb."""
    parser = verb(nouns, "log", _log, "events of the running site as they happen, until Ctrl-C")
    parser.add_argument("--kind", action="append", default=[], dest="kinds", metavar="KIND",
                        help='only these, as often as wanted: "delivery", "session.ended" ...')  # fmt: skip
    parser.add_argument("--server", default="", metavar="PROTOCOL/NAME", help="of this virtual server alone")
    parser.add_argument("--kinds", action="store_true", dest="list_kinds", help="which kinds there are")


def _log(args: argparse.Namespace) -> int:
    """A line for each event; with --json one object in each line."""
    if args.list_kinds:
        kinds = [{"kind": kind, "text": text} for kind, text in KINDS.items()]
        return emit(args, kinds, table([[one["kind"], one["text"]] for one in kinds], ("KIND", "WHAT")))

    def show(event: dict[str, Any]) -> None:
        """One event, at once."""
        sys.stdout.write((json.dumps(event, ensure_ascii=False) if args.json else line_of(event)) + "\n")
        sys.stdout.flush()

    follow(options_of(args), ("event.follow", {"kinds": args.kinds, "server": args.server}), show)
    return DONE


def line_of(event: dict[str, Any]) -> str:
    """An event for people: UTC, kind, facts."""
    if "lost" in event:
        return f"... {event['lost']} events were left out: they came faster than they were read"
    facts = " ".join(f"{name}={_said(value)}" for name, value in event.items() if name not in ("at", "kind"))
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(event['at']))}Z {event['kind']} {facts}"


def _said(value: Any) -> str:
    """Quoted where it is not one word; no control characters."""
    if isinstance(value, list):
        return ",".join(map(_said, value))
    text = str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)
