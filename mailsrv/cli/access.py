"""mailsrv access ..., mailsrv relay ...: who may connect, who may relay (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import DONE, NO, emit, noun, options_of, perform, table, verb


def add_parsers(nouns: Any) -> None:
    """The nouns access and relay."""
    verbs = noun(nouns, "access", "who may connect")
    _list_parsers(verbs)
    _test_parser(verbs, "access.test", "may that client connect, and which line says so?")
    verbs = noun(nouns, "relay", "who may send to other domains without a login")
    _list_parsers(verbs)
    _test_parser(verbs, "relay.test", "may that client relay, and which line says so?")


def _list_parsers(verbs: Any) -> None:
    """Lists are the same for both: a server says what it names one for."""
    verb(verbs, "list", _list, "the lists, their entries as they are understood, and who uses them")
    for name, text in (("add", "add an entry to a list"), ("remove", "take an entry out of a list")):
        parser = verb(verbs, name, _change, f"{text}, in the file and in effect")
        parser.add_argument("list", metavar="LIST", help="the NAME of [access.NAME]")
        parser.add_argument("entry", metavar="ENTRY", help="192.0.2.7, 10.0.0.0/8, 2001:db8::/32 or eng.example.com")
        parser.set_defaults(operation=f"access.{name}")
    for name, text in (("only", "a list holds who is granted"), ("except", "a list holds who is denied")):
        parser = verb(verbs, name, _mode, f"from now on {text}; all others are not")
        parser.add_argument("list", metavar="LIST", help="the NAME of [access.NAME]")
        parser.set_defaults(mode=name)


def _test_parser(verbs: Any, operation: str, text: str) -> None:
    parser = verb(verbs, "test", _test, text)
    parser.description = f"{text}  Exit status 0: allowed, 1: denied (on any of the servers)."
    parser.add_argument("address", metavar="ADDRESS", help="IPv4 or IPv6 address of the client")
    parser.add_argument("--server", default="", metavar="PROTOCOL/NAME", help="default: every server")
    parser.add_argument("--name", default="", metavar="HOST", help="take this for its host name, and look nothing up")
    parser.set_defaults(operation=operation)


def _list(args: argparse.Namespace) -> int:
    """A paragraph for each list."""
    found = perform(options_of(args), [("access.list", {})])[0]
    lines: list[str] = []
    for one in found:
        lines += ["", f"{one['name']}: {one['mode']} ({', '.join(one['used']) or 'no server names it'})"]
        rows = [[str(entry["line"] or "-"), entry["kind"], entry["means"]] for entry in one["entries"]]
        lines += table(rows, ("LINE", "KIND", "ENTRY"))
    return emit(args, found, lines[1:] or ["(none)"])


def _change(args: argparse.Namespace) -> int:
    """One entry."""
    call = (args.operation, {"name": args.list, "entry": args.entry})
    done = perform(options_of(args), [call])[0]
    text = f"{'added' if args.operation == 'access.add' else 'removed'} {done['entry']}, {args.list} ({done['mode']})"
    return emit(args, done, [text, *_warning(done)])


def _warning(done: dict[str, Any]) -> list[str]:
    return [f"warning: {done['warning']}"] if done.get("warning") else []


def _mode(args: argparse.Namespace) -> int:
    """One list."""
    done = perform(options_of(args), [("access.mode", {"name": args.list, "mode": args.mode})])[0]
    used = ", ".join(done["used"]) or "no server names it"
    return emit(args, done, [f"{args.list} is {args.mode} now ({used})", *_warning(done)])


def _test(args: argparse.Namespace) -> int:
    """A line for each server."""
    given = {"address": args.address, "server": args.server, "host": args.name}
    found = perform(options_of(args), [(args.operation, given)])[0]
    rows = [
        [one["server"], "not decided" if one["failed"] else "allowed" if one["allowed"] else "denied", one["rule"]]
        for one in found
    ]
    emit(args, found, table(rows, ("SERVER", "CLIENT IS", "BY")))
    return DONE if all(one["allowed"] for one in found) else NO
