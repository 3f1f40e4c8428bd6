"""mailsrv user ..., mailsrv alias ... (floor 7)."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..host.control.user import MAX_IMPORT
from .common import DONE, NO, UsageError, emit, noun, options_of, perform, read_password, table, verb

MAX_LINE = 64 * 2**10


def add_parsers(nouns: Any) -> None:
    """The nouns user and alias."""
    verbs = noun(nouns, "user", "accounts")
    parser = verb(verbs, "add", _add, "add an account, or many with --from")
    parser.add_argument("address", nargs="?", metavar="NAME@DOMAIN")
    parser.add_argument("--from", dest="source", metavar="FILE", help='JSON lines {"address", "password"}; "-": stdin')
    parser.add_argument("--password-file", metavar="FILE")
    verb(verbs, "list", _list, "all accounts").add_argument("--domain", default="")
    parser = verb(verbs, "password", _password, "set a password")
    parser.add_argument("address", metavar="NAME@DOMAIN")
    parser.add_argument("--password-file", metavar="FILE")
    for name, text in (
        ("remove", "remove an account and all its mail, for good"),
        ("disable", "mail is taken, but nobody can log in"),
        ("enable", "undo disable"),
    ):
        parser = verb(verbs, name, _simple, text)
        parser.add_argument("address", metavar="NAME@DOMAIN")
        parser.set_defaults(operation=f"user.{name}")
    verbs = noun(nouns, "alias", "aliases and lists")
    parser = verb(verbs, "add", _alias_add, "send mail for an address to others")
    parser.add_argument("address", metavar="NAME@DOMAIN")
    parser.add_argument("targets", nargs="+", metavar="TARGET@DOMAIN")
    verb(verbs, "list", _alias_list, "all aliases")
    verb(verbs, "remove", _alias_remove, "remove an alias").add_argument("address", metavar="NAME@DOMAIN")


def _add(args: argparse.Namespace) -> int:
    """One account, or many."""
    if bool(args.address) == bool(args.source):
        raise UsageError("user add takes either NAME@DOMAIN or --from FILE")
    if args.source:
        return _import(args)
    options = options_of(args)
    password = read_password(args, args.address)
    added = perform(options, [("user.add", {"address": args.address, "password": password})])[0]
    return emit(args, added, [f"added {added['address']}"])


def _import(args: argparse.Namespace) -> int:
    """Many accounts from JSON lines; those that fail are told, the others stand."""
    options = options_of(args)
    accounts = _read_accounts(args.source)
    calls = [
        ("user.import", {"accounts": accounts[start : start + MAX_IMPORT]})
        for start in range(0, len(accounts), MAX_IMPORT)
    ]
    results = perform(options, calls) if calls else []
    failed = [one for result in results for one in result["failed"]]
    added = sum(result["added"] for result in results)
    emit(
        args, {"added": added, "failed": failed},
        [f"added {added} accounts", *(f"{one['address']}: {one['error']}" for one in failed)],
    )
    return NO if failed else DONE


def _read_accounts(source: str) -> list[dict[str, str]]:
    """The objects of a file of JSON lines.  Raises ConfigError with the line."""
    found = []
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as file:
            number = 0
            while octets := file.readline(MAX_LINE + 1):
                number += 1
                if octets.strip():
                    found.append(_read_account(octets, source, number))
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=source) from error
    return found


def _read_account(octets: bytes, source: str, number: int) -> dict[str, str]:
    """One line.  Raises ConfigError."""
    try:
        account = json.loads(octets) if len(octets) <= MAX_LINE else None
    except (ValueError, RecursionError):
        account = None
    if not isinstance(account, dict) or not all(isinstance(value, str) for value in account.values()):
        raise ConfigError('must be one JSON object with "address" and "password"', file=source, line=number)
    return account


def _list(args: argparse.Namespace) -> int:
    """A table of accounts."""
    users = perform(options_of(args), [("user.list", {"domain": args.domain})])[0]
    rows = [
        [
            user["address"],
            "enabled" if user["enabled"] else "disabled",
            time.strftime("%Y-%m-%d", time.gmtime(user["created_at"])),
        ]
        for user in users
    ]
    return emit(args, users, table(rows, ("ADDRESS", "STATE", "CREATED")))


def _password(args: argparse.Namespace) -> int:
    """Set it."""
    options = options_of(args)
    password = read_password(args, args.address)
    changed = perform(options, [("user.password", {"address": args.address, "password": password})])[0]
    return emit(args, changed, [f"changed the password of {changed['address']}"])


def _simple(args: argparse.Namespace) -> int:
    """remove, disable, enable."""
    result = perform(options_of(args), [(args.operation, {"address": args.address})])[0]
    return emit(args, result, [f"{args.operation.partition('.')[2]}d {result['address']}"])


def _alias_add(args: argparse.Namespace) -> int:
    """One alias."""
    call = ("alias.add", {"address": args.address, "targets": args.targets})
    added = perform(options_of(args), [call])[0]
    return emit(args, added, [f"{added['address']} -> {', '.join(added['targets'])}"])


def _alias_list(args: argparse.Namespace) -> int:
    """A table of aliases."""
    aliases = perform(options_of(args), [("alias.list", {})])[0]
    rows = [[alias["address"], ", ".join(alias["targets"])] for alias in aliases]
    return emit(args, aliases, table(rows, ("ADDRESS", "TARGETS")))


def _alias_remove(args: argparse.Namespace) -> int:
    """One alias."""
    removed = perform(options_of(args), [("alias.remove", {"address": args.address})])[0]
    return emit(args, removed, [f"removed {removed['address']}"])
