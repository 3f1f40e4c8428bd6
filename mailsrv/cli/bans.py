"""mailsrv ban ... (floor 7)."""

from __future__ import annotations

import argparse
import time
from typing import Any

from .common import emit, noun, options_of, perform, table, verb


def add_parsers(nouns: Any) -> None:
    """The noun ban."""
    verbs = noun(nouns, "ban", "who is kept from guessing passwords")
    verb(verbs, "list", _list, "banned addresses and slowed accounts, the last 1000 of each")
    parser = verb(verbs, "lift", _lift, "end a ban, and forget the failed logins")
    parser.add_argument("subject", metavar="ADDRESS|LOGIN", help="as `ban list` shows it, or any address of a network")
    parser = verb(verbs, "add", _add, "ban an address")
    parser.add_argument("address", metavar="ADDRESS", help="of IPv6 its /64 is banned")
    parser.add_argument("--minutes", type=int, default=60, help="60 by default")


def _moment(seconds: float) -> str:
    """UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _list(args: argparse.Namespace) -> int:
    """A table; times are UTC."""
    bans = perform(options_of(args), [("ban.list", {})])[0]
    rows = [
        [one["subject"], one["kind"], _moment(one["since"]), _moment(one["until"]), str(one["failures"])]
        for one in bans
    ]
    return emit(args, bans, table(rows, ("SUBJECT", "KIND", "SINCE", "UNTIL", "FAILURES")))


def _lift(args: argparse.Namespace) -> int:
    """One subject."""
    lifted = perform(options_of(args), [("ban.lift", {"subject": args.subject})])[0]
    return emit(args, lifted, [f"lifted the ban of {lifted['subject']}"])


def _add(args: argparse.Namespace) -> int:
    """One address."""
    call = ("ban.add", {"address": args.address, "minutes": args.minutes})
    ban = perform(options_of(args), [call])[0]
    return emit(args, ban, [f"banned {ban['subject']} until {_moment(ban['until'])} UTC"])
