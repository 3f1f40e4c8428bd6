"""mailsrv domain records, mailsrv dns check: the name system (floor 7)."""

from __future__ import annotations

import argparse
from typing import Any

from .common import DONE, NO, emit, noun, options_of, perform, table, verb


def add_parsers(nouns: Any) -> None:
    """The noun dns."""
    verbs = noun(nouns, "dns", "what the name system says of this site")
    text = "does the name of each SMTP server resolve as other servers want it?"
    parser = verb(verbs, "check", _check, text)
    parser.description = f"{text}  Exit status 1: something is wrong; warnings alone are 0."
    parser.add_argument("name", nargs="?", default="", metavar="SMTP/NAME", help="default: every SMTP server")
    parser.add_argument("--server", default="", metavar="SMTP/NAME", help="the same")
    _addresses(parser, "an address that mail is sent from, as the world sees it; may be said again")


    parser = verb(verbs, "lookup", _lookup, "what the name system says of a name, or of an address")
    parser.add_argument("name")
    parser.add_argument(
        "--server", default="", metavar="SMTP/NAME", help="ask as its mail does; default: the servers of the system"
    )


def add_records(verbs: Any) -> None:
    """The verb records of the noun domain."""
    parser = verb(verbs, "records", _records, "the records to publish: MX, SRV, A, AAAA, as lines of a zone file")
    parser.add_argument("domain", nargs="?", default="", help="default: all local domains")
    _addresses(parser, "an address of this machine as the world sees it; may be said again")


def _addresses(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--address", action="append", default=[], dest="addresses", metavar="ADDRESS", help=text)


def _records(args: argparse.Namespace) -> int:
    """Lines of a zone file; what is to be known besides as its comments."""
    call = {"domain": args.domain, "addresses": args.addresses}
    found = perform(options_of(args), [("domain.records", call)])[0]
    return emit(args, found, [*found["records"], *(f"; {note}" for note in found["notes"])])


def _check(args: argparse.Namespace) -> int:
    """A paragraph for each name; status 1 when something is wrong."""
    call = {"server": args.name or args.server, "addresses": args.addresses}
    found = perform(options_of(args), [("dns.check", call)])[0]
    lines: list[str] = []
    for one in found:
        lines += ["", f"{one['hostname']} ({', '.join(one['servers'])}): {one['level']}"]
        lines += table([[finding["level"], finding["text"]] for finding in one["findings"]], ("", ""))[1:]
    emit(args, found, lines[1:] or ["(no SMTP server)"])
    return NO if any(one["level"] == "error" for one in found) else DONE


def _lookup(args: argparse.Namespace) -> int:
    """A table; status 1 when there is nothing."""
    found = perform(options_of(args), [("dns.lookup", {"name": args.name, "server": args.server})])[0]
    emit(args, found, table([[one["kind"], one["value"] or one["error"]] for one in found], ("KIND", "VALUE")))
    return DONE if any(one["value"] for one in found) else NO
